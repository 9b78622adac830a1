//! A store opened by native code, without an application around it: what sets a store up before the application first starts.
//! It reads and writes as a component would, and knows nothing of what lies in the store.

use std::path::Path;
use std::sync::Arc;

use crate::error::StartError;
use crate::limits::Limits;
use crate::store::config::{open_file, open_stores};
use crate::store::{Store, Stores};

/// The store behind one label.
pub struct NativeStore {
    stores: Stores,
    store: Arc<Store>,
}

/// A store call that failed; its text holds no key, value or credential.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NativeStoreError(String);

/// Whom the store's own records name as the caller.
const CALLER: &str = "native";

impl NativeStore {
    /// Opens the store that components know by `label`, by the same configuration. To be called within a Tokio runtime: a Redis
    /// client starts a task of its own.
    ///
    /// # Errors
    /// [`StartError`] where the configuration is wrong or has no such label, or the store does not open.
    pub fn open(label: &str, runtime_config: Option<&Path>, state_dir: &Path) -> Result<Self, StartError> {
        Self::of(label, open_stores(runtime_config, state_dir, &Limits::default(), None)?)
    }

    /// Opens a store's SQLite file to read it as it is: a copy, or the file of a host that runs. Every write fails; a counter is
    /// read by an increment of 0.
    ///
    /// # Errors
    /// [`StartError`] where there is no such file or it is no store.
    pub fn open_file(label: &str, path: &Path) -> Result<Self, StartError> {
        Self::of(label, open_file(label, path, &Limits::default())?)
    }

    fn of(label: &str, stores: Stores) -> Result<Self, StartError> {
        let store = stores.get(label).cloned();
        let store = store.ok_or_else(|| {
            StartError::store(label, "the runtime configuration does not say where it is kept")
        })?;
        Ok(Self { stores, store })
    }

    /// The value of `key`; `None` where it is absent.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, NativeStoreError> {
        self.store.get(CALLER, key).await.map_err(|e| NativeStoreError(e.0))
    }

    /// Writes all pairs or none.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), NativeStoreError> {
        self.store.set_many(CALLER, pairs).await.map_err(|e| NativeStoreError(e.0))
    }

    /// Adds `delta` to a counter and gives the new value.
    ///
    /// # Errors
    /// Where the store fails or the value is no counter.
    pub async fn increment(&self, key: &str, delta: i64) -> Result<i64, NativeStoreError> {
        self.store.increment(CALLER, key, delta).await.map_err(|e| NativeStoreError(e.0))
    }

    /// Finishes what is queued and closes the store; a file on disk is whole afterwards.
    pub fn close(self) {
        self.stores.close();
    }
}
