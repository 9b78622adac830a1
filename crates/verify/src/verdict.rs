//! What is asked of a token and what the answer can be.

use crate::limiter::Holder;
use keyward_domain::ApplicationId;
use keyward_domain::key::{Environment, Key};
use keyward_domain::limit::Limit;
pub use keyward_domain::refusal::RefusalCode;
use keyward_domain::scope::Scope;
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

/// A key whose token passed. Only [`crate::Verifier`] makes one.
pub struct Verified {
    pub(crate) key: Box<Key>,
    pub(crate) version: u16,
    /// The limits that all keys of its application share.
    pub(crate) shared: Rc<[Limit]>,
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

    /// The limits that its requests are under, and whose each is: the key's own, then those that it shares.
    pub(crate) fn limits(&self) -> impl Iterator<Item = (Holder, &Limit)> {
        let own = self.key.limits.iter().map(|limit| (*self.key.id.as_bytes(), limit));
        own.chain(self.shared.iter().map(|limit| (*self.key.application.as_bytes(), limit)))
    }

    /// It does not pass after all.
    pub(crate) fn refused(self, code: RefusalCode) -> Refusal {
        Refusal { code, key: Some((self.key, self.version)), missing_scope: None }
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

impl Verdict {
    /// The key whose secret was presented and the version, where one was.
    pub fn key(&self) -> Option<(&Key, u16)> {
        match self {
            Self::Accepted(verified) => Some((verified.key(), verified.version())),
            Self::Refused(refusal) => refusal.key.as_ref().map(|(key, version)| (&**key, *version)),
        }
    }

    /// The application of that key.
    pub fn application(&self) -> Option<ApplicationId> {
        self.key().map(|(key, _)| key.application)
    }
}
