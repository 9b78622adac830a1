//! What is known of a key's use, folded out of the batches that validators keep; and how far the folding is. Projections: thrown away,
//! they begin anew with the batches that are still there.

use crate::names;
use crate::record::Record;
use keyward_crypto::Domain;
use keyward_domain::timestamp::millis;
use keyward_domain::{KeyId, Timestamp};
use serde::{Deserialize, Serialize};

/// The use of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// Which key.
    pub key: KeyId,
    /// Each of its versions that was used.
    pub versions: Vec<VersionUse>,
    /// The last batch that is in it: a batch counts once.
    pub through: u64,
}

/// The use of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionUse {
    /// Which version.
    pub version: u16,
    /// The last hour that it was used in, as hours since 1970.
    pub hour: i64,
    /// Requests that passed.
    pub accepted: u64,
    /// Requests with the right secret that were refused.
    pub refused: u64,
}

impl KeyUse {
    /// When a version was used last, to the hour: the hour's beginning.
    pub fn last_used_at(&self, version: u16) -> Option<Timestamp> {
        let found = self.versions.iter().find(|used| used.version == version)?;
        Some(Timestamp::from_unix_ms(0).plus_s(found.hour.saturating_mul(3600)))
    }

    /// When any version was used last, to the hour.
    pub fn last_used(&self) -> Option<Timestamp> {
        self.versions.iter().filter_map(|used| self.last_used_at(used.version)).max()
    }
}

impl Record for KeyUse {
    const DOMAIN: Domain = Domain::Projection;
    fn store_key(&self) -> String {
        names::key_use(self.key)
    }
}

/// How far the folding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Folding {
    /// The last ticket that was folded or given up.
    pub through: u64,
    /// Since when the next one is missing.
    #[serde(default, with = "millis::option")]
    pub missing_since: Option<Timestamp>,
}

impl Record for Folding {
    const DOMAIN: Domain = Domain::Projection;
    fn store_key(&self) -> String {
        names::FOLDING.to_owned()
    }
}
