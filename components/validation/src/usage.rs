//! Use of keys, counted after the answer: in memory, then kept as one batch per instance and while. It says nothing of tokens that
//! are no key's, so a flood of garbage keeps nothing. What an instance that is killed had not written is lost.
//!
//! Addresses are held until the batch is made, and go into it as a sketch of how many there were.

use keyward_crypto::Sealer;
use keyward_domain::KeyId;
use keyward_domain::distinct::Distinct;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::usage::{Durations, Outcomes};
use keyward_guest::variables::Validation;
use keyward_guest::{SpinKv, WasiClock, WasiRng};
use keyward_records::{
    KvCount, KvUsage, SealedUsage, StoreError, UsageBatch, UsageCount, UsageRefusal, names,
};
use keyward_verify::{Presented, Verdict};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

/// How long counts wait for more of their kind, in milliseconds.
const FLUSH_AFTER_MS: u64 = 300;
/// Counts held at once. An instance serves fewer requests than this between two flushes; beyond it use goes uncounted.
const COUNTS_MAX: usize = 4096;
/// Addresses held at once, of all counts together; beyond it they go uncounted.
const ADDRESSES_MAX: usize = 8192;
/// Refusals that are told one by one; beyond it they are counted alone.
const REFUSALS_MAX: usize = 64;
const SECONDS_PER_MINUTE: i64 = 60;
const SECONDS_PER_HOUR: i64 = 3600;

/// One use of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    place: Place,
    /// What [`network_of`] makes of where it came from.
    network: Option<u64>,
    /// Why it did not pass.
    refusal: Option<UsageRefusal>,
}

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    key: KeyId,
    version: u16,
    /// Hours since 1970.
    hour: i64,
}

impl Counted {
    /// What a verdict counts as: nothing where no secret was right.
    pub(crate) fn of(verdict: &Verdict, address: Option<IpAddr>) -> Option<Self> {
        let Presented { key, version, at } = verdict.presented()?;
        let refusal = match verdict {
            Verdict::Accepted(_) => None,
            Verdict::Refused(refusal) => Some(UsageRefusal {
                minute: at.unix_s().div_euclid(SECONDS_PER_MINUTE),
                application: key.application,
                key: key.id,
                version: *version,
                code: refusal.code,
                missing_scope: refusal.missing_scope.as_ref().map(ToString::to_string),
                count: 1,
            }),
        };
        let hour = at.unix_s().div_euclid(SECONDS_PER_HOUR);
        let place = Place { key: key.id, version: *version, hour };
        Some(Self { place, network: address.map(network_of), refusal })
    }
}

/// What counts as one address: an IPv4 address, or the /64 of IPv6 that one site has to itself (RFC 6177). The former lie under
/// 0:ffff::/32, which no site has.
fn network_of(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => 0xffff_0000_0000 | u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

/// What is counted of one place.
#[derive(Default)]
struct Tally {
    outcomes: Outcomes,
    networks: Vec<u64>,
}

/// The instance's counts: how often each key was used, and from how many addresses.
#[derive(Default)]
struct Counts {
    held: BTreeMap<Place, Tally>,
    networks: usize,
    refusals: Vec<UsageRefusal>,
    reads: Durations,
    flush_waits: bool,
}

impl Counts {
    /// Adds one, and how long the store took for its reads. `true` where nobody waits yet to flush.
    fn add(&mut self, counted: Counted, reads_us: Option<u64>) -> bool {
        let Counted { place, network, refusal } = counted;
        if let Some(reads_us) = reads_us {
            self.reads.note(reads_us);
        }
        if self.held.len() < COUNTS_MAX || self.held.contains_key(&place) {
            let tally = self.held.entry(place).or_default();
            tally.outcomes.note(refusal.as_ref().map(|refusal| refusal.code));
            if let Some(network) = network
                && self.networks < ADDRESSES_MAX
                && !tally.networks.contains(&network)
            {
                tally.networks.push(network);
                self.networks += 1;
            }
        }
        if let Some(refusal) = refusal {
            if let Some(known) = self.refusals.iter_mut().find(|known| known.is_like(&refusal)) {
                known.count = known.count.saturating_add(1);
            } else if self.refusals.len() < REFUSALS_MAX {
                self.refusals.push(refusal);
            }
        }
        !std::mem::replace(&mut self.flush_waits, true)
    }

    /// All of it as a batch. Addresses are hashed under the ring here, once each, so that a sketch cannot be asked for one.
    fn into_batch(self, ticket: u64, records: &Sealer) -> UsageBatch {
        let Self { held, refusals, reads, .. } = self;
        let counts = held.into_iter().map(|(place, Tally { outcomes, networks })| {
            let mut addresses = Distinct::default();
            for network in networks {
                let digest = records.keyed_digest(names::usage::ADDRESS, &network.to_be_bytes());
                addresses.note(digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)));
            }
            UsageCount { key: place.key, version: place.version, hour: place.hour, outcomes, addresses }
        });
        UsageBatch { ticket, counts: counts.collect(), refusals, reads }
    }
}

thread_local! {
    static COUNTS: RefCell<Counts> = RefCell::default();
}

/// Counts one use and how long the store took for its reads, kept in the usage store a little later.
pub(crate) fn count(counted: Option<Counted>, reads_us: Option<u64>, configured: &Rc<Validation>) {
    let Some(counted) = counted else { return };
    if COUNTS.with_borrow_mut(|counts| counts.add(counted, reads_us)) {
        let configured = Rc::clone(configured);
        spin_sdk::wasip3::spawn(async move {
            WasiClock.sleep_ms(FLUSH_AFTER_MS).await;
            let counts = COUNTS.take();
            let kv = SpinKv::new(configured.usage_store.clone());
            // A failed batch is not tried again: it could be kept twice. The store's line in the log says why.
            let _ = flush(counts, &kv, &configured.records, &WasiRng).await;
        });
    }
}

/// Keeps the counts as one batch: a ticket and a write, however many keys were used.
async fn flush<K: KvCount + KvUsage>(
    counts: Counts,
    kv: &K,
    records: &Sealer,
    rng: &impl Rng,
) -> Result<(), StoreError> {
    let ticket = kv.increment(names::usage::TICKETS, 1).await?;
    let batch = counts.into_batch(ticket.unsigned_abs(), records);
    match SealedUsage::new(records, &batch, rng.bytes()) {
        Ok(sealed) => kv.keep(&sealed).await,
        Err(_) => Err(StoreError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_crypto::{Ring, RingDocument};
    use keyward_domain::ApplicationId;
    use keyward_domain::refusal::RefusalCode;
    use keyward_records::open;

    const MINUTE: i64 = 30_000_000;

    fn counted(key: u128, refused: Option<RefusalCode>) -> Counted {
        let key = KeyId::from_bytes(key.to_be_bytes());
        let refusal = refused.map(|code| UsageRefusal {
            minute: MINUTE,
            application: ApplicationId::from_bytes([2; 16]),
            key,
            version: 1,
            code,
            missing_scope: None,
            count: 1,
        });
        Counted { place: Place { key, version: 1, hour: 500_000 }, network: None, refusal }
    }

    fn sealer() -> Sealer {
        let document = RingDocument::generate([7; 32], "2026-01-31T08:00:00Z").unwrap();
        Sealer::new(Ring::parse("records_keyring", document.to_json().expose()).unwrap())
    }

    #[test]
    fn one_flush_waits_at_a_time() {
        let mut counts = Counts::default();
        assert!(counts.add(counted(1, None), Some(120)));
        assert!(!counts.add(counted(1, None), Some(90)));
        assert!(!counts.add(counted(1, Some(RefusalCode::Expired)), None));
        let batch = std::mem::take(&mut counts).into_batch(1, &sealer());
        let taken: Vec<_> =
            batch.counts.iter().map(|c| (c.outcomes.accepted(), c.outcomes.refused())).collect();
        assert_eq!(taken, [(2, 1)]);
        assert_eq!((batch.reads.cumulative().1, batch.reads.sum_us()), (2, 210));
        assert!(counts.add(counted(1, None), None));
    }

    #[test]
    fn counts_are_bounded() {
        let mut counts = Counts::default();
        for key in 0..10_000_u64 {
            let one = counted(key.into(), Some(RefusalCode::Forbidden));
            counts.add(Counted { network: Some(key), ..one.clone() }, None);
            counts.add(Counted { network: Some(key + 10_000), ..one }, None);
        }
        counts.add(counted(0, None), None);
        assert!(counts.networks <= ADDRESSES_MAX);
        let batch = counts.into_batch(1, &sealer());
        assert_eq!((batch.counts.len(), batch.refusals.len()), (COUNTS_MAX, REFUSALS_MAX));
        let first = counted(0, None).place.key;
        assert!(batch.counts.iter().any(|c| c.key == first && c.outcomes.accepted() == 1));
        assert_eq!(batch.refusals[0].count, 2, "alike");
        assert!(SealedUsage::new(&sealer(), &batch, [0; 12]).is_ok());
    }

    #[test]
    fn addresses_are_counted_and_not_kept() {
        let mut counts = Counts::default();
        let addresses = ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::ffff:2"];
        for address in addresses {
            let network = Some(network_of(address.parse().unwrap()));
            counts.add(Counted { network, ..counted(1, None) }, None);
        }
        let batch = counts.into_batch(1, &sealer());
        assert_eq!(batch.counts[0].addresses.estimate(), 3, "two of IPv4, and one network of IPv6");
        let unkeyed = {
            let mut sketch = Distinct::default();
            for address in addresses {
                sketch.note(network_of(address.parse().unwrap()));
            }
            sketch
        };
        assert_ne!(batch.counts[0].addresses, unkeyed);
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
        let (sealer, store, mut counts) = (sealer(), Store::default(), Counts::default());
        for key in 0..100 {
            counts.add(counted(key, (key % 2 == 0).then_some(RefusalCode::Disabled)), None);
        }
        crate::tests::now(flush(counts, &store, &sealer, &Zero)).unwrap();
        let kept = store.0.take();
        let [(name, value)] = kept.as_slice() else { panic!("{} writes", kept.len()) };
        let batch: UsageBatch = open(&sealer, name, value).unwrap();
        assert_eq!((name.as_str(), batch.ticket, batch.counts.len()), ("u:7", 7, 100));
        assert_eq!(batch.counts.iter().map(|c| c.outcomes.accepted()).sum::<u64>(), 50);
        assert_eq!(batch.refusals.len(), 50);
    }
}
