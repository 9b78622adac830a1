//! The question and the answer of `POST /v1/keys/verify` as JSON. The token is never repeated.

use crate::limiter::LimitStanding;
use crate::verdict::{Presented, RefusalCode, Verdict};
use keyward_crypto::SecretText;
use keyward_domain::key::Environment;
use keyward_domain::scope::{Scope, ScopeSet};
use keyward_domain::{ApplicationId, KeyId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

/// The code of a token that passes.
const VALID: &str = "VALID";

/// A token, and what it must be good for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyCheck {
    /// The token.
    #[schema(value_type = String)]
    pub token: SecretText,
    /// All of these.
    #[serde(default)]
    #[schema(value_type = Vec<Scope>, max_items = 64)]
    pub scopes: Vec<String>,
    /// From where its holder came: an IPv4 or IPv6 address. Without it no network rule passes.
    #[serde(default)]
    pub client_ip: Option<String>,
    /// How many units of each limit it costs; one where nothing is said.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub cost: Option<u32>,
}

/// Whether a token passes, and whose it is. Only a right secret learns whose, and why it does not pass.
#[derive(Serialize, ToSchema)]
#[schema(as = CheckedToken)]
pub struct KeyCheckAnswer<'a> {
    valid: bool,
    #[schema(schema_with = codes)]
    code: &'static str,
    #[schema(required = true)]
    key: Option<CheckedKey<'a>>,
    #[schema(required = true)]
    application: Option<CheckedApplication>,
    /// What the key may do.
    scopes: ScopeSet,
    /// How its limits and those of its application stand, where it came so far that they were looked at.
    limits: Vec<CheckedLimit<'a>>,
}

/// How a limit stands.
#[derive(Serialize, ToSchema)]
struct CheckedLimit<'a> {
    name: &'a str,
    /// Units in a window.
    limit: u64,
    /// Units left in this one, as far as is known.
    remaining: u64,
    /// How long the window is, in seconds.
    window_s: u32,
    /// When the next begins, in seconds.
    reset_s: u32,
}

/// The key that a token is of.
#[derive(Serialize, ToSchema)]
struct CheckedKey<'a> {
    id: KeyId,
    name: &'a str,
    #[schema(value_type = Environment)]
    environment: &'static str,
    version: u16,
    #[schema(required = true)]
    expires_at: Option<Timestamp>,
    /// When this version stops although the key goes on: by then its holder is to use the successor.
    #[schema(required = true)]
    rotate_by: Option<Timestamp>,
}

/// The application that a key is of.
#[derive(Serialize, ToSchema)]
struct CheckedApplication {
    id: ApplicationId,
}

impl<'a> KeyCheckAnswer<'a> {
    /// What is told of a verdict, with how the limits stand.
    pub fn of(verdict: &'a Verdict, standings: &'a [LimitStanding]) -> Self {
        let code = match verdict {
            Verdict::Accepted(_) => VALID,
            Verdict::Refused(refusal) => refusal.code.as_str(),
        };
        let limit = |standing: &'a LimitStanding| CheckedLimit {
            name: &standing.name,
            limit: standing.amount,
            remaining: standing.remaining,
            window_s: standing.window_s,
            reset_s: standing.left_s,
        };
        Self { limits: standings.iter().map(limit).collect(), ..Self::told(code, verdict.presented()) }
    }

    /// What is told of a token that is no key's, or of none that the caller may ask about.
    pub fn unknown() -> Self {
        Self::told(RefusalCode::NotFound.as_str(), None)
    }

    fn told(code: &'static str, known: Option<&'a Presented>) -> Self {
        Self {
            valid: code == VALID,
            code,
            key: known.map(|Presented { key, version, .. }| CheckedKey {
                id: key.id,
                name: &key.name,
                environment: key.environment.as_str(),
                version: *version,
                expires_at: key.expires_at,
                rotate_by: key.rotate_by(*version),
            }),
            application: known.map(|Presented { key, .. }| CheckedApplication { id: key.application }),
            scopes: known.map(|Presented { key, .. }| key.scopes.clone()).unwrap_or_default(),
            limits: Vec::new(),
        }
    }
}

fn codes() -> Object {
    let codes = RefusalCode::ALL.iter().map(|code| code.as_str());
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some([VALID].into_iter().chain(codes))).build()
}
