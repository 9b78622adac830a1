//! Use of keys, counted after the answer: in memory, then kept as one batch per instance and while. It says nothing of tokens that
//! are no key's, so a flood of garbage keeps nothing. What an instance that is killed had not written is lost.

use keyward_crypto::Sealer;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{KeyId, Timestamp};
use keyward_guest::variables::Validation;
use keyward_guest::{SpinKv, WasiClock, WasiRng};
use keyward_records::{KvCount, KvUsage, SealedUsage, StoreError, UsageBatch, UsageCount, names};
use keyward_verify::Verdict;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// How long counts wait for more of their kind, in milliseconds.
const FLUSH_AFTER_MS: u64 = 300;
/// Counts held at once. An instance serves fewer requests than this between two flushes; beyond it use goes uncounted.
const COUNTS_MAX: usize = 4096;
const SECONDS_PER_HOUR: i64 = 3600;

/// One use of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    place: Place,
    accepted: bool,
}

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    key: KeyId,
    version: u16,
    /// Hours since 1970.
    hour: i64,
}

impl Counted {
    /// What a verdict counts as: nothing where no secret was right.
    pub(crate) fn of(verdict: &Verdict, now: Timestamp) -> Option<Self> {
        let (key, version, accepted) = match verdict {
            Verdict::Accepted(verified) => (verified.key().id, verified.version(), true),
            Verdict::Refused(refusal) => {
                refusal.key.as_ref().map(|(key, version)| (key.id, *version, false))?
            }
        };
        let hour = now.unix_s().div_euclid(SECONDS_PER_HOUR);
        Some(Self { place: Place { key, version, hour }, accepted })
    }
}

/// The instance's counts: how often each key was used, never by whom.
#[derive(Default)]
struct Counts {
    held: HashMap<Place, (u32, u32)>,
    flush_waits: bool,
}

impl Counts {
    /// Adds one. `true` where nobody waits yet to flush.
    fn add(&mut self, counted: Counted) -> bool {
        if self.held.len() < COUNTS_MAX || self.held.contains_key(&counted.place) {
            let (accepted, refused) = self.held.entry(counted.place).or_default();
            let count = if counted.accepted { accepted } else { refused };
            *count = count.saturating_add(1);
        }
        !std::mem::replace(&mut self.flush_waits, true)
    }

    fn take(&mut self) -> Vec<UsageCount> {
        self.flush_waits = false;
        let count = |(place, (accepted, refused)): (Place, (u32, u32))| UsageCount {
            key: place.key,
            version: place.version,
            hour: place.hour,
            accepted,
            refused,
        };
        self.held.drain().map(count).collect()
    }
}

thread_local! {
    static COUNTS: RefCell<Counts> = RefCell::default();
}

/// Counts one use, kept in the usage store a little later.
pub(crate) fn count(counted: Option<Counted>, configured: &Rc<Validation>) {
    let Some(counted) = counted else { return };
    if COUNTS.with_borrow_mut(|counts| counts.add(counted)) {
        let configured = Rc::clone(configured);
        spin_sdk::wasip3::spawn(async move {
            WasiClock.sleep_ms(FLUSH_AFTER_MS).await;
            let counts = COUNTS.with_borrow_mut(Counts::take);
            let kv = SpinKv::new(configured.usage_store.as_str());
            // A failed batch is not tried again: it could be kept twice. The store's line in the log says why.
            let _ = flush(counts, &kv, &configured.records, &WasiRng).await;
        });
    }
}

/// Keeps the counts as one batch: a ticket and a write, however many keys were used.
async fn flush<K: KvCount + KvUsage>(
    counts: Vec<UsageCount>,
    kv: &K,
    records: &Sealer,
    rng: &impl Rng,
) -> Result<(), StoreError> {
    let ticket = kv.increment(names::usage::TICKETS, 1).await?;
    let batch = UsageBatch { ticket: ticket.unsigned_abs(), counts };
    match SealedUsage::new(records, &batch, rng.bytes()) {
        Ok(sealed) => kv.keep(&sealed).await,
        Err(_) => Err(StoreError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_crypto::{Ring, RingDocument};
    use keyward_records::open;

    fn counted(key: u128, accepted: bool) -> Counted {
        Counted { place: Place { key: KeyId::from_bytes(key.to_be_bytes()), version: 1, hour: 1 }, accepted }
    }

    #[test]
    fn one_flush_waits_at_a_time() {
        let mut counts = Counts::default();
        assert!(counts.add(counted(1, true)));
        assert!(!counts.add(counted(1, true)));
        assert!(!counts.add(counted(1, false)));
        let taken: Vec<_> = counts.take().into_iter().map(|c| (c.accepted, c.refused)).collect();
        assert_eq!(taken, [(2, 1)]);
        assert!(counts.add(counted(1, true)));
    }

    #[test]
    fn counts_are_bounded() {
        let mut counts = Counts::default();
        for key in 0..10_000 {
            counts.add(counted(key, true));
        }
        counts.add(counted(0, true));
        let taken = counts.take();
        assert_eq!(taken.len(), COUNTS_MAX);
        assert!(taken.iter().any(|c| c.key == counted(0, true).place.key && c.accepted == 2));
    }

    #[derive(Default)]
    struct Store(RefCell<Vec<(String, Vec<u8>)>>);

    impl KvCount for Store {
        async fn increment(&self, key: &str, _: i64) -> Result<i64, StoreError> {
            if key == names::usage::TICKETS { Ok(7) } else { Err(StoreError) }
        }
    }

    impl KvUsage for Store {
        async fn keep(&self, usage: &SealedUsage) -> Result<(), StoreError> {
            self.0.borrow_mut().push((usage.store_key().to_owned(), usage.value().to_vec()));
            Ok(())
        }
    }

    struct Zero;

    impl Rng for Zero {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    #[test]
    fn whatever_was_counted_is_one_sealed_batch() {
        let document = RingDocument::generate([7; 32], "2026-01-31T08:00:00Z").unwrap();
        let sealer = Sealer::new(Ring::parse("records_keyring", document.to_json().expose()).unwrap());
        let (store, mut counts) = (Store::default(), Counts::default());
        for key in 0..100 {
            counts.add(counted(key, key % 2 == 0));
        }
        crate::tests::now(flush(counts.take(), &store, &sealer, &Zero)).unwrap();
        let kept = store.0.take();
        let [(name, value)] = kept.as_slice() else { panic!("{} writes", kept.len()) };
        let batch: UsageBatch = open(&sealer, name, value).unwrap();
        assert_eq!((name.as_str(), batch.ticket, batch.counts.len()), ("u:7", 7, 100));
        assert_eq!(batch.counts.iter().map(|c| c.accepted).sum::<u32>(), 50);
    }
}
