//! Folds the use that validators keep into what is known of each key: when each of its versions was used last, how often by the hour
//! and the day and to which end, from how many addresses, and which requests were refused last. What was never kept, or was overwritten
//! before anybody came, is lost; how many batches that were is counted. Beside it, how many requests there were to all keys, and to those
//! of each application, by the hour.
//!
//! A run may be done twice, or two at once: each record says through which batch it goes, and all records of a round are written in one
//! batch with how far the folding is.

use crate::service::Service;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{ApplicationId, KeyId, Result, Timestamp};
use keyward_ledger::{FoldedUse, KvWrite};
use keyward_records::{
    Folding, KeyUse, KvCount, KvRead, Missing, Refusals, Requests, Resolution, UsageBatch, UsageCount,
    UsageRefusal, UseBlock, VersionUse, minute_of, names, open,
};
use std::collections::{BTreeMap, BTreeSet};

/// Rounds of one run at most: with [`BATCHES_MAX`], as many batches as are kept at a time.
const ROUNDS_MAX: u32 = 128;
/// Batches that one round folds at most.
const BATCHES_MAX: u64 = 512;
/// Keys after which a round takes no more batches: what it changes is written in one batch.
const KEYS_MAX: usize = 512;
/// How long a run begins new rounds, in milliseconds.
const RUN_MS_MAX: u64 = 10_000;
/// Batches, or keys, read at the same time.
const READS_AT_ONCE: usize = 32;
/// How long a ticket may lack its batch before it is given up, in seconds: its validator died, or is slow.
const MISSING_S: i64 = 60;
/// How far behind what is written of a fold may be where nothing was used since, in seconds.
const IDLE_S: i64 = 30;

/// What a round has taken out of batches: counts and refusals with their tickets, in order.
#[derive(Default)]
struct Taken {
    counts: BTreeMap<KeyId, Vec<(u64, UsageCount)>>,
    refusals: Vec<(u64, UsageRefusal)>,
}

/// Counts with their tickets, by whose keys they are of (of all where there is no application) and by the day.
type CountsByDay<'c> = BTreeMap<(Option<ApplicationId>, i64), Vec<(u64, &'c UsageCount)>>;

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Folds what was kept in `usage`, the store where validators keep use, since the last run. How many batches that was.
    ///
    /// # Errors
    /// Where a store does not answer.
    pub async fn fold_use(&self, usage: &K) -> Result<u64> {
        let (now, begun_ms) = (self.clock.now(), self.clock.monotonic_ms());
        let taken = u64::try_from(usage.increment(names::usage::TICKETS, 0).await?).unwrap_or(0);
        let mut batches = 0;
        for _ in 0..ROUNDS_MAX {
            let (folded, is_done) = self.fold_round(usage, taken, now).await?;
            batches += folded;
            if is_done || self.clock.monotonic_ms().saturating_sub(begun_ms) >= RUN_MS_MAX {
                break;
            }
        }
        Ok(batches)
    }

    /// One round: how many batches it folded, and whether there is nothing more to be done now.
    async fn fold_round(&self, usage: &K, taken: u64, now: Timestamp) -> Result<(u64, bool)> {
        let begun = self.read().folding().await?;
        let mut folding = begun;
        let oldest = taken.saturating_sub(names::usage::BATCHES_MAX);
        if folding.through < oldest {
            folding.overwritten = folding.overwritten.saturating_add(oldest - folding.through);
            folding.through = oldest;
        }
        let (found, is_waiting) = self.take_batches(usage, &mut folding, taken).await?;
        let is_all = folding.through >= taken;
        if is_all {
            folding.as_of = folding.as_of.max(Some(now));
        }
        let is_idle = folding.through == begun.through && folding.missing == begun.missing;
        if is_idle && begun.as_of.is_some_and(|as_of| now < as_of.plus_s(IDLE_S)) {
            return Ok((0, true));
        }
        let folded = self.folded(&found).await?;
        if self.read().folding().await? != begun {
            // Another run was faster, and has done this.
            return Ok((0, true));
        }
        self.ledger.keep_use(&folded, &folding).await?;
        Ok((folding.folded - begun.folded, is_all || is_waiting))
    }

    /// Takes what batches say, up to a bound; whether it waits for one that is missing.
    async fn take_batches(&self, usage: &K, folding: &mut Folding, taken: u64) -> Result<(Taken, bool)> {
        let mut found = Taken::default();
        let upto = taken.min(folding.through.saturating_add(BATCHES_MAX));
        while folding.through < upto && found.counts.len() < KEYS_MAX {
            let next = (folding.through + 1..=upto).take(READS_AT_ONCE);
            for (ticket, batch) in
                futures::future::join_all(next.map(async |ticket| (ticket, self.batch(usage, ticket).await)))
                    .await
            {
                match batch? {
                    Some(batch) => found.take(batch, folding, self.clock.now()),
                    None => {
                        let now = self.clock.now();
                        let missing = folding.missing.filter(|missing| ticket <= missing.taken);
                        let missing = missing.unwrap_or(Missing { since: now, taken });
                        folding.missing = Some(missing);
                        if now < missing.since.plus_s(MISSING_S) {
                            return Ok((found, true));
                        }
                        folding.missed = folding.missed.saturating_add(1);
                    }
                }
                folding.through = ticket;
            }
        }
        folding.missing = folding.missing.filter(|missing| folding.through < missing.taken);
        Ok((found, false))
    }

    async fn batch(&self, usage: &K, ticket: u64) -> Result<Option<UsageBatch>> {
        let store_key = names::usage::batch(ticket);
        let Some(value) = usage.get(&store_key).await? else { return Ok(None) };
        match open::<UsageBatch>(&self.rings.records, &store_key, &value) {
            Ok(batch) if batch.ticket == ticket => Ok(Some(batch)),
            // Of another round or an earlier build, damaged, or under a ring version that is gone: what it said is lost. One under a
            // version that is yet to come here is waited for as one that is missing.
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// The records that these counts and refusals change, as they are then.
    async fn folded(&self, found: &Taken) -> Result<FoldedUse> {
        let mut folded = FoldedUse::default();
        let keys: Vec<_> = found.counts.iter().collect();
        for keys in keys.chunks(READS_AT_ONCE) {
            let read = keys.iter().map(|(key, counts)| self.folded_key(**key, counts));
            for read in futures::future::join_all(read).await {
                let (used, blocks) = read?;
                folded.keys.push(used);
                folded.blocks.extend(blocks);
            }
        }
        folded.requests = self.folded_requests(found).await?;
        let applications: BTreeSet<_> =
            found.refusals.iter().map(|(_, refusal)| refusal.application).collect();
        let mut rings: Vec<Option<ApplicationId>> = applications.into_iter().map(Some).collect();
        if !rings.is_empty() {
            rings.push(None);
        }
        for rings in rings.chunks(READS_AT_ONCE) {
            let reader = self.read();
            for read in futures::future::join_all(rings.iter().map(|ring| reader.refusals(*ring))).await {
                let mut refusals: Refusals = read?;
                let whose = refusals.application;
                let new = found.refusals.iter().filter(|(_, refusal)| {
                    whose.is_none_or(|application| refusal.application == application)
                });
                refusals.add(new.map(|(ticket, refusal)| (*ticket, refusal)));
                folded.refusals.push(refusals);
            }
        }
        Ok(folded)
    }

    /// The requests over time, with these counts: of all keys, and of each application's.
    async fn folded_requests(&self, found: &Taken) -> Result<Vec<Requests>> {
        let keys: Vec<KeyId> = found.counts.keys().copied().collect();
        let mut new: CountsByDay<'_> = BTreeMap::new();
        for keys in keys.chunks(READS_AT_ONCE) {
            let owners = futures::future::try_join_all(keys.iter().map(|key| self.readable_key(*key)));
            for (key, owner) in keys.iter().zip(owners.await?) {
                let counts = found.counts.get(key).map_or(&[][..], Vec::as_slice);
                // One whose record does not open is nobody's; it is among all.
                let of_each = owner.map(|key| Some(key.application));
                for of in std::iter::once(None).chain(of_each) {
                    for (ticket, count) in counts {
                        new.entry((of, Requests::day_of(count.hour))).or_default().push((*ticket, count));
                    }
                }
            }
        }
        let days: Vec<(Option<ApplicationId>, i64)> = new.keys().copied().collect();
        let mut placed = BTreeMap::new();
        for days in days.chunks(READS_AT_ONCE) {
            let reader = self.read();
            let known = days.iter().map(|(application, day)| reader.requests(*application, *day));
            for ((application, day), known) in days.iter().zip(futures::future::try_join_all(known).await?) {
                let mut requests = match known {
                    Some(known) if known.day == *day => known,
                    // The place is a later day's already: what comes this late has none.
                    Some(later) if later.day > *day => continue,
                    _ => Requests::empty(*application, *day),
                };
                let counts = new.get(&(*application, *day)).map_or(&[][..], Vec::as_slice);
                requests.add(counts.iter().copied());
                // Of two that have one place, the later, which comes last.
                placed.insert(Requests::store_key_of(*application, *day), requests);
            }
        }
        Ok(placed.into_values().collect())
    }

    async fn folded_key(&self, key: KeyId, counts: &[(u64, UsageCount)]) -> Result<(KeyUse, Vec<UseBlock>)> {
        let known = self.read().key_use(key).await?;
        let used = with_counts(known.unwrap_or_else(|| nothing(key)), counts);
        let mut of_blocks: BTreeMap<(Resolution, i64), Vec<&(u64, UsageCount)>> = BTreeMap::new();
        for count in counts {
            for resolution in Resolution::ALL {
                let block = resolution.block_of(resolution.bucket_of_hour(count.1.hour));
                of_blocks.entry((resolution, block)).or_default().push(count);
            }
        }
        let mut blocks = Vec::new();
        for ((resolution, block), counts) in of_blocks {
            let mut known = match self.read().use_block(key, resolution, block).await? {
                Some(known) if known.block == block => known,
                // The place is a later one's already: what comes this late has none.
                Some(later) if later.block > block => continue,
                _ => UseBlock::empty(key, resolution, block),
            };
            let before = known.through;
            for (ticket, count) in counts.into_iter().filter(|(ticket, _)| *ticket > before) {
                known.add(*ticket, count);
            }
            blocks.push(known);
        }
        // Of two that have one place, the later, which comes last.
        let mut placed = BTreeMap::new();
        for block in blocks {
            placed.insert(block.resolution.store_key(key, block.block), block);
        }
        Ok((used, placed.into_values().collect()))
    }
}

impl Taken {
    /// A validator's clock may run ahead; what it counts then is counted as of now, so that nothing lies in the way of what is to come.
    fn take(&mut self, batch: UsageBatch, folding: &mut Folding, now: Timestamp) {
        folding.folded = folding.folded.saturating_add(1);
        folding.reads.merge(&batch.reads);
        for mut count in batch.counts {
            count.hour = count.hour.min(Resolution::Hour.bucket_of(now));
            folding.outcomes.merge(&count.outcomes);
            self.counts.entry(count.key).or_default().push((batch.ticket, count));
        }
        for mut refusal in batch.refusals {
            refusal.minute = refusal.minute.min(minute_of(now));
            self.refusals.push((batch.ticket, refusal));
        }
    }
}

const fn nothing(key: KeyId) -> KeyUse {
    KeyUse { key, versions: Vec::new(), through: 0 }
}

/// What is known of a key's use, with these counts of later batches.
fn with_counts(mut known: KeyUse, counts: &[(u64, UsageCount)]) -> KeyUse {
    let before = known.through;
    for (ticket, count) in counts.iter().filter(|(ticket, _)| *ticket > before) {
        known.through = *ticket;
        let found = known.versions.iter_mut().find(|used| used.version == count.version);
        let (accepted, refused) = (count.outcomes.accepted(), count.outcomes.refused());
        match found {
            Some(used) => {
                used.hour = used.hour.max(count.hour);
                used.accepted = used.accepted.saturating_add(accepted);
                used.refused = used.refused.saturating_add(refused);
            }
            None => known.versions.push(VersionUse {
                version: count.version,
                hour: count.hour,
                accepted,
                refused,
            }),
        }
    }
    known
}
