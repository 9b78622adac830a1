//! A role that changes counts at the next call of every key that holds it, in every component; and validation of partners' keys
//! knows nothing of roles.

use keyward_e2e::admin::{Issued, KEYWARD_APPLICATION, authorize, new_key};
use keyward_e2e::{Keyward, Request, json};

#[test]
fn a_change_counts_at_once_and_everywhere() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let partner = keyward.holder(&application, &["orders:read"]);
    let new = json!({ "name": "on call", "description": "at night", "scopes": ["keys:read"] });
    let created = keyward.as_root(Request::post("/v1/roles", &new)).expect(201);
    let role = created.text_at("/id");
    let mut key = new_key(KEYWARD_APPLICATION, &[]);
    key.as_object_mut().unwrap().remove("scopes");
    key["principal"] = "night shift".into();
    key["roles"] = json!([role]);
    let holder = keyward.claim(&Issued::of(&keyward.as_root(Request::post("/v1/keys", &key)).expect(201)));

    let asks = || {
        let as_holder = |request: Request| keyward.send(request.bearer(&holder.token)).status;
        [
            ("keys:read", as_holder(Request::get(&format!("/v1/keys?application={application}")))),
            ("keys:verify", as_holder(Request::post("/v1/keys/verify", &json!({ "token": partner.token })))),
            ("audit:read", as_holder(Request::get("/v1/audit/events"))),
            ("emergency:read", as_holder(Request::get("/v1/emergency"))),
        ]
    };
    let mut revision = created.json()["revision"].as_u64().unwrap();
    for scope in ["keys:read", "keys:verify", "audit:read", "emergency:read"] {
        let change = Request::patch(&format!("/v1/roles/{role}"), &json!({ "scopes": [scope] }));
        let changed = keyward.as_root(change.field("if-match", format!("\"{revision}\""))).expect(200);
        revision += 1;
        assert_eq!(changed.field("etag"), Some(format!("\"{revision}\"").as_str()));
        for (needed, status) in asks() {
            assert_eq!(status, if needed == scope { 200 } else { 403 }, "holds {scope}, asks for {needed}");
        }
        // A gateway is told the key's own scopes alone.
        assert_eq!(keyward.authorizes(&holder.token), 204);
        keyward.send(authorize(&holder.token, &format!("?scope={scope}"))).expect(403);
    }
    let stale = Request::patch(&format!("/v1/roles/{role}"), &json!({ "scopes": ["*"] }));
    keyward.as_root(stale.field("if-match", "\"1\"")).expect(412);
    // Partners hold none.
    let mut key = new_key(&application, &["orders:read"]);
    key["roles"] = json!([role]);
    keyward.as_root(Request::post("/v1/keys", &key)).expect(400);

    let retire = || Request::post(&format!("/v1/roles/{role}/retire"), &json!({ "reason": "reorganised" }));
    let refused = keyward.as_root(retire()).expect(409);
    assert!(
        refused.text_at("/detail").starts_with("living keys that hold the role: 1;"),
        "{}",
        refused.text()
    );
    keyward.as_root(keyward_e2e::admin::revoke(&holder.id)).expect(200);
    let retired = keyward.as_root(retire()).expect(200);
    assert!(retired.json()["retired_at"].is_string() && retired.field("keyward-receipt").is_some());
    let events = keyward.events("action=role.retire");
    assert_eq!(
        (events[0]["target"]["role"].as_str(), events[0]["outcome"].as_str()),
        (Some(&*role), Some("done"))
    );
}
