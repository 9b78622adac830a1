//! Forgets the counters of limits whose windows are over, hour by hour. Validators note which counters come to be; what they could not note
//! stays, and is only in the way. Nothing counts any more in a window that is over, so a counter may be forgotten twice, or while others do.

use crate::service::Service;
use keyward_domain::Result;
use keyward_domain::ports::{Clock, Rng};
use keyward_ledger::KvWrite;
use keyward_records::{EndedLimits, EndedWalk, KvCount, KvForget, KvRead, names, open};

/// Counters that one run forgets at most, but for those of one note.
const COUNTERS_MAX: usize = 2_048;
/// Hours that one run goes through at most: a day that nobody walked is made up for in some runs.
const HOURS_MAX: usize = 24;
const S_PER_HOUR: i64 = 3_600;

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Forgets counters that lie in `usage`, the store where validators count. How many those were.
    ///
    /// # Errors
    /// Where a store does not answer.
    pub async fn forget_ended_limits(&self, usage: &(impl KvRead + KvCount + KvForget)) -> Result<usize> {
        let now_hour = self.clock.now().unix_s().div_euclid(S_PER_HOUR);
        let begun = self.read().ended_walk().await?;
        // Whoever never walked begins an hour back: what validators noted before there was anybody to walk is some hours' at most.
        let mut walk = begun.unwrap_or(EndedWalk { hour: now_hour - 1, ticket: 0 });
        let mut forgotten = 0;
        for _ in 0..HOURS_MAX {
            if walk.hour >= now_hour || forgotten >= COUNTERS_MAX {
                break;
            }
            let tickets = names::usage::ended_limits(walk.hour);
            let taken = u64::try_from(usage.increment(&tickets, 0).await?).unwrap_or(0);
            while walk.ticket < taken && forgotten < COUNTERS_MAX {
                forgotten += self.forget_noted(usage, walk.hour, walk.ticket + 1).await?;
                walk.ticket += 1;
            }
            if walk.ticket >= taken {
                usage.forget(&tickets).await?;
                walk = EndedWalk { hour: walk.hour + 1, ticket: 0 };
            }
        }
        if begun != Some(walk) {
            self.ledger.keep_ended_walk(&walk).await?;
        }
        Ok(forgotten)
    }

    /// Forgets the counters of one note, then the note. A note that is not there, or does not open, is nobody's any more.
    async fn forget_noted(&self, usage: &(impl KvRead + KvForget), hour: i64, ticket: u64) -> Result<usize> {
        let store_key = names::usage::ended_limit(hour, ticket);
        let Some(value) = usage.get(&store_key).await? else { return Ok(0) };
        let noted = open::<EndedLimits>(&self.rings.records, &store_key, &value).ok();
        let mut forgotten = 0;
        for counter in noted.iter().flat_map(|noted| &noted.counters) {
            // Whoever can write notes must not have anything else forgotten.
            if names::usage::is_limit(counter) {
                usage.forget(counter).await?;
                forgotten += 1;
            }
        }
        usage.forget(&store_key).await?;
        Ok(forgotten)
    }
}
