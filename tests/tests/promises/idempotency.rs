//! One Idempotency-Key is one effect: however often and however close together it comes, one key is issued and one secret minted.

use keyward_e2e::admin::{Issued, claim, new_key};
use keyward_e2e::load::on_connections;
use keyward_e2e::{Keyward, Reply, Request, Setup, json};

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

/// Sends the same request on several connections at once: all have the one answer, one of them first.
fn one_effect(keyward: &Keyward, request: &Request, status: u16) -> Reply {
    let replies = on_connections(keyward.address(), AT_ONCE, |_, connection| connection.exchange(request));
    let fresh = replies.iter().filter(|reply| reply.field("idempotency-replayed").is_none()).count();
    assert_eq!(fresh, 1, "one of them was first");
    for reply in &replies {
        assert_eq!((reply.status, &reply.body), (status, &replies[0].body));
    }
    replies[0].clone()
}
