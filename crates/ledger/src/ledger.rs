//! What every writing needs at hand: the store, the rings, time and randomness.

use keyward_domain::ports::{Clock, EventSink, Rng};
use keyward_records::{KvCount, KvRead, Reader, Rings};

use crate::batch::KvWrite;

/// The epoch of audit tickets, until a rolled-back store asks for another.
const EPOCH: u32 = 1;

/// The only way to write.
pub struct Ledger<'a, K, C, R> {
    pub(crate) kv: &'a K,
    pub(crate) rings: &'a Rings,
    pub(crate) clock: &'a C,
    pub(crate) rng: &'a R,
    pub(crate) sink: &'a dyn EventSink,
    pub(crate) epoch: u32,
}

impl<K, C, R> Clone for Ledger<'_, K, C, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, C, R> Copy for Ledger<'_, K, C, R> {}

impl<'a, K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'a, K, C, R> {
    /// A ledger over `kv` that tells `sink` of what it committed.
    pub const fn new(kv: &'a K, rings: &'a Rings, clock: &'a C, rng: &'a R, sink: &'a dyn EventSink) -> Self {
        Self { kv, rings, clock, rng, sink, epoch: EPOCH }
    }

    /// The reading half.
    pub const fn read(&self) -> Reader<'a, K> {
        Reader::new(self.kv, self.rings)
    }

    /// The epoch in which tickets are taken.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The last ticket taken in this epoch; its event may not be written yet.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn last_ticket(&self) -> keyward_domain::Result<u64> {
        let last = self.kv.increment(&keyward_records::names::counter::audit(self.epoch), 0).await?;
        Ok(u64::try_from(last).unwrap_or(0))
    }
}
