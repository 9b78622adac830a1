//! Signed answers: whoever is handed a token can tell that it comes from Keyward, and belongs to the request that asked for it.

use crate::plane::Plane;
use keyward_crypto::digest::content_digest;
use keyward_crypto::sign::ResponseToSign;
use keyward_domain::ports::Clock;
use keyward_domain::{Error, Result};
use keyward_guest::headers::Field;
use keyward_guest::variables::Minting;
use keyward_guest::{Incoming, Response};

/// How long a signature holds, in seconds: as long as the answer of a claim may be had again, and a little for clocks.
const SIGNATURE_LIFETIME_S: i64 = 300;

/// The response under RFC 9421, bound to the request's target and to its own status and body.
///
/// # Errors
/// Only where the signing keys contradict themselves.
pub fn signed(plane: &Plane, minting: &Minting, incoming: &Incoming, response: Response) -> Result<Response> {
    let digest = content_digest(response.body());
    let created = plane.clock().now().unix_s();
    // Covered where the client sent one: then the answer belongs to this one request and no other.
    let request_digest = match incoming.headers().single(Field::ContentDigest) {
        Ok(Some(value)) => std::str::from_utf8(value).ok().map(str::to_owned),
        _ => None,
    };
    let path = format!("{}{}", path_of(&minting.public_url), incoming.path());
    let headers = minting
        .signing_keys
        .sign_response(&ResponseToSign {
            method: incoming.method().as_str(),
            path: &path,
            request_content_digest: request_digest.as_deref(),
            status: response.status(),
            content_digest: &digest,
            created,
            expires: created.saturating_add(SIGNATURE_LIFETIME_S),
        })
        .map_err(|_| Error::internal("an answer could not be signed"))?;
    Ok(response
        .with("content-digest", digest.as_str())
        .with("signature-input", headers.signature_input)
        .with("signature", headers.signature))
}

/// The path that `public_url` puts before every route.
fn path_of(public_url: &str) -> &str {
    let after_scheme = public_url.split_once("://").map_or(public_url, |(_, rest)| rest);
    after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or_default()
}
