//! Key-value stores as guests reach them: one interface over SQLite, Redis, memory and (in the test world)
//! a lagging replica. Here are the bounds every store shares and the place where faults are injected; the
//! backends know of neither.

pub(crate) mod config;
pub(crate) mod file;
mod memory;
mod redis;
pub(crate) mod snapshot;
mod sqlite;

use std::collections::HashMap;
use std::sync::{Arc, RwLock, Weak};
use std::time::Duration;

use self::memory::Memory;
pub(crate) use self::memory::page;
use self::redis::Redis;
use self::sqlite::Sqlite;
use crate::limits::Limits;
use crate::world::World;
use crate::world::faults::Op;
use crate::world::replica::Replica;

/// Why a store call failed. The text goes to the guest: no key, value or credential is in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoreError(pub(crate) String);

impl StoreError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

type Result<T> = std::result::Result<T, StoreError>;

/// A key with what is, or is to be, stored under it.
pub(crate) type Pair = (String, Vec<u8>);

/// A key with what was found under it.
pub(crate) type Found = (String, Option<Vec<u8>>);

/// Keys in one page of a listing.
pub(crate) const PAGE_KEYS: usize = 1_000;

/// One label's store.
pub(crate) struct Store {
    label: Arc<str>,
    backend: Arc<Backend>,
    key_bytes_max: usize,
    value_bytes_max: usize,
    time_max: Duration,
    world: Option<Arc<World>>,
}

enum Backend {
    Memory(Memory),
    Sqlite(Arc<Sqlite>),
    Redis(Redis),
    Replica(Arc<Replica>),
}

/// Calls one operation of whichever backend it is; the label is an argument since one SQLite file serves many.
macro_rules! on_backend {
    ($self:ident, $op:ident ( $($arg:expr),* )) => {
        match &*$self.backend {
            Backend::Memory(memory) => memory.$op($($arg),*),
            Backend::Sqlite(sqlite) => sqlite.$op(&$self.label, $($arg),*).await,
            Backend::Redis(redis) => redis.$op($($arg),*).await,
            Backend::Replica(replica) => replica.$op($($arg),*),
        }
    };
}

/// The same, with the test world's plan around it and a bound on its time.
macro_rules! call {
    ($self:ident, $component:expr, $operation:expr, $keys:expr, $op:ident ( $($arg:expr),* )) => {{
        let run = async || {
            match tokio::time::timeout($self.time_max, async { on_backend!($self, $op($($arg),*)) }).await {
                Ok(outcome) => outcome,
                Err(_) => Err(StoreError::new("the store did not answer in time; whether the call took effect is not known")),
            }
        };
        match &$self.world {
            None => run().await,
            Some(world) => {
                let plan = world.faults.before($component, &$self.label, $operation, $keys).await?;
                let mut outcome = run().await;
                for _ in 0..plan.repeats {
                    outcome = run().await;
                }
                plan.after().await?;
                outcome
            }
        }
    }};
}

impl Store {
    fn new(label: &str, backend: Backend, limits: &Limits, world: Option<&Arc<World>>) -> Self {
        Self {
            label: label.into(),
            backend: Arc::new(backend),
            key_bytes_max: limits.store_key_bytes_max,
            value_bytes_max: limits.store_value_bytes_max,
            time_max: limits.store_time_max,
            world: world.cloned(),
        }
    }

    pub(crate) async fn get(&self, component: &str, key: &str) -> Result<Option<Vec<u8>>> {
        self.check_key(key)?;
        // The hot path: a local read is answered without a timer.
        match (&*self.backend, &self.world) {
            (Backend::Sqlite(sqlite), None) => sqlite.get_now(&self.label, key),
            (Backend::Memory(memory), None) => memory.get(key),
            _ => call!(self, component, Op::Get, &[key], get(key)),
        }
    }

    pub(crate) async fn exists(&self, component: &str, key: &str) -> Result<bool> {
        self.check_key(key)?;
        call!(self, component, Op::Exists, &[key], exists(key))
    }

    pub(crate) async fn set(&self, component: &str, key: &str, value: &[u8]) -> Result<()> {
        self.check_pair(key, value)?;
        call!(self, component, Op::Set, &[key], set_many(vec![(key.to_owned(), value.to_vec())]))
    }

    pub(crate) async fn delete(&self, component: &str, key: &str) -> Result<()> {
        self.check_key(key)?;
        call!(self, component, Op::Delete, &[key], delete_many(vec![key.to_owned()]))
    }

    /// At most [`PAGE_KEYS`] keys that sort after `after` and start with `prefix`; the cursor for the next page.
    pub(crate) async fn keys(
        &self,
        component: &str,
        prefix: &str,
        after: Option<String>,
    ) -> Result<(Vec<String>, Option<String>)> {
        call!(self, component, Op::GetKeys, &[], keys(prefix, after.as_deref()))
    }

    /// In the order asked for; what is absent is `None`.
    pub(crate) async fn get_many(&self, component: &str, keys: Vec<String>) -> Result<Vec<Found>> {
        for key in &keys {
            self.check_key(key)?;
        }
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        call!(self, component, Op::GetMany, &names, get_many(&keys))
    }

    /// All or nothing.
    pub(crate) async fn set_many(&self, component: &str, pairs: Vec<Pair>) -> Result<()> {
        for (key, value) in &pairs {
            self.check_pair(key, value)?;
        }
        let names: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
        call!(self, component, Op::SetMany, &names, set_many(pairs.clone()))
    }

    pub(crate) async fn delete_many(&self, component: &str, keys: Vec<String>) -> Result<()> {
        for key in &keys {
            self.check_key(key)?;
        }
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        call!(self, component, Op::DeleteMany, &names, delete_many(keys.clone()))
    }

    /// Adds and answers the sum. A value that is no counter of this store's encoding, and a sum beyond 64 bits,
    /// are errors and change nothing.
    pub(crate) async fn increment(&self, component: &str, key: &str, delta: i64) -> Result<i64> {
        self.check_key(key)?;
        call!(self, component, Op::Increment, &[key], increment(key, delta))
    }

    /// Writes `new` if what is stored is `old`; says whether it did.
    pub(crate) async fn swap(
        &self,
        component: &str,
        key: &str,
        old: Option<Vec<u8>>,
        new: Vec<u8>,
    ) -> Result<bool> {
        self.check_pair(key, &new)?;
        call!(self, component, Op::Swap, &[key], swap(key, old.clone(), new.clone()))
    }

    /// The same store past the test world: neither counted nor subject to faults.
    pub(crate) fn untouched(&self) -> Self {
        Self { label: self.label.clone(), backend: self.backend.clone(), world: None, ..*self }
    }

    fn check_key(&self, key: &str) -> Result<()> {
        if key.len() <= self.key_bytes_max {
            Ok(())
        } else {
            Err(StoreError::new(format!(
                "the key has {} bytes; {} are allowed",
                key.len(),
                self.key_bytes_max
            )))
        }
    }

    fn check_pair(&self, key: &str, value: &[u8]) -> Result<()> {
        self.check_key(key)?;
        if value.len() <= self.value_bytes_max {
            Ok(())
        } else {
            Err(StoreError::new(format!(
                "the value has {} bytes; {} are allowed",
                value.len(),
                self.value_bytes_max
            )))
        }
    }
}

/// Every store of an application.
pub struct Stores {
    by_label: HashMap<String, Arc<Store>>,
    files: Vec<Arc<Sqlite>>,
}

impl Stores {
    pub(crate) fn get(&self, label: &str) -> Option<&Arc<Store>> {
        self.by_label.get(label)
    }

    /// The labels that exist.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.by_label.keys().map(String::as_str)
    }

    /// Finishes queued writes and folds each write-ahead log into its database.
    pub(crate) fn close(&self) {
        for file in &self.files {
            file.close();
        }
    }
}

/// One applied write, as replicas are told of it.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) key: String,
    /// Nothing: deleted.
    pub(crate) value: Option<Vec<u8>>,
}

/// Replicas that follow a store. Empty outside the test world.
#[derive(Clone, Default)]
pub(crate) struct Followers(Arc<RwLock<Vec<Following>>>);

/// A label and a replica that follows it.
type Following = (String, Weak<Replica>);

impl Followers {
    pub(crate) fn add(&self, label: &str, replica: &Arc<Replica>) {
        if let Ok(mut list) = self.0.write() {
            list.push((label.to_owned(), Arc::downgrade(replica)));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.read().map_or(true, |list| list.is_empty())
    }

    pub(crate) fn tell(&self, label: &str, changes: &[Change]) {
        let Ok(list) = self.0.read() else { return };
        for (followed, replica) in list.iter() {
            if followed == label
                && let Some(replica) = replica.upgrade()
            {
                replica.follow(changes);
            }
        }
    }
}

/// Spin's encoding of a counter on SQLite: eight bytes, little-endian.
pub(crate) fn read_counter(stored: Option<&[u8]>) -> Result<i64> {
    match stored {
        None => Ok(0),
        Some(bytes) => bytes.try_into().map(i64::from_le_bytes).map_err(|_| {
            StoreError::new(format!("the value has {} bytes and is no counter, which has 8", bytes.len()))
        }),
    }
}

pub(crate) fn add_to_counter(stored: Option<&[u8]>, delta: i64) -> Result<i64> {
    read_counter(stored)?.checked_add(delta).ok_or_else(|| StoreError::new("the counter would leave 64 bits"))
}
