//! Limits, spent out of leases: an instance takes some units of a counter at once, spends them in memory, and gives back what is left a
//! little later. Most requests then touch no store, and no more is ever spent in a window than its limit.
//!
//! INVARIANT: what is spent or held of a window is never more than its limit, in one store of counters. A counter `C` moves by what is taken
//! and by what is given back, and by nothing else. Let `D` be what was taken in vain, beyond the limit, and not given back yet; then `C - D` is
//! what is spent or held. Whoever takes `w` and sees the counter before it at `C` is granted `limit - C` at most, so that afterwards at most
//! `limit - D` is spent or held. A reply that is lost leaves `C` too high, never too low, and so does a store that repeats what takes.
//! One that repeats what gives back, which nobody can tell, lets what one lease had left pass once more.

use crate::verdict::{RefusalCode, Verdict};
use keyward_crypto::Sealer;
use keyward_domain::limit::{Limit, OnOutage, Span};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Error, Result, Timestamp};
use keyward_records::{EndedLimits, KvCount, KvUsage, SealedUsage, StoreError, names};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// A lease is at most this share of what is left in the window: leases shrink as it empties, and below as many units they are of one
/// request each.
const SHARES: u64 = 64;
/// Requests that a lease lasts for at most: as many as an instance serves in its life.
const REQUESTS_MAX: u64 = 128;
/// How long a limit that was found used up is taken for that without another look, in milliseconds.
const USED_UP_MS: u64 = 250;
const MS_PER_HOUR: i64 = 3_600_000;

/// Whose limits: the id of a key or of an application.
pub(crate) type Holder = [u8; 16];

/// What tells one counter from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    holder: Holder,
    tag: u32,
    window: i64,
}

impl Place {
    fn counter(&self) -> String {
        names::usage::limit(&self.holder, self.tag, self.window)
    }
}

/// What an instance holds of one window.
#[derive(Debug, Default)]
struct Lease {
    /// Units that may be spent.
    left: u64,
    /// Units that were taken in vain.
    in_vain: u64,
    /// The counter as it was seen last; none before it was.
    counted: Option<u64>,
    /// Somebody is taking more at this moment.
    is_taking: bool,
    /// Until when it is taken for used up, by the monotonic clock.
    used_up_until_ms: u64,
    ends_at: Timestamp,
}

/// The instance's leases. They outlive requests; what is left of them is given back soon.
#[derive(Default)]
pub struct Leases {
    held: RefCell<BTreeMap<Place, Lease>>,
    born: RefCell<Vec<EndingCounter>>,
    is_seen_to: Cell<bool>,
}

/// A counter that came to be, and the hour by which its window is over, counted from 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndingCounter {
    /// Its store key.
    pub counter: String,
    /// When it can go.
    pub hour: i64,
}

/// What is to be written of leases that are given up.
#[derive(Debug, Default)]
pub struct GivenUp {
    /// Counters, and how much each goes down by.
    pub back: Vec<(String, i64)>,
    /// Counters that came to be since.
    pub born: Vec<EndingCounter>,
}

impl GivenUp {
    /// Gives back what is left, and notes the counters that came to be under the hours in which they end: each, whatever becomes of
    /// the others.
    ///
    /// # Errors
    /// Where the store did not answer to some of it: what is not given back stays taken until its window is over, and what is not noted is
    /// never forgotten.
    pub async fn write<K: KvCount + KvUsage>(
        self,
        kv: &K,
        records: &Sealer,
        rng: &impl Rng,
    ) -> core::result::Result<(), StoreError> {
        let mut outcome = Ok(());
        for (counter, units) in self.back {
            outcome = kv.increment(&counter, -units).await.map(drop).and(outcome);
        }
        let mut by_hour: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for EndingCounter { counter, hour } in self.born {
            by_hour.entry(hour).or_default().push(counter);
        }
        for (hour, counters) in by_hour {
            outcome = note(kv, records, rng, hour, counters).await.and(outcome);
        }
        outcome
    }
}

/// Notes counters that can go after an hour.
async fn note<K: KvCount + KvUsage>(
    kv: &K,
    records: &Sealer,
    rng: &impl Rng,
    hour: i64,
    counters: Vec<String>,
) -> core::result::Result<(), StoreError> {
    let ticket = kv.increment(&names::usage::ended_limits(hour), 1).await?.unsigned_abs();
    let ended = EndedLimits { hour, ticket, counters };
    kv.keep(&SealedUsage::ended(records, &ended, rng.bytes()).map_err(|_| StoreError)?).await
}

impl Leases {
    /// Whether there is something to give back or to note and nobody sees to it yet: whoever asks does from now on.
    pub fn wants_seeing_to(&self) -> bool {
        let has_work = !self.held.borrow().is_empty() || !self.born.borrow().is_empty();
        has_work && !self.is_seen_to.replace(true)
    }

    /// Gives up every lease. What is left of a window that is over stays where it is.
    pub fn give_up(&self, now: Timestamp) -> GivenUp {
        self.is_seen_to.set(false);
        let held = self.held.take();
        let left = held.into_iter().filter(|(_, lease)| now < lease.ends_at);
        let units =
            |lease: &Lease| i64::try_from(lease.left.saturating_add(lease.in_vain)).unwrap_or(i64::MAX);
        let back = left.map(|(place, lease)| (place, units(&lease))).filter(|(_, units)| *units > 0);
        GivenUp {
            back: back.map(|(place, units)| (place.counter(), units)).collect(),
            born: self.born.take(),
        }
    }
}

/// How a limit stands after a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitStanding {
    /// Which.
    pub name: String,
    /// Units in a window.
    pub amount: u64,
    /// Units left in this one, as far as this instance knows.
    pub remaining: u64,
    /// How long the window is, in seconds.
    pub window_s: u32,
    /// Whole seconds until the next begins.
    pub left_s: u32,
    /// Whether it is a quota.
    pub is_quota: bool,
}

/// What became of a request's cost.
#[derive(Debug, Default)]
struct Spent {
    /// The limits, in the order in which they were given.
    standings: Vec<LimitStanding>,
    /// The first of them that the request is too much for. Then it was spent of none.
    exceeded: Option<usize>,
}

/// How one limit took a request's cost.
enum Taken {
    Granted,
    Denied,
    /// The store did not answer, and the limit lets pass.
    Uncounted,
}

/// Spends of limits whose counters lie in this store.
pub struct Limiter<'a, K, C> {
    kv: &'a K,
    leases: &'a Leases,
    clock: &'a C,
}

impl<'a, K: KvCount, C: Clock> Limiter<'a, K, C> {
    /// A limiter; `leases` outlive the request.
    pub const fn new(kv: &'a K, leases: &'a Leases, clock: &'a C) -> Self {
        Self { kv, leases, clock }
    }

    /// What becomes of an accepted token that costs so many units of each limit that it is under: it is refused where one has too few left.
    /// With how the limits stand; nothing is spent of what was refused before.
    ///
    /// # Errors
    /// Where the store does not answer and a limit does not let pass then.
    pub async fn admit(&self, verdict: Verdict, cost: u64) -> Result<(Verdict, Vec<LimitStanding>)> {
        let Verdict::Accepted(verified) = verdict else { return Ok((verdict, Vec::new())) };
        let limits: Vec<(Holder, &Limit)> = verified.limits().collect();
        if limits.is_empty() {
            drop(limits);
            return Ok((Verdict::Accepted(verified), Vec::new()));
        }
        let Spent { standings, exceeded } = self.spend(&limits, cost).await?;
        drop(limits);
        let code = exceeded.and_then(|index| standings.get(index)).map(|standing| match standing.is_quota {
            true => RefusalCode::UsageExceeded,
            false => RefusalCode::RateLimited,
        });
        let verdict = match code {
            None => Verdict::Accepted(verified),
            Some(code) => Verdict::Refused(verified.refused(code)),
        };
        Ok((verdict, standings))
    }

    /// Spends `cost` units of each of these limits, or, where one of them has too few left, of none.
    async fn spend(&self, limits: &[(Holder, &Limit)], cost: u64) -> Result<Spent> {
        let now = self.clock.now();
        let placed: Vec<(Place, Span, &Limit)> = limits
            .iter()
            .map(|(holder, limit)| {
                let span = limit.window.at(now);
                (Place { holder: *holder, tag: limit.tag(), window: span.number }, span, *limit)
            })
            .collect();
        let takes = placed.iter().map(|(place, span, limit)| self.take(*place, span, limit, cost));
        let taken = futures::future::join_all(takes).await;
        let is_granted = |taken: &Result<Taken>| matches!(taken, Ok(Taken::Granted | Taken::Uncounted));
        if !taken.iter().all(is_granted) {
            for ((place, ..), taken) in placed.iter().zip(&taken) {
                if matches!(taken, Ok(Taken::Granted)) {
                    self.put_back(place, cost);
                }
            }
        }
        let mut spent = Spent::default();
        for (index, ((place, span, limit), taken)) in placed.iter().zip(taken).enumerate() {
            if matches!(taken?, Taken::Denied) && spent.exceeded.is_none() {
                spent.exceeded = Some(index);
            }
            spent.standings.push(self.standing(place, span, limit, now));
        }
        Ok(spent)
    }

    async fn take(&self, place: Place, span: &Span, limit: &Limit, cost: u64) -> Result<Taken> {
        if cost > limit.amount {
            return Ok(Taken::Denied);
        }
        let Some(wanted) = self.wanted(place, span, limit, cost) else { return Ok(Taken::Granted) };
        if wanted == 0 {
            return Ok(Taken::Denied);
        }
        let delta = i64::try_from(wanted).unwrap_or(i64::MAX);
        let counter = place.counter();
        let counted = self.kv.increment(&counter, delta).await;
        let mut held = self.leases.held.borrow_mut();
        let lease = held.entry(place).or_default();
        (lease.ends_at, lease.is_taking) = (span.ends_at, false);
        let counted = match counted {
            Ok(counted) => u64::try_from(counted).unwrap_or(0),
            Err(StoreError) if limit.on_outage == OnOutage::Pass => return Ok(Taken::Uncounted),
            Err(StoreError) => return Err(Error::store_unavailable()),
        };
        let before = counted.saturating_sub(wanted);
        let granted = limit.amount.saturating_sub(before).min(wanted);
        lease.left = lease.left.saturating_add(granted);
        lease.in_vain = lease.in_vain.saturating_add(wanted - granted);
        lease.counted = Some(counted);
        if before == 0 {
            let hour = span.ends_at.unix_ms().div_euclid(MS_PER_HOUR).saturating_add(1);
            self.leases.born.borrow_mut().push(EndingCounter { counter, hour });
        }
        match lease.left.checked_sub(cost) {
            Some(left) => {
                lease.left = left;
                Ok(Taken::Granted)
            }
            None => {
                lease.used_up_until_ms = self.clock.monotonic_ms().saturating_add(USED_UP_MS);
                Ok(Taken::Denied)
            }
        }
    }

    /// How much is to be taken of the counter; nothing where the lease has enough, which is spent then, and 0 where it is known to be used
    /// up.
    fn wanted(&self, place: Place, span: &Span, limit: &Limit, cost: u64) -> Option<u64> {
        let mut held = self.leases.held.borrow_mut();
        let lease = held.entry(place).or_default();
        lease.ends_at = span.ends_at;
        if let Some(left) = lease.left.checked_sub(cost) {
            lease.left = left;
            return None;
        }
        if self.clock.monotonic_ms() < lease.used_up_until_ms {
            return Some(0);
        }
        // While somebody takes a share already it is one request's. Before the counter was seen it is a share of a share of the whole, since it
        // may be taken in vain.
        let share = match lease.counted {
            _ if lease.is_taking => 0,
            Some(counted) => limit.amount.saturating_sub(counted) / SHARES,
            None => limit.amount / SHARES / SHARES,
        };
        lease.is_taking = true;
        Some(share.min(cost.saturating_mul(REQUESTS_MAX)).max(cost))
    }

    /// What was granted for a request that does not pass after all.
    fn put_back(&self, place: &Place, cost: u64) {
        if let Some(lease) = self.leases.held.borrow_mut().get_mut(place) {
            lease.left = lease.left.saturating_add(cost);
        }
    }

    fn standing(&self, place: &Place, span: &Span, limit: &Limit, now: Timestamp) -> LimitStanding {
        let held = self.leases.held.borrow();
        let known = held.get(place);
        let counted = known.and_then(|lease| lease.counted).unwrap_or(0);
        let own = known.map_or(0, |lease| lease.left);
        LimitStanding {
            name: limit.name.clone(),
            amount: limit.amount,
            remaining: limit.amount.saturating_sub(counted).saturating_add(own).min(limit.amount),
            window_s: span.length_s,
            left_s: span.left_s(now),
            is_quota: limit.window.is_quota(),
        }
    }
}
