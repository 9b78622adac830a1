//! An admin narrowed to one application sees nothing else, at any route: what is another's reads as what is nobody's, lists show
//! their own alone, and what belongs to no application is refused. Where there was something to hide, the log says so.

use keyward_domain::{ApplicationId, ClaimId, CredentialId, KeyId, WebhookId};
use keyward_e2e::admin::{new_credential, new_key};
use keyward_e2e::document::{Document, Things};
use keyward_e2e::{Keyward, Request, Value};

/// Routes that answer a narrowed admin whatever is asked; each is looked at on its own below.
const ANSWERS: [&str; 4] = ["listApplications", "checkKey", "importCredentials", "importKeys"];

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().expect("a list")
}

#[test]
fn sees_nothing_of_others_at_any_route() {
    let keyward = Keyward::start();
    let of = |name: &str| {
        let application = keyward.application(name);
        let key = keyward.holder(&application, &["orders:read"]);
        let event = keyward.events(&format!("key={}", key.id))[0]["id"].as_str().unwrap().to_owned();
        let webhook = keyward.webhook(&application);
        let credential = keyward.credential(&application, "db");
        (application, key, event, webhook, credential)
    };
    let (mine, theirs) = (of("mine"), of("theirs"));
    let role = keyward.as_root(Request::post("/v1/roles", &keyward_e2e::json!({"name": "r", "scopes": []})));
    let role = role.expect(201).text_at("/id");
    let policy = keyward.policy("p", &keyward_e2e::json!({}));
    let things = |application: &str, key: &str, event: &str, token: &str, webhook: &str, credential: &str| {
        let claim = ClaimId::from_bytes([9; 16]).to_string();
        let known = [
            ("ApplicationId", application),
            ("KeyId", key),
            ("EventId", event),
            ("ClaimId", &claim),
            ("RoleId", &role),
            ("WebhookId", webhook),
            ("PolicyId", &policy),
            ("CredentialId", credential),
            ("CredentialName", "db"),
        ];
        let fields = [("token", token), ("event", event), ("Month", "2020-01"), ("tile", "0/000")];
        Things::new(&[&known[..], &fields[..]].concat())
    };
    let of_theirs = things(&theirs.0, &theirs.1.id, &theirs.2, &theirs.1.token, &theirs.3, &theirs.4);
    let (no_application, no_key) =
        (ApplicationId::from_bytes([9; 16]).to_string(), KeyId::from_bytes([9; 16]).to_string());
    let no_webhook = WebhookId::from_bytes([9; 16]).to_string();
    let no_credential = CredentialId::from_bytes([9; 16]).to_string();
    let of_nobody = things(
        &no_application,
        &no_key,
        "evt_1_999999",
        &crate::tokens::unknown(1),
        &no_webhook,
        &no_credential,
    );
    let of_mine = things(&mine.0, &mine.1.id, &mine.2, &mine.1.token, &mine.3, &mine.4);

    // Everything that there is, for one application.
    let admin = keyward.admin("of mine", &[&format!("*@{}", mine.0)]);
    let send = |request: Request| keyward.send(request.bearer(&admin.token));
    let document = Document::of(&keyward);
    let operations = document.operations();
    let administrative: Vec<_> = operations.iter().filter(|operation| !operation.scopes.is_empty()).collect();
    let (mut hidden, mut refused, mut logged) = (Vec::new(), 0, 0);
    for operation in &administrative {
        let line = &operation.line;
        let before = keyward.store_keys("e:").len();
        let of_others = send(document.request(operation, &of_theirs));
        let between = keyward.store_keys("e:").len();
        let of_none = send(document.request(operation, &of_nobody));
        let after = keyward.store_keys("e:").len();
        assert_eq!(
            of_others.essence(),
            of_none.essence(),
            "{line}: no telling what is another's from nobody's"
        );
        if ANSWERS.contains(&operation.id.as_str()) {
            continue;
        }
        let is_somebodys = ["ApplicationId", "KeyId", "WebhookId", "CredentialId", "token"]
            .iter()
            .any(|name| document.names(operation, name))
            || operation.id == "getEvent";
        if is_somebodys {
            assert_eq!(of_others.status, 404, "{line}: {}", of_others.text());
            // There was something to hide. Of what is not there, changes alone are in the log.
            assert_eq!((between - before, after - between), (1, usize::from(!operation.reads())), "{line}");
            let event = keyward.events(&format!("actor={}", admin.id)).into_iter().find(|event| {
                event["detail"].as_array().is_some_and(|detail| {
                    detail.iter().any(|fact| {
                        fact.as_str().is_some_and(|fact| fact.contains(&format!("@{}", theirs.0)))
                    })
                })
            });
            assert!(event.is_some(), "{line}: the scope that was missing is in the log");
            hidden.push(*operation);
        } else {
            assert_eq!(of_others.status, 403, "{line}: {}", of_others.text());
            assert_eq!((between - before, after - between), (1, 1), "{line}");
            refused += 1;
        }
        logged += 1;
    }
    assert_eq!(keyward.authorizes(&theirs.1.token), 204, "nothing was done to it");

    // Lists, and a token in hand, show their own alone.
    let applications = send(Request::get("/v1/applications")).expect(200).json();
    assert_eq!(
        items(&applications).iter().map(|item| item["id"].as_str()).collect::<Vec<_>>(),
        [Some(&*mine.0)]
    );
    let keys = send(Request::get(&format!("/v1/keys?application={}", mine.0))).expect(200).json();
    assert_eq!(items(&keys).iter().map(|item| item["id"].as_str()).collect::<Vec<_>>(), [Some(&*mine.1.id)]);
    for query in ["", &format!("&key={}", theirs.1.id), &format!("&actor={}", admin.id), "&after=evt_1_0"] {
        let events = send(Request::get(&format!("/v1/audit/events?application={}{query}", mine.0)));
        let events = events.expect(200).json();
        assert!(items(&events).iter().all(|event| event["target"]["application"] == *mine.0), "{query}");
    }
    for (token, code) in [(&theirs.1.token, "NOT_FOUND"), (&mine.1.token, "VALID")] {
        let body = keyward_e2e::json!({ "token": token });
        assert_eq!(send(Request::post("/v1/keys/verify", &body)).expect(200).json()["code"], code);
    }

    // What is imported is looked at one by one.
    let mut told = Vec::new();
    for application in [&theirs.0, &no_application] {
        let before = keyward.store_keys("e:").len();
        let new = ["mine", "theirs"].map(|name| new_credential(application, name));
        let body = keyward_e2e::json!({ "dry_run": true, "credentials": new });
        let reply = send(Request::post("/v1/credentials/import", &body)).expect(200);
        told.push((reply.json(), keyward.store_keys("e:").len() - before));
    }
    assert_eq!((told[0].1, told[1].1), (2, 0), "there was something to hide");
    assert_eq!(told[0].0["credentials"][0]["error"]["code"], "not-found");
    assert_eq!(told[0].0, told[1].0);
    let of_keys = [&theirs.0, &no_application].map(|application| {
        let mut new = new_key(application, &["orders:read"]);
        new["digest"] = format!("sha256:{}", "0a".repeat(32)).into();
        let body = keyward_e2e::json!({ "reason": "moved", "dry_run": true, "keys": [new] });
        send(Request::post("/v1/keys/import", &body)).expect(200).json()
    });
    assert_eq!(of_keys[0]["keys"][0]["error"]["code"], "not-found");
    assert_eq!(of_keys[0], of_keys[1]);

    // The same requests about their own are let through, though they may ask for too little: it was the id that was refused.
    for operation in &hidden {
        let reply = send(document.request(operation, &of_mine));
        assert!(
            matches!(reply.status, 200..=299 | 400 | 409),
            "{}: {} {}",
            operation.line,
            reply.status,
            reply.text()
        );
    }
    println!(
        "{} administrative routes as an admin narrowed to one application: {} hide what is others', {refused} belong to no application \
         and refuse, {} show their own alone; {logged} refusals in the log",
        administrative.len(),
        hidden.len(),
        ANSWERS.len(),
    );
    assert!(hidden.len() >= 13 && refused >= 12, "{} {refused}", hidden.len());
}
