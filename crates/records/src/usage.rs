//! Use of keys, as validators keep it: batches in the order of their tickets, each what one instance counted in a short while.
//!
//! INVARIANT: a [`SealedUsage`] lies under `u:` and nowhere else, so whoever can only keep use cannot write a record of state.

use crate::names;
use crate::record::{Codec, Record, seal};
use keyward_crypto::{Domain, SealError, Sealer};
use keyward_domain::KeyId;
use serde::{Deserialize, Serialize};

/// How often one version of a key was used in one hour, as far as one batch knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageCount {
    /// Which key.
    pub key: KeyId,
    /// Which of its versions.
    pub version: u16,
    /// Hours since 1970.
    pub hour: i64,
    /// Requests that passed.
    pub accepted: u32,
    /// Requests with the right secret that were refused.
    pub refused: u32,
}

/// What one instance counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageBatch {
    /// Its ticket. One without a batch is use that was lost.
    pub ticket: u64,
    /// The counts, one for each key, version and hour.
    pub counts: Vec<UsageCount>,
}

impl Record for UsageBatch {
    const DOMAIN: Domain = Domain::Usage;
    const CODEC: Codec = Codec::Binary;
    fn store_key(&self) -> String {
        names::usage::batch(self.ticket)
    }
}

/// A batch ready to be kept.
pub struct SealedUsage {
    store_key: String,
    value: Vec<u8>,
}

impl SealedUsage {
    /// Seals a batch; `nonce` is fresh.
    ///
    /// # Errors
    /// [`SealError`] where it is too large.
    pub fn new(sealer: &Sealer, batch: &UsageBatch, nonce: [u8; 12]) -> Result<Self, SealError> {
        Ok(Self { store_key: batch.store_key(), value: seal(sealer, batch, nonce)? })
    }

    /// Where it goes.
    pub fn store_key(&self) -> &str {
        &self.store_key
    }

    /// What goes there.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}
