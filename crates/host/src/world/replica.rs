//! A read-only copy of another label's store as it was some time ago, for tests of what replication lag does.
//! It takes writes from nobody but the store it follows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::Clock;
use crate::store::{Change, Found, Pair, StoreError};

pub(crate) struct Replica {
    lag_ns: u64,
    clock: Arc<Clock>,
    state: Mutex<State>,
}

struct State {
    map: BTreeMap<String, Vec<u8>>,
    /// Changes not yet due, with the time they were made at.
    pending: VecDeque<(u64, Change)>,
}

impl Replica {
    pub(crate) fn new(lag: Duration, snapshot: Vec<Pair>, clock: Arc<Clock>) -> Self {
        let lag_ns = u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX);
        Self {
            lag_ns,
            clock,
            state: Mutex::new(State { map: snapshot.into_iter().collect(), pending: VecDeque::new() }),
        }
    }

    /// Hears of changes, in the order they were committed in.
    pub(crate) fn follow(&self, changes: &[Change]) {
        let now = self.clock.mono_ns();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pending.extend(changes.iter().map(|change| (now, change.clone())));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let now = self.clock.mono_ns();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((_, change)) =
            state.pending.pop_front_if(|(at, _)| at.saturating_add(self.lag_ns) <= now)
        {
            match change.value {
                Some(value) => drop(state.map.insert(change.key, value)),
                None => drop(state.map.remove(&change.key)),
            }
        }
        state
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().map.get(key).cloned())
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.state().map.contains_key(key))
    }

    pub(crate) fn keys(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<(Vec<String>, Option<String>), StoreError> {
        Ok(crate::store::page(&self.state().map, prefix, after))
    }

    pub(crate) fn get_many(&self, keys: &[String]) -> Result<Vec<Found>, StoreError> {
        let state = self.state();
        Ok(keys.iter().map(|key| (key.clone(), state.map.get(key).cloned())).collect())
    }

    pub(crate) fn set_many(&self, _: Vec<Pair>) -> Result<(), StoreError> {
        Err(read_only())
    }

    pub(crate) fn delete_many(&self, _: Vec<String>) -> Result<(), StoreError> {
        Err(read_only())
    }

    pub(crate) fn increment(&self, _: &str, _: i64) -> Result<i64, StoreError> {
        Err(read_only())
    }

    pub(crate) fn swap(&self, _: &str, _: Option<Vec<u8>>, _: Vec<u8>) -> Result<bool, StoreError> {
        Err(read_only())
    }
}

fn read_only() -> StoreError {
    StoreError::new("the store is a read-only replica")
}
