//! A store opened by native code, without an application around it: what sets a store up before the application first starts.
//! It reads and writes as a component would, and knows nothing of what lies in the store.

use std::path::Path;
use std::sync::Arc;

use crate::error::StartError;
use crate::limits::Limits;
use crate::start::FileStore;
use crate::store::config::{file_of, open_file, open_stores};
use crate::store::snapshot::Snapshot;
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
        Self::of(label, open_stores(runtime_config, &[], state_dir, &Limits::default(), None)?)
    }

    /// Opens a store of its own, out of no configuration. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] where its file does not open.
    pub fn open_further(further: &FileStore, state_dir: &Path) -> Result<Self, StartError> {
        Self::of(
            &further.label,
            open_stores(None, std::slice::from_ref(further), state_dir, &Limits::default(), None)?,
        )
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

/// A store opened to be read and never written: an SQLite file as it was at one moment, or a server as it is.
pub enum ReadStore {
    /// The file, whoever writes it meanwhile.
    File(StoreSnapshot),
    /// What is no file.
    Server(NativeStore),
}

impl ReadStore {
    /// Opens the store that components know by `label`, by the same configuration. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// As [`NativeStore::open`]; a file that is not there is not made.
    pub fn open(label: &str, runtime_config: Option<&Path>, state_dir: &Path) -> Result<Self, StartError> {
        match file_of(label, runtime_config, state_dir)? {
            Some(path) => StoreSnapshot::open(label, &path).map(Self::File),
            None => NativeStore::open(label, runtime_config, state_dir).map(Self::Server),
        }
    }

    /// Values in the order asked for; `None` where there is none.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, NativeStoreError> {
        match self {
            Self::File(file) => file.get_many(keys),
            Self::Server(server) => {
                let found = server.store.get_many(CALLER, keys.to_vec()).await;
                let found = found.map_err(|e| NativeStoreError(e.0))?;
                Ok(found.into_iter().map(|(_, value)| value).collect())
            }
        }
    }

    /// A counter; 0 where there is none.
    ///
    /// # Errors
    /// Where the store fails or the value is no counter.
    pub async fn counter(&self, key: &str) -> Result<i64, NativeStoreError> {
        match self {
            Self::File(file) => file.counter(key),
            // Not by an increment of 0, which would write.
            Self::Server(server) => match server.get(key).await? {
                None => Ok(0),
                Some(value) => std::str::from_utf8(&value)
                    .ok()
                    .and_then(|digits| digits.parse().ok())
                    .ok_or_else(|| NativeStoreError("the value is no counter of decimal digits".to_owned())),
            },
        }
    }

    /// The name of everything that lies there. Not at one moment, where the store is a server.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn names(&self) -> Result<Vec<String>, NativeStoreError> {
        let server = match self {
            Self::File(file) => return file.names(),
            Self::Server(server) => server,
        };
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = server.store.keys(CALLER, "", after).await;
            let (keys, next) = page.map_err(|e| NativeStoreError(e.0))?;
            names.extend(keys);
            after = next;
            if after.is_none() {
                names.sort_unstable();
                names.dedup();
                return Ok(names);
            }
        }
    }
}

/// One label of an SQLite file as it was when it was opened, a copy of it included. The file is not changed, nor is one made beside it.
pub struct StoreSnapshot {
    snapshot: Snapshot,
}

impl StoreSnapshot {
    /// Opens the file and holds the moment.
    ///
    /// # Errors
    /// [`StartError`] where there is no such file or it is none of a store.
    pub fn open(label: &str, path: &Path) -> Result<Self, StartError> {
        let snapshot = Snapshot::open(label, path).map_err(|reason| StartError::store(label, reason))?;
        Ok(Self { snapshot })
    }

    /// Values in the order asked for; `None` where there is none.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, NativeStoreError> {
        self.snapshot.get_many(keys).map_err(|e| NativeStoreError(e.0))
    }

    /// A counter; 0 where there is none.
    ///
    /// # Errors
    /// Where the file cannot be read or the value is no counter.
    pub fn counter(&self, key: &str) -> Result<i64, NativeStoreError> {
        self.snapshot.counter(key).map_err(|e| NativeStoreError(e.0))
    }

    /// The name of everything that lies there, sorted.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn names(&self) -> Result<Vec<String>, NativeStoreError> {
        self.snapshot.names().map_err(|e| NativeStoreError(e.0))
    }
}
