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
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// Batches of events that a list integrates before it answers.
pub(crate) const INTEGRATE_ROUNDS: u32 = 8;
/// Events of the unprojected tail, and entries of pages, that one call examines at most.
pub(crate) const EXAMINED_MAX: usize = 1024;
/// Records read at the same time.
pub(crate) const READS_AT_ONCE: usize = 32;

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

/// In which order things are listed: by when they came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ListOrder)]
pub enum Order {
    /// The last first.
    #[default]
    Newest,
    /// The first first.
    Oldest,
}

impl Order {
    /// The one of this name.
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "newest" => Some(Self::Newest),
            "oldest" => Some(Self::Oldest),
            _ => None,
        }
    }

    /// These places, in this order.
    pub(crate) fn over(self, places: Range<u64>) -> impl Iterator<Item = u64> {
        let (start, end) = (places.start, places.end);
        (0..end.saturating_sub(start)).map(move |step| match self {
            Self::Newest => end - 1 - step,
            Self::Oldest => start + step,
        })
    }

    /// Those of these places that come at one of them or after it, in this order.
    pub(crate) fn from(self, from: Option<u64>, places: Range<u64>) -> Range<u64> {
        match (self, from) {
            (_, None) => places,
            (Self::Newest, Some(from)) => places.start..places.end.min(from.saturating_add(1)),
            (Self::Oldest, Some(from)) => places.start.max(from)..places.end,
        }
    }

    /// Whether a place comes at another or after it.
    pub(crate) const fn is_from(self, from: u64, place: u64) -> bool {
        match self {
            Self::Newest => place <= from,
            Self::Oldest => place >= from,
        }
    }

    /// The place after this one; none after the last.
    pub(crate) const fn after(self, place: u64) -> Option<u64> {
        match self {
            Self::Newest => place.checked_sub(1),
            Self::Oldest => place.checked_add(1),
        }
    }

    /// Where it begins, however many there are.
    pub(crate) const fn first(self) -> u64 {
        match self {
            Self::Newest => u64::MAX,
            Self::Oldest => 0,
        }
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
    before: EventId,
    page: u64,
}

impl Page {
    /// The most items of a page.
    pub const LIMIT_MAX: usize = 100;
    /// The items of a page where nothing is asked.
    pub const LIMIT_DEFAULT: usize = 50;

    /// As much as one call examines, for looking through a whole list.
    pub(crate) const LONGEST: Self = Self { limit: EXAMINED_MAX, before: None };

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

    /// How many items it has at most.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// The same from the same place, with so many items at most.
    pub(crate) const fn of_at_most(&self, limit: usize) -> Self {
        Self { limit, before: self.before }
    }

    /// The place that [`Cursor::at`] told.
    pub(crate) fn at(&self) -> Option<(u64, u64)> {
        self.before.map(|cursor| (cursor.page, cursor.before.seq))
    }

    /// The page's part of a list that is at hand as a whole; its cursors say how many come before.
    pub(crate) fn of<T>(&self, all: Vec<T>) -> (Vec<T>, Option<String>) {
        let skipped =
            self.before.map_or(0, |cursor| usize::try_from(cursor.before.seq).unwrap_or(usize::MAX));
        let shown = skipped.saturating_add(self.limit);
        let next = (all.len() > shown).then(|| {
            // No event has the epoch 0: on a list of the log, such a cursor finds nothing.
            let before = EventId { epoch: 0, seq: u64::try_from(shown).unwrap_or(u64::MAX) };
            Cursor { before, page: 0 }.to_text()
        });
        (all.into_iter().skip(skipped).take(self.limit).collect(), next)
    }

    /// From the newest, of the projections as they are: for a change, whose one batch is its own.
    pub(crate) const fn as_it_is(limit: usize) -> Self {
        Self {
            limit,
            before: Some(Cursor { before: EventId { epoch: u32::MAX, seq: u64::MAX }, page: u64::MAX }),
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
        let mut parts = std::str::from_utf8(&plain).ok()?.split('.');
        let before = EventId { epoch: parts.next()?.parse().ok()?, seq: parts.next()?.parse().ok()? };
        let page = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { before, page })
    }

    /// A place in a list of lists: which list, and where in it. No event has the epoch 0: on a list of the log, such a cursor finds
    /// nothing.
    pub(crate) const fn at(list: u64, place: u64) -> Self {
        Self { before: EventId { epoch: 0, seq: place }, page: list }
    }

    pub(crate) fn to_text(self) -> String {
        let EventId { epoch, seq } = self.before;
        URL_SAFE_NO_PAD.encode(format!("{epoch}.{seq}.{}", self.page))
    }
}

/// What lies at one ticket.
enum EntryAt {
    Event(Box<Event>),
    /// A void, or an event that does not open.
    None,
    /// Neither yet.
    ToCome,
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

    /// The same, the first of the list first: the projected pages alone, which have not what is not projected yet.
    pub(crate) async fn things_from_the_first<T: std::str::FromStr>(
        &self,
        list: &str,
        page: &Page,
    ) -> Result<(Vec<T>, Option<String>)> {
        if page.before.is_none() {
            let _ = self.ledger.integrate(INTEGRATE_ROUNDS).await;
        }
        let mut at = page.at().map_or(0, |(_, place)| place);
        let mut ids = Vec::new();
        loop {
            let entries = self.entries_from(list, at, page.limit - ids.len()).await?;
            if entries.is_empty() {
                return Ok((ids, None));
            }
            at = at.saturating_add(u64::try_from(entries.len()).unwrap_or(u64::MAX));
            ids.extend(entries.iter().filter_map(|entry| entry.id.parse().ok()));
            if ids.len() >= page.limit {
                return Ok((ids, Some(Cursor::at(0, at).to_text())));
            }
        }
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
            for event in self.read_events(found.entries.iter().map(|entry| entry.event)).await? {
                if !matches(&event) {
                    continue;
                }
                if events.len() == page.limit {
                    // More than fits: the next page starts below the last that did.
                    let last: Option<&Event> = events.last();
                    let cursor = last.map(|last| Cursor { before: last.id, page: page_of(page.before) });
                    return Ok((events, cursor.map(Cursor::to_text)));
                }
                events.push(event);
            }
            if before.is_none() {
                break;
            }
        }
        Ok((events, before.map(Cursor::to_text)))
    }

    /// The whole log, downwards, through all its epochs.
    async fn all(&self, before: Option<Cursor>, limit: usize) -> Result<Found> {
        let epochs = self.read().epochs().await?;
        let last = self.ledger.last_ticket().await?;
        let mut top = before.map_or(last, |cursor| last.min(just_below(cursor.before)));
        let mut entries = Vec::new();
        while top.epoch > 0 {
            while top.seq > 0 {
                if entries.len() >= limit {
                    let before = EventId { seq: top.seq + 1, ..top };
                    return Ok(Found { entries, next: Some(Cursor { before, page: u64::MAX }) });
                }
                entries.push(Entry { event: top, id: String::new() });
                top = just_below(top);
            }
            let epoch = top.epoch - 1;
            top = EventId { epoch, seq: epochs.size_of(epoch).unwrap_or(0) };
        }
        Ok(Found { entries, next: None })
    }

    /// Events that follow `after` and satisfy `matches`, oldest first, and the last place that was looked at. Stops before the first
    /// ticket whose event is still to come.
    pub(crate) async fn events_after(
        &self,
        after: EventId,
        limit: usize,
        matches: impl Fn(&Event) -> bool,
    ) -> Result<(Vec<Event>, EventId)> {
        let epochs = self.read().epochs().await?;
        let head = self.read().head().await?;
        let integrated = EventId { epoch: head.epoch, seq: head.size };
        let last = self.ledger.last_ticket().await?;
        let (mut events, mut at, mut examined) = (Vec::new(), after, 0);
        loop {
            let end = if at.epoch == last.epoch { last.seq } else { epochs.size_of(at.epoch).unwrap_or(0) };
            if at.seq >= end {
                if at.epoch >= last.epoch {
                    return Ok((events, at));
                }
                at = EventId { epoch: at.epoch + 1, seq: 0 };
                continue;
            }
            let upto = end.min(at.seq + u64::try_from(READS_AT_ONCE).unwrap_or(1));
            let ids: Vec<EventId> = (at.seq + 1..=upto).map(|seq| EventId { seq, ..at }).collect();
            let found = futures::future::join_all(ids.iter().map(|id| self.entry_at(*id))).await;
            for (id, entry) in ids.into_iter().zip(found) {
                if events.len() >= limit || examined >= EXAMINED_MAX {
                    return Ok((events, at));
                }
                match entry? {
                    EntryAt::Event(event) => events.extend(Some(*event).filter(&matches)),
                    EntryAt::None => {}
                    // Integrated and gone: for `audit verify` to name, not to be waited for.
                    EntryAt::ToCome if id <= integrated => {}
                    EntryAt::ToCome => return Ok((events, at)),
                }
                (at, examined) = (id, examined + 1);
            }
        }
    }

    async fn entry_at(&self, id: EventId) -> Result<EntryAt> {
        let reader = self.read();
        match reader.event(id).await {
            Ok(Some(event)) => Ok(EntryAt::Event(Box::new(event))),
            Ok(None) if reader.void(id).await?.is_some() => Ok(EntryAt::None),
            Ok(None) => Ok(EntryAt::ToCome),
            // `audit verify` names damaged events.
            Err(error) if error.code == Code::RecordDamaged => Ok(EntryAt::None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn read_events(&self, ids: impl Iterator<Item = EventId>) -> Result<Vec<Event>> {
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
        let projected = EventId { epoch: head.epoch, seq: head.size };
        let last = self.ledger.last_ticket().await?;
        let top = before.map_or(last, |cursor| last.min(just_below(cursor.before)));
        let mut entries = Vec::new();
        let mut at = top;
        while at > projected {
            let examined = usize::try_from(top.seq - at.seq).unwrap_or(usize::MAX);
            if entries.len() >= limit || examined >= EXAMINED_MAX {
                let before = EventId { seq: at.seq + 1, ..at };
                return Ok(Found { entries, next: Some(Cursor { before, page: u64::MAX }) });
            }
            let low = head.size.max(at.seq.saturating_sub(u64::try_from(READS_AT_ONCE).unwrap_or(1)));
            let ids = (low + 1..=at.seq).rev().map(|seq| EventId { seq, ..at });
            for event in self.read_events(ids).await? {
                if let Some(id) = place(&event) {
                    if entries.len() >= limit {
                        let before = EventId { seq: event.id.seq + 1, ..event.id };
                        return Ok(Found { entries, next: Some(Cursor { before, page: u64::MAX }) });
                    }
                    entries.push(Entry { event: event.id, id });
                }
            }
            at.seq = low;
        }
        self.projected(list, before, top.min(projected), limit, entries).await
    }

    /// The entries of a projected list from this place on, oldest first: at most so many, of one page, so there may be more; none at
    /// its end. Pages and head are written in one batch, so a missing page is damage: whoever follows a list to its end must not take
    /// it for the end.
    pub(crate) async fn entries_from(&self, list: &str, at: u64, limit: usize) -> Result<Vec<Entry>> {
        let reader = self.read();
        if reader.list_head(list).await?.is_none_or(|head| at >= head.count) {
            return Ok(Vec::new());
        }
        let page =
            reader.list_page(list, at / PAGE_ENTRIES).await?.ok_or_else(|| Error::damaged("a list"))?;
        let first = usize::try_from(at % PAGE_ENTRIES).unwrap_or(usize::MAX);
        Ok(page.entries.into_iter().skip(first).take(limit).collect())
    }

    /// Adds entries of the projected pages, from `top` downwards.
    async fn projected(
        &self,
        list: &str,
        before: Option<Cursor>,
        top: EventId,
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
            for entry in page.into_iter().rev().filter(|entry| entry.event <= top) {
                if entries.len() >= limit {
                    let before = EventId { seq: entry.event.seq + 1, ..entry.event };
                    return Ok(Found { entries, next: Some(Cursor { before, page: number }) });
                }
                entries.push(entry);
            }
            if number == 0 {
                return Ok(Found { entries, next: None });
            }
            number -= 1;
            if examined >= EXAMINED_MAX {
                let above = EventId { seq: top.seq + 1, ..top };
                let before = entries.last().map_or(above, |entry| entry.event);
                return Ok(Found { entries, next: Some(Cursor { before, page: number }) });
            }
        }
    }
}

/// The place before this one; 0 where it is the first of its epoch.
const fn just_below(event: EventId) -> EventId {
    EventId { epoch: event.epoch, seq: event.seq.saturating_sub(1) }
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
