//! The flag of a key, `k:{id}`: one plain byte at birth, later only ever a tombstone. Absent means denied.

use crate::record::{Record, RecordError};
use keyward_crypto::Sealer;
use keyward_domain::event::{Actor, EventId};
use keyward_domain::timestamp::millis;
use keyward_domain::{KeyId, Timestamp};
use serde::{Deserialize, Serialize};

/// The whole value of a live key's flag.
pub const LIVE: &[u8] = b"l";
/// What a tombstone's value starts with; the sealed [`Tombstone`] follows.
const DEAD: u8 = b'x';

/// What the flag says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flag<'a> {
    /// The key is alive, as far as the flag goes.
    Live,
    /// There was never such a key, or its birth was not written.
    Absent,
    /// Revoked; the value of the tombstone.
    Dead(&'a [u8]),
}

impl<'a> Flag<'a> {
    /// Reads the value of `k:{id}`. Whatever is neither absent nor exactly [`LIVE`] is dead.
    pub fn of(value: Option<&'a [u8]>) -> Self {
        match value {
            None => Self::Absent,
            Some(LIVE) => Self::Live,
            Some(other) => Self::Dead(other),
        }
    }
}

/// Who revoked a key, when and why.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Which key.
    pub key: KeyId,
    /// When.
    #[serde(with = "millis")]
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
    /// Why.
    pub reason: String,
    /// The event that says so.
    pub event: EventId,
}

impl Record for Tombstone {
    const DOMAIN: keyward_crypto::Domain = keyward_crypto::Domain::Tombstone;
    fn store_key(&self) -> String {
        crate::names::flag(self.key)
    }
}

impl Tombstone {
    /// Opens the value of a dead flag.
    ///
    /// # Errors
    /// [`RecordError`] where it does not open; the key is dead all the same.
    pub fn open(sealer: &Sealer, key: KeyId, value: &[u8]) -> Result<Self, RecordError> {
        match value.split_first() {
            Some((&DEAD, sealed)) => crate::record::open(sealer, &crate::names::flag(key), sealed),
            _ => Err(RecordError::Damaged),
        }
    }
}

/// The value that turns a flag dead, around the sealed tombstone.
pub fn tombstone_value(sealed: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + sealed.len());
    value.push(DEAD);
    value.extend_from_slice(sealed);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_value_is_alive() {
        assert!(matches!(Flag::of(Some(b"l")), Flag::Live));
        assert!(matches!(Flag::of(None), Flag::Absent));
        for dead in [&b""[..], b"L", b"ll", b"l\0", b"x", b"live"] {
            assert!(matches!(Flag::of(Some(dead)), Flag::Dead(_)));
        }
    }
}
