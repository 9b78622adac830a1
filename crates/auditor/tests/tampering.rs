//! Whatever is changed, dropped, reordered or made anew in a log is named by its place; an honest log is clean, whatever the moment.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use keyward_auditor::{
    EpochReport, Kind, Part, Progress, Report, Seen, StoreSource, Trust, Values, Witness, keys_of, verify,
};
use keyward_crypto::digest::unhex;
use keyward_crypto::note::{LogKeys, VerifierKey};
use keyward_crypto::{Peppers, Ring, RingDocument, Sealer};
use keyward_domain::application::{Application, Details, Importance, Status};
use keyward_domain::event::{Action, Actor, ActorKind, EventId, Outcome, Source, Target};
use keyward_domain::key::Key;
use keyward_domain::ports::{Clock, NoSink, Rng};
use keyward_domain::standing::{Standing, stands, stands_revoked};
use keyward_domain::{ApplicationId, KeyId, Timestamp};
use keyward_ledger::{Batch, Draft, KvWrite, Ledger};
use keyward_records::projection::Head;
use keyward_records::register::{RegisterHead, RegisterPage, RegisterSums, RegisterTotals, RowPlace, Tally};
use keyward_records::{
    CurrentMonth, KvCount, KvRead, Record, Rings, StoreError, Tombstone, names, open, seal,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;

const ORIGIN: &str = "keyward.example/test";
const START_MS: i64 = 1_800_000_000_000;

#[derive(Default)]
struct Store {
    values: Mutex<BTreeMap<String, Vec<u8>>>,
    counters: Mutex<BTreeMap<String, i64>>,
}

impl Store {
    fn at(&self, key: &str) -> Vec<u8> {
        self.values.lock().unwrap()[key].clone()
    }

    fn put(&self, key: &str, value: Vec<u8>) {
        self.values.lock().unwrap().insert(key.to_owned(), value);
    }

    fn drop(&self, key: &str) {
        assert!(self.values.lock().unwrap().remove(key).is_some(), "{key} was there");
    }

    fn copy(&self) -> Self {
        Self {
            values: Mutex::new(self.values.lock().unwrap().clone()),
            counters: Mutex::new(self.counters.lock().unwrap().clone()),
        }
    }
}

impl KvRead for Store {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.values.lock().unwrap().get(key).cloned())
    }
}

impl KvCount for Store {
    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        let mut counters = self.counters.lock().unwrap();
        let counter = counters.entry(key.to_owned()).or_default();
        *counter += delta;
        Ok(*counter)
    }
}

impl KvWrite for Store {
    async fn set_many(&self, batch: &Batch) -> Result<(), StoreError> {
        self.values.lock().unwrap().extend(batch.entries().iter().cloned());
        Ok(())
    }
}

impl Values for Store {
    type Error = Infallible;

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, Infallible> {
        let values = self.values.lock().unwrap();
        Ok(keys.iter().map(|key| values.get(key).cloned()).collect())
    }

    fn counter(&self, key: &str) -> Result<i64, Infallible> {
        Ok(self.counters.lock().unwrap().get(key).copied().unwrap_or(0))
    }

    fn names(&self) -> Result<Vec<String>, Infallible> {
        Ok(self.values.lock().unwrap().keys().cloned().collect())
    }
}

/// A clock that goes on by 20 ms at every look, so that events differ in time.
#[derive(Default)]
struct Steps(Cell<i64>);

impl Clock for Steps {
    fn now(&self) -> Timestamp {
        self.0.set(self.0.get() + 20);
        Timestamp::from_unix_ms(START_MS + self.0.get())
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }

    async fn sleep_ms(&self, _: u64) {}
}

struct Counting(Cell<u64>);

impl Rng for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0.set(self.0.get() + 1);
            let hash = keyward_crypto::digest::sha256(&self.0.get().to_be_bytes());
            chunk.copy_from_slice(&hash[..chunk.len()]);
        }
    }
}

fn rings(log: u8) -> Rings {
    let at = "2026-01-31T08:00:00Z";
    let ring = |name: &'static str, fill| {
        Ring::parse(name, RingDocument::generate([fill; 32], at).unwrap().to_json().expose()).unwrap()
    };
    let peppers = RingDocument::generate([3; 32], at).unwrap();
    Rings {
        records: Sealer::new(ring("records_keyring", 1)),
        audit: Sealer::new(ring("audit_keyring", 2)),
        peppers: Peppers::parse(peppers.to_json().expose()).unwrap(),
        vault: None,
        log: Some(LogKeys::parse(LogKeys::generate([log; 32], ORIGIN, at).unwrap().expose()).unwrap()),
        month: CurrentMonth::default(),
    }
}

struct World {
    store: Store,
    rings: Rings,
    clock: Steps,
    rng: Counting,
}

impl World {
    fn new() -> Self {
        Self {
            store: Store::default(),
            rings: rings(9),
            clock: Steps::default(),
            rng: Counting(Cell::new(0)),
        }
    }

    fn on(store: Store) -> Self {
        Self { store, rng: Counting(Cell::new(1 << 40)), ..Self::new() }
    }

    fn ledger(&self) -> Ledger<'_, Store, Steps, Counting> {
        Ledger::new(&self.store, &self.rings, &self.clock, &self.rng, &NoSink)
    }

    fn wait<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn integrate(&self) {
        Self::wait(self.ledger().integrate(100)).unwrap();
    }

    fn draft(&self, action: Action, target: Target, previous: Option<EventId>) -> Draft {
        Draft {
            action,
            outcome: Outcome::Done,
            target,
            actor: Actor { kind: ActorKind::Admin, key: None, principal: Some("Zoë".into()) },
            source: Source { client_addr: Some("192.0.2.7".into()), user_agent: None },
            request: None,
            reason: None,
            detail: Vec::new(),
            previous,
        }
    }

    fn application(&self) -> (ApplicationId, EventId) {
        let (id, now) = (ApplicationId::from_bytes(self.rng.bytes()), self.clock.now());
        let event = EventId { epoch: 1, seq: 1 };
        let application =
            Application { id, status: Status::Active, generation: 1, revision: 1, event, limits: Vec::new() };
        let details = Details {
            importance: Importance::Normal,
            id,
            name: id.to_string(),
            prefix: "kw".into(),
            contacts: Vec::new(),
            policy: None,
            routes: Vec::new(),
            created_at: now,
            revision: 1,
        };
        let draft = self.draft(Action::ApplicationCreated, Target::application(Some(id)), None);
        let committed = Self::wait(self.ledger().commit(vec![draft], |_, writes| {
            writes.new_application(&application, &details);
            Ok(())
        }));
        (id, committed.unwrap().receipt.event)
    }

    fn key(&self, application: ApplicationId, previous: EventId) -> (KeyId, EventId) {
        let id = KeyId::from_bytes(self.rng.bytes());
        let mut key = Key::new(id, application, self.clock.now());
        let target = Target { application: Some(application), ..Target::key(Some(id)) };
        let mut draft = self.draft(Action::KeyIssued, target, Some(previous));
        draft.detail = vec![stands(Standing::Unclaimed, &key)];
        let committed = Self::wait(self.ledger().commit(vec![draft], |tickets, writes| {
            key.event = tickets.event(0);
            writes.new_key(&key);
            Ok(())
        }));
        (id, committed.unwrap().receipt.event)
    }

    fn revoke(&self, key: KeyId, previous: EventId) -> EventId {
        let mut draft = self.draft(Action::KeyRevoked, Target::key(Some(key)), Some(previous));
        draft.detail = vec![stands_revoked()];
        let by = draft.actor.clone();
        let at = self.clock.now();
        let committed = Self::wait(self.ledger().commit(vec![draft], |tickets, writes| {
            let event = tickets.event(0);
            writes.tombstone(&Tombstone { key, at, by, reason: "over".into(), event }, false);
            Ok(())
        }));
        committed.unwrap().receipt.event
    }

    /// 3 applications, 200 keys in each, half of them revoked: 903 events, integrated.
    fn used() -> (Self, KeyId, EventId) {
        let world = Self::new();
        let mut last = None;
        for _ in 0..3 {
            let (application, created) = world.application();
            for number in 0..200 {
                let (key, issued) = world.key(application, created);
                if number % 2 == 0 {
                    last = Some((key, world.revoke(key, issued)));
                }
                if number % 50 == 0 {
                    world.integrate();
                }
            }
        }
        world.integrate();
        let (key, event) = last.unwrap();
        (world, key, event)
    }

    /// The same record written once more, as a change does.
    fn rename(&self, key: KeyId, name: &str, previous: EventId) -> EventId {
        let draft = self.draft(Action::KeyChanged, Target::key(Some(key)), Some(previous));
        self.write_again(key, name, draft)
    }

    fn write_again(&self, key: KeyId, name: &str, draft: Draft) -> EventId {
        let store_key = names::key(key);
        let stored: Key = open(&self.rings.records, &store_key, &self.store.at(&store_key)).unwrap();
        let committed = Self::wait(self.ledger().commit(vec![draft], |_, writes| {
            writes.new_key(&Key { name: name.into(), ..stored });
            Ok(())
        }));
        committed.unwrap().receipt.event
    }

    fn keys(&self) -> Vec<VerifierKey> {
        let keys = self.rings.log.as_ref().unwrap().verifier_keys(1);
        keys.iter().map(|key| VerifierKey::parse(key).unwrap()).collect()
    }

    fn trust(&self) -> Trust {
        Trust { origin: Some(ORIGIN.to_owned()), keys: self.keys(), seen: Vec::new() }
    }

    fn check(&self, trust: &Trust) -> Report {
        check(&self.store, trust)
    }

    fn reseal<T: Record>(&self, record: &T) {
        let sealed = seal(&self.rings.audit, record, self.rng.bytes()).unwrap();
        self.store.put(&record.store_key(), sealed);
    }

    fn opened<T: Record>(&self, name: &str) -> T {
        open(&self.rings.audit, name, &self.store.at(name)).unwrap()
    }

    fn head(&self) -> Head {
        open(&self.rings.audit, names::HEAD, &self.store.at(names::HEAD)).unwrap()
    }
}

fn check(store: &Store, trust: &Trust) -> Report {
    let rings = rings(9);
    let source = StoreSource::new(store, &rings.audit, ORIGIN.to_owned());
    verify(&source, trust, 2, &Silent).unwrap()
}

struct Silent;

impl Progress for Silent {
    fn at(&self, _: Part, done: u64, of: u64) {
        assert!(done <= of);
    }
}

/// What a clean check leaves as its witness.
fn seen(report: &Report) -> Vec<Seen> {
    let of = |epoch: &EpochReport| Seen {
        epoch: epoch.epoch,
        size: epoch.size,
        root: unhex(&epoch.root).unwrap(),
        taken: epoch.taken,
        note: None,
    };
    report.epochs.iter().map(of).collect()
}

#[track_caller]
fn finds(report: &Report, kind: Kind, place: &str) {
    let found = report.findings.iter().any(|finding| finding.kind == kind && finding.place == place);
    assert!(found, "{kind:?} at {place} is not among {:#?}", report.findings);
}

#[track_caller]
fn is_clean(report: &Report) {
    assert!(report.is_clean(), "{report:#?}");
}

#[test]
fn an_honest_log_is_clean_at_every_moment() {
    let (world, ..) = World::used();
    let report = world.check(&world.trust());
    is_clean(&report);
    assert_eq!((report.epochs[0].size, report.epochs[0].taken, report.records), (903, 903, 1207));
    let mut trust = world.trust();
    trust.seen = seen(&report);

    // Behind the tree, behind a young gap, and once the gap is a void.
    let (application, created) = world.application();
    is_clean(&world.check(&trust));
    World::wait(world.store.increment(&names::counter::audit(1), 1)).unwrap();
    let (key, issued) = world.key(application, created);
    world.integrate();
    let report = world.check(&trust);
    is_clean(&report);
    assert_eq!((report.epochs[0].behind, report.remarks.len()), (1, 1), "{:?}", report.remarks);
    world.clock.0.set(world.clock.0.get() + 61_000);
    world.integrate();
    world.integrate();
    world.revoke(key, issued);
    world.integrate();
    let report = world.check(&trust);
    is_clean(&report);
    assert_eq!((report.epochs[0].voids, report.epochs[0].size), (1, 907));

    // Whatever follows on an event that wrote several things, and names none of them.
    for action in [Action::RingResealed, Action::DuePassed] {
        let (key, _) = world.key(application, created);
        let several = world.write_again(key, "as it was", world.draft(action, Target::default(), None));
        world.rename(key, "renamed", several);
        world.integrate();
        is_clean(&world.check(&trust));
    }
}

#[test]
fn a_broken_entry_is_named() {
    let (world, ..) = World::used();
    let trust = world.trust();
    let broken = |change: &dyn Fn(&Store)| {
        let store = world.store.copy();
        change(&store);
        check(&store, &trust)
    };
    let flipped = broken(&|store| {
        let mut event = store.at("e:1.17");
        event[40] ^= 1;
        store.put("e:1.17", event);
    });
    finds(&flipped, Kind::Event, "evt_1_17");
    finds(&flipped, Kind::Leaf, "evt_1_17");
    assert!(!flipped.findings.iter().any(|f| f.event().is_some_and(|event| event.seq != 17)), "{flipped:#?}");

    finds(&broken(&|store| store.drop("e:1.300")), Kind::Gap, "evt_1_300");

    let swapped = broken(&|store| {
        let (one, other) = (store.at("e:1.5"), store.at("e:1.6"));
        store.put("e:1.5", other);
        store.put("e:1.6", one);
    });
    for place in ["evt_1_5", "evt_1_6"] {
        finds(&swapped, Kind::Event, place);
        finds(&swapped, Kind::Leaf, place);
    }

    // With its tile, too: the root says so.
    let hidden = broken(&|store| {
        let mut event = store.at("e:1.17");
        event[40] ^= 1;
        let leaf = keyward_crypto::digest::leaf_hash(&event);
        store.put("e:1.17", event);
        let mut tile = store.at("t:1.0.0");
        tile[16 * 32..17 * 32].copy_from_slice(&leaf);
        store.put("t:1.0.0", tile);
    });
    finds(&hidden, Kind::Event, "evt_1_17");
    finds(&hidden, Kind::Tree, "epoch 1");
    finds(&hidden, Kind::Checkpoint, "epoch 1");

    let upper = broken(&|store| {
        let mut tile = store.at("t:1.1.0");
        tile[0] ^= 1;
        store.put("t:1.1.0", tile);
    });
    finds(&upper, Kind::Tree, "epoch 1");

    let lowered = broken(&|store| {
        store.counters.lock().unwrap().insert("c:audit:1".into(), 900);
    });
    finds(&lowered, Kind::Counter, "epoch 1");

    let forged = broken(&|store| {
        let other = rings(10).log.unwrap().sign(1, 903, &unhex(&world.check(&trust).epochs[0].root).unwrap());
        store.put("cp:1.903", other.into_bytes());
    });
    finds(&forged, Kind::Checkpoint, "epoch 1");
}

#[test]
fn an_event_beside_its_void_is_named_until_it_is_reported() {
    let world = World::new();
    let (application, created) = world.application();
    let (_, issued) = world.key(application, created);
    let event = names::event(issued);
    let value = world.store.at(&event);
    world.store.drop(&event);
    world.integrate();
    world.clock.0.set(61_000);
    world.integrate();
    world.store.put(&event, value);
    let trust = world.trust();
    finds(&world.check(&trust), Kind::Late, &issued.to_string());
    let mut draft = world.draft(Action::EventLate, Target::application(Some(application)), None);
    draft.outcome = Outcome::Alarm;
    draft.detail = vec![issued.to_string(), Action::KeyIssued.as_str().to_owned()];
    World::wait(world.ledger().commit(vec![draft], |_, _| Ok(()))).unwrap();
    is_clean(&world.check(&trust));
    world.integrate();
    is_clean(&world.check(&trust));
}

#[test]
fn a_log_that_is_not_the_one_that_was_seen_is_named() {
    let (world, ..) = World::used();
    let mut trust = world.trust();
    let yesterday = world.store.copy();
    let (application, created) = world.application();
    world.key(application, created);
    world.integrate();
    let report = world.check(&trust);
    trust.seen = seen(&report);
    is_clean(&world.check(&trust));

    // Yesterday's file.
    let rolled_back = check(&yesterday, &trust);
    finds(&rolled_back, Kind::Witness, "epoch 1");
    finds(&rolled_back, Kind::Counter, "epoch 1");

    // Cut: as if the last two events had never been, by somebody who has the rings.
    let cut = yesterday.copy();
    cut.counters.lock().unwrap().insert("c:audit:1".into(), 905);
    let report = check(&cut, &trust);
    finds(&report, Kind::Witness, "epoch 1");
    assert!(!report.findings.iter().any(|finding| finding.kind == Kind::Counter), "{report:#?}");

    // Made anew with the right keys: only who saw the other one knows.
    let made_anew = World { rng: Counting(Cell::new(7)), ..World::new() };
    for _ in 0..3 {
        let (application, created) = made_anew.application();
        for _ in 0..400 {
            made_anew.key(application, created);
        }
    }
    made_anew.integrate();
    is_clean(&made_anew.check(&Trust { seen: Vec::new(), ..trust.clone() }));
    finds(&made_anew.check(&trust), Kind::Witness, "epoch 1");

    // A head that was lowered alone: the entries are all there, and the next integration goes over them again.
    let behind = World::on(world.store.copy());
    let older: Head = open(&behind.rings.audit, names::HEAD, &yesterday.at(names::HEAD)).unwrap();
    assert!(older.size < behind.head().size);
    behind.reseal(&older);
    let report = behind.check(&trust);
    assert!(!report.findings.iter().any(|finding| finding.kind == Kind::Witness), "{report:#?}");
}

#[test]
fn a_state_that_is_not_what_the_log_says_is_named() {
    let (world, key, died) = World::used();
    let trust = world.trust();
    let changed = |change: &dyn Fn(&Store)| {
        let store = world.store.copy();
        change(&store);
        check(&store, &trust)
    };
    let flag = names::flag(key);
    let undead = changed(&|store| store.put(&flag, b"l".to_vec()));
    finds(&undead, Kind::State, &flag);
    let said = &undead.findings.iter().find(|finding| finding.place == flag).unwrap().what;
    assert!(said.contains(&died.to_string()), "{said}");

    let record = names::key(key);
    finds(&changed(&|store| store.drop(&record)), Kind::State, &record);
    let stray = names::flag(KeyId::from_bytes([7; 16]));
    finds(&changed(&|store| store.put(&stray, b"l".to_vec())), Kind::State, &stray);
    finds(&changed(&|store| store.put("o:issuing", vec![1])), Kind::State, "o:issuing");

    let list = "p:apps.0";
    finds(&changed(&|store| store.drop(list)), Kind::Projection, "p:apps");
    let pages: Vec<String> =
        world.store.values.lock().unwrap().keys().filter(|key| key.starts_with("p:keys:")).cloned().collect();
    let heads: Vec<&String> = pages.iter().filter(|key| !key.contains('.')).collect();
    let moved = changed(&|store| {
        // Two lists exchanged: neither opens in the other's place.
        let (one, other) = (store.at(heads[0]), store.at(heads[1]));
        store.put(heads[0], other);
        store.put(heads[1], one);
    });
    finds(&moved, Kind::Projection, heads[0]);
}

#[test]
fn an_older_state_of_the_same_record_is_named() {
    let world = World::new();
    let (application, created) = world.application();
    let (key, issued) = world.key(application, created);
    let older = world.store.at(&names::key(key));
    let changed = world.rename(key, "renamed", issued);
    world.integrate();
    let trust = world.trust();
    is_clean(&world.check(&trust));
    world.store.put(&names::key(key), older);
    let report = world.check(&trust);
    finds(&report, Kind::State, &names::key(key));
    let said = &report.findings[0].what;
    assert!(said.contains(&issued.to_string()) && said.contains(&changed.to_string()), "{said}");
}

/// A store that moves on before and after records of keys are looked at: what is seen is newer than what was read before, and older than
/// what is read next.
struct Moving {
    moments: Mutex<Vec<Store>>,
}

impl Moving {
    fn now<T>(&self, keys: &[String], read: impl FnOnce(&Store) -> T) -> T {
        let mut moments = self.moments.lock().unwrap();
        let moves = keys.iter().any(|key| key.starts_with("m:"));
        let move_on = |moments: &mut Vec<Store>| {
            if moves && moments.len() > 1 {
                moments.pop();
            }
        };
        move_on(&mut moments);
        let found = read(moments.last().unwrap());
        move_on(&mut moments);
        found
    }
}

impl Values for Moving {
    type Error = Infallible;

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, Infallible> {
        self.now(keys, |store| Values::get_many(store, keys))
    }

    fn counter(&self, key: &str) -> Result<i64, Infallible> {
        self.now(&[], |store| Values::counter(store, key))
    }

    fn names(&self) -> Result<Vec<String>, Infallible> {
        self.now(&[], Values::names)
    }
}

#[test]
fn what_is_written_while_it_is_checked_is_no_fault() {
    let world = World::new();
    let (application, created) = world.application();
    let (key, mut last) = world.key(application, created);
    let mut moments = vec![world.store.copy()];
    for round in 0..20 {
        last = world.rename(key, &format!("name {round}"), last);
        world.key(application, created);
        if round % 3 == 0 {
            world.integrate();
        }
        moments.push(world.store.copy());
    }
    moments.reverse();
    let rings = rings(9);
    for skipped in 0..moments.len() {
        // Every moment is a beginning.
        let moments = moments.iter().take(moments.len() - skipped).map(Store::copy).collect();
        let moving = Moving { moments: Mutex::new(moments) };
        let source = StoreSource::new(&moving, &rings.audit, ORIGIN.to_owned());
        is_clean(&verify(&source, &world.trust(), 1, &Silent).unwrap());
    }
}

#[test]
fn a_pinned_key_signs_every_epoch_and_a_new_one_is_learnt_from_a_note_that_it_signed() {
    let world = World::new();
    let log = world.rings.log.as_ref().unwrap();
    let mut witness = Witness::new(ORIGIN.to_owned());
    witness.pin(&log.sign(1, 0, &[0; 32]), &world.keys());
    assert_eq!(witness.keys, log.verifier_keys(1));
    let next = keys_of(&world.keys(), ORIGIN, 2);
    assert_eq!(next.iter().map(ToString::to_string).collect::<Vec<_>>(), log.verifier_keys(2));
    // A note that none of the keys signed changes nothing.
    witness.pin(&rings(10).log.unwrap().sign(1, 0, &[0; 32]), &world.keys());
    assert_eq!(witness.keys, log.verifier_keys(1));
}

/// A world, an application in it, and the register that it has.
fn registered() -> (World, ApplicationId, RegisterHead, RegisterPage) {
    let (world, key, _) = World::used();
    let place: RowPlace = world.opened(&names::row_place(key));
    let head: RegisterHead = world.opened(&names::register(place.application));
    assert_eq!(head.rows, 200);
    let page = world.opened(&names::register_page(place.application, 1));
    (world, place.application, head, page)
}

#[test]
fn a_register_that_says_otherwise_than_the_log_is_named() {
    let (world, application, ..) = registered();
    let place = names::register(application);
    is_clean(&world.check(&world.trust()));
    assert_eq!(world.check(&world.trust()).registers, 3);
    type Tamper = fn(&World, ApplicationId, RegisterHead, RegisterPage);
    let tampers: [(&str, Tamper); 8] = [
        ("a key that stands otherwise", |world, _, _, mut page| {
            page.rows[0].standing = Standing::Active;
            world.reseal(&page);
        }),
        (
            "a key that stands otherwise, and counts that agree with it",
            |world, application, mut head, mut page| {
                page.rows[0].standing = Standing::Active;
                let first: RegisterPage = world.opened(&names::register_page(application, 0));
                let tallies = vec![Tally::of_rows(&first.rows, 0), Tally::of_rows(&page.rows, 0)];
                head.sums = vec![Tally::of_tallies(&tallies, 0)];
                let mut totals: RegisterTotals = world.opened(&names::register_totals(0));
                let total = totals.applications.iter_mut().find(|(other, _)| *other == application);
                total.unwrap().1 = head.counts();
                world.reseal(&page);
                world.reseal(&RegisterSums { application, number: 0, pages: tallies });
                world.reseal(&head);
                world.reseal(&totals);
            },
        ),
        ("a key that is gone from the end", |world, _, _, mut page| {
            page.rows.pop();
            world.reseal(&page);
        }),
        ("two keys in each other's place", |world, _, _, mut page| {
            page.rows.swap(0, 2);
            world.reseal(&page);
        }),
        ("a generation that did not end", |world, _, mut head, _| {
            head.ended = 1;
            world.reseal(&head);
        }),
        ("a total that is another", |world, application, _, _| {
            let mut totals: RegisterTotals = world.opened(&names::register_totals(0));
            let total = totals.applications.iter_mut().find(|(other, _)| *other == application);
            total.unwrap().1.add(Standing::Overdue, 1);
            world.reseal(&totals);
        }),
        ("a page that is gone", |world, application, _, _| {
            world.store.drop(&names::register_page(application, 0));
        }),
        ("a register that is gone", |world, application, _, _| {
            world.store.drop(&names::register(application));
        }),
    ];
    for (what, tamper) in tampers {
        let (world, application, head, page) = registered();
        tamper(&world, application, head, page);
        let report = world.check(&world.trust());
        finds(&report, Kind::Projection, &place);
        assert_eq!(report.findings.len(), 1, "{what}: {:?}", report.findings);
    }
}

#[test]
fn a_register_of_nothing_is_named() {
    let (world, ..) = registered();
    let nobody = ApplicationId::from_bytes([7; 16]);
    world.reseal(&RegisterHead::empty(nobody, 3));
    finds(&world.check(&world.trust()), Kind::Projection, &names::register(nobody));
}
