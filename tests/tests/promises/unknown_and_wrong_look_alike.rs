//! Whoever presents a wrong secret learns nothing: an id that was never issued and a right id with a wrong secret have the same
//! answer, and cost the same calls of the store, at every face.

use keyward_domain::{KeyId, token};
use keyward_e2e::admin::authorize;
use keyward_e2e::{Keyward, Reply, Request, json};

use crate::tokens::{unknown, wrong_secret};

#[test]
fn same_answer_same_calls() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let live = keyward.holder(&application, &["orders:read"]);
    let dead = keyward.holder(&application, &["orders:read"]);
    keyward.as_root(keyward_e2e::admin::revoke(&dead.id)).expect(200);

    type Face = (&'static str, fn(&Keyward, &str) -> Reply);
    let faces: [Face; 5] = [
        ("authorize", |keyward, token| keyward.send(authorize(token, "?scope=orders:read"))),
        ("verify", |keyward, token| {
            let body = json!({ "token": token, "scopes": ["orders:read"] });
            keyward.as_root(Request::post("/v1/keys/verify", &body))
        }),
        ("lookup", |keyward, token| {
            keyward.as_root(Request::post("/v1/keys/lookup", &json!({ "token": token })))
        }),
        ("report", |keyward, token| {
            keyward.send(Request::post("/v1/revocations", &json!({ "token": token })))
        }),
        ("administration", |keyward, token| keyward.send(Request::get("/v1/applications").bearer(token))),
    ];
    for (face, present) in faces {
        let seen = |text: &str| {
            keyward.reset_calls();
            let reply = present(&keyward, text);
            let id = KeyId::from_bytes(token::parse(text).ok().unwrap().id).hex();
            // Tickets are numbers of the log: which one differs from one request to the next.
            let calls: Vec<_> = keyward
                .calls()
                .into_iter()
                .filter(|call| call.keys.iter().any(|key| key.contains(&id)))
                .map(|call| (call.component, call.op, call.keys[0].replace(&id, "ID")))
                .collect();
            (reply.essence(), calls)
        };
        let of_nobody = seen(&unknown(1));
        assert!(of_nobody.1.len() >= 3, "{face}: {:?}", of_nobody.1);
        for (what, text) in [("a live key", &live.token), ("a revoked key", &dead.token)] {
            assert_eq!(seen(&wrong_secret(text)), of_nobody, "{face}: the wrong secret of {what}");
        }
    }
    // The right secret does learn why.
    assert_eq!(keyward.send(authorize(&dead.token, "")).expect(401).field("keyward-code"), Some("REVOKED"));
    assert_eq!(keyward.authorizes(&live.token), 204, "reporting a wrong secret revokes nothing");
}
