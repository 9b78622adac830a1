//! Every call that changes something, of every route that the API's document names, leaves exactly one event with who, from where and
//! when: where it is done, and where it is refused.

use keyward_e2e::admin::{Holder, claim, new_credential, new_key, new_webhook};
use keyward_e2e::{Keyward, Reply, Request, json};
use serde_json::Value;

/// How a route is called so that it succeeds. What it needs is made before anything is counted.
type Prepare = fn(&Keyward) -> Request;

/// Each operation that changes something, by its name in the document.
const CHANGES: &[(&str, Prepare)] = &[
    ("createApplication", |_| Request::post("/v1/applications", &json!({ "name": "created" }))),
    ("changeApplication", |keyward| {
        let id = keyward.application("to change");
        Request::patch(&format!("/v1/applications/{id}"), &json!({ "contacts": ["ops@example.com"] }))
    }),
    ("revokeApplication", |keyward| {
        let id = keyward.application("to revoke");
        keyward.issue(&id, &["a:b"]);
        Request::post(&format!("/v1/applications/{id}/revoke"), &reason())
    }),
    ("issueKey", |keyward| {
        Request::post("/v1/keys", &new_key(&keyward.application("to issue for"), &["a:b"]))
    }),
    ("importKeys", |keyward| {
        let key = json!({
            "digest": format!("sha256:{}", "5a".repeat(32)),
            "application": keyward.application("to import for"),
            "name": "moved",
            "environment": "live",
        });
        Request::post("/v1/keys/import", &json!({ "reason": "because", "keys": [key] }))
    }),
    ("changeKey", |keyward| {
        let id = key(keyward, "to change a key of").id;
        Request::patch(&format!("/v1/keys/{id}"), &json!({ "name": "renamed" }))
    }),
    ("reissueClaim", |keyward| {
        let id = keyward.issue(&keyward.application("to reissue for"), &["a:b"]).id;
        Request::post(&format!("/v1/keys/{id}/claims"), &json!({}))
    }),
    ("rotateKey", |keyward| {
        let id = key(keyward, "to rotate a key of").id;
        Request::post(&format!("/v1/keys/{id}/rotate"), &reason())
    }),
    ("rotateKeys", |keyward| {
        let application = keyward.application("to rotate many keys of");
        keyward.holder(&application, &["a:b"]);
        Request::post("/v1/rotations/bulk", &json!({ "application": application, "reason": "because" }))
    }),
    ("finishRotation", |keyward| {
        let id = key(keyward, "to finish a rotation of").id;
        keyward.claim(&keyward.rotate(&id, &reason()));
        Request::post(&format!("/v1/keys/{id}/rotation/finish"), &reason())
    }),
    ("cancelRotation", |keyward| {
        let id = key(keyward, "to cancel a rotation of").id;
        keyward.rotate(&id, &reason());
        Request::post(&format!("/v1/keys/{id}/rotation/cancel"), &reason())
    }),
    ("revokeKey", |keyward| {
        let id = key(keyward, "to revoke a key of").id;
        Request::post(&format!("/v1/keys/{id}/revoke"), &reason())
    }),
    ("lookUpToken", |keyward| {
        let token = key(keyward, "to look up a token of").token;
        Request::post("/v1/keys/lookup", &json!({ "token": token }))
    }),
    ("revokeKeys", |keyward| {
        let application = keyward.application("to revoke many keys of");
        keyward.issue(&application, &["a:b"]);
        let body = json!({ "application": application, "issued_since": "2020-01-01T00:00:00Z", "reason": "because" });
        Request::post("/v1/revocations/bulk", &body)
    }),
    ("createRole", |_| Request::post("/v1/roles", &json!({ "name": "created", "scopes": ["keys:read"] }))),
    ("changeRole", |keyward| {
        let id = role(keyward, "to change");
        Request::patch(&format!("/v1/roles/{id}"), &json!({ "scopes": ["apps:read"] }))
    }),
    ("retireRole", |keyward| {
        let id = role(keyward, "to retire");
        Request::post(&format!("/v1/roles/{id}/retire"), &reason())
    }),
    ("createWebhook", |keyward| {
        Request::post("/v1/webhooks", &new_webhook(&keyward.application("to listen to")))
    }),
    ("changeWebhook", |keyward| {
        let id = webhook(keyward, "to change a webhook of");
        Request::patch(&format!("/v1/webhooks/{id}"), &json!({ "description": "of the night shift" }))
    }),
    ("rotateWebhookSecret", |keyward| {
        let id = webhook(keyward, "to rotate a secret of");
        Request::post(&format!("/v1/webhooks/{id}/rotate-secret"), &json!({}))
    }),
    ("testWebhook", |keyward| {
        let id = webhook(keyward, "to test a webhook of");
        Request::post(&format!("/v1/webhooks/{id}/test"), &json!({}))
    }),
    ("retireWebhook", |keyward| {
        let id = webhook(keyward, "to retire a webhook of");
        Request::post(&format!("/v1/webhooks/{id}/retire"), &reason())
    }),
    ("replayDeadLetters", |keyward| {
        let id = webhook(keyward, "to replay dead letters of");
        Request::post(&format!("/v1/webhooks/{id}/replay"), &json!({}))
    }),
    ("dropDeadLetters", |keyward| {
        let id = webhook(keyward, "to drop dead letters of");
        Request::post(&format!("/v1/webhooks/{id}/drop"), &reason())
    }),
    ("runDelivery", |_| Request::post("/v1/delivery/run", &json!({}))),
    ("createPolicy", |_| Request::post("/v1/policies", &json!({ "name": "created", "preset": "soc2" }))),
    ("changePolicy", |keyward| {
        let id = keyward.policy("to change", &json!({}));
        Request::patch(&format!("/v1/policies/{id}"), &json!({ "idle_after_s": 86_400 }))
    }),
    ("retirePolicy", |keyward| {
        let id = keyward.policy("to retire", &json!({}));
        Request::post(&format!("/v1/policies/{id}/retire"), &reason())
    }),
    ("createCredential", |keyward| {
        Request::post(
            "/v1/credentials",
            &new_credential(&keyward.application("to keep a credential of"), "db"),
        )
    }),
    ("importCredentials", |keyward| {
        let new = new_credential(&keyward.application("to import a credential of"), "db");
        Request::post("/v1/credentials/import", &json!({ "credentials": [new] }))
    }),
    ("changeCredential", |keyward| {
        let id = keyward.credential(&keyward.application("to change a credential of"), "db");
        Request::patch(&format!("/v1/credentials/{id}"), &json!({ "owner": "ops" }))
    }),
    ("writeCredential", |keyward| {
        let id = keyward.credential(&keyward.application("to write a credential of"), "db");
        Request::post(&format!("/v1/credentials/{id}/versions"), &json!({ "value": { "value": "next" } }))
    }),
    ("rollCredentialBack", |keyward| {
        let id = two_versions(keyward, "to roll a credential back of");
        let body = json!({ "version": 1, "reason": "because" });
        Request::post(&format!("/v1/credentials/{id}/roll-back"), &body)
    }),
    ("destroyCredentialVersion", |keyward| {
        let id = two_versions(keyward, "to destroy a version of");
        Request::post(&format!("/v1/credentials/{id}/versions/1/destroy"), &reason())
    }),
    ("setCredentialProvider", |keyward| {
        let id = keyward.credential(&keyward.application("to name a provider of"), "db");
        Request::post(&format!("/v1/credentials/{id}/provider"), &provider())
    }),
    ("removeCredentialProvider", |keyward| {
        let id = provided(keyward, "to remove a provider of");
        Request::post(&format!("/v1/credentials/{id}/provider/remove"), &reason())
    }),
    ("rotateCredential", |keyward| {
        let id = provided(keyward, "to rotate a credential of");
        Request::post(&format!("/v1/credentials/{id}/rotate"), &reason())
    }),
    ("cancelCredentialRotation", |keyward| {
        let id = provided(keyward, "to cancel a credential's rotation of");
        keyward.as_root(Request::post(&format!("/v1/credentials/{id}/rotate"), &reason())).expect(200);
        Request::post(&format!("/v1/credentials/{id}/rotation/cancel"), &reason())
    }),
    ("runCredentialRotations", |_| Request::post("/v1/credentials/rotations/run", &json!({}))),
    ("retireCredential", |keyward| {
        let id = keyward.credential(&keyward.application("to retire a credential of"), "db");
        Request::post(&format!("/v1/credentials/{id}/retire"), &reason())
    }),
    ("freezeIssuing", |_| Request::post("/v1/emergency/freeze", &reason())),
    ("thawIssuing", |_| Request::post("/v1/emergency/thaw", &reason())),
    ("shredPersonalData", |_| {
        Request::post("/v1/audit/shred", &json!({ "before": "2020-01", "reason": "because" }))
    }),
    ("resealRecords", |_| Request::post("/v1/rings/reseal", &json!({}))),
    ("resealCredentials", |_| Request::post("/v1/credentials/reseal", &json!({}))),
    ("runMaintenance", |_| Request::post("/v1/maintenance/run", &json!({}))),
];

/// Operations that take no credential: what the request carries is one.
const BY_HOLDERS: &[&str] = &["takeClaim", "reportToken", "renewSelf"];

/// What takes a signature instead of a credential, and is walked where it has one (`leaks.rs`).
const SIGNED: &[&str] = &["reportLeaks"];

/// Operations that a POST asks for and that change nothing.
const LOOKS: &[&str] = &["checkKey", "digestState"];

fn reason() -> Value {
    json!({ "reason": "because" })
}

fn key(keyward: &Keyward, application: &str) -> Holder {
    keyward.holder(&keyward.application(application), &["a:b"])
}

fn role(keyward: &Keyward, name: &str) -> String {
    let role = json!({ "name": name, "scopes": ["keys:read"] });
    keyward.as_root(Request::post("/v1/roles", &role)).expect(201).text_at("/id")
}

/// A credential whose first version is not the current one.
fn two_versions(keyward: &Keyward, application: &str) -> String {
    let id = keyward.credential(&keyward.application(application), "db");
    let body = json!({ "value": { "value": "next" } });
    keyward.as_root(Request::post(&format!("/v1/credentials/{id}/versions"), &body)).expect(201);
    id
}

fn provider() -> Value {
    json!({ "url": "https://provider.example/rotate" })
}

/// A credential that a provider rotates.
fn provided(keyward: &Keyward, application: &str) -> String {
    let id = keyward.credential(&keyward.application(application), "db");
    keyward.as_root(Request::post(&format!("/v1/credentials/{id}/provider"), &provider())).expect(200);
    id
}

fn webhook(keyward: &Keyward, application: &str) -> String {
    keyward.webhook(&keyward.application(application))
}

/// What was done, and the events that came of it.
fn watched(keyward: &Keyward, call: impl FnOnce() -> Reply) -> (Reply, Vec<Value>) {
    let newest = || {
        let page = keyward.as_root(Request::get("/v1/audit/events?limit=1")).expect(200).json();
        page["items"][0]["id"].as_str().expect("the log has events").to_owned()
    };
    let before = newest();
    let reply = call();
    let after = keyward.as_root(Request::get(&format!("/v1/audit/events?after={before}"))).expect(200).json();
    (reply, after["items"].as_array().expect("a list").clone())
}

/// The one event, with who, from where and when.
#[track_caller]
fn one<'e>(operation: &str, reply: &Reply, events: &'e [Value], outcome: &str) -> &'e Value {
    let [event] = events else {
        panic!("{operation}: {} events of one call ({}): {events:?}", events.len(), reply.text())
    };
    assert_eq!(event["outcome"], outcome, "{operation}: {event}");
    assert_eq!(event["source"]["client_addr"], "127.0.0.1", "{operation}: {event}");
    assert!(event["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{operation}: {event}");
    assert_eq!(event["request"].as_str(), reply.field("keyward-request-id"), "{operation}: {event}");
    event
}

/// The operations of the document that may change something.
fn operations(document: &Value) -> Vec<String> {
    let paths = document["paths"].as_object().expect("paths");
    let all = paths.values().filter_map(Value::as_object).flatten();
    let changing = all.filter(|(method, _)| !matches!(method.as_str(), "get" | "head" | "options"));
    changing.map(|(_, operation)| operation["operationId"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn every_route_that_changes_something_leaves_one_event_when_done_and_when_refused() {
    let keyward = Keyward::start();
    let document = keyward.send(Request::get("/openapi.json")).expect(200).json();
    let poor = keyward.admin("without a scope that helps", &["metrics:read"]);
    let root = keyward.events("action=keyward.init")[0]["target"]["key"].clone();
    let operations = operations(&document);
    let (mut done, mut refused) = (0, 0);
    for operation in operations.iter().filter(|name| !LOOKS.contains(&name.as_str())) {
        if BY_HOLDERS.contains(&operation.as_str()) || SIGNED.contains(&operation.as_str()) {
            continue;
        }
        let (_, prepare) = CHANGES.iter().find(|(name, _)| name == operation).unwrap_or_else(|| {
            panic!("{operation} changes something and is not walked here: add how it is called")
        });
        let request = prepare(&keyward);
        let (reply, events) = watched(&keyward, || keyward.send(request.clone().bearer(&poor.token)));
        let event = one(operation, &reply.expect(403), &events, "refused");
        assert_eq!(event["actor"]["key"], poor.id.as_str(), "{operation}: {event}");
        assert_eq!(event["actor"]["principal"], "without a scope that helps", "{operation}: {event}");
        refused += 1;

        let (reply, events) = watched(&keyward, || keyward.as_root(request));
        assert!((200..300).contains(&reply.status), "{operation}: {} {}", reply.status, reply.text());
        let event = one(operation, &reply, &events, "done");
        assert_eq!(event["actor"]["key"], root, "{operation}: {event}");
        let receipt = reply.field("keyward-receipt").unwrap_or_else(|| panic!("{operation}: no receipt"));
        assert!(receipt.starts_with(&format!("{};leaf=:", event["id"])), "{operation}: {receipt}");
        done += 1;
    }

    // A claim: taken, and tried again.
    let issued = keyward.issue(&keyward.application("to claim for"), &["a:b"]);
    let (reply, events) = watched(&keyward, || keyward.send(claim(&issued.ticket)));
    let token = reply.clone().expect(200).text_at("/token");
    assert_eq!(one("takeClaim", &reply, &events, "done")["actor"]["kind"], "holder");
    let (reply, events) = watched(&keyward, || keyward.send(claim(&issued.ticket)));
    one("takeClaim", &reply.expect(410), &events, "alarm");
    // A renewal: done, and tried again.
    let holder = key(&keyward, "to renew a key of");
    let renew = || keyward.send(Request::post("/v1/self/renew", &json!({ "renewal_token": holder.renewal })));
    let (reply, events) = watched(&keyward, renew);
    assert_eq!(one("renewSelf", &reply.expect(200), &events, "done")["actor"]["kind"], "holder");
    let (reply, events) = watched(&keyward, renew);
    one("renewSelf", &reply.expect(410), &events, "alarm");
    // A token that somebody found: reported. Whoever has none is nobody, and counted with the anonymous.
    let (reply, events) =
        watched(&keyward, || keyward.send(Request::post("/v1/revocations", &json!({ "token": token }))));
    assert_eq!(one("reportToken", &reply.expect(200), &events, "done")["actor"]["kind"], "holder");

    let walked = done + BY_HOLDERS.len();
    let wanted = operations.len() - LOOKS.len() - SIGNED.len();
    println!(
        "{walked} of {wanted} operations that change something ({}%): {done} by admins, each done and refused ({refused} refusals), \
         {} by holders; one event each. Looks by POST: {}",
        100 * walked / wanted,
        BY_HOLDERS.len(),
        LOOKS.join(", ")
    );
    assert_eq!(walked, wanted);
    assert!(document["paths"].as_object().unwrap().len() > 20, "the document was whole");
}
