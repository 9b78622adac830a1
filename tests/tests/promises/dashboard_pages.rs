//! Every page of the dashboard is one that everybody can use: axe-core finds nothing on it in either scheme, it fits a narrow window and a
//! wide one, weighs little, and shows what somebody wrote as text.

use std::path::PathBuf;

use keyward_domain::Timestamp;
use keyward_domain::delivery::ATTEMPTS_MAX;
use keyward_e2e::admin::{Holder, authorize, new_credential, new_webhook};
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
    admin: String,
    webhook: String,
    failing: String,
    event: String,
    policy: String,
    role: String,
    credential: String,
}

/// A webhook whose endpoint was down for so long that what it was to be told is a dead letter; days have gone by then.
fn webhook_with_dead_letters(keyward: &Keyward, application: &str) -> String {
    let mut new = new_webhook(application);
    // Nobody listens there.
    new["url"] = "http://127.0.0.1:1/hook".into();
    let id = keyward.as_root(Request::post("/v1/webhooks", &new)).expect(201).text_at("/webhook/id");
    keyward.issue(application, &["orders:read"]);
    for _ in 0..=ATTEMPTS_MAX {
        keyward.as_root(Request::post("/v1/delivery/run", &json!({}))).expect(200);
        let shown = keyward.as_root(Request::get(&format!("/v1/webhooks/{id}"))).expect(200).json();
        let Some(at) = shown["delivery"]["next_attempt_at"].as_str() else { return id };
        let at = u64::try_from(Timestamp::parse(at).unwrap().unix_ms()).unwrap();
        keyward.advance_ms((at + 1).saturating_sub(keyward.now_ms()));
    }
    panic!("it is tried for ever");
}

/// A name of 128 bytes, which is as long as one may be.
fn longest() -> String {
    "W".repeat(128)
}

fn hostile_world(keyward: &Keyward) -> World {
    let application = keyward.application("Acme");
    // What is overdue by the time that the endpoint was given up.
    let often = keyward.policy("every hour", &json!({ "rotate_every_s": 3_600, "grace_s": 60 }));
    let late = keyward.holder(&application, &["orders:read"]).id;
    let change = json!({ "name": "night batch", "policy": often });
    keyward.as_root(Request::patch(&format!("/v1/keys/{late}"), &change)).expect(200);
    let failing = webhook_with_dead_letters(keyward, &application);
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
    let admin = keyward.admin("ops@example.com", &["keys:read", "audit:read"]).id;
    let policy = keyward.policy(HOSTILE, &json!({ "description": HOSTILE }));
    let role = json!({ "name": HOSTILE, "description": longest(), "scopes": ["keys:read", "audit:read"] });
    let role = keyward.as_root(Request::post("/v1/roles", &role)).expect(201).text_at("/id");
    let mut new = new_credential(&application, &"x".repeat(80));
    for field in ["description", "owner"] {
        new[field] = HOSTILE.into();
    }
    new["tags"] = json!(["eu", "batch"]);
    new["expires_at"] = "2020-01-31T08:00:00Z".into();
    let credential = keyward.as_root(Request::post("/v1/credentials", &new)).expect(201).text_at("/id");
    for _ in 0..2 {
        let version = json!({ "value": { "value": "another" }, "reason": HOSTILE });
        let written = Request::post(&format!("/v1/credentials/{credential}/versions"), &version);
        keyward.as_root(written).expect(201);
    }
    let destroy = Request::post(
        &format!("/v1/credentials/{credential}/versions/1/destroy"),
        &json!({ "reason": HOSTILE }),
    );
    keyward.as_root(destroy).expect(200);
    keyward.as_root(Request::post("/v1/maintenance/run", &json!({}))).expect(200);
    World {
        application,
        hostile,
        key,
        revoked,
        unclaimed,
        admin,
        webhook,
        failing,
        event,
        policy,
        role,
        credential,
    }
}

impl World {
    /// Every page, by a name for its pictures.
    fn pages(&self) -> Vec<(&'static str, String)> {
        let Self {
            application,
            hostile,
            key,
            revoked,
            unclaimed,
            admin,
            webhook,
            failing,
            event,
            policy,
            role,
            credential,
        } = self;
        let mut pages = vec![
            ("overview", "/dashboard".to_owned()),
            ("keys", format!("/dashboard/keys?application={application}")),
            ("keys-long", format!("/dashboard/keys?application={hostile}")),
            ("keys-none", format!("/dashboard/keys?application={application}&tag=none")),
            ("keys-overdue", "/dashboard/keys?standing=overdue".to_owned()),
            ("new-key", "/dashboard/keys/new".to_owned()),
            ("key", format!("/dashboard/keys/{key}")),
            ("key-revoked", format!("/dashboard/keys/{revoked}")),
            ("key-unclaimed", format!("/dashboard/keys/{unclaimed}")),
            ("key-edit", format!("/dashboard/keys/{key}/edit")),
            ("key-edit-admin", format!("/dashboard/keys/{admin}/edit")),
            ("applications", "/dashboard/applications".to_owned()),
            ("new-application", "/dashboard/applications/new".to_owned()),
            ("application", format!("/dashboard/applications/{hostile}")),
            ("credentials", format!("/dashboard/credentials?application={application}")),
            ("credential", format!("/dashboard/credentials/{credential}")),
            ("credential-edit", format!("/dashboard/credentials/{credential}/edit")),
            ("credential-destroy", format!("/dashboard/credentials/{credential}/destroy?version=2")),
            ("events", format!("/dashboard/events?key={key}&application={application}")),
            ("event", format!("/dashboard/events/{event}")),
            ("webhooks", "/dashboard/webhooks".to_owned()),
            ("webhook", format!("/dashboard/webhooks/{webhook}")),
            ("webhook-dead-letters", format!("/dashboard/webhooks/{failing}")),
            ("new-webhook", "/dashboard/webhooks/new".to_owned()),
            ("policies", "/dashboard/policies".to_owned()),
            ("new-policy", "/dashboard/policies/new".to_owned()),
            ("policy", format!("/dashboard/policies/{policy}")),
            ("policy-edit", format!("/dashboard/policies/{policy}/edit")),
            ("policy-retire", format!("/dashboard/policies/{policy}/retire")),
            ("roles", "/dashboard/roles".to_owned()),
            ("role", format!("/dashboard/roles/{role}")),
            ("new-role", "/dashboard/roles/new".to_owned()),
            ("role-edit", format!("/dashboard/roles/{role}/edit")),
            ("role-retire", format!("/dashboard/roles/{role}/retire")),
            ("report", "/dashboard/report".to_owned()),
            ("credential-report", "/dashboard/report/credentials".to_owned()),
            ("emergency", "/dashboard/emergency".to_owned()),
            ("freeze", "/dashboard/emergency/freeze".to_owned()),
            ("thaw", "/dashboard/emergency/thaw".to_owned()),
            ("revoke-many", "/dashboard/emergency/revoke".to_owned()),
            ("rotate-many", format!("/dashboard/keys/rotate?application={application}")),
            ("not-there", "/dashboard/nowhere".to_owned()),
        ];
        for (name, deed) in [
            ("key-revoke", "revoke"),
            ("key-incident", "incident"),
            ("key-finish", "finish"),
            ("key-disable", "disable"),
        ] {
            pages.push((name, format!("/dashboard/keys/{key}/{deed}")));
        }
        pages.push(("key-claim", format!("/dashboard/keys/{unclaimed}/claim")));
        for (name, deed) in [
            ("application-edit", "edit"),
            ("application-suspend", "suspend"),
            ("application-revoke", "revoke"),
        ] {
            pages.push((name, format!("/dashboard/applications/{hostile}/{deed}")));
        }
        for (name, deed) in [
            ("webhook-test", "test"),
            ("webhook-edit", "edit"),
            ("webhook-secret", "secret"),
            ("webhook-retire", "retire"),
            ("webhook-disable", "disable"),
        ] {
            pages.push((name, format!("/dashboard/webhooks/{webhook}/{deed}")));
        }
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
    let keyward = Setup::new().variable("webhook_private_targets", "true").start();
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
    let open = |path: &str| browser.open(&format!("{}{path}", keyward.url()));
    let presses = |css: &str, leads_to: &str| {
        browser.click(css);
        eventually(leads_to, || browser.text_now(leads_to).is_some());
    };
    // What only a form leads to.
    let new = format!("/dashboard/keys/new?application={}", world.application);
    open(&new);
    browser.fill("#name", HOSTILE.lines().next().unwrap_or_default());
    browser.fill("#scopes", "NOT A SCOPE");
    presses(".confirm button", ".problem");
    look("new-key-wrong");
    open(&new);
    browser.fill("#name", "order intake");
    browser.fill("#scopes", "orders:read");
    presses(".confirm button", ".secret");
    look("claim-link");
    open(&format!("/dashboard/keys/{}/edit", world.key));
    for (field, text) in [
        ("#name", "order intake"),
        ("#scopes", "orders:write\nstock:read"),
        ("#tags", "eu, nightly"),
        ("#networks", "192.0.2.0/24"),
        ("#limits", "burst=100/60s"),
    ] {
        browser.fill(field, text);
    }
    presses(".confirm button", ".compared");
    look("key-edit-shown");
    open(&format!("/dashboard/applications/{}/edit", world.hostile));
    browser.fill("#contacts", "ops@example.com");
    browser.fill("#limits", "shared=5000/day");
    presses(".confirm button", ".compared");
    look("application-edit-shown");
    open(&format!("/dashboard/credentials/{}/edit", world.credential));
    browser.fill("#owner", "Ada");
    browser.fill("#ends", "2020-01-31T08:00");
    presses(".confirm button", ".compared");
    look("credential-edit-shown");
    open("/dashboard/emergency/revoke");
    browser.fill("#tag", "eu");
    presses(".confirm button", ".counts");
    look("revoke-many-shown");
    presses("button.danger", ".notice");
    look("revoke-many-done");
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
