//! Time, as WASI tells it. Sleeping stalls the request that sleeps and no other.

use keyward_domain::Timestamp;
use keyward_domain::ports::Clock;
use spin_sdk::wasip3::clocks::{monotonic_clock, system_clock};

const NS_PER_MS: u64 = 1_000_000;
const NS_PER_US: u64 = 1_000;

/// The platform's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct WasiClock;

impl Clock for WasiClock {
    fn now(&self) -> Timestamp {
        let now = system_clock::now();
        let whole = now.seconds.saturating_mul(1000);
        Timestamp::from_unix_ms(whole.saturating_add(i64::from(now.nanoseconds / 1_000_000)))
    }

    fn monotonic_ms(&self) -> u64 {
        monotonic_clock::now() / NS_PER_MS
    }

    fn monotonic_us(&self) -> u64 {
        monotonic_clock::now() / NS_PER_US
    }

    async fn sleep_ms(&self, ms: u64) {
        monotonic_clock::wait_for(ms.saturating_mul(NS_PER_MS)).await;
    }
}
