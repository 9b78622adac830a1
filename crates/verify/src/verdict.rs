//! What is asked of a token and what the answer can be.

use keyward_domain::ApplicationId;
use keyward_domain::key::{Environment, Key};
use keyward_domain::scope::Scope;
use std::net::IpAddr;

/// What a request needs of the token that it presents.
#[derive(Clone, Copy, Default)]
pub struct Demand<'a> {
    /// All of these scopes.
    pub scopes: &'a [Scope],
    /// This environment.
    pub environment: Option<Environment>,
    /// A key of this application.
    pub application: Option<ApplicationId>,
    /// From where the request comes; `None` passes no network rule.
    pub client_address: Option<IpAddr>,
}

/// A key whose token passed. Only [`crate::Verifier`] makes one.
pub struct Verified {
    pub(crate) key: Box<Key>,
    pub(crate) version: u16,
}

impl Verified {
    /// The key, as it was read for this request.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Takes the key over.
    pub fn into_key(self) -> Key {
        *self.key
    }

    /// Which of its versions was presented.
    pub const fn version(&self) -> u16 {
        self.version
    }
}

/// Why a token does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCode {
    /// No such token: malformed, unknown id, wrong secret, or a record that is absent or does not open.
    NotFound,
    /// Its life has ended, or the grace of this version.
    Expired,
    /// It or its application is switched off for now.
    Disabled,
    /// It, this version, or its application's generation is revoked.
    Revoked,
    /// Of another environment or application, or from a network that its rule does not name.
    Forbidden,
    /// It lacks a scope.
    InsufficientScope,
    /// A limit of requests is reached.
    RateLimited,
    /// A quota is used up.
    UsageExceeded,
}

impl RefusalCode {
    /// Every code.
    pub const ALL: [Self; 8] = [
        Self::NotFound,
        Self::Expired,
        Self::Disabled,
        Self::Revoked,
        Self::Forbidden,
        Self::InsufficientScope,
        Self::RateLimited,
        Self::UsageExceeded,
    ];

    /// The code as the outside sees it; `VALID` is the answer without refusal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::Expired => "EXPIRED",
            Self::Disabled => "DISABLED",
            Self::Revoked => "REVOKED",
            Self::Forbidden => "FORBIDDEN",
            Self::InsufficientScope => "INSUFFICIENT_SCOPE",
            Self::RateLimited => "RATE_LIMITED",
            Self::UsageExceeded => "USAGE_EXCEEDED",
        }
    }

    /// The HTTP status at a gateway.
    pub const fn status(self) -> u16 {
        match self {
            Self::NotFound | Self::Expired | Self::Disabled | Self::Revoked => 401,
            Self::Forbidden | Self::InsufficientScope => 403,
            Self::RateLimited | Self::UsageExceeded => 429,
        }
    }
}

/// A refusal. The key is known only where the secret was right.
pub struct Refusal {
    /// Why.
    pub code: RefusalCode,
    /// The key whose secret was presented, and the version.
    pub key: Option<(Box<Key>, u16)>,
    /// The first scope that it lacks.
    pub missing_scope: Option<Scope>,
}

impl Refusal {
    pub(crate) const NOT_FOUND: Self = Self { code: RefusalCode::NotFound, key: None, missing_scope: None };
}

/// The answer.
pub enum Verdict {
    /// It passes.
    Accepted(Verified),
    /// It does not.
    Refused(Refusal),
}
