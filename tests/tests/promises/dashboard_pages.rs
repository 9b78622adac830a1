//! Every page of the dashboard is one that everybody can use: axe-core finds nothing on it in either scheme, it fits a narrow window and a
//! wide one, weighs little, and shows what somebody wrote as text.

use std::path::PathBuf;

use keyward_e2e::admin::{Holder, authorize, new_webhook};
use keyward_e2e::browser::Browser;
use keyward_e2e::{Keyward, Request, Setup, Value, eventually, json, programs};

/// Runs nowhere, turns nothing around but itself, breaks no line of anything, and is shown as it is.
const HOSTILE: &str = "<script>window.hit=1</script><img src=x onerror='window.hit=1'>\u{202e}\r\n\"&amp;";
/// The most that a page may weigh, in bytes.
const PAGE_BYTES_MAX: usize = 200 * 1024;
/// Widths of windows, in pixels.
const WIDTHS_PX: [u32; 3] = [360, 768, 1440];

/// The variable that asks for pictures of every page, for a person to look at: `target/dashboard` has them then.
const PICTURES_VARIABLE: &str = "KEYWARD_E2E_PICTURES";

/// Where pictures go, where somebody asked for them.
fn pictures() -> Option<PathBuf> {
    std::env::var_os(PICTURES_VARIABLE)?;
    let folder = programs::target().join("dashboard");
    std::fs::create_dir_all(&folder).unwrap();
    Some(folder)
}

/// What the pages show.
struct World {
    application: String,
    hostile: String,
    key: String,
    revoked: String,
    unclaimed: String,
    webhook: String,
    event: String,
    policy: String,
    role: String,
}

/// A name of 128 bytes, which is as long as one may be.
fn longest() -> String {
    "W".repeat(128)
}

fn hostile_world(keyward: &Keyward) -> World {
    let application = keyward.application("Acme");
    let created = keyward.as_root(Request::post(
        "/v1/applications",
        &json!({ "name": HOSTILE, "contacts": [HOSTILE, longest()] }),
    ));
    let hostile = created.expect(201).text_at("/id");
    let named = |application: &str, name: &str| {
        let holder = keyward.holder(application, &["orders:read"]);
        let change = json!({ "name": name, "tags": ["eu", "batch"] });
        keyward.as_root(Request::patch(&format!("/v1/keys/{}", holder.id), &change)).expect(200);
        holder
    };
    let Holder { id: key, token, .. } = named(&application, HOSTILE);
    named(&hostile, &longest());
    keyward.claim(&keyward.rotate(&key, &json!({ "reason": HOSTILE })));
    let revoked = named(&application, "revoked").id;
    let revoke = Request::post(&format!("/v1/keys/{revoked}/revoke"), &json!({ "reason": HOSTILE }));
    let event = keyward.as_root(revoke).expect(200).text_at("/event");
    let unclaimed = keyward.issue(&application, &["orders:read"]).id;
    for query in ["", "?scope=orders:write"] {
        keyward.send(authorize(&token, query));
    }
    let mut webhook = new_webhook(&application);
    webhook["description"] = HOSTILE.into();
    let webhook = keyward.as_root(Request::post("/v1/webhooks", &webhook)).expect(201).text_at("/webhook/id");
    let policy = keyward.policy(HOSTILE, &json!({ "description": HOSTILE }));
    let role = json!({ "name": HOSTILE, "description": longest(), "scopes": ["keys:read", "audit:read"] });
    let role = keyward.as_root(Request::post("/v1/roles", &role)).expect(201).text_at("/id");
    World { application, hostile, key, revoked, unclaimed, webhook, event, policy, role }
}

impl World {
    /// Every page, by a name for its pictures.
    fn pages(&self) -> Vec<(&'static str, String)> {
        let Self { application, hostile, key, revoked, unclaimed, webhook, event, policy, role } = self;
        let mut pages = vec![
            ("overview", "/dashboard".to_owned()),
            ("keys", format!("/dashboard/keys?application={application}")),
            ("keys-long", format!("/dashboard/keys?application={hostile}")),
            ("keys-none", format!("/dashboard/keys?application={application}&tag=none")),
            ("new-key", "/dashboard/keys/new".to_owned()),
            ("key", format!("/dashboard/keys/{key}")),
            ("key-revoked", format!("/dashboard/keys/{revoked}")),
            ("key-unclaimed", format!("/dashboard/keys/{unclaimed}")),
            ("applications", "/dashboard/applications".to_owned()),
            ("new-application", "/dashboard/applications/new".to_owned()),
            ("application", format!("/dashboard/applications/{hostile}")),
            ("events", format!("/dashboard/events?key={key}&application={application}")),
            ("event", format!("/dashboard/events/{event}")),
            ("webhooks", "/dashboard/webhooks".to_owned()),
            ("webhook", format!("/dashboard/webhooks/{webhook}")),
            ("policies", "/dashboard/policies".to_owned()),
            ("new-policy", "/dashboard/policies/new".to_owned()),
            ("policy", format!("/dashboard/policies/{policy}")),
            ("edit-policy", format!("/dashboard/policies/{policy}/edit")),
            ("roles", "/dashboard/roles".to_owned()),
            ("role", format!("/dashboard/roles/{role}")),
            ("edit-role", format!("/dashboard/roles/{role}/edit")),
            ("report", "/dashboard/report".to_owned()),
            ("emergency", "/dashboard/emergency".to_owned()),
            ("revoke-many", "/dashboard/emergency/revoke".to_owned()),
            ("not-there", "/dashboard/nowhere".to_owned()),
        ];
        for deed in ["revoke", "incident", "finish", "rename", "disable"] {
            pages.push((deed, format!("/dashboard/keys/{key}/{deed}")));
        }
        for deed in ["edit", "suspend", "revoke"] {
            pages.push((deed, format!("/dashboard/applications/{hostile}/{deed}")));
        }
        pages.push(("retire", format!("/dashboard/webhooks/{webhook}/retire")));
        pages
    }
}

/// What axe-core finds on the page that is shown.
fn findings(browser: &Browser) -> Vec<String> {
    let found = browser.run_async(
        "const done = arguments[arguments.length - 1];
         axe.run(document, { resultTypes: ['violations'] }).then(
           (told) => done(told.violations.map((v) => v.id + ': ' + v.help + ' ' + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | '))),
           (error) => done([String(error)]));",
    );
    found.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_page_is_for_everybody() {
    let keyward = Setup::new().by_command().start();
    let world = hostile_world(&keyward);
    let browser = Browser::start(&keyward.folder().join("profile"));
    let axe = std::fs::read_to_string(programs::npm_file("axe-core", "axe.min.js")).unwrap();
    let mut wrong: Vec<String> = Vec::new();
    let mut look = |name: &str| {
        let mut complain = |what: String| wrong.push(format!("{name}: {what}"));
        for is_dark in [false, true] {
            for width_px in WIDTHS_PX {
                browser.look(width_px, is_dark);
                let wider = browser.run("return document.documentElement.scrollWidth - window.innerWidth");
                if wider.as_i64().unwrap() > 0 {
                    complain(format!("{wider} px wider than a window of {width_px}"));
                }
                if let Some(folder) = pictures() {
                    let scheme = if is_dark { "dark" } else { "light" };
                    browser.picture(&folder.join(format!("{name}-{width_px}-{scheme}.png")));
                }
            }
            browser.run(&axe);
            findings(&browser).into_iter().for_each(&mut complain);
        }
        if browser.run("return window.hit === undefined") != json!(true) {
            complain("a script that somebody wrote has run".to_owned());
        }
        let bytes = browser.run("return document.documentElement.outerHTML.length").as_u64().unwrap();
        if usize::try_from(bytes).unwrap() > PAGE_BYTES_MAX {
            complain(format!("{bytes} bytes"));
        }
        let once = browser
            .run("return [document.querySelectorAll('h1').length, document.querySelectorAll('main').length]");
        if once != json!([1, 1]) {
            complain(format!("headings and main parts: {once}"));
        }
    };
    browser.open(&format!("{}/dashboard", keyward.url()));
    look("sign-in");
    browser.fill("#key", keyward.root());
    browser.click("form button");
    eventually("the overview", || browser.text_now("h1").as_deref() == Some("Overview"));
    browser.log("performance");
    for (name, path) in world.pages() {
        browser.open(&format!("{}{path}", keyward.url()));
        look(name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let asked: Vec<String> = browser.log("performance").iter().filter_map(|line| asked_for(line)).collect();
    assert!(asked.len() > world.pages().len(), "{asked:?}");
    // What the browser draws its own fields with is in it already.
    for url in asked.iter().filter(|url| !url.starts_with("data:")) {
        assert!(url.starts_with(&keyward.url()), "nothing is asked of others: {url}");
    }
    let complaints: Vec<String> =
        browser.log("browser").into_iter().filter(|line| line.contains("Content Security Policy")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");

    // The proof of an event is checked by the browser itself; one that was altered is not.
    browser.open(&format!("{}/dashboard/events/{}", keyward.url(), world.event));
    browser.click("[data-check]");
    eventually("the proof", || browser.text("[data-told]").starts_with("Checked"));
    browser
        .run("const d = document.querySelector('[data-proof]').dataset; d.entry = 'AAAA' + d.entry.slice(4)");
    browser.click("[data-check]");
    eventually("the altered proof", || browser.text("[data-told]").starts_with("It does not lead"));
}

/// The URL that a line of the browser's log says was asked for.
fn asked_for(line: &str) -> Option<String> {
    let message: Value =
        serde_json::from_str(line).ok().filter(|_| line.contains("Network.requestWillBeSent\""))?;
    message.pointer("/message/params/request/url")?.as_str().map(str::to_owned)
}
