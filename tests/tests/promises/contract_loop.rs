//! A key is issued, claimed, used and revoked, and every step stands in the log with who, from where and when:
//! by `keyward up`, on SQLite and on Redis.

use keyward_domain::Timestamp;
use keyward_e2e::admin::{authorize, claim, new_key, revoke};
use keyward_e2e::{Keyward, Reply, Request, Setup, Value, json};

const AGENT: &str = "partner-portal/2.1";

#[test]
fn by_the_command() {
    runs(&Setup::new().by_command().start());
}

#[test]
fn on_sqlite() {
    runs(&Keyward::start());
}

#[test]
fn on_redis() {
    runs(&Setup::new().on_redis().start());
}

fn time(value: &Value) -> Timestamp {
    let text = value.as_str().unwrap();
    assert!(text.ends_with('Z'), "{text} is not in UTC");
    Timestamp::parse(text).expect(text)
}

fn runs(keyward: &Keyward) {
    for path in ["/healthz", "/readyz"] {
        assert_eq!(keyward.send(Request::get(path)).expect(200).json()["status"], "ok");
    }
    let ready = keyward.send(Request::get("/readyz")).json();
    let kind = if keyward.redis().is_some() { "redis" } else { "sqlite" };
    assert_eq!(ready["store"], json!({ "kind": kind, "unique_tickets": true, "batch": true }));

    // Each step with the action that it must leave behind.
    let mut steps: Vec<(&str, &str, Reply)> = Vec::new();
    let with_agent = |request: Request| keyward.as_root(request.field("user-agent", AGENT));

    let created =
        with_agent(Request::post("/v1/applications", &json!({ "name": "Acme Orders" }))).expect(201);
    let application = created.text_at("/id");
    assert!(application.starts_with("app_"), "{application}");
    steps.push(("application.create", "admin", created));

    let mut wanted = new_key(&application, &["orders:read", "stock:*"]);
    wanted["expires_in_s"] = 3600.into();
    let issued = with_agent(Request::post("/v1/keys", &wanted)).expect(201);
    let (id, ticket) = (issued.text_at("/key/id"), issued.text_at("/claim/ticket"));
    assert!(id.starts_with("key_") && ticket.starts_with("kwc_live_"), "{id}");
    assert!(issued.text_at("/claim/url").ends_with(&format!("/claim#{ticket}")));
    let key = issued.json()["key"].clone();
    assert_eq!(key["state"], "unclaimed");
    let lifetime_ms = time(&key["expires_at"]).unix_ms() - time(&key["created_at"]).unix_ms();
    assert_eq!(lifetime_ms, 3_600_000);
    steps.push(("key.issue", "admin", issued.clone()));

    let looked =
        keyward.send(Request::get(&format!("/v1/claims/{}", issued.text_at("/claim/id")))).expect(200);
    assert_eq!(looked.json()["state"], "open");
    assert_eq!(looked.json()["application"], json!({ "id": application, "name": "Acme Orders" }));

    let claimed = keyward.send(claim(&ticket).field("user-agent", AGENT)).expect(200);
    let token = claimed.text_at("/token");
    assert!(token.starts_with("kw_live_"));
    assert_eq!(claimed.field("cache-control"), Some("no-store"));
    steps.push(("claim.take", "holder", claimed));

    let again = keyward.send(claim(&ticket).field("user-agent", AGENT)).expect(410);
    assert_eq!(again.json()["code"], "claim-taken");
    steps.push(("claim.replay", "holder", again));

    for (query, yes) in [
        ("", 204),
        ("?scope=orders:read", 204),
        ("?scope=orders:read&scope=stock:write", 204),
        // Below the path a gateway of Envoy's kind asks, which takes no other yes.
        ("/deeper/path?environment=live", 200),
    ] {
        let passed = keyward.send(authorize(&token, query)).expect(yes);
        assert_eq!(passed.field("keyward-key-id"), Some(id.as_str()));
        assert_eq!(passed.field("keyward-application"), Some(application.as_str()));
        assert_eq!(passed.field("keyward-scopes"), Some("orders:read stock:*"));
    }
    let lacking = keyward.send(authorize(&token, "?scope=orders:write")).expect(403);
    let challenge = lacking.field("www-authenticate").unwrap();
    assert!(
        challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\"orders:write\"")
    );
    keyward.send(Request::get("/v1/authorize").field("x-api-key", &token)).expect(204);
    keyward.send(Request::get("/v1/authorize")).expect(401);

    let verify = |scope: &str| {
        let body = json!({ "token": token, "scopes": [scope] });
        keyward.as_root(Request::post("/v1/keys/verify", &body)).expect(200).json()
    };
    let valid = verify("orders:read");
    assert_eq!(
        (&valid["valid"], &valid["code"], &valid["key"]["id"]),
        (&json!(true), &json!("VALID"), &json!(id))
    );
    assert_eq!(verify("orders:write")["code"], "INSUFFICIENT_SCOPE");

    let revoked = with_agent(revoke(&id)).expect(200);
    keyward.send(authorize(&token, "")).expect(401);
    assert_eq!(verify("orders:read")["code"], "REVOKED");
    let twice = with_agent(revoke(&id)).expect(200);
    assert_eq!(twice.json(), revoked.json(), "revoking is idempotent");
    steps.push(("key.revoke", "admin", revoked));
    assert_eq!(
        keyward.as_root(Request::get(&format!("/v1/keys/{id}"))).expect(200).json()["state"],
        "revoked"
    );

    let events = keyward.events(&format!("application={application}"));
    let actions: Vec<&str> = events.iter().rev().map(|event| event["action"].as_str().unwrap()).collect();
    let expected: Vec<&str> = steps.iter().map(|(action, ..)| *action).collect();
    assert_eq!(actions, expected, "each step once, and nothing else");
    let root_id = root_id(keyward);
    let mut before = time(&key["created_at"]).plus_s(-60);
    for ((action, kind, reply), event) in steps.iter().zip(events.iter().rev()) {
        assert_eq!(event["actor"]["kind"], *kind, "{action}");
        if *kind == "admin" {
            assert_eq!(event["actor"]["key"], *root_id, "{action}");
            assert_eq!(event["actor"]["principal"], "root", "{action}");
        }
        assert_eq!(event["source"], json!({ "client_addr": "127.0.0.1", "user_agent": AGENT }), "{action}");
        assert_eq!(event["request"].as_str(), reply.field("keyward-request-id"), "{action}");
        assert!(time(&event["at"]) >= before, "{action}: time goes on");
        before = time(&event["at"]);
        let one = event["id"].as_str().unwrap();
        assert_eq!(
            keyward.as_root(Request::get(&format!("/v1/audit/events/{one}"))).expect(200).json(),
            *event
        );
        if let Some(told) = reply.json()["event"].as_str() {
            assert_eq!(told, one, "{action}: the answer names its event");
        }
    }
    let writes: Vec<_> = events.iter().filter(|event| event["writes"].is_array()).collect();
    assert!(writes.len() >= 4, "events name what they wrote");
}

/// The id of the root key: the one that `keyward init` made.
fn root_id(keyward: &Keyward) -> String {
    let events = keyward.events("action=keyward.init");
    assert_eq!(events.len(), 1);
    events[0]["target"]["key"].as_str().unwrap().to_owned()
}
