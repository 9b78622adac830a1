//! What the outside sees of records. No MAC, no ticket and no token has a place in any of these.

use keyward_domain::application::{Application, Details, Status};
use keyward_domain::event::{Actor, EventId};
use keyward_domain::issuing::{self, Issuing};
use keyward_domain::key::{Environment, Key, Rules};
use keyward_domain::role::Role;
use keyward_domain::scope::{Scope, ScopeSet};
use keyward_domain::{ApplicationId, ClaimId, KeyId, RoleId, Timestamp};
use keyward_records::Tombstone;
use serde::Serialize;
use utoipa::ToSchema;

/// An application.
#[derive(Serialize, ToSchema)]
#[schema(as = Application)]
pub struct ApplicationView {
    id: ApplicationId,
    name: String,
    prefix: String,
    contacts: Vec<String>,
    status: Status,
    generation: u32,
    created_at: Timestamp,
    /// Also its ETag.
    pub revision: u64,
    event: EventId,
}

impl ApplicationView {
    pub(crate) fn of(application: &Application, details: &Details) -> Self {
        Self {
            id: application.id,
            name: details.name.clone(),
            prefix: details.prefix.clone(),
            contacts: details.contacts.clone(),
            status: application.status,
            generation: application.generation,
            created_at: details.created_at,
            revision: application.revision,
            event: application.event,
        }
    }
}

/// A role.
#[derive(Serialize, ToSchema)]
#[schema(as = Role)]
pub struct RoleView {
    id: RoleId,
    name: String,
    description: String,
    scopes: ScopeSet,
    created_at: Timestamp,
    #[schema(required = true)]
    retired_at: Option<Timestamp>,
    /// Also its ETag.
    pub revision: u64,
    event: EventId,
}

impl RoleView {
    pub(crate) fn of(role: &Role) -> Self {
        Self {
            id: role.id,
            name: role.name.clone(),
            description: role.description.clone(),
            scopes: role.scopes.clone(),
            created_at: role.created_at,
            retired_at: role.retired_at,
            revision: role.revision,
            event: role.event,
        }
    }
}

/// How a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = KeyState)]
enum State {
    Unclaimed,
    Active,
    Disabled,
    Expired,
    Revoked,
}

/// A key.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyView {
    id: KeyId,
    application: ApplicationId,
    name: String,
    environment: Environment,
    prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    principal: Option<String>,
    scopes: ScopeSet,
    roles: Vec<RoleId>,
    tags: Vec<String>,
    rules: Rules,
    state: State,
    disabled: bool,
    created_at: Timestamp,
    #[schema(required = true)]
    expires_at: Option<Timestamp>,
    versions: Vec<VersionView>,
    #[schema(required = true)]
    claim: Option<OpenClaimView>,
    #[schema(required = true)]
    revoked: Option<RevokedView>,
    generation: u32,
    /// Also its ETag.
    pub revision: u64,
    event: EventId,
}

#[derive(Serialize, ToSchema)]
#[schema(as = KeyVersion)]
struct VersionView {
    version: u16,
    claimed_at: Timestamp,
    /// Kept under a pepper that is not the active one any more: to be rotated. Absent where it is not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pepper_outdated: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OpenClaim)]
struct OpenClaimView {
    id: ClaimId,
    version: u16,
    expires_at: Timestamp,
}

/// What is left of a revoked key.
#[derive(Serialize, ToSchema)]
#[schema(as = Revoked)]
struct RevokedView {
    at: Timestamp,
    by: Actor,
    reason: String,
    event: EventId,
}

impl KeyView {
    /// `tombstone` where the key itself is revoked; `killed` where its generation is.
    /// What was made under another pepper than `pepper`, the active one, is told so.
    pub(crate) fn of(
        key: &Key,
        tombstone: Option<&Tombstone>,
        killed: bool,
        pepper: u32,
        now: Timestamp,
    ) -> Self {
        let state = if tombstone.is_some() || killed {
            State::Revoked
        } else if key.expired(now) {
            State::Expired
        } else if key.disabled {
            State::Disabled
        } else if key.versions.is_empty() {
            State::Unclaimed
        } else {
            State::Active
        };
        Self {
            id: key.id,
            application: key.application,
            name: key.name.clone(),
            environment: key.environment,
            prefix: key.prefix.clone(),
            principal: key.principal.clone(),
            scopes: key.scopes.clone(),
            roles: key.roles.clone(),
            tags: key.tags.clone(),
            rules: key.rules.clone(),
            state,
            disabled: key.disabled,
            created_at: key.created_at,
            expires_at: key.expires_at,
            versions: key
                .versions
                .iter()
                .map(|version| VersionView {
                    version: version.number,
                    claimed_at: version.claimed_at,
                    pepper_outdated: version.pepper != pepper,
                })
                .collect(),
            claim: key.claim.as_ref().map(|claim| OpenClaimView {
                id: claim.id,
                version: claim.version,
                expires_at: claim.expires_at,
            }),
            revoked: tombstone.map(|tombstone| RevokedView {
                at: tombstone.at,
                by: tombstone.by.clone(),
                reason: tombstone.reason.clone(),
                event: tombstone.event,
            }),
            generation: key.generation,
            revision: key.revision,
            event: key.event,
        }
    }
}

/// A claim, to whoever holds its id.
#[derive(Serialize, ToSchema)]
#[schema(as = Claim)]
pub struct ClaimView {
    pub(crate) id: ClaimId,
    pub(crate) state: keyward_domain::claim::State,
    pub(crate) application: NamedApplication,
    pub(crate) key: NamedKey,
    pub(crate) expires_at: Timestamp,
}

/// An application by name.
#[derive(Serialize, ToSchema)]
pub(crate) struct NamedApplication {
    pub(crate) id: ApplicationId,
    pub(crate) name: String,
}

/// A key by name.
#[derive(Serialize, ToSchema)]
pub(crate) struct NamedKey {
    pub(crate) id: KeyId,
    pub(crate) name: String,
    pub(crate) environment: Environment,
}

/// Only an id.
#[derive(Serialize, ToSchema)]
pub(crate) struct Named<T> {
    pub(crate) id: T,
}

/// What a revocation did.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Revocation)]
pub enum RevocationView {
    /// One key.
    Key(KeyRevocation),
    /// All keys that an application had so far.
    Generation(GenerationRevocation),
}

/// One key died.
#[derive(Serialize, ToSchema)]
pub struct KeyRevocation {
    pub(crate) key: Named<KeyId>,
    pub(crate) revoked_at: Timestamp,
    pub(crate) event: EventId,
}

/// All keys of a generation died.
#[derive(Serialize, ToSchema)]
pub struct GenerationRevocation {
    pub(crate) application: Named<ApplicationId>,
    pub(crate) generation: u32,
    pub(crate) revoked_at: Timestamp,
    pub(crate) event: EventId,
}

impl RevocationView {
    pub(crate) fn of(tombstone: &Tombstone) -> Self {
        Self::Key(KeyRevocation {
            key: Named { id: tombstone.key },
            revoked_at: tombstone.at,
            event: tombstone.event,
        })
    }
}

/// What one call of a revocation of many keys did.
#[derive(Serialize, ToSchema)]
#[schema(as = BulkRevocation)]
pub struct BulkRevocationView {
    pub(crate) dry_run: bool,
    /// Those that died; with `dry_run`, those that would have.
    pub(crate) revoked: Vec<RevokedKey>,
    /// Of those meant, how many were dead before.
    pub(crate) already_dead: usize,
    /// Those that are meant and live on.
    pub(crate) skipped: Vec<SkippedKey>,
    /// Keys looked at.
    pub(crate) examined: usize,
    /// Where the next call goes on; none after the last.
    #[schema(required = true)]
    pub(crate) next_cursor: Option<String>,
}

/// One of many that died.
#[derive(Serialize, ToSchema)]
pub(crate) struct RevokedKey {
    pub(crate) id: KeyId,
    pub(crate) application: ApplicationId,
    /// The event of its death; none with `dry_run`.
    #[schema(required = true)]
    pub(crate) event: Option<EventId>,
}

/// One of many that the caller may not revoke, and why not, as a problem says it.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct SkippedKey {
    pub(crate) id: KeyId,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) missing_scope: Option<Scope>,
}

/// How what an emergency can stop stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Emergency)]
pub struct EmergencyView {
    issuing: IssuingView,
}

/// Whether keys are issued; where nobody ever stopped it, nothing is told but that.
#[derive(Serialize, ToSchema)]
#[schema(as = Issuing)]
struct IssuingView {
    state: issuing::State,
    #[schema(required = true)]
    at: Option<Timestamp>,
    #[schema(required = true)]
    by: Option<Actor>,
    #[schema(required = true)]
    reason: Option<String>,
    #[schema(required = true)]
    event: Option<EventId>,
}

impl EmergencyView {
    pub(crate) fn of(issuing: Option<&Issuing>) -> Self {
        Self {
            issuing: IssuingView {
                state: issuing.map_or(issuing::State::Open, |issuing| issuing.state),
                at: issuing.map(|issuing| issuing.at),
                by: issuing.map(|issuing| issuing.by.clone()),
                reason: issuing.map(|issuing| issuing.reason.clone()),
                event: issuing.map(|issuing| issuing.event),
            },
        }
    }
}

/// Whose a token is.
#[derive(Serialize, ToSchema)]
#[schema(as = Lookup)]
pub struct LookupView {
    pub(crate) key: KeyView,
    /// Which version the token is.
    pub(crate) version: u16,
}
