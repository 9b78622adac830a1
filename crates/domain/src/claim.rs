//! A claim: the right to have one version of a key minted, once. The record `q:{id}`; no secret lies in it.

use crate::event::Event;
use crate::id::{ApplicationId, ClaimId, KeyId};
use crate::timestamp::{Timestamp, millis};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How long a claim may be taken, in seconds: a quarter of an hour.
pub const CLAIM_LIFETIME_S: i64 = 900;
/// How long the answer to a claim may be had again with the same Idempotency-Key, in seconds.
pub const CLAIM_REPLAY_S: i64 = 60;

/// Where a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ClaimState)]
pub enum State {
    /// It may be taken.
    Open,
    /// It was taken.
    Taken,
    /// Its deadline passed.
    Expired,
    /// Another claim took its place, or its key is no more.
    Void,
}

/// What is stored of a claim; whether it was taken stands in the key's record.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Its id: the first 16 bytes of the digest of its ticket.
    pub id: ClaimId,
    /// The whole SHA-256 of the ticket, in lowercase hex.
    pub ticket_digest: String,
    /// The key whose version it mints.
    pub key: KeyId,
    /// Whose key that is.
    pub application: ApplicationId,
    /// The version that it mints.
    pub version: u16,
    /// Until when.
    #[serde(with = "millis")]
    pub expires_at: Timestamp,
}

/// How an event's detail says which claim it withdrew.
const WITHDRAWN: &str = "withdrew the claim ";

/// What the detail of an event says of a claim that nobody can take any more.
pub fn claim_withdrawn(claim: ClaimId) -> String {
    format!("{WITHDRAWN}{claim}")
}

impl Event {
    /// The claim that it withdrew.
    pub fn claim_withdrawn(&self) -> Option<ClaimId> {
        self.detail.iter().find_map(|fact| fact.strip_prefix(WITHDRAWN))?.parse().ok()
    }
}
