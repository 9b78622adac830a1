//! The answer that hands a token over is signed, so that whoever receives it can tell that it is Keyward's, whole, and meant for the
//! request that they made: RFC 9421 with the published keys, over the content digest of RFC 9530.

use keyward_crypto::digest::content_digest;
use keyward_crypto::sign::{PublishedKeys, ReceivedResponse, Verified, VerifyError, verify_response};
use keyward_e2e::admin::{Issued, claim};
use keyward_e2e::{Keyward, Reply, Request, Setup, json};

/// How long a signature holds, in seconds.
const LIFETIME_S: i64 = 300;

fn published(keyward: &Keyward) -> PublishedKeys {
    let jwks = keyward.send(Request::get("/.well-known/keyward/jwks.json")).expect(200);
    assert_eq!(jwks.field("content-type"), Some("application/jwk-set+json"));
    let secret = jwks.json()["keys"].as_array().unwrap().iter().any(|key| !key["d"].is_null());
    assert!(!secret, "public halves alone");
    PublishedKeys::parse(&jwks.text()).expect("a JWK set")
}

fn now_s(keyward: &Keyward) -> i64 {
    i64::try_from(keyward.now_ms() / 1000).unwrap()
}

fn verified(
    keys: &PublishedKeys,
    reply: &Reply,
    path: &str,
    request_digest: Option<&str>,
    now_s: i64,
) -> Result<Verified, VerifyError> {
    let received = ReceivedResponse {
        method: "POST",
        path,
        request_content_digest: request_digest,
        status: reply.status,
        body: &reply.body,
        content_digest: reply.field("content-digest").unwrap_or_default(),
        signature_input: reply.field("signature-input").unwrap_or_default(),
        signature: reply.field("signature").unwrap_or_default(),
    };
    verify_response(keys, &received, now_s)
}

#[test]
fn a_claim_answer_is_authentic_and_for_one_request() {
    let keyward = Keyward::start();
    let keys = published(&keyward);
    let application = keyward.application("orders");
    let take = |issued: &Issued| {
        let request = claim(&issued.ticket);
        let digest = content_digest(json!({ "ticket": issued.ticket }).to_string().as_bytes());
        (
            keyward.send(request.field("content-digest", &digest).field("idempotency-key", "k")).expect(200),
            digest,
        )
    };
    let issued = keyward.issue(&application, &["orders:read"]);
    let (reply, digest) = take(&issued);
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    let now = now_s(&keyward);
    let check = |reply: &Reply, digest: Option<&str>, now| verified(&keys, reply, "/v1/claims", digest, now);
    let authentic = check(&reply, Some(&digest), now).expect("authentic");
    assert!(
        (now - 5..=now).contains(&authentic.created) && authentic.expires == authentic.created + LIFETIME_S
    );
    assert!(keys.kids().any(|kid| kid == authentic.kid));

    // The repeated answer is signed anew, for the same body.
    let (again, _) = take(&issued);
    assert_eq!(again.body, reply.body);
    check(&again, Some(&digest), now_s(&keyward)).expect("authentic");

    // Whatever is changed on the way is noticed.
    let (other, other_digest) = take(&keyward.issue(&application, &["orders:read"]));
    let mut forged = reply.clone();
    *forged.body.last_mut().unwrap() ^= 1;
    assert_eq!(check(&forged, Some(&digest), now), Err(VerifyError::ContentDigest));
    for (what, reply, digest, path, now) in [
        ("another request's answer", &other, Some(digest.as_str()), "/v1/claims", now),
        ("without the request's digest", &reply, None, "/v1/claims", now),
        ("another path", &reply, Some(digest.as_str()), "/v2/claims", now),
        ("too late", &reply, Some(digest.as_str()), "/v1/claims", authentic.expires),
        ("another status", &Reply { status: 201, ..reply.clone() }, Some(digest.as_str()), "/v1/claims", now),
    ] {
        assert!(verified(&keys, reply, path, digest, now).is_err(), "{what}");
    }
    check(&other, Some(&other_digest), now_s(&keyward)).expect("authentic for its own request");

    // A digest that is not sent is not signed; a refusal is not signed at all.
    let plain = keyward.send(claim(&keyward.issue(&application, &["a:b"]).ticket)).expect(200);
    check(&plain, None, now_s(&keyward)).expect("authentic");
    let refused = keyward.send(claim(&issued.ticket)).expect(410);
    assert_eq!((refused.field("signature"), refused.field("content-digest")), (None, None));
    // Other people's keys verify nothing of ours.
    let elsewhere = Keyward::start();
    let foreign = published(&elsewhere);
    assert!(matches!(
        verified(&foreign, &plain, "/v1/claims", None, now),
        Err(VerifyError::UnknownKey { .. })
    ));
}

#[test]
fn behind_a_prefix_the_path_is_the_one_that_the_client_saw() {
    let keyward = Setup::new().variable("public_url", "https://gate.example/keys").start();
    let application = keyward.application("orders");
    let issued = keyward.issue(&application, &["orders:read"]);
    let reply = keyward.send(claim(&issued.ticket)).expect(200);
    let keys = published(&keyward);
    verified(&keys, &reply, "/keys/v1/claims", None, now_s(&keyward)).expect("authentic");
    assert!(verified(&keys, &reply, "/v1/claims", None, now_s(&keyward)).is_err());
}

/// RFC 9421 by `httpsig`, an implementation that is not ours: it builds the signature base out of what the wire said.
#[test]
fn an_implementation_that_is_not_ours_verifies_it() {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use httpsig::prelude::message_component::{HttpMessageComponent, HttpMessageComponentParam};
    use httpsig::prelude::{
        AlgorithmName, HttpSignatureBase, HttpSignatureHeaders, PublicKey, VerifyingKey as _,
    };

    let keyward = Keyward::start();
    let issued = keyward.issue(&keyward.application("orders"), &["orders:read"]);
    let request_digest = content_digest(json!({ "ticket": issued.ticket }).to_string().as_bytes());
    let request = claim(&issued.ticket).field("content-digest", &request_digest);
    let reply = keyward.send(request).expect(200);
    let jwks = keyward.send(Request::get("/.well-known/keyward/jwks.json")).expect(200).json();
    let key = URL_SAFE_NO_PAD.decode(jwks["keys"][0]["x"].as_str().unwrap()).unwrap();
    let key = PublicKey::from_bytes(&AlgorithmName::Ed25519, &key).expect("an Ed25519 key");

    let verifies = |status: u16, path: &str, body: &[u8]| {
        let field = |name| reply.field(name).expect("a signed answer");
        let found = HttpSignatureHeaders::try_parse(field("signature"), field("signature-input")).unwrap();
        let signature = &found["keyward"];
        let covered = &signature.signature_params().covered_components;
        let components: Vec<HttpMessageComponent> = covered
            .iter()
            .map(|id| {
                let of_request = id.params.0.contains(&HttpMessageComponentParam::Req);
                let value = match (id.name.to_string().trim_matches('"'), of_request) {
                    ("@method", true) => "POST".to_owned(),
                    ("@path", true) => path.to_owned(),
                    ("content-digest", true) => request_digest.clone(),
                    ("@status", false) => status.to_string(),
                    ("content-digest", false) => content_digest(body),
                    (other, _) => panic!("`{other}` is covered as well"),
                };
                HttpMessageComponent::try_from((id, [value].as_slice())).expect("a component")
            })
            .collect();
        assert_eq!(components.len(), 5, "request and answer, the whole of both");
        let base = HttpSignatureBase::try_new(&components, signature.signature_params()).expect("a base");
        // It writes parameters in an order of its own; RFC 9421 section 2.5 takes them as they were received.
        let base = String::from_utf8(base.as_bytes()).unwrap();
        let (covered, _) = base.rsplit_once("\"@signature-params\": ").expect("the parameters come last");
        let received = field("signature-input").strip_prefix("keyward=").expect("our label");
        let bytes = field("signature").strip_prefix("keyward=:").and_then(|rest| rest.strip_suffix(':'));
        let bytes = STANDARD.decode(bytes.expect("a byte sequence")).unwrap();
        key.verify(format!("{covered}\"@signature-params\": {received}").as_bytes(), &bytes).is_ok()
    };
    assert!(verifies(200, "/v1/claims", &reply.body));
    assert!(!verifies(201, "/v1/claims", &reply.body));
    assert!(!verifies(200, "/v2/claims", &reply.body));
    assert!(!verifies(200, "/v1/claims", b"{}"));
}
