//! A store in memory (`type = "spin"` without a path). Lost when the host stops.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Change, Followers, Found, PAGE_KEYS, Pair, Result, add_to_counter};

#[derive(Default)]
pub(crate) struct Memory {
    label: String,
    map: Mutex<BTreeMap<String, Vec<u8>>>,
    followers: Followers,
}

impl Memory {
    pub(crate) fn new(label: &str) -> Self {
        Self { label: label.to_owned(), ..Self::default() }
    }

    pub(crate) fn followers(&self) -> &Followers {
        &self.followers
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        // No code panics while it holds the lock half-way through a change.
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.map().get(key).cloned())
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool> {
        Ok(self.map().contains_key(key))
    }

    pub(crate) fn keys(&self, prefix: &str, after: Option<&str>) -> Result<(Vec<String>, Option<String>)> {
        Ok(page(&self.map(), prefix, after))
    }

    pub(crate) fn get_many(&self, keys: &[String]) -> Result<Vec<Found>> {
        let map = self.map();
        Ok(keys.iter().map(|key| (key.clone(), map.get(key).cloned())).collect())
    }

    pub(crate) fn set_many(&self, pairs: Vec<Pair>) -> Result<()> {
        let mut map = self.map();
        for (key, value) in pairs {
            self.tell(&key, Some(&value));
            map.insert(key, value);
        }
        Ok(())
    }

    pub(crate) fn delete_many(&self, keys: Vec<String>) -> Result<()> {
        let mut map = self.map();
        for key in keys {
            self.tell(&key, None);
            map.remove(&key);
        }
        Ok(())
    }

    pub(crate) fn increment(&self, key: &str, delta: i64) -> Result<i64> {
        let mut map = self.map();
        let sum = add_to_counter(map.get(key).map(Vec::as_slice), delta)?;
        let value = sum.to_le_bytes().to_vec();
        self.tell(key, Some(&value));
        map.insert(key.to_owned(), value);
        Ok(sum)
    }

    pub(crate) fn swap(&self, key: &str, old: Option<Vec<u8>>, new: Vec<u8>) -> Result<bool> {
        let mut map = self.map();
        if map.get(key) != old.as_ref() {
            return Ok(false);
        }
        self.tell(key, Some(&new));
        map.insert(key.to_owned(), new);
        Ok(true)
    }

    fn tell(&self, key: &str, value: Option<&[u8]>) {
        if !self.followers.is_empty() {
            self.followers
                .tell(&self.label, &[Change { key: key.to_owned(), value: value.map(<[u8]>::to_vec) }]);
        }
    }
}

/// One page of a sorted map's keys.
pub(crate) fn page(
    map: &BTreeMap<String, Vec<u8>>,
    prefix: &str,
    after: Option<&str>,
) -> (Vec<String>, Option<String>) {
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    let keys: Vec<String> = map
        .range::<str, _>((start, Bound::Unbounded))
        .map(|(key, _)| key)
        .take_while(|key| key.starts_with(prefix))
        .take(PAGE_KEYS)
        .cloned()
        .collect();
    let cursor = (keys.len() == PAGE_KEYS).then(|| keys.last().cloned()).flatten();
    (keys, cursor)
}
