//! The face for callers that hold `keys:verify`: a token in the body, always answered 200 with one code. The token is never
//! repeated.

use crate::usage::Counted;
use keyward_crypto::SecretText;
use keyward_domain::key::Key;
use keyward_domain::ports::Clock;
use keyward_domain::scope::{Scope, ScopeSet, administration};
use keyward_domain::{ApplicationId, Error, KeyId, Result, Timestamp};
use keyward_guest::admin::{Trust, authenticate, verify};
use keyward_guest::{Incoming, Response};
use keyward_records::KvRead;
use keyward_verify::{Demand, RefusalCode, Verdict};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The code of a token that passes.
const VALID: &str = "VALID";
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    token: SecretText,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    client_ip: Option<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    valid: bool,
    code: &'static str,
    key: Option<AnswerKey<'a>>,
    application: Option<AnswerApplication>,
    scopes: ScopeSet,
}

#[derive(Serialize)]
struct AnswerKey<'a> {
    id: KeyId,
    name: &'a str,
    environment: &'static str,
    version: u16,
    expires_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct AnswerApplication {
    id: ApplicationId,
}

/// Answers one caller, and says what is to be counted.
///
/// # Errors
/// Where the caller may not ask, the request is wrong, the store silent or a ring not up to date.
pub(crate) async fn answer<K: KvRead, C: Clock>(
    incoming: &Incoming,
    kv: &K,
    trust: Trust<'_>,
    clock: &C,
) -> Result<(Response, Option<Counted>)> {
    let admin = authenticate(incoming, kv, trust, clock).await?;
    admin.scopes().require_somewhere(&Scope::fixed(administration::KEYS_VERIFY))?;
    let asked: Asked = incoming.json().await?;
    let scopes = ScopeSet::parse("scopes", &asked.scopes)?;
    let scopes: Vec<_> = scopes.iter().cloned().collect();
    let client_address = asked.client_ip.as_deref().map(parse_address).transpose()?;
    let demand = Demand { scopes: &scopes, environment: None, application: None, client_address };

    let verdict = verify(asked.token.expose(), &demand, kv, trust, clock).await?;
    let (code, known) = match &verdict {
        Verdict::Accepted(verified) => (VALID, Some((verified.key(), verified.version()))),
        Verdict::Refused(refusal) => {
            (refusal.code.as_str(), refusal.key.as_ref().map(|(key, version)| (&**key, *version)))
        }
    };
    // A key of an application that the caller's scope does not reach reads as no key at all.
    if known.is_some_and(|(key, _)| {
        !admin.scopes().allows(&Scope::fixed(administration::KEYS_VERIFY).at(key.application))
    }) {
        return Ok((told(RefusalCode::NotFound.as_str(), None)?, None));
    }
    let counted = Counted::of(&verdict, clock.now());
    Ok((told(code, known)?, counted))
}

fn told(code: &'static str, known: Option<(&Key, u16)>) -> Result<Response> {
    let answer = Answer {
        valid: code == VALID,
        code,
        key: known.map(|(key, version)| AnswerKey {
            id: key.id,
            name: &key.name,
            environment: key.environment.as_str(),
            version,
            expires_at: key.expires_at,
        }),
        application: known.map(|(key, _)| AnswerApplication { id: key.application }),
        scopes: known.map(|(key, _)| key.scopes.clone()).unwrap_or_default(),
    };
    Response::json(200, &answer)
}

fn parse_address(text: &str) -> Result<IpAddr> {
    let address = text.parse::<IpAddr>();
    address.map_err(|_| Error::field("client_ip", "is no address", "an IPv4 or IPv6 address without a port"))
}
