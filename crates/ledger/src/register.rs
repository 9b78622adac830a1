//! Keeps the registers of keys by what events say of how their keys stand. It is written in the integrator's batch; it decides nothing.
//!
//! Done again, late or half way round, it comes to the same: each record that an event touches is made anew from what lies below it.

use crate::batch::KvWrite;
use crate::integrate::READS_AT_ONCE;
use crate::ledger::Ledger;
use keyward_domain::event::Event;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::standing::Standing;
use keyward_domain::{ApplicationId, Error, KeyId, Result};
use keyward_records::register::{
    ROWS, RegisterHead, RegisterPage, RegisterSums, RegisterTotals, Registers, Row, RowPlace, SUMS, TOTALS,
    Tally,
};
use keyward_records::{KvCount, KvRead};
use std::collections::{BTreeMap, BTreeSet};

/// What an event says to a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// How a key stands.
    Stands {
        /// Which key.
        key: KeyId,
        /// How.
        standing: Standing,
        /// Whose it is, and in which generation it was issued: what a row begins with.
        issued: Option<(ApplicationId, u32)>,
    },
    /// That a generation of an application's keys ended, and all before it.
    Ended {
        /// Whose.
        application: ApplicationId,
        /// Which.
        generation: u32,
    },
}

/// What an event says to a register, if anything.
pub fn told(event: &Event) -> Option<Told> {
    let application = event.target.application;
    if let (Some(key), Some((standing, generation))) = (event.target.key, event.standing()) {
        return Some(Told::Stands { key, standing, issued: application.zip(generation) });
    }
    Some(Told::Ended { application: application?, generation: event.generation_ended()? })
}

/// The records that a batch of events changes.
#[derive(Default)]
pub(crate) struct Changed {
    pub(crate) registers: Option<Registers>,
    pub(crate) places: Vec<RowPlace>,
    pub(crate) pages: BTreeMap<(ApplicationId, u64), RegisterPage>,
    pub(crate) sums: BTreeMap<(ApplicationId, u64), RegisterSums>,
    pub(crate) heads: BTreeMap<ApplicationId, RegisterHead>,
    pub(crate) totals: BTreeMap<u64, RegisterTotals>,
}

/// What is to become of a row.
struct Change {
    place: RowPlace,
    standing: Standing,
    generation: Option<u32>,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'_, K, C, R> {
    /// What these events, in the order of the log, make of the registers.
    pub(crate) async fn register(&self, events: impl Iterator<Item = &Event>) -> Result<Changed> {
        let told: Vec<Told> = events.filter_map(told).collect();
        let mut changed = Changed::default();
        if told.is_empty() {
            return Ok(changed);
        }
        let changes = self.changes(&told, &mut changed).await?;
        self.change_rows(changes, &mut changed).await?;
        self.sum_up(&mut changed).await?;
        Ok(changed)
    }

    /// Where the rows lie that change: known, or next in their register.
    async fn changes(&self, told: &[Told], changed: &mut Changed) -> Result<Vec<Change>> {
        let reader = self.read();
        let keys: BTreeSet<KeyId> = told.iter().filter_map(Told::key).collect();
        let found = at_once(keys, |key| reader.row_place(key)).await?;
        let mut places: BTreeMap<KeyId, RowPlace> =
            found.into_iter().flatten().map(|place| (place.key, place)).collect();
        let owners = places.values().map(|place| place.application);
        let owners: BTreeSet<ApplicationId> =
            owners.chain(told.iter().filter_map(Told::application)).collect();
        let heads = at_once(owners, |application| reader.register(application)).await?;
        let heads = heads.into_iter().flatten().map(|head| (head.application, head));
        changed.heads = heads.collect();
        let known = reader.registers().await?;
        let mut registers = known;
        // Also where they were known: the number of registers may have been taken back by a batch that came late.
        registers.applications =
            changed.heads.values().fold(known.applications, |all, head| all.max(head.number + 1));
        let mut begin = |heads: &mut BTreeMap<ApplicationId, RegisterHead>, application| {
            heads.entry(application).or_insert_with(|| {
                registers.applications += 1;
                RegisterHead::empty(application, registers.applications - 1)
            });
        };
        let mut changes = Vec::new();
        for told in told {
            match *told {
                Told::Ended { application, generation } => {
                    begin(&mut changed.heads, application);
                    if let Some(head) = changed.heads.get_mut(&application) {
                        head.ended = head.ended.max(generation);
                    }
                }
                Told::Stands { key, standing, issued } => {
                    let generation = issued.map(|(_, generation)| generation);
                    let place = match (places.get(&key), issued) {
                        (Some(place), _) => *place,
                        (None, Some((application, _))) => {
                            begin(&mut changed.heads, application);
                            let rows = changed.heads.get(&application).map_or(0, |head| head.rows);
                            RowPlace { key, application, place: rows }
                        }
                        // Of a key that no register knows: the sweep along what is due will tell of it.
                        (None, None) => continue,
                    };
                    let head = changed.heads.get_mut(&place.application);
                    let head = head.ok_or_else(Error::store_unavailable)?;
                    head.rows = head.rows.max(place.place + 1);
                    if places.insert(key, place).is_none() {
                        changed.places.push(place);
                    }
                    changes.push(Change { place, standing, generation });
                }
            }
        }
        changed.registers = Some(registers).filter(|registers| *registers != known);
        Ok(changes)
    }

    async fn change_rows(&self, changes: Vec<Change>, changed: &mut Changed) -> Result<()> {
        let reader = self.read();
        let pages: BTreeSet<_> =
            changes.iter().map(|change| (change.place.application, change.place.place / ROWS)).collect();
        changed.pages = at_once(pages, async |(application, page)| {
            let empty = RegisterPage { application, page, rows: Vec::new() };
            let found = reader.register_page(application, page).await?;
            Ok(((application, page), found.unwrap_or(empty)))
        })
        .await?
        .into_iter()
        .collect();
        for Change { place: RowPlace { key, application, place }, standing, generation } in changes {
            let Some(page) = changed.pages.get_mut(&(application, place / ROWS)) else { continue };
            match (at(&mut page.rows, place % ROWS)?, generation) {
                (Slot::Taken(row), _) if row.key == key => row.tell(standing),
                (Slot::Next(rows), Some(generation)) => rows.push(Row { key, generation, standing }),
                // Another integrator wrote between the reads.
                _ => return Err(Error::store_unavailable()),
            }
        }
        Ok(())
    }

    /// Counts anew what lies above the pages that changed, and above the heads.
    async fn sum_up(&self, changed: &mut Changed) -> Result<()> {
        let reader = self.read();
        let numbers: BTreeSet<_> =
            changed.pages.keys().map(|(application, page)| (*application, page / SUMS)).collect();
        changed.sums = at_once(numbers, async |(application, number)| {
            let empty = RegisterSums { application, number, pages: Vec::new() };
            let found = reader.register_sums(application, number).await?;
            Ok(((application, number), found.unwrap_or(empty)))
        })
        .await?
        .into_iter()
        .collect();
        let ended = |heads: &BTreeMap<ApplicationId, RegisterHead>, application: &ApplicationId| {
            heads.get(application).map_or(0, |head| head.ended)
        };
        for ((application, page), RegisterPage { rows, .. }) in &changed.pages {
            if let Some(sums) = changed.sums.get_mut(&(*application, page / SUMS)) {
                put(&mut sums.pages, page % SUMS, Tally::of_rows(rows, ended(&changed.heads, application)))?;
            }
        }
        for ((application, number), sums) in &changed.sums {
            if let Some(head) = changed.heads.get_mut(application) {
                put(&mut head.sums, *number, Tally::of_tallies(&sums.pages, head.ended))?;
            }
        }
        let numbers: BTreeSet<u64> = changed.heads.values().map(|head| head.number / TOTALS).collect();
        changed.totals = at_once(numbers, async |number| {
            let empty = RegisterTotals { number, applications: Vec::new() };
            Ok((number, reader.register_totals(number).await?.unwrap_or(empty)))
        })
        .await?
        .into_iter()
        .collect();
        // In the order of their numbers: a new one comes after those before it.
        let mut heads: Vec<&RegisterHead> = changed.heads.values().collect();
        heads.sort_by_key(|head| head.number);
        for head in heads {
            if let Some(totals) = changed.totals.get_mut(&(head.number / TOTALS)) {
                put(&mut totals.applications, head.number % TOTALS, (head.application, head.counts()))?;
            }
        }
        Ok(())
    }
}

impl Told {
    const fn key(&self) -> Option<KeyId> {
        match self {
            Self::Stands { key, .. } => Some(*key),
            Self::Ended { .. } => None,
        }
    }

    fn application(&self) -> Option<ApplicationId> {
        match self {
            Self::Stands { issued, .. } => issued.map(|(application, _)| application),
            Self::Ended { application, .. } => Some(*application),
        }
    }
}

/// Reads some records, a bounded number at the same time.
async fn at_once<I, T>(
    of: impl IntoIterator<Item = I>,
    read: impl AsyncFn(I) -> Result<T>,
) -> Result<Vec<T>> {
    let mut of = of.into_iter().peekable();
    let mut found = Vec::new();
    while of.peek().is_some() {
        let some = of.by_ref().take(READS_AT_ONCE).map(|one| read(one));
        found.extend(futures::future::try_join_all(some).await?);
    }
    Ok(found)
}

/// A place among others.
enum Slot<'v, T> {
    Taken(&'v mut T),
    /// The first that is free.
    Next(&'v mut Vec<T>),
}

/// The place with this number. Others come before it, or another integrator wrote meanwhile over what was read.
fn at<T>(values: &mut Vec<T>, number: u64) -> Result<Slot<'_, T>> {
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    match number.cmp(&values.len()) {
        std::cmp::Ordering::Less => {
            values.get_mut(number).map(Slot::Taken).ok_or_else(Error::store_unavailable)
        }
        std::cmp::Ordering::Equal => Ok(Slot::Next(values)),
        std::cmp::Ordering::Greater => Err(Error::store_unavailable()),
    }
}

fn put<T>(values: &mut Vec<T>, number: u64, value: T) -> Result<()> {
    match at(values, number)? {
        Slot::Taken(place) => *place = value,
        Slot::Next(values) => values.push(value),
    }
    Ok(())
}
