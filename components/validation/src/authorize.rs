//! The face for gateways: 204 (below its path 200), 401, 403, 400 or 503 in headers alone, and 429 with a problem that some gateways hand on. A
//! body after an `await` would leave in a second segment and wait for the peer's delayed acknowledgement where the listener does not set
//! TCP_NODELAY.

use crate::limits::{self, Counters, check_cost};
use crate::usage::Counted;
use keyward_domain::key::{Environment, Key};
use keyward_domain::ports::Clock;
use keyward_domain::scope::Scope;
use keyward_domain::{ApplicationId, Code, Error, Result};
use keyward_guest::admin::{Trust, verify};
use keyward_guest::query::Query;
use keyward_guest::{Incoming, Response, problem};
use keyward_records::{KvCount, KvRead};
use keyward_verify::{Demand, Refusal, RefusalCode, Verdict};

/// Where it is. Below it lies what Envoy, and what is built on it, appends: the path that was asked for.
pub(crate) const PATH: &str = "/v1/authorize";
/// The header that says why.
const REFUSAL_CODE: &str = "keyward-code";

/// What the gateway's configuration asks for, in the query.
struct Asked {
    scopes: Vec<Scope>,
    environment: Option<Environment>,
    application: Option<ApplicationId>,
    cost: u64,
}

impl Asked {
    /// Reads the query. Other parameters are left alone: some gateways append the caller's own.
    fn parse(query: &Query) -> Result<Self> {
        let scopes = query.all("scope").map(|text| {
            Scope::parse(text).map_err(|error| {
                let finding = error.into_field("scope");
                Error::parameter("scope", &finding.reason, &finding.expected)
            })
        });
        let environment = match query.one("environment")? {
            None => None,
            Some(text) => Some(
                Environment::from_text(text)
                    .ok_or_else(|| Error::parameter("environment", "is not valid", "`live` or `test`"))?,
            ),
        };
        let cost = query.parsed("cost", "1 to 1000000 units")?;
        Ok(Self {
            cost: check_cost(cost, |reason, expected| Error::parameter("cost", reason, expected))?,
            scopes: scopes.collect::<Result<_>>()?,
            environment,
            application: query.parsed("application", "the id of an application")?,
        })
    }
}

/// Answers one gateway, and says what is to be counted.
///
/// # Errors
/// Where the request is wrong, the store silent or a ring not up to date.
pub(crate) async fn answer<K: KvRead, L: KvCount, C: Clock>(
    incoming: &Incoming,
    kv: &K,
    trust: Trust<'_>,
    counters: &Counters<L>,
    clock: &C,
) -> Result<(Response, Option<Counted>)> {
    let credential = incoming.credential()?;
    let asked = Asked::parse(incoming.query()?)?;
    let Some(token) = credential else {
        return Ok((refused(RefusalCode::NotFound, None, false), None));
    };
    let demand = Demand {
        scopes: &asked.scopes,
        environment: asked.environment,
        application: asked.application,
        client_address: incoming.client_address(trust.trusted_proxies),
    };
    let verdict = verify(token.expose(), &demand, kv, trust, clock).await?;
    let (verdict, standings) = counters.limiter(clock).admit(verdict, asked.cost).await?;
    let counted = Counted::of(&verdict, demand.client_address);
    let response = match verdict {
        Verdict::Accepted(verified) => {
            accepted(pass_status(incoming.path()), verified.key(), verified.version())
        }
        Verdict::Refused(Refusal { code, .. }) if code.status() == 429 => {
            limits::exceeded(&standings, asked.cost).with(REFUSAL_CODE, code.as_str())
        }
        Verdict::Refused(Refusal { code, missing_scope, .. }) => {
            refused(code, missing_scope.map(|scope| scope.to_string()), true)
        }
    };
    Ok((limits::told(response, &standings), counted))
}

/// A yes is 204, which has no body and needs no length; Envoy's `ext_authz` takes 200 for a yes and nothing else.
fn pass_status(path: &str) -> u16 {
    if path == PATH { 204 } else { 200 }
}

fn accepted(status: u16, key: &Key, version: u16) -> Response {
    let response = Response::empty(status)
        .with("keyward-key-id", key.id.to_string())
        .with("keyward-key-version", version.to_string())
        .with("keyward-application", key.application.to_string())
        .with("keyward-environment", key.environment.as_str())
        .with("keyward-scopes", key.scopes.joined());
    match key.rotate_by(version) {
        Some(end) => response.with("keyward-rotate-by", end.to_string()),
        None => response,
    }
}

fn refused(code: RefusalCode, missing_scope: Option<String>, presented: bool) -> Response {
    let response = Response::empty(code.status()).with(REFUSAL_CODE, code.as_str());
    let problem_code = match code.status() {
        401 => Code::Unauthenticated,
        _ => Code::Forbidden,
    };
    match problem::challenge(problem_code, missing_scope, presented) {
        Some(challenge) => response.with("www-authenticate", challenge),
        None => response,
    }
}
