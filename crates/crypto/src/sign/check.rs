//! Verifying a signed answer, as the `keyward` command does before it believes a token.
//! It accepts exactly what `sign_response` gives and nothing else that RFC 9421 would allow; other members of the two fields,
//! such as a proxy's own signature, are stepped over.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::Deserialize;

use super::{LABEL, base, thumbprint};
use crate::base64url;
use crate::digest::content_digest;

/// How far ahead of the verifier's clock `created` may lie, in seconds: a minute for clocks that disagree. `expires` has no such
/// allowance.
pub const CREATED_AHEAD_S_MAX: i64 = 60;

/// Why a JWK set was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not JSON, or not of a JWK set's shape.
    #[error("not a JWK set (line {line}, column {column}); expected {{\"keys\":[...]}}")]
    Shape {
        /// Line of the input, from 1.
        line: usize,
        /// Column of the input.
        column: usize,
    },
    /// An Ed25519 key that is none, is weak, or says that it is for something else.
    #[error(
        "key {at} of the JWK set is no Ed25519 signing key; expected kty `OKP`, crv `Ed25519`, 32 bytes in `x`, use `sig`"
    )]
    Key {
        /// Its place in the set, from 1.
        at: usize,
    },
    /// A `kid` that is not the key's thumbprint: not a set of ours.
    #[error("the `kid` of key {at} of the JWK set is not its RFC 7638 thumbprint")]
    Kid {
        /// Its place in the set, from 1.
        at: usize,
    },
    /// No Ed25519 key at all.
    #[error("the JWK set has no Ed25519 key")]
    Empty,
}

/// Public keys from `/.well-known/keyward/jwks.json`, each under its `kid`.
pub struct PublishedKeys {
    keys: Vec<(String, VerifyingKey)>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
}

impl PublishedKeys {
    /// Parses a JWK set. Keys of other kinds and unknown members are passed over, as RFC 7517 section 5 asks.
    ///
    /// # Errors
    /// See [`JwksError`].
    pub fn parse(jwks: &str) -> Result<Self, JwksError> {
        let set: JwkSet = serde_json::from_str(jwks)
            .map_err(|fault| JwksError::Shape { line: fault.line(), column: fault.column() })?;
        let mut keys = Vec::new();
        for (at, jwk) in (1..).zip(set.keys) {
            if jwk.kty != "OKP" || jwk.crv.as_deref() != Some("Ed25519") {
                continue;
            }
            // `EdDSA` is what RFC 8037 called it before RFC 9864.
            let alg_fits = matches!(jwk.alg.as_deref(), None | Some("Ed25519" | "EdDSA"));
            let usage_fits = matches!(jwk.usage.as_deref(), None | Some("sig"));
            let key = jwk
                .x
                .filter(|_| alg_fits && usage_fits)
                .and_then(|x| base64url::decode_32(&x))
                .and_then(|x| VerifyingKey::from_bytes(&x).ok())
                .filter(|key| !key.is_weak())
                .ok_or(JwksError::Key { at })?;
            let kid = thumbprint(&key);
            if jwk.kid.is_some_and(|stated| stated != kid) {
                return Err(JwksError::Kid { at });
            }
            keys.push((kid, key));
        }
        if keys.is_empty() { Err(JwksError::Empty) } else { Ok(Self { keys }) }
    }

    /// The keys' thumbprints: what a person pins.
    pub fn kids(&self) -> impl Iterator<Item = &str> + '_ {
        self.keys.iter().map(|(kid, _)| kid.as_str())
    }
}

/// A response as a client received it, and what it had asked.
#[derive(Clone, Copy)]
pub struct ReceivedResponse<'a> {
    /// The request's method, as sent.
    pub method: &'a str,
    /// The request's path, as sent, without the query.
    pub path: &'a str,
    /// The request's own `Content-Digest` field, if it had one. The signature must then cover it, and must not otherwise.
    pub request_content_digest: Option<&'a str>,
    /// The response's status code.
    pub status: u16,
    /// The response's body.
    pub body: &'a [u8],
    /// The response's `Content-Digest` field.
    pub content_digest: &'a str,
    /// The response's `Signature-Input` field; several are joined by `, `.
    pub signature_input: &'a str,
    /// The response's `Signature` field; several are joined by `, `.
    pub signature: &'a str,
}

/// An authentic answer: who signed it, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The signing key's thumbprint.
    pub kid: String,
    /// Unix seconds.
    pub created: i64,
    /// Unix seconds.
    pub expires: i64,
}

/// Why an answer is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A field without our label: the answer is not signed by Keyward.
    #[error("the field `{field}` has no single member `{LABEL}`: the answer is not signed")]
    Unsigned {
        /// The field's name.
        field: &'static str,
    },
    /// A member that is not of the form that Keyward gives it, or does not cover what it must.
    #[error("the field `{field}` is not of the form that Keyward gives it")]
    Shape {
        /// The field's name.
        field: &'static str,
    },
    /// Signed by a key that was not published.
    #[error("signed by the key `{kid}`, which is not among the published ones")]
    UnknownKey {
        /// Its thumbprint.
        kid: String,
    },
    /// `Content-Digest` is not the body's.
    #[error("`Content-Digest` is not the body's SHA-256")]
    ContentDigest,
    /// Made further in the future than clocks disagree.
    #[error("signed at `{created}`, but it is `{now}` here: one of the two clocks is wrong")]
    NotYetValid {
        /// Unix seconds.
        created: i64,
        /// Unix seconds.
        now: i64,
    },
    /// Too old.
    #[error("the signature expired at `{expires}`; it is `{now}`")]
    Expired {
        /// Unix seconds.
        expires: i64,
        /// Unix seconds.
        now: i64,
    },
    /// The signature is not that key's over this answer.
    #[error("the signature is not authentic")]
    NotAuthentic,
}

/// Verifies that a response is what the holder of a published key answered to this very request; `now` in Unix seconds.
///
/// # Errors
/// See [`VerifyError`]; nothing of the response may then be believed.
pub fn verify_response(
    keys: &PublishedKeys,
    received: &ReceivedResponse<'_>,
    now: i64,
) -> Result<Verified, VerifyError> {
    const INPUT: &str = "signature-input";
    const SIGNATURE: &str = "signature";

    let parameters = member(received.signature_input).ok_or(VerifyError::Unsigned { field: INPUT })?;
    let signature = member(received.signature).ok_or(VerifyError::Unsigned { field: SIGNATURE })?;
    let signature = signature
        .strip_prefix(':')
        .and_then(|text| text.strip_suffix(':'))
        .and_then(|text| STANDARD.decode(text).ok())
        .and_then(|bytes| Signature::from_slice(&bytes).ok())
        .ok_or(VerifyError::Shape { field: SIGNATURE })?;

    let status = received.status.to_string();
    let components = base::components(
        received.method,
        received.path,
        received.request_content_digest,
        &status,
        received.content_digest,
    );
    let Stated { created, expires, kid } =
        parse(parameters, &base::covered(&components)).ok_or(VerifyError::Shape { field: INPUT })?;
    // Written again from what was read: a text with any other spelling is not ours.
    if base::parameters(&components, created, expires, kid) != parameters {
        return Err(VerifyError::Shape { field: INPUT });
    }
    let (kid, key) = keys
        .keys
        .iter()
        .find(|(known, _)| known == kid)
        .ok_or_else(|| VerifyError::UnknownKey { kid: kid.to_owned() })?;
    let text =
        base::signature_base(&components, parameters).map_err(|_| VerifyError::Shape { field: INPUT })?;
    key.verify_strict(text.as_bytes(), &signature).map_err(|_| VerifyError::NotAuthentic)?;

    if content_digest(received.body) != received.content_digest {
        return Err(VerifyError::ContentDigest);
    }
    if created > now.saturating_add(CREATED_AHEAD_S_MAX) {
        return Err(VerifyError::NotYetValid { created, now });
    }
    if expires <= created || expires <= now {
        return Err(VerifyError::Expired { expires, now });
    }
    Ok(Verified { kid: kid.clone(), created, expires })
}

struct Stated<'a> {
    created: i64,
    expires: i64,
    kid: &'a str,
}

/// Takes the values out of parameters of our form. The caller compares the whole text with the one that these values give.
fn parse<'a>(parameters: &'a str, covered: &str) -> Option<Stated<'a>> {
    let rest = parameters.strip_prefix(covered)?.strip_prefix(";created=")?;
    let (created, rest) = rest.split_once(";expires=")?;
    let (expires, rest) = rest.split_once(";keyid=\"")?;
    let (kid, _) = rest.split_once('"')?;
    // A thumbprint is the text of 32 bytes; anything else would go into an error as the sender wrote it.
    base64url::decode_32(kid)?;
    Some(Stated { created: integer(created)?, expires: integer(expires)?, kid })
}

fn integer(text: &str) -> Option<i64> {
    text.parse().ok().filter(|value| (0..=base::INTEGER_MAX).contains(value))
}

/// The value of our member in a dictionary of structured fields (RFC 9651 section 3.2), if there is exactly one.
fn member(field: &str) -> Option<&str> {
    let mut ours = members(field)?.into_iter().filter_map(|member| {
        let (label, value) = member.split_once('=')?;
        (label == LABEL).then_some(value)
    });
    match (ours.next(), ours.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

/// The members of a dictionary: split at commas that do not stand in a string; nowhere else in a member can one stand. `None`
/// where a string does not end.
fn members(field: &str) -> Option<Vec<&str>> {
    let (mut members, mut from) = (Vec::new(), 0);
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in field.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' if !in_string => {
                members.push(field.get(from..at)?);
                from = at.saturating_add(1);
            }
            _ => (),
        }
    }
    if in_string {
        return None;
    }
    members.push(field.get(from..)?);
    Some(members.into_iter().map(|member| member.trim_matches([' ', '\t'])).collect())
}
