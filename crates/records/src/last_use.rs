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

    /// How many requests passed in a day, on average over the life of a key that was created then; none where it was not used for a
    /// week.
    pub fn requests_per_day(&self, created_at: Timestamp, now: Timestamp) -> u64 {
        const DAY_S: i64 = 24 * 3600;
        if self.last_used().is_none_or(|at| at.plus_s(7 * DAY_S) < now) {
            return 0;
        }
        let days = now.unix_s().saturating_sub(created_at.unix_s()) / DAY_S;
        let passed = self.versions.iter().fold(0_u64, |sum, used| sum.saturating_add(used.accepted));
        passed / u64::try_from(days).unwrap_or(0).max(1)
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
