//! What is known of a key's use, folded out of the batches that validators keep; and how far the folding is. Projections: thrown away,
//! they begin anew with the batches that are still there.

use crate::names;
use crate::record::{Codec, Record};
use crate::usage::{UsageCount, UsageRefusal};
use keyward_crypto::Domain;
use keyward_domain::distinct::Distinct;
use keyward_domain::timestamp::millis;
use keyward_domain::usage::{Durations, Outcomes};
use keyward_domain::{ApplicationId, KeyId, Timestamp};
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

/// How finely use is kept over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Resolution {
    /// By the hour, for a week.
    Hour,
    /// By the day, for ninety days.
    Day,
}

impl Resolution {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Hour, Self::Day];

    /// How long a bucket is, in seconds.
    pub const fn bucket_s(self) -> i64 {
        match self {
            Self::Hour => 3600,
            Self::Day => 24 * 3600,
        }
    }

    /// How many buckets are kept at least, the one that has begun included.
    pub const fn kept(self) -> i64 {
        match self {
            Self::Hour => 7 * 24,
            Self::Day => 90,
        }
    }

    /// Buckets in one record: what is written anew whenever a key was used.
    const fn per_block(self) -> i64 {
        match self {
            Self::Hour => 24,
            Self::Day => 32,
        }
    }

    /// The records that a key has: one more than [`Self::kept`] needs, since the newest has only begun.
    const fn blocks(self) -> i64 {
        match self {
            Self::Hour => 8,
            Self::Day => 4,
        }
    }

    const fn letter(self) -> char {
        match self {
            Self::Hour => 'h',
            Self::Day => 'd',
        }
    }

    /// The number of the bucket that a moment lies in, counted from 1970.
    pub const fn bucket_of(self, at: Timestamp) -> i64 {
        at.unix_s().div_euclid(self.bucket_s())
    }

    /// The bucket of an hour counted from 1970.
    pub const fn bucket_of_hour(self, hour: i64) -> i64 {
        match self {
            Self::Hour => hour,
            Self::Day => hour.div_euclid(24),
        }
    }

    /// When a bucket begins.
    pub const fn begins(self, bucket: i64) -> Timestamp {
        Timestamp::from_unix_ms(0).plus_s(bucket.saturating_mul(self.bucket_s()))
    }

    /// The block that a bucket lies in.
    pub const fn block_of(self, bucket: i64) -> i64 {
        bucket.div_euclid(self.per_block())
    }

    /// The name of the record of a block. A few take turns, so a key's use never takes more room than theirs.
    pub fn store_key(self, key: KeyId, block: i64) -> String {
        names::use_buckets(key, self.letter(), block.rem_euclid(self.blocks()))
    }
}

/// The use of one key over a while, bucket by bucket: 24 hours, or 32 days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseBlock {
    /// Which key.
    pub key: KeyId,
    /// How long its buckets are.
    pub resolution: Resolution,
    /// Which block, counted from 1970.
    pub block: i64,
    /// The last batch that is in it: a batch counts once.
    pub through: u64,
    /// Those in which the key was used, in order.
    pub buckets: Vec<UseBucket>,
}

/// The use of one key in an hour or a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseBucket {
    /// Which hour or day, counted from 1970.
    pub bucket: i64,
    /// Requests by version, in order, and by what they came to.
    pub versions: Vec<(u16, Outcomes)>,
    /// From how many addresses they came.
    pub addresses: Distinct,
}

impl UseBucket {
    /// One in which nothing was used.
    pub fn empty(bucket: i64) -> Self {
        Self { bucket, versions: Vec::new(), addresses: Distinct::default() }
    }

    /// The counts of a version as well.
    pub fn add(&mut self, version: u16, outcomes: &Outcomes) {
        let place = match self.versions.binary_search_by_key(&version, |(version, _)| *version) {
            Ok(place) => place,
            Err(place) => {
                self.versions.insert(place, (version, Outcomes::default()));
                place
            }
        };
        if let Some((_, known)) = self.versions.get_mut(place) {
            known.merge(outcomes);
        }
    }

    /// All of another's as well.
    pub fn merge(&mut self, other: &Self) {
        for (version, outcomes) in &other.versions {
            self.add(*version, outcomes);
        }
        self.addresses.merge(&other.addresses);
    }

    /// Requests of all versions.
    pub fn outcomes(&self) -> Outcomes {
        let mut all = Outcomes::default();
        self.versions.iter().for_each(|(_, outcomes)| all.merge(outcomes));
        all
    }
}

impl UseBlock {
    /// A block without use.
    pub const fn empty(key: KeyId, resolution: Resolution, block: i64) -> Self {
        Self { key, resolution, block, through: 0, buckets: Vec::new() }
    }

    /// The counts of a batch with this ticket as well, unless they are in it already.
    pub fn add(&mut self, ticket: u64, count: &UsageCount) {
        let bucket = self.resolution.bucket_of_hour(count.hour);
        let place = match self.buckets.binary_search_by_key(&bucket, |known| known.bucket) {
            Ok(place) => place,
            Err(place) => {
                self.buckets.insert(place, UseBucket::empty(bucket));
                place
            }
        };
        if let Some(known) = self.buckets.get_mut(place) {
            known.add(count.version, &count.outcomes);
            known.addresses.merge(&count.addresses);
        }
        self.through = self.through.max(ticket);
    }
}

impl Record for UseBlock {
    const DOMAIN: Domain = Domain::Projection;
    const CODEC: Codec = Codec::Binary;
    fn store_key(&self) -> String {
        self.resolution.store_key(self.key, self.block)
    }
}

/// The requests to all keys of an application, or to all keys, over a day, hour by hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// To the keys of which application; to all where there is none.
    pub application: Option<ApplicationId>,
    /// Which day, counted from 1970.
    pub day: i64,
    /// The last batch that is in it: a batch counts once.
    pub through: u64,
    /// The hours, counted from 1970, in which there were any, in order, and what they came to.
    pub hours: Vec<(i64, Outcomes)>,
}

impl Requests {
    /// A day without any.
    pub const fn empty(application: Option<ApplicationId>, day: i64) -> Self {
        Self { application, day, through: 0, hours: Vec::new() }
    }

    /// The day that an hour lies in.
    pub const fn day_of(hour: i64) -> i64 {
        Resolution::Hour.block_of(hour)
    }

    /// The name of a day's record. As many take turns as those of a key's hours, so a week of hours is kept and no more.
    pub fn store_key_of(application: Option<ApplicationId>, day: i64) -> String {
        names::requests(application, day.rem_euclid(Resolution::Hour.blocks()))
    }

    /// Those of batches that are not in it as well, each with its ticket.
    pub fn add<'c>(&mut self, counts: impl Iterator<Item = (u64, &'c UsageCount)>) {
        let before = self.through;
        for (ticket, count) in counts.filter(|(ticket, _)| *ticket > before) {
            self.through = self.through.max(ticket);
            match self.hours.binary_search_by_key(&count.hour, |(hour, _)| *hour) {
                Ok(place) => {
                    if let Some((_, known)) = self.hours.get_mut(place) {
                        known.merge(&count.outcomes);
                    }
                }
                Err(place) => self.hours.insert(place, (count.hour, count.outcomes)),
            }
        }
    }
}

impl Record for Requests {
    const DOMAIN: Domain = Domain::Projection;
    const CODEC: Codec = Codec::Binary;
    fn store_key(&self) -> String {
        Self::store_key_of(self.application, self.day)
    }
}

/// Refusals that are kept: those of all applications, and those of each.
const REFUSALS_MAX: usize = 256;

/// The latest refusals of requests with a right secret, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals {
    /// Those of the keys of one application; of all where there is none.
    pub application: Option<ApplicationId>,
    /// The last batch that is in it.
    pub through: u64,
    /// The refusals; at most 256.
    pub latest: Vec<UsageRefusal>,
}

impl Refusals {
    /// Without any.
    pub const fn empty(application: Option<ApplicationId>) -> Self {
        Self { application, through: 0, latest: Vec::new() }
    }

    /// Those of later batches as well, each with its ticket, in order; what is in it already counts once.
    pub fn add<'r>(&mut self, new: impl Iterator<Item = (u64, &'r UsageRefusal)>) {
        let before = self.through;
        for (ticket, refusal) in new.filter(|(ticket, _)| *ticket > before) {
            self.through = ticket;
            match self.latest.iter_mut().find(|known| known.is_like(refusal)) {
                Some(known) => known.count = known.count.saturating_add(refusal.count),
                None => self.latest.insert(0, refusal.clone()),
            }
            if self.latest.len() >= 2 * REFUSALS_MAX {
                self.keep_latest();
            }
        }
        self.keep_latest();
    }

    fn keep_latest(&mut self) {
        // Stable: within a minute, what came last stands first.
        self.latest.sort_by_key(|refusal| std::cmp::Reverse(refusal.minute));
        self.latest.truncate(REFUSALS_MAX);
    }
}

impl Record for Refusals {
    const DOMAIN: Domain = Domain::Projection;
    const CODEC: Codec = Codec::Binary;
    fn store_key(&self) -> String {
        names::refusals(self.application)
    }
}

/// How far the folding is, and what was folded in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Folding {
    /// The last ticket that was folded or given up.
    pub through: u64,
    /// That the next one is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
    /// Up to when all is folded that was kept, or given up.
    #[serde(default, with = "millis::option")]
    pub as_of: Option<Timestamp>,
    /// Batches that were folded.
    #[serde(default)]
    pub folded: u64,
    /// Batches that never came, or came too late.
    #[serde(default)]
    pub missed: u64,
    /// Batches that were overwritten before anybody came.
    #[serde(default)]
    pub overwritten: u64,
    /// Requests with a right secret, of all keys.
    #[serde(default)]
    pub outcomes: Outcomes,
    /// How long the store took for the reads of each.
    #[serde(default)]
    pub reads: Durations,
}

/// A batch that did not come yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// When that was first seen.
    #[serde(with = "millis")]
    pub since: Timestamp,
    /// Tickets taken by then: whichever of these is still missing has been missing since then.
    pub taken: u64,
}

impl Record for Folding {
    const DOMAIN: Domain = Domain::Projection;
    fn store_key(&self) -> String {
        names::FOLDING.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_requests_counts_once_and_an_hour_is_one() {
        let count = |hour| {
            let (mut outcomes, key) = (Outcomes::default(), KeyId::from_bytes([1; 16]));
            outcomes.note(None);
            UsageCount { key, version: 1, hour, outcomes, addresses: Distinct::default() }
        };
        let (early, late) = (count(48), count(50));
        let mut requests = Requests::empty(None, 2);
        for _ in 0..2 {
            requests.add([(1, &late), (2, &early), (2, &late)].into_iter());
        }
        let hours: Vec<_> =
            requests.hours.iter().map(|(hour, outcomes)| (*hour, outcomes.accepted())).collect();
        assert_eq!((hours, requests.through), (vec![(48, 1), (50, 2)], 2));
        requests.add([(3, &early)].into_iter());
        assert_eq!(requests.hours[0].1.accepted(), 2);
    }

    #[test]
    fn a_week_of_hours_and_ninety_days_never_share_a_place() {
        let key = KeyId::from_bytes([1; 16]);
        for resolution in Resolution::ALL {
            for newest in 500_000..500_040 {
                let oldest = newest - resolution.kept() + 1;
                let blocks = resolution.block_of(oldest)..=resolution.block_of(newest);
                let mut places: Vec<_> = blocks.map(|block| resolution.store_key(key, block)).collect();
                let count = places.len();
                places.sort();
                places.dedup();
                assert_eq!(places.len(), count, "{resolution:?} at {newest}");
            }
        }
    }
}
