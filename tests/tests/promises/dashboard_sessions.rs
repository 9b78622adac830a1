//! Whoever is signed in to the dashboard is whoever presented a key there a short while ago, and nobody else: sessions cannot be planted,
//! go on after signing out, outlive the key or time, or be used by another site.

use keyward_e2e::admin::revoke;
use keyward_e2e::dashboard::{ENTRY, Fields, SESSION, Visitor, form, hidden};
use keyward_e2e::{Keyward, Request, json};

const MINUTE_MS: u64 = 60_000;

#[test]
fn a_session_is_whose_key_opened_it_and_ends_with_it() {
    let keyward = Keyward::start();
    let keyward = &keyward;
    a_wrong_key_opens_nothing_and_says_so(keyward);
    no_session_is_planted(keyward);
    signing_out_ends_it_wherever_its_cookie_lies(keyward);
    another_sites_form_does_nothing(keyward);
    a_form_of_another_session_does_nothing(keyward);
    what_a_key_may_not_see_is_not_shown(keyward);
    signing_in_and_out_is_on_record(keyward);
    no_key_stands_anywhere(keyward);
    revoking_the_key_ends_its_sessions(keyward);
    idle_and_absolute_time_end_it(keyward);
    whoever_guesses_is_told_to_wait(keyward);
}

fn a_wrong_key_opens_nothing_and_says_so(keyward: &Keyward) {
    let partner = keyward.holder(&keyward.application("a partner's"), &["a:b"]);
    let mistyped = format!("{}x", keyward.root());
    for token in ["", "nobody's", &mistyped, &partner.token] {
        let mut visitor = Visitor::new(keyward);
        let page = visitor.get("/dashboard").expect(401);
        assert_eq!(page.field("www-authenticate"), Some("Bearer realm=\"keyward\""));
        let reply = visitor.send(&page, "/dashboard/sign-in", &[("key", token)]).expect(401);
        assert!(reply.text().contains("This key does not open the dashboard"), "{}", reply.text());
        assert!(token.is_empty() || !reply.text().contains(token), "a key is not repeated");
        assert_eq!(visitor.cookie(SESSION), None);
        visitor.get("/dashboard").expect(401);
    }
    let in_the_address = Visitor::new(keyward).get(&format!("/dashboard?key={}", keyward.root())).expect(400);
    assert!(in_the_address.text().contains("URLs are logged"), "{}", in_the_address.text());
}

fn no_session_is_planted(keyward: &Keyward) {
    let mut victim = Visitor::signed_in(keyward, keyward.root());
    let planted = victim.cookie(SESSION).unwrap();
    // Whoever signs in with a cookie that another put there has another session afterwards.
    let mut other = Visitor::new(keyward);
    other.put_cookie(SESSION, &planted);
    let page = other.get("/dashboard/sign-in").expect(200);
    other.send(&page, "/dashboard/sign-in", &[("key", keyward.root())]).expect(303);
    assert_ne!(other.cookie(SESSION), Some(planted.clone()));
    // Nor is a cookie a session that was made up, or altered.
    for forged in ["", "x", &"A".repeat(128), &planted[1..], &format!("{}A", &planted[..planted.len() - 1])] {
        let mut visitor = Visitor::new(keyward);
        visitor.put_cookie(SESSION, forged);
        visitor.get("/dashboard").expect(401);
    }
    // Two of one name: a browser of ours sends one.
    let twice = format!("{SESSION}={planted}; {SESSION}={planted}");
    keyward.send(Request::get("/dashboard").field("cookie", twice)).expect(401);
    victim.get("/dashboard").expect(200);
    // The form to sign in belongs to the browser that asked for it: nobody is signed in with another's key.
    let mut attacker = Visitor::new(keyward);
    let page = attacker.get("/dashboard/sign-in").expect(200);
    let mut fields = hidden(&page, "/dashboard/sign-in");
    fields.push(("key".to_owned(), keyward.root().to_owned()));
    let mut lured = Visitor::new(keyward);
    lured.post("/dashboard/sign-in", &fields).expect(403);
    lured.get("/dashboard/sign-in").expect(200);
    lured.post("/dashboard/sign-in", &fields).expect(403);
    assert_eq!((lured.cookie(SESSION), lured.cookie(ENTRY).is_some()), (None, true));
}

fn signing_out_ends_it_wherever_its_cookie_lies(keyward: &Keyward) {
    let mut visitor = Visitor::signed_in(keyward, keyward.root());
    let mut thief = visitor.clone();
    let mut other = Visitor::signed_in(keyward, keyward.root());
    let page = visitor.get("/dashboard").expect(200);
    let left = visitor.send(&page, "/dashboard/sign-out", &[]).expect(303);
    assert_eq!(left.field("location"), Some("/dashboard/sign-in?left=1"));
    assert_eq!(visitor.cookie(SESSION), None);
    assert!(visitor.get("/dashboard/sign-in?left=1").expect(200).text().contains("You have signed out"));
    assert!(thief.get("/dashboard").expect(401).text().contains("You have signed out"));
    other.get("/dashboard").expect(200);
}

fn another_sites_form_does_nothing(keyward: &Keyward) {
    let mut visitor = Visitor::signed_in(keyward, keyward.root());
    let id = keyward.holder(&keyward.application("to be attacked"), &["a:b"]).id;
    let action = format!("/dashboard/keys/{id}/revoke");
    let page = visitor.get(&action).expect(200);
    let mut fields = hidden(&page, &action);
    fields.push(("reason".to_owned(), "an attack".to_owned()));
    let without: Fields = fields.iter().filter(|(name, _)| name != "form").cloned().collect();
    let posts: [(&Fields, &[(&str, &str)]); 6] = [
        (&fields, &[("sec-fetch-site", "cross-site")]),
        (&fields, &[("sec-fetch-site", "same-site")]),
        (&fields, &[("origin", "https://evil.example")]),
        (&fields, &[("origin", "null")]),
        (&without, &[("sec-fetch-site", "same-origin")]),
        (&without, &[]),
    ];
    for (fields, headers) in posts {
        let request =
            headers.iter().fold(form(&action, fields), |request, (name, value)| request.field(name, value));
        let reply = visitor.ask(request).expect(403);
        assert_eq!(reply.field("content-type"), Some("text/html; charset=utf-8"), "{headers:?}");
        assert!(reply.text().contains("was not sent from this dashboard"), "{}", reply.text());
    }
    let json =
        Request::post(&action, &json!({ "reason": "an attack" })).field("sec-fetch-site", "same-origin");
    visitor.ask(json).expect(415);
    assert_eq!(keyward.as_root(Request::get(&format!("/v1/keys/{id}"))).text_at("/state"), "active");
    let origin = ("origin", keyward.url());
    visitor.ask(form(&action, &fields).field(origin.0, origin.1)).expect(303);
}

fn a_form_of_another_session_does_nothing(keyward: &Keyward) {
    let mut one = Visitor::signed_in(keyward, keyward.root());
    let mut other = Visitor::signed_in(keyward, keyward.root());
    let id = keyward.holder(&keyward.application("of two sessions"), &["a:b"]).id;
    let action = format!("/dashboard/keys/{id}/disable");
    let page = one.get(&action).expect(200);
    other.send(&page, &action, &[]).expect(403);
    one.send(&page, &action, &[]).expect(303);
    // A second tab of the same session is the same person.
    let (page, second) =
        (one.get(&format!("/dashboard/keys/{id}/enable")).expect(200), one.get("/dashboard").expect(200));
    assert_ne!(
        hidden(&page, &format!("/dashboard/keys/{id}/enable")),
        hidden(&second, "/dashboard/sign-out")
    );
    one.send(&page, &format!("/dashboard/keys/{id}/enable"), &[]).expect(303);
}

fn what_a_key_may_not_see_is_not_shown(keyward: &Keyward) {
    let application = keyward.application("narrow");
    let key = keyward.holder(&application, &["a:b"]).id;
    let reader = keyward.admin("reads keys alone", &["keys:read"]);
    let mut visitor = Visitor::signed_in(keyward, &reader.token);
    let overview = visitor.get("/dashboard").expect(200).text();
    assert!(overview.contains("does not hold <code>audit:read</code>"), "{overview}");
    let page = visitor.get(&format!("/dashboard/keys/{key}")).expect(200).text();
    assert!(!page.contains("/revoke\""), "nothing is offered that would be refused");
    let action = format!("/dashboard/keys/{key}/revoke");
    let asked = visitor.get(&action).expect(200);
    let refused = visitor.send(&asked, &action, &[("reason", "because")]).expect(403);
    assert!(refused.text().contains("keys:revoke"), "{}", refused.text());
    let event = &keyward.events("action=key.revoke")[0];
    assert_eq!((&event["outcome"], &event["actor"]["key"]), (&json!("refused"), &json!(reader.id)));
    // Another application's key is not there at all.
    let narrowed = keyward.admin("narrowed", &[&format!("keys:read@{application}")]);
    let other = keyward.holder(&keyward.application("hidden"), &["a:b"]).id;
    let mut visitor = Visitor::signed_in(keyward, &narrowed.token);
    visitor.get(&format!("/dashboard/keys/{key}")).expect(200);
    visitor.get(&format!("/dashboard/keys/{other}")).expect(404);
}

fn signing_in_and_out_is_on_record(keyward: &Keyward) {
    let admin = keyward.admin("who signs in", &["audit:read"]);
    let mut visitor = Visitor::signed_in(keyward, &admin.token);
    let page = visitor.get("/dashboard").expect(200);
    visitor.send(&page, "/dashboard/sign-out", &[]).expect(303);
    let events = keyward.events(&format!("actor={}", admin.id));
    let told: Vec<_> = events.iter().map(|event| (&event["action"], &event["outcome"])).collect();
    assert_eq!(told, [(&json!("session.close"), &json!("done")), (&json!("session.open"), &json!("done"))]);
    assert_eq!(events[0]["actor"]["principal"], "who signs in");
    assert_eq!(events[0]["source"]["client_addr"], "127.0.0.1");
}

fn no_key_stands_anywhere(keyward: &Keyward) {
    let secret = &keyward.root()[8..];
    assert!(!keyward.log().contains(secret), "a key is in no log");
    for (line, reply) in keyward.seen() {
        let told = format!("{:?}{}", reply.fields, reply.text());
        assert!(!told.contains(secret), "{line}: a key is in no answer");
    }
}

fn revoking_the_key_ends_its_sessions(keyward: &Keyward) {
    let admin = keyward.admin("about to be revoked", &["keys:read"]);
    let mut visitor = Visitor::signed_in(keyward, &admin.token);
    visitor.get("/dashboard").expect(200);
    let disable = |disabled: bool| {
        let change = Request::patch(&format!("/v1/keys/{}", admin.id), &json!({ "disabled": disabled }));
        keyward.as_root(change).expect(200);
    };
    disable(true);
    let mut kept = visitor.clone();
    assert!(visitor.get("/dashboard").expect(401).text().contains("The key is disabled"));
    disable(false);
    kept.get("/dashboard").expect(200);
    keyward.as_root(revoke(&admin.id)).expect(200);
    let told = kept.get("/dashboard").expect(401).text();
    assert!(told.contains("Your session has ended with the key that opened it"), "{told}");
}

fn idle_and_absolute_time_end_it(keyward: &Keyward) {
    let mut idle = Visitor::signed_in(keyward, keyward.root());
    let mut busy = idle.clone();
    let mut watched = idle.clone();
    let opened = busy.cookie(SESSION);
    keyward.advance_ms(14 * MINUTE_MS);
    busy.get("/dashboard").expect(200);
    assert_ne!(busy.cookie(SESSION), opened, "it is noted that it was seen");
    watched.get("/dashboard/live").expect(200);
    assert_eq!(watched.cookie(SESSION), opened, "a script that looks again and again keeps nothing alive");
    keyward.advance_ms(2 * MINUTE_MS);
    assert!(idle.get("/dashboard").expect(401).text().contains("after 15 minutes without activity"));
    watched.get("/dashboard/live").expect(401);
    for _ in 0..34 {
        busy.get("/dashboard").expect(200);
        keyward.advance_ms(14 * MINUTE_MS);
    }
    assert!(busy.get("/dashboard").expect(401).text().contains("8 hours at most"));
}

fn whoever_guesses_is_told_to_wait(keyward: &Keyward) {
    let mut guesser = Visitor::new(keyward);
    let page = guesser.get("/dashboard/sign-in").expect(200);
    // Twice the bound and more, since a minute may end in between.
    let replies: Vec<_> =
        (0..50).map(|_| guesser.send(&page, "/dashboard/sign-in", &[("key", "a guess")])).collect();
    let told = replies.iter().find(|reply| reply.status == 429).expect("somebody is told to wait");
    assert!(
        told.field("retry-after").is_some() && told.text().contains("a good one passes at any time"),
        "{}",
        told.text()
    );
    guesser.send(&page, "/dashboard/sign-in", &[("key", keyward.root())]).expect(303);
}
