//! A store that fails never lets anybody pass, never leaves a usable key without its event, and is told honestly: what was done is
//! told as done, what was not as not done, what is unknown as unknown.

use keyward_e2e::admin::{Issued, authorize, claim, hex_of, new_key, revoke};
use keyward_e2e::{Keyward, Reply, Request, Setup, Value, eventually, json};

use crate::patience::with_time;

fn issue(keyward: &Keyward, application: &str, idempotency_key: &str) -> Request {
    Request::post("/v1/keys", &new_key(application, &["orders:read"]))
        .bearer(keyward.root())
        .field("idempotency-key", idempotency_key)
}

fn keys_of(keyward: &Keyward, application: &str) -> Vec<Value> {
    keyward.list(&format!("/v1/keys?application={application}"))
}

#[test]
fn a_store_that_is_down_is_503_and_never_a_yes() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let holder = keyward.holder(&application, &["orders:read"]);
    let open = keyward.issue(&application, &["orders:read"]);
    let verify =
        || Request::post("/v1/keys/verify", &json!({ "token": holder.token })).bearer(keyward.root());
    let requests = || {
        [
            authorize(&holder.token, ""),
            verify(),
            issue(&keyward, &application, "down"),
            revoke(&holder.id).bearer(keyward.root()),
            claim(&open.ticket),
            Request::get(&format!("/v1/keys?application={application}")).bearer(keyward.root()),
            Request::get("/v1/audit/events").bearer(keyward.root()),
            Request::post("/v1/revocations", &json!({ "token": holder.token })),
        ]
    };
    // One read after the other: whichever of them fails, nobody passes.
    let id = hex_of(&holder.id);
    for key in ["*".to_owned(), format!("k:{id}"), format!("m:{id}"), format!("x:{id}.1")] {
        keyward.plan_faults(&json!([{ "op": "get", "key": key, "effect": "fail_before" }]));
        let refused = keyward.send(authorize(&holder.token, "")).expect(503);
        assert!(refused.field("retry-after").is_some() && refused.body.is_empty());
        assert_eq!(keyward.send(verify()).expect(503).json()["code"], "store-unavailable");
        keyward.withdraw_faults();
    }
    keyward.plan_faults(&json!([{ "effect": "fail_before" }]));
    for request in requests() {
        let line = request.line();
        let reply = keyward.send(request);
        assert_eq!(reply.status, 503, "{line}");
        assert!(reply.field("retry-after").is_some(), "{line}");
    }
    keyward.withdraw_faults();
    assert_eq!(keyward.authorizes(&holder.token), 204, "it was never revoked");
    assert_eq!(keys_of(&keyward, &application).len(), 2, "and nothing was issued");
    assert_eq!(keyward.claim(&open).id, open.id, "nor was the claim used up");
    assert!(!keyward.log().contains(&holder.token));
}

#[test]
fn a_redis_that_is_gone_is_503_until_it_is_back() {
    let mut keyward = Setup::new().on_redis().start();
    let application = keyward.application("orders");
    let (holder, dead) = (keyward.holder(&application, &["a:b"]), keyward.holder(&application, &["a:b"]));
    keyward.as_root(revoke(&dead.id)).expect(200);
    keyward.redis_mut().unwrap().kill();
    for token in [&holder.token, &dead.token] {
        keyward.send(authorize(token, "")).expect(503);
    }
    keyward.as_root(Request::post("/v1/keys", &new_key(&application, &["a:b"]))).expect(503);
    keyward.send(Request::get("/healthz")).expect(200);
    keyward.send(Request::get("/readyz")).expect(503);
    keyward.redis_mut().unwrap().restart();
    eventually("an answer of the store", || keyward.authorizes(&holder.token) != 503);
    assert_eq!((keyward.authorizes(&holder.token), keyward.authorizes(&dead.token)), (204, 401));
    assert_eq!(keys_of(&keyward, &application).len(), 2);
}

#[test]
fn without_its_event_no_key_is_usable() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let open = keyward.issue(&application, &["orders:read"]);
    keyward.plan_faults(&json!([{ "op": "set_many", "effect": "fail_before" }]));
    let refused = keyward.send(issue(&keyward, &application, "first")).expect(503);
    assert_eq!(refused.json()["code"], "outcome-unknown");
    let burnt = keyward.send(claim(&open.ticket)).expect(503);
    assert!(!burnt.text().contains("kw_live_"), "no token leaves before its event is written");
    let holder_events = keyward.store_keys("e:").len();
    keyward.withdraw_faults();
    assert_eq!(keyward.store_keys("e:").len(), holder_events);
    assert_eq!(keys_of(&keyward, &application).len(), 1, "the key that was not written is not there");

    // The same Idempotency-Key finds out, and does it now.
    let done = keyward.send_until_ended(&issue(&keyward, &application, "first")).expect(201);
    assert_eq!(keys_of(&keyward, &application).len(), 2);
    let holder = keyward.claim(&Issued::of(&done));
    assert_eq!(keyward.authorizes(&holder.token), 204);

    // The claim that was burnt on the way gives way to another.
    let target = format!("/v1/keys/{}/claims", open.id);
    let again = with_time(&keyward, || keyward.as_root(Request::post(&target, &json!({})))).expect(201);
    let saved = keyward.claim(&Issued::of(&again));
    assert_eq!(keyward.authorizes(&saved.token), 204);
}

#[test]
fn a_lost_reply_is_one_effect_and_an_honest_answer() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let fail_once = |op: &str, key: &str| {
        keyward.plan_faults(&json!([{ "op": op, "key": key, "count": 1, "effect": "fail_after" }]));
    };

    // The batch was written, only its reply was lost: it is told as done.
    fail_once("set_many", "*");
    keyward.send(issue(&keyward, &application, "batch")).expect(201);
    keyward.withdraw_faults();
    assert_eq!(keys_of(&keyward, &application).len(), 1);

    // The ticket was taken, only its number was lost: another is taken, and the first becomes a void.
    fail_once("increment", "c:audit:*");
    let done = keyward.send(issue(&keyward, &application, "ticket")).expect(201);
    keyward.withdraw_faults();
    assert_eq!(keys_of(&keyward, &application).len(), 2);
    keyward.settle_log();
    assert_eq!(keyward.holes().voids.len(), 1, "{:?}", keyward.holes());
    let holder = keyward.claim(&Issued::of(&done));
    assert_eq!(keyward.authorizes(&holder.token), 204);

    // The revocation was written, only its reply was lost.
    fail_once("set_many", "k:*");
    keyward.as_root(revoke(&holder.id)).expect(200);
    keyward.withdraw_faults();
    assert_eq!(keyward.authorizes(&holder.token), 401);
    assert_eq!(keyward.events(&format!("key={}&action=key.revoke", holder.id)).len(), 1);

    // The claim's winner is not known: told so, and never minted twice.
    let open = keyward.issue(&application, &["orders:read"]);
    fail_once("increment", "c:q:*");
    let unknown = keyward.send(claim(&open.ticket)).expect(503);
    assert_eq!(unknown.json()["code"], "outcome-unknown");
    keyward.withdraw_faults();
    assert_eq!(keyward.send(claim(&open.ticket)).expect(410).json()["code"], "claim-taken");
    assert!(keyward.events(&format!("key={}&action=claim.take", open.id)).is_empty());

    // A batch that is applied twice is one effect.
    keyward.plan_faults(&json!([{ "op": "set_many", "count": 1, "effect": "repeat" }]));
    keyward.send(issue(&keyward, &application, "repeated")).expect(201);
    keyward.withdraw_faults();
    assert_eq!(keys_of(&keyward, &application).len(), 4);
    keyward.settle_log();
    assert!(keyward.holes().unexplained.is_empty(), "{:?}", keyward.holes());
}

#[test]
fn a_refusal_that_cannot_be_recorded_is_no_refusal_either() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let reader = keyward.admin("reader", &["keys:read"]);
    let forbidden = || -> Reply {
        keyward.send(Request::post("/v1/keys", &new_key(&application, &["a:b"])).bearer(&reader.token))
    };
    forbidden().expect(403);
    keyward.plan_faults(&json!([{ "op": "set_many", "effect": "fail_before" }]));
    forbidden().expect(503);
    keyward.withdraw_faults();
    let refused = keyward.events(&format!("actor={}", reader.id));
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (&refused[0]["outcome"], &refused[0]["reason"]),
        (&json!("refused"), &json!("insufficient-scope"))
    );
}
