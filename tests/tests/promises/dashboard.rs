//! The dashboard in a real browser that runs no scripts: a person signs in, issues a key, has it claimed, rotates it, ends the overlap, revokes
//! it, finds all of that in the log, and signs out. Going back, loading anew and pressing twice do nothing more.

use keyward_e2e::admin::revoke;
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

#[test]
fn tabs_double_clicks_and_the_way_back_do_nothing_twice() {
    let keyward = Setup::new().by_command().start();
    let browser = Browser::start(&keyward.folder().join("profile"));
    let person = Person { keyward: &keyward, browser: &browser };
    let application = keyward.application("Acme");
    let holders: Vec<_> = (0..3).map(|_| keyward.holder(&application, &["a:b"])).collect();
    let revokes = |id: &str| person.events(id).iter().filter(|action| *action == "key.revoke").count();
    let sign_in = || {
        browser.fill("#key", keyward.root());
        browser.click("form button");
    };
    browser.look(1000, false);
    person.open("/dashboard/sign-in");
    sign_in();
    eventually("the overview", || person.path() == "/dashboard");

    // Signed out in one tab, whoever acts in the other is told to sign in, and nothing is done.
    let (page, revoke) =
        (format!("/dashboard/keys/{}", holders[0].id), format!("/dashboard/keys/{}/revoke", holders[0].id));
    let first = browser.tab();
    person.open(&revoke);
    browser.new_tab();
    person.open("/dashboard");
    person.presses(".who button", "/dashboard/sign-in?left=1");
    browser.show(&first);
    person.presses_for("button.danger", "Sign in");
    person.sees("You are not signed in any more");
    person.sees("Nothing was changed");
    assert_eq!((keyward.authorizes(&holders[0].token), revokes(&holders[0].id)), (204, 0));
    sign_in();
    eventually("the dashboard", || person.path().starts_with("/dashboard") && person.path() != revoke);

    // A double click is one deed, with scripts and without; neither the way back nor pressing there again adds one.
    for (holder, is_without) in [(&holders[1], false), (&holders[2], true)] {
        let (page, revoke) =
            (format!("/dashboard/keys/{}", holder.id), format!("/dashboard/keys/{}/revoke", holder.id));
        browser.without_scripts(is_without);
        person.open(&revoke);
        browser.double_click("button.danger");
        eventually("the key", || person.path() == format!("{page}?done=revoke"));
        assert_eq!((keyward.authorizes(&holder.token), revokes(&holder.id)), (401, 1));
        browser.back();
        eventually("the form", || person.path() == revoke);
        if browser.text_now("button.danger").is_some() {
            browser.click("button.danger");
            eventually("the key", || person.path() == format!("{page}?done=revoke"));
        } else {
            person.sees("there is nothing to do here");
        }
        assert_eq!(revokes(&holder.id), 1);
    }
    browser.without_scripts(false);
    person.open(&page);
    person.sees("Active");
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
    a_key_is_edited(&keyward, &mut visitor);
    an_old_form_writes_nothing_over(&keyward, &mut visitor);
    many_keys_end_in_steps(&keyward, &mut visitor);
    many_keys_are_rotated_in_steps(&keyward, &mut visitor);
    issuing_is_frozen_and_thawed(&keyward, &mut visitor);
    webhooks_are_switched_off_and_retired(&keyward, &mut visitor);
    credentials_go_back_and_are_destroyed(&keyward, &mut visitor);
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
    let edit = format!("{place}/edit");
    let page = visitor.get(&edit).expect(200);
    let written = [
        ("name", "renamed"),
        ("contacts", "a@example.com"),
        ("importance", "low"),
        ("limits", "burst=10/60s"),
    ];
    let look = visitor.send(&page, &edit, &written).expect(200);
    for part in ["<del>", "b@example.com", "renamed", "<ins>", "burst=10/60s"] {
        assert!(look.text().contains(part), "{part} in {}", look.text());
    }
    assert_eq!(shown(keyward, &api)["name"], "by the form", "looking changes nothing");
    visitor.send(&look, &edit, &[("reason", "because")]).expect(303);
    let application = shown(keyward, &api);
    assert_eq!(application["limits"][0]["limit"], 10);
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
        ("leak", "revoke"),
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

/// A key is changed by the form as over the API: what will be different is shown first, what is wrong stands beside the form, what somebody
/// else changed meanwhile is not written over, and it is done once.
fn a_key_is_edited(keyward: &Keyward, visitor: &mut Visitor<'_>) {
    let application = keyward.application("of an edited key");
    let policy = keyward.policy("often", &json!({ "rotate_every_s": 86_400, "grace_s": 3_600 }));
    let id = keyward.holder(&application, &["a:b", "c:d"]).id;
    let (api, edit) = (format!("/v1/keys/{id}"), format!("/dashboard/keys/{id}/edit"));
    let shown = || keyward.as_root(Request::get(&api)).expect(200).json();
    let changes = || {
        let events = keyward.events(&format!("key={id}&action=key.change"));
        events.iter().filter(|event| event["outcome"] == "done").count()
    };
    let page = visitor.get(&edit).expect(200);
    for part in ["a:b\nc:d", "often"] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    let written = [
        ("name", "renamed"),
        ("scopes", "a:b e:f"),
        ("networks", "192.0.2.0/24"),
        ("tags", "eu, batch"),
        ("policy", &*policy),
        ("limits", "burst=10/60s\ndaily=500/day,pass"),
    ];
    let look = visitor.send(&page, &edit, &written).expect(200);
    for part in [
        "loses 1 scope",
        "<del><bdi>c:d",
        "<ins><bdi>e:f",
        "192.0.2.0/24",
        "<ins><bdi>often",
        "Next rotation",
        "daily=500/day,pass",
    ] {
        assert!(look.text().contains(part), "{part} in {}", look.text());
    }
    assert_eq!(changes(), 0, "looking changes nothing");
    // Two tabs: what was looked at before somebody else's change is not made, and its own is made once.
    let mut fields = hidden(&look, &edit);
    let late = fields.clone();
    for _ in 0..2 {
        visitor.post(&edit, &fields).expect(303);
    }
    assert_eq!(changes(), 1);
    let key = shown();
    assert_eq!(
        (&key["name"], &key["scopes"], &key["tags"], &key["policy"]),
        (&json!("renamed"), &json!(["a:b", "e:f"]), &json!(["eu", "batch"]), &json!(policy))
    );
    assert_eq!(
        (&key["rules"]["network"], &key["limits"][1]["per"]),
        (&json!(["192.0.2.0/24"]), &json!("day"))
    );
    keyward.as_root(Request::patch(&api, &json!({ "name": "by somebody else" }))).expect(200);
    let told = visitor.post(&edit, &late).expect(412).text();
    assert!(told.contains("Somebody was faster"), "{told}");
    assert_eq!((&shown()["name"], changes()), (&json!("by somebody else"), 2));
    // A form without the revision is none of ours.
    fields.retain(|(name, _)| name != "revision");
    visitor.post(&edit, &fields).expect(412);
    // What is wrong stands beside the form, with what was written in it.
    let page = visitor.get(&edit).expect(200);
    let same = [
        ("name", "by somebody else"),
        ("scopes", "a:b\ne:f"),
        ("networks", "192.0.2.0/24"),
        ("tags", "eu, batch"),
        ("policy", &*policy),
    ];
    let unlimited = [&same[..], &[("limits", "burst=10/60s\ndaily=500/day,pass")]].concat();
    assert!(visitor.send(&page, &edit, &unlimited).expect(200).text().contains("Nothing is different"));
    for (field, wrong) in [("limits", "soon"), ("scopes", "NOT A SCOPE"), ("networks", "nowhere")] {
        let mut fields = unlimited.clone();
        fields.retain(|(name, _)| *name != field);
        fields.push((field, wrong));
        let told = visitor.send(&page, &edit, &fields).expect(400).text();
        assert!(told.contains("role=\"alert\"") && told.contains(wrong), "{told}");
    }
    assert_eq!(changes(), 2);
    // A key that is dead is not edited.
    keyward.as_root(revoke(&id)).expect(200);
    assert!(visitor.get(&edit).expect(200).text().contains("revoked, for good"));
}

/// Policies and roles that somebody else changed meanwhile are not written over either.
fn an_old_form_writes_nothing_over(keyward: &Keyward, visitor: &mut Visitor<'_>) {
    let policy = keyward.policy("raced", &json!({ "rotate_every_s": 86_400, "grace_s": 3_600 }));
    let role = json!({ "name": "raced", "scopes": ["keys:read"] });
    let role = keyward.as_root(Request::post("/v1/roles", &role)).expect(201).text_at("/id");
    let terms = [
        ("rotate", "30"),
        ("grace", "7"),
        ("renewal", "yes"),
        ("reuse", "stop"),
        ("breach", "warn"),
        ("leak", "rotate"),
    ];
    let scopes = [("scopes", "keys:read")];
    for (api, mine) in
        [(format!("/v1/policies/{policy}"), &terms[..]), (format!("/v1/roles/{role}"), &scopes[..])]
    {
        let edit = format!("{}/edit", api.replace("/v1", "/dashboard"));
        let page = visitor.get(&edit).expect(200);
        keyward.as_root(Request::patch(&api, &json!({ "description": "by somebody else" }))).expect(200);
        visitor.send(&page, &edit, &[&[("name", "raced")], mine].concat()).expect(412);
        let shown = keyward.as_root(Request::get(&api)).expect(200);
        assert_eq!(shown.text_at("/description"), "by somebody else");
        let page = visitor.get(&edit).expect(200);
        let mut fields = hidden(&page, &edit);
        for (name, value) in [&[("name", "raced")], mine].concat() {
            fields.push((name.to_owned(), value.to_owned()));
        }
        for _ in 0..2 {
            visitor.post(&edit, &fields).expect(303);
        }
    }
    for (action, target) in [("policy.change", &policy), ("role.change", &role)] {
        let events = keyward.events(&format!("action={action}"));
        let of_it = events.iter().filter(|event| event["target"].to_string().contains(target.as_str()));
        let outcomes: Vec<_> = of_it.map(|event| event["outcome"].as_str().unwrap()).collect();
        assert_eq!(outcomes, ["done", "refused", "done"], "{action}: one each");
    }
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

fn many_keys_are_rotated_in_steps(keyward: &Keyward, visitor: &mut Visitor<'_>) {
    const ROTATE: &str = "/dashboard/keys/rotate";
    /// More than one form does.
    const MANY: usize = 131;
    let tickets = |reply: &Reply| -> Vec<String> {
        let text = reply.text();
        let shown = text.split("data-copy=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        shown.map(|link| link.split_once("/claim#").expect("a claim's link").1.to_owned()).collect()
    };
    let application = keyward.application("of many keys to rotate");
    let tokens: Vec<String> = (0..3).map(|_| keyward.holder(&application, &["a:b"]).token).collect();
    let page = visitor.get(&format!("{ROTATE}?application={application}")).expect(200);
    assert!(page.text().contains(&format!("<option value=\"{application}\" selected")), "{}", page.text());
    let asked = [("application", &*application), ("grace_h", "2"), ("reason", "because")];
    let look = visitor.send(&page, ROTATE, &asked).expect(200);
    assert!(look.text().contains("<strong>3</strong>would be rotated"), "{}", look.text());
    assert!(
        tickets(&look).is_empty()
            && keyward.events(&format!("application={application}&action=key.rotate")).is_empty(),
        "looking does nothing"
    );
    let fields = hidden(&look, ROTATE);
    let done = visitor.post(ROTATE, &fields).expect(200);
    assert!(done.text().contains("<strong>3</strong>rotated"), "{}", done.text());
    assert!(done.text().contains("<progress id=\"progress\" max=\"3\" value=\"3\">"), "{}", done.text());
    assert_eq!(done.field("cache-control"), Some("no-store"));
    let links = tickets(&done);
    assert_eq!(links.len(), 3);
    let again = visitor.post(ROTATE, &fields).expect(200);
    assert_eq!(tickets(&again), links, "the same form sent twice has the same links");
    for ticket in &links {
        assert!(done.text().matches(&**ticket).count() > 1, "and each as text");
        let claimed = keyward.send(Request::post("/v1/claims", &json!({ "ticket": ticket }))).expect(200);
        assert_eq!(keyward.authorizes(&claimed.text_at("/token")), 204);
    }
    assert!(tokens.iter().all(|token| keyward.authorizes(token) == 204), "nobody is cut off");

    // In an incident: more than one form does, and no link is lost on the way.
    let application = keyward.application("of many more keys to rotate");
    let tokens: Vec<String> = (0..MANY).map(|_| keyward.holder(&application, &["a:b"]).token).collect();
    keyward.advance_ms(1);
    let page = visitor.get(&format!("{ROTATE}?mode=incident")).expect(200);
    let asked = [("application", &*application), ("mode", "incident"), ("reason", "because")];
    let mut page = visitor.send(&page, ROTATE, &asked).expect(200);
    assert!(page.text().contains("that was claimed so far ends at once"), "{}", page.text());
    let mut links: Vec<String> = Vec::new();
    let mut forms = 0;
    while page.text().contains("name=\"step\" value=\"act\"") {
        page = visitor.send(&page, ROTATE, &[]).expect(200);
        let new = tickets(&page);
        assert!(new.iter().all(|link| !links.contains(link)));
        links.extend(new);
        forms += 1;
        assert!(!page.text().contains("data-go-on"), "it waits until somebody has the links");
    }
    assert!(forms > 1 && page.text().contains(&format!("<strong>{MANY}</strong>rotated")), "{}", page.text());
    assert_eq!(links.len(), MANY);
    assert!(tokens.iter().all(|token| keyward.authorizes(token) == 401));
}

fn issuing_is_frozen_and_thawed(keyward: &Keyward, visitor: &mut Visitor<'_>) {
    const FREEZE: &str = "/dashboard/emergency/freeze";
    const THAW: &str = "/dashboard/emergency/thaw";
    assert!(visitor.get("/dashboard/emergency").expect(200).text().contains(FREEZE));
    let page = visitor.get(FREEZE).expect(200);
    assert!(page.text().contains("Nobody issues a key"), "it is said what it does: {}", page.text());
    // Pressed twice.
    let mut fields = hidden(&page, FREEZE);
    fields.push(("reason".to_owned(), "an incident".to_owned()));
    for _ in 0..2 {
        visitor.post(FREEZE, &fields).expect(303);
    }
    assert_eq!(keyward.events("action=emergency.freeze").len(), 1);
    let overview = visitor.get("/dashboard").expect(200).text();
    assert!(overview.contains("Issuing is frozen") && overview.contains("an incident"), "{overview}");
    let refused =
        json!({ "application": keyward.application("while frozen"), "name": "n", "environment": "live" });
    keyward.as_root(Request::post("/v1/keys", &refused)).expect(409);
    let emergency = visitor.get("/dashboard/emergency").expect(200).text();
    assert!(emergency.contains(THAW) && !emergency.contains(FREEZE), "{emergency}");
    let page = visitor.get(THAW).expect(200);
    visitor.send(&page, THAW, &[("reason", "it is over")]).expect(303);
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

/// What is done with credentials is done once, to the version that was meant, by whoever may; what they hold is on no page.
fn credentials_go_back_and_are_destroyed(keyward: &Keyward, visitor: &mut Visitor<'_>) {
    let application = keyward.application("with credentials");
    let id = keyward.credential(&application, "payments/db");
    let body = json!({ "value": { "value": "canary-of-the-second-version" } });
    keyward.as_root(Request::post(&format!("/v1/credentials/{id}/versions"), &body)).expect(201);
    let (list, here) = ("/dashboard/credentials", format!("/dashboard/credentials/{id}"));
    let shown = || keyward.as_root(Request::get(&format!("/v1/credentials/{id}"))).expect(200).json();
    let done = |action: &str| {
        let events = keyward.events(&format!("credential={id}&action={action}"));
        events.iter().filter(|event| event["outcome"] == "done").count()
    };
    let act = |visitor: &mut Visitor<'_>, deed: &str, query: &str| {
        let action = format!("{here}/{deed}");
        let page = visitor.get(&format!("{action}{query}")).expect(200);
        let mut fields = hidden(&page, &action);
        fields.push(("reason".to_owned(), "because".to_owned()));
        for _ in 0..2 {
            let place = visitor.post(&action, &fields).expect(303);
            assert_eq!(place.field("location"), Some(&*format!("{here}?done={deed}")));
        }
        page.text()
    };

    // Found by application and by how the name begins.
    let named = |prefix: &str| format!("{list}?application={application}&name={prefix}");
    assert!(visitor.get(&named("payments/")).expect(200).text().contains(&here));
    assert!(!visitor.get(&named("orders/")).expect(200).text().contains(&here));
    visitor.get(&format!("{list}?value=1")).expect(400);
    let page = visitor.get(&format!("/dashboard/applications/{application}")).expect(200);
    assert!(page.text().contains(&format!("{list}?application={application}")), "{}", page.text());

    what_is_known_of_a_credential_is_edited(keyward, visitor, &application, &id);

    // Whoever may see or write some names only sees those, and what they may do with them.
    let scopes = ["credentials:list@payments/*", "credentials:write@payments/db", "keys:read"];
    let narrowed = keyward.admin("payments@example.com", &scopes);
    let mut narrow = Visitor::signed_in(keyward, &narrowed.token);
    let other = keyward.credential(&application, "orders/db");
    let page = narrow.get(list).expect(200).text();
    assert!(page.contains(&here) && !page.contains(&other), "{page}");
    let page = narrow.get(&here).expect(200).text();
    for (part, is_there) in [
        ("/roll-back?version=1", true),
        ("keyward credential write", true),
        ("/destroy?version=1", false),
        ("/retire", false),
    ] {
        assert_eq!(page.contains(part), is_there, "{part} in {page}");
    }
    narrow.get(&format!("{list}/{other}")).expect(404);
    let destroy = format!("{here}/destroy");
    let page = narrow.get(&format!("{destroy}?version=1")).expect(200);
    narrow.send(&page, &destroy, &[("reason", "because")]).expect(403);

    let told = act(visitor, "roll-back", "?version=1");
    assert!(told.contains("in the place of version 2"), "{told}");
    assert_eq!((&shown()["current"], done("credential.roll-back")), (&json!(1), 1));
    // What is wrong stands beside the form: nobody destroys without a reason, and nobody the current version.
    let page = visitor.get(&format!("{destroy}?version=2")).expect(200);
    visitor.send(&page, &destroy, &[("reason", "")]).expect(400);
    let told = visitor.get(&format!("{destroy}?version=1")).expect(200).text();
    assert!(told.contains("there is nothing to do here"), "{told}");
    let told = act(visitor, "destroy", "?version=2");
    assert!(told.contains("is overwritten, for good"), "{told}");
    assert_eq!((&shown()["versions"][0]["state"], done("credential.destroy")), (&json!("destroyed"), 1));
    act(visitor, "retire", "");
    assert_eq!((&shown()["state"], done("credential.retire")), (&json!("retired"), 1));

    // Its events lead to it; what it held is on none of these pages.
    let events = format!("/dashboard/events?credential={id}&application={application}");
    let page_of = |credential: &str| {
        let newest = &keyward.events(&format!("credential={credential}"))[0];
        format!("/dashboard/events/{}", newest["id"].as_str().unwrap())
    };
    let (its, others) = (page_of(&id), page_of(&other));
    assert!(visitor.get(&its).expect(200).text().contains(&here));
    let found = visitor.get(&events).expect(200).text();
    let leads_to = |page: &str| found.contains(&format!("href=\"{page}\""));
    assert!(leads_to(&its) && !leads_to(&others), "{found}");
    for path in [list, &here, &events] {
        assert!(!visitor.get(path).expect(200).text().contains("canary-of-the"), "{path}");
    }
    for (deed, status) in [("destroy", 400), ("destroy?version=9", 404), ("write", 404)] {
        visitor.get(&format!("{here}/{deed}")).expect(status);
    }
}

/// What is known of a credential is changed once, after it was shown, and found by it.
fn what_is_known_of_a_credential_is_edited(
    keyward: &Keyward,
    visitor: &mut Visitor<'_>,
    application: &str,
    id: &str,
) {
    let (list, here) = ("/dashboard/credentials", format!("/dashboard/credentials/{id}"));
    let edit = format!("{here}/edit");
    let shown = || keyward.as_root(Request::get(&format!("/v1/credentials/{id}"))).expect(200).json();
    let page = visitor.get(&edit).expect(200);
    let fields = [
        ("name", "payments/db"),
        ("description", "of the shop"),
        ("owner", "Ada"),
        ("tags", "eu, batch"),
        ("ends", "2020-01-31T08:00"),
        ("policy", ""),
    ];
    let wrong = visitor.send(&page, &edit, &[&fields[..4], &[("ends", "soon"), ("policy", "")]].concat());
    assert!(wrong.expect(400).text().contains("role=\"alert\""));
    let proposed = visitor.send(&page, &edit, &fields).expect(200);
    for told in ["<ins><bdi>Ada</bdi></ins>", "<ins><bdi>batch</bdi></ins>", "not known"] {
        assert!(proposed.text().contains(told), "{told} in {}", proposed.text());
    }
    assert_eq!(shown()["owner"], "", "looking changes nothing");
    let make = hidden(&proposed, &edit);
    for _ in 0..2 {
        let place = visitor.post(&edit, &make).expect(303);
        assert_eq!(place.field("location"), Some(&*format!("{here}?done=edit")));
    }
    let changed = shown();
    assert_eq!((&changed["owner"], &changed["tags"]), (&json!("Ada"), &json!(["eu", "batch"])));
    assert_eq!((&changed["state"], &changed["revision"]), (&json!("expired"), &json!(3)));
    for (query, is_there) in
        [("tag=eu", true), ("tag=other", false), ("state=expired", true), ("state=overdue", false)]
    {
        let page = visitor.get(&format!("{list}?application={application}&{query}")).expect(200);
        assert_eq!(page.text().contains(&here), is_there, "{query}");
    }
    let report = visitor.get(&format!("/dashboard/report/credentials?application={application}")).expect(200);
    assert!(report.text().contains(&here), "{}", report.text());
    assert!(visitor.get("/dashboard").expect(200).text().contains("/dashboard/credentials?state=expired"));
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
