//! Reports of leaked tokens over real HTTP, signed as GitHub signs them: ten thousand at once, told apart, all of ours dead, revoked or rotated
//! as their policies say, one event for each; what is not signed, or not as it was sent, is refused.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_domain::key::Environment;
use keyward_domain::token;
use keyward_e2e::admin::{Issued, claim, revoke};
use keyward_e2e::{Keyward, Request, Setup, Value, json};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::{EncodePublicKey as _, LineEnding};

const IDENTIFIER: &str = "90a421169f0a406205f1563a953312f0be898d3c7b6c06b681aa86a874555f4a";
const MATCHES: usize = 10_000;
/// How many of them are ours: every other one of an application whose keys are rotated.
const OURS: usize = 200;
/// The bar for them.
const WITHIN_S: u64 = 30;

fn scanner() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).unwrap()
}

fn published() -> String {
    let key = scanner().verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    json!({ "public_keys": [{ "key_identifier": IDENTIFIER, "key": key, "is_current": true }] }).to_string()
}

fn signed(body: &str) -> String {
    let signature: Signature = scanner().sign(body.as_bytes());
    STANDARD.encode(signature.to_der())
}

fn report(body: &str, identifier: &str, signature: &str) -> Request {
    Request::new("POST", "/v1/leaks")
        .field("content-type", "application/json")
        .field("github-public-key-identifier", identifier)
        .field("github-public-key-signature", signature)
        .body(body.as_bytes())
}

fn found(token: &str, number: usize) -> Value {
    let url = format!(
        "https://github.com/octocat/shop/blob/12345600b9cbe38a219f39a9941c9319b600c002/{number}/.env"
    );
    json!({ "token": token, "type": "keyward_api_key", "url": url, "source": "content" })
}

/// An application whose keys are rotated where they leak.
fn rotating(keyward: &Keyward) -> String {
    let policy = keyward.policy("rotating", &json!({ "on_leak": "rotate" }));
    let new = json!({ "name": "rotated", "policy": policy });
    let reply = keyward.as_root(Request::post("/v1/applications", &new)).expect(201);
    reply.json()["id"].as_str().unwrap().to_owned()
}

fn reissued(keyward: &Keyward, key: &str) -> Issued {
    let asked = Request::post(&format!("/v1/keys/{key}/claims"), &json!({}));
    Issued::of(&keyward.as_root(asked).expect(201))
}

#[test]
fn ten_thousand_matches_are_told_apart_and_ours_are_dead() {
    let keyward = Setup::new().variable("leak_report_keys", &published()).start();
    let (revoked, rotated) = (keyward.application("revoked"), rotating(&keyward));
    let of = |number: usize| if number.is_multiple_of(2) { &revoked } else { &rotated };
    let ours: Vec<_> = (0..OURS).map(|number| keyward.holder(of(number), &["orders:read"])).collect();
    keyward.as_root(revoke(&ours[0].id)).expect(200);
    let spared = keyward.holder(&rotated, &["orders:read"]);
    let every = MATCHES / OURS;
    let of = |number: usize| match ours.get(number / every) {
        Some(holder) if number.is_multiple_of(every) => found(&holder.token, number),
        _ => {
            let id = u128::try_from(number).unwrap().to_be_bytes();
            found(&token::render("kw", Environment::Live, &id, 1, &[9; 32]), number)
        }
    };
    let body = Value::from_iter((0..MATCHES).map(of)).to_string();
    let begun = Instant::now();
    let reply = keyward.send(report(&body, IDENTIFIER, &signed(&body))).expect(200);
    let took = begun.elapsed();
    println!("{MATCHES} matches in {} bytes: {:.1} s", body.len(), took.as_secs_f64());
    assert!(took.as_secs() < WITHIN_S, "{took:?}");
    let labels = reply.json();
    let is_ours = |label: &Value| label["label"] == "true_positive";
    let places: Vec<usize> = labels
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .filter(|(_, label)| is_ours(label))
        .map(|(at, _)| at)
        .collect();
    assert_eq!(places, (0..OURS).map(|number| number * every).collect::<Vec<_>>());
    assert_eq!(labels.as_array().unwrap().len(), MATCHES);
    assert!(!reply.text().contains("kw_live_"), "no token is repeated");
    for holder in &ours {
        assert_eq!(keyward.authorizes(&holder.token), 401);
    }
    assert_eq!(keyward.authorizes(&spared.token), 204);
    let events = keyward.events("action=key.leak");
    assert_eq!(events.len(), OURS - 1, "one for each that lived");
    assert!(
        events
            .iter()
            .all(|event| event["detail"].to_string().contains("found in content at https://github.com/"))
    );
    assert_eq!(keyward.events("action=key.rotate").len(), OURS / 2, "a successor for each that goes on");
    let last = &ours[OURS - 1];
    let successor = keyward.claim(&reissued(&keyward, &last.id));
    assert_eq!(keyward.authorizes(&successor.token), 204);
    // Sent again it is harmless.
    let again = keyward.send(report(&body, IDENTIFIER, &signed(&body))).expect(200);
    assert_eq!(again.json(), labels);
    assert_eq!(keyward.events("action=key.leak").len(), OURS - 1);
    assert_eq!(keyward.authorizes(&successor.token), 204);
    assert!(!keyward.log().contains(&ours[1].token));
}

#[test]
fn renewal_tokens_and_tickets_are_withdrawn() {
    let keyward = Setup::new().variable("leak_report_keys", &published()).start();
    let application = keyward.application("shop");
    let holder = keyward.holder(&application, &["orders:read"]);
    let issued = keyward.issue(&application, &["orders:read"]);
    let body = json!([found(&holder.renewal, 1), found(&issued.ticket, 2)]).to_string();
    let labels = keyward.send(report(&body, IDENTIFIER, &signed(&body))).expect(200).json();
    assert!(labels.as_array().unwrap().iter().all(|label| label["label"] == "true_positive"), "{labels}");
    let renewal = Request::post("/v1/self/renew", &json!({ "renewal_token": holder.renewal }));
    assert_eq!(keyward.send(renewal).expect(410).json()["code"], "renewal-gone");
    assert_eq!(keyward.send(claim(&issued.ticket)).expect(410).json()["code"], "claim-gone");
    assert_eq!(keyward.authorizes(&holder.token), 204, "its token was not found");
    let claimed = keyward.claim(&reissued(&keyward, &issued.id));
    assert_eq!(keyward.authorizes(&claimed.token), 204);
}

#[test]
fn what_is_not_signed_as_it_was_sent_is_refused() {
    let keyward = Setup::new().variable("leak_report_keys", &published()).start();
    let application = keyward.application("shop");
    let holder = keyward.holder(&application, &["orders:read"]);
    let body = json!([found(&holder.token, 1)]).to_string();
    let serialised_again = body.replace("\":", "\": ");
    let signature = signed(&body);
    let other = STANDARD.encode([0x30, 6, 2, 1, 1, 2, 1, 1]);
    for (body, identifier, signature, status) in [
        (&serialised_again, IDENTIFIER, &signature, 401),
        (&body, "another", &signature, 401),
        (&body, IDENTIFIER, &other, 401),
        (&body, IDENTIFIER, &String::new(), 401),
        (&"{}".to_owned(), IDENTIFIER, &signed("{}"), 400),
    ] {
        let refused = keyward.send(report(body, identifier, signature)).expect(status);
        assert!(!refused.text().contains("kw_live_"), "{}", refused.text());
    }
    let unsigned =
        Request::new("POST", "/v1/leaks").field("content-type", "application/json").body(body.as_bytes());
    keyward.send(unsigned).expect(401);
    assert_eq!(keyward.authorizes(&holder.token), 204, "nobody was believed");
    keyward.send(report(&body, IDENTIFIER, &signature)).expect(200);
    assert_eq!(keyward.authorizes(&holder.token), 401);
    // Where nobody said whose reports are believed, there is no such route.
    Keyward::start().send(report(&body, IDENTIFIER, &signature)).expect(404);
}
