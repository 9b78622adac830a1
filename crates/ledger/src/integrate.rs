//! The integrator: extends the Merkle tree, and brings the projections up to date with the log, over the contiguous prefix of events
//! and voids.
//!
//! Whoever takes the first ticket of `c:tree:{next}` works; where that one goes silent, a waiter takes over. Two at work at once
//! do no harm: what is written follows from the log alone, in one batch with the head, and appending skips what is there.

use crate::batch::{Batch, KvWrite};
use crate::ledger::Ledger;
use crate::register::Changed;
use crate::tree::tile_value;
use keyward_crypto::digest::leaf_hash;
use keyward_crypto::tree::{Edge, Hash};
use keyward_domain::event::{Action, Event, EventId, Outcome};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Code, Error, Result, Timestamp};
use keyward_records::projection::{
    Entry, Gap, Head, ListHead, ListPage, PAGE_ENTRIES, VOIDS_WATCHED_MAX, lists,
};
use keyward_records::{
    KvCount, KvRead, MINUTES_PER_HOUR, Record, RecordError, StoredEvent, Void, minute_of, names, open, seal,
};
use std::collections::BTreeMap;

/// Events that one batch integrates at most.
const EVENTS_MAX: u64 = 128;
/// Records read at the same time.
pub(crate) const READS_AT_ONCE: usize = 32;
/// How long a ticket may lack its event before it is voided, in seconds.
const VOID_AFTER_S: i64 = 60;
/// How long to wait for another integrator before taking over, in milliseconds of the monotonic clock.
const TAKEOVER_MS: u64 = 2_000;
/// Pause between looks at another integrator's work, in milliseconds.
const PAUSE_MS: u64 = 20;

/// Batches of events in which the report of a late one is looked for before it is reported again.
const LATE_ROUNDS: u32 = 8;

/// How far an integration came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Tickets that are in the projections.
    pub size: u64,
    /// Tickets taken when it was looked.
    pub taken: u64,
}

/// One ticket of the log: its leaf, and the event where there is one.
struct Leaf {
    id: EventId,
    hash: Hash,
    event: Option<Event>,
    /// A void that this integration decides on, sealed.
    void: Option<Vec<u8>>,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'_, K, C, R> {
    /// Integrates up to `rounds` batches of events; stops early where the log is at its end or a gap is too young to be voided.
    ///
    /// # Errors
    /// Where the store does not answer or a record does not open.
    pub async fn integrate(&self, rounds: u32) -> Result<Progress> {
        self.integrate_voiding(rounds, Some(VOID_AFTER_S)).await
    }

    /// Integrates the current epoch to its end and voids at once whatever lacks its event: for a store that nobody writes to any more.
    /// Gives the head.
    ///
    /// # Errors
    /// As [`Ledger::integrate`]; [`Code::StateConflict`] where somebody still takes tickets.
    pub async fn close(&self) -> Result<Head> {
        let Progress { size, taken } = self.integrate_voiding(u32::MAX, None).await?;
        if size < taken {
            return Err(Error::new(
                Code::StateConflict,
                "the log did not come to its end; stop whatever runs on the store and repeat",
            ));
        }
        self.read().head().await
    }

    async fn integrate_voiding(&self, rounds: u32, void_after_s: Option<i64>) -> Result<Progress> {
        let head = self.read().head().await?;
        self.hold_tree(&head).await?;
        let mut progress = self.progress(&head).await?;
        for _ in 0..rounds {
            if progress.size >= progress.taken {
                break;
            }
            let before = progress.size;
            self.integrate_once(void_after_s).await?;
            progress = self.progress(&self.read().head().await?).await?;
            if progress.size == before {
                break;
            }
        }
        Ok(progress)
    }

    /// Events that lie beside the void of their ticket and are for this caller to report: their writers were held up for so long that
    /// the ticket was given up. Whoever meets one first reports it; the others wait until it is reported, and take over where it is not.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn late_events(&self) -> Result<Vec<StoredEvent>> {
        let mut late = self.beside_voids().await?;
        let mut is_first = true;
        for stored in &late {
            is_first &= self.kv.increment(&names::counter::late(stored.event.id), 1).await? == 1;
        }
        let started_ms = self.clock.monotonic_ms();
        while !is_first
            && !late.is_empty()
            && self.clock.monotonic_ms().saturating_sub(started_ms) < TAKEOVER_MS
        {
            self.clock.sleep_ms(PAUSE_MS).await;
            late = self.beside_voids().await?;
        }
        if !is_first && !late.is_empty() {
            // It may be reported and not integrated yet: the first may be slow, or dead behind its report.
            self.integrate(LATE_ROUNDS).await?;
            late = self.beside_voids().await?;
        }
        Ok(late)
    }

    /// Events that lie beside a void and of which no integrated event tells.
    async fn beside_voids(&self) -> Result<Vec<StoredEvent>> {
        let head = self.read().head().await?;
        let reads = head.voids.iter().map(async |seq| {
            let store_key = names::event(EventId { epoch: head.epoch, seq: *seq });
            let found = self.kv.get(&store_key).await?;
            // What does not open is for `audit verify` to name.
            Ok(found.and_then(|sealed| open::<StoredEvent>(&self.rings.audit, &store_key, &sealed).ok()))
        });
        let found: Vec<Option<StoredEvent>> =
            futures::future::join_all(reads).await.into_iter().collect::<Result<_>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn progress(&self, head: &Head) -> Result<Progress> {
        Ok(Progress { size: head.size, taken: self.taken(head.epoch).await? })
    }

    async fn integrate_once(&self, void_after_s: Option<i64>) -> Result<()> {
        let head = self.read().head().await?;
        let taken = self.taken(head.epoch).await?;
        let next = head.next();
        let now = self.clock.now();
        // A gap that is too young blocks everybody: look before anyone claims the work.
        let blocked = head.gap.filter(|gap| gap.seq == next.seq);
        if blocked.is_some_and(|gap| !overdue(gap, now, void_after_s)) && self.leaf(next).await?.is_none() {
            return Ok(());
        }
        // Whoever found the gap has done its work; going on behind it is other work.
        let work = match blocked {
            None => names::counter::tree(next),
            Some(_) => names::counter::tree_behind_gap(next),
        };
        if self.kv.increment(&work, 1).await? != 1 && self.other_moved(&head).await? {
            return Ok(());
        }
        let (leaves, gap) = self.prefix(&head, taken, now, void_after_s).await?;
        if leaves.is_empty() && gap == head.gap {
            return Ok(());
        }
        let mut edge = self.edge(&head).await?;
        for leaf in &leaves {
            edge.append(leaf.hash);
        }
        let extended = Head {
            epoch: head.epoch,
            size: edge.size(),
            root: edge.root(),
            gap,
            voids: watched(head.voids.clone(), &leaves),
        };
        let batch = self.project(&extended, &leaves, edge).await?;
        // The batch of another integrator that came late, or twice, takes head and lists back together, and nothing is lost. Lists that were read
        // after that, beside a head that was read before it, lack what lies between: they are not written.
        if self.read().head().await? != head {
            return Ok(());
        }
        self.kv.set_many(&batch).await?;
        Ok(())
    }

    /// Waits for another integrator; whether it got further within its time.
    async fn other_moved(&self, head: &Head) -> Result<bool> {
        let started_ms = self.clock.monotonic_ms();
        loop {
            if self.read().head().await? != *head {
                return Ok(true);
            }
            if self.clock.monotonic_ms().saturating_sub(started_ms) >= TAKEOVER_MS {
                return Ok(false);
            }
            self.clock.sleep_ms(PAUSE_MS).await;
        }
    }

    /// The leaves that follow the head without a hole, and the hole that ends them.
    async fn prefix(
        &self,
        head: &Head,
        taken: u64,
        now: Timestamp,
        void_after_s: Option<i64>,
    ) -> Result<(Vec<Leaf>, Option<Gap>)> {
        let last = taken.min(head.size + EVENTS_MAX);
        let mut leaves: Vec<Leaf> = Vec::new();
        let mut seq = head.size;
        while seq < last {
            let upto = last.min(seq + READS_AT_ONCE as u64);
            let reads = (seq + 1..=upto).map(|seq| self.leaf(EventId { epoch: head.epoch, seq }));
            for found in futures::future::join_all(reads).await {
                seq += 1;
                match found? {
                    Some(leaf) => leaves.push(leaf),
                    None => {
                        let gap = match head.gap {
                            // Taken by the time that a gap before it was first seen: missing for as long.
                            Some(gap) if seq <= gap.taken => Gap { seq, ..gap },
                            _ => Gap { seq, since: now, taken },
                        };
                        if !overdue(gap, now, void_after_s) {
                            return Ok((leaves, Some(gap)));
                        }
                        leaves.push(self.void(EventId { epoch: head.epoch, seq }, gap)?);
                    }
                }
            }
        }
        Ok((leaves, None))
    }

    /// The leaf of one ticket; `None` where there is neither event nor void.
    async fn leaf(&self, id: EventId) -> Result<Option<Leaf>> {
        let (event_key, void_key) = (names::event(id), names::void(id));
        let (event, void) = futures::join!(self.kv.get(&event_key), self.kv.get(&void_key));
        // A void that was decided on stands, even where its event came late: the tree has it.
        if let Some(sealed) = void? {
            return Ok(Some(Leaf { id, hash: leaf_hash(&sealed), event: None, void: None }));
        }
        let Some(sealed) = event? else { return Ok(None) };
        match open::<StoredEvent>(&self.rings.audit, &event_key, &sealed) {
            Ok(stored) => {
                Ok(Some(Leaf { id, hash: leaf_hash(&sealed), event: Some(stored.event), void: None }))
            }
            Err(error) if error.is_unavailable() => Err(error.into_error("an audit event")),
            // A damaged event has its place in the tree, and `audit verify` names it; it must not stop the log.
            Err(RecordError::Damaged | _) => {
                Ok(Some(Leaf { id, hash: leaf_hash(&sealed), event: None, void: None }))
            }
        }
    }

    /// The void of a ticket, the same bytes whoever decides on it: a batch of one integrator that comes late, behind another's, must not
    /// put another leaf in the place of one that was signed. Hence its time and its nonce follow from the gap.
    fn void(&self, id: EventId, gap: Gap) -> Result<Leaf> {
        let void = Void { id, at: gap.since };
        let digest = self.rings.audit.keyed_digest(&void.store_key(), &void.at.unix_ms().to_be_bytes());
        let nonce =
            *digest.first_chunk().ok_or_else(|| Error::internal("a digest is shorter than a nonce"))?;
        let sealed = seal(&self.rings.audit, &void, nonce)
            .map_err(|_| Error::internal("a void is too large to be sealed"))?;
        Ok(Leaf { id, hash: leaf_hash(&sealed), event: None, void: Some(sealed) })
    }

    /// One batch: the head, the tiles that changed, the checkpoint, what the leaves add to lists, voids.
    async fn project(&self, head: &Head, leaves: &[Leaf], mut edge: Edge) -> Result<Batch> {
        let mut appended: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for event in leaves.iter().filter_map(|leaf| leaf.event.as_ref()) {
            for (list, id) in places(event) {
                appended.entry(list).or_default().push(Entry { event: event.id, id });
            }
        }
        let mut entries = Vec::new();
        self.put(&mut entries, head)?;
        for (list, new) in appended {
            self.append(&mut entries, list, new).await?;
        }
        let events = leaves.iter().filter_map(|leaf| leaf.event.as_ref());
        self.put_registers(&mut entries, events).await?;
        for (tile, hashes) in edge.take_changed() {
            entries.push((names::tile(head.epoch, tile), tile_value(&hashes)));
        }
        if !leaves.is_empty() {
            entries.extend(self.new_checkpoint(head).await?);
        }
        for leaf in leaves {
            if let Some(sealed) = &leaf.void {
                entries.push((names::void(leaf.id), sealed.clone()));
            }
        }
        Ok(Batch::new(entries))
    }

    fn put<T: Record>(&self, entries: &mut Vec<(String, Vec<u8>)>, record: &T) -> Result<()> {
        entries.push(self.sealed(record)?);
        Ok(())
    }

    async fn put_registers(
        &self,
        entries: &mut Vec<(String, Vec<u8>)>,
        events: impl Iterator<Item = &Event>,
    ) -> Result<()> {
        let Changed { registers, places, pages, sums, heads, totals } = self.register(events).await?;
        registers.iter().try_for_each(|record| self.put(entries, record))?;
        places.iter().try_for_each(|record| self.put(entries, record))?;
        pages.values().try_for_each(|record| self.put(entries, record))?;
        sums.values().try_for_each(|record| self.put(entries, record))?;
        heads.values().try_for_each(|record| self.put(entries, record))?;
        totals.values().try_for_each(|record| self.put(entries, record))
    }

    async fn append(
        &self,
        entries: &mut Vec<(String, Vec<u8>)>,
        list: String,
        new: Vec<Entry>,
    ) -> Result<()> {
        let mut head = self.read().list_head(&list).await?.unwrap_or(ListHead {
            list: list.clone(),
            count: 0,
            through: EventId { epoch: 0, seq: 0 },
        });
        let number = head.count / PAGE_ENTRIES;
        let empty = |page| ListPage { list: list.clone(), page, entries: Vec::new() };
        let begun = usize::try_from(head.count % PAGE_ENTRIES).unwrap_or(0);
        let mut page = match begun {
            0 => empty(number),
            _ => self.read().list_page(&list, number).await?.ok_or_else(|| Error::damaged("a list"))?,
        };
        // Read after the list's head: another integrator may have added to it meanwhile, or written over it what it had read before.
        page.entries.truncate(begun);
        if page.entries.len() < begun {
            return Err(Error::store_unavailable());
        }
        let mut changed = false;
        for entry in new {
            if entry.event <= head.through {
                continue;
            }
            head.through = entry.event;
            head.count += 1;
            page.entries.push(entry);
            changed = true;
            if head.count.is_multiple_of(PAGE_ENTRIES) {
                self.put(entries, &page)?;
                page = empty(head.count / PAGE_ENTRIES);
            }
        }
        if changed {
            if !page.entries.is_empty() {
                self.put(entries, &page)?;
            }
            self.put(entries, &head)?;
        }
        Ok(())
    }
}

/// Whether a gap has been open for long enough to be voided, which is at once where there is no patience. A clock that stepped back
/// only makes it wait longer.
fn overdue(gap: Gap, now: Timestamp, void_after_s: Option<i64>) -> bool {
    void_after_s.is_none_or(|void_after_s| now >= gap.since.plus_s(void_after_s))
}

/// The voids to watch for events that come late: the newest, without those whose late event was reported.
fn watched(mut voids: Vec<u64>, leaves: &[Leaf]) -> Vec<u64> {
    voids.extend(leaves.iter().filter(|leaf| leaf.void.is_some()).map(|leaf| leaf.id.seq));
    for event in leaves.iter().filter_map(|leaf| leaf.event.as_ref()) {
        if let Some((late, _)) = late_event(event) {
            voids.retain(|seq| *seq != late.seq || late.epoch != event.id.epoch);
        }
    }
    let excess = voids.len().saturating_sub(VOIDS_WATCHED_MAX);
    voids.drain(..excess);
    voids
}

/// The late event that an alarm reports, and what it did.
pub fn late_event(event: &Event) -> Option<(EventId, Action)> {
    match (event.action, event.detail.as_slice()) {
        (Action::EventLate, [late, action, ..]) => Some((late.parse().ok()?, action.parse().ok()?)),
        _ => None,
    }
}

/// The lists that an event has a place in, with the id of the thing where the list is of things.
pub fn places(event: &Event) -> Vec<(String, String)> {
    let mut places = vec![(lists::events_of_action(event.action), String::new())];
    if let Some(application) = event.target.application {
        places.push((lists::events_of_application(application), String::new()));
    }
    if let Some(key) = event.target.key {
        places.push((lists::events_of_key(key), String::new()));
    }
    if let Some(credential) = event.target.credential {
        places.push((lists::events_of_credential(credential), String::new()));
    }
    if let Some(actor) = event.actor.key {
        places.push((lists::events_by(actor), String::new()));
    }
    places.extend(things(event));
    places
}

/// The lists of things that an event makes longer.
pub fn things(event: &Event) -> Vec<(String, String)> {
    let mut things = Vec::new();
    let who = event.target.key.map(|key| key.to_string());
    let who = who.or_else(|| event.target.credential.map(|credential| credential.to_string()));
    if let (Some(due), Some(who)) = (event.due(), who) {
        // Never in a minute that was over when the event was written: it may have been walked.
        let minute = minute_of(due.max(event.at));
        things.push((lists::due(minute), who.clone()));
        things.push((lists::due_in_hour(minute.div_euclid(MINUTES_PER_HOUR)), who));
    }
    // What came late is in no list but through the alarm that reports it.
    let action = match late_event(event) {
        Some((_, action)) => action,
        None if event.outcome == Outcome::Done => event.action,
        None => return things,
    };
    if matches!(action, Action::ApplicationCreated | Action::Initialised)
        && let Some(application) = event.target.application
    {
        things.push((lists::APPLICATIONS.to_owned(), application.to_string()));
    }
    if action == Action::RoleCreated
        && let Some(role) = event.target.role
    {
        things.push((lists::ROLES.to_owned(), role.to_string()));
    }
    if action == Action::WebhookCreated
        && let (Some(application), Some(webhook)) = (event.target.application, event.target.webhook)
    {
        things.push((lists::WEBHOOKS.to_owned(), webhook.to_string()));
        things.push((lists::webhooks_of(application), webhook.to_string()));
    }
    if action == Action::PolicyCreated
        && let Some(policy) = event.target.policy
    {
        things.push((lists::POLICIES.to_owned(), policy.to_string()));
    }
    if action == Action::CredentialCreated
        && let (Some(application), Some(credential)) = (event.target.application, event.target.credential)
    {
        things.push((lists::CREDENTIALS.to_owned(), credential.to_string()));
        things.push((lists::credentials_of(application), credential.to_string()));
    }
    if action == Action::CredentialRotationBegun
        && let Some(credential) = event.target.credential
    {
        things.push((lists::ROTATIONS.to_owned(), credential.to_string()));
    }
    if matches!(action, Action::KeyIssued | Action::KeyImported | Action::Initialised | Action::RootRecovered)
        && let (Some(application), Some(key)) = (event.target.application, event.target.key)
    {
        things.push((lists::KEYS.to_owned(), key.to_string()));
        things.push((lists::keys_of(application), key.to_string()));
    }
    if matches!(action, Action::KeyIssued | Action::KeyImported | Action::KeyChanged)
        && let (Some(application), Some(key)) = (event.target.application, event.target.key)
    {
        for tag in event.tags_given() {
            things.push((lists::keys_tagged(None, tag), key.to_string()));
            things.push((lists::keys_tagged(Some(application), tag), key.to_string()));
        }
    }
    things
}
