//! A role: a named bundle of scopes of administration that keys of the built-in application hold by reference, the record `r:{id}`.

use crate::event::EventId;
use crate::id::RoleId;
use crate::scope::ScopeSet;
use crate::timestamp::{Timestamp, millis};
use serde::{Deserialize, Serialize};

/// The most roles of one key. Each is one read when the key administers.
pub const ROLES_MAX: usize = 16;

/// All of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its id.
    pub id: RoleId,
    /// What people call it; unique among roles that are not retired.
    pub name: String,
    /// What it is for, in words; may be empty.
    pub description: String,
    /// What whoever holds it may do. Changes for all its holders at once.
    pub scopes: ScopeSet,
    /// When it was created.
    #[serde(with = "millis")]
    pub created_at: Timestamp,
    /// When it was given up: from then on it allows nothing, for good.
    #[serde(default, with = "millis::option")]
    pub retired_at: Option<Timestamp>,
    /// Counts the writes of this record: 1 at birth.
    pub revision: u64,
    /// The event that wrote this record.
    pub event: EventId,
}

impl Role {
    /// What it allows: nothing once it is retired.
    pub fn allowed(&self) -> ScopeSet {
        if self.retired_at.is_some() { ScopeSet::default() } else { self.scopes.clone() }
    }
}
