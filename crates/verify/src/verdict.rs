//! What is asked of a token and what the answer can be.

use crate::limiter::Holder;
use keyward_domain::key::{Environment, Key};
use keyward_domain::limit::Limit;
pub use keyward_domain::refusal::RefusalCode;
use keyward_domain::scope::Scope;
use keyward_domain::{ApplicationId, Timestamp};
use std::net::IpAddr;
use std::rc::Rc;

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

/// A key whose secret was presented.
pub struct Presented {
    /// The key, as it was read for this request.
    pub key: Box<Key>,
    /// Which of its versions.
    pub version: u16,
    /// When it was decided whether it passes.
    pub at: Timestamp,
}

/// A key whose token passed. Only [`crate::Verifier`] makes one.
pub struct Verified {
    pub(crate) presented: Presented,
    /// The limits that all keys of its application share.
    pub(crate) shared: Rc<[Limit]>,
}

impl Verified {
    /// The key, as it was read for this request.
    pub fn key(&self) -> &Key {
        &self.presented.key
    }

    /// Which of its versions was presented.
    pub const fn version(&self) -> u16 {
        self.presented.version
    }

    /// The limits that its requests are under, and whose each is: the key's own, then those that it shares.
    pub(crate) fn limits(&self) -> impl Iterator<Item = (Holder, &Limit)> {
        let key = self.key();
        let own = key.limits.iter().map(|limit| (*key.id.as_bytes(), limit));
        own.chain(self.shared.iter().map(|limit| (*key.application.as_bytes(), limit)))
    }

    /// It does not pass after all.
    pub(crate) fn refused(self, code: RefusalCode) -> Refusal {
        Refusal { code, presented: Some(self.presented), missing_scope: None }
    }
}

/// A refusal. The key is known only where the secret was right.
pub struct Refusal {
    /// Why.
    pub code: RefusalCode,
    /// The key whose secret was presented.
    pub presented: Option<Presented>,
    /// The first scope that it lacks.
    pub missing_scope: Option<Scope>,
}

impl Refusal {
    pub(crate) const NOT_FOUND: Self =
        Self { code: RefusalCode::NotFound, presented: None, missing_scope: None };
}

/// The answer.
pub enum Verdict {
    /// It passes.
    Accepted(Verified),
    /// It does not.
    Refused(Refusal),
}

impl Verdict {
    /// The key whose secret was presented, where one was.
    pub const fn presented(&self) -> Option<&Presented> {
        match self {
            Self::Accepted(verified) => Some(&verified.presented),
            Self::Refused(refusal) => refusal.presented.as_ref(),
        }
    }

    /// The same, taken over.
    pub fn into_presented(self) -> Option<Presented> {
        match self {
            Self::Accepted(verified) => Some(verified.presented),
            Self::Refused(refusal) => refusal.presented,
        }
    }

    /// The application of that key.
    pub fn application(&self) -> Option<ApplicationId> {
        self.presented().map(|presented| presented.key.application)
    }
}
