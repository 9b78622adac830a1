//! Who calls, and what they may do. What a key narrowed to one application may not see does not exist for it.

use keyward_crypto::SecretText;
use keyward_domain::event::{Actor, ActorKind, Source};
use keyward_domain::scope::{Reach, Scope, ScopeSet};
use keyward_domain::{ApplicationId, Error, KeyId, RequestId, Result};
use keyward_verify::{Administrator, Verified};

/// Who calls.
pub struct Caller {
    pub(crate) actor: Actor,
    pub(crate) scopes: ScopeSet,
    pub(crate) source: Source,
    pub(crate) request: RequestId,
    pub(crate) idempotency_key: Option<SecretText>,
    /// The application that a service belongs to; nobody else belongs to one.
    pub(crate) home: Option<ApplicationId>,
}

impl Caller {
    /// An admin.
    pub fn admin(
        administrator: &Administrator,
        source: Source,
        request: RequestId,
        idempotency_key: Option<SecretText>,
    ) -> Self {
        let key = administrator.key();
        let actor = Actor { kind: ActorKind::Admin, key: Some(key.id), principal: key.principal.clone() };
        Self { actor, scopes: administrator.scopes().clone(), source, request, idempotency_key, home: None }
    }

    /// A service with a key of its own that reads credentials: those of its application alone whose names its key grants.
    pub fn workload(verified: &Verified, source: Source, request: RequestId) -> Self {
        let key = verified.key();
        let actor = Actor { kind: ActorKind::Workload, key: Some(key.id), principal: None };
        let grants = key.scopes.iter().filter(|scope| scope.is_grant());
        let scopes = grants.map(|scope| scope.clone().at(key.application)).collect();
        Self { actor, scopes, source, request, idempotency_key: None, home: Some(key.application) }
    }

    /// Somebody whose only credential is what the request itself carries: a ticket or a token.
    pub fn holder(source: Source, request: RequestId, idempotency_key: Option<SecretText>) -> Self {
        let actor = Actor { kind: ActorKind::Holder, key: None, principal: None };
        Self { actor, scopes: ScopeSet::default(), source, request, idempotency_key, home: None }
    }

    /// Keyward itself.
    pub(crate) fn system(request: RequestId) -> Self {
        let actor = Actor { kind: ActorKind::System, key: None, principal: None };
        Self {
            actor,
            scopes: ScopeSet::default(),
            source: Source::default(),
            request,
            idempotency_key: None,
            home: None,
        }
    }

    /// The key that was presented.
    pub const fn key(&self) -> Option<KeyId> {
        self.actor.key
    }

    pub(crate) const fn is_admin(&self) -> bool {
        matches!(self.actor.kind, ActorKind::Admin)
    }

    /// Whether it is known by a key of its own: what it is refused is on record.
    pub(crate) const fn is_known(&self) -> bool {
        matches!(self.actor.kind, ActorKind::Admin | ActorKind::Workload)
    }

    /// As [`ScopeSet::require`].
    pub(crate) fn require(&self, pattern: &'static str) -> Result<()> {
        self.scopes.require(&Scope::fixed(pattern))
    }

    /// As [`ScopeSet::require_somewhere`].
    pub(crate) fn require_somewhere(&self, pattern: &'static str) -> Result<()> {
        self.scopes.require_somewhere(&Scope::fixed(pattern))
    }

    /// As [`ScopeSet::require_at`].
    pub(crate) fn require_at(
        &self,
        pattern: &'static str,
        application: ApplicationId,
        what: &str,
    ) -> Result<()> {
        self.scopes.require_at(&Scope::fixed(pattern), application, what)
    }

    /// As [`ScopeSet::require_this`], for a credential of an application.
    pub(crate) fn require_credential(
        &self,
        pattern: &'static str,
        application: ApplicationId,
        name: &str,
        what: &str,
    ) -> Result<()> {
        self.scopes.require_this(&Scope::fixed(pattern).at(application).named(name), what)
    }

    /// As [`ScopeSet::reach`].
    pub(crate) fn reach(&self, pattern: &'static str) -> Reach {
        self.scopes.reach(&Scope::fixed(pattern))
    }

    /// Passes where every one of these scopes is held.
    pub(crate) fn require_all(&self, scopes: &ScopeSet) -> Result<()> {
        match self.scopes.first_missing(scopes) {
            Some(missing) => Err(Error::missing_scope(missing.clone())),
            None => Ok(()),
        }
    }
}
