//! Every administrative route refuses whoever lacks its scope, says which one that is, and leaves one event that says so too.

use keyward_domain::{PolicyId, RoleId, WebhookId};
use keyward_e2e::document::{Document, Things};
use keyward_e2e::{Keyward, json};

#[test]
fn at_every_route_of_the_document() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let key = keyward.holder(&application, &["orders:read"]);
    let event = keyward.events(&format!("key={}", key.id))[0]["id"].as_str().unwrap().to_owned();
    let role = RoleId::from_bytes([9; 16]).to_string();
    let webhook = WebhookId::from_bytes([9; 16]).to_string();
    let policy = PolicyId::from_bytes([9; 16]).to_string();
    let poor = keyward.admin("someone", &["orders:read"]);
    let things = Things::new(&[
        ("ApplicationId", &application),
        ("KeyId", &key.id),
        ("EventId", &event),
        ("RoleId", &role),
        ("WebhookId", &webhook),
        ("PolicyId", &policy),
        ("CredentialId", &keyward.credential(&application, "db")),
        ("CredentialName", "db"),
        ("Month", "2020-01"),
        ("token", &key.token),
        ("tile", "0/000"),
        ("event", &event),
    ]);
    let document = Document::of(&keyward);
    let (mut walked, mut logged) = (0, 0);
    for operation in document.operations().iter().filter(|operation| !operation.scopes.is_empty()) {
        let before = keyward.store_keys("e:").len();
        let refused = keyward.send(document.request(operation, &things).bearer(&poor.token));
        assert_eq!(refused.status, 403, "{}: {}", operation.line, refused.text());
        assert_eq!(refused.json()["code"], "insufficient-scope", "{}", operation.line);
        let challenge = refused.field("www-authenticate").expect("a challenge");
        let scope = operation
            .scopes
            .iter()
            .find(|scope| challenge.ends_with(&format!("error=\"insufficient_scope\", scope=\"{scope}\"")))
            .unwrap_or_else(|| panic!("{}: {challenge}", operation.line));
        assert!(refused.text_at("/detail").contains(scope.as_str()), "{}", operation.line);
        walked += 1;

        let events = keyward.store_keys("e:").len() - before;
        // Validation writes no event: what it refuses is use.
        if operation.id == "checkKey" {
            assert_eq!(events, 0, "{}", operation.line);
            continue;
        }
        assert_eq!(events, 1, "{}", operation.line);
        let event = keyward.events(&format!("actor={}", poor.id)).swap_remove(0);
        logged += 1;
        assert_eq!(event["outcome"], "refused", "{}", operation.line);
        assert_eq!(event["reason"], "insufficient-scope", "{}", operation.line);
        assert!(event["detail"].as_array().unwrap().contains(&json!(scope)), "{}: {event}", operation.line);
        assert_eq!(event["actor"]["key"], poor.id, "{}", operation.line);
        assert_eq!(event["source"]["client_addr"], "127.0.0.1", "{}", operation.line);
    }
    println!(
        "{walked} administrative routes name the scope that is missing; {logged} of them in the log as well"
    );
    assert!(walked >= 30, "{walked}");
}
