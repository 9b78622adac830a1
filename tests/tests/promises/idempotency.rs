//! One Idempotency-Key is one effect: however often and however close together it comes, one key is issued and one secret minted.
//! Whoever repeats a request before it has ended is sent away at once.

use keyward_e2e::admin::{Issued, claim, hex_of, new_key};
use keyward_e2e::load::on_connections;
use keyward_e2e::{Keyward, Reply, Request, Setup, eventually, json};

const ROUNDS: usize = 8;
const AT_ONCE: usize = 4;

#[test]
fn on_sqlite() {
    holds(&Keyward::start());
}

#[test]
fn on_redis() {
    holds(&Setup::new().on_redis().start());
}

fn holds(keyward: &Keyward) {
    let application = keyward.application("orders");
    for round in 0..ROUNDS {
        let name = format!("issue-{round}");
        let request = Request::post("/v1/keys", &new_key(&application, &["orders:read"]))
            .bearer(keyward.root())
            .field("idempotency-key", &name);
        let issued = one_effect(keyward, &request, 201);
        let again = keyward.send(request.clone()).expect(201);
        assert_eq!((again.field("idempotency-replayed"), &again.body), (Some("true"), &issued.body));

        let ticket = Issued::of(&issued).ticket;
        let claimed = one_effect(keyward, &claim(&ticket).field("idempotency-key", &name), 200);
        assert_eq!(keyward.authorizes(&claimed.text_at("/token")), 204);
    }
    let listed = keyward.list(&format!("/v1/keys?application={application}"));
    assert_eq!(listed.len(), ROUNDS, "one key for each Idempotency-Key");
    assert!(keyward.events("action=claim.replay").is_empty(), "a repetition is no alarm");

    // The same key with another body, and another admin's own key of the same text, are other matters.
    let mut other = new_key(&application, &["orders:read"]);
    other["name"] = "another".into();
    let other = Request::post("/v1/keys", &other).field("idempotency-key", "issue-0");
    let refused = keyward.as_root(other.clone()).expect(422);
    assert_eq!(refused.json()["code"], "idempotency-mismatch");
    let admin = keyward.admin("second", &["keys:write"]);
    keyward.send(other.bearer(&admin.token)).expect(201);
    for wrong in ["", "with space", "\u{e9}", &"x".repeat(256)] {
        let request =
            Request::post("/v1/applications", &json!({ "name": "x" })).field("idempotency-key", wrong);
        assert_eq!(keyward.as_root(request).expect(400).json()["code"], "invalid-parameter", "{wrong:.20}");
    }
}

/// Sends the same request on several connections at once: one of them has the answer first; the others have the same, or are sent away
/// until it is there.
fn one_effect(keyward: &Keyward, request: &Request, status: u16) -> Reply {
    let replies = on_connections(keyward.address(), AT_ONCE, |_, connection| connection.exchange(request));
    let (ended, in_flight): (Vec<Reply>, Vec<Reply>) =
        replies.into_iter().partition(|reply| reply.status == status);
    let fresh = ended.iter().filter(|reply| reply.field("idempotency-replayed").is_none()).count();
    assert_eq!(fresh, 1, "one of them was first");
    assert!(ended.iter().all(|reply| reply.body == ended[0].body));
    let receipt = |reply: &Reply| reply.field("keyward-receipt").expect("a receipt").to_owned();
    assert!(ended.iter().all(|reply| receipt(reply) == receipt(&ended[0])));
    for reply in in_flight {
        assert_eq!((reply.status, reply.text_at("/code")), (409, "idempotency-in-flight".to_owned()));
        assert_eq!(reply.field("retry-after"), Some("1"));
    }
    ended[0].clone()
}

#[test]
fn while_the_first_has_not_ended_the_others_are_sent_away() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let open = keyward.issue(&application, &["orders:read"]);
    let claimed = keyward.issue(&application, &["orders:read"]);
    let record = |issued: &Issued| format!("m:{}", hex_of(&issued.id));
    // Each with a read that it makes once it has its place, and how many of that key there are before.
    let requests = [
        (Request::post("/v1/applications", &json!({ "name": "invoices" })), "n:*".to_owned(), 1),
        (Request::post("/v1/keys", &new_key(&application, &["orders:read"])), "d:*".to_owned(), 1),
        (Request::new("POST", &format!("/v1/keys/{}/claims", open.id)), record(&open), 2),
        (claim(&claimed.ticket), record(&claimed), 2),
    ];
    for (request, key, nth) in requests {
        let line = request.line();
        let request = if line.ends_with("/v1/claims") { request } else { request.bearer(keyward.root()) };
        let request = request.field("idempotency-key", "once");
        keyward.plan_faults(&json!([{ "op": "get", "key": key, "nth": nth, "count": 1, "effect": "stall" }]));
        let first = std::thread::scope(|scope| {
            let first = scope.spawn(|| keyward.connect().exchange(&request));
            eventually("the stall", || keyward.faults_matched() == [nth]);
            let twin = keyward.send(request.clone()).expect(409);
            assert_eq!(twin.json()["code"], "idempotency-in-flight", "{line}");
            assert_eq!(twin.field("retry-after"), Some("1"), "{line}");
            keyward.withdraw_faults();
            first.join().unwrap()
        });
        assert!(matches!(first.status, 200 | 201), "{line}: {}", first.text());
        let again = keyward.send(request.clone()).expect(first.status);
        assert_eq!((again.field("idempotency-replayed"), &again.body), (Some("true"), &first.body), "{line}");
    }
}

#[test]
fn an_answer_is_given_again_for_a_day() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let request = Request::post("/v1/keys", &new_key(&application, &["orders:read"]))
        .bearer(keyward.root())
        .field("idempotency-key", "once");
    let first = keyward.send(request.clone()).expect(201);
    keyward.advance_ms(24 * 3_600_000 - 60_000);
    let again = keyward.send(request.clone()).expect(201);
    assert_eq!((again.field("idempotency-replayed"), &again.body), (Some("true"), &first.body));
    keyward.advance_ms(120_000);
    let another = keyward.send(request).expect(201);
    assert_eq!(another.field("idempotency-replayed"), None);
    assert_ne!(another.text_at("/key/id"), first.text_at("/key/id"));
}
