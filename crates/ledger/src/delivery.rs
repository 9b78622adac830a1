//! Keeps how far delivery to webhooks is. It is bookkeeping beside the log, as the progress of re-sealing is: what an attempt came to
//! changes nothing that anybody was granted, so it needs no event; what people do to it has one, in the same commit.
//!
//! All of it is written in turns at one record, so that no two runs ever write over each other.

use crate::batch::{Batch, KvWrite};
use crate::commit::COMMIT_MS_MAX;
use crate::ledger::Ledger;
use crate::turn::Turn;
use keyward_domain::delivery::Queue;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Code, Error, Result};
use keyward_records::{Delivery, KvCount, KvRead, Record, names, seal};

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'_, K, C, R> {
    /// A turn at the progress of delivery and at all queues, and the progress as it stands.
    ///
    /// # Errors
    /// Where the store does not answer or the record does not open.
    pub async fn delivery_turn(&self) -> Result<(Turn, Delivery)> {
        let reader = self.read();
        let read = async || reader.delivery().await;
        let revision_of = |delivery: &Delivery| delivery.revision;
        let (turn, found) = self.turn(names::DELIVERY, 0, 0, read, revision_of, |_: &Delivery| false).await?;
        Ok((turn, found.unwrap_or_default()))
    }

    /// Writes the progress of delivery and these queues, in their turn.
    ///
    /// # Errors
    /// Where the turn grew old meanwhile, and nothing was written; where the store does not answer.
    pub async fn keep_delivery(&self, mut delivery: Delivery, queues: &[Queue], turn: Turn) -> Result<()> {
        delivery.revision = turn.revision();
        let mut entries = vec![(delivery.store_key(), self.sealed_delivery(&delivery)?)];
        for queue in queues {
            entries.push((queue.store_key(), self.sealed_delivery(queue)?));
        }
        if self.clock.monotonic_ms().saturating_sub(turn.granted_ms) > COMMIT_MS_MAX {
            // A successor may be about to step over.
            return Err(Error::new(
                Code::StoreUnavailable,
                "the store took too long; nothing was changed; repeat later",
            ));
        }
        Ok(self.kv.set_many(&Batch::new(entries)).await?)
    }

    pub(crate) fn sealed_delivery<T: Record>(&self, record: &T) -> Result<Vec<u8>> {
        seal(&self.rings.audit, record, self.rng.bytes())
            .map_err(|_| Error::internal("the progress of delivery is too large to be sealed"))
    }
}
