//! Keeps the progress of what goes on in steps: re-sealing, the walk along what is due, the
//! folding of use. It follows from what was found, so it needs
//! no event; the records that were changed have theirs. Two passes at once do no harm: each writes a place behind work that was done.

use crate::batch::{Batch, KvWrite};
use crate::ledger::Ledger;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Error, Result};
use keyward_records::{DueWalk, Folding, KeyUse, KvCount, KvRead, Record, Resealing, seal};

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

    /// Keeps what is known of the use of these keys, and how far its folding is.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn keep_use(&self, used: &[KeyUse], folding: &Folding) -> Result<()> {
        let mut entries = used.iter().map(|used| self.sealed(used)).collect::<Result<Vec<_>>>()?;
        entries.push(self.sealed(folding)?);
        Ok(self.kv.set_many(&Batch::new(entries)).await?)
    }

    async fn keep<T: Record>(&self, progress: &T) -> Result<()> {
        let entry = self.sealed(progress)?;
        Ok(self.kv.set_many(&Batch::new(vec![entry])).await?)
    }

    fn sealed<T: Record>(&self, record: &T) -> Result<(String, Vec<u8>)> {
        let sealed = seal(&self.rings.audit, record, self.rng.bytes())
            .map_err(|_| Error::internal("a progress is too large to be sealed"))?;
        Ok((record.store_key(), sealed))
    }
}
