//! Each committed event is told once more, as a line of JSON on the component's log: what can be shipped elsewhere. Nothing in it is
//! personal, no word in it is somebody's, and what was not committed is not told.

use keyward_domain::event::EventId;
use keyward_e2e::admin::{new_key, revoke};
use keyward_e2e::{Keyward, Request, Value, eventually, json};

/// The events that the components' log tells.
fn told(keyward: &Keyward) -> Vec<Value> {
    let log = keyward.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let messages = lines.filter(|line| line["stream"] == "stdout");
    messages.filter_map(|line| serde_json::from_str(line["message"].as_str()?).ok()).collect()
}

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["id"].as_str().unwrap()).collect()
}

#[test]
fn tells_what_was_committed_and_nothing_else() {
    let keyward = Keyward::start();
    let application = keyward.application("Plum & Daughters");
    let admin = keyward.admin("violet@example.com", &["keys:write", "keys:revoke"]);
    let mut key = new_key(&application, &["orders:read"]);
    key["name"] = "indigo".into();
    key["tags"] = json!(["cerise"]);
    let by_admin =
        |request: Request| keyward.send(request.bearer(&admin.token).field("user-agent", "magenta/1.0"));
    by_admin(Request::post("/v1/keys", &key)).expect(201);
    by_admin(Request::post("/v1/emergency/freeze", &json!({ "reason": "ochre alert" }))).expect(403);
    let held = keyward.holder(&application, &["orders:read"]);
    let reason = json!({ "reason": "left in a taxi in Vermilion" });
    keyward.as_root(Request::post(&format!("/v1/keys/{}/revoke", held.id), &reason)).expect(200);

    // Nothing was written; or it was, and the reply was lost.
    for (effect, status) in [("fail_before", 503), ("fail_after", 200)] {
        let held = keyward.holder(&application, &["orders:read"]);
        keyward.plan_faults(&json!([{ "op": "set_many", "effect": effect }]));
        keyward.as_root(revoke(&held.id)).expect(status);
        keyward.withdraw_faults();
    }

    // All that is in the log since the start, each once; the state was made without a component.
    let mut logged = keyward.events("");
    logged.reverse();
    logged.retain(|event| event["action"] != "keyward.init");
    // Lines of components stand in the order in which they came to the host.
    eventually("a line for each", || told(&keyward).len() >= logged.len());
    let mut told = told(&keyward);
    told.sort_by_key(|event| event["id"].as_str().unwrap().parse::<EventId>().unwrap());
    assert_eq!(ids(&told), ids(&logged));
    for (told, logged) in told.iter().zip(&logged) {
        for field in ["action", "outcome", "target", "at", "request"] {
            assert_eq!(told[field], logged[field], "{logged}");
        }
        assert_eq!(told["actor"]["key"], logged["actor"]["key"]);
    }
    let all = format!("{told:?}");
    for word in
        ["Plum", "violet", "cerise", "magenta", "indigo", "taxi", "ochre", "127.0.0.1", "kw_live", "kwc_"]
    {
        assert!(!all.contains(word), "{word} in {all}");
    }
    let logged = format!("{logged:?}");
    for word in ["violet", "magenta", "taxi", "127.0.0.1"] {
        assert!(logged.contains(word), "{word} is in the log itself");
    }
}
