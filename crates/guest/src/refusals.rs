//! Refused calls without a valid credential, counted per source and minute in the instance until the control plane writes them
//! down: a flood makes a few counts, not as many events. Nothing is written here.

use keyward_domain::Timestamp;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// How long a count waits for more of its kind, in milliseconds.
pub const DUE_AFTER_MS: i64 = 300;
/// Sources counted apart at once; the next ones are counted together.
const SOURCES_MAX: usize = 64;
const MS_PER_MINUTE: i64 = 60_000;

/// Where refused calls came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalSource {
    /// An IPv4 address, or the first address of an IPv6 network of 64 bits: one subscriber.
    Network(IpAddr),
    /// The address is not known.
    Unknown,
    /// More sources than are counted apart.
    Other,
}

impl RefusalSource {
    /// The source that an address belongs to.
    pub fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Unknown,
            Some(IpAddr::V6(v6)) => {
                Self::Network(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into())
            }
            Some(v4) => Self::Network(v4),
        }
    }
}

impl fmt::Display for RefusalSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(IpAddr::V6(first)) => write!(f, "{first}/64"),
            Self::Network(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Unknown => f.write_str("unknown"),
            Self::Other => f.write_str("other"),
        }
    }
}

/// One count that is due to be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusalCount {
    /// Minutes since 1970.
    pub minute: i64,
    /// From where.
    pub source: RefusalSource,
    /// How many.
    pub count: u32,
}

/// The instance's counts: at most [`SOURCES_MAX`] apart, whatever comes.
#[derive(Debug, Default)]
pub struct AnonymousRefusals {
    held: RefCell<BTreeMap<(i64, RefusalSource), (i64, u32)>>,
}

impl AnonymousRefusals {
    /// Nothing counted yet.
    pub const fn new() -> Self {
        Self { held: RefCell::new(BTreeMap::new()) }
    }

    /// Counts one refused call. `true` where it is the first of those held: whoever sees it arranges for [`Self::take_due`].
    pub fn note(&self, address: Option<IpAddr>, now: Timestamp) -> bool {
        let minute = now.unix_ms().div_euclid(MS_PER_MINUTE);
        let mut held = self.held.borrow_mut();
        let first = held.is_empty();
        let mut at = (minute, RefusalSource::of(address));
        if !held.contains_key(&at) && held.len() >= SOURCES_MAX {
            at = (minute, RefusalSource::Other);
        }
        let (_, count) = held.entry(at).or_insert((now.unix_ms(), 0));
        *count = count.saturating_add(1);
        first
    }

    /// Takes out what has waited for [`DUE_AFTER_MS`], or for a moment that the clock no longer knows.
    pub fn take_due(&self, now: Timestamp) -> Vec<RefusalCount> {
        let mut due = Vec::new();
        self.held.borrow_mut().retain(|(minute, source), (since_ms, count)| {
            let waited_ms = now.unix_ms().saturating_sub(*since_ms);
            let keep = (0..DUE_AFTER_MS).contains(&waited_ms);
            if !keep {
                due.push(RefusalCount { minute: *minute, source: *source, count: *count });
            }
            keep
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_unix_ms(600_000);

    fn later(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(START.unix_ms() + ms)
    }

    #[test]
    fn one_source_in_one_minute_is_one_count() {
        let refusals = AnonymousRefusals::new();
        let address = |text: &str| text.parse().ok();
        assert!(refusals.note(address("192.0.2.1"), START));
        assert!(!refusals.note(address("::ffff:192.0.2.1"), later(100)));
        refusals.note(address("2001:db8:1:2:3::4"), later(1));
        refusals.note(address("2001:db8:1:2:ffff::"), later(2));
        refusals.note(None, later(3));
        assert_eq!(refusals.take_due(later(299)), []);
        let due = refusals.take_due(later(400));
        let told: Vec<_> = due.iter().map(|d| (d.minute, d.source.to_string(), d.count)).collect();
        assert_eq!(
            told,
            [
                (10, "192.0.2.1".to_owned(), 2),
                (10, "2001:db8:1:2::/64".to_owned(), 2),
                (10, "unknown".to_owned(), 1),
            ]
        );
        assert_eq!(refusals.take_due(later(9_000)), []);
        assert!(refusals.note(None, START), "first again");
        assert_eq!(
            refusals.take_due(later(-60_000)).len(),
            1,
            "a clock that steps back holds nothing for ever"
        );
    }

    #[test]
    fn a_flood_from_everywhere_stays_bounded() {
        let refusals = AnonymousRefusals::new();
        for n in 0..10_000_u32 {
            refusals.note(Some(IpAddr::from(n.to_be_bytes())), START);
        }
        let due = refusals.take_due(later(1_000));
        assert_eq!(due.len(), SOURCES_MAX + 1);
        assert_eq!(due.iter().map(|d| d.count).sum::<u32>(), 10_000);
    }
}
