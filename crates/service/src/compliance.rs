//! The report on compliance: how keys stand against their policies, how fast they are rotated once they are due or flagged, how fast
//! revocations are written, and whether what was looked at is on record. It only reads. Its figures are counts and sums, so that the
//! pages of a long walk add up.

use crate::attempt::Attempt;
use crate::list::Page;
use crate::service::Service;
use keyward_domain::application::Details;
use keyward_domain::event::{Action, Event, EventId, Outcome};
use keyward_domain::key::Key;
use keyward_domain::policy::Terms;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::{ApplicationId, Code, Error, KeyId, PolicyId, Result, Timestamp};
use keyward_ledger::KvWrite;
use keyward_records::projection::{PAGE_ENTRIES, lists};
use keyward_records::{KvCount, KvRead, Tombstone, names};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// Events of one key or credential that are looked at, from the newest: of a key its last rotations, as a rule all of them.
const EVENTS_PER_LIST_MAX: usize = 64;
/// Keys looked at at the same time.
const KEYS_AT_ONCE: usize = 8;
/// Within how long a key is to be rotated on average, in seconds: a day.
const TARGET_S: i64 = 24 * 3600;

/// What a report is about.
#[derive(Default)]
pub struct ComplianceQuery {
    /// The keys of this application; of all where it is absent.
    pub application: Option<ApplicationId>,
    /// Rotations and revocations from then on; all that are found where it is absent. How keys stand is always as of now.
    pub since: Option<Timestamp>,
}

/// How keys comply with their policies. Its figures are counts and sums over the keys of this page: those of all pages add up.
#[derive(Serialize, ToSchema)]
#[schema(as = Compliance)]
pub struct ComplianceView {
    /// As of when.
    pub at: Timestamp,
    /// The last event that is in the lists which the report was made from.
    pub through: EventId,
    /// From when on rotations and revocations count.
    #[schema(required = true)]
    pub since: Option<Timestamp>,
    /// Within how long a key is to be rotated on average, in seconds.
    pub target_s: i64,
    /// Keys looked at.
    pub examined: usize,
    /// Of these, keys whose record does not open; `keyward audit verify` names them.
    pub damaged: usize,
    /// All of the page.
    pub totals: Figures,
    /// The same, by application.
    pub applications: Vec<ApplicationFigures>,
    /// Keys that break their policy.
    pub overdue: Vec<OverdueKey>,
    /// Where the next call goes on; none after the last.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

/// The figures of one application.
#[derive(Serialize, ToSchema)]
#[schema(as = ApplicationCompliance)]
pub struct ApplicationFigures {
    /// Which application.
    pub application: Owner,
    /// Its figures.
    pub figures: Figures,
}

/// An application, and whom to reach about its keys.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = KeyOwner)]
pub struct Owner {
    /// Its id.
    pub id: ApplicationId,
    /// What people call it.
    pub name: String,
    /// Whom to reach.
    pub contacts: Vec<String>,
}

/// A key that breaks its policy.
#[derive(Serialize, ToSchema)]
pub struct OverdueKey {
    /// Its id.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// Whose it is, and whom to reach.
    pub application: Owner,
    /// Its own policy; null where that of its application holds, or none.
    #[schema(required = true)]
    pub policy: Option<PolicyId>,
    /// When its next version was due; null where it is too old for its policy, and nothing else.
    #[schema(required = true)]
    pub due_at: Option<Timestamp>,
    /// Since when it breaks its policy: a grace after it was due, or when it had lived for as long as it may.
    pub overdue_since: Timestamp,
    /// For how long by now, in seconds.
    pub overdue_s: i64,
    /// Whether a successor is offered, and nobody claimed it.
    pub offered: bool,
}

/// What is counted.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = ComplianceFigures)]
pub struct Figures {
    /// Its keys, by their age.
    pub keys: KeyCounts,
    /// How fast they are rotated.
    pub rotations: RotationFigures,
    /// From the decision to revoke a key to the sealing of its event for the batch that ends it: the ticket's way to the store and back.
    /// The way of the request before, and of the batch after, is in no event.
    pub revocations: Latencies,
    /// Whether changes are on record.
    pub audit: OnRecord,
}

/// Keys by their age against their policy.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
pub struct KeyCounts {
    /// The next version is not due yet.
    pub fresh: u64,
    /// It is due, and its grace is not over.
    pub due: u64,
    /// It was not rotated a grace after it was due, or has lived for longer than its policy allows.
    pub overdue: u64,
    /// Its policy never asks for another version.
    pub never_due: u64,
    /// Nobody has claimed it yet.
    pub unclaimed: u64,
    /// Revoked or expired.
    pub ended: u64,
}

/// How fast keys are rotated: from a claim or a renewal to the next. Of each key its last 64 events are looked at.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
pub struct RotationFigures {
    /// From one version's claim to the next one's.
    pub between: Spans,
    /// From when a version was due, by the interval that holds for its key now, to its claim. Those that came before they were due are
    /// not in it.
    pub due_to_rotated: Spans,
    /// Versions that were claimed before they were due.
    pub before_due: u64,
    /// From when a key was flagged (a successor was offered, on schedule, by an admin or in an incident; or its renewal token came a
    /// second time) to the claim of the successor.
    pub flagged_to_rotated: Spans,
    /// Keys that are due and not rotated yet, and for how long.
    pub waiting_since_due: Spans,
    /// Keys that are flagged and not rotated yet, and for how long.
    pub waiting_since_flagged: Spans,
}

/// Spans of time.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
pub struct Spans {
    /// How many.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum_s: i64,
    /// The longest, in seconds.
    pub max_s: i64,
    /// Their mean, in seconds; null where there is none.
    #[schema(required = true)]
    pub mean_s: Option<i64>,
}

/// Short spans of time.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
pub struct Latencies {
    /// How many.
    pub count: u64,
    /// Their sum, in milliseconds.
    pub sum_ms: i64,
    /// The longest, in milliseconds.
    pub max_ms: i64,
    /// Their mean, in milliseconds; null where there is none.
    #[schema(required = true)]
    pub mean_ms: Option<i64>,
}

/// Whether what was looked at is on record: the last change of each key's record, and each revocation. `keyward audit verify` looks at
/// every record, and at what lies in it.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = AuditCoverage)]
pub struct OnRecord {
    /// Changes looked at.
    pub changes: u64,
    /// Of these, changes whose event is in the log and names the record that it wrote.
    pub on_record: u64,
}

fn mean(count: u64, sum: i64) -> Option<i64> {
    sum.checked_div(i64::try_from(count).ok()?)
}

/// Milliseconds from one moment to another; none where the clock stepped back between them.
fn span_ms(from: Timestamp, to: Timestamp) -> i64 {
    to.unix_ms().saturating_sub(from.unix_ms()).max(0)
}

impl Spans {
    fn add(&mut self, from: Timestamp, to: Timestamp) {
        let span_s = span_ms(from, to) / 1000;
        self.merge(&Self { count: 1, sum_s: span_s, max_s: span_s, mean_s: None });
    }

    fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum_s = self.sum_s.saturating_add(other.sum_s);
        self.max_s = self.max_s.max(other.max_s);
        self.mean_s = mean(self.count, self.sum_s);
    }
}

impl Latencies {
    fn add(&mut self, from: Timestamp, to: Timestamp) {
        let span_ms = span_ms(from, to);
        self.merge(&Self { count: 1, sum_ms: span_ms, max_ms: span_ms, mean_ms: None });
    }

    fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
        self.max_ms = self.max_ms.max(other.max_ms);
        self.mean_ms = mean(self.count, self.sum_ms);
    }
}

impl KeyCounts {
    const fn merge(&mut self, other: &Self) {
        self.fresh = self.fresh.saturating_add(other.fresh);
        self.due = self.due.saturating_add(other.due);
        self.overdue = self.overdue.saturating_add(other.overdue);
        self.never_due = self.never_due.saturating_add(other.never_due);
        self.unclaimed = self.unclaimed.saturating_add(other.unclaimed);
        self.ended = self.ended.saturating_add(other.ended);
    }
}

impl RotationFigures {
    fn merge(&mut self, other: &Self) {
        self.between.merge(&other.between);
        self.due_to_rotated.merge(&other.due_to_rotated);
        self.before_due = self.before_due.saturating_add(other.before_due);
        self.flagged_to_rotated.merge(&other.flagged_to_rotated);
        self.waiting_since_due.merge(&other.waiting_since_due);
        self.waiting_since_flagged.merge(&other.waiting_since_flagged);
    }

    /// Counts the rotations among a key's events, oldest first. Since when the key is flagged and was not rotated.
    fn count(&mut self, past: &[Event], terms: &Terms, since: Option<Timestamp>) -> Option<Timestamp> {
        let (mut claimed_at, mut flagged_at): (Option<Timestamp>, Option<Timestamp>) = (None, None);
        for event in past {
            match (event.action, event.outcome) {
                (Action::KeyRotated | Action::KeyOffered | Action::VersionsKilled, Outcome::Done)
                | (Action::RenewalReplayed, Outcome::Alarm) => flagged_at = flagged_at.or(Some(event.at)),
                (Action::RotationCancelled, Outcome::Done) => flagged_at = None,
                (Action::ClaimTaken | Action::KeyRenewed, Outcome::Done) => {
                    let (before, flagged) = (claimed_at.replace(event.at), flagged_at.take());
                    if since.is_some_and(|since| event.at < since) {
                        continue;
                    }
                    if let Some(flagged_at) = flagged {
                        self.flagged_to_rotated.add(flagged_at, event.at);
                    }
                    let Some(before) = before else { continue };
                    self.between.add(before, event.at);
                    match terms.rotate_every_s.map(|every_s| before.plus_s(i64::from(every_s))) {
                        Some(due_at) if event.at >= due_at => self.due_to_rotated.add(due_at, event.at),
                        Some(_) => self.before_due = self.before_due.saturating_add(1),
                        None => {}
                    }
                }
                _ => {}
            }
        }
        flagged_at
    }
}

impl OnRecord {
    fn add(&mut self, on_record: bool) {
        self.changes = self.changes.saturating_add(1);
        self.on_record = self.on_record.saturating_add(u64::from(on_record));
    }

    const fn merge(&mut self, other: &Self) {
        self.changes = self.changes.saturating_add(other.changes);
        self.on_record = self.on_record.saturating_add(other.on_record);
    }
}

impl Figures {
    fn merge(&mut self, other: &Self) {
        self.keys.merge(&other.keys);
        self.rotations.merge(&other.rotations);
        self.revocations.merge(&other.revocations);
        self.audit.merge(&other.audit);
    }

    /// Counts how a key stands, that lives on and whose figures these are.
    fn count_living(&mut self, key: &Key, terms: &Terms, now: Timestamp) {
        let keys = &mut self.keys;
        let due_at = terms.due_at(key);
        if let Some(due_at) = due_at.filter(|due_at| now >= *due_at) {
            self.rotations.waiting_since_due.add(due_at, now);
        }
        let count = match due_at {
            _ if key.versions.is_empty() => &mut keys.unclaimed,
            _ if terms.are_broken_by(key, now) => &mut keys.overdue,
            None => &mut keys.never_due,
            Some(due_at) if now >= due_at => &mut keys.due,
            Some(_) => &mut keys.fresh,
        };
        *count = count.saturating_add(1);
    }
}

/// What was found of one key.
struct Found {
    figures: Figures,
    /// Since when it breaks its policy, where it does.
    overdue_since: Option<Timestamp>,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// How the keys of an application, or all, comply with their policies; as many of them as the page has room for, newest first.
    ///
    /// # Errors
    /// A missing scope, no such application, a bad cursor; where the store does not answer.
    pub async fn compliance(
        &self,
        attempt: &Attempt,
        asked: &ComplianceQuery,
        page: &Page,
    ) -> Result<ComplianceView> {
        match asked.application {
            Some(application) => {
                attempt.aim(Some(application), None);
                for scope in [scope::AUDIT_READ, scope::KEYS_READ] {
                    self.require_at(attempt, scope, application, "application").await?;
                }
                self.read().application(application).await?.ok_or_else(|| Error::not_found("application"))?;
            }
            None => {
                attempt.caller.require(scope::AUDIT_READ)?;
                attempt.caller.require(scope::KEYS_READ)?;
            }
        }
        let list = asked.application.map_or_else(|| lists::KEYS.to_owned(), lists::keys_of);
        let (ids, next_cursor) = self.things::<KeyId>(&list, page).await?;
        let head = self.read().head().await?;
        let now = self.clock.now();
        let mut report = ComplianceView {
            at: now,
            through: EventId { epoch: head.epoch, seq: head.size },
            since: asked.since,
            target_s: TARGET_S,
            examined: ids.len(),
            damaged: 0,
            totals: Figures::default(),
            applications: Vec::new(),
            overdue: Vec::new(),
            next_cursor,
        };
        let reader = self.read();
        let mut keys = Vec::with_capacity(ids.len());
        for found in futures::future::join_all(ids.into_iter().map(|id| reader.key(id))).await {
            match found {
                Ok(key) => keys.extend(key),
                Err(error) if error.code == Code::RecordDamaged => report.damaged += 1,
                Err(error) => return Err(error),
            }
        }
        let owners = self.owners(keys.iter().map(|key| key.application)).await?;
        let terms = self.terms_of_each(&keys).await?;
        let all: Vec<(&Key, &Terms)> = keys.iter().zip(&terms).collect();
        let mut by_application: BTreeMap<ApplicationId, Figures> = BTreeMap::new();
        for some in all.chunks(KEYS_AT_ONCE) {
            let looks = some.iter().map(|(key, terms)| self.look_at_compliance(key, terms, asked.since, now));
            for ((key, terms), found) in some.iter().zip(futures::future::try_join_all(looks).await?) {
                report.totals.merge(&found.figures);
                by_application.entry(key.application).or_default().merge(&found.figures);
                if let (Some(overdue_since), Some(owner)) =
                    (found.overdue_since, owners.get(&key.application))
                {
                    report.overdue.push(OverdueKey {
                        id: key.id,
                        name: key.name.clone(),
                        application: owner.clone(),
                        policy: key.policy,
                        due_at: terms.due_at(key).filter(|due_at| now >= *due_at),
                        overdue_since,
                        overdue_s: span_ms(overdue_since, now) / 1000,
                        offered: key.rotation.offer.is_some(),
                    });
                }
            }
        }
        report.applications = by_application
            .into_iter()
            .filter_map(|(id, figures)| {
                Some(ApplicationFigures { application: owners.get(&id)?.clone(), figures })
            })
            .collect();
        Ok(report)
    }

    /// These applications, each read once.
    pub(crate) async fn owners(
        &self,
        ids: impl Iterator<Item = ApplicationId>,
    ) -> Result<BTreeMap<ApplicationId, Owner>> {
        let reader = self.read();
        let ids: BTreeSet<ApplicationId> = ids.collect();
        let found = futures::future::try_join_all(ids.into_iter().map(|id| reader.details(id))).await?;
        let owner = |Details { id, name, contacts, .. }| (id, Owner { id, name, contacts });
        Ok(found.into_iter().flatten().map(owner).collect())
    }

    async fn look_at_compliance(
        &self,
        key: &Key,
        terms: &Terms,
        since: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Found> {
        let mut found = Found { figures: Figures::default(), overdue_since: None };
        let figures = &mut found.figures;
        let past = self.past_of(&lists::events_of_key(key.id)).await?;
        figures.audit.add(self.is_on_record(&past, key.event, &names::key(key.id)).await?);
        let flagged_at = figures.rotations.count(&past, terms, since);
        if self.is_alive(key).await? && !key.expired(now) {
            figures.count_living(key, terms, now);
            if let Some(flagged_at) = flagged_at {
                figures.rotations.waiting_since_flagged.add(flagged_at, now);
            }
            if !key.versions.is_empty() {
                let broken_at = terms.late_at(key).into_iter().chain(terms.too_old_at(key)).min();
                found.overdue_since = broken_at.filter(|at| now >= *at);
            }
            return Ok(found);
        }
        figures.keys.ended = 1;
        let tombstone = match self.read().flag(key.id).await {
            // Dead, whatever its tombstone says.
            Err(error) if matches!(error.code, Code::RingVersionUnknown | Code::RecordDamaged) => None,
            flag => flag?.flatten(),
        };
        if let Some(Tombstone { at, event, .. }) = tombstone {
            let written = self.event_of(&past, event).await?;
            figures.audit.add(written.as_ref().is_some_and(|event| wrote(event, &names::flag(key.id))));
            if let Some(written) = written.filter(|_| since.is_none_or(|since| at >= since)) {
                figures.revocations.add(at, written.at);
            }
        }
        Ok(found)
    }

    /// The newest events of a list as far as it is projected, oldest first.
    pub(crate) async fn past_of(&self, list: &str) -> Result<Vec<Event>> {
        let reader = self.read();
        let Some(head) = reader.list_head(list).await? else { return Ok(Vec::new()) };
        let mut newest: Vec<EventId> = Vec::new();
        let mut page = head.count.saturating_sub(1) / PAGE_ENTRIES;
        loop {
            let entries = reader.list_page(list, page).await?.map(|page| page.entries).unwrap_or_default();
            newest.extend(entries.iter().rev().map(|entry| entry.event));
            if newest.len() >= EVENTS_PER_LIST_MAX || page == 0 {
                break;
            }
            page -= 1;
        }
        newest.truncate(EVENTS_PER_LIST_MAX);
        self.read_events(newest.into_iter().rev()).await
    }

    /// An event, out of those at hand where it is among them; `None` where it is not there or does not open.
    async fn event_of(&self, past: &[Event], id: EventId) -> Result<Option<Event>> {
        match past.iter().find(|event| event.id == id) {
            Some(event) => Ok(Some(event.clone())),
            None => Ok(self.read_events(std::iter::once(id)).await?.pop()),
        }
    }

    async fn is_on_record(&self, past: &[Event], id: EventId, record: &str) -> Result<bool> {
        Ok(self.event_of(past, id).await?.is_some_and(|event| wrote(&event, record)))
    }
}

/// Whether an event says that it wrote a record.
fn wrote(event: &Event, record: &str) -> bool {
    event.writes.iter().any(|write| write.record == record)
}
