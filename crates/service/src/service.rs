//! What every use case has at hand.

use keyward_domain::ports::{Clock, Rng};
use keyward_ledger::{KvWrite, Ledger};
use keyward_records::{KvCount, KvRead, Reader, Rings};

/// The outcome of a creating request may be had again for this long, in seconds: a day, as Stripe does.
pub(crate) const REPLAY_S: i64 = 24 * 3600;

/// The use cases.
pub struct Service<'a, K, C, R> {
    pub(crate) kv: &'a K,
    pub(crate) rings: &'a Rings,
    pub(crate) clock: &'a C,
    pub(crate) rng: &'a R,
    pub(crate) ledger: Ledger<'a, K, C, R>,
    pub(crate) public_url: &'a str,
}

impl<'a, K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'a, K, C, R> {
    /// The use cases over this store; `public_url` is where people reach Keyward, without a slash at its end.
    pub fn new(kv: &'a K, rings: &'a Rings, clock: &'a C, rng: &'a R, public_url: &'a str) -> Self {
        Self { kv, rings, clock, rng, ledger: Ledger::new(kv, rings, clock, rng), public_url }
    }

    pub(crate) const fn read(&self) -> Reader<'a, K> {
        self.ledger.read()
    }

    /// The ledger, for whoever runs the integrator.
    pub const fn ledger(&self) -> &Ledger<'a, K, C, R> {
        &self.ledger
    }
}
