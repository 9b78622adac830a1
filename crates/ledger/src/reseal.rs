//! Keeps the progress of re-sealing. It follows from what the pass found, so it needs no event; the records that were sealed anew
//! have theirs. Two passes at once do no harm: each writes a place together with what lies before it.

use crate::batch::{Batch, KvWrite};
use crate::ledger::Ledger;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Error, Result};
use keyward_records::{KvCount, KvRead, Record, Resealing, seal};

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'_, K, C, R> {
    /// Keeps how far re-sealing is.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn keep_resealing(&self, resealing: &Resealing) -> Result<()> {
        let sealed = seal(&self.rings.audit, resealing, self.rng.bytes())
            .map_err(|_| Error::internal("the progress of re-sealing is too large to be sealed"))?;
        Ok(self.kv.set_many(&Batch::new(vec![(resealing.store_key(), sealed)])).await?)
    }
}
