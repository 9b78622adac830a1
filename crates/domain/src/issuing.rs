//! Whether keys are issued at all: the one switch that an emergency throws.

use crate::event::{Actor, EventId};
use crate::timestamp::{Timestamp, millis};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether keys are issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = IssuingState)]
pub enum State {
    /// Keys are issued and claims taken.
    Open,
    /// Nobody issues a key or takes a claim, whatever they hold.
    Frozen,
}

/// The record `o:issuing`. Where there is none, issuing is open and always was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuing {
    /// How it stands.
    pub state: State,
    /// Since when.
    #[serde(with = "millis")]
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
    /// Why.
    pub reason: String,
    /// The event that says so.
    pub event: EventId,
    /// Counts the writes of this record.
    pub revision: u64,
}
