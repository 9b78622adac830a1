//! Lists, newest first: the projected pages, and before them the tail of the log that is not projected yet.
//!
//! So a list shows what was just done even where the integrator waits for a gap. Every call bounds what it examines.

use crate::service::Service;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_domain::event::{Event, EventId};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Code, Error, Result};
use keyward_ledger::KvWrite;
use keyward_records::projection::{Entry, PAGE_ENTRIES};
use keyward_records::{KvCount, KvRead};
use serde::Serialize;
use std::borrow::Cow;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// Batches of events that a list integrates before it answers.
const INTEGRATE_ROUNDS: u32 = 8;
/// Events of the unprojected tail, and entries of pages, that one call examines at most.
const EXAMINED_MAX: usize = 1024;
/// Records read at the same time.
const READS_AT_ONCE: usize = 32;

/// A list as the outside sees it.
#[derive(Serialize)]
pub struct List<T> {
    /// What is on this page.
    pub items: Vec<T>,
    /// Where the next page starts; none after the last.
    pub next_cursor: Option<String>,
}

impl<T: ToSchema> PartialSchema for List<T> {
    fn schema() -> RefOr<Schema> {
        let items = ArrayBuilder::new()
            .items(Ref::from_schema_name(T::name()))
            .max_items(Some(Page::LIMIT_MAX))
            .description(Some("What is on this page."));
        let next_cursor =
            ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Null])).description(
                Some("Where the next page starts: the `cursor` to ask for it. Null after the last."),
            );
        ObjectBuilder::new()
            .property("items", items)
            .required("items")
            .property("next_cursor", next_cursor)
            .required("next_cursor")
            .into()
    }
}

impl<T: ToSchema> ToSchema for List<T> {
    fn name() -> Cow<'static, str> {
        format!("{}List", T::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into(), T::schema()));
        T::schemas(schemas);
    }
}

/// Which page of a list.
pub struct Page {
    limit: usize,
    before: Option<Cursor>,
}

/// Where a page starts: below this event, on this page of the projection or an earlier one.
#[derive(Clone, Copy)]
pub(crate) struct Cursor {
    seq: u64,
    page: u64,
}

impl Page {
    /// The most items of a page.
    pub const LIMIT_MAX: usize = 100;
    /// The items of a page where nothing is asked.
    pub const LIMIT_DEFAULT: usize = 50;

    /// The newest item alone.
    pub(crate) const FIRST: Self = Self { limit: 1, before: None };

    /// Reads `limit` and `cursor`.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`] for a limit out of range or a cursor that this API did not give.
    pub fn parse(limit: Option<&str>, cursor: Option<&str>) -> Result<Self> {
        let limit = match limit.map(str::parse::<usize>) {
            None => Self::LIMIT_DEFAULT,
            Some(Ok(limit)) if (1..=Self::LIMIT_MAX).contains(&limit) => limit,
            Some(_) => {
                return Err(Error::parameter("limit", "is out of range", "a whole number from 1 to 100"));
            }
        };
        let first = Self { limit, before: None };
        match cursor {
            None => Ok(first),
            Some(cursor) => first.next(cursor),
        }
    }

    /// The page after one that ended with this cursor.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`] for a cursor that this API did not give.
    pub(crate) fn next(&self, cursor: &str) -> Result<Self> {
        let before = Cursor::parse(cursor).ok_or_else(|| {
            Error::parameter("cursor", "is not valid", "the `next_cursor` of the page before")
        })?;
        Ok(Self { limit: self.limit, before: Some(before) })
    }
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let plain = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (seq, page) = std::str::from_utf8(&plain).ok()?.split_once('.')?;
        Some(Self { seq: seq.parse().ok()?, page: page.parse().ok()? })
    }

    fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}.{}", self.seq, self.page))
    }
}

/// What was found of a list, and where to go on.
struct Found {
    entries: Vec<Entry>,
    next: Option<Cursor>,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// The ids of a list of things.
    pub(crate) async fn things<T: std::str::FromStr>(
        &self,
        list: &str,
        page: &Page,
    ) -> Result<(Vec<T>, Option<String>)> {
        let place = |event: &Event| {
            keyward_ledger::things(event).into_iter().find(|(name, _)| name == list).map(|(_, id)| id)
        };
        let found = self.newest(list, page.before, page.limit, place).await?;
        let ids = found.entries.iter().filter_map(|entry| entry.id.parse().ok()).collect();
        Ok((ids, found.next.map(Cursor::to_text)))
    }

    /// Events of `list` (of the whole log where it is `None`) that satisfy `matches`.
    pub(crate) async fn events(
        &self,
        list: Option<&str>,
        page: &Page,
        matches: impl Fn(&Event) -> bool,
    ) -> Result<(Vec<Event>, Option<String>)> {
        let mut events = Vec::new();
        let (mut before, mut examined) = (page.before, 0);
        while events.len() < page.limit && examined < EXAMINED_MAX {
            let chunk = READS_AT_ONCE.min(EXAMINED_MAX - examined);
            let found = match list {
                Some(list) => self.newest(list, before, chunk, |event| on_list(event, list)).await?,
                None => self.all(before, chunk).await?,
            };
            examined += found.entries.len().max(1);
            before = found.next;
            let ids =
                found.entries.iter().map(|entry| EventId { epoch: self.ledger.epoch(), seq: entry.seq });
            for event in self.read_events(ids).await? {
                if !matches(&event) {
                    continue;
                }
                if events.len() == page.limit {
                    // More than fits: the next page starts below the last that did.
                    let last: Option<&Event> = events.last();
                    let seq = last.map_or(0, |event| event.id.seq);
                    let cursor = Cursor { seq, page: page_of(page.before) };
                    return Ok((events, Some(cursor.to_text())));
                }
                events.push(event);
            }
            if before.is_none() {
                break;
            }
        }
        Ok((events, before.map(Cursor::to_text)))
    }

    /// The whole log, downwards.
    async fn all(&self, before: Option<Cursor>, limit: usize) -> Result<Found> {
        let taken = self.ledger.last_ticket().await?;
        let top = before.map_or(taken, |cursor| taken.min(cursor.seq.saturating_sub(1)));
        let bottom = top.saturating_sub(u64::try_from(limit).unwrap_or(u64::MAX));
        let entries = (bottom + 1..=top).rev().map(|seq| Entry { seq, id: String::new() }).collect();
        Ok(Found { entries, next: (bottom > 0).then_some(Cursor { seq: bottom + 1, page: u64::MAX }) })
    }

    async fn read_events(&self, ids: impl Iterator<Item = EventId>) -> Result<Vec<Event>> {
        let reader = self.read();
        let mut ids = ids.peekable();
        let mut events = Vec::new();
        while ids.peek().is_some() {
            let chunk: Vec<EventId> = ids.by_ref().take(READS_AT_ONCE).collect();
            let reads = chunk.into_iter().map(|id| reader.event(id));
            for event in futures::future::join_all(reads).await {
                match event {
                    Ok(event) => events.extend(event),
                    // `audit verify` names damaged events; a list shows the others.
                    Err(error) if error.code == Code::RecordDamaged => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(events)
    }

    /// Up to `limit` entries of `list`, from the newest below `before`. `place` finds the entry that an unprojected event makes.
    async fn newest(
        &self,
        list: &str,
        before: Option<Cursor>,
        limit: usize,
        place: impl Fn(&Event) -> Option<String>,
    ) -> Result<Found> {
        if before.is_none() {
            // Failing to write projections is no reason not to answer: the tail below shows what they lack.
            let _ = self.ledger.integrate(INTEGRATE_ROUNDS).await;
        }
        let head = self.read().head().await?;
        let taken = self.ledger.last_ticket().await?;
        let top = before.map_or(taken, |cursor| taken.min(cursor.seq.saturating_sub(1)));
        let mut entries = Vec::new();
        let mut seq = top;
        while seq > head.size {
            if entries.len() >= limit || top - seq >= u64::try_from(EXAMINED_MAX).unwrap_or(u64::MAX) {
                return Ok(Found { entries, next: Some(Cursor { seq: seq + 1, page: u64::MAX }) });
            }
            let low = head.size.max(seq.saturating_sub(u64::try_from(READS_AT_ONCE).unwrap_or(1)));
            let ids = (low + 1..=seq).rev().map(|seq| EventId { epoch: head.epoch, seq });
            for event in self.read_events(ids).await? {
                if let Some(id) = place(&event) {
                    if entries.len() >= limit {
                        let next = Cursor { seq: event.id.seq + 1, page: u64::MAX };
                        return Ok(Found { entries, next: Some(next) });
                    }
                    entries.push(Entry { seq: event.id.seq, id });
                }
            }
            seq = low;
        }
        self.projected(list, before, top.min(head.size), limit, entries).await
    }

    /// Adds entries of the projected pages, from `top` downwards.
    async fn projected(
        &self,
        list: &str,
        before: Option<Cursor>,
        top: u64,
        limit: usize,
        mut entries: Vec<Entry>,
    ) -> Result<Found> {
        let Some(head) = self.read().list_head(list).await? else { return Ok(Found { entries, next: None }) };
        let last_page = head.count.saturating_sub(1) / PAGE_ENTRIES;
        let mut number = before.map_or(last_page, |cursor| cursor.page.min(last_page));
        let mut examined = 0;
        loop {
            let page =
                self.read().list_page(list, number).await?.map(|page| page.entries).unwrap_or_default();
            examined += page.len();
            for entry in page.into_iter().rev().filter(|entry| entry.seq <= top) {
                if entries.len() >= limit {
                    return Ok(Found { entries, next: Some(Cursor { seq: entry.seq + 1, page: number }) });
                }
                entries.push(entry);
            }
            if number == 0 {
                return Ok(Found { entries, next: None });
            }
            number -= 1;
            if examined >= EXAMINED_MAX {
                let seq = entries.last().map_or(top + 1, |entry| entry.seq);
                return Ok(Found { entries, next: Some(Cursor { seq, page: number }) });
            }
        }
    }
}

/// The page of the projection on which a search that started at `before` may still find entries.
const fn page_of(before: Option<Cursor>) -> u64 {
    match before {
        Some(cursor) => cursor.page,
        None => u64::MAX,
    }
}

/// Whether an event has a place on a list of events.
fn on_list(event: &Event, list: &str) -> Option<String> {
    keyward_ledger::places(event).into_iter().find(|(name, _)| name == list).map(|(_, id)| id)
}
