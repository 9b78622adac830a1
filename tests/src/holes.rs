//! Whether the log is whole, looked at in the store itself: every ticket that was ever taken has its event or its void.

use crate::keyward::Keyward;

/// Longer than a gap stays a gap (60 s), in milliseconds.
const GAP_MS: u64 = 61_000;
/// Gaps behind gaps that are waited for: each is seen once the one before it is explained.
const GAPS_MAX: usize = 64;

/// What tickets came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Holes {
    /// Tickets without an event that the log explains.
    pub voids: Vec<u64>,
    /// Tickets with neither.
    pub unexplained: Vec<u64>,
    /// Tickets with both.
    pub contradicted: Vec<u64>,
    /// The last ticket taken.
    pub last: u64,
}

impl Keyward {
    /// Lets gaps grow old and has the integrator look at them: it does so before every list.
    pub fn settle_log(&self) {
        for _ in 0..GAPS_MAX {
            self.events("action=keyward.init");
            if self.holes().unexplained.is_empty() {
                return;
            }
            self.advance_ms(GAP_MS);
        }
        self.events("action=keyward.init");
    }

    /// What is in the log and what is not.
    pub fn holes(&self) -> Holes {
        let seqs = |prefix: &str| -> Vec<u64> {
            let epoch = format!("{prefix}1.");
            self.store_keys(&epoch).iter().map(|key| key[epoch.len()..].parse().unwrap()).collect()
        };
        let (events, voids) = (seqs("e:"), seqs("v:"));
        let last = self.tickets_taken();
        assert!(events.iter().chain(&voids).all(|seq| *seq <= last), "an event beyond the counter");
        Holes {
            unexplained: (1..=last).filter(|seq| !events.contains(seq) && !voids.contains(seq)).collect(),
            contradicted: events.iter().filter(|seq| voids.contains(seq)).copied().collect(),
            voids,
            last,
        }
    }

    /// The counter of the log's tickets, as the store keeps it: eight bytes, little-endian, or decimal digits.
    fn tickets_taken(&self) -> u64 {
        let value = self.stored("c:audit:1").unwrap();
        match <[u8; 8]>::try_from(value.as_slice()) {
            Ok(bytes) if self.redis().is_none() => u64::from_le_bytes(bytes),
            _ => std::str::from_utf8(&value).unwrap().parse().unwrap(),
        }
    }
}
