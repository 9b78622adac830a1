//! The claim page explains, claims on a click and shows the token once. Nothing on it comes from elsewhere, nothing runs but its own
//! script, and the ticket leaves the address at once.

use std::path::PathBuf;

use keyward_e2e::admin::{Issued, new_key};
use keyward_e2e::browser::Browser;
use keyward_e2e::{Keyward, Request, Setup, eventually, json, programs};

/// Runs nowhere, and is shown as it is.
const HOSTILE: &str = "<img src=x onerror='window.hit=1'><b>Acme</b>";

#[test]
fn nothing_from_elsewhere_and_nothing_unsafe() {
    let keyward = Keyward::start();
    let page = keyward.send(Request::get("/claim")).expect(200);
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    for part in ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "connect-src 'self'"] {
        assert!(policy.contains(part), "{policy}");
    }
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(page.field(name), Some(value));
    }
    let html = page.text();
    for elsewhere in ["http:", "https:", "src=", "@import", "url(", "<link", "<iframe"] {
        assert!(!html.contains(elsewhere), "{elsewhere}");
    }
}

/// Where pictures of the page are left for a person to look at.
fn pictures() -> PathBuf {
    let folder = programs::target().join("claim-page");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

struct Offer {
    url: String,
    issued: Issued,
}

fn offer(keyward: &Keyward, application: &str, name: &str) -> Offer {
    let mut key = new_key(application, &["orders:read"]);
    key["name"] = name.into();
    let reply = keyward.as_root(Request::post("/v1/keys", &key)).expect(201);
    Offer { url: reply.text_at("/claim/url"), issued: Issued::of(&reply) }
}

#[test]
fn claimed_by_a_click_in_a_browser() {
    // Its links must lead to where it listens: that is what `keyward up` sees to.
    let keyward = Setup::new().by_command().start();
    let created = keyward.as_root(Request::post("/v1/applications", &json!({ "name": HOSTILE })));
    let application = created.expect(201).text_at("/id");
    let browser = Browser::start(&keyward.folder().join("profile"));
    let shows = |css: &str, part: &str| {
        eventually(&format!("`{part}` in {css}"), || browser.text(css).contains(part));
    };
    let fits = |what: &str| {
        let wider = browser.run("return document.documentElement.scrollWidth - window.innerWidth");
        assert!(wider.as_i64().unwrap() <= 0, "{what} is wider than the window");
    };

    browser.leave();
    // What the browser's own first page asked for is no concern of ours.
    browser.log("performance");
    for (width_px, is_dark) in [(1000, false), (1000, true), (400, false), (400, true)] {
        let what = format!("{}-{width_px}", if is_dark { "dark" } else { "light" });
        browser.look(width_px, is_dark);
        let Offer { url, issued } = offer(&keyward, &application, &format!("order channel {what}"));
        assert!(url.starts_with(&format!("{}/claim#kwc_live_", keyward.url())), "{url}");
        browser.leave();
        browser.open(&url);
        shows("#application", "<b>Acme</b>");
        shows("#key", &what);
        eventually("the button", || browser.is_enabled("#claim"));
        assert_eq!(
            browser.address_shown(),
            format!("{}/claim", keyward.url()),
            "the ticket has left the address"
        );
        assert_eq!(browser.text("#token"), "", "nothing is minted by looking");
        assert_eq!(
            keyward.send(Request::get(&format!("/v1/claims/{}", issued.claim))).text_at("/state"),
            "open"
        );
        browser.picture(&pictures().join(format!("{what}-offer.png")));
        fits(&what);

        browser.click("#claim");
        shows("#token", "kw_live_");
        assert_eq!(browser.text("#claim"), "");
        let token = browser.text("#token");
        assert_eq!(keyward.authorizes(&token), 204, "what is shown is the token");
        assert!(browser.text("#renewal-token").starts_with("kwr_live_"), "and what renews it");
        browser.picture(&pictures().join(format!("{what}-token.png")));
        fits(&what);
        assert_eq!(browser.run("return window.hit === undefined"), json!(true), "a name is text");
        let kept = browser.run(
            "return JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, history.state])",
        );
        assert_eq!(kept, json!("[{},{},\"\",null]"), "the browser keeps nothing of it");

        browser.open(&format!("{}/claim", keyward.url()));
        shows("#message", "There is no ticket in this link");
        assert!(!browser.run("return document.body.innerText").as_str().unwrap().contains("_live_"));

        browser.leave();
        browser.open(&url);
        shows("#message", "has been used before");
        assert_eq!(browser.text("#claim"), "", "nothing invites to take what is taken");
        browser.picture(&pictures().join(format!("{what}-taken.png")));
        fits(&what);
    }
    let cut = offer(&keyward, &application, "cut").url;
    browser.leave();
    browser.open(&cut[..cut.len() - 3]);
    shows("#message", "not whole");

    let requested: Vec<String> = browser
        .log("performance")
        .into_iter()
        .filter(|line| line.contains("Network.requestWillBeSent\""))
        .filter_map(|line| {
            let message: keyward_e2e::Value = serde_json::from_str(&line).ok()?;
            message.pointer("/message/params/request/url")?.as_str().map(str::to_owned)
        })
        .collect();
    assert!(requested.len() > 8, "{requested:?}");
    for url in &requested {
        assert!(url.starts_with(&keyward.url()), "{url}");
        assert!(!url.contains("kwc_") || url.contains('#'), "the ticket goes to nobody in a URL");
    }
    let complaints: Vec<String> =
        browser.log("browser").into_iter().filter(|line| line.contains("Content Security Policy")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    assert!(keyward.events("action=claim.replay").is_empty(), "looking at a taken claim is no alarm");
}
