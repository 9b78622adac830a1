//! Keeps the progress of what goes on in steps: re-sealing, and the walk along what is due. It follows from what was found, so it needs
//! no event; the records that were changed have theirs. Two passes at once do no harm: each writes a place behind work that was done.

use crate::batch::{Batch, KvWrite};
use crate::ledger::Ledger;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Error, Result};
use keyward_records::{DueWalk, KvCount, KvRead, Record, Resealing, seal};

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'_, K, C, R> {
    /// Keeps how far re-sealing is.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn keep_resealing(&self, resealing: &Resealing) -> Result<()> {
        self.keep(resealing).await
    }

    /// Keeps how far the walk along what is due is.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn keep_due_walk(&self, walk: &DueWalk) -> Result<()> {
        self.keep(walk).await
    }

    async fn keep<T: Record>(&self, progress: &T) -> Result<()> {
        let sealed = seal(&self.rings.audit, progress, self.rng.bytes())
            .map_err(|_| Error::internal("a progress is too large to be sealed"))?;
        Ok(self.kv.set_many(&Batch::new(vec![(progress.store_key(), sealed)])).await?)
    }
}
