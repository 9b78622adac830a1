//! Answers that carry a token: believed only where their signature (RFC 9421) is authentic and belongs to the request that was made.

use keyward_crypto::sign::{PublishedKeys, ReceivedResponse, verify_response};
use keyward_domain::error::Blame;

use crate::client::{Answer, Call, Client};
use crate::failure::{Failure, Result};

const JWKS_ROUTE: &str = "/.well-known/keyward/jwks.json";

/// Makes a call whose answer is signed; with `signer`, by the key of this thumbprint. The keys are asked for first: an answer that
/// could not be believed is better not asked for.
///
/// # Errors
/// As [`Client::call`]; an answer that is not authentic.
pub fn ask(client: &Client, call: Call, route: &str, signer: Option<&str>) -> Result<Answer> {
    let published = published_keys(client, signer)?;
    let call = call.digested();
    let answer = client.call(&call)?;
    verify(client, &call, route, &answer, &published, signer)?;
    Ok(answer)
}

fn published_keys(client: &Client, signer: Option<&str>) -> Result<PublishedKeys> {
    let answer = client.call(&Call::get(JWKS_ROUTE))?;
    let keys = PublishedKeys::parse(answer.text()?)
        .map_err(|fault| Failure::not_keyward(&answer, &fault.to_string()))?;
    if let Some(signer) = signer
        && !keys.kids().any(|kid| kid == signer)
    {
        let detail =
            format!("{} does not publish the key that --signer names; nothing was asked for", client.base());
        return Err(Failure::new(Blame::Integrity, "The signer is another one", detail));
    }
    Ok(keys)
}

fn verify(
    client: &Client,
    call: &Call,
    route: &str,
    answer: &Answer,
    keys: &PublishedKeys,
    signer: Option<&str>,
) -> Result<()> {
    let header = |name| answer.header(name).unwrap_or_default();
    let (content_digest, signature_input, signature) =
        (header("content-digest"), header("signature-input"), header("signature"));
    let path = client.path_of(route);
    let received = ReceivedResponse {
        method: call.method(),
        path: &path,
        request_content_digest: call.content_digest(),
        status: answer.status,
        body: &answer.body,
        content_digest: &content_digest,
        signature_input: &signature_input,
        signature: &signature,
    };
    let fault = match verify_response(keys, &received, now_unix_s()?) {
        Ok(verified) => match signer {
            Some(signer) if signer != verified.kid => {
                format!("signed by the key `{}`, not the expected one", verified.kid)
            }
            _ => return Ok(()),
        },
        Err(fault) => fault.to_string(),
    };
    Err(Failure::new(Blame::Integrity, "The answer is not authentic", fault)
        .advise("The token that came with it was thrown away, and what it was had with is used up: have the key revoked."))
}

fn now_unix_s() -> Result<i64> {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| Failure::system("clock", "stands before 1970"))?;
    i64::try_from(since.as_secs()).map_err(|error| Failure::system("clock", error))
}
