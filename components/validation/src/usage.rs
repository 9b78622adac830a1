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
            flush(&kv).await;
        });
    }
}

async fn flush(kv: &SpinKv) {
    let counts = COUNTS.with_borrow_mut(Counts::take);
    let counters = counts.len();
    for (written, (counted, times)) in counts.into_iter().enumerate() {
        let name = names::usage::hourly(counted.key, counted.hour, counted.accepted);
        if kv.increment(&name, times).await.is_err() {
            // Once more could count twice: less is the honest error.
            eprintln!("usage: {} counters were not written", counters.saturating_sub(written));
            return;
        }
        // Each increment stalls the instance: let requests in between two.
        yield_async().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
