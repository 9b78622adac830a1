//! Audit events: who did what to which target, from where, when, why, and how it ended.
//!
//! INVARIANT: an event names digests of what was written, never its content; no secret, token or ticket has a place here.

use crate::id::{ApplicationId, CredentialId, KeyId, PolicyId, RequestId, RoleId, WebhookId};
use crate::schema::{impl_schema, text};
use crate::timestamp::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use utoipa::ToSchema;
use utoipa::openapi::{ObjectBuilder, Type};

/// An event's place in the log: its ticket, out of the counter of its epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventId {
    /// Raised when a store was rolled back; 1 at first.
    pub epoch: u32,
    /// Consecutive from 1 within its epoch.
    pub seq: u64,
}

impl EventId {
    /// Reads a place to go on from: an event's, or the one before an epoch's first, as in `evt_1_0`.
    pub fn place(text: &str) -> Option<Self> {
        let (epoch, seq) = text.strip_prefix("evt_")?.split_once('_')?;
        let id = Self { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? };
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "evt_{}_{}", self.epoch, self.seq)
    }
}

impl std::str::FromStr for EventId {
    type Err = crate::id::NotAnId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::place(text).filter(|id| id.seq > 0).ok_or(crate::id::NotAnId { prefix: "evt_" })
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // People read the text; a binary format takes the numbers.
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.epoch, self.seq).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            let (epoch, seq) = Deserialize::deserialize(deserializer)?;
            return Ok(Self { epoch, seq });
        }
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom("expected `evt_<epoch>_<seq>`"))
    }
}

impl_schema!(EventId, text("An event's place in the log: epoch and number.", "^evt_[0-9]+_[1-9][0-9]*$"));

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What was done or tried.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action { $($(#[$doc])* $name,)* }

        impl Action {
            /// Every action.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in the log.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

actions! {
    /// An application came to be.
    ApplicationCreated = "application.create",
    /// Its name or contacts changed.
    ApplicationChanged = "application.change",
    /// Its keys stopped working, for now.
    ApplicationSuspended = "application.suspend",
    /// Its keys work again.
    ApplicationResumed = "application.resume",
    /// All keys issued so far were killed.
    ApplicationRevoked = "application.revoke",
    /// A key was issued, with a claim for its first version.
    KeyIssued = "key.issue",
    /// A token that another system issued became a key.
    KeyImported = "key.import",
    /// Its name, scopes, rules or switch changed.
    KeyChanged = "key.change",
    /// It was revoked.
    KeyRevoked = "key.revoke",
    /// Whoever held its token revoked it.
    KeyReported = "key.report",
    /// Something of it was found where anybody can read it, and opens nothing any more: by its policy it was revoked or its versions died;
    /// its renewal token or its claim was withdrawn.
    KeyLeaked = "key.leak",
    /// Somebody with a token in hand asked whose it is.
    KeyLookedUp = "key.lookup",
    /// A successor was offered for its version.
    KeyRotated = "key.rotate",
    /// Versions of it died in an incident, before a successor was offered.
    VersionsKilled = "rotation.kill",
    /// The overlap was ended: the version before the newest died.
    RotationFinished = "rotation.finish",
    /// The offer of a successor was taken back.
    RotationCancelled = "rotation.cancel",
    /// Its holder had the next version minted with a renewal token.
    KeyRenewed = "key.renew",
    /// A renewal token was presented a second time.
    RenewalReplayed = "renewal.replay",
    /// A successor was due, and Keyward offered it.
    KeyOffered = "key.offer",
    /// A successor that nobody claimed has little time left.
    RotationUnclaimed = "rotation.unclaimed",
    /// Its life is about to end.
    KeyExpiring = "key.expiring",
    /// It has not been used for long.
    KeyIdle = "key.idle",
    /// Its life has ended.
    KeyExpired = "key.expire",
    /// It was not rotated in time, or lives for longer than its policy allows.
    PolicyBroken = "policy.break",
    /// Its life was ended, since it broke its policy.
    KeyRetired = "key.retire",
    /// What was stored of the secrets of a dead key was given up.
    KeyForgotten = "key.forget",
    /// How it stands changed by time alone, or was not on record as it is.
    KeyStanding = "key.standing",
    /// What was due had been seen to by another at the same moment.
    DuePassed = "due.pass",
    /// A claim was taken and a secret minted.
    ClaimTaken = "claim.take",
    /// A new claim took the place of one that was not taken.
    ClaimReissued = "claim.reissue",
    /// A claim was presented a second time.
    ClaimReplayed = "claim.replay",
    /// A role came to be.
    RoleCreated = "role.create",
    /// Its name, description or scopes changed.
    RoleChanged = "role.change",
    /// It was given up, for good.
    RoleRetired = "role.retire",
    /// A webhook came to be.
    WebhookCreated = "webhook.create",
    /// Its target, its types of events or its switch changed.
    WebhookChanged = "webhook.change",
    /// Its secret was replaced; the old one signs as well for a day.
    WebhookSecretRotated = "webhook.rotate-secret",
    /// A message was sent to it to see whether it arrives.
    WebhookTested = "webhook.test",
    /// It was given up, for good.
    WebhookRetired = "webhook.retire",
    /// What could not be delivered to it is tried anew.
    WebhookReplayed = "webhook.replay",
    /// What could not be delivered to it was given up, for good.
    WebhookDropped = "webhook.drop",
    /// A policy came to be.
    PolicyCreated = "policy.create",
    /// Its name, description or terms changed.
    PolicyChanged = "policy.change",
    /// It was given up: nobody is given it any more.
    PolicyRetired = "policy.retire",
    /// Calls without a valid credential were refused; counted per source and minute.
    AnonymousRefused = "admin.refuse",
    /// So many of them came from one source in one minute that it was told to wait.
    AnonymousLockedOut = "admin.lock-out",
    /// Issuing was frozen.
    IssuingFrozen = "emergency.freeze",
    /// Issuing goes on.
    IssuingThawed = "emergency.thaw",
    /// Somebody began to administer by the dashboard.
    SessionOpened = "session.open",
    /// They signed out: their session ended, wherever its cookie lies.
    SessionClosed = "session.close",
    /// Applications were looked at; in the log only where it was refused.
    ApplicationRead = "application.read",
    /// Keys were looked at; in the log only where it was refused.
    KeyRead = "key.read",
    /// Roles were looked at; in the log only where it was refused.
    RoleRead = "role.read",
    /// Webhooks were looked at; in the log only where it was refused.
    WebhookRead = "webhook.read",
    /// Policies were looked at; in the log only where it was refused.
    PolicyRead = "policy.read",
    /// The log was looked at; in the log only where it was refused.
    AuditRead = "audit.read",
    /// How issuing stands was looked at; in the log only where it was refused.
    IssuingRead = "emergency.read",
    /// What was personal in the events of past months was destroyed.
    AuditShredded = "audit.shred",
    /// An event came to light beside the void of its ticket: its writer had been held up for too long.
    EventLate = "audit.late",
    /// A store was found rolled back, and a new epoch of the log opened on it.
    EpochOpened = "audit.epoch",
    /// Records were sealed anew under the active version of their ring, or that was asked for.
    RingResealed = "ring.reseal",
    /// The rings' versions were looked at; in the log only where it was refused.
    RingRead = "ring.read",
    /// Metrics were asked for.
    MetricsRead = "metrics.read",
    /// The work that is due from time to time was asked for.
    MaintenanceRun = "maintenance.run",
    /// What is due to webhooks was asked to be delivered.
    DeliveryRun = "delivery.run",
    /// A credential came to be, with its first version.
    CredentialCreated = "credential.create",
    /// Its name, description, owner, tags, expiry or policy changed.
    CredentialChanged = "credential.change",
    /// A version of it was written, which is the current one from then on.
    CredentialWritten = "credential.write",
    /// What a version of it holds was handed out, or was asked for and refused.
    CredentialRead = "credential.read",
    /// An earlier version of it is the current one again.
    CredentialRolledBack = "credential.roll-back",
    /// What versions of it held was destroyed.
    CredentialDestroyed = "credential.destroy",
    /// It was given up, for good, and what its versions held was destroyed.
    CredentialRetired = "credential.retire",
    /// It was given a provider that rotates it, or another one, and a secret that calls are signed with.
    CredentialProviderSet = "credential.set-provider",
    /// It has no provider any more.
    CredentialProviderRemoved = "credential.remove-provider",
    /// Its rotation by its provider began.
    CredentialRotationBegun = "credential.rotate",
    /// What versions of it hold was handed to its provider, for a step of its rotation.
    CredentialProviderCalled = "credential.call-provider",
    /// Its provider did a step of its rotation, and the next one follows.
    CredentialRotationAdvanced = "credential.advance-rotation",
    /// Its provider did not do a step of its rotation, and is asked again later.
    CredentialRotationDelayed = "credential.delay-rotation",
    /// The version that its provider made and tested is the current one.
    CredentialPromoted = "credential.promote",
    /// Its rotation is over: the third party accepts the version before no longer.
    CredentialRotationFinished = "credential.finish-rotation",
    /// Its rotation was given up: its provider did not do a step.
    CredentialRotationFailed = "credential.fail-rotation",
    /// Its rotation was taken back.
    CredentialRotationCancelled = "credential.cancel-rotation",
    /// What a rotation that was given up or taken back had made is destroyed.
    CredentialRotationUndone = "credential.undo-rotation",
    /// Rotations that are under way were asked to be gone on with.
    CredentialRotationsRun = "credential.run-rotations",
    /// It is to be rotated, and somebody has to do it; an alarm where nobody did for a whole grace.
    CredentialRotationDue = "credential.due",
    /// The third party is about to end it.
    CredentialExpiring = "credential.expiring",
    /// The third party has ended it.
    CredentialExpired = "credential.expire",
    /// Credentials were looked at, though not what they hold; in the log only where it was refused.
    CredentialListed = "credential.list",
    /// The rings, the signing key and the root key were made.
    Initialised = "keyward.init",
    /// A new root key was made next to the store, since the old one was lost.
    RootRecovered = "root.recover",
}

impl Action {
    /// Whether it does nothing but end access, at once: what must not wait for anything that can be made up for later.
    pub const fn is_urgent(self) -> bool {
        matches!(
            self,
            Self::KeyRevoked
                | Self::KeyReported
                | Self::KeyLeaked
                | Self::VersionsKilled
                | Self::ApplicationRevoked
                | Self::IssuingFrozen
        )
    }
}

impl std::str::FromStr for Action {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|action| action.as_str() == text).ok_or(())
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("expected a known action"))
    }
}

impl_schema!(
    Action,
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("What was done or tried."))
        .enum_values(Some(Self::ALL.iter().map(|action| action.as_str())))
);

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Done.
    Done,
    /// Refused; nothing changed.
    Refused,
    /// Something that somebody must look at.
    Alarm,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    /// In which role.
    pub kind: ActorKind,
    /// The key that was presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub key: Option<KeyId>,
    /// The person or workload that the key stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub principal: Option<String>,
}

/// In which role somebody acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActorKind {
    /// With a key of the built-in application.
    Admin,
    /// With nothing but a claim ticket or the token in question.
    Holder,
    /// With a key that reads credentials: a service account.
    Workload,
    /// Without a valid credential.
    Anonymous,
    /// Keyward itself.
    System,
}

/// From where.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Source {
    /// The client's address, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub client_addr: Option<String>,
    /// What the client called itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub user_agent: Option<String>,
}

/// To what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Target {
    /// Whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub application: Option<ApplicationId>,
    /// Which key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub key: Option<KeyId>,
    /// Which role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub role: Option<RoleId>,
    /// Which webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub webhook: Option<WebhookId>,
    /// Which policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub policy: Option<PolicyId>,
    /// Which credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub credential: Option<CredentialId>,
}

impl Target {
    /// An application, where its id is known.
    pub fn application(id: Option<ApplicationId>) -> Self {
        Self { application: id, ..Self::default() }
    }

    /// A key, where its id is known; whose it is may turn out later.
    pub fn key(id: Option<KeyId>) -> Self {
        Self { key: id, ..Self::default() }
    }

    /// A role, where its id is known.
    pub fn role(id: Option<RoleId>) -> Self {
        Self { role: id, ..Self::default() }
    }

    /// A webhook, where its id is known; whose it is may turn out later.
    pub fn webhook(id: Option<WebhookId>) -> Self {
        Self { webhook: id, ..Self::default() }
    }

    /// A policy, where its id is known.
    pub fn policy(id: Option<PolicyId>) -> Self {
        Self { policy: id, ..Self::default() }
    }

    /// A credential, where its id is known; whose it is may turn out later.
    pub fn credential(id: Option<CredentialId>) -> Self {
        Self { credential: id, ..Self::default() }
    }
}

/// The keyed digest of one record that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WriteDigest {
    /// The store key.
    pub record: String,
    /// HMAC-SHA-256 of store key and stored value, lowercase hex.
    pub digest: String,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its place.
    pub id: EventId,
    /// When, by the clock of whoever wrote it.
    pub at: Timestamp,
    /// What.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// To what.
    pub target: Target,
    /// By whom.
    pub actor: Actor,
    /// From where.
    pub source: Source,
    /// In which request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub request: Option<RequestId>,
    /// Why, in the words of whoever did it; for a refusal the stable code of the problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// Names of what changed, or other plain facts; never a value that could be secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
    /// The event before it on the same target, as far as its writer knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub previous: Option<EventId>,
    /// What was written with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<WriteDigest>,
}

/// How an event's detail leads to a tag that a key was given for the first time.
const TAG_GIVEN: &str = "tag ";

/// What the detail of an event says of a tag that a key was given for the first time.
pub fn tag_given(tag: &str) -> String {
    format!("{TAG_GIVEN}{tag}")
}

impl Event {
    /// The tags that the event gave to its key for the first time.
    pub fn tags_given(&self) -> impl Iterator<Item = &str> {
        self.detail.iter().filter_map(|fact| fact.strip_prefix(TAG_GIVEN))
    }

    /// The event without what is personal (principal, address, user agent), without what people wrote (reasons, tags) and without the
    /// digests: fit for a log that nobody can shred.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let actor = Actor { principal: None, ..self.actor.clone() };
        // Why something was refused is a code, not a person's words.
        let reason = self.reason.clone().filter(|_| self.outcome == Outcome::Refused);
        let detail = self.detail.iter().filter(|fact| !fact.starts_with(TAG_GIVEN)).cloned().collect();
        Self { actor, reason, detail, source: Source::default(), writes: Vec::new(), ..self.clone() }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn places_have_one_spelling() {
        let id = EventId { epoch: 1, seq: 42 };
        assert_eq!("evt_1_42".parse::<EventId>(), Ok(id));
        for bad in ["evt_1_0", "evt_01_42", "evt_1_+42", "evt_1", "1_42", "evt_1_42 "] {
            assert!(bad.parse::<EventId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_action_comes_back_from_its_name() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse::<Action>(), Ok(*action));
        }
    }

    pub(crate) fn event() -> Event {
        Event {
            id: EventId { epoch: 1, seq: 42 },
            at: Timestamp::from_unix_ms(1_795_515_095_042),
            action: Action::KeyRevoked,
            outcome: Outcome::Done,
            target: Target::key(Some(KeyId::from_bytes([1; 16]))),
            actor: Actor {
                kind: ActorKind::Admin,
                key: Some(KeyId::from_bytes([2; 16])),
                principal: Some("zoe@example.com".into()),
            },
            source: Source { client_addr: Some("192.0.2.7".into()), user_agent: Some("agent".into()) },
            request: Some(RequestId::from_bytes([3; 16])),
            reason: Some("Zoe lost her laptop".into()),
            detail: vec![tag_given("zoe"), "name".into()],
            previous: Some(EventId { epoch: 1, seq: 41 }),
            writes: vec![WriteDigest { record: "k:01".into(), digest: "00".into() }],
        }
    }

    #[test]
    fn what_is_redacted_is_gone_and_nothing_else_is() {
        let whole = event();
        let expected = Event {
            actor: Actor { principal: None, ..whole.actor.clone() },
            source: Source::default(),
            reason: None,
            detail: vec!["name".into()],
            writes: Vec::new(),
            ..whole.clone()
        };
        assert_eq!(whole.redacted(), expected);
        let refused = Event { outcome: Outcome::Refused, reason: Some("not-found".into()), ..whole };
        assert_eq!(refused.redacted().reason.as_deref(), Some("not-found"), "a code, not a person's words");
        assert_eq!(event().tags_given().collect::<Vec<_>>(), ["zoe"]);
    }

    #[test]
    fn only_what_ends_access_is_urgent() {
        let urgent: Vec<&str> =
            Action::ALL.iter().filter(|action| action.is_urgent()).map(|action| action.as_str()).collect();
        let expected = [
            "application.revoke",
            "key.revoke",
            "key.report",
            "key.leak",
            "rotation.kill",
            "emergency.freeze",
        ];
        assert_eq!(urgent, expected);
    }

    #[test]
    fn an_event_reads_back_in_text_and_a_place_in_binary_too() {
        let json = serde_json::to_string(&event()).expect("JSON");
        assert!(json.contains("\"id\":\"evt_1_42\"") && json.contains("\"action\":\"key.revoke\""), "{json}");
        assert_eq!(serde_json::from_str::<Event>(&json).expect("its own text"), event());
        assert_eq!(EventId::place("evt_1_0"), Some(EventId { epoch: 1, seq: 0 }), "before the first");
        assert_eq!(EventId::place("evt_1_00"), None);
    }

    #[test]
    fn a_target_names_what_it_was_made_of_and_nothing_else() {
        let none = Target::default();
        let application = Some(ApplicationId::from_bytes([1; 16]));
        let (key, role) = (Some(KeyId::from_bytes([1; 16])), Some(RoleId::from_bytes([1; 16])));
        let (webhook, policy) = (Some(WebhookId::from_bytes([1; 16])), Some(PolicyId::from_bytes([1; 16])));
        assert_eq!(Target::application(application), Target { application, ..none });
        assert_eq!(Target::key(key), Target { key, ..none });
        assert_eq!(Target::role(role), Target { role, ..none });
        assert_eq!(Target::webhook(webhook), Target { webhook, ..none });
        assert_eq!(Target::policy(policy), Target { policy, ..none });
        let credential = Some(CredentialId::from_bytes([1; 16]));
        assert_eq!(Target::credential(credential), Target { credential, ..none });
    }
}
