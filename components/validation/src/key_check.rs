//! The face for callers that hold `keys:verify`: a token in the body, always answered 200 with one code. The token is never
//! repeated.

use crate::limits::{Counters, check_cost};
use crate::usage::Counted;
use keyward_domain::ports::Clock;
use keyward_domain::scope::{Scope, ScopeSet, administration};
use keyward_domain::{Error, Result};
use keyward_guest::admin::{Trust, authenticate, verify};
use keyward_guest::{Incoming, Response};
use keyward_records::{KvCount, KvRead};
use keyward_verify::{Demand, KeyCheck, KeyCheckAnswer};
use std::net::IpAddr;

/// Answers one caller, and says what is to be counted.
///
/// # Errors
/// Where the caller may not ask, the request is wrong, the store silent or a ring not up to date.
pub(crate) async fn answer<K: KvRead, L: KvCount, C: Clock>(
    incoming: &Incoming,
    kv: &K,
    trust: Trust<'_>,
    counters: &Counters<L>,
    clock: &C,
) -> Result<(Response, Option<Counted>)> {
    let admin = authenticate(incoming, kv, trust, clock).await?;
    admin.scopes().require_somewhere(&Scope::fixed(administration::KEYS_VERIFY))?;
    let asked: KeyCheck = incoming.json().await?;
    let scopes = ScopeSet::parse("scopes", &asked.scopes)?;
    let scopes: Vec<_> = scopes.iter().cloned().collect();
    let cost = check_cost(asked.cost, |reason, expected| Error::field("cost", reason, expected))?;
    let client_address = asked.client_ip.as_deref().map(parse_address).transpose()?;
    let demand = Demand { scopes: &scopes, environment: None, application: None, client_address };

    let verdict = verify(asked.token.expose(), &demand, kv, trust, clock).await?;
    // A key of an application that the caller's scope does not reach reads as no key at all, and nothing of its limits is spent.
    if verdict.application().is_some_and(|application| {
        !admin.scopes().allows(&Scope::fixed(administration::KEYS_VERIFY).at(application))
    }) {
        return Ok((Response::json(200, &KeyCheckAnswer::unknown())?, None));
    }
    let (verdict, standings) = counters.limiter(clock).admit(verdict, cost).await?;
    let counted = Counted::of(&verdict, client_address);
    Ok((Response::json(200, &KeyCheckAnswer::of(&verdict, &standings))?, counted))
}

fn parse_address(text: &str) -> Result<IpAddr> {
    let address = text.parse::<IpAddr>();
    address.map_err(|_| Error::field("client_ip", "is no address", "an IPv4 or IPv6 address without a port"))
}
