//! What must hold of a world when everything works again, whatever happened before: the auditor finds nothing, everything acknowledged
//! is there, everything revoked is dead, and all work that was cut short is done.

use crate::rollback;
use crate::run::{HOOK, MONTH, Sim};
use crate::world::{ADDRESS, Do};
use keyward_auditor::{Finding, Kind, Part, Progress, StoreSource, Trust, Values, verify};
use keyward_crypto::digest::leaf_hash;
use keyward_crypto::note::VerifierKey;
use keyward_domain::KeyId;
use keyward_domain::announcement::{MessageId, Type};
use keyward_domain::event::{Action, Event, EventId};
use keyward_domain::key::Key;
use keyward_domain::timestamp::Month;
use keyward_domain::webhook::Targets;
use keyward_records::register::ROWS;
use keyward_records::{Reader, Rings, SHREDDED, names, open};
use keyward_verify::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

/// The name of the log that `world::rings` signs.
const ORIGIN: &str = "keyward.example/test";
/// How often what takes several runs is run.
const RUNS: usize = 24;
/// Longer than all clocks together stepped back, and than a ticket is waited for.
const LATER: Duration = Duration::from_secs(3_600);

/// What lies in the store, for the auditor.
struct Snapshot {
    values: BTreeMap<String, Vec<u8>>,
    counters: BTreeMap<String, i64>,
}

impl Values for Snapshot {
    type Error = Infallible;

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, Infallible> {
        Ok(keys.iter().map(|key| self.values.get(key).cloned()).collect())
    }

    fn counter(&self, key: &str) -> Result<i64, Infallible> {
        Ok(self.counters.get(key).copied().unwrap_or(0))
    }

    fn names(&self) -> Result<Vec<String>, Infallible> {
        Ok(self.values.keys().cloned().collect())
    }
}

struct Silent;

impl Progress for Silent {
    fn at(&self, _: Part, _: u64, _: u64) {}
}

/// Judges the world at its end.
pub async fn judge(sim: &Sim) {
    sim.heal();
    tokio::time::advance(LATER).await;
    let thawed = sim.call(&Do::Thaw("over"), None).await;
    assert!(matches!(thawed, Some(Ok(_))), "issuing cannot be thawed: {thawed:?}");
    let clients = sim.clients.borrow().len();
    for at in 0..clients {
        sim.ask_for_next(at).await;
        sim.use_token(at).await;
    }
    the_log_is_whole(sim).await;
    what_was_acknowledged_is_there(sim).await;
    if let Some(vault) = sim.vault() {
        vault.judge(sim).await;
    }
    what_was_announced_was_told(sim).await;
    what_is_personal_went(sim).await;
    use_was_counted_once(sim).await;
    keys_are_counted_as_they_stand(sim).await;
    sim.age(MONTH).await;
    everything_due_was_done(sim).await;
    keys_are_counted_as_they_stand(sim).await;
    if let Some(limited) = sim.limited() {
        limited.judge(sim).await;
    }
    the_log_is_whole(sim).await;
    let copy = sim.copy.take();
    if let Some(copy) = copy {
        rollback::judge(sim, &copy).await;
        the_log_is_whole(sim).await;
    }
}

/// Integrates to the last ticket, and has the auditor look at everything.
async fn the_log_is_whole(sim: &Sim) {
    let mut is_whole = false;
    for _ in 0..RUNS {
        sim.schedule().await;
        let last = sim.world.ledger().last_ticket().await.expect("the counter");
        is_whole = sim.world.read().head().await.expect("a head").size == last.seq;
        if is_whole {
            break;
        }
        tokio::time::advance(Duration::from_secs(61)).await;
    }
    assert!(is_whole, "the integrator does not reach the end of the log");
    let snapshot = Snapshot { values: sim.world.kv.values(), counters: sim.world.kv.counters() };
    let rings: &Rings = &sim.world.rings;
    let keys = rings.log.as_ref().expect("keys").verifier_keys(1);
    let keys = keys.iter().map(|key| VerifierKey::parse(key).expect("a key")).collect();
    let trust = Trust { origin: Some(ORIGIN.to_owned()), keys, seen: Vec::new() };
    let source = StoreSource::new(&snapshot, &rings.audit, ORIGIN.to_owned());
    let report = verify(&source, &trust, 1, &Silent).unwrap();
    if sim.tells {
        for (id, event) in sim.world.log().await {
            let shown =
                event.map(|event| (event.action, event.outcome, event.target, event.previous, event.detail));
            eprintln!("{id}: {shown:?}");
        }
    }
    // An edit that was lost is one: the record lies as another left it. What revokes is written once, and never lost.
    let edits_may_be_lost = sim.known.borrow().edits_may_be_lost;
    // But for the birth of an imported key, which a writer that stalled may write once more: its version is dead beside it.
    let imported = sim.imports().map(|imports| imports.keys()).unwrap_or_default();
    let flags: Vec<String> = imported.into_iter().map(names::flag).collect();
    let is_lost_edit = |found: &&Finding| {
        edits_may_be_lost
            && found.kind == Kind::State
            && found.what.contains("wrote it since")
            && (flags.contains(&found.place)
                || !["k:", "x:"].iter().any(|prefix| found.place.starts_with(prefix)))
    };
    let broken = report.findings.iter().filter(|found| !is_lost_edit(found));
    let broken: Vec<String> = broken.map(|found| format!("{}: {}", found.place, found.what)).collect();
    assert!(
        broken.is_empty() && report.untold.is_empty(),
        "the log does not verify: {broken:?} {:?}",
        report.untold
    );
}

async fn what_was_acknowledged_is_there(sim: &Sim) {
    let values = sim.world.kv.values();
    for receipt in &sim.known.borrow().receipts {
        let leaf = values.get(&names::event(receipt.event)).map(|event| leaf_hash(event));
        assert_eq!(leaf, Some(receipt.leaf), "{} was acknowledged and is not in the log", receipt.event);
    }
    let count = sim.known.borrow().tokens.len();
    for at in 0..count {
        sim.present(at).await;
        sim.present(at).await;
    }
    let instance = sim.instance();
    let keys: BTreeMap<String, Key> = values
        .iter()
        .filter(|(name, _)| name.starts_with("m:"))
        .map(|(name, value)| {
            (name.clone(), open::<Key>(&instance.rings.records, name, value).expect("a key that opens"))
        })
        .collect();
    for token in agreed(sim, &keys) {
        let passes = matches!(instance.verify(&token).await, Ok(Verdict::Accepted(_)));
        assert!(passes, "a claimed token does not pass, and nobody ended it");
    }
}

/// Holds the keys to what was acknowledged of them; the tokens that must pass.
fn agreed(sim: &Sim, keys: &BTreeMap<String, Key>) -> Vec<String> {
    let known = sim.known.borrow();
    for id in known.keys.keys() {
        let key = keys.get(&names::key(*id)).expect("a key that was issued is there");
        let is_named = known.edits_may_be_lost || known.may_be_named(*id, &key.name);
        assert!(is_named, "an acknowledged edit is lost: a key is named {}", key.name);
    }
    for name in &known.issued_once {
        let so_named = keys.values().filter(|key| key.name == *name).count();
        assert!(so_named <= 1 || known.edits_may_be_lost, "one request issued {so_named} keys");
    }
    if known.edits_may_be_lost || sim.has_aged.get() {
        return Vec::new();
    }
    let mut living: Vec<String> = Vec::new();
    for token in &known.tokens {
        let newest =
            known.tokens.iter().filter(|other| other.key == token.key).map(|other| other.version).max();
        let key = &known.keys[&token.key];
        if newest != Some(token.version) || key.may_end || key.may_have_more {
            continue;
        }
        living.push(token.text.clone());
    }
    living
}

/// Each event that is announced came to whoever listens to all, lies among the dead letters, or was dropped as the log says; and nothing
/// else came.
async fn what_was_announced_was_told(sim: &Sim) {
    for _ in 0..RUNS {
        tokio::time::advance(Duration::from_secs(6 * 3600)).await;
        let instance = sim.instance();
        let done = instance.service(&sim.world.rng).deliver(&sim.listener, Targets::Public).await;
        let done = serde_json::to_value(done.expect("a run")).expect("JSON");
        if done["more"] == false && done["failed"] == 0 && done["delivered"] == 0 && done["queued"] == 0 {
            break;
        }
    }
    let letters = sim.dead_letters(&sim.rng).await.expect("a list");
    let events = sim.world.events().await;
    let webhook =
        events.iter().find_map(|event| event.target.webhook.map(|_| event.id)).expect("it was born");
    let head = sim.world.read().head().await.expect("a head");
    let heard = sim.listener.heard.borrow();
    let mut told: BTreeSet<&str> = heard.iter().filter(|(at, _)| at == HOOK).map(|(_, id)| &**id).collect();
    told.extend(letters.iter().filter(|(of, _)| *of == sim.hook()).map(|(_, message)| &**message));
    let dropped =
        |event: &&Event| event.action == Action::WebhookDropped && event.target.webhook == Some(sim.hook());
    told.extend(events.iter().filter(dropped).flat_map(|event| &event.detail).map(|detail| &**detail));
    for event in events.iter().filter(|event| event.id > webhook && event.id.seq <= head.size) {
        if Type::of(event).is_some() {
            let is_told = told.contains(&*MessageId(event.id).to_string());
            assert!(is_told, "{} was announced to nobody", event.id);
        }
    }
    for (_, message) in heard.iter() {
        let of = message.parse::<MessageId>().expect("an id").0;
        assert!(events.iter().any(|event| event.id == of), "{message} tells of nothing that happened");
    }
}

/// What was personal in months that were shredded can be read no more, and all else can.
async fn what_is_personal_went(sim: &Sim) {
    let Some(shredding) = sim.known.borrow().shredding else { return };
    let events: BTreeMap<EventId, Event> =
        sim.world.events().await.into_iter().map(|event| (event.id, event)).collect();
    let known = sim.known.borrow();
    for shredded in &known.shredded {
        for receipt in known.receipts.iter().take(shredded.acknowledged) {
            let event = &events[&receipt.event];
            let is_left = event.source.client_addr.as_deref() == Some(ADDRESS);
            let is_meant = Month::of(event.at) < shredded.before;
            assert!(!(is_meant && is_left), "{} has what is personal after it was shredded", event.id);
        }
    }
    for event in events.values().filter(|event| Month::of(event.at) >= shredding) {
        let is_gone = event.source.client_addr.as_deref() == Some(SHREDDED);
        assert!(!is_gone, "what is personal in {} went, and nobody asked for it", event.id);
    }
}

/// Registers say of each key what it is shown as, and counts what registers say; what time alone changed, or a lost edit, the sweep tells.
async fn keys_are_counted_as_they_stand(sim: &Sim) {
    let mut wrong = String::new();
    // Clocks differ: whoever looks just then may see a key otherwise than whoever told of it.
    for _ in 0..4 {
        for _ in 0..3 {
            sim.schedule().await;
            tokio::time::advance(Duration::from_secs(61)).await;
        }
        match miscounted(sim).await {
            None => return,
            Some(found) => wrong = found,
        }
        tokio::time::advance(LATER).await;
    }
    panic!("{wrong}");
}

/// What is wrong with registers and counts, if anything is.
async fn miscounted(sim: &Sim) -> Option<String> {
    let instance = sim.instance();
    let names: Vec<String> = sim.world.kv.values().into_keys().collect();
    let mut stand: BTreeMap<String, u64> = BTreeMap::new();
    for name in names.iter().filter_map(|name| name.strip_prefix("m:")) {
        let key = KeyId::from_bytes(u128::from_str_radix(name, 16).expect("hex").to_be_bytes());
        let Some(Ok(shown)) = sim.call(&Do::ReadKey(key), None).await else {
            return Some(format!("{key} cannot be read"));
        };
        let (shown, reader) = (shown.at("/standing"), Reader::new(&instance.kv, &instance.rings));
        let Some(place) = reader.row_place(key).await.expect("opens") else {
            return Some(format!("{key} is in no register"));
        };
        let head = reader.register(place.application).await.expect("opens").expect("a head");
        let page = reader.register_page(place.application, place.place / ROWS).await.expect("opens");
        let row = page.expect("a page").rows[usize::try_from(place.place % ROWS).expect("small")];
        let on_record = row.standing(head.ended).as_str();
        if row.key != key || on_record != shown {
            return Some(format!("{key} is {shown}, and {on_record} in its register"));
        }
        *stand.entry(shown).or_default() += 1;
    }
    let Some(Ok(counted)) = sim.call(&Do::Standings(None), None).await else {
        return Some("keys cannot be counted".to_owned());
    };
    let counted: BTreeMap<String, u64> =
        serde_json::from_value(counted.json()["standings"].clone()).expect("counts");
    let counted: BTreeMap<String, u64> = counted.into_iter().filter(|(_, count)| *count > 0).collect();
    (counted != stand).then(|| format!("keys stand as {stand:?} and are counted as {counted:?}"))
}

async fn use_was_counted_once(sim: &Sim) {
    for _ in 0..RUNS {
        sim.schedule().await;
        tokio::time::advance(Duration::from_secs(61)).await;
    }
    let used = sim.used.borrow().clone();
    for (key, used) in &used {
        let kept = sim.instance();
        let reader = keyward_records::Reader::new(&kept.kv, &kept.rings);
        let counted = reader
            .key_use(*key)
            .await
            .expect("opens")
            .map_or(0, |kept| kept.versions.iter().map(|version| version.accepted).sum());
        assert_eq!(counted, *used, "use was kept {used} times and counted {counted} times");
    }
}

/// After a month the client's key was offered its successor, and the client takes it.
async fn everything_due_was_done(sim: &Sim) {
    for _ in 0..3 {
        sim.schedule().await;
        tokio::time::advance(Duration::from_secs(61)).await;
    }
    let is_rough = sim.known.borrow().edits_may_be_lost;
    let (key, is_lost) = {
        let clients = sim.clients.borrow();
        (clients[0].key, clients[0].is_lost)
    };
    if is_rough || is_lost {
        return;
    }
    let instance = sim.instance();
    let reader = keyward_records::Reader::new(&instance.kv, &instance.rings);
    let found = reader.key(key).await.expect("opens").expect("is there");
    assert!(found.rotation.offer.is_some(), "a successor was due and was not offered");
    let before = sim.clients.borrow()[0].token.clone();
    sim.ask_for_next(0).await;
    assert_ne!(
        before,
        sim.clients.borrow()[0].token,
        "a client could not take the successor that it was offered"
    );
    sim.use_token(0).await;
}
