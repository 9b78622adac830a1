//! The dashboard in a real browser that runs no scripts: a person signs in, issues a key, has it claimed, rotates it, ends the overlap, revokes
//! it, finds all of that in the log, and signs out. Going back, loading anew and pressing twice do nothing more.

use keyward_e2e::browser::Browser;
use keyward_e2e::dashboard::{Visitor, hidden};
use keyward_e2e::{Keyward, Reply, Request, Setup, Value, eventually, json};

/// A person at a browser.
struct Person<'k> {
    keyward: &'k Keyward,
    browser: &'k Browser,
}

impl Person<'_> {
    fn open(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.keyward.url()));
    }

    #[track_caller]
    fn sees(&self, part: &str) {
        let text = self.browser.text("body");
        assert!(text.contains(part), "`{part}` in {text}");
    }

    fn path(&self) -> String {
        self.browser.address_shown().replace(&self.keyward.url(), "")
    }

    fn presses(&self, css: &str, leads_to: &str) {
        self.browser.click(css);
        eventually(leads_to, || self.path() == leads_to);
    }

    /// Presses what leads to an answer at the very same place.
    fn presses_for(&self, css: &str, heading: &str) {
        self.browser.click(css);
        eventually(heading, || self.browser.text_now("h1").as_deref() == Some(heading));
    }

    /// Takes the claim that the page shows, as whoever it is for does.
    fn claims(&self) -> String {
        let url = self.browser.text(".secret code");
        let (page, ticket) = url.split_once('#').expect("a claim's link");
        assert_eq!(page, format!("{}/claim", self.keyward.url()));
        let body = json!({ "ticket": ticket });
        self.keyward.send(Request::post("/v1/claims", &body)).expect(200).text_at("/token")
    }

    fn events(&self, key: &str) -> Vec<String> {
        let events = self.keyward.events(&format!("key={key}"));
        events.iter().rev().map(|event| event["action"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn a_person_does_without_scripts_what_there_is_to_do() {
    // Its links must lead to where it listens: that is what `keyward up` sees to.
    let keyward = Setup::new().by_command().start();
    let browser = Browser::start(&keyward.folder().join("profile"));
    let person = Person { keyward: &keyward, browser: &browser };
    let application = keyward.application("Acme");
    browser.look(1000, false);
    browser.without_scripts(true);

    person.open("/dashboard/sign-in");
    browser.fill("#key", "kw_live_nobody");
    browser.click("form button");
    eventually("the refusal", || {
        browser.text_now("body").is_some_and(|text| text.contains("This key does not open the dashboard"))
    });
    browser.fill("#key", keyward.root());
    person.presses("form button", "/dashboard");
    person.sees("Nothing is wrong");
    person.sees("Signed in to the dashboard");

    // A key: issued, claimed, used.
    person.presses("a[href='/dashboard/keys']", "/dashboard/keys");
    person.open(&format!("/dashboard/keys/new?application={application}"));
    browser.fill("#name", "order intake");
    browser.fill("#scopes", "orders:read orders:write");
    person.presses_for(".confirm button", "The key is ready to be claimed");
    let token = person.claims();
    assert_eq!(keyward.authorizes(&token), 204);
    let key = keyward.list(&format!("/v1/keys?application={application}&limit=100"))[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let page = format!("/dashboard/keys/{key}");
    // Loading the answer anew sends the form again, and is given the same answer.
    browser.reload();
    eventually("the answer", || browser.text_now("h1").as_deref() == Some("The key is ready to be claimed"));
    assert_eq!(keyward.list(&format!("/v1/keys?application={application}&limit=100")).len(), 1, "one key");
    person.open(&page);
    person.sees("Active");
    person.sees("orders:write");

    // A rotation: offered, claimed, the overlap ended.
    person.presses(&format!("a[href='{page}/rotate']"), &format!("{page}/rotate"));
    person.sees("both versions pass until the grace is over");
    person.presses_for(".confirm button", "The key is ready to be claimed");
    let successor = person.claims();
    assert_eq!((keyward.authorizes(&token), keyward.authorizes(&successor)), (204, 204));
    person.open(&page);
    person.sees("Two versions");
    person.presses(&format!("a[href='{page}/finish']"), &format!("{page}/finish"));
    person.presses(".confirm button", &format!("{page}?done=finish"));
    person.sees("the newest version alone passes");
    assert_eq!((keyward.authorizes(&token), keyward.authorizes(&successor)), (401, 204));
    browser.back();
    eventually("the form", || person.path() == format!("{page}/finish"));
    browser.reload();
    person.sees("there is nothing to do here");

    // Two presses from a key to its end.
    person.open(&page);
    person.presses(&format!("a[href='{page}/revoke']"), &format!("{page}/revoke"));
    person.sees("1 version end, for good");
    person.presses("button.danger", &format!("{page}?done=revoke"));
    person.sees("The key is revoked, for good.");
    assert_eq!(keyward.authorizes(&successor), 401);
    browser.reload();
    browser.back();
    let expected = ["key.issue", "claim.take", "key.rotate", "claim.take", "rotation.finish", "key.revoke"];
    assert_eq!(person.events(&key), expected, "going back and loading anew do nothing");

    // What happened is in the log, each with who did it.
    person.open(&format!("/dashboard/events?key={key}&application={application}"));
    person.sees("Overlap ended");
    browser.click(".timeline a");
    eventually("the event", || person.path().starts_with("/dashboard/events/evt_1_"));
    person.sees("Key revoked");
    person.sees("Entry");

    person.presses(".who button", "/dashboard/sign-in?left=1");
    person.sees("You have signed out");
    person.open(&page);
    person.sees("Key of the application keyward");
}

/// Signs in at a Keyward of its own.
fn visitor(keyward: &Keyward) -> Visitor<'_> {
    Visitor::signed_in(keyward, keyward.root())
}

#[test]
fn forms_do_what_the_api_does_and_no_more_than_once() {
    let keyward = Keyward::start();
    let mut visitor = visitor(&keyward);
    the_log_is_checked(&keyward, &mut visitor);
    pressed_twice_it_acts_once(&keyward, &mut visitor);
    what_is_wrong_stands_beside_the_form(&keyward, &mut visitor);
    applications_policies_and_roles(&keyward, &mut visitor);
    many_keys_end_in_steps(&keyward, &mut visitor);
    issuing_is_frozen_and_thawed(&keyward, &mut visitor);
    webhooks_are_switched_off_and_retired(&keyward, &mut visitor);
    a_store_that_is_silent_is_told(&keyward, &mut visitor);
}

fn the_log_is_checked(keyward: &Keyward, visitor: &mut Visitor<'_>) {
    keyward.as_root(Request::post("/v1/maintenance/run", &json!({}))).expect(200);
    let overview = visitor.get("/dashboard").expect(200).text();
    for part in ["Verified", "nothing outside this store remembers", "Nothing is wrong"] {
        assert!(overview.contains(part), "{part} in {overview}");
    }
    assert!(!overview.contains("Behind by") && !overview.contains("Does not verify"), "{overview}");
    keyward.application("one more event");
    assert!(visitor.get("/dashboard").expect(200).text().contains("Behind by 1"));
}

fn pressed_twice_it_acts_once(keyward: &Keyward, visitor: &mut Visitor<'_>) {
    let application = keyward.application("pressed twice");
    let page = visitor.get("/dashboard/keys/new").expect(200);
    let mut fields = hidden(&page, "/dashboard/keys/new");
    for (name, value) in
        [("application", &*application), ("name", "once"), ("environment", "live"), ("scopes", "a:b")]
    {
        fields.push((name.to_owned(), value.to_owned()));
    }
    let link = |reply: &Reply| {
        reply.text().split("data-copy=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let (one, two) =
        (visitor.post("/dashboard/keys/new", &fields), visitor.post("/dashboard/keys/new", &fields));
    assert_eq!(link(&one.expect(200)), link(&two.expect(200)), "the same link");
    let keys = keyward.list(&format!("/v1/keys?application={application}&limit=100"));
    assert_eq!(keys.len(), 1);

    let id = keyward.holder(&application, &["a:b"]).id;
    for deed in ["disable", "enable", "rotate", "cancel", "revoke"] {
        let action = format!("/dashboard/keys/{id}/{deed}");
        let page = visitor.get(&action).expect(200);
        let mut fields = hidden(&page, &action);
        fields.push(("reason".to_owned(), "because".to_owned()));
        let replies = [visitor.post(&action, &fields), visitor.post(&action, &fields)];
        for reply in replies {
            let expected = if deed == "rotate" { 200 } else { 303 };
            assert_eq!(reply.status, expected, "{deed}: {}", reply.text());
        }
    }
    let done = |action: &str| {
        keyward
            .events(&format!("key={id}&action={action}"))
            .iter()
            .filter(|event| event["outcome"] == "done")
            .count()
    };
    assert_eq!((done("key.rotate"), done("rotation.cancel"), done("key.revoke")), (1, 1, 1));
}

fn what_is_wrong_stands_beside_the_form(keyward: &Keyward, visitor: &mut Visitor<'_>) {
    let page = visitor.get("/dashboard/keys/new").expect(200);
    let application = keyward.application("of a form that is wrong");
    let wrong = [
        ("application", &*application),
        ("name", ""),
        ("environment", "live"),
        ("scopes", "NOT A SCOPE"),
        ("days", "0"),
    ];
    let reply = visitor.send(&page, "/dashboard/keys/new", &wrong).expect(400).text();
    for part in ["<code>name</code>", "<code>scopes[0]</code>", "<code>expires_in_s</code>", "NOT A SCOPE"] {
        assert!(reply.contains(part), "{part} in {reply}");
    }
    let refused = &keyward.events("action=key.issue")[0];
    assert_eq!(refused["outcome"], "refused", "a refusal is an event as over the API");
    visitor.get("/dashboard/keys/key_0000000000000000000001").expect(404);
    visitor.get("/dashboard/keys/nonsense").expect(404);
    visitor.get("/dashboard/events?since=yesterday").expect(400);
    let put = visitor.ask(Request::new("PUT", "/dashboard/keys")).expect(405);
    assert_eq!(put.field("allow"), Some("GET, HEAD, OPTIONS"));
}

fn applications_policies_and_roles(keyward: &Keyward, visitor: &mut Visitor<'_>) {
    let new = |visitor: &mut Visitor<'_>, path: &str, fields: &[(&str, &str)]| {
        let page = visitor.get(path).expect(200);
        let place = visitor.send(&page, path, fields).expect(303).field("location").unwrap().to_owned();
        visitor.get(&place).expect(200);
        place.split('?').next().unwrap().to_owned()
    };
    let act = |visitor: &mut Visitor<'_>, action: &str, fields: &[(&str, &str)]| {
        let page = visitor.get(action).expect(200);
        let place = visitor.send(&page, action, fields).expect(303).field("location").unwrap().to_owned();
        visitor.get(&place).expect(200)
    };
    let shown = |keyward: &Keyward, path: &str| keyward.as_root(Request::get(path)).expect(200).json();

    let fields =
        [("name", "by the form"), ("contacts", "a@example.com\r\nb@example.com"), ("importance", "high")];
    let place = new(visitor, "/dashboard/applications/new", &fields);
    let api = place.replace("/dashboard", "/v1");
    act(
        visitor,
        &format!("{place}/edit"),
        &[("name", "renamed"), ("contacts", "a@example.com"), ("importance", "low")],
    );
    let application = shown(keyward, &api);
    assert_eq!(
        (&application["name"], &application["contacts"], &application["importance"]),
        (&json!("renamed"), &json!(["a@example.com"]), &json!("low"))
    );
    let id = application["id"].as_str().unwrap();
    let token = keyward.holder(id, &["a:b"]).token;
    act(visitor, &format!("{place}/suspend"), &[("reason", "because")]);
    assert_eq!(shown(keyward, &api)["status"], "suspended");
    act(visitor, &format!("{place}/resume"), &[("reason", "because")]);
    assert_eq!(shown(keyward, &api)["status"], "active");
    act(visitor, &format!("{place}/revoke"), &[("reason", "because")]);
    keyward.advance_ms(250);
    assert_eq!(keyward.authorizes(&token), 401);
    // A name that is taken is told beside the form.
    let page = visitor.get("/dashboard/applications/new").expect(200);
    let taken = visitor
        .send(&page, "/dashboard/applications/new", &[("name", "renamed"), ("importance", "low")])
        .expect(409);
    assert!(taken.text().contains("value=\"renamed\""), "what was written stays");

    let terms = [
        ("grace", "7"),
        ("renewal", "yes"),
        ("reuse", "stop"),
        ("breach", "warn"),
        ("lifetime", ""),
        ("idle", ""),
    ];
    let with = |name: &'static str, rotate: &'static str| {
        [&[("name", name), ("rotate", rotate)], &terms[..]].concat()
    };
    let place = new(visitor, "/dashboard/policies/new", &with("policy by the form", "30"));
    act(visitor, &format!("{place}/edit"), &with("policy by the form", "60"));
    assert_eq!(shown(keyward, &place.replace("/dashboard", "/v1"))["rotate_every_s"], 60 * 86_400);
    act(visitor, &format!("{place}/retire"), &[("reason", "because")]);

    let place = new(
        visitor,
        "/dashboard/roles/new",
        &[("name", "role by the form"), ("scopes", "keys:read\r\naudit:read")],
    );
    act(visitor, &format!("{place}/edit"), &[("name", "role by the form"), ("scopes", "keys:read")]);
    assert_eq!(shown(keyward, &place.replace("/dashboard", "/v1"))["scopes"], json!(["keys:read"]));
    act(visitor, &format!("{place}/retire"), &[("reason", "because")]);
}

fn many_keys_end_in_steps(keyward: &Keyward, visitor: &mut Visitor<'_>) {
    const BULK: &str = "/dashboard/emergency/revoke";
    let application = keyward.application("of many keys");
    let tokens: Vec<String> = (0..3).map(|_| keyward.holder(&application, &["a:b"]).token).collect();
    let page = visitor.get(BULK).expect(200);
    let asked = [("application", &*application), ("since", "2020-01-01T00:00"), ("reason", "because")];
    let look = visitor.send(&page, BULK, &asked).expect(200);
    assert!(look.text().contains("<strong>3</strong>would end"), "{}", look.text());
    assert_eq!(keyward.authorizes(&tokens[0]), 204, "looking ends none");
    let done = visitor.send(&look, BULK, &[]).expect(200);
    assert!(done.text().contains("<strong>3</strong>ended"), "{}", done.text());
    for token in &tokens {
        assert_eq!(keyward.authorizes(token), 401);
    }
}

fn issuing_is_frozen_and_thawed(keyward: &Keyward, visitor: &mut Visitor<'_>) {
    let page = visitor.get("/dashboard/emergency").expect(200);
    visitor.send(&page, "/dashboard/emergency/freeze", &[("reason", "an incident")]).expect(303);
    let overview = visitor.get("/dashboard").expect(200).text();
    assert!(overview.contains("Issuing is frozen") && overview.contains("an incident"), "{overview}");
    let refused =
        json!({ "application": keyward.application("while frozen"), "name": "n", "environment": "live" });
    keyward.as_root(Request::post("/v1/keys", &refused)).expect(409);
    let page = visitor.get("/dashboard/emergency").expect(200);
    visitor.send(&page, "/dashboard/emergency/thaw", &[("reason", "it is over")]).expect(303);
    assert!(!visitor.get("/dashboard").expect(200).text().contains("Issuing is frozen"));
}

fn webhooks_are_switched_off_and_retired(keyward: &Keyward, visitor: &mut Visitor<'_>) {
    let id = keyward.webhook(&keyward.application("with a webhook"));
    let state = || -> Value {
        keyward.as_root(Request::get(&format!("/v1/webhooks/{id}"))).expect(200).json()["state"].clone()
    };
    for (deed, expected) in [("disable", "disabled"), ("enable", "active"), ("retire", "retired")] {
        let action = format!("/dashboard/webhooks/{id}/{deed}");
        let page = visitor.get(&action).expect(200);
        visitor.send(&page, &action, &[("reason", "because")]).expect(303);
        assert_eq!(state(), expected);
    }
}

fn a_store_that_is_silent_is_told(keyward: &Keyward, visitor: &mut Visitor<'_>) {
    keyward.plan_faults(&json!([{ "effect": "fail_before" }]));
    let told = visitor.get("/dashboard").expect(503);
    keyward.withdraw_faults();
    assert_eq!(told.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        told.text().contains("The store does not answer") && told.text().contains("refused meanwhile"),
        "{}",
        told.text()
    );
    visitor.get("/dashboard").expect(200);
}
