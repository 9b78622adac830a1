//! A policy counts over HTTP as it does below it: absent and null are not the same, and what it says is seen at keys and claims.

use keyward_e2e::admin::{Issued, new_key};
use keyward_e2e::{Keyward, Request, json};

#[test]
fn what_it_says_is_seen_at_keys_and_claims() {
    let keyward = Keyward::start();
    let presets = keyward.as_root(Request::get("/v1/policies/presets")).expect(200).json();
    assert_eq!(presets["items"].as_array().map(Vec::len), Some(4));
    let terms = json!({ "preset": "hipaa", "lifetime_s_max": 86_400, "self_renewal": false });
    let policy = keyward.policy("ward", &terms);
    let target = format!("/v1/policies/{policy}");
    let shown = keyward.as_root(Request::get(&target)).expect(200);
    for (field, value) in [
        ("rotate_every_s", json!(5_184_000)),
        ("lifetime_s_max", json!(86_400)),
        ("self_renewal", json!(false)),
    ] {
        assert_eq!(shown.json()[field], value, "{field}");
    }

    let application = keyward.application("orders");
    let at = format!("/v1/applications/{application}");
    let given = keyward.as_root(Request::patch(&at, &json!({ "policy": policy }))).expect(200);
    assert_eq!(given.json()["policy"], json!(policy));
    let issue = |expires_in_s: Option<u32>, own: Option<&str>| {
        let mut new = new_key(&application, &["orders:read"]);
        new["expires_in_s"] = json!(expires_in_s);
        new["policy"] = json!(own);
        keyward.as_root(Request::post("/v1/keys", &new))
    };
    let refused = issue(Some(86_401), None).expect(400).json();
    assert_eq!(refused["errors"][0]["field"], "expires_in_s");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains(&policy)), "{refused}");
    let issued = issue(None, None).expect(201);
    assert!(issued.json()["key"]["expires_at"].is_string());
    let claimed = keyward.send(keyward_e2e::admin::claim(&Issued::of(&issued).ticket)).expect(200);
    assert_eq!(claimed.json()["renewal_token"], json!(null), "its holder does not renew it");

    // Its own policy in the place of its application's; null takes it away, absence leaves it.
    let free = keyward.policy("free", &json!({ "rotate_every_s": null }));
    let own = issue(None, Some(&free)).expect(201);
    let key = own.text_at("/key/id");
    assert_eq!(
        (&own.json()["key"]["expires_at"], &own.json()["key"]["policy"]),
        (&json!(null), &json!(free))
    );
    let change = |change: keyward_e2e::Value| {
        keyward.as_root(Request::patch(&format!("/v1/keys/{key}"), &change)).expect(200).json()
    };
    assert_eq!(change(json!({ "name": "renamed" }))["policy"], json!(free));
    assert_eq!(change(json!({ "policy": null }))["policy"], json!(null));

    // A term out of bounds is told by its name, and so is one that does not go with another.
    for (terms, field) in [
        (json!({ "rotate_every_s": 299 }), "rotate_every_s"),
        (json!({ "grace_s": 9_000_000 }), "grace_s"),
        (json!({ "rotate_every_s": 300 }), "grace_s"),
        (json!({ "idle_after_s": -1 }), "idle_after_s"),
        (json!({ "on_breach": "explode" }), "on_breach"),
    ] {
        let refused = keyward.as_root(Request::patch(&target, &terms)).expect(400).json();
        assert_eq!(refused["errors"][0]["field"], field, "{terms}");
    }

    let retire = || Request::post(&format!("{target}/retire"), &json!({ "reason": "replaced" }));
    let retired = keyward.as_root(retire()).expect(200);
    assert!(retired.json()["retired_at"].is_string() && retired.field("keyward-receipt").is_some());
    keyward.as_root(Request::patch(&format!("/v1/keys/{key}"), &json!({ "policy": policy }))).expect(400);
    issue(Some(86_401), None).expect(400);
    let events = keyward.events("action=policy.retire");
    assert_eq!(
        (events[0]["target"]["policy"].as_str(), events[0]["outcome"].as_str()),
        (Some(&*policy), Some("done"))
    );
}
