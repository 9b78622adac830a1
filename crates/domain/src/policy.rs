//! A policy: how often keys rotate, how long versions overlap, and what becomes of a key that does not keep to it.

use crate::event::EventId;
use crate::id::PolicyId;
use crate::key::Key;
use crate::rotation::GRACE_S_MAX;
use crate::timestamp::{Timestamp, millis};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The shortest time between two rotations, in seconds: five minutes.
pub const ROTATE_EVERY_S_MIN: u32 = 5 * 60;

const DAY_S: u32 = 24 * 3600;

/// What becomes of a key whose renewal token was used twice, beside the alarm: somebody else has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnRenewalReuse {
    /// No renewal token of it works any more; its versions go on until an admin decides.
    #[default]
    Stop,
    /// The same, and every version dies at once, as in an incident.
    Incident,
}

/// What becomes of a key that breaks its policy, beside the warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnBreach {
    /// Nothing more.
    #[default]
    Warn,
    /// Its life ends.
    Retire,
}

/// The terms of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How long after a version was claimed its successor is offered, in seconds; never where it is absent.
    pub rotate_every_s: Option<u32>,
    /// How long a version goes on after its successor was claimed, in seconds.
    pub grace_s: u32,
    /// The longest life of a key, in seconds; without bound where it is absent.
    pub lifetime_s_max: Option<u32>,
    /// How long a key may go unused before that is told, in seconds; never told where it is absent.
    pub idle_after_s: Option<u32>,
    /// Whether whoever claims a version is given a renewal token with it.
    pub self_renewal: bool,
    /// What a renewal token does that is used twice.
    pub on_renewal_reuse: OnRenewalReuse,
    /// What becomes of a key that breaks its policy.
    pub on_breach: OnBreach,
}

impl Terms {
    /// What holds where nobody chose a policy: DESIGN's 90 days and 7 days.
    pub const DEFAULT: Self = Self {
        rotate_every_s: Some(90 * DAY_S),
        grace_s: 7 * DAY_S,
        lifetime_s_max: None,
        idle_after_s: None,
        self_renewal: true,
        on_renewal_reuse: OnRenewalReuse::Stop,
        on_breach: OnBreach::Warn,
    };

    /// When the successor of a key's newest version is due; `None` where it never is, or nothing was claimed yet.
    pub fn due_at(&self, key: &Key) -> Option<Timestamp> {
        let every_s = self.rotate_every_s?;
        Some(key.newest()?.claimed_at.plus_s(i64::from(every_s)))
    }
}

/// A policy with a name: the record `g:{id}`. One that was retired is given to nobody any more; whoever has it keeps its terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its id.
    pub id: PolicyId,
    /// What people call it; unique among policies that are not retired.
    pub name: String,
    /// What it is for, in words; may be empty.
    pub description: String,
    /// What it says.
    pub terms: Terms,
    /// When it was created.
    #[serde(with = "millis")]
    pub created_at: Timestamp,
    /// When it was given up.
    #[serde(default, with = "millis::option")]
    pub retired_at: Option<Timestamp>,
    /// Counts the writes of this record: 1 at birth.
    pub revision: u64,
    /// The event that wrote this record.
    pub event: EventId,
}

const _: () = assert!(Terms::DEFAULT.grace_s <= GRACE_S_MAX);
