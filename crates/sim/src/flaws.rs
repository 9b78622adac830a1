//! The store as it is, and as it would be with a mistake planted in whatever lies between a use case and its effect. The simulator must
//! find each of them. They are planted here, under the code that ships, so that it has no switch that could be left on.

use crate::world::Store;
use keyward_ledger::{Batch, KvWrite};
use keyward_records::{KvCount, KvRead, LIVE, StoreError, names};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Once a key was rotated its tombstone is not looked at.
    TombstoneUnseen,
    /// A claim that was taken can be taken again: its counter gives the first number to everybody, and the key's record, which would
    /// show it, is not written.
    ClaimForgotten,
    /// A revision is given out twice, so that nobody waits for the other and one edit is lost.
    RevisionTwice,
    /// The place of delivery moves on and the queue that belongs to it is not written.
    CursorBeforeWork,
    /// A page of a projected list is not written.
    ProjectionLost,
    /// A batch is acknowledged when it was taken in, and written later: never, where the process dies.
    AcknowledgedEarly,
    /// What was just written is not what one reads: the value before it is.
    ReadStale,
    /// A change is written and its event is not.
    EventLost,
    /// What counts limits answers with the sum before the increment.
    SumBefore,
    /// A counter of a limit is gone while its window goes on, as where a store evicts.
    CounterEvicted,
    /// That counters of limits came to be is acknowledged and not kept.
    NoteLost,
    /// A month's key that is to be destroyed is not overwritten.
    MonthKept,
    /// On a store that was rolled back, the event says that something is revoked again, and it is not.
    ReplayLost,
    /// A key that stands otherwise is not taken out of its former count: the sums of a register are not written.
    CountKept,
    /// What a credential was before a version of it was destroyed is what one reads next: its record, the value, and no mark of its end.
    DestroyedReturns,
}

impl Flaw {
    pub const ALL: [Self; 15] = [
        Self::TombstoneUnseen,
        Self::ClaimForgotten,
        Self::RevisionTwice,
        Self::CursorBeforeWork,
        Self::ProjectionLost,
        Self::AcknowledgedEarly,
        Self::ReadStale,
        Self::EventLost,
        Self::SumBefore,
        Self::CounterEvicted,
        Self::NoteLost,
        Self::MonthKept,
        Self::ReplayLost,
        Self::CountKept,
        Self::DestroyedReturns,
    ];
}

/// How many writes of its record a key has behind it that was issued, claimed, offered a successor and renewed.
const WRITES_OF_A_ROTATION: u32 = 3;
/// Where the keys of months' personal data lie.
const MONTHS: &str = "s:";
/// Events of the epoch that is opened on a store that was rolled back.
const SECOND_EPOCH: &str = "e:2.";
/// What the names of a register's sums have in them.
const SUMS: &str = ".s";
/// Every so many times a flaw shows.
const SHOWS_EVERY: u32 = 3;

/// What the flaw remembers, for all connections to the store.
#[derive(Default)]
pub struct Memory {
    writes: RefCell<BTreeMap<String, u32>>,
    before: RefCell<BTreeMap<String, Option<Vec<u8>>>>,
    seen: Cell<u32>,
}

impl Memory {
    /// Whether it shows this time.
    pub fn shows(&self) -> bool {
        self.seen.set(self.seen.get() + 1);
        self.seen.get().is_multiple_of(SHOWS_EVERY)
    }
}

/// A connection to the store, with a flaw or none.
pub struct Flawed {
    pub kv: Store,
    /// The same store, without faults: what the flaw does, nothing prevents.
    pub behind: Rc<Store>,
    pub flaw: Option<Flaw>,
    pub memory: Rc<Memory>,
}

impl KvRead for Flawed {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.kv.get(key).await?;
        match self.flaw {
            Some(Flaw::TombstoneUnseen) if key.starts_with("k:") && found.is_some() => {
                let writes = self.memory.writes.borrow();
                let record = key.replacen("k:", "m:", 1);
                let rotated = writes.get(&record).is_some_and(|writes| *writes > WRITES_OF_A_ROTATION);
                Ok(if rotated { Some(LIVE.to_vec()) } else { found })
            }
            Some(Flaw::ReadStale | Flaw::DestroyedReturns) => {
                let before = self.memory.before.borrow_mut().remove(key);
                Ok(before.unwrap_or(found))
            }
            _ => Ok(found),
        }
    }
}

impl KvCount for Flawed {
    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        let count = self.kv.increment(key, delta).await?;
        let again = match self.flaw {
            Some(Flaw::ClaimForgotten) => key.starts_with("c:q:") && !key.ends_with(".refused"),
            Some(Flaw::RevisionTwice) => key.starts_with("c:m:") && count > 1 && self.memory.shows(),
            _ => false,
        };
        Ok(match self.flaw {
            Some(Flaw::ClaimForgotten) if again => 1,
            _ if again => count - delta,
            _ => count,
        })
    }
}

impl KvWrite for Flawed {
    async fn set_many(&self, batch: &Batch) -> Result<(), StoreError> {
        let keys: Vec<&String> = batch.entries().iter().map(|(key, _)| key).collect();
        let before = |key: &String| self.behind.values().get(key).cloned();
        let is = |start: &'static str| move |key: &&&String| key.starts_with(start);
        let lost: Option<(&String, Option<Vec<u8>>)> = match self.flaw {
            // These lie in the store of counters.
            None | Some(Flaw::SumBefore | Flaw::CounterEvicted | Flaw::NoteLost) => {
                return self.kv.set_many(batch).await;
            }
            Some(Flaw::TombstoneUnseen) => {
                let mut writes = self.memory.writes.borrow_mut();
                keys.iter().filter(is("m:")).for_each(|key| *writes.entry((*key).clone()).or_default() += 1);
                None
            }
            Some(Flaw::ReadStale) => {
                let flags = keys.iter().filter(is("k:")).map(|key| ((*key).clone(), before(key)));
                self.memory.before.borrow_mut().extend(flags.filter(|(_, before)| before.is_some()));
                None
            }
            Some(Flaw::CursorBeforeWork) => {
                let moves = keys.iter().any(|key| *key == names::DELIVERY);
                let queue =
                    keys.iter().find(|key| **key != names::DELIVERY && key.starts_with(names::DELIVERY));
                queue.filter(|_| moves && self.memory.shows()).map(|key| (*key, before(key)))
            }
            Some(Flaw::ProjectionLost) => {
                let page = keys.iter().find(|key| key.starts_with("p:") && key.ends_with(".0"));
                page.filter(|_| self.memory.shows()).map(|key| (*key, before(key)))
            }
            Some(Flaw::EventLost) => {
                let event = keys.iter().find(is("e:"));
                event.filter(|_| self.memory.shows()).map(|key| (*key, before(key)))
            }
            Some(Flaw::AcknowledgedEarly) => {
                // Taken in, and gone with the process.
                return if self.memory.shows() { Ok(()) } else { self.kv.set_many(batch).await };
            }
            Some(Flaw::ClaimForgotten) => {
                let is_claim = keys.iter().any(|key| key.starts_with("z:"));
                let record = keys.iter().find(is("m:"));
                record.filter(|_| is_claim).map(|key| (*key, before(key)))
            }
            Some(Flaw::MonthKept) => {
                let month = keys.iter().find(is(MONTHS));
                month.map(|key| (*key, before(key))).filter(|(_, before)| before.is_some())
            }
            Some(Flaw::ReplayLost) => {
                let is_replay = keys.iter().any(|key| key.starts_with(SECOND_EPOCH));
                let end = keys.iter().find(|key| ["k:", "x:"].iter().any(|start| key.starts_with(start)));
                end.filter(|_| is_replay).map(|key| (*key, before(key)))
            }
            Some(Flaw::CountKept) => {
                let sums = keys.iter().find(|key| names::is_of_a_register(key) && key.contains(SUMS));
                let kept = sums.filter(|_| self.memory.shows()).map(|key| (*key, before(key)));
                kept.filter(|(_, before)| before.is_some())
            }
            Some(Flaw::DestroyedReturns) => {
                let destroys = ["j:", "x:"].iter().all(|start| keys.iter().any(|key| key.starts_with(start)));
                let vault = keys.iter().filter(|key| key.starts_with("j:") || key.starts_with("x:"));
                let vault = vault.map(|key| ((*key).clone(), before(key)));
                self.memory.before.borrow_mut().extend(vault.filter(|_| destroys));
                None
            }
            Some(Flaw::RevisionTwice) => None,
        };
        let answer = self.kv.set_many(batch).await;
        if let Some((key, before)) = lost {
            self.behind.tamper(key, before);
        }
        answer
    }
}
