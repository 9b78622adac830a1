//! What the outside sees of records. No MAC, no ticket and no token has a place in any of these.

use keyward_domain::application::{Application, Details, Importance, Status};
use keyward_domain::error::FieldError;
use keyward_domain::event::{Actor, EventId};
use keyward_domain::imported::Imported;
use keyward_domain::issuing::{self, Issuing};
use keyward_domain::key::{Environment, Key, Rules, Version};
use keyward_domain::limit::GivenLimit;
use keyward_domain::policy::{Policy, Preset, Terms};
use keyward_domain::role::Role;
use keyward_domain::rotation::{Mode, Phase};
use keyward_domain::routing::Slot;
use keyward_domain::scope::{Scope, ScopeSet};
use keyward_domain::standing::{Standing, State};
use keyward_domain::{ApplicationId, ClaimId, Code, Error, KeyId, PolicyId, RoleId, Timestamp};
use keyward_records::{KeyUse, Tombstone};
use serde::Serialize;
use utoipa::ToSchema;

/// An application.
#[derive(Serialize, ToSchema)]
#[schema(as = Application)]
pub struct ApplicationView {
    /// Its id.
    pub id: ApplicationId,
    /// What people call it.
    pub name: String,
    /// What its tokens start with.
    pub prefix: String,
    /// Whom to reach.
    pub contacts: Vec<String>,
    /// How much hangs on its keys.
    pub importance: Importance,
    /// The policy of its keys that have none of their own; null where nobody chose one.
    #[schema(required = true)]
    pub policy: Option<PolicyId>,
    /// How much all of its keys together may use in a window of time.
    #[schema(max_items = 8)]
    pub limits: Vec<GivenLimit>,
    /// Whether its keys pass.
    pub status: Status,
    /// The generation that its keys are issued in.
    pub generation: u32,
    /// Which of its keys serves which slot, by the slots' names.
    #[schema(max_items = 64)]
    pub routes: Vec<SlotView>,
    /// When it came to be.
    pub created_at: Timestamp,
    /// Also its ETag.
    pub revision: u64,
    /// The event that wrote it.
    pub event: EventId,
}

impl ApplicationView {
    pub(crate) fn of(application: &Application, details: &Details) -> Self {
        Self {
            id: application.id,
            name: details.name.clone(),
            prefix: details.prefix.clone(),
            contacts: details.contacts.clone(),
            importance: details.importance,
            policy: details.policy,
            limits: application.limits.iter().map(GivenLimit::of).collect(),
            status: application.status,
            generation: application.generation,
            routes: details
                .routes
                .iter()
                .map(|route| SlotView { slot: route.slot.clone(), key: route.key })
                .collect(),
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
    /// Its id.
    pub id: RoleId,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it allows.
    pub scopes: ScopeSet,
    /// When it came to be.
    pub created_at: Timestamp,
    /// Since when it is given up; null while it is not.
    #[schema(required = true)]
    pub retired_at: Option<Timestamp>,
    /// Also its ETag.
    pub revision: u64,
    /// The event that wrote it.
    pub event: EventId,
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

/// A policy.
#[derive(Serialize, ToSchema)]
#[schema(as = Policy)]
pub struct PolicyView {
    /// Its id.
    pub id: PolicyId,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its terms.
    #[serde(flatten)]
    pub terms: Terms,
    /// When it came to be.
    pub created_at: Timestamp,
    /// Since when nobody is given it any more; whoever has it keeps its terms.
    #[schema(required = true)]
    pub retired_at: Option<Timestamp>,
    /// Also its ETag.
    pub revision: u64,
    /// The event that wrote it.
    pub event: EventId,
}

impl PolicyView {
    pub(crate) fn of(policy: &Policy) -> Self {
        Self {
            id: policy.id,
            name: policy.name.clone(),
            description: policy.description.clone(),
            terms: policy.terms.clone(),
            created_at: policy.created_at,
            retired_at: policy.retired_at,
            revision: policy.revision,
            event: policy.event,
        }
    }
}

/// Terms that a policy may start from.
#[derive(Serialize, ToSchema)]
#[schema(as = PolicyPreset)]
pub struct PresetView {
    /// Its name.
    pub preset: Preset,
    /// What it sets, and why. Having it makes nobody compliant with anything.
    pub why: &'static str,
    /// Its terms.
    #[serde(flatten)]
    pub terms: Terms,
}

impl PresetView {
    pub(crate) const fn of(preset: Preset) -> Self {
        Self { preset, why: preset.why(), terms: preset.terms() }
    }
}

/// A key.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyView {
    /// Its id.
    pub id: KeyId,
    /// Whose it is.
    pub application: ApplicationId,
    /// What people call it.
    pub name: String,
    /// Live or test.
    pub environment: Environment,
    /// What its tokens start with.
    pub prefix: String,
    /// The person or workload that events name; for keys of `keyward` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub principal: Option<String>,
    /// What it may do.
    pub scopes: ScopeSet,
    /// Roles whose scopes it holds as well.
    pub roles: Vec<RoleId>,
    /// Words by which it is found together with others.
    pub tags: Vec<String>,
    /// What restricts it beyond scopes.
    pub rules: Rules,
    /// How much it may use in a window of time.
    #[schema(max_items = 8)]
    pub limits: Vec<GivenLimit>,
    /// Its own policy; null where that of its application holds, or none.
    #[schema(required = true)]
    pub policy: Option<PolicyId>,
    /// Set where its first version is a token that another system issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub imported: Option<Imported>,
    /// When the next version is due by the terms that hold for it; null where never, or before the first was claimed.
    #[schema(required = true)]
    pub due_at: Option<Timestamp>,
    /// How it stands.
    pub state: State,
    /// The same, and what is ahead of a key that passes.
    pub standing: Standing,
    /// Whether it is switched off.
    pub disabled: bool,
    /// When it came to be.
    pub created_at: Timestamp,
    /// When it ends; null for never.
    #[schema(required = true)]
    pub expires_at: Option<Timestamp>,
    /// Its versions, oldest first.
    pub versions: Vec<VersionView>,
    /// Where it stands in its rotation.
    pub rotation: RotationView,
    /// The claim that can be taken; null where there is none.
    #[schema(required = true)]
    pub claim: Option<OpenClaimView>,
    /// How it was revoked; null where it was not.
    #[schema(required = true)]
    pub revoked: Option<RevokedView>,
    /// The generation of its application that it was issued in.
    pub generation: u32,
    /// Also its ETag.
    pub revision: u64,
    /// The event that wrote it.
    pub event: EventId,
}

/// Whether a version still passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = KeyVersionState)]
pub enum VersionState {
    /// It does, as far as its key does.
    Live,
    /// It does until its grace is over.
    Retiring,
    /// Its grace is over.
    Retired,
    /// It was ended by itself, for good.
    Revoked,
}

/// A version of a key.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyVersion)]
pub struct VersionView {
    /// The number of the version.
    pub version: u16,
    /// Whether it passes.
    pub state: VersionState,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// When it stops although its key goes on; none for the newest.
    #[schema(required = true)]
    pub ends_at: Option<Timestamp>,
    /// When it was used last, to the hour: the hour's beginning. Absent where no use is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub last_used_at: Option<Timestamp>,
    /// Kept under a pepper that is not the active one any more: to be rotated. Absent where it is not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub pepper_outdated: bool,
}

impl VersionView {
    fn of(key: &Key, version: &Version, beside: &Beside, now: Timestamp) -> Self {
        let ends_at = key.rotate_by(version.number);
        let state = match ends_at {
            _ if beside.versions_killed.contains(&version.number) => VersionState::Revoked,
            None => VersionState::Live,
            Some(end) if now < end => VersionState::Retiring,
            Some(_) => VersionState::Retired,
        };
        let claimed_at = version.claimed_at;
        let last_used_at = beside.used.as_ref().and_then(|used| used.last_used_at(version.number));
        Self { version: version.number, state, claimed_at, ends_at, last_used_at, pepper_outdated: false }
    }
}

/// Which of an application's keys serves which slot.
#[derive(Serialize, ToSchema)]
#[schema(as = RoutingTable)]
pub struct RoutingTableView {
    pub(crate) application: ApplicationId,
    /// By the slots' names.
    #[schema(max_items = 64)]
    pub(crate) routes: Vec<RouteView>,
}

/// A slot, the key that serves it, and what passes of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Route)]
pub(crate) struct RouteView {
    #[schema(value_type = Slot)]
    slot: String,
    key: KeyId,
    state: State,
    rotation: Phase,
    /// The versions that pass, oldest first; none where the key does not.
    versions: Vec<VersionView>,
}

impl RouteView {
    pub(crate) fn of(slot: &str, key: &Key, beside: &Beside, now: Timestamp) -> Self {
        let state = State::of(key, beside.is_dead(), now);
        let all = key.versions.iter().map(|version| VersionView::of(key, version, beside, now));
        let passes = |version: &VersionView| {
            matches!(state, State::Active)
                && matches!(version.state, VersionState::Live | VersionState::Retiring)
        };
        let versions = all.filter(passes).collect();
        Self { slot: slot.to_owned(), key: key.id, state, rotation: key.phase(now), versions }
    }
}

/// A slot of an application and the key that serves it.
#[derive(Serialize, ToSchema)]
#[schema(as = SlotAssignment)]
pub struct SlotView {
    /// The name of the slot.
    #[schema(value_type = Slot)]
    pub slot: String,
    /// The key.
    pub key: KeyId,
}

/// Where a key stands in its rotation.
#[derive(Serialize, ToSchema)]
#[schema(as = Rotation)]
pub struct RotationView {
    /// How it stands.
    pub state: Phase,
    /// The version that is offered, or that was claimed last while the one before it goes on; none where the key is stable.
    #[schema(required = true)]
    pub successor: Option<u16>,
    /// Why it is offered; none once it was claimed.
    #[schema(required = true)]
    pub mode: Option<Mode>,
    /// Since when it is offered; none once it was claimed.
    #[schema(required = true)]
    pub offered_at: Option<Timestamp>,
    /// For how long, from its claim on, the version before it goes on, in seconds; none once it was claimed.
    #[schema(required = true)]
    pub grace_s: Option<u32>,
    /// When the overlap ends; none where there is none.
    #[schema(required = true)]
    pub ends_at: Option<Timestamp>,
    /// Whether its holder can renew it by itself.
    pub self_renewal: bool,
}

impl RotationView {
    fn of(key: &Key, now: Timestamp) -> Self {
        let state = key.phase(now);
        let offer = key.rotation.offer.as_ref();
        let overlaps = state == Phase::Overlapping;
        let newest = key.newest().map(|newest| newest.number).filter(|_| overlaps);
        Self {
            state,
            successor: offer.map(|offer| offer.version).or(newest),
            mode: offer.map(|offer| offer.mode),
            offered_at: offer.map(|offer| offer.at),
            grace_s: offer.map(|offer| offer.grace_s),
            ends_at: key.rotation.overlap_ends_at.filter(|_| overlaps),
            self_renewal: key.rotation.renewal.is_some(),
        }
    }
}

/// A claim that can be taken.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenClaim)]
pub struct OpenClaimView {
    /// Its id.
    pub id: ClaimId,
    /// The version that it mints.
    pub version: u16,
    /// Until when it can be taken.
    pub expires_at: Timestamp,
}

/// What is left of a revoked key.
#[derive(Serialize, ToSchema)]
#[schema(as = Revoked)]
pub struct RevokedView {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: Actor,
    /// Why, in their words.
    pub reason: String,
    /// The event that says so.
    pub event: EventId,
}

/// What belongs to the picture of a key and does not stand in its record: of what it is dead, as far as it is, and its use.
#[derive(Default)]
pub(crate) struct Beside {
    /// The key was revoked.
    pub(crate) tombstone: Option<Tombstone>,
    /// The generation that it was issued in was.
    pub(crate) generation_killed: bool,
    /// These of its versions were ended by themselves.
    pub(crate) versions_killed: Vec<u16>,
    /// What is known of its use.
    pub(crate) used: Option<KeyUse>,
}

impl Beside {
    /// Whether the key was ended.
    pub(crate) const fn is_dead(&self) -> bool {
        self.tombstone.is_some() || self.generation_killed
    }
}

impl KeyView {
    /// What was made under another pepper than `pepper`, the active one, is told so.
    pub(crate) fn of(key: &Key, beside: &Beside, terms: &Terms, pepper: u32, now: Timestamp) -> Self {
        let tombstone = beside.tombstone.as_ref();
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
            limits: key.limits.iter().map(GivenLimit::of).collect(),
            imported: key.imported,
            policy: key.policy,
            due_at: terms.due_at(key),
            state: State::of(key, beside.is_dead(), now),
            standing: Standing::of(key, terms, beside.is_dead(), now),
            disabled: key.disabled,
            created_at: key.created_at,
            expires_at: key.expires_at,
            versions: key
                .versions
                .iter()
                .map(|version| VersionView {
                    pepper_outdated: version.pepper != pepper,
                    ..VersionView::of(key, version, beside, now)
                })
                .collect(),
            rotation: RotationView::of(key, now),
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

/// What the holder of a token sees of its key.
#[derive(Serialize, ToSchema)]
#[schema(as = Self)]
pub struct SelfView {
    key: SelfKey,
    /// The version that was presented.
    version: u16,
    /// When that version stops although its key goes on: by then the successor is to be in use. None for the newest.
    #[schema(required = true)]
    rotate_by: Option<Timestamp>,
    rotation: Phase,
    /// When the next version is due by the key's policy; none where it says never.
    #[schema(required = true)]
    due_at: Option<Timestamp>,
    /// Whether a renewal token of it holds.
    self_renewal: bool,
}

/// A key, to whoever holds a token of it.
#[derive(Serialize, ToSchema)]
struct SelfKey {
    id: KeyId,
    name: String,
    application: ApplicationId,
    environment: Environment,
    scopes: ScopeSet,
    #[schema(required = true)]
    expires_at: Option<Timestamp>,
}

impl SelfView {
    pub(crate) fn of(key: &Key, version: u16, terms: &Terms, now: Timestamp) -> Self {
        Self {
            key: SelfKey {
                id: key.id,
                name: key.name.clone(),
                application: key.application,
                environment: key.environment,
                scopes: key.scopes.clone(),
                expires_at: key.expires_at,
            },
            version,
            rotate_by: key.rotate_by(version),
            rotation: key.phase(now),
            due_at: terms.due_at(key),
            self_renewal: terms.self_renewal && key.rotation.renewal.is_some(),
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
    /// Whether nothing was done.
    pub dry_run: bool,
    /// Those that died; with `dry_run`, those that would have.
    pub revoked: Vec<RevokedKey>,
    /// Of those meant, how many were dead before.
    pub already_dead: usize,
    /// Those that are meant and live on.
    pub skipped: Vec<SkippedKey>,
    /// Keys looked at.
    pub examined: usize,
    /// Where the next call goes on; none after the last.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

/// One of many that died.
#[derive(Serialize, ToSchema)]
pub struct RevokedKey {
    /// Its id.
    pub id: KeyId,
    /// Whose it was.
    pub application: ApplicationId,
    /// The event of its death; none with `dry_run`.
    #[schema(required = true)]
    pub event: Option<EventId>,
}

/// One of many that the caller may not revoke, and why not, as a problem says it.
#[derive(Clone, Serialize, ToSchema)]
pub struct SkippedKey {
    /// Its id.
    pub id: KeyId,
    /// The code of the problem.
    pub code: &'static str,
    /// Why not, in words.
    pub detail: String,
    /// The scope that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub missing_scope: Option<Scope>,
}

/// Why one of many was refused, as a problem says it.
#[derive(Serialize, ToSchema)]
#[schema(as = Refused)]
pub struct RefusedView {
    /// The code of the problem.
    pub code: &'static str,
    /// What was wrong, in words.
    pub detail: String,
    /// Findings about single fields of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldError>,
    /// The scope that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub missing_scope: Option<Scope>,
}

impl RefusedView {
    /// What is told of an error.
    pub(crate) fn of(error: Error) -> Self {
        // Of what the caller may not see not even that there is something to be missing.
        let missing_scope = error.missing_scope.filter(|_| error.code == Code::InsufficientScope);
        Self { code: error.code.as_str(), detail: error.detail, errors: error.fields, missing_scope }
    }
}

/// How what an emergency can stop stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Emergency)]
pub struct EmergencyView {
    /// Whether keys are issued.
    pub issuing: IssuingView,
}

/// Whether keys are issued; where nobody ever stopped it, nothing is told but that.
#[derive(Serialize, ToSchema)]
#[schema(as = Issuing)]
pub struct IssuingView {
    /// Open or frozen.
    pub state: issuing::State,
    /// Since when.
    #[schema(required = true)]
    pub at: Option<Timestamp>,
    /// Who.
    #[schema(required = true)]
    pub by: Option<Actor>,
    /// Why, in their words.
    #[schema(required = true)]
    pub reason: Option<String>,
    /// The event that says so.
    #[schema(required = true)]
    pub event: Option<EventId>,
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
