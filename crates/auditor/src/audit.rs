//! The check as a whole: every ticket of every epoch in order, then the tree, the lists and the state that follow from them.

use crate::parallel::in_order;
use crate::report::{EpochReport, Kind, Report};
use crate::source::{Content, Inventory, LogSource, Stand, Ticket};
use crate::state::Records;
use crate::witness::Seen;
use keyward_crypto::digest::hex;
use keyward_crypto::note::VerifierKey;
use keyward_crypto::tree::{Hash, TILE_WIDTH};
use keyward_domain::Timestamp;
use keyward_domain::event::{Action, Event, EventId, Target};
use keyward_ledger::{Told, late_event, places, told};
use keyward_records::projection::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// How long a ticket may lack its event before whoever integrates voids it, in seconds: DESIGN's figure.
const VOID_AFTER_S: i64 = 60;
/// How often the newest events are read once more before a mismatch counts: whoever writes meanwhile is no fault.
pub(crate) const LOOKS_AGAIN_MAX: u32 = 4;

/// What is known of a log before it is looked at.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The log's name, where it was seen before.
    pub origin: Option<String>,
    /// Keys that its checkpoints may be signed by, for whichever epoch.
    pub keys: Vec<VerifierKey>,
    /// Heads that were seen before.
    pub seen: Vec<Seen>,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Reading entries, each at its place.
    Entries,
    /// Computing the tree.
    Tree,
    /// Opening stored checkpoints.
    Checkpoints,
    /// Comparing lists.
    Lists,
    /// Comparing the state.
    State,
}

/// Is told how far the check is.
pub trait Progress {
    /// `done` of `of` steps of a part are done.
    fn at(&self, part: Part, done: u64, of: u64);
}

/// What a ticket is, for whoever names it as the event before.
#[derive(Clone, Copy)]
enum Place {
    Nothing,
    Unread,
    Event(Target),
    /// One event for whatever it wrote: its target names none of it.
    Several,
}

/// A check under way.
pub(crate) struct Audit<'s, S> {
    pub(crate) source: &'s S,
    pub(crate) trust: &'s Trust,
    pub(crate) threads: usize,
    pub(crate) progress: &'s dyn Progress,
    pub(crate) report: Report,
    /// Places that have been named: what follows from them is not named again.
    pub(crate) broken: HashSet<EventId>,
    pub(crate) records: Records,
    pub(crate) lists: HashMap<String, Vec<Entry>>,
    /// What events said to registers.
    pub(crate) told: Vec<(EventId, Told)>,
    /// Tickets behind the tree that had nothing when they were read last, and the last one read.
    holes: BTreeSet<u64>,
    read_to: u64,
    /// Leaves of the tree of the epoch at hand.
    size: u64,
    /// Events whose event before is not there, or was not when they were read.
    orphans: Vec<(EventId, EventId)>,
    places: BTreeMap<u32, Vec<Place>>,
    times: BTreeMap<u64, Timestamp>,
    newest: Timestamp,
    late: BTreeSet<EventId>,
    reported: HashSet<EventId>,
    voids: u64,
    pub(crate) unknown: u64,
}

/// Checks a log and all that follows from it.
///
/// # Errors
/// Where the source does not answer: then nothing is known.
pub fn verify<S: LogSource>(
    source: &S,
    trust: &Trust,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Report, S::Error> {
    let mut audit = Audit {
        source,
        trust,
        threads,
        progress,
        report: Report::default(),
        broken: HashSet::new(),
        records: Records::default(),
        lists: HashMap::new(),
        told: Vec::new(),
        holes: BTreeSet::new(),
        read_to: 0,
        size: 0,
        orphans: Vec::new(),
        places: BTreeMap::new(),
        times: BTreeMap::new(),
        newest: Timestamp::default(),
        late: BTreeSet::new(),
        reported: HashSet::new(),
        voids: 0,
        unknown: 0,
    };
    let current = source.stand(None)?;
    // What lies there is listed before the events are read: each record was written with an event that is there by then.
    let inventory = source.inventory()?;
    audit.report.origin.clone_from(&current.origin);
    for epoch in 1..current.epoch {
        let stand = source.stand(Some(epoch))?;
        audit.epoch(&stand, inventory.as_ref(), false)?;
    }
    audit.epoch(&current, inventory.as_ref(), true)?;
    for seen in trust.seen.iter().filter(|seen| seen.epoch > current.epoch) {
        let what = format!(
            "the log was in epoch {} when it was seen last and is in epoch {} now: the store was rolled back",
            seen.epoch, current.epoch
        );
        audit.report.find(Kind::Witness, format!("epoch {}", seen.epoch), what);
    }
    audit.compare_state(&current, inventory.as_ref())?;
    audit.compare_lists(&current, inventory.as_ref())?;
    audit.compare_registers(&current, inventory.as_ref())?;
    audit.orphans(&current)?;
    audit.gaps_behind(&current);
    audit.late_events();
    if audit.unknown > 0 {
        let what = format!(
            "{} entries are sealed under a version of `audit_keyring`, or in a format, that is not at hand",
            audit.unknown
        );
        audit.report.untold.push(what);
    }
    if let Some(inventory) = inventory {
        for name in inventory.foreign {
            audit.report.remarks.push(format!("`{name}` is no name of Keyward's"));
        }
    }
    Ok(audit.report)
}

impl<S: LogSource> Audit<'_, S> {
    fn epoch(&mut self, stand: &Stand, inventory: Option<&Inventory>, current: bool) -> Result<(), S::Error> {
        let mut leaves: Vec<Option<Hash>> = Vec::new();
        (self.size, self.times) = (stand.size, BTreeMap::new());
        let voids_before = self.voids;
        let (source, epoch, size) = (self.source, stand.epoch, stand.size);
        let work = |chunk: u64| {
            let from = chunk.saturating_mul(TILE_WIDTH);
            let to = size.min(from.saturating_add(TILE_WIDTH));
            source.tickets(epoch, from.saturating_add(1), to, size)
        };
        in_order(self.threads, size.div_ceil(TILE_WIDTH), work, |tickets| {
            for ticket in tickets {
                leaves.push(ticket.leaf);
                self.ticket(stand, ticket, true);
            }
            self.progress.at(Part::Entries, u64::try_from(leaves.len()).unwrap_or(u64::MAX), size);
        })?;
        (self.read_to, self.holes) = (size, BTreeSet::new());
        if current {
            for ticket in self.read_behind(stand, stand.taken)? {
                leaves.push(ticket);
            }
        }
        let checkpoints: Vec<(u64, String)> = inventory.map_or_else(Vec::new, |inventory| {
            let range = (epoch, 0)..=(epoch, u64::MAX);
            inventory.checkpoints.range(range).map(|((_, size), note)| (*size, note.clone())).collect()
        });
        let seen = self.trust.seen.iter().filter(|seen| seen.epoch == epoch).map(|seen| seen.size);
        let sizes: BTreeSet<u64> = checkpoints.iter().map(|(size, _)| *size).chain(seen).collect();
        let roots = self.tree(stand, leaves, &sizes, inventory.is_some())?;
        self.checkpoint(stand, &roots);
        self.stored_checkpoints(stand, &checkpoints, &roots)?;
        self.seen(stand, &roots);
        let highest = inventory.and_then(|inventory| inventory.highest.get(&epoch)).copied();
        self.counter(stand, highest.unwrap_or(stand.size).max(stand.size))?;
        let root = roots.get(&size).map_or_else(String::new, |root| hex(root));
        let behind = u64::try_from(self.times.len()).unwrap_or(u64::MAX);
        self.report.epochs.push(EpochReport {
            epoch,
            size,
            root,
            taken: stand.taken,
            voids: self.voids.saturating_sub(voids_before),
            behind,
            note: stand.checkpoint.clone(),
        });
        Ok(())
    }

    fn counter(&mut self, stand: &Stand, highest: u64) -> Result<(), S::Error> {
        if stand.taken >= highest {
            return Ok(());
        }
        // Entries may have come since the counter was read: it counts as it is after them.
        let now = self.source.stand(None)?;
        let taken = if now.epoch == stand.epoch { now.taken } else { stand.taken };
        if taken < highest {
            let what = format!(
                "the counter of tickets says {taken}, and there are entries up to {highest}: it was lowered"
            );
            self.report.find(Kind::Counter, format!("epoch {}", stand.epoch), what);
        }
        Ok(())
    }

    /// Reads what lies behind the tree: what is new, and what had nothing when it was read last. Gives the leaves of what is new.
    pub(crate) fn read_behind(&mut self, stand: &Stand, taken: u64) -> Result<Vec<Option<Hash>>, S::Error> {
        let mut leaves = Vec::new();
        for seq in std::mem::take(&mut self.holes) {
            for ticket in self.source.tickets(stand.epoch, seq, seq, stand.size)? {
                self.ticket(stand, ticket, false);
            }
        }
        while self.read_to < taken {
            let from = self.read_to.saturating_add(1);
            let to = taken.min(self.read_to.saturating_add(TILE_WIDTH));
            for ticket in self.source.tickets(stand.epoch, from, to, stand.size)? {
                leaves.push(ticket.leaf);
                self.ticket(stand, ticket, false);
            }
            self.read_to = to;
        }
        Ok(leaves)
    }

    fn ticket(&mut self, stand: &Stand, ticket: Ticket, integrated: bool) {
        let id = EventId { epoch: stand.epoch, seq: ticket.seq };
        for fault in ticket.faults {
            self.broken.insert(id);
            self.report.find(Kind::Event, id, fault);
        }
        let place = match ticket.content {
            Content::Absent if integrated => {
                self.broken.insert(id);
                self.report.find(
                    Kind::Gap,
                    id,
                    "there is neither an event nor a void, and the tree has an entry there",
                );
                Place::Unread
            }
            Content::Absent => {
                self.holes.insert(id.seq);
                Place::Nothing
            }
            Content::Void => {
                self.voids = self.voids.saturating_add(1);
                Place::Nothing
            }
            Content::Damaged => Place::Unread,
            Content::Unknown => {
                self.unknown = self.unknown.saturating_add(1);
                Place::Unread
            }
            Content::Event(event) => self.event(id, &event, ticket.ring_version, false),
            Content::Late(event) => {
                self.late.insert(id);
                self.event(id, &event, ticket.ring_version, true)
            }
        };
        let places = self.places.entry(id.epoch).or_default();
        let at = usize::try_from(id.seq.saturating_sub(1)).unwrap_or(usize::MAX);
        if at >= places.len() {
            places.resize(at.saturating_add(1), Place::Nothing);
        }
        if let Some(slot) = places.get_mut(at) {
            *slot = place;
        }
    }

    fn event(&mut self, id: EventId, event: &Event, ring_version: Option<u32>, late: bool) -> Place {
        if event.id != id {
            self.broken.insert(id);
            self.report.find(Kind::Event, id, format!("what lies there calls itself {}", event.id));
            return Place::Unread;
        }
        self.newest = self.newest.max(event.at);
        if id.seq > self.size {
            self.times.insert(id.seq, event.at);
        }
        if let Some(previous) = event.previous {
            self.previous(event, previous);
        }
        self.records.wrote(id, event, ring_version, late);
        if !late {
            if let Some((reported, _)) = late_event(event) {
                self.reported.insert(reported);
            }
            self.told.extend(told(event).map(|told| (id, told)));
            for (list, thing) in places(event) {
                self.lists.entry(list).or_default().push(Entry { event: id, id: thing });
            }
        }
        match event.action {
            Action::RingResealed | Action::DuePassed if event.target == Target::default() => Place::Several,
            _ => Place::Event(event.target),
        }
    }

    fn previous(&mut self, event: &Event, previous: EventId) {
        let what = match self.place(previous) {
            _ if previous >= event.id => "which came after it",
            Place::Nothing => {
                self.orphans.push((event.id, previous));
                return;
            }
            Place::Event(target) if !is_shared(target, event.target) => "which is about another target",
            Place::Event(_) | Place::Several | Place::Unread => return,
        };
        let what = format!("the event before it is said to be {previous}, {what}");
        self.report.find(Kind::Previous, event.id, what);
    }

    fn place(&self, id: EventId) -> Place {
        let places = self.places.get(&id.epoch).map_or(&[][..], Vec::as_slice);
        let at = usize::try_from(id.seq.saturating_sub(1)).unwrap_or(usize::MAX);
        places.get(at).copied().unwrap_or(Place::Nothing)
    }

    /// Events whose event before is still not there once the end of the log was read again.
    fn orphans(&mut self, stand: &Stand) -> Result<(), S::Error> {
        if !self.orphans.is_empty() {
            self.read_behind(stand, self.read_to)?;
        }
        for (event, previous) in std::mem::take(&mut self.orphans) {
            if matches!(self.place(previous), Place::Nothing) {
                let what = format!("the event before it is said to be {previous}, which is not there");
                self.report.find(Kind::Previous, event, what);
            }
        }
        Ok(())
    }

    /// Tickets behind the tree that have neither event nor void. A log that went on for long without one of them lacks it.
    fn gaps_behind(&mut self, stand: &Stand) {
        let holes = std::mem::take(&mut self.holes);
        let mut young = 0_u64;
        for seq in holes {
            let next = self.times.range(seq..).next().map(|(_, at)| *at);
            if next.is_some_and(|next| self.newest > next.plus_s(VOID_AFTER_S)) {
                let what = "there is neither an event nor a void, and the log went on for more than a minute: \
                            nobody integrates it, or the event was deleted";
                self.report.find(Kind::Gap, EventId { epoch: stand.epoch, seq }, what);
            } else {
                young = young.saturating_add(1);
            }
        }
        if young > 0 {
            let what = format!(
                "{young} tickets at the end of the log have no event yet: they are voided after a minute"
            );
            self.report.remarks.push(what);
        }
    }

    fn late_events(&mut self) {
        for id in std::mem::take(&mut self.late) {
            if !self.reported.contains(&id) {
                let what = "an event lies beside the void of its ticket, and no `audit.late` reports it";
                self.report.find(Kind::Late, id, what);
            }
        }
    }
}

/// Whether two events are about the same: each says as much of its target as its writer knew.
fn is_shared(one: Target, other: Target) -> bool {
    let same = |same: bool, both: bool| if both { Some(same) } else { None };
    same(one.key == other.key, one.key.is_some() && other.key.is_some())
        .or_else(|| same(one.role == other.role, one.role.is_some() && other.role.is_some()))
        .or_else(|| same(one.policy == other.policy, one.policy.is_some() && other.policy.is_some()))
        .or_else(|| {
            same(
                one.application == other.application,
                one.application.is_some() && other.application.is_some(),
            )
        })
        .unwrap_or(one == other)
}
