//! Signed answers: Ed25519 keys, their JWKS, and RFC 9421 signatures over a response.
//! The hot path never comes here, so that the linker drops it from `validation`. Signing takes no randomness (RFC 8032);
//! times come in as arguments.

mod base;
mod check;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use crate::base64url;
use crate::digest::sha256;
use crate::ring::{Entry, Ring, RingError};

pub use base::BadComponent;
pub use check::{
    CREATED_AHEAD_S_MAX, JwksError, PublishedKeys, ReceivedResponse, Verified, VerifyError, verify_response,
};

/// The label of our member in `Signature-Input` and `Signature`.
pub const LABEL: &str = "keyward";

/// The signature's `tag` parameter (RFC 9421 section 2.3): it keeps a signature made for another purpose from passing as a
/// claim's.
pub const TAG: &str = "keyward-claim";

/// Signing keys out of a ring whose keys are Ed25519 seeds (RFC 8032 section 5.1.5). *Active* signs; *decrypt-only* is still
/// published, so that what it signed can be verified.
pub struct SigningKeys {
    active: NamedKey,
    others: Vec<NamedKey>,
}

struct NamedKey {
    kid: String,
    key: SigningKey,
}

impl NamedKey {
    fn new(entry: &Entry) -> Self {
        let key = SigningKey::from_bytes(entry.key.expose());
        Self { kid: thumbprint(&key.verifying_key()), key }
    }
}

/// What a signature covers of a response and of the request that it answers.
///
/// The target is signed as `"@path";req`, not `"@target-uri";req`: behind a proxy that ends TLS the component sees another
/// scheme, and often another authority, than the client asked for, while the path arrives unchanged. What the authority would
/// add, the key gives: each deployment has its own. Behind a proxy that strips a prefix, `path` must be the path as the client
/// wrote it: `public_url`'s path, then the route.
#[derive(Debug, Clone, Copy)]
pub struct ResponseToSign<'a> {
    /// The request's method, as sent.
    pub method: &'a str,
    /// The request's path as the client sees it, without the query.
    pub path: &'a str,
    /// The request's own `Content-Digest` field, if it had one. It is then covered too (RFC 9421 section 2.4), which binds the
    /// answer to that one request: another claim's answer cannot be put in its place.
    pub request_content_digest: Option<&'a str>,
    /// The response's status code.
    pub status: u16,
    /// The response's `Content-Digest` field, see [`crate::digest::content_digest`].
    pub content_digest: &'a str,
    /// When the signature is made, in Unix seconds.
    pub created: i64,
    /// When it ends, in Unix seconds; after `created`.
    pub expires: i64,
}

/// The two header fields to add to the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// The value of `Signature-Input`.
    pub signature_input: String,
    /// The value of `Signature`.
    pub signature: String,
}

/// Why a response was not signed: our own bug, or a request whose `Content-Digest` cannot be covered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// A component's value cannot stand in a signature base.
    #[error(transparent)]
    Component(#[from] BadComponent),
    /// The times make no period.
    #[error(
        "a signature created at `{created}` cannot expire at `{expires}`; expected 0 <= created < expires < 10^15"
    )]
    Times {
        /// As given, in Unix seconds.
        created: i64,
        /// As given, in Unix seconds.
        expires: i64,
    },
}

impl SigningKeys {
    /// Parses a ring document of Ed25519 seeds; `name` is only for errors.
    ///
    /// # Errors
    /// As [`Ring::parse`].
    pub fn parse(name: &'static str, json: &str) -> Result<Self, RingError> {
        let (active, others) = Ring::parse(name, json)?.into_entries();
        Ok(Self { active: NamedKey::new(&active), others: others.iter().map(NamedKey::new).collect() })
    }

    /// The `kid` of the key that signs: the thumbprint of its JWK (RFC 7638, RFC 8037 section 2).
    pub fn kid(&self) -> &str {
        &self.active.kid
    }

    /// The public keys as a JWK set (RFC 7517, RFC 8037), the signing one first; `alg` as RFC 9864 names it.
    pub fn jwks(&self) -> String {
        let keys = std::iter::once(&self.active).chain(&self.others);
        // No value needs escaping: all are base64url or constants.
        let keys: Vec<_> = keys
            .map(|NamedKey { kid, key }| {
                let x = base64url::encode(key.verifying_key().as_bytes());
                format!(
                    r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"{kid}","use":"sig","alg":"Ed25519"}}"#
                )
            })
            .collect();
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    /// Signs a response under the label [`LABEL`] (RFC 9421 section 3.1, `ed25519` of section 3.3.6).
    ///
    /// # Errors
    /// See [`SignError`].
    pub fn sign_response(&self, response: &ResponseToSign<'_>) -> Result<SignatureHeaders, SignError> {
        let ResponseToSign { created, expires, .. } = *response;
        if created < 0 || expires <= created || expires > base::INTEGER_MAX {
            return Err(SignError::Times { created, expires });
        }
        let status = response.status.to_string();
        let components = base::components(
            response.method,
            response.path,
            response.request_content_digest,
            &status,
            response.content_digest,
        );
        let parameters = base::parameters(&components, created, expires, self.kid());
        let text = base::signature_base(&components, &parameters)?;
        let signature = self.active.key.sign(text.as_bytes()).to_bytes();
        Ok(SignatureHeaders {
            signature_input: format!("{LABEL}={parameters}"),
            signature: format!("{LABEL}={}", base::byte_sequence(&signature)),
        })
    }
}

/// The thumbprint of a public key's JWK: base64url of SHA-256 over its required members in lexicographic order (RFC 7638
/// section 3; for `OKP` keys RFC 8037 appendix A.3).
fn thumbprint(key: &VerifyingKey) -> String {
    let x = base64url::encode(key.as_bytes());
    base64url::encode(&sha256(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes()))
}

#[cfg(test)]
mod tests;
