//! The audited commit: tickets for the events, then one batch of events, state and idempotency outcome.
//!
//! `c:audit += n` and one `set_many` are the whole cost. Nothing is told before the commit is known.

use crate::batch::{Batch, KvWrite};
use crate::ledger::Ledger;
use crate::turn::Turn;
use keyward_crypto::digest::{hex, leaf_hash};
use keyward_domain::application::{Application, Details};
use keyward_domain::claim::Claim;
use keyward_domain::credential::Credential;
use keyward_domain::delivery::Queue;
use keyward_domain::event::{Action, Actor, Event, EventId, Outcome, Source, Target, WriteDigest};
use keyward_domain::imported::Imported;
use keyward_domain::issuing::Issuing;
use keyward_domain::key::{FIRST_VERSION, Key};
use keyward_domain::policy::Policy;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::renewal::Renewal;
use keyward_domain::role::Role;
use keyward_domain::session::Session;
use keyward_domain::webhook::Webhook;
use keyward_domain::{ApplicationId, Code, CredentialId, Error, KeyId, RenewalId, RequestId, Result};
use keyward_records::projection::Head;
use keyward_records::{
    CredentialValue, Delivery, Epochs, KvCount, KvRead, LIVE, MonthKey, NameRecord, PersonalKey,
    ProviderSecret, Record, Revised, StoredEvent, Tombstone, names, seal, tombstone_value,
};

/// How long a batch may take before its effect is looked up instead of believed; also how long a writer may hold a turn.
/// Well under the 5 s after which a successor steps over.
pub(crate) const COMMIT_MS_MAX: u64 = 3_000;

/// An event before it has its ticket.
#[derive(Clone)]
pub struct Draft {
    /// What.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// To what.
    pub target: Target,
    /// By whom.
    pub actor: Actor,
    /// From where.
    pub source: Source,
    /// In which request.
    pub request: Option<RequestId>,
    /// Why.
    pub reason: Option<String>,
    /// Plain facts, never a secret.
    pub detail: Vec<String>,
    /// The event before it on the same target.
    pub previous: Option<EventId>,
}

/// The tickets of one commit: what a record needs in order to be written, and can only be had here.
pub struct Tickets {
    epoch: u32,
    first: u64,
    count: u64,
    /// When they were asked for, by the monotonic clock.
    asked_ms: u64,
}

impl Tickets {
    /// The event at this place of the drafts; the last where there are fewer.
    pub fn event(&self, index: usize) -> EventId {
        let offset = u64::try_from(index).unwrap_or(u64::MAX).min(self.count.saturating_sub(1));
        EventId { epoch: self.epoch, seq: self.first.saturating_add(offset) }
    }
}

/// Where an event lies in the log, and the hash of the leaf that it is there: what whoever caused it can hold the log to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The event.
    pub event: EventId,
    /// The RFC 6962 leaf hash of the sealed event.
    pub leaf: [u8; 32],
}

/// What a commit came to.
pub struct Committed<T> {
    /// The result of `prepare`.
    pub value: T,
    /// The receipt of the first event.
    pub receipt: Receipt,
}

/// One entry of a batch, and which event names it; none names what follows from the log.
struct Entry {
    event: Option<usize>,
    store_key: String,
    value: Vec<u8>,
}

/// What a commit writes beside its events. Each write is named by one of them: the first, unless [`Writes::for_event`] says another.
pub struct Writes<'l, K, C, R> {
    ledger: &'l Ledger<'l, K, C, R>,
    first_event: EventId,
    event: usize,
    entries: Vec<Entry>,
    turns: Vec<Turn>,
    failed: Option<Error>,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Writes<'_, K, C, R> {
    fn put(&mut self, store_key: String, value: Vec<u8>) {
        self.entries.push(Entry { event: Some(self.event), store_key, value });
    }

    /// What is written from here on is named by the event at this place of the drafts.
    pub const fn for_event(&mut self, index: usize) -> &mut Self {
        self.event = index;
        self
    }

    fn sealed<T: Record>(&mut self, record: &T) -> Option<Vec<u8>> {
        match seal(&self.ledger.rings.records, record, self.ledger.rng.bytes()) {
            Ok(sealed) => Some(sealed),
            Err(_) => {
                self.failed = Some(Error::internal("a record is too large to be sealed"));
                None
            }
        }
    }

    fn record<T: Record>(&mut self, record: &T) {
        if let Some(sealed) = self.sealed(record) {
            self.put(record.store_key(), sealed);
        }
    }

    /// A key is born: its live flag and its record.
    pub fn new_key(&mut self, key: &Key) {
        self.put(names::flag(key.id), LIVE.to_vec());
        self.record(key);
    }

    /// A record changes, or stays as it is but for its revision, in its turn.
    pub fn change<T: Revised>(&mut self, record: &T, turn: Turn) {
        self.record(record);
        self.turns.push(turn);
    }

    /// A key is born of a token that another system issued, in its turn: its id follows from the token, so somebody else may be importing it as
    /// well. Beside it stands which kind of imports there are from now on.
    pub fn imported_key(&mut self, key: &Key, imported: Imported, turn: Turn) {
        self.new_key(key);
        for version in &key.versions {
            self.put(names::imports(version.pepper, imported.algorithm), LIVE.to_vec());
        }
        self.turns.push(turn);
    }

    /// A key dies. Waits for no turn. One that was imported has an id that others arrive at as well, so a writer that was held up could bring
    /// it to life again: its first version dies beside it, which no birth undoes. Whoever cannot tell says that it may be one.
    pub fn tombstone(&mut self, tombstone: &Tombstone, may_be_imported: bool) {
        if may_be_imported {
            self.version_kill(tombstone.key, FIRST_VERSION, tombstone.event);
        }
        if let Some(sealed) = self.sealed(tombstone) {
            self.put(tombstone.store_key(), tombstone_value(&sealed));
        }
    }

    /// One version of a key dies. Waits for no turn; the value is plain and says by which event.
    pub fn version_kill(&mut self, key: KeyId, version: u16, event: EventId) {
        self.put(names::version_kill(key, version), event.to_string().into_bytes());
    }

    /// All keys of a generation die. Waits for no turn; the value is plain and says by which event.
    pub fn generation_kill(&mut self, application: ApplicationId, generation: u32, event: EventId) {
        self.put(names::generation_kill(application, generation), event.to_string().into_bytes());
    }

    /// An application is born.
    pub fn new_application(&mut self, application: &Application, details: &Details) {
        self.record(application);
        self.record(details);
    }

    /// An application changes, in its turn; both of its records carry the same revision.
    pub fn application(&mut self, application: &Application, details: &Details, turn: Turn) {
        self.new_application(application, details);
        self.turns.push(turn);
    }

    /// A role is born.
    pub fn new_role(&mut self, role: &Role) {
        self.record(role);
    }

    /// A webhook is born.
    pub fn new_webhook(&mut self, webhook: &Webhook) {
        self.record(webhook);
    }

    /// The progress of delivery and a queue change, in their turn. No event names them: they are kept beside the log.
    pub fn delivery(&mut self, mut delivery: Delivery, queue: Option<&Queue>, turn: Turn) {
        delivery.revision = turn.revision();
        self.beside_the_log(&delivery);
        if let Some(queue) = queue {
            self.beside_the_log(queue);
        }
        self.turns.push(turn);
    }

    fn beside_the_log<T: Record>(&mut self, record: &T) {
        match self.ledger.sealed_delivery(record) {
            Ok(value) => self.entries.push(Entry { event: None, store_key: record.store_key(), value }),
            Err(error) => self.failed = Some(error),
        }
    }

    /// A policy is born.
    pub fn new_policy(&mut self, policy: &Policy) {
        self.record(policy);
    }

    /// A credential is born.
    pub fn new_credential(&mut self, credential: &Credential) {
        self.record(credential);
    }

    /// What a version of a credential holds, written once or sealed anew as it is, under the ring of the vault.
    pub fn credential_value(&mut self, value: &CredentialValue) {
        self.sealed_under_vault(value);
    }

    /// What calls of a credential's provider are signed with, or the same sealed anew, under the ring of the vault.
    pub fn provider_secret(&mut self, secret: &ProviderSecret) {
        self.sealed_under_vault(secret);
    }

    fn sealed_under_vault<T: Record>(&mut self, record: &T) {
        let vault = match self.ledger.rings.vault() {
            Ok(vault) => vault,
            Err(error) => return self.fail(error),
        };
        match seal(vault, record, self.ledger.rng.bytes()) {
            Ok(sealed) => self.put(record.store_key(), sealed),
            Err(_) => self.failed = Some(Error::internal("a credential is too large to be sealed")),
        }
    }

    /// What calls of a credential's provider are signed with is overwritten, and says by which event.
    pub fn provider_secret_destroyed(&mut self, credential: CredentialId, event: EventId) {
        self.put(names::credential_provider(credential), event.to_string().into_bytes());
    }

    /// What a version of a credential held is overwritten, and a mark says that it was: whatever a writer that was held up puts back,
    /// nobody is handed it. Both are plain and say by which event.
    pub fn credential_destroyed(&mut self, credential: CredentialId, version: u32, event: EventId) {
        let by = event.to_string().into_bytes();
        self.put(names::credential_kill(credential, version), by.clone());
        self.put(names::credential_value(credential, version), by);
    }

    /// A name changes hands, in its turn.
    pub fn name(&mut self, name: &NameRecord, turn: Turn) {
        self.record(name);
        self.turns.push(turn);
    }

    /// The switch of issuing is set, in its turn.
    pub fn issuing(&mut self, issuing: &Issuing, turn: Turn) {
        self.record(issuing);
        self.turns.push(turn);
    }

    /// A key of a month's personal data comes to be, or is destroyed. Under the ring of the log, since that is what it opens.
    pub fn personal_key(&mut self, key: &PersonalKey) {
        self.sealed_under_audit(key);
    }

    fn sealed_under_audit<T: Record>(&mut self, record: &T) {
        match seal(&self.ledger.rings.audit, record, self.ledger.rng.bytes()) {
            Ok(sealed) => self.put(record.store_key(), sealed),
            Err(_) => self.failed = Some(Error::internal("a record is too large to be sealed")),
        }
    }

    /// An epoch of the log is opened. Its head follows from it, as that of every projection does: no event names it.
    pub fn epochs(&mut self, epochs: &Epochs, head: &Head) {
        self.sealed_under_audit(epochs);
        let named = self.entries.len();
        self.sealed_under_audit(head);
        if let Some(entry) = self.entries.get_mut(named) {
            entry.event = None;
        }
    }

    /// A claim is made, or sealed anew as it is: it never changes.
    pub fn claim(&mut self, claim: &Claim) {
        self.record(claim);
    }

    /// The right to renew is handed out, or sealed anew as it is: it never changes.
    pub fn renewal(&mut self, renewal: &Renewal) {
        self.record(renewal);
    }

    /// A renewal token was used. Written once; plain, since it says nothing but by which event.
    pub fn renewal_used(&mut self, renewal: RenewalId, event: EventId) {
        self.put(names::renewal_used(renewal), event.to_string().into_bytes());
    }

    /// A session of the dashboard was ended by whoever signed out. Written once; plain, since it says nothing but by which event. It
    /// stays: the log names it, and whoever verifies the log asks for it.
    pub fn session_closed(&mut self, session: &Session, event: EventId) {
        self.put(names::session_closed(session.id()), event.to_string().into_bytes());
    }

    pub(crate) fn outcome(&mut self, store_key: String, sealed: Vec<u8>, turn: Turn) {
        self.put(store_key, sealed);
        self.turns.push(turn);
    }

    pub(crate) fn fail(&mut self, error: Error) {
        self.failed = Some(error);
    }

    pub(crate) const fn first_event(&self) -> EventId {
        self.first_event
    }

    pub(crate) const fn ledger(&self) -> &Ledger<'_, K, C, R> {
        self.ledger
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'_, K, C, R> {
    /// Takes one ticket per draft, asks `prepare` what to write with them, and writes events and state in one batch.
    ///
    /// # Errors
    /// Those of `prepare`; [`Code::StoreRolledBack`] where the store is older than the witness saw it; [`Code::StoreUnavailable`] where
    /// nothing was written; [`Code::OutcomeUnknown`] where it is not known.
    pub async fn commit<T>(
        &self,
        drafts: Vec<Draft>,
        prepare: impl FnOnce(&Tickets, &mut Writes<'_, K, C, R>) -> Result<T>,
    ) -> Result<Committed<T>> {
        let reader = self.read();
        let (epochs, held) = futures::join!(reader.epochs(), self.hold());
        held?;
        self.commit_in(epochs?.current, drafts, prepare).await
    }

    /// The same with tickets of this epoch, which may be the one that is to be opened.
    ///
    /// # Errors
    /// As [`Ledger::commit`].
    pub async fn commit_in<T>(
        &self,
        epoch: u32,
        drafts: Vec<Draft>,
        prepare: impl FnOnce(&Tickets, &mut Writes<'_, K, C, R>) -> Result<T>,
    ) -> Result<Committed<T>> {
        let personal = self.commit_key().await?;
        let tickets = self.take_tickets(epoch, drafts.len()).await?;
        let mut writes = Writes {
            ledger: self,
            first_event: tickets.event(0),
            event: 0,
            entries: Vec::new(),
            turns: Vec::new(),
            failed: None,
        };
        let value = prepare(&tickets, &mut writes)?;
        if personal.fresh {
            writes.for_event(0).personal_key(&PersonalKey::from(&personal.key));
        }
        let Writes { entries, turns, failed, .. } = writes;
        if let Some(error) = failed {
            return Err(error);
        }
        let (batch, events, witness) = self.assemble(drafts, &tickets, entries, &personal.key)?;
        let now_ms = self.clock.monotonic_ms();
        let mut since = turns.iter().map(|turn| turn.granted_ms).chain([tickets.asked_ms]);
        if since.any(|since_ms| now_ms.saturating_sub(since_ms) > COMMIT_MS_MAX) {
            // A successor may be about to step over, or the ticket to be voided: giving up is the only write that cannot hurt.
            return Err(Error::new(
                Code::StoreUnavailable,
                "the store took too long; nothing was changed; repeat later",
            ));
        }
        self.write(&batch, &tickets, &witness).await?;
        self.rings.month.keep(personal.key);
        for event in &events {
            self.sink.committed(event);
        }
        Ok(Committed { value, receipt: Receipt { event: tickets.event(0), leaf: leaf_hash(&witness) } })
    }

    async fn take_tickets(&self, epoch: u32, count: usize) -> Result<Tickets> {
        let count =
            i64::try_from(count.max(1)).map_err(|_| Error::internal("too many events in one commit"))?;
        let counter = names::counter::audit(epoch);
        let mut asked_ms = self.clock.monotonic_ms();
        let mut last = self.kv.increment(&counter, count).await;
        // A lost reply leaves tickets unused, and one that came late may have been voided: the integrator sees to them.
        if last.is_err() || self.clock.monotonic_ms().saturating_sub(asked_ms) > COMMIT_MS_MAX {
            asked_ms = self.clock.monotonic_ms();
            last = self.kv.increment(&counter, count).await;
        }
        match u64::try_from(last? - count + 1) {
            Ok(first) if first > 0 => {
                self.hold_tickets(epoch, first - 1)?;
                Ok(Tickets { epoch, first, count: count.unsigned_abs(), asked_ms })
            }
            _ => Err(Error::damaged("the audit counter")),
        }
    }

    /// The batch, its events, and the first of them as it is sealed, by which the batch's effect is recognised.
    fn assemble(
        &self,
        drafts: Vec<Draft>,
        tickets: &Tickets,
        entries: Vec<Entry>,
        personal: &MonthKey,
    ) -> Result<(Batch, Vec<Event>, Vec<u8>)> {
        let at = self.clock.now();
        let mut all = Vec::with_capacity(entries.len() + drafts.len());
        let mut events = Vec::with_capacity(drafts.len());
        let mut witness = Vec::new();
        let digest = |entry: &Entry| WriteDigest {
            record: entry.store_key.clone(),
            digest: hex(&self.rings.audit.keyed_digest(&entry.store_key, &entry.value)),
        };
        for (index, draft) in drafts.into_iter().enumerate() {
            let event = Event {
                id: tickets.event(index),
                at,
                action: draft.action,
                outcome: draft.outcome,
                target: draft.target,
                actor: draft.actor,
                source: draft.source,
                request: draft.request,
                reason: draft.reason,
                detail: draft.detail,
                previous: draft.previous,
                writes: entries.iter().filter(|entry| entry.event == Some(index)).map(digest).collect(),
            };
            let too_large = |_| Error::internal("an event is too large to be sealed");
            let key = StoredEvent::is_personal(&event).then_some(personal);
            let stored = StoredEvent::new(event.clone(), &self.rings.audit, key, self.rng.bytes())
                .map_err(too_large)?;
            let sealed = seal(&self.rings.audit, &stored, self.rng.bytes()).map_err(too_large)?;
            if index == 0 {
                witness.clone_from(&sealed);
            }
            all.push((names::event(event.id), sealed));
            events.push(event);
        }
        all.extend(entries.into_iter().map(|entry| (entry.store_key, entry.value)));
        Ok((Batch::new(all), events, witness))
    }

    async fn write(&self, batch: &Batch, tickets: &Tickets, witness: &[u8]) -> Result<()> {
        let started_ms = self.clock.monotonic_ms();
        let answer = self.kv.set_many(batch).await;
        let took_ms = self.clock.monotonic_ms().saturating_sub(started_ms);
        if answer.is_ok() && took_ms <= COMMIT_MS_MAX {
            return Ok(());
        }
        // What the store said, or how long it took, does not tell what happened: look.
        let first = tickets.event(0);
        let (event_key, void_key) = (names::event(first), names::void(first));
        let (event, void) = futures::join!(self.kv.get(&event_key), self.kv.get(&void_key));
        match (event, void) {
            (Ok(Some(event)), Ok(_)) if event == witness => Ok(()),
            _ => Err(Error::new(
                Code::OutcomeUnknown,
                "the store did not say whether it was written; repeat with the same Idempotency-Key to learn it",
            )),
        }
    }
}
