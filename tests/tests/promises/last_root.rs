//! The last root key cannot be ended or weakened over the API; another root can take its place; and whoever holds a leaked root
//! token can end it, the last one too.

use keyward_e2e::admin::{KEYWARD_APPLICATION, revoke};
use keyward_e2e::{Keyward, Request, json};

#[test]
fn stays_until_there_is_another_or_it_leaks() {
    let keyward = Keyward::start();
    let root = keyward.events("action=keyward.init")[0]["target"]["key"].as_str().unwrap().to_owned();
    let change = |body| Request::patch(&format!("/v1/keys/{root}"), &body);
    let ends = [
        revoke(&root),
        change(json!({ "disabled": true })),
        change(json!({ "scopes": ["keys:*"] })),
        change(json!({ "scopes": [format!("*@{KEYWARD_APPLICATION}")] })),
    ];
    for end in ends {
        let line = end.line();
        let refused = keyward.as_root(end).expect(409);
        assert_eq!(refused.json()["code"], "last-root", "{line}");
        assert!(refused.text_at("/detail").contains("issue another root key"), "{line}");
    }
    assert_eq!(keyward.events("action=key.revoke")[0]["reason"], "last-root");

    let second = keyward.admin("second", &["*"]);
    keyward.as_root(revoke(&root)).expect(200);
    keyward.send(revoke(&second.id).bearer(&second.token)).expect(409);
    // It leaked: whoever found it ends it. Recovery is offline, next to the store.
    keyward.send(Request::post("/v1/revocations", &json!({ "token": second.token }))).expect(200);
    assert_eq!(keyward.authorizes(&second.token), 401);
}
