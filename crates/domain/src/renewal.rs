//! A renewal token's right: to have the next version of a key minted, once, without an admin. The record `z:{id}`; the token
//! itself lies nowhere.

use crate::event::Event;
use crate::id::{ApplicationId, KeyId, RenewalId};
use serde::{Deserialize, Serialize};

/// How long the answer to a renewal may be had again with the same Idempotency-Key, in seconds: a day, so that a client that died
/// behind its request comes through.
pub const RENEWAL_REPLAY_S: i64 = 24 * 3600;

/// What is stored of it, and never changed. Whether it still holds stands in the key's record.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// Its id: the first 16 bytes of the digest of its token.
    pub id: RenewalId,
    /// The whole SHA-256 of the token, in lowercase hex.
    pub token_digest: String,
    /// The key that it renews.
    pub key: KeyId,
    /// Whose key that is.
    pub application: ApplicationId,
    /// The version that it was handed out with.
    pub version: u16,
}

/// How an event's detail says which renewal token it withdrew.
const WITHDRAWN: &str = "withdrew the renewal token of version ";

/// What the detail of an event says of a renewal token that holds no longer, by the version that it came with.
pub fn renewal_withdrawn(version: u16) -> String {
    format!("{WITHDRAWN}{version}")
}

impl Event {
    /// The version whose renewal token it withdrew, while the version itself goes on.
    pub fn renewal_withdrawn(&self) -> Option<u16> {
        self.detail.iter().find_map(|fact| fact.strip_prefix(WITHDRAWN))?.parse().ok()
    }
}
