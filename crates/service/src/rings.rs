//! Rings that roll over: records are sealed anew under the active version of their ring, in passes over everything that lists lead
//! to, and what lies under which version is counted on the way.
//!
//! Flags and tombstones are never sealed anew; outcomes, taken claims and batches of use are left to grow old.

use crate::attempt::Attempt;
use crate::held::{Held, InTurn};
use crate::service::Service;
use keyward_crypto::Sealer;
use keyward_domain::application::{Application, Details};
use keyward_domain::claim::Claim;
use keyward_domain::credential::Credential;
use keyward_domain::event::{Action, Actor, ActorKind, EventId, Outcome, Source, Target};
use keyward_domain::issuing::Issuing;
use keyward_domain::key::Key;
use keyward_domain::policy::Policy;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::renewal::Renewal;
use keyward_domain::role::Role;
use keyward_domain::scope::administration as scope;
use keyward_domain::webhook::Webhook;
use keyward_domain::{
    ApplicationId, ClaimId, CredentialId, KeyId, PolicyId, RenewalId, Result, RoleId, Timestamp, WebhookId,
};
use keyward_ledger::{Draft, KvWrite, Turn};
use keyward_records::projection::{Entry, lists};
use keyward_records::{
    Counts, Flag, KvCount, KvRead, NameRecord, Pass, Place, Record, RecordError, Resealing, Revised,
    WholePass, names, open,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// Entries of lists that one step of a pass follows at most.
const FOLLOWED_MAX: usize = 512;
/// Things looked at at the same time.
const READS_AT_ONCE: usize = 32;
/// Records that one commit seals anew at most: all their turns must be fresh at its end.
const COMMIT_RECORDS_MAX: usize = 64;
/// Batches of events that a step integrates at most, so that the lists lead to what was there when its pass began.
const INTEGRATE_ROUNDS: u32 = 64;
/// How long a whole pass counts as recent, in seconds: a day.
const PASS_EVERY_S: i64 = 24 * 3600;
/// The actions whose events write names.
const NAMING: [Action; 14] = [
    Action::Initialised,
    Action::ApplicationCreated,
    Action::ApplicationChanged,
    Action::ApplicationSuspended,
    Action::ApplicationResumed,
    Action::RoleCreated,
    Action::RoleChanged,
    Action::RoleRetired,
    Action::PolicyCreated,
    Action::PolicyChanged,
    Action::PolicyRetired,
    Action::CredentialCreated,
    Action::CredentialChanged,
    Action::CredentialRetired,
];

/// How to go on with sealing anew.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResealRequest {
    /// Begin a pass anew rather than go on with one: what it counts, it counted from now on.
    #[serde(default)]
    pub anew: bool,
}

/// The rings that this process has.
#[derive(Serialize, ToSchema)]
#[schema(as = Rings)]
pub struct RingsView {
    rings: Vec<RingView>,
    resealing: ResealingView,
}

/// A ring. Never a key of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Ring)]
pub(crate) struct RingView {
    name: &'static str,
    active: u32,
    versions: Vec<RingVersionView>,
}

/// One version of a ring.
#[derive(Serialize, ToSchema)]
#[schema(as = RingVersion)]
struct RingVersionView {
    version: u32,
    state: RingVersionState,
    /// Records that the last whole pass found under it; absent where none was counted so far, or the ring seals no records.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    records: Option<u64>,
    /// Tombstones of revoked keys that it found under it. They are never sealed anew: once the version is gone, a dead key stays dead
    /// and only the log says by whom and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tombstones: Option<u64>,
    /// Living keys that it found with a secret under this pepper: while it is not the active one, they are to be rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    keys: Option<u64>,
}

/// What a version is used for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum RingVersionState {
    /// Seals or MACs what is new.
    Active,
    /// Opens what is old.
    DecryptOnly,
    /// In use, though this process does not have it.
    Unknown,
}

/// How far sealing anew is.
#[derive(Serialize, ToSchema)]
#[schema(as = Resealing)]
pub struct ResealingView {
    /// Whether the last whole pass found everything under the version that is active here.
    settled: bool,
    #[schema(required = true)]
    pass: Option<PassView>,
    #[schema(required = true)]
    last: Option<WholePassView>,
}

/// A pass under way.
#[derive(Serialize, ToSchema)]
#[schema(as = ResealingPass)]
struct PassView {
    /// The version that it seals under.
    active: u32,
    begun_at: Timestamp,
    /// It has not looked at anything yet: the log waits for a ticket whose event is still to come, at most a minute.
    waiting: bool,
    /// Records looked at.
    records: u64,
    /// Records sealed anew.
    resealed: u64,
}

/// A pass that came to its end.
#[derive(Serialize, ToSchema)]
#[schema(as = ResealingWholePass)]
struct WholePassView {
    /// The version that it sealed under.
    active: u32,
    begun_at: Timestamp,
    ended_at: Timestamp,
    /// Records looked at.
    records: u64,
    /// Records that it found under another version.
    outdated: u64,
    /// Records that it sealed anew.
    resealed: u64,
    /// Records that do not open, whatever the version; `audit verify` names them.
    damaged: u64,
}

impl ResealingView {
    fn of(found: &Resealing, active: u32) -> Self {
        let pass = found.pass.as_ref().map(|pass| PassView {
            active: pass.active,
            begun_at: pass.begun_at,
            waiting: pass.place == Place::Switches,
            records: pass.counts.total(),
            resealed: pass.counts.resealed,
        });
        let last = found.last.as_ref().map(|last| WholePassView {
            active: last.active,
            begun_at: last.begun_at,
            ended_at: last.ended_at,
            records: last.counts.total(),
            outdated: last.counts.beside(last.active),
            resealed: last.counts.resealed,
            damaged: last.counts.damaged,
        });
        Self { settled: found.last.as_ref().is_some_and(|last| is_settled(last, active)), pass, last }
    }
}

/// Whether a whole pass found everything under this version.
fn is_settled(last: &WholePass, active: u32) -> bool {
    last.active == active && last.counts.beside(active) == 0
}

impl RingView {
    /// A ring with these versions, the active one first, and those that were counted though it lacks them.
    pub(crate) fn new(name: &'static str, known: &[u32], counted: [Option<&BTreeMap<u32, u64>>; 3]) -> Self {
        let active = known.first().copied().unwrap_or_default();
        let used = counted.iter().flatten().flat_map(|counts| counts.keys());
        let numbers: BTreeSet<u32> = known.iter().chain(used).copied().collect();
        let versions = numbers.into_iter().map(|version| {
            let of = |counts: Option<&BTreeMap<u32, u64>>| {
                counts.map(|counts| counts.get(&version).copied().unwrap_or_default())
            };
            let state = match known.contains(&version) {
                _ if version == active => RingVersionState::Active,
                true => RingVersionState::DecryptOnly,
                false => RingVersionState::Unknown,
            };
            let [records, tombstones, keys] = counted.map(of);
            RingVersionView { version, state, records, tombstones, keys }
        });
        Self { name, active, versions: versions.collect() }
    }
}

/// What a pass looks at next.
enum Thing {
    Switches,
    Role(RoleId),
    Webhook(WebhookId),
    Policy(PolicyId),
    Credential(CredentialId),
    Application(ApplicationId),
    Key(KeyId),
    Name(String),
}

/// What is to be sealed anew.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Old {
    Issuing,
    Role(RoleId),
    Webhook(WebhookId),
    Policy(PolicyId),
    Credential(CredentialId),
    Application(ApplicationId),
    Key(KeyId),
    Claim(ClaimId),
    Renewal(RenewalId),
    Name(String),
}

impl Old {
    /// Records that it is.
    const fn records(&self) -> usize {
        match self {
            Self::Application(_) => 2,
            _ => 1,
        }
    }
}

/// What was found at one thing.
#[derive(Default)]
struct Found {
    records: Vec<u32>,
    tombstone: Option<u32>,
    peppers: BTreeSet<u32>,
    damaged: u64,
    old: Vec<Old>,
}

impl Found {
    /// Looks at a stored value: what it holds, and whether it is to be sealed anew. What this process cannot open is counted and left.
    fn look<T: Record>(
        &mut self,
        sealer: &Sealer,
        store_key: &str,
        value: Option<Vec<u8>>,
    ) -> (Option<T>, bool) {
        let Some(value) = value else { return (None, false) };
        let version = Sealer::sealed_under(&value).ok();
        self.records.extend(version);
        match open::<T>(sealer, store_key, &value) {
            Ok(record) => (Some(record), version != Some(sealer.active_version())),
            Err(RecordError::Damaged) => {
                self.damaged += 1;
                (None, false)
            }
            Err(_) => (None, false),
        }
    }
}

fn count(counts: &mut BTreeMap<u32, u64>, versions: impl IntoIterator<Item = u32>) {
    for version in versions {
        *counts.entry(version).or_default() += 1;
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// The versions of the rings that this process has, and what is sealed under each as the last whole pass counted it.
    ///
    /// # Errors
    /// A missing scope; where the store does not answer.
    pub async fn rings(&self, attempt: &Attempt) -> Result<RingsView> {
        attempt.caller.require(scope::RINGS_READ)?;
        let found = self.read().resealing().await?;
        let counts = found.last.as_ref().map(|last| &last.counts);
        let known: Vec<u32> = self.rings.records.versions().collect();
        let counted = [counts.map(|counts| &counts.records), counts.map(|counts| &counts.tombstones), None];
        let records = RingView::new(self.rings.records.ring_name(), &known, counted);
        let known: Vec<u32> = self.rings.audit.versions().collect();
        let audit = RingView::new(self.rings.audit.ring_name(), &known, [None; 3]);
        let known: Vec<u32> = self.rings.peppers.versions().collect();
        let counted = [None, None, counts.map(|counts| &counts.peppers)];
        let peppers = RingView::new("peppers", &known, counted);
        let active = self.rings.records.active_version();
        Ok(RingsView { rings: vec![records, audit, peppers], resealing: ResealingView::of(&found, active) })
    }

    /// One step of sealing anew, asked for by an admin; its event says so.
    ///
    /// # Errors
    /// A missing scope; where the store does not answer.
    pub async fn reseal_step(&self, attempt: &Attempt, request: &ResealRequest) -> Result<ResealingView> {
        attempt.caller.require(scope::RINGS_WRITE)?;
        let draft = attempt.draft(Outcome::Done, None, None);
        self.commit(attempt, vec![draft], |_, _| Ok(())).await?;
        let found = self.reseal(request.anew).await?;
        Ok(ResealingView::of(&found, self.rings.records.active_version()))
    }

    /// One step of the pass that is due, if one is: follows the lists for a while, seals anew what it finds under an old version, and
    /// then keeps its place. Interrupted, it does the same again.
    pub(crate) async fn reseal(&self, anew: bool) -> Result<Resealing> {
        let mut found = self.read().resealing().await?;
        let Some(mut pass) = self.due_pass(&found, anew).await? else { return Ok(found) };
        self.ledger.integrate(INTEGRATE_ROUNDS).await?;
        let head = self.read().head().await?;
        let next = if (EventId { epoch: head.epoch, seq: head.size }) < pass.through {
            // The log waits for a gap: a record whose event lies behind it is in no list yet.
            Some(pass.place)
        } else {
            self.advance(&mut pass).await?
        };
        if let Some(place) = next {
            found.pass = Some(Pass { place, ..pass });
        } else {
            let Pass { active, begun_at, counts, .. } = pass;
            found.last = Some(WholePass { active, begun_at, ended_at: self.clock.now(), counts });
            found.pass = None;
        }
        self.ledger.keep_resealing(&found).await?;
        Ok(found)
    }

    /// The pass to go on with. One begins where the active version is new, where the last one found what it had to seal anew (it may
    /// have come too late for some), and once a day.
    async fn due_pass(&self, found: &Resealing, anew: bool) -> Result<Option<Pass>> {
        let active = self.rings.records.active_version();
        let now = self.clock.now();
        let recent = |at: Timestamp| now < at.plus_s(PASS_EVERY_S);
        // Sealed under a newer version by others: this process was not started anew yet, and must not undo their work.
        let is_behind = found.pass.as_ref().is_some_and(|pass| pass.active > active && recent(pass.begun_at))
            || found.last.as_ref().is_some_and(|last| last.active > active && recent(last.ended_at));
        if is_behind {
            return Ok(None);
        }
        match &found.pass {
            Some(pass) if pass.active == active && !anew => return Ok(Some(pass.clone())),
            None if !anew => {
                let is_done = |last: &WholePass| {
                    let known = |version: &u32| self.rings.records.versions().any(|known| known == *version);
                    let mut old = last.counts.records.keys().filter(|version| **version != active);
                    last.active == active && !old.any(known) && recent(last.ended_at)
                };
                if found.last.as_ref().is_some_and(is_done) {
                    return Ok(None);
                }
            }
            _ => {}
        }
        let through = self.ledger.last_ticket().await?;
        Ok(Some(Pass { active, begun_at: now, through, place: Place::Switches, counts: Counts::default() }))
    }

    /// Goes on from the pass's place, and tells where the next step does; `None` at the end.
    async fn advance(&self, pass: &mut Pass) -> Result<Option<Place>> {
        let (things, next) = self.follow(pass.place).await?;
        let counts = &mut pass.counts;
        let mut old = BTreeSet::new();
        for chunk in things.chunks(READS_AT_ONCE) {
            for found in futures::future::join_all(chunk.iter().map(|thing| self.look_at(thing))).await {
                let found = found?;
                count(&mut counts.records, found.records);
                count(&mut counts.tombstones, found.tombstone);
                count(&mut counts.peppers, found.peppers);
                counts.damaged += found.damaged;
                old.extend(found.old);
            }
        }
        let mut group: Vec<Old> = Vec::new();
        let mut records = 0;
        for old in old {
            if records + old.records() > COMMIT_RECORDS_MAX {
                counts.resealed += self.seal_anew(std::mem::take(&mut group)).await?;
                records = 0;
            }
            records += old.records();
            group.push(old);
        }
        counts.resealed += self.seal_anew(group).await?;
        Ok(next)
    }

    /// What the lists lead to from `place` on, and where they go on.
    async fn follow(&self, mut place: Place) -> Result<(Vec<Thing>, Option<Place>)> {
        let mut things = Vec::new();
        let mut named = BTreeSet::new();
        let mut followed = 0;
        while followed < FOLLOWED_MAX {
            let room = FOLLOWED_MAX - followed;
            followed += 1;
            place = match place {
                Place::Switches => {
                    things.push(Thing::Switches);
                    Place::Roles { at: 0 }
                }
                Place::Roles { at } => {
                    let entries = self.entries_from(lists::ROLES, at, room).await?;
                    followed += entries.len();
                    things.extend(entries.iter().filter_map(|entry| entry.id.parse().ok()).map(Thing::Role));
                    after(at, &entries).map_or(Place::Webhooks { at: 0 }, |at| Place::Roles { at })
                }
                Place::Webhooks { at } => {
                    let entries = self.entries_from(lists::WEBHOOKS, at, room).await?;
                    followed += entries.len();
                    things
                        .extend(entries.iter().filter_map(|entry| entry.id.parse().ok()).map(Thing::Webhook));
                    after(at, &entries).map_or(Place::Policies { at: 0 }, |at| Place::Webhooks { at })
                }
                Place::Policies { at } => {
                    let entries = self.entries_from(lists::POLICIES, at, room).await?;
                    followed += entries.len();
                    things
                        .extend(entries.iter().filter_map(|entry| entry.id.parse().ok()).map(Thing::Policy));
                    after(at, &entries).map_or(Place::Credentials { at: 0 }, |at| Place::Policies { at })
                }
                Place::Credentials { at } => {
                    let entries = self.entries_from(lists::CREDENTIALS, at, room).await?;
                    followed += entries.len();
                    let ids = entries.iter().filter_map(|entry| entry.id.parse().ok());
                    things.extend(ids.map(Thing::Credential));
                    after(at, &entries)
                        .map_or(Place::Applications { at: 0, key: 0 }, |at| Place::Credentials { at })
                }
                Place::Applications { at, key } => {
                    let Some(entry) = self.entries_from(lists::APPLICATIONS, at, 1).await?.pop() else {
                        // In a step of their own: a name that was just found by its holder must not be found again.
                        place = Place::Names { of: Action::Initialised, at: 0 };
                        break;
                    };
                    let next = Place::Applications { at: at + 1, key: 0 };
                    let Ok(id) = entry.id.parse::<ApplicationId>() else {
                        place = next;
                        continue;
                    };
                    if key == 0 {
                        things.push(Thing::Application(id));
                    }
                    let entries = self.entries_from(&lists::keys_of(id), key, room).await?;
                    followed += entries.len();
                    things.extend(entries.iter().filter_map(|entry| entry.id.parse().ok()).map(Thing::Key));
                    after(key, &entries).map_or(next, |key| Place::Applications { at, key })
                }
                Place::Names { of, at } => {
                    let entries = self.entries_from(&lists::events_of_action(of), at, room).await?;
                    followed += entries.len();
                    named.extend(self.names_written(&entries).await?);
                    match after(at, &entries) {
                        Some(at) => Place::Names { of, at },
                        None => match NAMING.iter().skip_while(|action| **action != of).nth(1) {
                            Some(of) => Place::Names { of: *of, at: 0 },
                            None => {
                                things.extend(named.into_iter().map(Thing::Name));
                                return Ok((things, None));
                            }
                        },
                    }
                }
            };
        }
        things.extend(named.into_iter().map(Thing::Name));
        Ok((things, Some(place)))
    }

    /// The names that these events wrote.
    async fn names_written(&self, entries: &[Entry]) -> Result<impl Iterator<Item = String>> {
        let events = self.read_events(entries.iter().map(|entry| entry.event)).await?;
        let records = events.into_iter().flat_map(|event| event.writes).map(|write| write.record);
        Ok(records.filter(|record| names::is_name(record)))
    }

    async fn look_at(&self, thing: &Thing) -> Result<Found> {
        let sealer = &self.rings.records;
        let mut found = Found::default();
        match thing {
            Thing::Switches => {
                let value = self.kv.get(names::ISSUING).await?;
                if let (Some(_), true) = found.look::<Issuing>(sealer, names::ISSUING, value) {
                    found.old.push(Old::Issuing);
                }
            }
            Thing::Role(id) => {
                let store_key = names::role(*id);
                let value = self.kv.get(&store_key).await?;
                let (role, is_old) = found.look::<Role>(sealer, &store_key, value);
                found.old.extend(is_old.then_some(Old::Role(*id)));
                if let Some(role) = role.filter(|role| role.retired_at.is_none()) {
                    self.look_at_name(&mut found, names::role_name(&role.name)).await?;
                }
            }
            Thing::Webhook(id) => {
                let store_key = names::webhook(*id);
                let value = self.kv.get(&store_key).await?;
                let (_, is_old) = found.look::<Webhook>(sealer, &store_key, value);
                found.old.extend(is_old.then_some(Old::Webhook(*id)));
            }
            Thing::Policy(id) => {
                let store_key = names::policy(*id);
                let value = self.kv.get(&store_key).await?;
                let (policy, is_old) = found.look::<Policy>(sealer, &store_key, value);
                found.old.extend(is_old.then_some(Old::Policy(*id)));
                if let Some(policy) = policy.filter(|policy| policy.retired_at.is_none()) {
                    self.look_at_name(&mut found, names::policy_name(&policy.name)).await?;
                }
            }
            Thing::Credential(id) => {
                let store_key = names::credential(*id);
                let value = self.kv.get(&store_key).await?;
                let (credential, is_old) = found.look::<Credential>(sealer, &store_key, value);
                found.old.extend(is_old.then_some(Old::Credential(*id)));
                if let Some(credential) = credential.filter(|credential| credential.retired_at.is_none()) {
                    let name = names::credential_name(credential.application, &credential.name);
                    self.look_at_name(&mut found, name).await?;
                }
            }
            Thing::Application(id) => self.look_at_application(&mut found, *id).await?,
            Thing::Key(id) => self.look_at_key(&mut found, *id).await?,
            Thing::Name(store_key) => {
                self.look_at_name(&mut found, store_key.clone()).await?;
                // Whoever holds it led here before; what is new is what was given up under an old version.
                if found.old.is_empty() && found.records == [sealer.active_version()] {
                    found.records.clear();
                }
            }
        }
        Ok(found)
    }

    async fn look_at_name(&self, found: &mut Found, store_key: String) -> Result<()> {
        let value = self.kv.get(&store_key).await?;
        if let (Some(_), true) = found.look::<NameRecord>(&self.rings.records, &store_key, value) {
            found.old.push(Old::Name(store_key));
        }
        Ok(())
    }

    async fn look_at_application(&self, found: &mut Found, id: ApplicationId) -> Result<()> {
        let (application_key, details_key) = (names::application(id), names::details(id));
        let (application, details) = futures::join!(self.kv.get(&application_key), self.kv.get(&details_key));
        let sealer = &self.rings.records;
        let (application, is_old) = found.look::<Application>(sealer, &application_key, application?);
        let (details, are_old) = found.look::<Details>(sealer, &details_key, details?);
        let Some(details) = details.filter(|_| application.is_some()) else { return Ok(()) };
        found.old.extend((is_old || are_old).then_some(Old::Application(id)));
        self.look_at_name(found, names::application_name(&details.name)).await
    }

    async fn look_at_key(&self, found: &mut Found, id: KeyId) -> Result<()> {
        let (record_key, flag_key) = (names::key(id), names::flag(id));
        let (record, flag) = futures::join!(self.kv.get(&record_key), self.kv.get(&flag_key));
        let (record, flag) = (record?, flag?);
        let is_dead = match Flag::of(flag.as_deref()) {
            Flag::Dead(value) => {
                found.tombstone = value.get(1..).and_then(|sealed| Sealer::sealed_under(sealed).ok());
                true
            }
            Flag::Live => false,
            Flag::Absent => true,
        };
        let (key, is_old) = found.look::<Key>(&self.rings.records, &record_key, record);
        found.old.extend(is_old.then_some(Old::Key(id)));
        let Some(key) = key else { return Ok(()) };
        if let Some(claim) = &key.claim {
            let store_key = names::claim(claim.id);
            let value = self.kv.get(&store_key).await?;
            let (_, is_old) = found.look::<Claim>(&self.rings.records, &store_key, value);
            found.old.extend(is_old.then_some(Old::Claim(claim.id)));
        }
        if let Some(id) = key.rotation.renewal {
            let store_key = names::renewal(id);
            let value = self.kv.get(&store_key).await?;
            let (_, is_old) = found.look::<Renewal>(&self.rings.records, &store_key, value);
            found.old.extend(is_old.then_some(Old::Renewal(id)));
        }
        if !is_dead
            && !key.expired(self.clock.now())
            && !self.read().generation_killed(key.application, key.generation).await?
        {
            let now = self.clock.now();
            let killed = self.read().killed_versions(&key).await?;
            let passing = key
                .versions
                .iter()
                .filter(|version| !key.retired(version.number, now) && !killed.contains(&version.number));
            found.peppers.extend(passing.map(|version| version.pepper));
        }
        Ok(())
    }

    /// Seals these anew in one commit: each in a turn of its own, as it is stored by then. How many records that were.
    async fn seal_anew(&self, old: Vec<Old>) -> Result<u64> {
        if old.is_empty() {
            return Ok(0);
        }
        let (held, failed) = self.turns(old, async |old: &Old, turn| self.hold(old, turn).await).await;
        let records: u64 = held.iter().map(Held::records).sum();
        if records > 0 {
            let active = self.rings.records.active_version();
            let detail =
                vec![format!("{} {active}", self.rings.records.ring_name()), format!("{records} records")];
            self.ledger
                .commit(vec![resealed(detail)], |tickets, writes| {
                    for held in held {
                        held.write(tickets.event(0), writes);
                    }
                    Ok(())
                })
                .await?;
        }
        failed.map_or(Ok(records), Err)
    }

    /// A turn at a record, in the place of an `old` one where there is one, and the record as it stands; `None` where it is gone.
    async fn hold(&self, what: &Old, old: Option<Turn>) -> Result<Option<Held>> {
        let ledger = &self.ledger;
        Ok(match what {
            Old::Issuing => {
                let (turn, found) = match old {
                    None => ledger.issuing_turn().await?,
                    Some(old) => ledger.issuing_turn_again(old).await?,
                };
                found.map(|issuing| Held::in_turn(issuing, turn))
            }
            Old::Role(id) => Some(self.hold_at::<Role>(*id, old).await?),
            Old::Webhook(id) => Some(self.hold_at::<Webhook>(*id, old).await?),
            Old::Policy(id) => Some(self.hold_at::<Policy>(*id, old).await?),
            Old::Credential(id) => Some(self.hold_at::<Credential>(*id, old).await?),
            Old::Application(id) => {
                let (turn, application, details) = match old {
                    None => ledger.application_turn(*id).await?,
                    Some(old) => ledger.application_turn_again(*id, old).await?,
                };
                Some(Held::in_turn((application, details), turn))
            }
            Old::Key(id) => Some(self.hold_at::<Key>(*id, old).await?),
            Old::Name(store_key) => {
                let (turn, name) = match old {
                    None => ledger.name_turn(store_key.clone()).await?,
                    Some(old) => ledger.name_turn_again(store_key.clone(), old).await?,
                };
                Some(Held::in_turn(name, turn))
            }
            Old::Claim(id) => self.read().claim(*id).await?.map(|claim| Held::Claim(Box::new(claim))),
            Old::Renewal(id) => {
                self.read().renewal(*id).await?.map(|renewal| Held::Renewal(Box::new(renewal)))
            }
        })
    }

    async fn hold_at<T: Revised + Into<InTurn>>(&self, id: T::Id, old: Option<Turn>) -> Result<Held> {
        let (turn, record) = match old {
            None => self.ledger.turn_at::<T>(id).await?,
            Some(old) => self.ledger.turn_at_again(id, old).await?,
        };
        Ok(Held::in_turn(record, turn))
    }
}

/// The place after these entries; `None` where there were none.
fn after(at: u64, entries: &[Entry]) -> Option<u64> {
    let passed = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    (passed > 0).then(|| at.saturating_add(passed))
}

/// The event of one commit of a pass.
pub(crate) fn resealed(detail: Vec<String>) -> Draft {
    Draft {
        action: Action::RingResealed,
        outcome: Outcome::Done,
        target: Target::default(),
        actor: Actor { kind: ActorKind::System, key: None, principal: None },
        source: Source::default(),
        request: None,
        reason: None,
        detail,
        previous: None,
    }
}
