//! Use of keys, counted after the answer: in memory, then by one `increment` per key, hour and outcome. It says nothing of tokens
//! that are no key's, so a flood of garbage makes no counter. What an instance that is killed had not written is lost.

use keyward_domain::ports::Clock;
use keyward_domain::{KeyId, Timestamp};
use keyward_guest::{SpinKv, WasiClock};
use keyward_records::{KvCount, names};
use keyward_verify::Verdict;
use spin_sdk::wasip3::wit_bindgen::rt::async_support::yield_async;
use std::cell::RefCell;
use std::collections::HashMap;

/// How long counts wait for more of their kind, in milliseconds.
const FLUSH_AFTER_MS: u64 = 300;
/// How long one flush may take, in milliseconds. A store that is slower than the use of it would otherwise pile up instances that
/// wait to write; what is left over by then goes uncounted, with a line in the log.
const FLUSH_TIME_MAX_MS: u64 = 5_000;
/// Counters held at once. An instance serves fewer requests than this between two flushes; beyond it use goes uncounted.
const COUNTERS_MAX: usize = 4096;
const SECONDS_PER_HOUR: i64 = 3600;

/// One use of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Counted {
    key: KeyId,
    /// Hours since 1970.
    hour: i64,
    accepted: bool,
}

impl Counted {
    /// What a verdict counts as: nothing where no secret was right.
    pub(crate) fn of(verdict: &Verdict, now: Timestamp) -> Option<Self> {
        let (key, accepted) = match verdict {
            Verdict::Accepted(verified) => (verified.key().id, true),
            Verdict::Refused(refusal) => (refusal.key.as_ref()?.0.id, false),
        };
        Some(Self { key, hour: now.unix_s().div_euclid(SECONDS_PER_HOUR), accepted })
    }
}

/// The instance's counts: how often each key was used, never by whom.
#[derive(Default)]
struct Counts {
    held: HashMap<Counted, i64>,
    flush_waits: bool,
}

impl Counts {
    /// Adds one. `true` where nobody waits yet to flush.
    fn add(&mut self, counted: Counted) -> bool {
        if self.held.len() < COUNTERS_MAX || self.held.contains_key(&counted) {
            let count = self.held.entry(counted).or_default();
            *count = count.saturating_add(1);
        }
        !std::mem::replace(&mut self.flush_waits, true)
    }

    fn take(&mut self) -> HashMap<Counted, i64> {
        self.flush_waits = false;
        std::mem::take(&mut self.held)
    }
}

thread_local! {
    static COUNTS: RefCell<Counts> = RefCell::default();
}

/// Counts one use, written to the store of this label a little later.
pub(crate) fn count(counted: Option<Counted>, usage_store: &str) {
    let Some(counted) = counted else { return };
    if COUNTS.with_borrow_mut(|counts| counts.add(counted)) {
        let kv = SpinKv::new(usage_store);
        spin_sdk::wasip3::spawn(async move {
            WasiClock.sleep_ms(FLUSH_AFTER_MS).await;
            let lost = flush(COUNTS.with_borrow_mut(Counts::take), &kv, &WasiClock).await;
            if lost > 0 {
                eprintln!("usage: {lost} counters were not written");
            }
        });
    }
}

/// Writes the counts, and says how many counters were given up: after a failure, since once more could count twice, or when the
/// store is too slow.
async fn flush<K: KvCount, C: Clock>(counts: HashMap<Counted, i64>, kv: &K, clock: &C) -> usize {
    let (counters, started_ms) = (counts.len(), clock.monotonic_ms());
    for (written, (counted, times)) in counts.into_iter().enumerate() {
        let name = names::usage::hourly(counted.key, counted.hour, counted.accepted);
        let spent_ms = clock.monotonic_ms().saturating_sub(started_ms);
        if spent_ms > FLUSH_TIME_MAX_MS || kv.increment(&name, times).await.is_err() {
            return counters.saturating_sub(written);
        }
        // Each increment stalls the instance: let requests in between two.
        yield_async().await;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_records::StoreError;

    fn counted(key: u128, accepted: bool) -> Counted {
        Counted { key: KeyId::from_bytes(key.to_be_bytes()), hour: 1, accepted }
    }

    #[test]
    fn one_flush_waits_at_a_time() {
        let mut counts = Counts::default();
        assert!(counts.add(counted(1, true)));
        assert!(!counts.add(counted(1, true)));
        assert!(!counts.add(counted(1, false)));
        let mut taken: Vec<_> = counts.take().into_iter().map(|(c, n)| (c.accepted, n)).collect();
        taken.sort_unstable();
        assert_eq!(taken, [(false, 1), (true, 2)]);
        assert!(counts.add(counted(1, true)));
    }

    #[test]
    fn counters_are_bounded() {
        let mut counts = Counts::default();
        for key in 0..10_000 {
            counts.add(counted(key, true));
        }
        counts.add(counted(0, true));
        let taken = counts.take();
        assert_eq!(taken.len(), COUNTERS_MAX);
        assert_eq!(taken.get(&counted(0, true)), Some(&2));
    }

    struct Store {
        fails: bool,
    }

    impl KvCount for Store {
        async fn increment(&self, _: &str, _: i64) -> Result<i64, StoreError> {
            if self.fails { Err(StoreError) } else { Ok(1) }
        }
    }

    struct Steady;

    impl Clock for Steady {
        fn now(&self) -> Timestamp {
            Timestamp::default()
        }
        fn monotonic_ms(&self) -> u64 {
            0
        }
        async fn sleep_ms(&self, _: u64) {}
    }

    /// Each look takes longer than a flush may.
    #[derive(Default)]
    struct Slow(std::cell::Cell<u64>);

    impl Clock for Slow {
        fn now(&self) -> Timestamp {
            Timestamp::default()
        }
        fn monotonic_ms(&self) -> u64 {
            self.0.replace(self.0.get() + FLUSH_TIME_MAX_MS + 1)
        }
        async fn sleep_ms(&self, _: u64) {}
    }

    #[test]
    fn a_store_that_fails_or_is_slow_is_given_up() {
        let counts = || (0..3).map(|key| (counted(key, true), 1)).collect::<HashMap<_, _>>();
        let failing = crate::tests::now(flush(counts(), &Store { fails: true }, &Steady));
        let slow = crate::tests::now(flush(counts(), &Store { fails: false }, &Slow::default()));
        assert_eq!((failing, slow), (3, 3));
    }
}
