//! Whoever presents a right secret that does not pass is told why, by a stable code, at both faces alike; and passes again as soon
//! as the reason is gone.

use keyward_e2e::admin::{Holder, Issued, authorize, new_key};
use keyward_e2e::{Keyward, Request, Value, json};

/// How long what is known of an application may be held, in milliseconds.
const APPLICATION_MS: u64 = 250;

struct World {
    keyward: Keyward,
    application: String,
}

impl World {
    fn key(&self, change: Value) -> Holder {
        let mut key = new_key(&self.application, &["orders:read", "stock:*"]);
        key.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let issued = self.keyward.as_root(Request::post("/v1/keys", &key)).expect(201);
        self.keyward.claim(&Issued::of(&issued))
    }

    /// Asserts one code at the gateway's face, and the same where somebody asks with the token in a body.
    #[track_caller]
    fn tells(&self, token: &str, query: &str, scopes: &[&str], code: &str) {
        let reply = self.keyward.send(authorize(token, query));
        let status = match code {
            "VALID" => 204,
            "FORBIDDEN" | "INSUFFICIENT_SCOPE" => 403,
            _ => 401,
        };
        assert_eq!(reply.status, status, "{code}: {:?}", reply.fields);
        assert_eq!(reply.field("keyward-code"), (code != "VALID").then_some(code));
        assert_eq!(reply.field("www-authenticate").is_some(), code != "VALID");
        assert_eq!(
            reply.field("keyward-key-id").is_some(),
            code == "VALID",
            "refusals say nothing of the key"
        );
        let body = json!({ "token": token, "scopes": scopes });
        let told = self.keyward.as_root(Request::post("/v1/keys/verify", &body)).expect(200).json();
        assert_eq!((told["code"].as_str(), told["valid"].as_bool()), (Some(code), Some(code == "VALID")));
    }

    fn patch(&self, target: &str, body: Value) {
        self.keyward.as_root(Request::patch(target, &body)).expect(200);
    }
}

#[test]
fn at_both_faces_alike() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let world = World { keyward, application };
    let key = world.key(json!({}));
    let target = format!("/v1/keys/{}", key.id);

    for (query, scopes, code) in [
        ("", &[][..], "VALID"),
        ("?scope=orders:read&scope=stock:write", &["orders:read", "stock:write"], "VALID"),
        ("?scope=stock:a:b", &["stock:a:b"], "VALID"),
        ("?scope=orders:read&scope=orders:write", &["orders:read", "orders:write"], "INSUFFICIENT_SCOPE"),
        ("?scope=stock", &["stock"], "INSUFFICIENT_SCOPE"),
        ("?scope=*", &["*"], "INSUFFICIENT_SCOPE"),
    ] {
        world.tells(&key.token, query, scopes, code);
    }
    let gateway = |query: &str| world.keyward.send(authorize(&key.token, query)).status;
    assert_eq!((gateway("?environment=live"), gateway("?environment=test")), (204, 403));
    let mine = format!("?application={}", world.application);
    assert_eq!((gateway(&mine), gateway("?application=app_0000000000000000000000")), (204, 403));
    let test_key = world.key(json!({ "environment": "test" }));
    assert!(test_key.token.starts_with("kw_test_"));
    world.tells(&test_key.token, "?environment=test", &[], "VALID");

    // Edits hold at the very next request.
    world.patch(&target, json!({ "scopes": ["orders:read"] }));
    world.tells(&key.token, "?scope=stock:write", &["stock:write"], "INSUFFICIENT_SCOPE");
    world.patch(&target, json!({ "disabled": true }));
    world.tells(&key.token, "", &[], "DISABLED");
    world.patch(&target, json!({ "disabled": false, "rules": { "network": ["10.0.0.0/8"] } }));
    world.tells(&key.token, "", &[], "FORBIDDEN");
    world.patch(&target, json!({ "rules": {} }));
    world.tells(&key.token, "", &[], "VALID");

    // What concerns the application holds a quarter of a second later.
    let of_application = format!("/v1/applications/{}", world.application);
    world.patch(&of_application, json!({ "status": "suspended", "reason": "unpaid" }));
    world.keyward.advance_ms(APPLICATION_MS);
    world.tells(&key.token, "", &[], "DISABLED");
    world.patch(&of_application, json!({ "status": "active", "reason": "paid" }));
    world.keyward.advance_ms(APPLICATION_MS);
    world.tells(&key.token, "", &[], "VALID");

    // The end of its time, to the second.
    let short = world.key(json!({ "expires_in_s": 3600 }));
    world.tells(&short.token, "", &[], "VALID");
    world.keyward.advance_ms(3_600_000);
    world.tells(&short.token, "", &[], "EXPIRED");
    let shown = world.keyward.as_root(Request::get(&format!("/v1/keys/{}", short.id))).expect(200);
    assert_eq!(shown.text_at("/state"), "expired");
    // What is dead is dead before it is anything else.
    world.keyward.as_root(keyward_e2e::admin::revoke(&short.id)).expect(200);
    world.tells(&short.token, "", &[], "REVOKED");
}
