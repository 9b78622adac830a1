//! What every writing needs at hand: the store, the rings, time and randomness.

use keyward_domain::Result;
use keyward_domain::event::EventId;
use keyward_domain::ports::{Clock, EventSink, Rng};
use keyward_domain::timestamp::Month;
use keyward_records::{KvCount, KvRead, Reader, Rings, names};

use crate::batch::KvWrite;
use crate::rollback::Witness;

/// The only way to write.
pub struct Ledger<'a, K, C, R> {
    pub(crate) kv: &'a K,
    pub(crate) rings: &'a Rings,
    pub(crate) clock: &'a C,
    pub(crate) rng: &'a R,
    pub(crate) sink: &'a dyn EventSink,
    pub(crate) witness: Witness,
}

impl<K, C, R> Clone for Ledger<'_, K, C, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, C, R> Copy for Ledger<'_, K, C, R> {}

impl<'a, K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'a, K, C, R> {
    /// A ledger over `kv` that tells `sink` of what it committed, held to no witness.
    pub const fn new(kv: &'a K, rings: &'a Rings, clock: &'a C, rng: &'a R, sink: &'a dyn EventSink) -> Self {
        Self { kv, rings, clock, rng, sink, witness: Witness::None }
    }

    /// The reading half, which knows no key of a month that is over: it may have been destroyed since.
    pub fn read(&self) -> Reader<'a, K> {
        self.rings.month.let_go_but(Month::of(self.clock.now()));
        Reader::new(self.kv, self.rings)
    }

    /// The last ticket taken in the current epoch; its event may not be written yet.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn last_ticket(&self) -> Result<EventId> {
        let epoch = self.read().epochs().await?.current;
        Ok(EventId { epoch, seq: self.taken(epoch).await? })
    }

    /// How many tickets an epoch has given out.
    pub(crate) async fn taken(&self, epoch: u32) -> Result<u64> {
        let last = self.kv.increment(&names::counter::audit(epoch), 0).await?;
        Ok(u64::try_from(last).unwrap_or(0))
    }
}
