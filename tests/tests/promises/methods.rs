//! Methods, on every path of the API's document: HEAD is GET without a body, OPTIONS says what a path takes, any other method is 405
//! with `Allow`. Nothing here answers to another origin: no CORS header, ever.

use std::collections::BTreeSet;

use keyward_e2e::document::{Document, Operation, Things};
use keyward_e2e::{Keyward, Reply, Request, json};

/// Asked in every method, and answered alike.
const GATEWAYS: &str = "/v1/authorize";
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"];

fn allow(reply: &Reply) -> BTreeSet<String> {
    reply.field("allow").unwrap_or_default().split(", ").map(str::to_owned).collect()
}

#[test]
fn a_method_that_a_path_does_not_take_is_405_and_says_which_it_takes() {
    let keyward = Keyward::start();
    for path in Document::of(&keyward).paths().into_keys().filter(|path| path != GATEWAYS) {
        let target = path.replace(['{', '}'], "");
        let taken = allow(&keyward.send(Request::new("OPTIONS", &target)).expect(204));
        for method in METHODS.into_iter().filter(|method| !taken.contains(*method)) {
            let reply = keyward.as_root(Request::new(method, &target)).expect(405);
            assert_eq!(allow(&reply), taken, "{method} {target}");
            match method {
                "HEAD" => assert!(reply.body.is_empty(), "{target}"),
                _ => assert_eq!(reply.json()["code"], "method-not-allowed", "{method} {target}"),
            }
        }
    }
}

#[test]
fn head_is_get_without_a_body() {
    let keyward = Keyward::start();
    let document = Document::of(&keyward);
    let application = keyward.application("orders");
    let issued = keyward.issue(&application, &["orders:read"]);
    let role =
        keyward.as_root(Request::post("/v1/roles", &json!({ "name": "clerks", "scopes": ["keys:read"] })));
    let role = role.expect(201).text_at("/id");
    let policy = keyward.policy("quarterly", &json!({}));
    let event = keyward.events("action=key.issue")[0]["id"].as_str().unwrap().to_owned();
    // The tree is extended before anything about it is asked.
    keyward.as_root(Request::get("/v1/audit/checkpoint")).expect(200);
    let things = Things::new(&[
        ("ApplicationId", &application),
        ("KeyId", &issued.id),
        ("ClaimId", &issued.claim),
        ("RoleId", &role),
        ("WebhookId", &keyward.webhook(&application)),
        ("PolicyId", &policy),
        ("CredentialId", &keyward.credential(&application, "db")),
        ("CredentialName", "db"),
        ("EventId", &event),
        ("tile", "0/000.p/1"),
    ]);
    let mut checked = 0;
    // A gateway's question is refused to root, and that alike too.
    for operation in document.operations().into_iter().filter(Operation::reads) {
        let line = operation.line.as_str();
        let request = document.request(&operation, &things);
        let get = keyward.as_root(request.clone());
        assert!(get.status < 300 || line.ends_with(GATEWAYS), "{line}: {} {}", get.status, get.text());
        let head = keyward.as_root(request.clone().in_method("HEAD"));
        let essence = |reply: &Reply| {
            // A signature is that of the answer to this very method.
            let framing = |name: &str| matches!(name, "content-length" | "transfer-encoding" | "signature");
            let (status, fields, _) = reply.essence();
            (status, fields.into_iter().filter(|(name, _)| !framing(name)).collect::<Vec<_>>())
        };
        assert_eq!(essence(&head), essence(&get), "{line}");
        assert!(head.body.is_empty(), "{line}");
        // What is refused is refused alike.
        let (get, head) = (keyward.send(request.clone()), keyward.send(request.in_method("HEAD")));
        assert_eq!(essence(&head), essence(&get), "{line} without a credential");
        checked += 1;
    }
    assert!(checked > 15, "{checked} operations");
}

#[test]
fn a_gateway_asks_in_every_method_and_none_is_let_through_unasked() {
    let keyward = Keyward::start();
    let holder = keyward.holder(&keyward.application("orders"), &["orders:read"]);
    for path in [GATEWAYS, "/v1/authorize/orders/7"] {
        for method in METHODS.into_iter().chain(["OPTIONS"]) {
            let ask = |token: Option<&str>| {
                let request = Request::new(method, path).field("origin", "https://elsewhere.example");
                let request = request.field("access-control-request-method", "POST");
                keyward.send(token.into_iter().fold(request, Request::bearer))
            };
            let yes = ask(Some(&holder.token));
            assert!(matches!(yes.status, 200 | 204), "{method} {path}: {}", yes.status);
            assert_eq!(yes.field("keyward-key-id"), Some(holder.id.as_str()), "{method} {path}");
            // A preflight too: what it is about is the service's behind the gateway, not ours.
            assert_eq!((ask(None).status, ask(Some("nobody's")).status), (401, 401), "{method} {path}");
        }
    }
}

#[test]
fn no_other_origin_is_answered() {
    let keyward = Keyward::start();
    let origin = |request: Request| request.field("origin", "https://elsewhere.example");
    for path in Document::of(&keyward).paths().into_keys() {
        let target = path.replace(['{', '}'], "");
        let preflight = origin(Request::new("OPTIONS", &target))
            .field("access-control-request-method", "POST")
            .field("access-control-request-headers", "authorization, content-type");
        let reply = keyward.send(preflight);
        let expected = if path == GATEWAYS { 401 } else { 204 };
        assert_eq!(reply.status, expected, "{path}");
        for method in METHODS {
            keyward.as_root(origin(Request::new(method, &target)));
            keyward.send(origin(Request::new(method, &target)));
        }
    }
    for (line, reply) in keyward.seen() {
        let cors = reply.fields.iter().find(|(name, _)| name.starts_with("access-control-"));
        assert_eq!(cors, None, "{line}");
    }
}
