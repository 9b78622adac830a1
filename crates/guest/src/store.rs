//! The key-value store behind the traits of `records`: reads through Spin's async interface, counts through `wasi:keyvalue`.
//! It opens one label, writes nothing but batches of use, and says in the log which operation failed and in which category, never what with.

use keyward_records::{KvCount, KvRead, KvUsage, SealedUsage, StoreError};
use spin_sdk::key_value;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bindings::wasi::keyvalue::{atomics, store as counting};

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
        world: "counting",
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        generate_all,
    });
}

/// The label that exists wherever Spin runs.
pub const LABEL_DEFAULT: &str = "default";

/// The handles of one label, kept in the instance: they say nothing of any request.
#[derive(Clone, Default)]
struct Handles {
    reading: Option<Rc<key_value::Store>>,
    counting: Option<Rc<counting::Bucket>>,
}

thread_local! {
    static HANDLES: RefCell<BTreeMap<Cow<'static, str>, Handles>> = RefCell::default();
}

/// A store of Spin's, by its label.
#[derive(Debug, Clone)]
pub struct SpinKv {
    label: Cow<'static, str>,
}

impl Default for SpinKv {
    fn default() -> Self {
        Self::new(LABEL_DEFAULT)
    }
}

impl SpinKv {
    /// The store of this label. Nothing is opened yet.
    pub fn new(label: impl Into<Cow<'static, str>>) -> Self {
        Self { label: label.into() }
    }

    fn held(&self) -> Handles {
        HANDLES.with_borrow(|all| all.get(&self.label).cloned()).unwrap_or_default()
    }

    fn hold(&self, change: impl FnOnce(&mut Handles)) {
        HANDLES.with_borrow_mut(|all| match all.get_mut(&self.label) {
            Some(handles) => change(handles),
            None => change(all.entry(self.label.clone()).or_default()),
        });
    }

    async fn reading(&self) -> Result<Rc<key_value::Store>, StoreError> {
        if let Some(store) = self.held().reading {
            return Ok(store);
        }
        let store = key_value::Store::open(&self.label).await.map_err(|e| failed("open", category(&e)))?;
        let store = Rc::new(store);
        self.hold(|handles| handles.reading = Some(Rc::clone(&store)));
        Ok(store)
    }

    fn counting(&self) -> Result<Rc<counting::Bucket>, StoreError> {
        if let Some(bucket) = self.held().counting {
            return Ok(bucket);
        }
        let bucket =
            counting::open(&self.label).map_err(|e| failed("open for counting", counting_category(&e)))?;
        let bucket = Rc::new(bucket);
        self.hold(|handles| handles.counting = Some(Rc::clone(&bucket)));
        Ok(bucket)
    }
}

impl KvRead for SpinKv {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let store = self.reading().await?;
        let value = store.get(key).await;
        value.map_err(|e| {
            // What failed once is opened anew.
            self.hold(|handles| handles.reading = None);
            failed("get", category(&e))
        })
    }
}

impl KvUsage for SpinKv {
    async fn keep(&self, usage: &SealedUsage) -> Result<(), StoreError> {
        let store = self.reading().await?;
        let kept = store.set(usage.store_key(), usage.value()).await;
        kept.map_err(|e| {
            self.hold(|handles| handles.reading = None);
            failed("keep use", category(&e))
        })
    }
}

impl KvCount for SpinKv {
    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        let bucket = self.counting()?;
        atomics::increment(&bucket, key, delta).map_err(|e| {
            self.hold(|handles| handles.counting = None);
            failed("increment", counting_category(&e))
        })
    }
}

fn failed(operation: &str, category: &str) -> StoreError {
    eprintln!("store: {operation} failed: {category}");
    StoreError
}

fn category(error: &key_value::Error) -> &'static str {
    match error {
        key_value::Error::StoreTableFull => "too many stores are open",
        key_value::Error::NoSuchStore => "no such store",
        key_value::Error::AccessDenied => "access denied",
        key_value::Error::Other(_) => "the store's own error",
    }
}

fn counting_category(error: &counting::Error) -> &'static str {
    match error {
        counting::Error::NoSuchStore => "no such store",
        counting::Error::AccessDenied => "access denied",
        counting::Error::Other(_) => "the store's own error",
    }
}
