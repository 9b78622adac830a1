//! Keeps the progress of what goes on in steps: re-sealing, the walk along what is due, the folding of use. It follows from what was
//! found, so it needs no event; the records that were changed have theirs. Two passes at once do no harm: each writes a place behind
//! work that was done.

use crate::batch::{Batch, KvWrite};
use crate::ledger::Ledger;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Error, Result};
use keyward_records::{
    DueWalk, EndedWalk, Folding, KeyUse, KvCount, KvRead, Maintained, Record, Refusals, Requests, Resealing,
    RotationWalk, UseBlock, seal,
};

/// Records of use that batches changed.
#[derive(Default)]
pub struct FoldedUse {
    /// What is known of each key in all.
    pub keys: Vec<KeyUse>,
    /// And over time.
    pub blocks: Vec<UseBlock>,
    /// The requests over time: to all keys, and to those of each application.
    pub requests: Vec<Requests>,
    /// The latest refusals: those of all applications, and those of each.
    pub refusals: Vec<Refusals>,
}

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

    /// Keeps which rotations of credentials are under way.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn keep_rotation_walk(&self, walk: &RotationWalk) -> Result<()> {
        self.keep(walk).await
    }

    /// Keeps that the work that is due from time to time was done just now.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn keep_maintained(&self) -> Result<()> {
        self.keep(&Maintained { at: self.clock.now() }).await
    }

    /// Keeps how far the forgetting of counters of limits is.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn keep_ended_walk(&self, walk: &EndedWalk) -> Result<()> {
        self.keep(walk).await
    }

    /// Keeps what was folded of use, and how far the folding is: all of it or nothing.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn keep_use(&self, folded: &FoldedUse, folding: &Folding) -> Result<()> {
        let mut entries = vec![self.sealed(folding)?];
        for used in &folded.keys {
            entries.push(self.sealed(used)?);
        }
        for block in &folded.blocks {
            entries.push(self.sealed(block)?);
        }
        for requests in &folded.requests {
            entries.push(self.sealed(requests)?);
        }
        for refusals in &folded.refusals {
            entries.push(self.sealed(refusals)?);
        }
        Ok(self.kv.set_many(&Batch::new(entries)).await?)
    }

    async fn keep<T: Record>(&self, progress: &T) -> Result<()> {
        let entry = self.sealed(progress)?;
        Ok(self.kv.set_many(&Batch::new(vec![entry])).await?)
    }

    /// What is written of a record that follows from the log, or lies beside it.
    pub(crate) fn sealed<T: Record>(&self, record: &T) -> Result<(String, Vec<u8>)> {
        let sealed = seal(&self.rings.audit, record, self.rng.bytes())
            .map_err(|_| Error::internal("what follows from the log is too large to be sealed"))?;
        Ok((record.store_key(), sealed))
    }
}
