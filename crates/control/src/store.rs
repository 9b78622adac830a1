//! The writing half of Spin's store: the ledger's batch through `wasi:keyvalue`, beside the reading half of `guest`.

use keyward_guest::SpinKv;
use keyward_ledger::{Batch, KvWrite};
use keyward_records::{KvCount, KvForget, KvRead, StoreError};

use bindings::wasi::keyvalue::{batch, store};

mod bindings {
    #![allow(
        missing_docs,
        unsafe_code,
        clippy::all,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::allow_attributes_without_reason,
        reason = "generated out of wit/keyvalue.wit"
    )]
    spin_sdk::wit_bindgen::generate!({
        path: "../../wit",
        world: "committing",
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        generate_all,
    });
}

/// A store of the control plane: the label `default`, or that of a witness.
pub struct ControlKv {
    label: String,
    reading: SpinKv,
}

impl Default for ControlKv {
    fn default() -> Self {
        Self::new(keyward_guest::store::LABEL_DEFAULT)
    }
}

impl ControlKv {
    /// The store of this label. Nothing is opened yet.
    pub fn new(label: &str) -> Self {
        Self { label: label.to_owned(), reading: SpinKv::new(label.to_owned()) }
    }
}

impl KvRead for ControlKv {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.reading.get(key).await
    }
}

impl KvCount for ControlKv {
    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        self.reading.increment(key, delta).await
    }
}

impl KvForget for ControlKv {
    async fn forget(&self, key: &str) -> Result<(), StoreError> {
        let bucket = store::open(&self.label).map_err(|error| failed("open", &error))?;
        bucket.delete(key).map_err(|error| failed("delete", &error))
    }
}

impl KvWrite for ControlKv {
    async fn set_many(&self, batch: &Batch) -> Result<(), StoreError> {
        let bucket = store::open(&self.label).map_err(|error| failed("open", &error))?;
        batch::set_many(&bucket, batch.entries()).map_err(|error| failed("set-many", &error))
    }
}

/// Says in the log what failed; the store's own text may name hosts, so only its category is told.
fn failed(operation: &str, error: &store::Error) -> StoreError {
    let category = match error {
        store::Error::NoSuchStore => "no such store",
        store::Error::AccessDenied => "access denied",
        store::Error::Other(_) => "the store failed",
    };
    eprintln!("store: {operation}: {category}");
    StoreError
}
