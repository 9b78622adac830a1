//! The writing half of the store: one batch, whole or not at all.

use keyward_records::StoreError;

/// What is written together. Made by the ledger alone, so that no state is written without its events.
pub struct Batch {
    entries: Vec<(String, Vec<u8>)>,
}

impl Batch {
    pub(crate) const fn new(entries: Vec<(String, Vec<u8>)>) -> Self {
        Self { entries }
    }

    /// Store keys and values, each key once.
    pub fn entries(&self) -> &[(String, Vec<u8>)] {
        &self.entries
    }
}

/// Writing.
#[allow(async_fn_in_trait, reason = "components are single-threaded; nothing here is sent between threads")]
pub trait KvWrite {
    /// Writes all entries of the batch or none.
    ///
    /// # Errors
    /// [`StoreError`] where the store does not say that it did; it may have done it all the same.
    async fn set_many(&self, batch: &Batch) -> Result<(), StoreError>;
}

impl<T: KvWrite> KvWrite for &T {
    async fn set_many(&self, batch: &Batch) -> Result<(), StoreError> {
        (**self).set_many(batch).await
    }
}
