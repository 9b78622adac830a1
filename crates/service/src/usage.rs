//! Folds the use that validators keep into what is known of each key: when each of its versions was used last, and how often. What was
//! never kept, or was overwritten before anybody came, is lost, and nothing here says otherwise.

use crate::service::Service;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{KeyId, Result};
use keyward_ledger::KvWrite;
use keyward_records::{KeyUse, KvCount, KvRead, UsageBatch, UsageCount, VersionUse, names, open};
use std::collections::BTreeMap;

/// Batches that one run folds at most.
const BATCHES_MAX: u64 = 512;
/// Batches read at the same time.
const READS_AT_ONCE: usize = 32;
/// How long a ticket may lack its batch before it is given up, in seconds: its validator died, or is slow.
const MISSING_S: i64 = 60;

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Folds what was kept in `usage`, the store where validators keep use, since the last run. How many batches that was.
    ///
    /// # Errors
    /// Where a store does not answer.
    pub async fn fold_use(&self, usage: &K) -> Result<u64> {
        let taken = u64::try_from(usage.increment(names::usage::TICKETS, 0).await?).unwrap_or(0);
        let mut folding = self.read().folding().await?;
        let begun = folding;
        // Those before were overwritten.
        folding.through = folding.through.max(taken.saturating_sub(names::usage::BATCHES_MAX));
        let upto = taken.min(folding.through.saturating_add(BATCHES_MAX));
        let mut folded: BTreeMap<KeyId, Vec<(u64, UsageCount)>> = BTreeMap::new();
        let mut batches = 0;
        'all: while folding.through < upto {
            let next = (folding.through + 1..=upto).take(READS_AT_ONCE);
            for (ticket, batch) in
                futures::future::join_all(next.map(async |ticket| (ticket, self.batch(usage, ticket).await)))
                    .await
            {
                match batch? {
                    Some(batch) => {
                        for count in batch.counts {
                            folded.entry(count.key).or_default().push((ticket, count));
                        }
                        batches += 1;
                    }
                    None => {
                        let since = *folding.missing_since.get_or_insert(self.clock.now());
                        if self.clock.now() < since.plus_s(MISSING_S) {
                            break 'all;
                        }
                    }
                }
                (folding.through, folding.missing_since) = (ticket, None);
            }
        }
        if folding == begun {
            return Ok(0);
        }
        let reads = folded.iter().map(async |(key, counts)| {
            let known = self.read().key_use(*key).await?;
            Ok(with_counts(known.unwrap_or_else(|| nothing(*key)), counts))
        });
        let changed: Vec<KeyUse> =
            futures::future::join_all(reads).await.into_iter().collect::<Result<_>>()?;
        self.ledger.keep_use(&changed, &folding).await?;
        Ok(batches)
    }

    async fn batch(&self, usage: &K, ticket: u64) -> Result<Option<UsageBatch>> {
        let store_key = names::usage::batch(ticket);
        let Some(value) = usage.get(&store_key).await? else { return Ok(None) };
        match open::<UsageBatch>(&self.rings.records, &store_key, &value) {
            Ok(batch) if batch.ticket == ticket => Ok(Some(batch)),
            // Of another round, damaged, or under a ring version that is gone: what it said is lost. One under a version that is yet to
            // come here is waited for as one that is missing.
            Ok(_) | Err(_) => Ok(None),
        }
    }
}

const fn nothing(key: KeyId) -> KeyUse {
    KeyUse { key, versions: Vec::new(), through: 0 }
}

/// What is known of a key's use, with these counts of later batches.
fn with_counts(mut known: KeyUse, counts: &[(u64, UsageCount)]) -> KeyUse {
    let new: Vec<_> = counts.iter().filter(|(ticket, _)| *ticket > known.through).collect();
    for (ticket, count) in new {
        known.through = known.through.max(*ticket);
        let found = known.versions.iter_mut().find(|used| used.version == count.version);
        let (accepted, refused) = (u64::from(count.accepted), u64::from(count.refused));
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
