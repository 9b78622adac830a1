//! Signing and verifying against each other, and both against the published examples of RFC 9421, 8037 and 7638.

use ed25519_dalek::{Signature, SigningKey};

use super::*;
use crate::base64url::decode_32;
use crate::digest::content_digest;

const NOW: i64 = 1_800_000_000;
const BODY: &[u8] = br#"{"token":"kw_live_example"}"#;

fn keys(seeds: &[(u8, &str)]) -> SigningKeys {
    let versions: Vec<_> = (1..)
        .zip(seeds)
        .map(|(v, (seed, state))| {
            let key = base64url::encode(&[*seed; 32]);
            format!(r#"{{"v":{v},"key":"{key}","state":"{state}","created_at":"2026-01-31T08:00:00Z"}}"#)
        })
        .collect();
    SigningKeys::parse("signing_keyring", &format!(r#"{{"versions":[{}]}}"#, versions.join(","))).unwrap()
}

fn published(keys: &SigningKeys) -> PublishedKeys {
    PublishedKeys::parse(&keys.jwks()).unwrap()
}

/// Signs an answer to a claim, lets `change` disturb what the client sees of it, and verifies that.
fn check(
    request_digest: Option<&str>,
    now: i64,
    change: impl FnOnce(&mut ReceivedResponse<'_>),
) -> Result<Verified, VerifyError> {
    let signer = keys(&[(1, "active")]);
    let digest = content_digest(BODY);
    let headers = signer
        .sign_response(&ResponseToSign {
            method: "POST",
            path: "/v1/claims",
            request_content_digest: request_digest,
            status: 200,
            content_digest: &digest,
            created: NOW,
            expires: NOW + 300,
        })
        .unwrap();
    let mut received = ReceivedResponse {
        method: "POST",
        path: "/v1/claims",
        request_content_digest: request_digest,
        status: 200,
        body: BODY,
        content_digest: &digest,
        signature_input: &headers.signature_input,
        signature: &headers.signature,
    };
    change(&mut received);
    verify_response(&published(&signer), &received, now)
}

#[test]
fn an_answer_verifies_as_it_was_signed() {
    for digest in [None, Some("sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:")] {
        let verified = check(digest, NOW + 1, |_| ()).unwrap();
        assert_eq!(verified.kid, keys(&[(1, "active")]).kid());
        assert_eq!((verified.created, verified.expires), (NOW, NOW + 300));
    }
}

#[test]
fn the_fields_have_the_documented_form() {
    let signer = keys(&[(1, "active")]);
    let headers = signer
        .sign_response(&ResponseToSign {
            method: "POST",
            path: "/v1/claims",
            request_content_digest: Some("sha-256=:AA==:"),
            status: 200,
            content_digest: "sha-256=:AA==:",
            created: 1,
            expires: 2,
        })
        .unwrap();
    assert_eq!(
        headers.signature_input,
        format!(
            r#"keyward=("@method";req "@path";req "content-digest";req "@status" "content-digest");created=1;expires=2;keyid="{}";alg="ed25519";tag="keyward-claim""#,
            signer.kid()
        )
    );
    assert!(headers.signature.starts_with("keyward=:") && headers.signature.ends_with("==:"));
}

#[test]
fn anything_changed_is_refused() {
    use VerifyError::{ContentDigest, NotAuthentic, Shape, Unsigned};
    const INPUT: &str = "signature-input";
    let other_body = br#"{"token":"kw_live_attacker"}"#;
    let other_digest: &str = content_digest(other_body).leak();
    assert_eq!(check(None, NOW, |r| r.method = "PUT"), Err(NotAuthentic));
    assert_eq!(check(None, NOW, |r| r.path = "/v1/claim"), Err(NotAuthentic));
    assert_eq!(check(None, NOW, |r| r.status = 201), Err(NotAuthentic));
    assert_eq!(check(None, NOW, |r| r.body = other_body), Err(ContentDigest));
    assert_eq!(check(None, NOW, |r| r.content_digest = other_digest), Err(NotAuthentic));
    assert_eq!(
        check(None, NOW, |r| (r.body, r.content_digest) = (other_body, other_digest)),
        Err(NotAuthentic)
    );
    // An answer to one request does not pass as the answer to another; nor as one to a request without a digest.
    assert_eq!(
        check(Some("sha-256=:AA==:"), NOW, |r| r.request_content_digest = Some("sha-256=:AQ==:")),
        Err(NotAuthentic)
    );
    assert_eq!(
        check(Some("sha-256=:AA==:"), NOW, |r| r.request_content_digest = None),
        Err(Shape { field: INPUT })
    );
    assert_eq!(
        check(None, NOW, |r| r.request_content_digest = Some("sha-256=:AA==:")),
        Err(Shape { field: INPUT })
    );
    assert_eq!(check(None, NOW, |r| r.signature_input = ""), Err(Unsigned { field: INPUT }));
    assert_eq!(check(None, NOW, |r| r.signature = "other=:AA==:"), Err(Unsigned { field: "signature" }));
    assert_eq!(check(None, NOW, |r| r.signature = "keyward=:AA==:"), Err(Shape { field: "signature" }));
    assert_eq!(check(None, NOW, |r| r.path = "no path"), Err(Shape { field: INPUT }));
}

#[test]
fn parameters_of_any_other_form_are_refused() {
    for (from, to) in [
        ("created=", "created=+"),
        ("created=", "created=0"),
        ("created=", "created=-"),
        (";alg=\"ed25519\"", ""),
        ("ed25519", "hmac-sha256"),
        ("keyward-claim", "other"),
        ("\"@status\" ", ""),
        ("\"@status\" \"content-digest\"", "\"content-digest\" \"@status\""),
        (" \"@status\"", "  \"@status\""),
        ("keyid=\"", "keyid=\"\x1b[31m"),
        (";tag=", ";nonce=\"x\";tag="),
        ("expires=", "expires=9999999999999999"),
    ] {
        let result = check(None, NOW, |received| {
            let changed = received.signature_input.replacen(from, to, 1);
            assert_ne!(changed, received.signature_input, "{from}");
            received.signature_input = changed.leak();
        });
        assert_eq!(result, Err(VerifyError::Shape { field: "signature-input" }), "{from} -> {to}");
    }
}

#[test]
fn other_peoples_signatures_are_stepped_over_and_doubles_refused() {
    let beside = |received: &mut ReceivedResponse<'_>| {
        received.signature_input =
            format!("proxy=(\"@status\" \"a,b)\");keyid=\"x, keyward=\\\"y\", {}", received.signature_input)
                .leak();
        received.signature = format!("{} ,\tproxy=:AAAA:", received.signature).leak();
    };
    assert!(check(None, NOW, beside).is_ok());
    let doubled = |received: &mut ReceivedResponse<'_>| {
        received.signature = format!("{0}, {0}", received.signature).leak();
    };
    assert_eq!(check(None, NOW, doubled), Err(VerifyError::Unsigned { field: "signature" }));
    for torn in ["keyward=(", "keyward=\"", "keyward=)", ",", "keyward", "\\", "é,keyward=\"\\"] {
        assert!(check(None, NOW, |received| received.signature_input = torn).is_err(), "{torn}");
    }
}

#[test]
fn times_are_held() {
    use VerifyError::{Expired, NotYetValid};
    assert!(check(None, NOW - CREATED_AHEAD_S_MAX, |_| ()).is_ok());
    let now = NOW - CREATED_AHEAD_S_MAX - 1;
    assert_eq!(check(None, now, |_| ()), Err(NotYetValid { created: NOW, now }));
    assert!(check(None, NOW + 299, |_| ()).is_ok());
    assert_eq!(check(None, NOW + 300, |_| ()), Err(Expired { expires: NOW + 300, now: NOW + 300 }));
    let signer = keys(&[(1, "active")]);
    for (created, expires) in [(-1, 5), (5, 5), (5, 4), (5, base::INTEGER_MAX + 1)] {
        let response = ResponseToSign {
            method: "POST",
            path: "/",
            request_content_digest: None,
            status: 200,
            content_digest: "sha-256=:AA==:",
            created,
            expires,
        };
        assert_eq!(signer.sign_response(&response), Err(SignError::Times { created, expires }));
    }
}

#[test]
fn what_cannot_stand_in_a_base_is_not_signed() {
    let signer = keys(&[(1, "active")]);
    let good = ResponseToSign {
        method: "POST",
        path: "/v1/claims",
        request_content_digest: None,
        status: 200,
        content_digest: "sha-256=:AA==:",
        created: 1,
        expires: 2,
    };
    assert!(signer.sign_response(&good).is_ok());
    for bad in [
        ResponseToSign { method: "", ..good },
        ResponseToSign { method: "PO ST", ..good },
        ResponseToSign { path: "", ..good },
        ResponseToSign { path: "v1", ..good },
        ResponseToSign { path: "/v1?a=b", ..good },
        ResponseToSign { path: "/v1\n\"@status\": 200", ..good },
        ResponseToSign { path: "/é", ..good },
        ResponseToSign { content_digest: "", ..good },
        ResponseToSign { content_digest: " x", ..good },
        ResponseToSign { request_content_digest: Some("x\r\ny"), ..good },
        ResponseToSign { request_content_digest: Some(""), ..good },
    ] {
        assert!(matches!(signer.sign_response(&bad), Err(SignError::Component(_))), "{bad:?}");
    }
}

#[test]
fn a_retired_key_stays_published_and_an_unpublished_one_is_refused() {
    let both = keys(&[(1, "decrypt-only"), (2, "active")]);
    let old = keys(&[(1, "active")]);
    let published_both = published(&both);
    assert_eq!(published_both.kids().collect::<Vec<_>>(), [both.kid(), old.kid()]);
    let digest = content_digest(BODY);
    let response = ResponseToSign {
        method: "POST",
        path: "/v1/claims",
        request_content_digest: None,
        status: 200,
        content_digest: &digest,
        created: NOW,
        expires: NOW + 300,
    };
    let headers = old.sign_response(&response).unwrap();
    let received = ReceivedResponse {
        method: "POST",
        path: "/v1/claims",
        request_content_digest: None,
        status: 200,
        body: BODY,
        content_digest: &digest,
        signature_input: &headers.signature_input,
        signature: &headers.signature,
    };
    assert_eq!(verify_response(&published_both, &received, NOW).unwrap().kid, old.kid());
    assert_eq!(
        verify_response(&published(&keys(&[(3, "active")])), &received, NOW),
        Err(VerifyError::UnknownKey { kid: old.kid().to_owned() })
    );
}

#[test]
fn jwk_sets_are_read_with_care() {
    let jwks = keys(&[(1, "active")]).jwks();
    assert!(PublishedKeys::parse(&jwks).is_ok());
    // Keys of other kinds and members we do not know are no fault.
    assert!(PublishedKeys::parse(&jwks.replace("[{", r#"[{"kty":"EC","crv":"P-256"},{"ext":true,"#)).is_ok());
    let fault = |jwks: &str| PublishedKeys::parse(jwks).err().unwrap();
    assert!(matches!(fault("{"), JwksError::Shape { .. }));
    assert_eq!(fault(r#"{"keys":[]}"#), JwksError::Empty);
    assert_eq!(fault(&jwks.replace("OKP", "EC")), JwksError::Empty);
    assert_eq!(fault(&jwks.replace(r#""sig""#, r#""enc""#)), JwksError::Key { at: 1 });
    assert_eq!(fault(&jwks.replace(r#""alg":"Ed25519""#, r#""alg":"ES256""#)), JwksError::Key { at: 1 });
    assert_eq!(fault(&jwks.replace(r#""kid":""#, r#""kid":"x"#)), JwksError::Kid { at: 1 });
    // The neutral element is a point of small order: anything verifies under it somehow.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let weak =
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{}"}}]}}"#, base64url::encode(&neutral));
    assert_eq!(fault(&weak), JwksError::Key { at: 1 });
}

#[test]
fn rfc8037_appendix_a_thumbprint() {
    let seed = decode_32("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let public = SigningKey::from_bytes(&seed).verifying_key();
    assert_eq!(base64url::encode(public.as_bytes()), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    assert_eq!(thumbprint(&public), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

/// The example signs a request, with components that we never cover; what is ours in it is the form of the base and the
/// primitive.
#[test]
fn rfc9421_appendix_b_2_6() {
    let components = [
        (r#""date""#, "Tue, 20 Apr 2021 02:07:55 GMT"),
        (r#""@method""#, "POST"),
        (r#""@path""#, "/foo"),
        (r#""@authority""#, "example.com"),
        (r#""content-type""#, "application/json"),
        (r#""content-length""#, "18"),
    ];
    let covered = base::covered(&components);
    assert_eq!(covered, r#"("date" "@method" "@path" "@authority" "content-type" "content-length")"#);
    let parameters = format!(r#"{covered};created=1618884473;keyid="test-key-ed25519""#);
    let text = base::signature_base(&components, &parameters).unwrap();

    let key = SigningKey::from_bytes(&decode_32("n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU").unwrap());
    assert_eq!(
        base64url::encode(key.verifying_key().as_bytes()),
        "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"
    );
    let signature = key.sign(text.as_bytes());
    assert_eq!(
        base::byte_sequence(&signature.to_bytes()),
        ":wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"
    );
    let published = key.verifying_key();
    assert!(published.verify_strict(text.as_bytes(), &signature).is_ok());
    let mut torn = signature.to_bytes();
    torn[0] ^= 1;
    assert!(published.verify_strict(text.as_bytes(), &Signature::from_bytes(&torn)).is_err());
}
