//! Use of keys, as validators keep it: batches in the order of their tickets, each what one instance counted in a short while; and which
//! counters of limits are of no use any more once an hour is over.
//!
//! INVARIANT: a [`SealedUsage`] lies under `u:` and nowhere else, so whoever can only keep use cannot write a record of state.

use crate::names;
use crate::record::{Codec, Record, seal};
use keyward_crypto::{Domain, SealError, Sealer};
use keyward_domain::distinct::Distinct;
use keyward_domain::refusal::RefusalCode;
use keyward_domain::usage::{Durations, Outcomes};
use keyward_domain::{ApplicationId, KeyId};
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
    /// Requests by what they came to.
    pub outcomes: Outcomes,
    /// From how many addresses they came; which those were is not in it.
    pub addresses: Distinct,
}

/// Requests with a right secret that were refused, alike in all but their number: those of a minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRefusal {
    /// Minutes since 1970.
    pub minute: i64,
    /// Whose key.
    pub application: ApplicationId,
    /// Which key.
    pub key: KeyId,
    /// Which of its versions.
    pub version: u16,
    /// Why.
    pub code: RefusalCode,
    /// The first scope that was asked for and that the key lacks.
    pub missing_scope: Option<String>,
    /// How many.
    pub count: u64,
}

impl UsageRefusal {
    /// Whether it is of the same minute, key and cause as another.
    pub fn is_like(&self, other: &Self) -> bool {
        self.minute == other.minute
            && self.key == other.key
            && self.version == other.version
            && self.code == other.code
            && self.missing_scope == other.missing_scope
    }
}

/// What one instance counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageBatch {
    /// Its ticket. One without a batch is use that was lost.
    pub ticket: u64,
    /// The counts, one for each key, version and hour.
    pub counts: Vec<UsageCount>,
    /// Refusals one by one, as far as there was room: what people look at while something goes wrong.
    pub refusals: Vec<UsageRefusal>,
    /// How long the store took for the reads of each request.
    pub reads: Durations,
}

impl Record for UsageBatch {
    const DOMAIN: Domain = Domain::Usage;
    const CODEC: Codec = Codec::Binary;
    // Nobody reads batches of another schema: one that was kept before an update is use that was lost.
    const SCHEMA: u8 = 2;
    fn store_key(&self) -> String {
        names::usage::batch(self.ticket)
    }
}

/// Counters of limits whose windows end in an hour, as one instance saw them come to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedLimits {
    /// Hours since 1970.
    pub hour: i64,
    /// Its ticket among those of the hour.
    pub ticket: u64,
    /// The counters' store keys.
    pub counters: Vec<String>,
}

impl Record for EndedLimits {
    const DOMAIN: Domain = Domain::Usage;
    const CODEC: Codec = Codec::Binary;
    fn store_key(&self) -> String {
        names::usage::ended_limit(self.hour, self.ticket)
    }
}

/// What validators keep, ready to be kept.
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

    /// Seals counters that end; `nonce` is fresh.
    ///
    /// # Errors
    /// [`SealError`] where they are too many.
    pub fn ended(sealer: &Sealer, limits: &EndedLimits, nonce: [u8; 12]) -> Result<Self, SealError> {
        Ok(Self { store_key: limits.store_key(), value: seal(sealer, limits, nonce)? })
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
