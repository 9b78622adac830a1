//! Refused calls without a valid credential, counted per source and minute in the instance until the control plane writes them
//! down: a flood makes a few counts, not as many events. What comes back from there tells when a source is to wait. Nothing is
//! written here.

use keyward_domain::Timestamp;
use keyward_domain::error::BAD_CREDENTIALS_MAX;
use std::cell::{Cell, RefCell};
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

/// What is to be done about one refused call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// Minutes since 1970.
    pub minute: i64,
    /// From where, as it is counted.
    pub source: RefusalSource,
    /// Nobody sees to it that the counts are written down: whoever notes this one does.
    pub is_first: bool,
    /// The instance does not know yet what others have counted of this source in this minute: it may be asked for once.
    pub is_news: bool,
}

/// What the instance knows of one source in one minute.
#[derive(Debug, Default)]
struct Count {
    /// Not written down yet.
    held: u32,
    /// When the first of those was held, in milliseconds since 1970.
    since_ms: i64,
    /// Written down by any instance, as far as this one was told.
    written: u32,
    /// Whether it was told at all.
    is_told: bool,
}

/// The instance's counts: at most [`SOURCES_MAX`] apart, whatever comes.
#[derive(Debug, Default)]
pub struct AnonymousRefusals {
    counts: RefCell<BTreeMap<(i64, RefusalSource), Count>>,
    is_seen_to: Cell<bool>,
}

impl AnonymousRefusals {
    /// Nothing counted yet.
    pub const fn new() -> Self {
        Self { counts: RefCell::new(BTreeMap::new()), is_seen_to: Cell::new(false) }
    }

    /// Counts one refused call.
    pub fn note(&self, address: Option<IpAddr>, now: Timestamp) -> Noted {
        let minute = minute_of(now);
        let mut counts = self.counts.borrow_mut();
        let mut source = RefusalSource::of(address);
        if !counts.contains_key(&(minute, source)) && counts.len() >= SOURCES_MAX {
            // Only what is written down may be forgotten.
            let written = counts.iter().find(|(_, count)| count.held == 0).map(|(at, _)| *at);
            match written {
                Some(at) => drop(counts.remove(&at)),
                None => source = RefusalSource::Other,
            }
        }
        let count = counts.entry((minute, source)).or_default();
        if count.held == 0 {
            count.since_ms = now.unix_ms();
        }
        count.held = count.held.saturating_add(1);
        let is_first = !self.is_seen_to.replace(true);
        Noted { minute, source, is_first, is_news: !count.is_told }
    }

    /// So many calls of this source and minute are written down.
    pub fn learn(&self, minute: i64, source: RefusalSource, written: i64) {
        if let Some(count) = self.counts.borrow_mut().get_mut(&(minute, source)) {
            // What was taken out here may be on its way still.
            count.written = count.written.max(u32::try_from(written).unwrap_or(u32::MAX));
            count.is_told = true;
        }
    }

    /// How long this source is to wait, in whole seconds: until the minute is over, where it had too many calls refused in it. Sources
    /// that are not told apart need not wait for each other.
    pub fn wait_s(&self, minute: i64, source: RefusalSource, now: Timestamp) -> Option<u32> {
        let counts = self.counts.borrow();
        let count = counts.get(&(minute, source)).filter(|_| source != RefusalSource::Other)?;
        let is_much = count.written.saturating_add(count.held) > BAD_CREDENTIALS_MAX;
        let left_ms = minute.saturating_add(1).saturating_mul(MS_PER_MINUTE).saturating_sub(now.unix_ms());
        is_much.then(|| u32::try_from(left_ms.clamp(1, MS_PER_MINUTE)).unwrap_or(1).div_ceil(1000))
    }

    /// Takes out what has waited for [`DUE_AFTER_MS`], or for a moment that the clock no longer knows.
    pub fn take_due(&self, now: Timestamp) -> Vec<RefusalCount> {
        let mut due = Vec::new();
        self.counts.borrow_mut().retain(|(minute, source), count| {
            let waited_ms = now.unix_ms().saturating_sub(count.since_ms);
            if count.held > 0 && !(0..DUE_AFTER_MS).contains(&waited_ms) {
                due.push(RefusalCount { minute: *minute, source: *source, count: count.held });
                count.written = count.written.saturating_add(std::mem::take(&mut count.held));
            }
            count.held > 0 || *minute == minute_of(now)
        });
        due
    }

    /// Whether all is taken out. Whoever sees to the counts may stop then; the next call finds somebody else.
    pub fn is_done(&self) -> bool {
        let is_done = self.counts.borrow().values().all(|count| count.held == 0);
        self.is_seen_to.set(!is_done);
        is_done
    }
}

fn minute_of(now: Timestamp) -> i64 {
    now.unix_ms().div_euclid(MS_PER_MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_unix_ms(600_000);

    fn later(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(START.unix_ms() + ms)
    }

    fn address(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn one_source_in_one_minute_is_one_count() {
        let refusals = AnonymousRefusals::new();
        assert!(refusals.note(address("192.0.2.1"), START).is_first);
        assert!(!refusals.note(address("::ffff:192.0.2.1"), later(100)).is_first);
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
        assert!(refusals.is_done() && refusals.note(None, START).is_first, "first again");
        assert_eq!(
            refusals.take_due(later(-60_000)).len(),
            1,
            "a clock that steps back holds nothing for ever"
        );
    }

    #[test]
    fn whoever_sees_to_the_counts_stays_until_all_are_taken_out() {
        let refusals = AnonymousRefusals::new();
        assert!(refusals.note(address("192.0.2.1"), START).is_first);
        assert!(!refusals.note(address("192.0.2.2"), later(200)).is_first);
        assert_eq!(refusals.take_due(later(301)).len(), 1);
        assert!(!refusals.is_done(), "the second source came later");
        assert!(!refusals.note(address("192.0.2.1"), later(310)).is_first, "somebody is at it");
        assert_eq!(refusals.take_due(later(700)).len(), 2);
        assert!(refusals.is_done());
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
        // What is written down makes room for sources that come later.
        let noted = refusals.note(address("2001:db8::1"), later(2_000));
        assert_eq!(noted.source, RefusalSource::of(address("2001:db8::1")));
        assert_eq!(refusals.wait_s(10, RefusalSource::Other, later(2_000)), None, "nobody waits for others");
    }

    #[test]
    fn too_many_of_one_source_wait_until_the_minute_is_over() {
        let refusals = AnonymousRefusals::new();
        let source = RefusalSource::of(address("192.0.2.1"));
        let wait_s = |ms| refusals.wait_s(10, source, later(ms));
        for _ in 0..BAD_CREDENTIALS_MAX {
            refusals.note(address("192.0.2.1"), START);
        }
        assert_eq!(wait_s(0), None);
        refusals.note(address("192.0.2.1"), START);
        refusals.note(address("192.0.2.2"), START);
        assert_eq!((wait_s(0), wait_s(59_001), wait_s(70_000)), (Some(60), Some(1), Some(1)));
        assert_eq!(refusals.wait_s(10, RefusalSource::of(address("192.0.2.2")), START), None);
        // Written down they count as before, until the next minute.
        refusals.take_due(later(1_000));
        assert_eq!(wait_s(30_000), Some(30));
        let noted = refusals.note(address("192.0.2.1"), later(60_000));
        assert!(noted.minute == 11 && refusals.wait_s(11, source, later(60_000)).is_none());
    }

    #[test]
    fn what_others_counted_counts() {
        let refusals = AnonymousRefusals::new();
        let noted = refusals.note(address("192.0.2.1"), START);
        assert!(noted.is_news);
        refusals.learn(noted.minute, noted.source, i64::from(BAD_CREDENTIALS_MAX) - 1);
        assert_eq!(refusals.wait_s(noted.minute, noted.source, START), None);
        refusals.learn(noted.minute, noted.source, i64::from(BAD_CREDENTIALS_MAX));
        assert_eq!(refusals.wait_s(noted.minute, noted.source, START), Some(60));
        refusals.learn(noted.minute, noted.source, 0);
        assert_eq!(refusals.wait_s(noted.minute, noted.source, START), Some(60), "never fewer");
        assert!(!refusals.note(address("192.0.2.1"), START).is_news);
    }
}
