//! What webhooks tell of the log: which events are announced, under which type, and what is said of them.
//!
//! INVARIANT: an announcement says nothing that [`Event::redacted`] does not: nothing personal, nothing that people wrote, no secret.

use crate::error::FieldError;
use crate::event::{Action, ActorKind, Event, EventId, Outcome};
use crate::id::{ApplicationId, KeyId, NotAnId, RoleId};
use crate::schema::{impl_schema, text};
use crate::timestamp::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, Type as SchemaType};

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What an announcement is about: stable names, safe to match on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Type { $($(#[$doc])* $name,)* }

        impl Type {
            /// Every type.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

types! {
    /// A key was issued.
    KeyIssued = "key.issued",
    /// A token that another system issued became a key.
    KeyImported = "key.imported",
    /// A claim was taken and a secret minted.
    KeyClaimed = "key.claimed",
    /// A new claim took the place of one that was not taken.
    KeyClaimReissued = "key.claim_reissued",
    /// A key's name, scopes, rules or switch changed.
    KeyChanged = "key.changed",
    /// A successor of a key's version is offered.
    KeyOffered = "key.offered",
    /// A key's holder had its next version minted.
    KeyRenewed = "key.renewed",
    /// A successor that nobody claimed has little time left.
    KeyUnclaimed = "key.unclaimed",
    /// The offer of a successor was taken back.
    RotationCancelled = "key.rotation_cancelled",
    /// An overlap was ended: a key's version before the newest is dead.
    RotationFinished = "key.rotation_finished",
    /// Every version that a key had so far is dead; the key lives on.
    VersionsRevoked = "key.versions_revoked",
    /// A key's life is about to end.
    KeyExpiring = "key.expiring",
    /// A key has not been used for long.
    KeyIdle = "key.idle",
    /// A key's life has ended.
    KeyExpired = "key.expired",
    /// A key's life was ended, since it broke its policy.
    KeyRetired = "key.retired",
    /// A key was revoked; without a key, all keys that the application had.
    KeyRevoked = "key.revoked",
    /// Another version of a credential is the current one: whoever holds what it held before should ask again.
    CredentialRotated = "credential.rotated",
    /// A credential is to be rotated, and somebody has to do it; told again where nobody did for a whole grace.
    CredentialRotationDue = "credential.rotation_due",
    /// A credential's provider did not rotate it.
    CredentialRotationFailed = "credential.rotation_failed",
    /// A third party is about to end a credential.
    CredentialExpiring = "credential.expiring",
    /// A third party has ended a credential.
    CredentialExpired = "credential.expired",
    /// What versions of a credential held was destroyed.
    CredentialDestroyed = "credential.destroyed",
    /// An application's keys stopped working, for now.
    ApplicationSuspended = "application.suspended",
    /// They work again.
    ApplicationResumed = "application.resumed",
    /// Nobody issues a key or takes a claim.
    IssuingFrozen = "issuing.frozen",
    /// Issuing goes on.
    IssuingThawed = "issuing.thawed",
    /// A claim was presented a second time.
    ClaimReplayed = "alarm.claim_replayed",
    /// A renewal token was presented a second time.
    RenewalReplayed = "alarm.renewal_replayed",
    /// A key's token, renewal token or ticket was found where anybody can read it, and opens nothing any more.
    KeyLeaked = "alarm.key_leaked",
    /// A key was not rotated in time, or lives for longer than its policy allows.
    PolicyBroken = "alarm.policy_broken",
    /// An event came to light after its ticket had been given up.
    EventLate = "alarm.late_event",
    /// A store was found rolled back, and a new epoch of the log opened on it.
    StoreRolledBack = "alarm.store_rolled_back",
    /// A new root key was made next to the store.
    RootRecovered = "alarm.root_recovered",
    /// Calls without a valid credential came from somewhere; told once per source and minute.
    CredentialsRefused = "alarm.credentials_refused",
    /// So many of them that whoever sends them is told to wait; told once per source and minute.
    LockedOut = "alarm.locked_out",
    /// Somebody asked whether the webhook works.
    WebhookTested = "webhook.tested",
}

impl Type {
    /// The type under which an event is announced; none where it is not.
    ///
    /// Each action is named, so that whoever adds one decides.
    pub fn of(event: &Event) -> Option<Self> {
        let done = |kind: Self| (event.outcome == Outcome::Done).then_some(kind);
        match event.action {
            Action::KeyIssued => done(Self::KeyIssued),
            Action::KeyImported => done(Self::KeyImported),
            Action::ClaimTaken => done(Self::KeyClaimed),
            Action::ClaimReissued => done(Self::KeyClaimReissued),
            Action::KeyChanged => done(Self::KeyChanged),
            Action::KeyRotated | Action::KeyOffered => done(Self::KeyOffered),
            Action::KeyRenewed => done(Self::KeyRenewed),
            Action::RotationUnclaimed => done(Self::KeyUnclaimed),
            Action::RotationCancelled => done(Self::RotationCancelled),
            Action::RotationFinished => done(Self::RotationFinished),
            Action::VersionsKilled => done(Self::VersionsRevoked),
            Action::KeyExpiring => done(Self::KeyExpiring),
            Action::KeyIdle => done(Self::KeyIdle),
            Action::KeyExpired => done(Self::KeyExpired),
            Action::KeyRetired => done(Self::KeyRetired),
            Action::KeyRevoked | Action::KeyReported => done(Self::KeyRevoked),
            Action::KeyLeaked => done(Self::KeyLeaked),
            Action::ApplicationRevoked => done(Self::KeyRevoked),
            Action::ApplicationSuspended => done(Self::ApplicationSuspended),
            Action::ApplicationResumed => done(Self::ApplicationResumed),
            Action::CredentialWritten | Action::CredentialRolledBack | Action::CredentialPromoted => {
                done(Self::CredentialRotated)
            }
            Action::CredentialRotationDue => Some(Self::CredentialRotationDue),
            Action::CredentialRotationFailed => Some(Self::CredentialRotationFailed),
            Action::CredentialExpiring => done(Self::CredentialExpiring),
            Action::CredentialExpired => done(Self::CredentialExpired),
            Action::CredentialDestroyed | Action::CredentialRetired => done(Self::CredentialDestroyed),
            Action::IssuingFrozen => done(Self::IssuingFrozen),
            Action::IssuingThawed => done(Self::IssuingThawed),
            Action::ClaimReplayed => (event.outcome == Outcome::Alarm).then_some(Self::ClaimReplayed),
            Action::RenewalReplayed => (event.outcome == Outcome::Alarm).then_some(Self::RenewalReplayed),
            Action::PolicyBroken => Some(Self::PolicyBroken),
            Action::EventLate => Some(Self::EventLate),
            Action::EpochOpened => done(Self::StoreRolledBack),
            Action::RootRecovered => done(Self::RootRecovered),
            Action::AnonymousRefused => Some(Self::CredentialsRefused),
            Action::AnonymousLockedOut => Some(Self::LockedOut),
            // Sent when it is asked for, to the one webhook.
            Action::WebhookTested => None,
            // Of concern to those who administer, who have the log.
            Action::ApplicationCreated
            | Action::ApplicationChanged
            | Action::KeyLookedUp
            | Action::RoleCreated
            | Action::RoleChanged
            | Action::RoleRetired
            | Action::PolicyCreated
            | Action::PolicyChanged
            | Action::PolicyRetired
            | Action::WebhookCreated
            | Action::WebhookChanged
            | Action::WebhookSecretRotated
            | Action::WebhookRetired
            | Action::WebhookReplayed
            | Action::WebhookDropped
            | Action::CredentialCreated
            | Action::CredentialChanged
            | Action::CredentialProviderSet
            | Action::CredentialProviderRemoved
            | Action::CredentialRotationBegun
            | Action::CredentialProviderCalled
            | Action::CredentialRotationAdvanced
            | Action::CredentialRotationDelayed
            | Action::CredentialRotationFinished
            | Action::CredentialRotationCancelled
            | Action::CredentialRotationUndone
            | Action::CredentialRotationsRun
            // As many as services fetch what they need.
            | Action::CredentialRead
            | Action::KeyForgotten
            | Action::KeyStanding
            | Action::DuePassed
            | Action::AuditShredded
            | Action::RingResealed
            | Action::MaintenanceRun
            | Action::DeliveryRun
            | Action::SessionOpened
            | Action::SessionClosed
            | Action::Initialised => None,
            // In the log only where they were refused.
            Action::ApplicationRead
            | Action::KeyRead
            | Action::RoleRead
            | Action::PolicyRead
            | Action::WebhookRead
            | Action::CredentialListed
            | Action::AuditRead
            | Action::IssuingRead
            | Action::RingRead
            | Action::MetricsRead => None,
        }
    }
}

impl FromStr for Type {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(())
    }
}

impl Serialize for Type {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Type {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("expected a known type of announcement"))
    }
}

impl_schema!(
    Type,
    ObjectBuilder::new()
        .schema_type(SchemaType::String)
        .description(Some("What an announcement is about."))
        .enum_values(Some(Self::ALL.iter().map(|kind| kind.as_str())))
);

/// Which types a webhook tells of: all, or some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Whatever there is, and will be.
    All,
    /// These, each once.
    Some(Vec<Type>),
}

/// What stands for all types.
const ALL: &str = "*";

impl Filter {
    /// Parses the types of a request's `field`.
    ///
    /// # Errors
    /// One [`FieldError`] for each entry that is no type, or one where there is none.
    pub fn parse<S: AsRef<str>>(field: &str, texts: &[S]) -> Result<Self, Vec<FieldError>> {
        let (mut types, mut errors) = (Vec::new(), Vec::new());
        for (index, text) in texts.iter().enumerate().take(Type::ALL.len() + 1) {
            match text.as_ref().parse::<Type>() {
                Ok(kind) if types.contains(&kind) => {}
                Ok(kind) => types.push(kind),
                Err(()) if text.as_ref() == ALL => {}
                Err(()) => errors.push(FieldError::new(
                    format!("{field}[{index}]"),
                    "is no type of announcement",
                    "a type such as `key.revoked`, or `*` for all",
                )),
            }
        }
        if texts.is_empty() || texts.len() > Type::ALL.len() + 1 {
            let found = format!("has {} entries", texts.len());
            errors.push(FieldError::new(field, found, "each type once, or `*` for all"));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let is_all = texts.iter().any(|text| text.as_ref() == ALL);
        Ok(if is_all { Self::All } else { Self::Some(types) })
    }

    /// Whether it lets a type through.
    pub fn wants(&self, kind: Type) -> bool {
        match self {
            Self::All => true,
            Self::Some(types) => types.contains(&kind),
        }
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => [ALL].serialize(serializer),
            Self::Some(types) => types.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        Self::parse("events", &texts).map_err(|_| serde::de::Error::custom("expected types of announcements"))
    }
}

impl_schema!(
    Filter,
    ArrayBuilder::new()
        .items(
            ObjectBuilder::new()
                .schema_type(SchemaType::String)
                .enum_values(Some(std::iter::once(ALL).chain(Type::ALL.iter().map(|kind| kind.as_str())))),
        )
        .min_items(Some(1))
        .max_items(Some(Type::ALL.len() + 1))
        .description(Some("Which types are told of; `*` for all.")),
);

/// An announcement, in the shape of Standard Webhooks: the body of a delivery. It follows from the event alone, so that it is the same
/// at every attempt.
#[derive(Debug, Serialize)]
pub struct Announcement<'e> {
    #[serde(rename = "type")]
    kind: Type,
    timestamp: Timestamp,
    data: Data<'e>,
}

#[derive(Debug, Serialize)]
struct Data<'e> {
    event: EventId,
    action: Action,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<ApplicationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<RoleId>,
    actor: ActorKind,
    /// A code, where something was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'e str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    detail: &'e [String],
}

impl<'e> Announcement<'e> {
    /// What is said of an event, which is redacted: see [`Event::redacted`].
    pub fn new(kind: Type, redacted: &'e Event) -> Self {
        let Event { id, at, action, outcome, target, actor, reason, detail, .. } = redacted;
        let data = Data {
            event: *id,
            action: *action,
            outcome: *outcome,
            application: target.application,
            key: target.key,
            role: target.role,
            actor: actor.kind,
            reason: reason.as_deref(),
            detail,
        };
        Self { kind, timestamp: *at, data }
    }
}

/// The id of the message that announces an event: the same at every attempt and for every webhook, so that whoever listens can tell
/// what they have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageId(pub EventId);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "msg_{}_{}", self.0.epoch, self.0.seq)
    }
}

impl FromStr for MessageId {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let no = NotAnId { prefix: "msg_" };
        let place = text.strip_prefix("msg_").ok_or(no)?;
        format!("evt_{place}").parse().map(Self).map_err(|_| no)
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let message = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        message.parse().map_err(|_| serde::de::Error::custom("expected `msg_<epoch>_<number>`"))
    }
}

impl_schema!(
    MessageId,
    text("The id of a message: `webhook-id` at every attempt to deliver it.", "^msg_[0-9]+_[1-9][0-9]*$")
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{self, Actor, Source, Target};

    #[test]
    fn an_announcement_has_nothing_personal() {
        let event = Event { request: None, previous: None, writes: Vec::new(), ..event::tests::event() };
        let kind = Type::of(&event).expect("announced");
        let json = serde_json::to_string(&Announcement::new(kind, &event.redacted())).expect("JSON");
        let key = KeyId::from_bytes([1; 16]);
        assert_eq!(
            json,
            format!(
                "{{\"type\":\"key.revoked\",\"timestamp\":\"2026-11-24T10:11:35.042Z\",\"data\":{{\"event\":\"evt_1_42\",\
                 \"action\":\"key.revoke\",\"outcome\":\"done\",\"key\":\"{key}\",\"actor\":\"admin\",\"detail\":[\"name\"]}}}}"
            )
        );
        let refused = Event { outcome: Outcome::Refused, ..event };
        assert_eq!(Type::of(&refused), None);
        assert_eq!(MessageId(refused.id).to_string(), "msg_1_42");
        assert_eq!("msg_1_42".parse(), Ok(MessageId(refused.id)));
        assert!("msg_1_0".parse::<MessageId>().is_err() && "msg_01_42".parse::<MessageId>().is_err());
    }

    #[test]
    fn every_type_comes_back_from_its_name() {
        for kind in Type::ALL {
            assert_eq!(kind.as_str().parse::<Type>(), Ok(*kind));
        }
    }

    fn event(action: Action, outcome: Outcome) -> Event {
        Event {
            id: EventId { epoch: 1, seq: 42 },
            at: Timestamp::from_unix_ms(0),
            action,
            outcome,
            target: Target::default(),
            actor: Actor { kind: ActorKind::System, key: None, principal: None },
            source: Source::default(),
            request: None,
            reason: None,
            detail: Vec::new(),
            previous: None,
            writes: Vec::new(),
        }
    }

    #[test]
    fn only_what_was_done_is_announced_and_alarms() {
        let announced = |outcome| -> Vec<Type> {
            Action::ALL.iter().filter_map(|action| Type::of(&event(*action, outcome))).collect()
        };
        // Told whatever came of it: the news is that it happened.
        let always = [
            Type::PolicyBroken,
            Type::CredentialsRefused,
            Type::LockedOut,
            Type::EventLate,
            Type::CredentialRotationFailed,
            Type::CredentialRotationDue,
        ];
        assert_eq!(announced(Outcome::Refused), always);
        let replays = [Type::RenewalReplayed, Type::PolicyBroken, Type::ClaimReplayed];
        assert_eq!(announced(Outcome::Alarm), [&replays[..], &always[1..]].concat());
        let mut done = announced(Outcome::Done);
        done.sort_unstable();
        done.dedup();
        let never = [Type::RenewalReplayed, Type::ClaimReplayed, Type::WebhookTested];
        let all: Vec<Type> = Type::ALL.iter().copied().filter(|kind| !never.contains(kind)).collect();
        assert_eq!(done, all);
    }

    #[test]
    fn a_filter_names_each_type_once_or_all() {
        let parse = |texts: &[&str]| Filter::parse("events", texts);
        let some = parse(&["key.issued", "key.revoked", "key.issued"]).expect("types");
        assert_eq!(some, Filter::Some(vec![Type::KeyIssued, Type::KeyRevoked]));
        assert!(some.wants(Type::KeyIssued) && !some.wants(Type::KeyChanged));
        assert_eq!(parse(&["key.issued", "*"]), Ok(Filter::All));
        assert!(Filter::All.wants(Type::KeyChanged));
        let fields = |texts: &[&str]| -> Vec<String> {
            parse(texts)
                .map_or_else(|errors| errors.into_iter().map(|error| error.field).collect(), |_| Vec::new())
        };
        assert_eq!(fields(&["key.issued", "key.x", "**"]), ["events[1]", "events[2]"]);
        assert_eq!(fields(&[]), ["events"]);
        let most = vec!["*"; Type::ALL.len() + 1];
        assert_eq!(parse(&most), Ok(Filter::All), "each type and `*`");
        assert_eq!(fields(&[&most[..], &["*"]].concat()), ["events"]);
        for filter in [some, Filter::All] {
            let json = serde_json::to_string(&filter).expect("JSON");
            assert_eq!(serde_json::from_str::<Filter>(&json).expect("its own text"), filter);
        }
    }
}
