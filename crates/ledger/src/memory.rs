//! A store in memory, for tests and the simulator: it can be told to fail before or after it applies, to be slow, to repeat, or to hang.
//! Each connection to it has faults of its own; replicas follow it, late or not at all while they are cut off.

use crate::batch::{Batch, KvWrite};
use keyward_domain::ports::Clock;
use keyward_records::{KvCount, KvForget, KvRead, KvUsage, SealedUsage, StoreError};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// One call of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A read of this key.
    Get(String),
    /// An increment of this counter.
    Increment(String),
    /// A batch with these keys.
    SetMany(Vec<String>),
    /// A batch of use under this key.
    Keep(String),
    /// A removal of this key.
    Forget(String),
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does what it should.
    None,
    /// It fails and nothing was done.
    Before,
    /// It is done, and its reply is lost.
    After,
    /// It is done twice, as where a proxy repeats it; the reply is the second's.
    Twice,
    /// It is done after this many milliseconds.
    Slow(u64),
    /// It is done, and its reply comes after this many milliseconds.
    SlowReply(u64),
    /// It never returns and does nothing: the caller was killed.
    Crash,
    /// It is done and never returns: the caller was killed right after.
    CrashAfter,
}

/// A copy of a store.
pub struct Backup {
    values: BTreeMap<String, Vec<u8>>,
    counters: BTreeMap<String, i64>,
}

type Plan = Box<dyn FnMut(&Call) -> Fault>;
type Entries = Vec<(String, Vec<u8>)>;

/// What lies in the store, and every batch in the order in which it was applied, with when that was by the monotonic clock.
#[derive(Default)]
struct Data {
    values: RefCell<BTreeMap<String, Vec<u8>>>,
    counters: RefCell<BTreeMap<String, i64>>,
    written: RefCell<Vec<(u64, Entries)>>,
}

/// A connection to the store: the calls made through it so far, and the plan of its faults.
pub struct MemoryKv<C> {
    clock: C,
    data: Rc<Data>,
    calls: RefCell<Vec<Call>>,
    plan: RefCell<Plan>,
}

impl<C: Clock> MemoryKv<C> {
    /// An empty store without faults; `clock` is what slow calls wait by.
    pub fn new(clock: C) -> Self {
        Self::to(Rc::default(), clock)
    }

    fn to(data: Rc<Data>, clock: C) -> Self {
        Self { clock, data, calls: RefCell::default(), plan: RefCell::new(Box::new(|_| Fault::None)) }
    }

    /// Another connection to the same store, without faults.
    pub fn connect(&self, clock: C) -> Self {
        Self::to(Rc::clone(&self.data), clock)
    }

    /// A replica of the store that has all that was written until now and follows it from here.
    pub fn replica(&self, clock: C) -> Replica<C> {
        Replica {
            clock,
            data: Rc::clone(&self.data),
            values: RefCell::new(self.values()),
            applied: Cell::new(self.written()),
            lag_ms: Cell::new(0),
            is_cut: Cell::new(false),
        }
    }

    /// How many batches were applied so far.
    pub fn written(&self) -> usize {
        self.data.written.borrow().len()
    }

    /// From now on `plan` says what becomes of each call.
    pub fn plan(&self, plan: impl FnMut(&Call) -> Fault + 'static) {
        *self.plan.borrow_mut() = Box::new(plan);
    }

    /// The calls since the last time this was asked.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.borrow_mut())
    }

    /// All values, for tests that look at what lies in the store.
    pub fn values(&self) -> BTreeMap<String, Vec<u8>> {
        self.data.values.borrow().clone()
    }

    /// All counters, for tests that look at what lies in the store.
    pub fn counters(&self) -> BTreeMap<String, i64> {
        self.data.counters.borrow().clone()
    }

    /// Overwrites or removes a value behind everybody's back.
    pub fn tamper(&self, key: &str, value: Option<Vec<u8>>) {
        match value {
            Some(value) => self.data.values.borrow_mut().insert(key.to_owned(), value),
            None => self.data.values.borrow_mut().remove(key),
        };
    }

    /// A copy of all that is in the store.
    pub fn backup(&self) -> Backup {
        Backup { values: self.data.values.borrow().clone(), counters: self.data.counters.borrow().clone() }
    }

    /// Puts a copy in the place of all that is in the store.
    pub fn restore(&self, backup: &Backup) {
        self.data.values.borrow_mut().clone_from(&backup.values);
        self.data.counters.borrow_mut().clone_from(&backup.counters);
    }

    /// Sets a counter behind everybody's back.
    pub fn set_counter(&self, key: &str, value: i64) {
        self.data.counters.borrow_mut().insert(key.to_owned(), value);
    }

    async fn call<T>(&self, call: Call, apply: impl Fn() -> T) -> Result<T, StoreError> {
        let fault = (self.plan.borrow_mut())(&call);
        self.calls.borrow_mut().push(call);
        match fault {
            Fault::None => Ok(apply()),
            Fault::Before => Err(StoreError),
            Fault::After => {
                apply();
                Err(StoreError)
            }
            Fault::Twice => {
                apply();
                Ok(apply())
            }
            Fault::Slow(ms) => {
                self.clock.sleep_ms(ms).await;
                Ok(apply())
            }
            Fault::SlowReply(ms) => {
                let result = apply();
                self.clock.sleep_ms(ms).await;
                Ok(result)
            }
            Fault::Crash => std::future::pending().await,
            Fault::CrashAfter => {
                apply();
                std::future::pending().await
            }
        }
    }
}

impl<C: Clock> KvRead for MemoryKv<C> {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.call(Call::Get(key.to_owned()), || self.data.values.borrow().get(key).cloned()).await
    }
}

impl<C: Clock> KvCount for MemoryKv<C> {
    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        self.call(Call::Increment(key.to_owned()), || {
            let mut counters = self.data.counters.borrow_mut();
            let value = counters.entry(key.to_owned()).or_insert(0);
            *value = value.saturating_add(delta);
            *value
        })
        .await
    }
}

impl<C: Clock> KvUsage for MemoryKv<C> {
    async fn keep(&self, usage: &SealedUsage) -> Result<(), StoreError> {
        self.call(Call::Keep(usage.store_key().to_owned()), || {
            self.tamper(usage.store_key(), Some(usage.value().to_vec()));
        })
        .await
    }
}

impl<C: Clock> KvForget for MemoryKv<C> {
    async fn forget(&self, key: &str) -> Result<(), StoreError> {
        self.call(Call::Forget(key.to_owned()), || {
            self.data.values.borrow_mut().remove(key);
            self.data.counters.borrow_mut().remove(key);
        })
        .await
    }
}

impl<C: Clock> KvWrite for MemoryKv<C> {
    async fn set_many(&self, batch: &Batch) -> Result<(), StoreError> {
        let keys = batch.entries().iter().map(|(key, _)| key.clone()).collect();
        self.call(Call::SetMany(keys), || {
            self.data.values.borrow_mut().extend(batch.entries().iter().cloned());
            self.data.written.borrow_mut().push((self.clock.monotonic_ms(), batch.entries().to_vec()));
        })
        .await
    }
}

/// A copy that has what was written to the store so long ago. One only reads it.
pub struct Replica<C> {
    clock: C,
    data: Rc<Data>,
    values: RefCell<BTreeMap<String, Vec<u8>>>,
    applied: Cell<usize>,
    lag_ms: Cell<u64>,
    is_cut: Cell<bool>,
}

impl<C: Clock> Replica<C> {
    /// From now on it is so many milliseconds behind.
    pub fn lag(&self, ms: u64) {
        self.lag_ms.set(ms);
    }

    /// Cuts it off from the store, or joins it again; what it missed comes at once then.
    pub fn cut(&self, is_cut: bool) {
        self.is_cut.set(is_cut);
    }

    /// How many batches it has: what was the last of [`MemoryKv::written`] by then is seen here.
    pub fn applied(&self) -> usize {
        if !self.is_cut.get() {
            let now_ms = self.clock.monotonic_ms();
            let written = self.data.written.borrow();
            let lag_ms = self.lag_ms.get();
            let come = written.iter().skip(self.applied.get());
            for (_, entries) in come.take_while(|(at_ms, _)| at_ms.saturating_add(lag_ms) <= now_ms) {
                self.values.borrow_mut().extend(entries.iter().cloned());
                self.applied.set(self.applied.get().saturating_add(1));
            }
        }
        self.applied.get()
    }
}

impl<C: Clock> KvRead for Replica<C> {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.applied();
        Ok(self.values.borrow().get(key).cloned())
    }
}
