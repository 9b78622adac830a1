//! The log out of a store itself, with the rings at hand: every value is opened here.

use crate::source::{
    Content, Inventory, Listed, LogSource, Register, Registered, Stand, Ticket, ring_version,
};
use keyward_crypto::Sealer;
use keyward_crypto::digest::leaf_hash;
use keyward_crypto::tree::{Hash, TileId};
use keyward_domain::event::EventId;
use keyward_domain::timestamp::Month;
use keyward_domain::{ApplicationId, KeyId};
use keyward_records::projection::{Head, ListHead, ListPage, PAGE_ENTRIES};
use keyward_records::register::{
    Counts, ROWS, RegisterHead, RegisterPage, RegisterSums, RegisterTotals, Registers, Row, RowPlace, SUMS,
    TOTALS,
};
use keyward_records::{Epochs, PersonalKey, Record, RecordError, StoredEvent, Void, names, open};
use std::collections::HashMap;
use std::sync::Mutex;

/// Values asked for at a time.
const VALUES_AT_ONCE: usize = 1024;

/// What a store is asked for: it is never written.
pub trait Values: Sync {
    /// Why the store does not answer.
    type Error: Send;

    /// Values in the order asked for; `None` where there is none.
    ///
    /// # Errors
    /// Where the store does not answer.
    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, Self::Error>;

    /// A counter; 0 where there is none.
    ///
    /// # Errors
    /// Where the store does not answer.
    fn counter(&self, key: &str) -> Result<i64, Self::Error>;

    /// The name of everything that lies there.
    ///
    /// # Errors
    /// Where the store does not answer.
    fn names(&self) -> Result<Vec<String>, Self::Error>;
}

/// A log in a store, opened under the audit ring.
pub struct StoreSource<'a, V> {
    values: &'a V,
    audit: &'a Sealer,
    origin: String,
    months: Mutex<HashMap<(Month, u32), Option<PersonalKey>>>,
}

impl<'a, V: Values> StoreSource<'a, V> {
    /// The log in this store, which is called `origin`.
    pub fn new(values: &'a V, audit: &'a Sealer, origin: String) -> Self {
        Self { values, audit, origin, months: Mutex::default() }
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, V::Error> {
        Ok(self.values.get_many(&[key.to_owned()])?.into_iter().next().flatten())
    }

    fn record<R: Record>(&self, key: &str) -> Result<Option<Result<R, RecordError>>, V::Error> {
        Ok(self.get(key)?.map(|value| open(self.audit, key, &value)))
    }

    /// All of these records; `None` where one is missing or does not open.
    fn all<R: Record>(&self, keys: &[String]) -> Result<Option<Vec<R>>, V::Error> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(VALUES_AT_ONCE) {
            let values = self.values.get_many(keys)?;
            found.extend(keys.iter().zip(values).map(|(key, value)| open(self.audit, key, &value?).ok()));
        }
        Ok(found.into_iter().collect())
    }

    fn personal_key(&self, month: Month, number: u32) -> Result<Option<PersonalKey>, V::Error> {
        let held = |months: &HashMap<_, Option<PersonalKey>>| months.get(&(month, number)).cloned();
        if let Some(known) = self.months.lock().ok().and_then(|months| held(&months)) {
            return Ok(known);
        }
        // One that does not open is named as a record of state; what it sealed reads as shredded.
        let found = self.record::<PersonalKey>(&names::personal_key(month, number))?.and_then(Result::ok);
        if let Ok(mut months) = self.months.lock() {
            months.insert((month, number), found.clone());
        }
        Ok(found)
    }

    fn event(&self, id: EventId, sealed: &[u8], faults: &mut Vec<String>) -> Result<Content, V::Error> {
        let stored: StoredEvent = match open(self.audit, &names::event(id), sealed) {
            Ok(stored) => stored,
            Err(error) if error.is_unavailable() => return Ok(Content::Unknown),
            Err(_) => {
                faults.push(
                    "the event does not open: it was changed, or moved there from another place".to_owned(),
                );
                return Ok(Content::Damaged);
            }
        };
        let plain = stored.event.clone();
        let key = match &stored.personal {
            Some(personal) => self.personal_key(personal.month, personal.number)?,
            None => None,
        };
        match stored.reveal(self.audit, key.as_ref()) {
            Ok(event) => Ok(Content::Event(Box::new(event))),
            Err(_) => {
                faults.push("the personal part of the event does not open under its month's key".to_owned());
                Ok(Content::Event(Box::new(plain)))
            }
        }
    }

    fn ticket(&self, id: EventId, event: Option<&[u8]>, void: Option<&[u8]>) -> Result<Ticket, V::Error> {
        let mut faults = Vec::new();
        let content = match event {
            Some(sealed) => Some(self.event(id, sealed, &mut faults)?),
            None => None,
        };
        let content = match void {
            None => content.unwrap_or(Content::Absent),
            Some(sealed) => match (open::<Void>(self.audit, &names::void(id), sealed), content) {
                (Err(error), _) if error.is_unavailable() => Content::Unknown,
                (Err(_), _) => {
                    faults.push("the void does not open: it was changed, or moved there".to_owned());
                    Content::Damaged
                }
                (Ok(_), Some(Content::Event(event))) => Content::Late(event),
                (Ok(_), Some(other)) => other,
                (Ok(_), None) => Content::Void,
            },
        };
        Ok(Ticket {
            seq: id.seq,
            leaf: void.or(event).map(leaf_hash),
            ring_version: event.and_then(ring_version),
            content,
            faults,
        })
    }
}

impl<V: Values> LogSource for StoreSource<'_, V> {
    type Error = V::Error;

    fn stand(&self, epoch: Option<u32>) -> Result<Stand, V::Error> {
        let epochs = self.record::<Epochs>(names::EPOCHS)?.and_then(Result::ok).unwrap_or(Epochs::FIRST);
        let epoch = epoch.unwrap_or(epochs.current);
        let closed =
            epochs.closed.iter().map(|closed| &closed.head).find(|head| head.epoch == epoch).cloned();
        let head = match closed {
            Some(head) => Some(head),
            None => match self.record::<Head>(names::HEAD)? {
                Some(head) => head.ok(),
                None => Some(Head::start(epoch)),
            },
        };
        let taken = u64::try_from(self.values.counter(&names::counter::audit(epoch))?).unwrap_or(0);
        let size = head.as_ref().map_or(0, |head| head.size);
        let checkpoint = self.get(&names::checkpoint(epoch, size))?;
        Ok(Stand {
            epoch,
            origin: self.origin.clone(),
            size,
            root: head.map(|head| head.root),
            taken,
            checkpoint: checkpoint.map(|note| String::from_utf8_lossy(&note).into_owned()),
            ring_versions: vec![self.audit.active_version()],
        })
    }

    fn tickets(&self, epoch: u32, from: u64, to: u64, _size: u64) -> Result<Vec<Ticket>, V::Error> {
        let ids: Vec<EventId> = (from..=to).map(|seq| EventId { epoch, seq }).collect();
        let keys: Vec<String> = ids.iter().flat_map(|id| [names::event(*id), names::void(*id)]).collect();
        let values = self.values.get_many(&keys)?;
        let (pairs, _) = values.as_chunks::<2>();
        ids.into_iter()
            .zip(pairs)
            .map(|(id, [event, void])| self.ticket(id, event.as_deref(), void.as_deref()))
            .collect()
    }

    fn tile(&self, epoch: u32, tile: TileId, width: usize) -> Result<Option<Vec<Hash>>, V::Error> {
        let value = self.get(&names::tile(epoch, tile))?;
        Ok(value.and_then(|value| {
            let (hashes, rest) = value.as_chunks::<32>();
            if rest.is_empty() { hashes.get(..width).map(<[Hash]>::to_vec) } else { None }
        }))
    }

    fn digests(&self, ring_version: u32, records: &[String]) -> Result<Vec<Option<Hash>>, V::Error> {
        let values = self.values.get_many(records)?;
        let digest = |(record, value): (&String, Option<Vec<u8>>)| {
            self.audit.keyed_digest_under(ring_version, record, &value?).ok()
        };
        Ok(records.iter().zip(values).map(digest).collect())
    }

    fn list(&self, list: &str) -> Result<Listed, V::Error> {
        let head = match self.record::<ListHead>(&names::list(list))? {
            None => return Ok(Listed::Entries(Vec::new())),
            Some(Err(_)) => return Ok(Listed::Damaged),
            Some(Ok(head)) => head,
        };
        let pages: Vec<String> =
            (0..head.count.div_ceil(PAGE_ENTRIES)).map(|page| names::list_page(list, page)).collect();
        let mut entries = Vec::new();
        for (key, value) in pages.iter().zip(self.values.get_many(&pages)?) {
            match value.map(|value| open::<ListPage>(self.audit, key, &value)) {
                Some(Ok(page)) => entries.extend(page.entries),
                _ => return Ok(Listed::Damaged),
            }
        }
        // A page may have grown since its head was read.
        entries.truncate(usize::try_from(head.count).unwrap_or(usize::MAX));
        Ok(Listed::Entries(entries))
    }

    fn register(&self, application: ApplicationId) -> Result<Registered, V::Error> {
        let head = match self.record::<RegisterHead>(&names::register(application))? {
            None => return Ok(Registered::Absent),
            Some(Err(_)) => return Ok(Registered::Damaged),
            Some(Ok(head)) => head,
        };
        let pages = head.rows.div_ceil(ROWS);
        let of_sums = (0..pages.div_ceil(SUMS)).map(|number| names::register_sums(application, number));
        let of_pages = (0..pages).map(|page| names::register_page(application, page));
        let sums: Option<Vec<RegisterSums>> = self.all(&of_sums.collect::<Vec<_>>())?;
        let pages: Option<Vec<RegisterPage>> = self.all(&of_pages.collect::<Vec<_>>())?;
        let Some((sums, pages)) = sums.zip(pages) else { return Ok(Registered::Damaged) };
        let pages: Vec<Vec<Row>> = pages.into_iter().map(|page| page.rows).collect();
        let keys: Vec<KeyId> = pages.iter().flatten().map(|row| row.key).collect();
        let places: Vec<String> = keys.iter().map(|key| names::row_place(*key)).collect();
        let Some(places) = self.all::<RowPlace>(&places)? else { return Ok(Registered::Damaged) };
        let is_placed =
            |(place, found): (u64, &RowPlace)| found.application == application && found.place == place;
        if !(0..).zip(&places).all(is_placed) {
            return Ok(Registered::Damaged);
        }
        let sums = sums.into_iter().map(|sums| sums.pages).collect();
        Ok(Registered::Whole(Box::new(Register { head, sums, pages })))
    }

    fn register_totals(&self) -> Result<Option<Vec<(ApplicationId, Counts)>>, V::Error> {
        let registers = match self.record::<Registers>(names::REGISTERS)? {
            Some(Ok(registers)) => registers,
            _ => Registers::default(),
        };
        let totals = (0..registers.applications.div_ceil(TOTALS)).map(names::register_totals);
        let totals: Option<Vec<RegisterTotals>> = self.all(&totals.collect::<Vec<_>>())?;
        Ok(Some(totals.into_iter().flatten().flat_map(|totals| totals.applications).collect()))
    }

    fn inventory(&self) -> Result<Option<Inventory>, V::Error> {
        let mut inventory = Inventory::default();
        let mut checkpoints = Vec::new();
        for name in self.values.names()? {
            let Some((prefix, rest)) = name.split_once(':') else {
                inventory.foreign.push(name);
                continue;
            };
            match prefix {
                _ if names::is_state(&name) => inventory.records.push(name),
                "e" => {
                    if let Some((epoch, seq)) = numbers(rest) {
                        let highest = inventory.highest.entry(epoch).or_default();
                        *highest = seq.max(*highest);
                    }
                }
                "cp" => checkpoints.extend(numbers(rest).map(|at| (at, name))),
                "p" if names::is_of_a_register(&name) => {
                    inventory.registers.extend(names::of_register(&name))
                }
                "p" if names::is_no_list(&name) => {}
                "p" if rest.rsplit_once('.').is_some_and(|(_, page)| page.parse::<u64>().is_ok()) => {}
                "p" => inventory.lists.push(rest.to_owned()),
                "v" | "t" | "c" | "u" => {}
                _ => inventory.foreign.push(name),
            }
        }
        for chunk in checkpoints.chunks(1024) {
            let keys: Vec<String> = chunk.iter().map(|(_, name)| name.clone()).collect();
            for ((at, _), note) in chunk.iter().zip(self.values.get_many(&keys)?) {
                inventory
                    .checkpoints
                    .extend(note.map(|note| (*at, String::from_utf8_lossy(&note).into_owned())));
            }
        }
        Ok(Some(inventory))
    }
}

/// An epoch and a number in it, as names have them.
fn numbers(text: &str) -> Option<(u32, u64)> {
    let (epoch, number) = text.split_once('.')?;
    Some((epoch.parse().ok()?, number.parse().ok()?))
}
