//! What an administrator may not see does not exist for them, and nobody touches a key that can do more than they can.

use keyward_domain::{ApplicationId, KeyId};
use keyward_e2e::admin::{Holder, KEYWARD_APPLICATION, new_key, revoke};
use keyward_e2e::{Keyward, Request, json};

#[test]
fn another_tenants_id_is_404() {
    let keyward = Keyward::start();
    let (mine, theirs) = (keyward.application("mine"), keyward.application("theirs"));
    let (my_key, their_key) = (keyward.holder(&mine, &["a:b"]), keyward.holder(&theirs, &["a:b"]));
    let scopes =
        ["apps:read", "apps:write", "keys:read", "keys:write", "keys:revoke", "keys:verify", "audit:read"];
    let narrowed: Vec<String> = scopes.iter().map(|scope| format!("{scope}@{mine}")).collect();
    let narrowed: Vec<&str> = narrowed.iter().map(String::as_str).collect();
    let admin = keyward.admin("of mine", &narrowed);
    let their_event = keyward.events(&format!("key={}", their_key.id))[0]["id"].as_str().unwrap().to_owned();

    let nobody = (ApplicationId::from_bytes([9; 16]).to_string(), KeyId::from_bytes([9; 16]).to_string());
    let requests = |application: &str, key: &str, event: &str| {
        let reason = json!({ "reason": "because" });
        [
            Request::get(&format!("/v1/applications/{application}")),
            Request::patch(
                &format!("/v1/applications/{application}"),
                &json!({ "contacts": ["x@example.com"] }),
            ),
            Request::post(&format!("/v1/applications/{application}/revoke"), &reason),
            Request::get(&format!("/v1/keys?application={application}")),
            Request::post("/v1/keys", &new_key(application, &["a:b"])),
            Request::get(&format!("/v1/keys/{key}")),
            Request::patch(&format!("/v1/keys/{key}"), &json!({ "disabled": true })),
            Request::post(&format!("/v1/keys/{key}/claims"), &json!({})),
            Request::post(&format!("/v1/keys/{key}/revoke"), &reason),
            Request::get(&format!("/v1/audit/events?application={application}")),
            Request::get(&format!("/v1/audit/events/{event}")),
        ]
    };
    let pairs = requests(&theirs, &their_key.id, &their_event).into_iter().zip(requests(
        &nobody.0,
        &nobody.1,
        "evt_1_999999",
    ));
    for (of_theirs, of_nobody) in pairs {
        let line = of_theirs.line();
        let (theirs, nobodys) =
            (keyward.send(of_theirs.bearer(&admin.token)), keyward.send(of_nobody.bearer(&admin.token)));
        assert_eq!(theirs.status, 404, "{line}: {}", theirs.text());
        assert_eq!(theirs.essence(), nobodys.essence(), "{line}: no telling it from what is not there");
    }
    // A token in hand tells no more.
    let asked = |token: &str| {
        let body = json!({ "token": token });
        (
            keyward.send(Request::post("/v1/keys/verify", &body).bearer(&admin.token)).expect(200).json()["code"].clone(),
            keyward.send(Request::post("/v1/keys/lookup", &body).bearer(&admin.token)).status,
        )
    };
    assert_eq!(asked(&their_key.token), (json!("NOT_FOUND"), 404));
    assert_eq!(asked(&my_key.token), (json!("VALID"), 200));
    assert_eq!(keyward.authorizes(&their_key.token), 204, "nothing was done to it");

    // What is theirs works, and lists hold nothing else.
    let listed = keyward.send(Request::get("/v1/applications").bearer(&admin.token)).expect(200).json();
    let ids: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [mine.as_str()]);
    keyward.send(Request::get(&format!("/v1/keys/{}", my_key.id)).bearer(&admin.token)).expect(200);
    keyward
        .send(Request::post("/v1/applications", &json!({ "name": "new" })).bearer(&admin.token))
        .expect(403);
    keyward.send(Request::get("/v1/audit/events").bearer(&admin.token)).expect(403);
    keyward.send(revoke(&my_key.id).bearer(&admin.token)).expect(200);
}

#[test]
fn nobody_touches_a_key_that_can_do_more() {
    let keyward = Keyward::start();
    let root_id = keyward.events("action=keyward.init")[0]["target"]["key"].as_str().unwrap().to_owned();
    let application = keyward.application("orders");
    let powers = ["keys:read", "keys:write", "keys:rotate", "keys:revoke"];
    let admin = keyward.admin("operator", &powers);
    let stronger = keyward.admin("auditor", &["audit:read", "keys:read"]);
    let as_admin = |request: Request| keyward.send(request.bearer(&admin.token));

    for target in [&root_id, &stronger.id] {
        let requests = [
            Request::patch(&format!("/v1/keys/{target}"), &json!({ "disabled": true })),
            Request::patch(&format!("/v1/keys/{target}"), &json!({ "scopes": ["keys:read"] })),
            Request::post(&format!("/v1/keys/{target}/claims"), &json!({})),
            revoke(target),
        ];
        for request in requests {
            let line = request.line();
            let refused = as_admin(request);
            assert_eq!(
                (refused.status, refused.json()["code"].as_str()),
                (403, Some("insufficient-scope")),
                "{line}"
            );
        }
    }
    // Nor do they grant what they lack: to a new key, to one of their own, to themselves.
    let new_admin = |scopes: &[&str]| {
        let mut key = new_key(KEYWARD_APPLICATION, scopes);
        key["principal"] = "accomplice".into();
        as_admin(Request::post("/v1/keys", &key))
    };
    for scopes in [&["*"][..], &["audit:read"], &["keys:*"], &["apps:write"]] {
        new_admin(scopes).expect(403);
    }
    as_admin(Request::patch(&format!("/v1/keys/{}", admin.id), &json!({ "scopes": ["*"] }))).expect(403);
    let equal = new_admin(&["keys:read", "keys:revoke"]).expect(201).text_at("/key/id");
    as_admin(Request::patch(&format!("/v1/keys/{equal}"), &json!({ "scopes": ["audit:read"] }))).expect(403);
    as_admin(revoke(&equal)).expect(200);

    // Keys of partners carry scopes that mean nothing here: whoever may issue may issue them.
    as_admin(Request::post("/v1/keys", &new_key(&application, &["*"]))).expect(201);
    // And a partner's key administers nothing, whatever its scopes are called.
    let partner = keyward.holder(&application, &["*", "keys:write", "apps:write"]);
    for request in [Request::get("/v1/applications"), Request::get("/v1/audit/events"), revoke(&equal)] {
        keyward.send(request.bearer(&partner.token)).expect(401);
    }
    assert_eq!(keyward.authorizes(keyward.root()), 204, "root stands");
    assert_eq!(keyward.authorizes(&stronger.token), 204);
    let refused: Vec<Holder> = vec![admin];
    let events = keyward.events(&format!("actor={}", refused[0].id));
    let count = events.iter().filter(|event| event["outcome"] == "refused").count();
    assert_eq!(count, 8 + 4 + 1 + 1, "each refusal of somebody known is an event");
}
