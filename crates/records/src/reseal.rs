//! How far re-sealing is: a pass over what is sealed under the ring of records, and what the last whole one counted.
//!
//! It is a projection: thrown away, the next pass begins anew.

use crate::names;
use crate::record::Record;
use keyward_crypto::Domain;
use keyward_domain::Timestamp;
use keyward_domain::event::{Action, EventId};
use keyward_domain::timestamp::millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far re-sealing is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resealing {
    /// The pass that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<Pass>,
    /// The last that came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<WholePass>,
}

/// A pass under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// The version that it seals under.
    pub active: u32,
    /// When it began.
    #[serde(with = "millis")]
    pub begun_at: Timestamp,
    /// The last ticket taken by then: once the lists are that far, they lead to whatever was there when it began.
    pub through: EventId,
    /// Where it stands.
    pub place: Place,
    /// What it found so far.
    pub counts: Counts,
}

/// A pass that came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholePass {
    /// The version that it sealed under.
    pub active: u32,
    /// When it began.
    #[serde(with = "millis")]
    pub begun_at: Timestamp,
    /// When it came to its end.
    #[serde(with = "millis")]
    pub ended_at: Timestamp,
    /// What it found.
    pub counts: Counts,
}

/// What a pass found, as it found it: before it sealed anything anew.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Records under each version of the ring.
    pub records: BTreeMap<u32, u64>,
    /// Tombstones under each version. They are never sealed anew, and no validation opens one.
    pub tombstones: BTreeMap<u32, u64>,
    /// Living keys with a secret under each pepper.
    pub peppers: BTreeMap<u32, u64>,
    /// Records that do not open: damage, which `audit verify` names.
    pub damaged: u64,
    /// Records that the pass sealed anew.
    pub resealed: u64,
}

impl Counts {
    /// Records under another version than this.
    pub fn beside(&self, active: u32) -> u64 {
        self.records.iter().filter(|(version, _)| **version != active).map(|(_, count)| count).sum()
    }

    /// All records.
    pub fn total(&self) -> u64 {
        self.records.values().sum()
    }
}

/// Where a pass goes on. It follows lists, which only ever grow at their end, so a place in one stays what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// At the switches.
    Switches,
    /// At a role, by its place in the list of roles.
    Roles {
        /// Its place, from 0.
        at: u64,
    },
    /// At a webhook, by its place in the list of webhooks.
    Webhooks {
        /// Its place, from 0.
        at: u64,
    },
    /// At a policy, by its place in the list of policies.
    Policies {
        /// Its place, from 0.
        at: u64,
    },
    /// At a credential, by its place in the list of credentials.
    Credentials {
        /// Its place, from 0.
        at: u64,
    },
    /// At an application or one of its keys.
    Applications {
        /// The application's place in the list of applications, from 0.
        at: u64,
        /// The key's place in the list of its keys, from 0; the application itself comes before its first key.
        key: u64,
    },
    /// At the names that an event wrote: those given up lie where no holder leads.
    Names {
        /// The list: events of this action.
        of: Action,
        /// The event's place in it, from 0.
        at: u64,
    },
}

impl Record for Resealing {
    const DOMAIN: Domain = Domain::Projection;
    fn store_key(&self) -> String {
        names::RESEALING.to_owned()
    }
}
