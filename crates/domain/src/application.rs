//! An application: the partner, service or channel that keys belong to. Two records: what validation must know, and the rest.

use crate::event::EventId;
use crate::id::{ApplicationId, CredentialId, PolicyId, RoleId};
use crate::limit::Limit;
use crate::routing::Route;
use crate::timestamp::{Timestamp, millis};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The name of the built-in application.
pub const KEYWARD_NAME: &str = "keyward";

/// Whether an application's keys work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ApplicationStatus)]
pub enum Status {
    /// They do.
    Active,
    /// None does, until it is active again.
    Suspended,
}

/// How much hangs on an application's keys: what went wrong about them is listed by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ApplicationImportance)]
pub enum Importance {
    /// Nobody would be called out of bed for it.
    Low,
    /// Somebody waits for it.
    #[default]
    Normal,
    /// Business stops without it.
    High,
    /// Everything stops without it.
    Critical,
}

impl Importance {
    /// The level of this name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "low" => Some(Self::Low),
            "normal" => Some(Self::Normal),
            "high" => Some(Self::High),
            "critical" => Some(Self::Critical),
            _ => None,
        }
    }
}

/// What validation must know: the record `a:{app}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Its id.
    pub id: ApplicationId,
    /// Whether its keys work.
    pub status: Status,
    /// The first generation of keys that may still be alive: new keys are issued in it or in the next that is not killed.
    pub generation: u32,
    /// Counts the writes of this record and of its [`Details`], which are written together: 1 at birth.
    pub revision: u64,
    /// The event that wrote this record.
    pub event: EventId,
    /// How much all of its keys together may use in a window of time.
    pub limits: Vec<Limit>,
}

/// The rest of an application: the record `d:{app}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// Its id.
    pub id: ApplicationId,
    /// What people call it; unique among applications.
    pub name: String,
    /// What its tokens start with.
    pub prefix: String,
    /// Whom to reach about its keys.
    #[serde(default)]
    pub contacts: Vec<String>,
    /// How much hangs on its keys.
    #[serde(default)]
    pub importance: Importance,
    /// When it was created.
    #[serde(with = "millis")]
    pub created_at: Timestamp,
    /// The policy of its keys that were given none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyId>,
    /// Which of its keys serves which slot, by the slots' names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// The same number as in the [`Application`] of the same write.
    pub revision: u64,
}

/// What has a name that nothing else of its kind may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameHolder {
    /// An application.
    Application(ApplicationId),
    /// A role.
    Role(RoleId),
    /// A policy.
    Policy(PolicyId),
    /// A credential of this application.
    Credential(ApplicationId, CredentialId),
}

/// Who holds a name: the record `n:{digest of kind and name}`. A name given up stays as a record without a holder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NameOwner {
    #[serde(default)]
    application: Option<ApplicationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<RoleId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<PolicyId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credential: Option<(ApplicationId, CredentialId)>,
    /// Counts the writes of this record.
    pub revision: u64,
}

impl NameOwner {
    /// Who holds it.
    pub fn holder(&self) -> Option<NameHolder> {
        self.application
            .map(NameHolder::Application)
            .or(self.role.map(NameHolder::Role))
            .or(self.policy.map(NameHolder::Policy))
            .or(self.credential.map(|(application, id)| NameHolder::Credential(application, id)))
    }

    /// The name changes hands, or nobody has it any more.
    pub const fn give(&mut self, holder: Option<NameHolder>) {
        (self.application, self.role, self.policy, self.credential) = (None, None, None, None);
        match holder {
            None => {}
            Some(NameHolder::Application(id)) => self.application = Some(id),
            Some(NameHolder::Role(id)) => self.role = Some(id),
            Some(NameHolder::Policy(id)) => self.policy = Some(id),
            Some(NameHolder::Credential(application, id)) => self.credential = Some((application, id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn importance_is_parsed_as_it_is_shown() {
        let levels = [Importance::Low, Importance::Normal, Importance::High, Importance::Critical];
        for level in levels {
            let shown = serde_json::to_value(level).expect("a word");
            assert_eq!(shown.as_str().and_then(Importance::parse), Some(level));
        }
        assert!(levels.is_sorted(), "more hangs on what comes later");
        assert_eq!((Importance::parse(""), Importance::default()), (None, Importance::Normal));
    }

    #[test]
    fn a_name_has_one_holder_at_a_time() {
        let mut owner = NameOwner::default();
        assert_eq!(owner.holder(), None);
        for holder in [
            Some(NameHolder::Application(ApplicationId::from_bytes([1; 16]))),
            Some(NameHolder::Role(RoleId::from_bytes([1; 16]))),
            Some(NameHolder::Policy(PolicyId::from_bytes([1; 16]))),
            Some(NameHolder::Application(ApplicationId::from_bytes([2; 16]))),
            None,
        ] {
            owner.give(holder);
            assert_eq!(owner.holder(), holder);
        }
    }
}
