//! Bad input is told apart by a stable type, the field and the reason, everywhere alike; what was sent is not repeated.

use keyward_e2e::admin::KEYWARD_APPLICATION;
use keyward_e2e::{Keyward, Reply, Request, Value, json};

const TYPE_BASE: &str = "https://keyward.dev/problems/";

/// Asserts that `reply` is a whole problem of this code.
#[track_caller]
fn problem(what: &str, reply: &Reply, status: u16, code: &str) -> Value {
    assert_eq!(reply.status, status, "{what}: {}", reply.text());
    assert_eq!(reply.field("content-type"), Some("application/problem+json"), "{what}");
    let problem = reply.json();
    assert_eq!(problem["code"], code, "{what}: {problem}");
    assert_eq!(problem["type"], format!("{TYPE_BASE}{code}"), "{what}");
    assert_eq!(problem["status"], status, "{what}");
    assert_eq!(problem["request_id"].as_str(), reply.field("keyward-request-id"), "{what}");
    for member in ["title", "detail"] {
        assert!(problem[member].as_str().is_some_and(|text| text.len() > 8), "{what}: {problem}");
    }
    problem
}

/// What a case says: the field at fault and a part of the reason.
type Finding = (&'static str, &'static str);

struct World {
    keyward: Keyward,
    application: String,
    key: String,
}

impl World {
    fn new() -> Self {
        let keyward = Keyward::start();
        let application = keyward.application("orders");
        let key = keyward.holder(&application, &["orders:read"]).id;
        Self { keyward, application, key }
    }

    fn key_with(&self, change: &Value) -> Value {
        let mut key =
            json!({ "application": self.application, "name": "k", "environment": "live", "scopes": ["a:b"] });
        key.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        key
    }
}

#[test]
fn fields_are_named_with_a_reason() {
    let world = World::new();
    let (keyward, application, key) = (&world.keyward, &world.application, &world.key);
    let application_target = format!("/v1/applications/{application}");
    let key_target = format!("/v1/keys/{key}");
    let long = |bytes: usize| "x".repeat(bytes);
    let new = |change: Value| ("POST /v1/keys".to_owned(), world.key_with(&change));
    let create = |body: Value| ("POST /v1/applications".to_owned(), body);
    let patch_key = |body: Value| (format!("PATCH {key_target}"), body);
    let patch_application = |body: Value| (format!("PATCH {application_target}"), body);
    let revoke = |body: Value| (format!("POST {key_target}/revoke"), body);
    let post = |target: &str, body: Value| (format!("POST {target}"), body);
    let scope_many: Vec<String> = (0..65).map(|n| format!("a:{n}")).collect();
    let network_many: Vec<String> = (0..65).map(|n| format!("10.0.{n}.0/24")).collect();

    let cases: Vec<((String, Value), &[Finding])> = vec![
        // Shape: unknown, missing, of another type.
        (create(json!({ "name": "a", "nmae": "b" })), &[("nmae", "is unknown")]),
        (create(json!({})), &[("name", "is missing")]),
        (create(json!({ "name": 17 })), &[("name", "is a whole number")]),
        (create(json!({ "name": null })), &[("name", "is null")]),
        (create(json!({ "name": ["a"] })), &[("name", "is an array")]),
        (create(json!({ "name": "a", "contacts": "b" })), &[("contacts", "is a string")]),
        (create(json!({ "name": "a", "contacts": [1] })), &[("contacts[0]", "is a whole number")]),
        (new(json!({ "rules": { "ip": [] } })), &[("rules.ip", "is unknown")]),
        (new(json!({ "rules": [] })), &[("rules", "is an array")]),
        (new(json!({ "scopes": "a:b" })), &[("scopes", "is a string")]),
        (new(json!({ "scopes": ["a:b", 1] })), &[("scopes[1]", "is a whole number")]),
        (new(json!({ "environment": "moon" })), &[("environment", "is none of the values")]),
        (new(json!({ "expires_in_s": "90d" })), &[("expires_in_s", "is a string")]),
        (new(json!({ "expires_in_s": 1.5 })), &[("expires_in_s", "is a number with a fraction")]),
        (new(json!({ "expires_at": "2030-01-01T00:00:00Z" })), &[("expires_at", "is unknown")]),
        (patch_key(json!({ "disabled": "yes" })), &[("disabled", "is a string")]),
        (patch_key(json!({ "environment": "test" })), &[("environment", "is unknown")]),
        (revoke(json!({})), &[("reason", "is missing")]),
        // Bounds.
        (create(json!({ "name": "" })), &[("name", "is empty")]),
        (create(json!({ "name": " \t\n" })), &[("name", "is empty")]),
        (create(json!({ "name": long(129) })), &[("name", "has 129 bytes")]),
        (create(json!({ "name": "\u{e9}".repeat(65) })), &[("name", "has 130 bytes")]),
        (create(json!({ "name": "a", "contacts": vec!["b"; 17] })), &[("contacts", "has 17 entries")]),
        (create(json!({ "name": "a", "contacts": ["b", ""] })), &[("contacts[1]", "is empty")]),
        (create(json!({ "name": "a", "prefix": "Kw" })), &[("prefix", "is no prefix")]),
        (create(json!({ "name": "a", "prefix": "k" })), &[("prefix", "is no prefix")]),
        (create(json!({ "name": "a", "prefix": "kwc" })), &[("prefix", "is reserved")]),
        (create(json!({ "name": "", "prefix": "-" })), &[("name", "is empty"), ("prefix", "is no prefix")]),
        (revoke(json!({ "reason": "" })), &[("reason", "is empty")]),
        (revoke(json!({ "reason": long(1025) })), &[("reason", "has 1025 bytes")]),
        (patch_key(json!({})), &[("", "changes nothing")]),
        (patch_application(json!({ "reason": "none" })), &[("", "changes nothing")]),
        (patch_application(json!({ "status": "gone" })), &[("status", "is none of the values")]),
        // Expiry in the past.
        (new(json!({ "expires_in_s": 0 })), &[("expires_in_s", "lies in the past")]),
        (new(json!({ "expires_in_s": -1 })), &[("expires_in_s", "lies in the past")]),
        (new(json!({ "expires_in_s": 315_360_001_i64 })), &[("expires_in_s", "is more than ten years")]),
        (new(json!({ "expires_in_s": i64::MAX })), &[("expires_in_s", "is more than ten years")]),
        (new(json!({ "expires_in_s": u64::MAX })), &[("expires_in_s", "")]),
        // The grammar of scopes and networks.
        (new(json!({ "scopes": [""] })), &[("scopes[0]", "is empty")]),
        (new(json!({ "scopes": ["Orders:read"] })), &[("scopes[0]", "has a character")]),
        (new(json!({ "scopes": ["a b"] })), &[("scopes[0]", "has a character")]),
        (new(json!({ "scopes": ["a::b"] })), &[("scopes[0]", "has an empty segment")]),
        (
            new(json!({ "scopes": ["a:b", "*:a", "a*"] })),
            &[("scopes[1]", "has a character"), ("scopes[2]", "has a character")],
        ),
        (new(json!({ "scopes": [long(129)] })), &[("scopes[0]", "is too long")]),
        (new(json!({ "scopes": scope_many })), &[("scopes", "has 65 entries")]),
        (new(json!({ "scopes": ["a:b@nobody"] })), &[("scopes[0]", "names no application")]),
        (new(json!({ "scopes": [format!("a:b@{application}")] })), &[("scopes", "has a scope with `@`")]),
        (new(json!({ "rules": { "network": ["home"] } })), &[("rules.network[0]", "is not an address")]),
        (
            new(json!({ "rules": { "network": ["10.0.0.0/33"] } })),
            &[("rules.network[0]", "is not an address")],
        ),
        (new(json!({ "rules": { "network": network_many } })), &[("rules.network", "has 65 entries")]),
        (patch_key(json!({ "scopes": ["A"] })), &[("scopes[0]", "has a character")]),
        // Ids and secrets.
        (new(json!({ "application": "nope" })), &[("application", "is not an application's id")]),
        (new(json!({ "application": key })), &[("application", "is not an application's id")]),
        (post("/v1/claims", json!({ "ticket": "nope" })), &[("ticket", "is not a claim's ticket")]),
        (post("/v1/claims", json!({ "ticket": keyward.root() })), &[("ticket", "is not a claim's ticket")]),
        (post("/v1/claims", json!({ "ticket": 1 })), &[("ticket", "is a whole number")]),
        (post("/v1/revocations", json!({ "token": "nope" })), &[("token", "is not a token")]),
        (post("/v1/keys/lookup", json!({ "token": "nope" })), &[("token", "is not a token")]),
        (
            post("/v1/keys/verify", json!({ "token": "x", "client_ip": "home" })),
            &[("client_ip", "is no address")],
        ),
        (
            post("/v1/keys/verify", json!({ "token": "x", "scopes": ["A"] })),
            &[("scopes[0]", "has a character")],
        ),
        // Keys of administration stand for somebody; others stand for nobody.
        (new(json!({ "application": KEYWARD_APPLICATION })), &[("principal", "is missing")]),
        (
            new(json!({ "application": KEYWARD_APPLICATION, "principal": "p", "environment": "test" })),
            &[("environment", "is `test`")],
        ),
        (new(json!({ "principal": "p" })), &[("principal", "is given")]),
    ];
    for ((line, body), findings) in &cases {
        let (method, target) = line.split_once(' ').unwrap();
        let reply = keyward.as_root(Request::new(method, target).json(body));
        let what = format!("{line} {body:.120}");
        let problem = problem(&what, &reply, 400, "invalid-field");
        let errors = problem["errors"].as_array().unwrap();
        assert_eq!(errors.len(), findings.len(), "{what}: {problem}");
        for (error, (field, reason)) in errors.iter().zip(*findings) {
            assert_eq!(error["field"], *field, "{what}: {problem}");
            assert!(error["reason"].as_str().unwrap().contains(reason), "{what}: {problem}");
            assert!(!error["expected"].as_str().unwrap().is_empty(), "{what}: {problem}");
        }
        assert!(!reply.text().contains("nope") && !reply.text().contains(keyward.root()), "{what}: repeated");
    }
    assert_eq!(keyward.list("/v1/applications?limit=100").len(), 2, "nothing was made: keyward and orders");
    assert_eq!(keyward.list(&format!("/v1/keys?application={application}")).len(), 1);
}

#[test]
fn bodies_that_are_no_json_object() {
    let World { keyward, key, .. } = World::new();
    let deep = format!("{{\"name\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let cases: [(&str, Vec<u8>, &str, Option<Finding>); 16] = [
        ("empty", Vec::new(), "invalid-body", None),
        ("white space", b" \n".to_vec(), "invalid-body", None),
        ("an array", b"[]".to_vec(), "invalid-body", None),
        ("a string", b"\"x\"".to_vec(), "invalid-body", None),
        ("null", b"null".to_vec(), "invalid-body", None),
        ("cut", b"{\"name\":\"a\"".to_vec(), "invalid-body", None),
        ("two values", b"{\"name\":\"a\"}{}".to_vec(), "invalid-body", None),
        ("a comma too many", b"{\"name\":\"a\",}".to_vec(), "invalid-body", None),
        ("a comment", b"{/**/\"name\":\"a\"}".to_vec(), "invalid-body", None),
        ("single quotes", b"{'name':'a'}".to_vec(), "invalid-body", None),
        ("no UTF-8", b"{\"name\":\"\xff\"}".to_vec(), "invalid-body", None),
        ("half a surrogate", b"{\"name\":\"\\ud800\"}".to_vec(), "invalid-body", None),
        ("a byte order mark", b"\xef\xbb\xbf{\"name\":\"a\"}".to_vec(), "invalid-body", None),
        ("too deep", deep.into_bytes(), "invalid-field", Some(("name", "lies too deep"))),
        (
            "a field twice",
            b"{\"name\":\"a\",\"name\":\"b\"}".to_vec(),
            "invalid-field",
            Some(("name", "stands twice")),
        ),
        (
            "twice, escaped",
            b"{\"name\":\"a\",\"n\\u0061me\":\"b\"}".to_vec(),
            "invalid-field",
            Some(("name", "stands twice")),
        ),
    ];
    let revoke = format!("/v1/keys/{key}/revoke");
    for (what, body, code, finding) in &cases {
        for target in
            ["/v1/applications", "/v1/keys", "/v1/keys/verify", "/v1/claims", "/v1/revocations", &revoke]
        {
            let request =
                Request::new("POST", target).field("content-type", "application/json").body(body.clone());
            let reply = keyward.as_root(request);
            let what = format!("{what} at {target}");
            let problem = problem(&what, &reply, 400, code);
            if let Some((field, reason)) = finding {
                assert!(problem["errors"][0]["field"].as_str().unwrap().starts_with(field), "{what}");
                assert!(problem["errors"][0]["reason"].as_str().unwrap().contains(reason), "{what}");
            }
        }
    }
    for (what, media_type) in [
        ("none", None),
        ("text", Some("text/plain")),
        ("a form", Some("application/x-www-form-urlencoded")),
        ("Latin-1", Some("application/json; charset=iso-8859-1")),
    ] {
        let request = Request::new("POST", "/v1/applications").body("{\"name\":\"a\"}");
        let request =
            media_type.into_iter().fold(request, |request, value| request.field("content-type", value));
        problem(what, &keyward.as_root(request), 415, "unsupported-media-type");
    }
    for (bytes, status) in [(65_536, 400), (65_537, 413), (2 << 20, 413)] {
        let body = format!("{{\"name\":\"{}\"}}", "x".repeat(bytes - 11));
        assert_eq!(body.len(), bytes);
        let code = if status == 413 { "body-too-large" } else { "invalid-field" };
        let request =
            Request::new("POST", "/v1/applications").field("content-type", "application/json").body(body);
        problem(&format!("{bytes} bytes"), &keyward.as_root(request), status, code);
    }
    keyward.as_root(Request::post("/v1/applications", &json!({ "name": "\u{1f511} whole" }))).expect(201);
}

#[test]
fn names_and_revisions_that_are_taken() {
    let World { keyward, application, key } = World::new();
    for name in ["orders", "keyward"] {
        let reply = keyward.as_root(Request::post("/v1/applications", &json!({ "name": name })));
        problem(name, &reply, 409, "name-taken");
    }
    let other = keyward.application("other");
    let rename = |name: &str| {
        keyward.as_root(Request::patch(&format!("/v1/applications/{other}"), &json!({ "name": name })))
    };
    problem("renamed", &rename("orders"), 409, "name-taken");
    rename("others").expect(200);
    keyward.application("other");

    for target in [format!("/v1/keys/{key}"), format!("/v1/applications/{application}")] {
        let etag = keyward.as_root(Request::get(&target)).expect(200).field("etag").unwrap().to_owned();
        let change = |value: &str| {
            let body = if target.contains("/keys/") {
                json!({ "disabled": false })
            } else {
                json!({ "contacts": [] })
            };
            keyward.as_root(Request::patch(&target, &body).field("if-match", value))
        };
        problem("a number", &change("1"), 400, "invalid-parameter");
        problem("a word", &change("\"x\""), 400, "invalid-parameter");
        problem("another", &change("\"999\""), 412, "revision-mismatch");
        let next = change(&etag).expect(200).field("etag").unwrap().to_owned();
        assert_ne!(next, etag);
        problem("an old one", &change(&etag), 412, "revision-mismatch");
        change("*").expect(200);
    }
}

#[test]
fn parameters_are_named() {
    let World { keyward, application, .. } = World::new();
    let lists = ["/v1/applications?", "/v1/audit/events?", &format!("/v1/keys?application={application}&")];
    for list in lists {
        for (query, name) in [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=-1", "limit"),
            ("limit=ten", "limit"),
            ("limit=", "limit"),
            ("limit=5&limit=6", "limit"),
            ("cursor=", "cursor"),
            ("cursor=nope", "cursor"),
            ("cursor=MS4y.x", "cursor"),
            ("limti=5", "limti"),
        ] {
            let what = format!("{list}{query}");
            let problem = problem(&what, &keyward.as_root(Request::get(&what)), 400, "invalid-parameter");
            assert!(problem["detail"].as_str().unwrap().contains(&format!("`{name}`")), "{what}: {problem}");
            assert_eq!(problem["errors"][0]["field"], name, "{what}: {problem}");
        }
    }
    for (query, name) in [
        ("application=nope", "application"),
        ("key=app_0000000000000000000000", "key"),
        ("actor=root", "actor"),
        ("action=key.steal", "action"),
        ("since=yesterday", "since"),
        ("until=2026-13-01T00:00:00Z", "until"),
    ] {
        let what = format!("/v1/audit/events?{query}");
        let problem = problem(&what, &keyward.as_root(Request::get(&what)), 400, "invalid-parameter");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("`{name}`")), "{what}: {problem}");
        assert_eq!(problem["errors"][0]["field"], name, "{what}: {problem}");
    }
    // Without an application they are those of all; how they stand is one of a few words.
    keyward.as_root(Request::get("/v1/keys")).expect(200);
    problem(
        "no standing",
        &keyward.as_root(Request::get("/v1/keys?standing=well")),
        400,
        "invalid-parameter",
    );
    problem(
        "bad escapes",
        &keyward.as_root(Request::get("/v1/applications?limit=%zz")),
        400,
        "invalid-parameter",
    );
    // A gateway reads headers alone: there is no body to read.
    let holder = keyward.holder(&application, &["a:b"]);
    for query in
        ["scope=", "scope=A", "environment=moon", "environment=live&environment=live", "application=nope"]
    {
        let reply = keyward.send(keyward_e2e::admin::authorize(&holder.token, &format!("?{query}")));
        assert_eq!((reply.status, reply.body.len()), (400, 0), "{query}");
    }
}

#[test]
fn paths_that_are_none() {
    let World { keyward, application, .. } = World::new();
    for route in [
        "/",
        "/v1",
        "/v1/nowhere",
        "/v1/keys/",
        "/v1/applications/x/y",
        "/v1/audit/events/",
        "/v1/audit/tree",
        "/claim/x",
    ] {
        assert_eq!(keyward.as_root(Request::get(route)).status, 404, "{route}");
    }
    problem("no such route", &keyward.as_root(Request::get("/v1/audit/nowhere")), 404, "not-found");
    for id in ["key_x", "KEY_1", &application, "%6bey_1", "..", "key_%00"] {
        let reply = keyward.as_root(Request::get(&format!("/v1/keys/{id}")));
        problem(id, &reply, 404, "not-found");
    }
}

#[test]
fn without_a_credential() {
    let World { keyward, application, key } = World::new();
    for request in [
        Request::get("/v1/applications"),
        Request::post("/v1/applications", &json!({ "name": "x" })),
        Request::get(&format!("/v1/keys?application={application}")),
        Request::get(&format!("/v1/keys/{key}")),
        Request::post(&format!("/v1/keys/{key}/revoke"), &json!({ "reason": "x" })),
        Request::post("/v1/keys/verify", &json!({ "token": "x" })),
        Request::post("/v1/keys/lookup", &json!({ "token": "x" })),
        Request::get("/v1/audit/events"),
    ] {
        let line = request.line();
        let reply = keyward.send(request.clone());
        problem(&line, &reply, 401, "unauthenticated");
        assert_eq!(reply.field("www-authenticate"), Some("Bearer realm=\"keyward\""), "{line}");
        let reply = keyward.send(request.bearer("nobody's"));
        problem(&line, &reply, 401, "unauthenticated");
        assert_eq!(
            reply.field("www-authenticate"),
            Some("Bearer realm=\"keyward\", error=\"invalid_token\""),
            "{line}"
        );
    }
}
