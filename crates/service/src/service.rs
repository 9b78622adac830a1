//! What every use case has at hand.

use crate::attempt::Attempt;
use keyward_domain::Result;
use keyward_domain::ports::{Clock, EventSink, Rng};
use keyward_ledger::{Draft, KvWrite, Ledger, Tickets, Witness, Writes};
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
    /// The use cases over this store; `sink` is told of each committed event, `public_url` is where people reach Keyward, without a
    /// slash at its end.
    pub fn new(
        kv: &'a K,
        rings: &'a Rings,
        clock: &'a C,
        rng: &'a R,
        sink: &'a dyn EventSink,
        public_url: &'a str,
    ) -> Self {
        Self { kv, rings, clock, rng, ledger: Ledger::new(kv, rings, clock, rng, sink), public_url }
    }

    /// The same use cases, held to what a witness saw.
    #[must_use]
    pub fn held_to(&self, witness: Witness) -> Self {
        Self { ledger: self.ledger.held_to(witness), ..*self }
    }

    /// As [`Ledger::commit`]; the attempt keeps the receipt.
    pub(crate) async fn commit<T>(
        &self,
        attempt: &Attempt,
        drafts: Vec<Draft>,
        prepare: impl FnOnce(&Tickets, &mut Writes<'_, K, C, R>) -> Result<T>,
    ) -> Result<T> {
        let committed = self.ledger.commit(drafts, prepare).await?;
        attempt.keep_receipt(committed.receipt);
        Ok(committed.value)
    }

    pub(crate) fn read(&self) -> Reader<'a, K> {
        self.ledger.read()
    }

    /// The ledger, for whoever runs the integrator.
    pub const fn ledger(&self) -> &Ledger<'a, K, C, R> {
        &self.ledger
    }
}
