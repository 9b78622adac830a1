//! `/v1/claims`: the one place where a token leaves Keyward, signed.

use keyward_control::{Plane, fresh_or_replayed};
use keyward_crypto::digest::content_digest;
use keyward_crypto::sign::ResponseToSign;
use keyward_domain::event::Action;
use keyward_domain::ports::Clock;
use keyward_domain::{ClaimId, Error, Result};
use keyward_guest::headers::Field;
use keyward_guest::variables::Issuance;
use keyward_guest::{Incoming, Response};

/// How long a signature holds, in seconds: as long as the answer may be had again, and a little for clocks.
const SIGNATURE_LIFETIME_S: i64 = 300;

pub(crate) async fn take(plane: &Plane, issuance: &Issuance, incoming: &Incoming) -> Result<Response> {
    let response = plane
        .hold(incoming, Action::ClaimTaken, async |service, attempt| {
            let answer = service.take_claim(attempt, &incoming.json().await?).await?;
            Ok(fresh_or_replayed(200, &answer))
        })
        .await?;
    signed(plane, issuance, incoming, response)
}

pub(crate) async fn show(plane: &Plane, id: ClaimId) -> Result<Response> {
    Response::json(200, &plane.service().claim(id).await?)
}

/// The response under RFC 9421, bound to the request's target and to its own status and body.
fn signed(plane: &Plane, issuance: &Issuance, incoming: &Incoming, response: Response) -> Result<Response> {
    let digest = content_digest(response.body());
    let created = plane.clock().now().unix_s();
    // Covered where the client sent one: then the answer belongs to this one request and no other.
    let request_digest = match incoming.headers().single(Field::ContentDigest) {
        Ok(Some(value)) => std::str::from_utf8(value).ok().map(str::to_owned),
        _ => None,
    };
    let path = format!("{}{}", path_of(&issuance.public_url), incoming.path());
    let headers = issuance
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
        .with("content-digest", &digest)
        .with("signature-input", &headers.signature_input)
        .with("signature", &headers.signature))
}

/// The path that `public_url` puts before every route.
fn path_of(public_url: &str) -> &str {
    let after_scheme = public_url.split_once("://").map_or(public_url, |(_, rest)| rest);
    after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or_default()
}
