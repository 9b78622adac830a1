//! The log as a server shows it, for a check that does not trust the server: the entries as they are sealed, and beside them what the
//! server makes of them. With the audit ring at hand both are compared.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyward_auditor::{Content, Inventory, Listed, LogSource, Registered, Stand, Ticket, ring_version};
use keyward_crypto::Sealer;
use keyward_crypto::digest::{leaf_hash, unhex};
use keyward_crypto::tree::{Hash, TILE_WIDTH, TileId, TileKind, TilePath};
use keyward_domain::ApplicationId;
use keyward_domain::error::{Blame, Code};
use keyward_domain::event::{Event, EventId};
use keyward_records::projection::lists;
use keyward_records::register::Counts;
use keyward_records::{StoredEvent, Void, names, open};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::answers::Page;
use crate::arguments::Paging;
use crate::client::{Answer, Call, Client};
use crate::failure::{Failure, Result};

/// Batches of events that a log may be behind: each call for a checkpoint integrates some.
const INTEGRATIONS_MAX: u32 = 100_000;

/// A log behind a server.
pub struct HttpSource<'a> {
    client: &'a Client,
    audit: Option<&'a Sealer>,
}

/// `GET /v1/audit/head`.
#[derive(Deserialize)]
pub(super) struct LogHead {
    pub(super) taken: u64,
    voids: BTreeSet<u64>,
    ring_version: u32,
    pub(super) keys: Vec<String>,
}

/// The three lines of a checkpoint, not believed yet.
pub(super) struct Claimed {
    pub(super) origin: String,
    pub(super) epoch: u32,
    pub(super) size: u64,
    root: Hash,
    pub(super) note: String,
}

#[derive(Deserialize)]
struct Digests {
    items: Vec<Digest>,
}

#[derive(Deserialize)]
struct Digest {
    digest: Option<String>,
}

/// What the server tells of a ticket.
enum Told {
    Event(Box<Event>),
    Nothing,
    Damaged,
}

impl<'a> HttpSource<'a> {
    /// The log behind `client`; its entries are opened under `audit`, where that is at hand.
    pub const fn new(client: &'a Client, audit: Option<&'a Sealer>) -> Self {
        Self { client, audit }
    }

    pub(super) fn head(&self, epoch: u32) -> Result<LogHead> {
        self.client.call(&Call::get("/v1/audit/head").query("epoch", Some(epoch)))?.read()
    }

    /// The checkpoint as it is now, not believed yet.
    pub(super) fn claimed(&self, epoch: Option<u32>) -> Result<Claimed> {
        let call = Call::get("/v1/audit/checkpoint").query("epoch", epoch);
        let mut claimed = read_note(&self.client.call(&call)?)?;
        // Each call takes some events in: until there are no more, or a ticket holds them up.
        for _ in 0..INTEGRATIONS_MAX {
            if epoch.is_some() || self.head(claimed.epoch)?.taken <= claimed.size {
                break;
            }
            let next = read_note(&self.client.call(&call)?)?;
            let is_at_end = (next.epoch, next.size) == (claimed.epoch, claimed.size);
            claimed = next;
            if is_at_end {
                break;
            }
        }
        Ok(claimed)
    }

    /// The sealed entries of a chunk of the tree, as its bundle has them.
    fn entries(&self, epoch: u32, from: u64, count: u64) -> Result<Vec<Vec<u8>>> {
        let index = from.saturating_sub(1) / TILE_WIDTH;
        let width = u16::try_from(count).unwrap_or(u16::MAX);
        let answer = self.tile_at(epoch, TilePath { kind: TileKind::Entries, index, width })?;
        let mut rest = answer.body.as_slice();
        let mut entries = Vec::new();
        while let Some((length, more)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let (entry, more) = more
                .split_at_checked(length)
                .ok_or_else(|| Failure::not_keyward(&answer, "its bundle of entries is cut"))?;
            entries.push(entry.to_vec());
            rest = more;
        }
        if rest.is_empty() && u64::try_from(entries.len()).ok() == Some(count) {
            Ok(entries)
        } else {
            Err(Failure::not_keyward(&answer, "its bundle has another number of entries than was asked for"))
        }
    }

    fn tile_at(&self, epoch: u32, path: TilePath) -> Result<Answer> {
        self.client.call(&Call::get(format!("/v1/audit/tile/{path}")).query("epoch", Some(epoch)))
    }

    /// The events of `from..=to` as the server shows them, over holes.
    fn events(&self, epoch: u32, from: u64, to: u64) -> Result<BTreeMap<u64, Box<Event>>> {
        let mut events = BTreeMap::new();
        let mut at = from.saturating_sub(1);
        while at < to {
            let call = Call::get("/v1/audit/events")
                .query("after", Some(format!("evt_{epoch}_{at}")))
                .query("limit", Some(to.saturating_sub(at).min(1000)));
            let answer = self.client.call(&call)?;
            let page: Page = answer.read()?;
            for item in &page.items {
                let event = read_event(&answer, item)?;
                if event.id.epoch == epoch && (from..=to).contains(&event.id.seq) {
                    events.insert(event.id.seq, event);
                }
            }
            let next = page.next_cursor.as_deref().and_then(EventId::place);
            let next =
                next.ok_or_else(|| Failure::not_keyward(&answer, "its page of events has no cursor"))?;
            at = match next {
                next if next.epoch != epoch => to,
                next if next.seq > at => next.seq,
                // The next ticket has no event yet: those behind it may.
                _ => at.saturating_add(1),
            };
        }
        Ok(events)
    }

    /// What the server says of one ticket.
    fn told(&self, id: EventId) -> Result<Told> {
        let answer = self.client.ask(&Call::get(format!("/v1/audit/events/{id}")))?;
        match answer.status {
            200 => Ok(Told::Event(answer.read()?)),
            404 => Ok(Told::Nothing),
            status if status == Code::RecordDamaged.status() => Ok(Told::Damaged),
            _ => Err(Failure::from_answer(&answer)),
        }
    }

    fn ticket(
        &self,
        id: EventId,
        entry: &[u8],
        event: Option<Box<Event>>,
        voids: &BTreeSet<u64>,
    ) -> Result<Ticket> {
        let mut ticket = Ticket {
            seq: id.seq,
            leaf: None,
            ring_version: None,
            content: Content::Absent,
            faults: Vec::new(),
        };
        if entry.is_empty() {
            return Ok(ticket);
        }
        (ticket.leaf, ticket.ring_version) = (Some(leaf_hash(entry)), ring_version(entry));
        let told = match event {
            Some(event) => Told::Event(event),
            None => self.told(id)?,
        };
        ticket.content = match self.audit {
            None => match told {
                Told::Event(event) if voids.contains(&id.seq) => Content::Late(event),
                Told::Event(event) => Content::Event(event),
                Told::Nothing => Content::Void,
                Told::Damaged => {
                    ticket
                        .faults
                        .push("the server cannot open the event: it was changed, or moved there".to_owned());
                    Content::Damaged
                }
            },
            Some(audit) => opened(audit, id, entry, told, &mut ticket.faults),
        };
        Ok(ticket)
    }
}

/// What an entry is under the ring, held against what the server tells of it.
fn opened(audit: &Sealer, id: EventId, entry: &[u8], told: Told, faults: &mut Vec<String>) -> Content {
    match (open::<StoredEvent>(audit, &names::event(id), entry), told) {
        (Ok(stored), Told::Event(event)) => {
            let personal = |event: &Event| Event { writes: event.writes.clone(), ..event.redacted() };
            if personal(&event) != personal(&stored.event) {
                faults.push("the server shows another event than the one that is sealed there".to_owned());
            }
            Content::Event(event)
        }
        (Ok(stored), Told::Nothing | Told::Damaged) => {
            faults.push(
                "the server does not show the event that is sealed there, or not as a whole".to_owned(),
            );
            Content::Event(Box::new(stored.event))
        }
        (Err(error), _) if error.is_unavailable() => Content::Unknown,
        (Err(_), told) => match (open::<Void>(audit, &names::void(id), entry), told) {
            (Ok(_), Told::Event(event)) => Content::Late(event),
            (Ok(_), Told::Nothing | Told::Damaged) => Content::Void,
            (Err(error), _) if error.is_unavailable() => Content::Unknown,
            (Err(_), _) => {
                faults.push(
                    "the entry does not open: it was changed, or moved there from another place".to_owned(),
                );
                Content::Damaged
            }
        },
    }
}

fn read_event(answer: &Answer, item: &RawValue) -> Result<Box<Event>> {
    serde_json::from_str(item.get()).map_err(|_| {
        Failure::not_keyward(answer, "an event is of another shape than this version of `keyward` knows")
    })
}

fn read_note(answer: &Answer) -> Result<Claimed> {
    let note = answer.text()?;
    claimed(note).ok_or_else(|| Failure::not_keyward(answer, "its body is no checkpoint of an epoch's log"))
}

/// The three lines of a note that calls itself a checkpoint.
pub(super) fn claimed(note: &str) -> Option<Claimed> {
    let mut lines = note.lines();
    let (origin, epoch) = lines.next()?.rsplit_once('/')?;
    let size = lines.next()?.parse().ok()?;
    let root = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
    Some(Claimed { origin: origin.to_owned(), epoch: epoch.parse().ok()?, size, root, note: note.to_owned() })
}

/// The call that shows a projected list, where there is one.
fn shown_by(list: &str) -> Option<Call> {
    if list == lists::APPLICATIONS {
        return Some(Call::get("/v1/applications"));
    }
    let application = u128::from_str_radix(list.strip_prefix("keys:")?, 16).ok()?;
    let application = ApplicationId::from_bytes(application.to_be_bytes());
    Some(Call::get("/v1/keys").query("application", Some(application)))
}

impl LogSource for HttpSource<'_> {
    type Error = Failure;

    fn stand(&self, epoch: Option<u32>) -> Result<Stand> {
        let claimed = self.claimed(epoch)?;
        let head = self.head(claimed.epoch)?;
        Ok(Stand {
            epoch: claimed.epoch,
            origin: claimed.origin,
            size: claimed.size,
            root: Some(claimed.root),
            taken: head.taken,
            checkpoint: Some(claimed.note),
            ring_versions: vec![head.ring_version],
        })
    }

    fn tickets(&self, epoch: u32, from: u64, to: u64, size: u64) -> Result<Vec<Ticket>> {
        let mut events = self.events(epoch, from, to)?;
        if from > size {
            // Behind the tree nothing shows the sealed entry.
            let behind = |seq| Ticket {
                seq,
                leaf: None,
                ring_version: None,
                content: events.remove(&seq).map_or(Content::Absent, Content::Event),
                faults: Vec::new(),
            };
            return Ok((from..=to).map(behind).collect());
        }
        let entries = self.entries(epoch, from, to.saturating_sub(from).saturating_add(1))?;
        let is_whole = events.len() == entries.len();
        let voids = if is_whole && self.audit.is_some() { BTreeSet::new() } else { self.head(epoch)?.voids };
        (from..=to)
            .zip(entries)
            .map(|(seq, entry)| self.ticket(EventId { epoch, seq }, &entry, events.remove(&seq), &voids))
            .collect()
    }

    fn tile(&self, epoch: u32, tile: TileId, width: usize) -> Result<Option<Vec<Hash>>> {
        let width = u16::try_from(width).unwrap_or(u16::MAX);
        let path = TilePath { kind: TileKind::Level(tile.level), index: tile.index, width };
        let answer = self.tile_at(epoch, path)?;
        let (hashes, rest) = answer.body.as_chunks::<32>();
        Ok((rest.is_empty() && hashes.len() == usize::from(width)).then(|| hashes.to_vec()))
    }

    fn digests(&self, ring_version: u32, records: &[String]) -> Result<Vec<Option<Hash>>> {
        let body = serde_json::json!({ "ring_version": ring_version, "records": records });
        let answer = self.client.call(&Call::post("/v1/audit/state", &body)?)?;
        let found: Digests = answer.read()?;
        if found.items.len() != records.len() {
            return Err(Failure::not_keyward(&answer, "it has another number of digests than was asked for"));
        }
        Ok(found.items.into_iter().map(|item| item.digest.as_deref().and_then(unhex)).collect())
    }

    fn register(&self, _: ApplicationId) -> Result<Registered> {
        Ok(Registered::Absent)
    }

    // What the API counts and lists by how keys stand is what the server makes of them.
    fn register_totals(&self) -> Result<Option<Vec<(ApplicationId, Counts)>>> {
        Ok(None)
    }

    fn list(&self, list: &str) -> Result<Listed> {
        let Some(call) = shown_by(list) else { return Ok(Listed::NotShown) };
        let paging = Paging { limit: u32::MAX, cursor: None };
        let page = match self.client.list(&paging, || call.clone()) {
            Ok(page) => page,
            Err(failure) if failure.blame() == Some(Blame::Integrity) => return Ok(Listed::Damaged),
            // Whoever may look at the log need not be one who may look at keys.
            Err(failure) if failure.is_of(Code::InsufficientScope) => return Ok(Listed::NotShown),
            Err(failure) => return Err(failure),
        };
        let mut ids = Vec::with_capacity(page.items.len());
        for item in &page.items {
            let named: crate::answers::Named = serde_json::from_str(item.get()).map_err(|_| {
                Failure::new(Blame::Store, "The answer is not Keyward's", "an item of a list has no `id`")
            })?;
            ids.push(named.id);
        }
        ids.reverse();
        Ok(Listed::Ids(ids))
    }

    fn inventory(&self) -> Result<Option<Inventory>> {
        Ok(None)
    }
}
