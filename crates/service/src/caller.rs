//! Who calls, and what they may do. What a key narrowed to one application may not see does not exist for it.

use keyward_crypto::SecretText;
use keyward_domain::event::{Actor, ActorKind, Source};
use keyward_domain::scope::{Reach, Scope, ScopeSet};
use keyward_domain::{ApplicationId, Error, KeyId, RequestId, Result};
use keyward_verify::Administrator;

/// Who calls.
pub struct Caller {
    pub(crate) actor: Actor,
    pub(crate) scopes: ScopeSet,
    pub(crate) source: Source,
    pub(crate) request: RequestId,
    pub(crate) idempotency_key: Option<SecretText>,
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
        Self { actor, scopes: administrator.scopes().clone(), source, request, idempotency_key }
    }

    /// Somebody whose only credential is what the request itself carries: a ticket or a token.
    pub fn holder(source: Source, request: RequestId, idempotency_key: Option<SecretText>) -> Self {
        let actor = Actor { kind: ActorKind::Holder, key: None, principal: None };
        Self { actor, scopes: ScopeSet::default(), source, request, idempotency_key }
    }

    /// Keyward itself.
    pub(crate) fn system(request: RequestId) -> Self {
        let actor = Actor { kind: ActorKind::System, key: None, principal: None };
        Self { actor, scopes: ScopeSet::default(), source: Source::default(), request, idempotency_key: None }
    }

    /// The key that was presented.
    pub const fn key(&self) -> Option<KeyId> {
        self.actor.key
    }

    pub(crate) const fn is_admin(&self) -> bool {
        matches!(self.actor.kind, ActorKind::Admin)
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
