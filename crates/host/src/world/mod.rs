//! The test world: a clock that can be moved, seeded randomness, stores that fail on order, replicas that lag,
//! and the control interface that end-to-end tests drive all of it by. It exists only where it was asked for
//! by name; an ordinary start has none of it.

pub(crate) mod clock;
pub(crate) mod control;
pub(crate) mod faults;
pub(crate) mod replica;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use self::clock::Clock;
use self::faults::Faults;

/// What of the test world a start has.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// Where the control interface listens; port 0 takes a free one. Anybody who reaches it rules the host:
    /// loopback only.
    pub control: SocketAddr,
    /// Start of the guests' wall clock in Unix seconds; without it their clocks are the machine's. WASI 0.3's
    /// sleeps follow it; those of WASI 0.2 (`poll`, `std::thread::sleep`) stay with the machine's.
    pub virtual_clock_s: Option<u64>,
    /// The virtual clock stands still but for `advance`; otherwise it flows with real time.
    pub frozen: bool,
    /// Makes the guests' randomness repeat, instance by instance.
    pub seed: Option<u64>,
    /// Cron triggers fire on order alone.
    pub manual_cron: bool,
}

pub(crate) struct World {
    pub(crate) clock: Arc<Clock>,
    pub(crate) faults: Faults,
    pub(crate) manual_cron: bool,
    seed: Option<u64>,
    instances: AtomicU64,
}

impl World {
    pub(crate) fn new(config: &WorldConfig) -> Self {
        Self {
            clock: Arc::new(match config.virtual_clock_s {
                Some(start_s) => Clock::virtual_from(start_s, config.frozen),
                None => Clock::real(),
            }),
            faults: Faults::default(),
            manual_cron: config.manual_cron,
            seed: config.seed,
            instances: AtomicU64::new(0),
        }
    }

    /// The next instance's randomness, if it is to repeat.
    pub(crate) fn randomness(&self) -> Option<StdRng> {
        let instance = self.instances.fetch_add(1, Ordering::Relaxed);
        // Any fixed mixing does: neighbouring instances must differ, not resist attack.
        self.seed.map(|seed| StdRng::seed_from_u64(seed ^ instance.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }
}
