//! Who administers: a live key of the built-in application, verified as every other token is. This module decides nothing about
//! what the administrator wants; it says who they are and what they hold.

use crate::request::Incoming;
use keyward_crypto::SecretText;
use keyward_domain::key::Environment;
use keyward_domain::network::NetworkRule;
use keyward_domain::ports::Clock;
use keyward_domain::session::Session;
use keyward_domain::{ApplicationId, Code, Error, Result};
use keyward_records::KvRead;
use keyward_verify::{Administrator, Demand, InstanceCache, RefusalCode, Verdict, Verified, Verifier};
use std::net::IpAddr;
use std::rc::Rc;

/// What is needed to verify a token, of whichever component.
#[derive(Clone, Copy)]
pub struct Trust<'a> {
    /// Opens records of state.
    pub records: &'a keyward_crypto::Sealer,
    /// MACs tokens.
    pub peppers: &'a keyward_crypto::Peppers,
    /// The proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: &'a NetworkRule,
}

impl<'a> From<&'a crate::variables::Control> for Trust<'a> {
    fn from(control: &'a crate::variables::Control) -> Self {
        Self {
            records: &control.rings.records,
            peppers: &control.rings.peppers,
            trusted_proxies: &control.trusted_proxies,
        }
    }
}

impl<'a> From<&'a crate::variables::Validation> for Trust<'a> {
    fn from(validation: &'a crate::variables::Validation) -> Self {
        Self {
            records: &validation.records,
            peppers: &validation.peppers,
            trusted_proxies: &validation.trusted_proxies,
        }
    }
}

thread_local! {
    static CACHE: Rc<InstanceCache> = Rc::default();
}

/// Verifies a token with this demand, with the instance's memory.
///
/// # Errors
/// Where the store is silent or a ring is not up to date.
pub async fn verify<K: KvRead, C: Clock>(
    token: &str,
    demand: &Demand<'_>,
    kv: &K,
    trust: Trust<'_>,
    clock: &C,
) -> Result<Verdict> {
    let cache = CACHE.with(Rc::clone);
    Verifier::new(kv, trust.records, trust.peppers, &cache, clock).verify(token, demand).await
}

/// What a key of administration has to be good for.
const fn demand(client_address: Option<IpAddr>) -> Demand<'static> {
    Demand {
        scopes: &[],
        environment: Some(Environment::Live),
        application: Some(ApplicationId::KEYWARD),
        client_address,
    }
}

/// Who presents a credential of administration.
///
/// # Errors
/// [`Code::Unauthenticated`] for none or one that does not pass, and those of [`Incoming::credential`] and of the store.
pub async fn authenticate<K: KvRead, C: Clock>(
    incoming: &Incoming,
    kv: &K,
    trust: Trust<'_>,
    clock: &C,
) -> Result<Administrator> {
    let Some(token) = incoming.credential()? else {
        return Err(Error::new(
            Code::Unauthenticated,
            "a key of the application `keyward` is needed, in `Authorization: Bearer` or `X-API-Key`",
        ));
    };
    authenticate_by(&token, incoming, kv, trust, clock).await
}

/// Whose token this is, wherever in the request it came.
///
/// # Errors
/// [`Code::Unauthenticated`] for one that does not pass; where the store is silent or a ring not up to date.
pub async fn authenticate_by<K: KvRead, C: Clock>(
    token: &SecretText,
    incoming: &Incoming,
    kv: &K,
    trust: Trust<'_>,
    clock: &C,
) -> Result<Administrator> {
    let demand = demand(incoming.client_address(trust.trusted_proxies));
    let verified = accepted(verify(token.expose(), &demand, kv, trust, clock).await?)?;
    Administrator::of(verified, kv, trust.records).await
}

/// Who opened a session: their key is looked at anew, all but the token that is not there.
///
/// # Errors
/// As [`authenticate_by`].
pub async fn authenticate_again<K: KvRead, C: Clock>(
    session: &Session,
    incoming: &Incoming,
    kv: &K,
    trust: Trust<'_>,
    clock: &C,
) -> Result<Administrator> {
    let demand = demand(incoming.client_address(trust.trusted_proxies));
    let cache = CACHE.with(Rc::clone);
    let verifier = Verifier::new(kv, trust.records, trust.peppers, &cache, clock);
    let verified = accepted(verifier.verify_again(session.key, session.version, &demand).await?)?;
    Administrator::of(verified, kv, trust.records).await
}

/// Whoever presents a token that passes, of whichever key.
///
/// # Errors
/// [`Code::Unauthenticated`] for none or one that does not pass, and those of [`Incoming::credential`] and of the store.
pub async fn present<K: KvRead, C: Clock>(
    incoming: &Incoming,
    kv: &K,
    trust: Trust<'_>,
    clock: &C,
) -> Result<Verified> {
    let Some(token) = incoming.credential()? else {
        return Err(Error::new(
            Code::Unauthenticated,
            "a token is needed, in `Authorization: Bearer` or `X-API-Key`",
        ));
    };
    let client_address = incoming.client_address(trust.trusted_proxies);
    let demand = Demand { client_address, ..Demand::default() };
    accepted(verify(token.expose(), &demand, kv, trust, clock).await?)
}

/// The key whose token passed; else why it did not.
fn accepted(verdict: Verdict) -> Result<Verified> {
    let refusal = match verdict {
        Verdict::Accepted(verified) => return Ok(verified),
        Verdict::Refused(refusal) => refusal,
    };
    let detail = match refusal.code {
        RefusalCode::Expired => "the key, or this version of it, has expired",
        RefusalCode::Disabled => "the key is disabled",
        RefusalCode::Revoked => "the key, or this version of it, is revoked",
        RefusalCode::Forbidden => "the key is of another application, or may not be used from here",
        _ => "the credential is no key of this service",
    };
    Err(Error::new(Code::Unauthenticated, detail))
}
