//! An application: the partner, service or channel that keys belong to. Two records: what validation must know, and the rest.

use crate::event::EventId;
use crate::id::ApplicationId;
use crate::timestamp::{Timestamp, millis};
use serde::{Deserialize, Serialize};

/// The name of the built-in application.
pub const KEYWARD_NAME: &str = "keyward";

/// Whether an application's keys work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// They do.
    Active,
    /// None does, until it is active again.
    Suspended,
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
    /// When it was created.
    #[serde(with = "millis")]
    pub created_at: Timestamp,
    /// The same number as in the [`Application`] of the same write.
    pub revision: u64,
}

/// Who holds a name: the record `n:{digest of the name}`. A name given up stays as a record without an owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameOwner {
    /// Whose it is.
    pub application: Option<ApplicationId>,
    /// Counts the writes of this record.
    pub revision: u64,
}
