//! A store in memory, for tests and the simulator: it can be told to fail before or after it applies, to be slow, to repeat, or to hang.

use crate::batch::{Batch, KvWrite};
use keyward_domain::ports::Clock;
use keyward_records::{KvCount, KvRead, StoreError};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// One call of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A read of this key.
    Get(String),
    /// An increment of this counter.
    Increment(String),
    /// A batch with these keys.
    SetMany(Vec<String>),
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

/// The store: values, counters, the calls so far, and the plan of faults.
pub struct MemoryKv<C> {
    clock: C,
    values: RefCell<BTreeMap<String, Vec<u8>>>,
    counters: RefCell<BTreeMap<String, i64>>,
    calls: RefCell<Vec<Call>>,
    plan: RefCell<Plan>,
}

impl<C: Clock> MemoryKv<C> {
    /// An empty store without faults; `clock` is what slow calls wait by.
    pub fn new(clock: C) -> Self {
        Self {
            clock,
            values: RefCell::default(),
            counters: RefCell::default(),
            calls: RefCell::default(),
            plan: RefCell::new(Box::new(|_| Fault::None)),
        }
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
        self.values.borrow().clone()
    }

    /// Overwrites or removes a value behind everybody's back.
    pub fn tamper(&self, key: &str, value: Option<Vec<u8>>) {
        match value {
            Some(value) => self.values.borrow_mut().insert(key.to_owned(), value),
            None => self.values.borrow_mut().remove(key),
        };
    }

    /// A copy of all that is in the store.
    pub fn backup(&self) -> Backup {
        Backup { values: self.values.borrow().clone(), counters: self.counters.borrow().clone() }
    }

    /// Puts a copy in the place of all that is in the store.
    pub fn restore(&self, backup: &Backup) {
        self.values.borrow_mut().clone_from(&backup.values);
        self.counters.borrow_mut().clone_from(&backup.counters);
    }

    /// Sets a counter behind everybody's back.
    pub fn set_counter(&self, key: &str, value: i64) {
        self.counters.borrow_mut().insert(key.to_owned(), value);
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
        self.call(Call::Get(key.to_owned()), || self.values.borrow().get(key).cloned()).await
    }
}

impl<C: Clock> KvCount for MemoryKv<C> {
    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        self.call(Call::Increment(key.to_owned()), || {
            let mut counters = self.counters.borrow_mut();
            let value = counters.entry(key.to_owned()).or_insert(0);
            *value = value.saturating_add(delta);
            *value
        })
        .await
    }
}

impl<C: Clock> KvWrite for MemoryKv<C> {
    async fn set_many(&self, batch: &Batch) -> Result<(), StoreError> {
        let keys = batch.entries().iter().map(|(key, _)| key.clone()).collect();
        self.call(Call::SetMany(keys), || self.values.borrow_mut().extend(batch.entries().iter().cloned()))
            .await
    }
}
