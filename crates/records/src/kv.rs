//! What Keyward asks of a store in order to read and to count. Writing is a trait of the ledger.

use crate::usage::SealedUsage;

/// The store did not do it, or did not say whether it did. Why stands in the log of whoever implements the trait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreError;

impl From<StoreError> for keyward_domain::Error {
    fn from(_: StoreError) -> Self {
        Self::store_unavailable()
    }
}

/// Reading.
#[allow(async_fn_in_trait, reason = "components are single-threaded; nothing here is sent between threads")]
pub trait KvRead {
    /// The value of `key`; `None` where it is absent.
    ///
    /// # Errors
    /// [`StoreError`] where the store does not answer.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
}

/// Counting. A counter's key is touched by nothing else, since its encoding differs from store to store.
#[allow(async_fn_in_trait, reason = "components are single-threaded; nothing here is sent between threads")]
pub trait KvCount {
    /// Adds `delta` and gives the new value, which is unique among all callers where `delta` is not zero. An absent counter is 0.
    ///
    /// # Errors
    /// [`StoreError`] where the store does not answer; the counter may have moved all the same.
    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError>;
}

/// Keeping use: the one value that validators write.
#[allow(async_fn_in_trait, reason = "components are single-threaded; nothing here is sent between threads")]
pub trait KvUsage {
    /// Keeps a batch of use.
    ///
    /// # Errors
    /// [`StoreError`] where the store does not say that it did.
    async fn keep(&self, usage: &SealedUsage) -> Result<(), StoreError>;
}

/// Forgetting what was counted and nobody needs any more. No record of state is ever forgotten.
#[allow(async_fn_in_trait, reason = "components are single-threaded; nothing here is sent between threads")]
pub trait KvForget {
    /// Removes a value or a counter; one that is absent is none to remove.
    ///
    /// # Errors
    /// [`StoreError`] where the store does not say that it did.
    async fn forget(&self, key: &str) -> Result<(), StoreError>;
}

impl<T: KvRead> KvRead for &T {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).get(key).await
    }
}

impl<T: KvCount> KvCount for &T {
    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        (**self).increment(key, delta).await
    }
}
