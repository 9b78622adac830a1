//! The log is a Merkle tree: receipts are its leaves, checkpoints are signed over what was there before, proofs lead from one to the
//! other, and extending it costs the same however long it has become. The proofs are checked by `tlog_tiles`, the checkpoints by
//! `signed_note`: implementations that are not ours.

use crate::history::{check_projections, integrate_all};
use crate::world::{Do, World, new_key};
use keyward_crypto::digest::leaf_hash;
use keyward_crypto::tree::{Edge, Hash, TileId};
use keyward_domain::Code;
use keyward_domain::event::{Action, Actor, ActorKind, Event, EventId, Outcome, Source};
use keyward_ledger::Draft;
use keyward_ledger::memory::{Call, Fault};
use keyward_records::projection::Head;
use keyward_records::{KvCount, Record, names, seal};
use serde_json::json;
use std::time::Duration;

fn hash(bytes: Hash) -> tlog_tiles::tlog::Hash {
    tlog_tiles::tlog::Hash(bytes)
}

fn proof(hashes: &[Hash]) -> Vec<tlog_tiles::tlog::Hash> {
    hashes.iter().map(|bytes| hash(*bytes)).collect()
}

/// A world with `count` applications, integrated.
async fn grown(seed: u64, count: usize) -> World {
    let world = World::new(seed).await;
    for n in 0..count {
        world.application(&format!("app {n}")).await;
    }
    integrate_all(&world, seed).await;
    world
}

#[tokio::test(start_paused = true)]
async fn checkpoints_and_proofs_hold_for_implementations_that_are_not_ours() {
    use signed_note::{Note, StandardVerifier, VerifierList};
    let world = grown(200, 300).await;
    let ledger = world.ledger();
    let note = ledger.checkpoint(None).await.expect("signed");
    let keys = world.rings.log.as_ref().expect("keys of the log").verifier_keys(1);
    let verifier = StandardVerifier::new(&keys[0]).expect("a verifier key");
    let opened = Note::from_bytes(note.as_bytes()).expect("a note");
    let (verified, _) =
        opened.verify(&VerifierList::new(vec![Box::new(verifier)])).expect("signed by the log");
    assert_eq!(verified.len(), 1);
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(opened.text()).expect("a checkpoint");
    let head = ledger.head_of(None).await.unwrap();
    assert_eq!((checkpoint.size(), checkpoint.hash().0), (head.size, head.root));
    assert_eq!(checkpoint.origin(), world.rings.log.as_ref().unwrap().origin(1));

    for seq in [1, 2, 255, 256, 257, head.size] {
        let id = EventId { epoch: 1, seq };
        let found = ledger.inclusion(id, None).await.expect("a proof");
        let leaf = leaf_hash(&world.kv.values()[&names::event(id)]);
        tlog_tiles::tlog::check_record(
            &proof(&found.hashes),
            head.size,
            hash(head.root),
            seq - 1,
            hash(leaf),
        )
        .expect("the event is in the log");
    }
    for from in [1, 2, 255, 256, 257, head.size - 1, head.size] {
        let old = ledger.root_at(1, from).await.expect("a root");
        let found = ledger.consistency(1, from, None).await.expect("a proof");
        tlog_tiles::tlog::check_tree(&proof(&found.hashes), head.size, hash(head.root), from, hash(old))
            .expect("the old log is the beginning of the new one");
    }
    let beyond = EventId { epoch: 1, seq: head.size + 1 };
    assert_eq!(ledger.inclusion(beyond, None).await.map_err(|e| e.code), Err(Code::InvalidParameter));
    assert!(ledger.consistency(1, 0, None).await.is_err());
    assert!(ledger.consistency(1, 2, Some(1)).await.is_err());
    assert!(ledger.inclusion(EventId { epoch: 2, seq: 1 }, None).await.is_err(), "no such epoch");
}

#[tokio::test(start_paused = true)]
async fn a_receipt_is_the_leaf_of_its_event() {
    let world = World::new(201).await;
    let attempt = Do::CreateApplication(json!({"name": "shop"}));
    let receipt = world.receipt(&attempt, None).await.expect("a receipt");
    let sealed = &world.kv.values()[&names::event(receipt.event)];
    assert_eq!(receipt.leaf, leaf_hash(sealed));
    integrate_all(&world, 201).await;
    let found = world.ledger().inclusion(receipt.event, None).await.expect("in the log");
    tlog_tiles::tlog::check_record(
        &proof(&found.hashes),
        found.size,
        hash(found.root),
        found.from,
        hash(receipt.leaf),
    )
    .expect("the receipt's leaf is in the log");
    assert!(world.receipt(&Do::ListApplications, None).await.is_none(), "a look changes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_replayed_answer_has_the_receipt_of_the_first() {
    let world = World::new(205).await;
    let mut receipts = Vec::new();
    let application = world.application("shop").await;
    let issue = Do::Issue(new_key(application, "key"));
    for idempotency_key in ["one", "one", "two"] {
        receipts.push(world.receipt(&issue, Some(idempotency_key)).await.expect("a receipt"));
    }
    assert_eq!(receipts[0], receipts[1]);
    assert_ne!(receipts[0], receipts[2]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_signed_over_another_tree() {
    // Tiles that do not lead to the head's root: nothing is appended to them.
    let world = grown(202, 5).await;
    let tile = names::tile(1, TileId { level: 0, index: 0 });
    let mut value = world.kv.values().remove(&tile).expect("a tile");
    value[0] ^= 1;
    world.kv.tamper(&tile, Some(value));
    world.application("one more").await;
    let head = world.ledger().head_of(None).await.unwrap();
    assert_eq!(world.ledger().integrate(8).await.map_err(|e| e.code), Err(Code::RecordDamaged));
    assert_eq!(world.ledger().head_of(None).await.unwrap(), head);

    // A checkpoint of the same size over another root, signed by the log's own key.
    let world = grown(203, 5).await;
    world.application("one more").await;
    let keys = world.rings.log.as_ref().unwrap();
    let size = world.ledger().last_ticket().await.unwrap().seq;
    let forged = keys.sign(1, size, &[7; 32]);
    world.kv.tamper(&names::checkpoint(1, size), Some(forged.clone().into_bytes()));
    assert_eq!(world.ledger().integrate(8).await.map_err(|e| e.code), Err(Code::RecordDamaged));
    assert_eq!(world.kv.values()[&names::checkpoint(1, size)], forged.into_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_nobody_could_sign_is_signed_when_asked_for() {
    let mut world = grown(204, 3).await;
    let keys = world.rings.log.take();
    world.application("by a component without the key").await;
    integrate_all(&world, 204).await;
    let head = world.ledger().head_of(None).await.unwrap();
    assert!(!world.kv.values().contains_key(&names::checkpoint(1, head.size)));
    assert_eq!(world.ledger().checkpoint(None).await.map_err(|e| e.code), Err(Code::Misconfigured));
    world.rings.log = keys;
    let note = world.ledger().checkpoint(None).await.expect("signed now");
    assert_eq!(world.kv.values()[&names::checkpoint(1, head.size)], note.clone().into_bytes());
    assert_eq!(world.ledger().checkpoint(None).await, Ok(note));
}

/// As a run of maintenance reports it.
fn alarm_of(late: &Event) -> Draft {
    Draft {
        action: Action::EventLate,
        outcome: Outcome::Alarm,
        target: late.target,
        actor: Actor { kind: ActorKind::System, key: None, principal: None },
        source: Source::default(),
        request: late.request,
        reason: None,
        detail: vec![late.id.to_string(), late.action.as_str().to_owned()],
        previous: late.previous,
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_late_is_an_alarm_and_listed_through_it() {
    comes_late(false).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_another_reports_slowly_is_reported_once() {
    comes_late(true).await;
}

async fn comes_late(reported_by_another: bool) {
    let world = World::new(205).await;
    let app = world.application("shop").await;
    world.ledger().integrate(8).await.expect("is at the end");
    // The batch is held up for longer than a ticket may lack its event; its writer gives up on it meanwhile.
    world.fault_at(0, |call| matches!(call, Call::SetMany(_)), Fault::Before);
    let _ = world.run(&Do::Issue(new_key(app, "late"))).await.expect_err("not known");
    let late = world.ledger().last_ticket().await.unwrap();
    world.ledger().integrate(8).await.expect("sees the gap");
    tokio::time::advance(Duration::from_secs(61)).await;
    integrate_all(&world, 205).await;
    assert!(world.read().void(late).await.unwrap().is_some());
    assert_eq!(world.service().maintain().await.expect("nothing is late").late_events, 0);

    // Another world's event of the same place stands in for the batch that came through after all.
    let (key, event) = {
        let other = World::new(205).await;
        let app = other.application("shop").await;
        let (key, _) = other.issue(&new_key(app, "late")).await;
        let event = other.kv.values()[&names::event(late)].clone();
        for (name, value) in other.kv.values() {
            if name.contains(&key.hex()) && !name.starts_with("p:") {
                world.kv.tamper(&name, Some(value));
            }
        }
        (key, event)
    };
    world.kv.tamper(&names::event(late), Some(event));
    if reported_by_another {
        // Another meets it first and is slow: its report comes while this one waits, and nobody has integrated it yet.
        world.kv.increment(&names::counter::late(late), 1).await.expect("the other is the first");
        let service = world.service();
        let other = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let report = alarm_of(&world.read().event(late).await.unwrap().expect("it lies there"));
            world.ledger().commit(vec![report], |_, _| Ok(())).await.expect("reported");
        };
        let (run, ()) = tokio::join!(service.maintain(), other);
        assert_eq!(run.expect("runs").late_events, 0, "it is reported");
    } else {
        assert_eq!(world.service().maintain().await.expect("runs").late_events, 1);
    }
    assert_eq!(world.service().maintain().await.expect("runs").late_events, 0, "one alarm");
    let alarms: Vec<_> =
        world.events().await.into_iter().filter(|event| event.action == Action::EventLate).collect();
    assert_eq!(alarms.len(), 1);
    assert_eq!((alarms[0].outcome, alarms[0].target.key), (Outcome::Alarm, Some(key)));
    assert_eq!(alarms[0].detail[..2], [late.to_string(), "key.issue".to_owned()]);
    let listed = world.run(&Do::ListKeys(app)).await.expect("a list").json();
    assert_eq!(listed["items"][0]["id"], key.to_string());
    check_projections(&world, 205).await;
}

/// A store whose log has `size` entries, of which only the tree is there.
async fn long_log(seed: u64, size: u64) -> World {
    let world = World::new(seed).await;
    let mut edge = Edge::empty();
    for n in 0..size {
        edge.append(leaf_hash(&n.to_be_bytes()));
    }
    for (tile, hashes) in edge.take_changed() {
        world.kv.tamper(&names::tile(1, tile), Some(hashes.concat()));
    }
    let head = Head { size, root: edge.root(), ..Head::start(1) };
    let sealed = seal(&world.rings.audit, &head, [0; 12]).expect("seals");
    world.kv.tamper(&head.store_key(), Some(sealed));
    let taken = i64::try_from(size).unwrap() - 1;
    keyward_records::KvCount::increment(&world.kv, &names::counter::audit(1), taken).await.unwrap();
    world
}

#[tokio::test(start_paused = true)]
async fn extending_the_tree_costs_the_same_however_long_it_is() {
    let mut costs = Vec::new();
    for size in [1_000, 1_000_000] {
        let world = long_log(206, size).await;
        for n in 0..64 {
            world.application(&format!("app {n}")).await;
        }
        world.kv.take_calls();
        let before = world.kv.values();
        let progress = world.ledger().integrate(1).await.expect("integrates");
        assert_eq!(progress.size, size + 64);
        let calls = world.kv.take_calls().len();
        let after = world.kv.values();
        let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(*value));
        let bytes: usize = changed.map(|(name, value)| name.len() + value.len()).sum();
        println!("{size} entries: 64 events integrated with {calls} calls, {bytes} bytes written");
        costs.push((calls, bytes));
    }
    let [(calls, bytes), (calls_long, bytes_long)] = costs[..] else { panic!("two sizes") };
    assert!(calls_long <= calls + 2, "a level more is a tile more to read: {calls} and {calls_long} calls");
    assert!(
        bytes_long <= bytes + 16_384,
        "at most two tiles more are written: {bytes} and {bytes_long} bytes"
    );
}
