//! What the outside gives: time, randomness, and a place to tell of events. Only the outermost layer has the real ones.

use crate::event::Event;
use crate::timestamp::Timestamp;

/// Time: the wall's for people and records, the monotonic one for waiting.
#[allow(async_fn_in_trait, reason = "components are single-threaded; nothing here is sent between threads")]
pub trait Clock {
    /// The wall clock. It may step back.
    fn now(&self) -> Timestamp;

    /// Milliseconds since some fixed moment; never steps back.
    fn monotonic_ms(&self) -> u64;

    /// The same in microseconds, as finely as the clock goes.
    fn monotonic_us(&self) -> u64 {
        self.monotonic_ms().saturating_mul(1_000)
    }

    /// Returns after at least this many milliseconds of the monotonic clock.
    async fn sleep_ms(&self, ms: u64);
}

/// Cryptographically secure randomness.
pub trait Rng {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// `N` fresh bytes.
    fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// Where committed events are told of beside the log, so that they can be shipped elsewhere.
pub trait EventSink {
    /// `event` is in the log. Never called for one whose commit failed or is not known to have happened.
    fn committed(&self, event: &Event);
}

/// Tells nobody.
pub struct NoSink;

impl EventSink for NoSink {
    fn committed(&self, _: &Event) {}
}
