//! Whoever holds no key of the log still sees what was signed of it last, and whether that holds: a checkpoint that is gone, forged or
//! of another log is told as such, and so is a witness that saw more than there is.

use crate::history::integrate_all;
use crate::world::World;
use keyward_crypto::note::LogKeys;
use keyward_crypto::tree::TileId;
use keyward_domain::Code;
use keyward_domain::event::{Action, Target};
use keyward_ledger::memory::MemoryKv;
use keyward_records::names;
use keyward_service::{Attempt, CheckpointState, Finding, LogState, Witnessed};

/// The state as a process without a key of the log tells it.
async fn state(world: &World) -> LogState {
    let mut rings = world.rings_without_month();
    rings.log = None;
    let caller = world.caller(&world.root).await;
    let attempt = Attempt::to_read(caller, Action::AuditRead, Target::default());
    world.service_with(&rings).log_state(&attempt).await.expect("a state")
}

async fn last(world: &World) -> Option<CheckpointState> {
    state(world).await.checkpoint
}

async fn finding(world: &World) -> Finding {
    last(world).await.expect("signed").finding
}

/// Adds `count` events, which are integrated by whoever holds `keys` of the log.
async fn grow(world: &mut World, count: usize, keys: Option<LogKeys>) -> Option<LogKeys> {
    let held = std::mem::replace(&mut world.rings.log, keys);
    for _ in 0..count {
        let name = format!("app {}", world.rng.next());
        world.application(&name).await;
    }
    integrate_all(world, 210).await;
    std::mem::replace(&mut world.rings.log, held)
}

#[tokio::test(start_paused = true)]
async fn what_was_signed_last_is_known_to_whoever_holds_no_key_and_grows_old() {
    let mut world = World::new(210).await;
    let keys = world.rings.log.take();
    assert!(keys.is_some());
    grow(&mut world, 2, None).await;
    assert!(last(&world).await.is_none(), "nothing is signed yet");
    // What others integrated is signed by maintenance, though it finds nothing to integrate.
    world.service().maintain().await.expect("runs without keys");
    assert!(last(&world).await.is_none());
    world.rings.log = keys;
    world.service().maintain().await.expect("runs");
    let first = last(&world).await.expect("signed");
    let origin = world.rings.log.as_ref().unwrap().origin(1);
    assert_eq!((first.finding, first.origin), (Finding::Holds, origin));
    assert_eq!(first.size, world.read().head().await.unwrap().size);
    // The log goes on; what was signed of it stays true and is behind.
    grow(&mut world, 300, None).await;
    let behind = state(&world).await;
    let last = behind.checkpoint.expect("signed");
    assert_eq!((last.finding, last.size), (Finding::Holds, first.size));
    assert!(behind.head.taken >= first.size + 300);
    world.service().maintain().await.expect("runs");
    assert_eq!(state(&world).await.checkpoint.expect("signed").size, behind.head.taken);
    // A head that a late batch took back is behind what was signed, and no sign of another log.
    let head = world.kv.values()[names::HEAD].clone();
    world.application("one more").await;
    world.service().maintain().await.expect("runs");
    world.kv.tamper(names::HEAD, Some(head));
    assert_eq!(finding(&world).await, Finding::Holds);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_does_not_hold_is_told_and_so_is_why() {
    let mut world = World::new(211).await;
    let keys = world.rings.log.take();
    let keys = grow(&mut world, 5, keys).await.expect("given back");
    let head = world.read().head().await.unwrap();
    let place = names::checkpoint(1, head.size);
    let held = world.kv.values()[&place].clone();
    assert_eq!(finding(&world).await, Finding::Holds);
    let other_size = keys.sign(1, head.size - 1, &head.root);
    let other_epoch = keys.sign(2, head.size, &head.root);
    let mut altered = held.clone();
    *altered.iter_mut().rev().nth(4).unwrap() ^= 1;
    for (value, expected) in [
        (None, Finding::Gone),
        (Some(Vec::new()), Finding::NotAuthentic),
        (Some(altered), Finding::NotAuthentic),
        (Some(other_epoch.into_bytes()), Finding::NotAuthentic),
        (Some(other_size.into_bytes()), Finding::OtherLog),
        (Some(keys.sign(1, head.size, &[7; 32]).into_bytes()), Finding::OtherLog),
        (Some(held), Finding::Holds),
    ] {
        world.kv.tamper(&place, value);
        assert_eq!(finding(&world).await, expected);
    }
    // Signed as it should be; but the tree that lies here does not lead from it to the head.
    grow(&mut world, 5, None).await;
    assert_eq!(finding(&world).await, Finding::Holds);
    let tile = names::tile(1, TileId { level: 0, index: 0 });
    let mut value = world.kv.values()[&tile].clone();
    value[0] ^= 1;
    world.kv.tamper(&tile, Some(value));
    assert_eq!(finding(&world).await, Finding::OtherLog);
    world.kv.tamper(&tile, None);
    assert_eq!(finding(&world).await, Finding::OtherLog);
}

#[tokio::test(start_paused = true)]
async fn a_witness_agrees_contradicts_or_is_silent() {
    let mut world = World::new(212).await;
    let witness = MemoryKv::new(world.clock.clone());
    let backup = world.kv.backup();
    let keys = world.rings.log.take();
    grow(&mut world, 3, keys).await;
    let caller = world.caller(&world.root).await;
    let attempt = Attempt::to_read(caller, Action::AuditRead, Target::default());
    let told = async || {
        let service = world.service();
        let held = service.held_to(service.ledger().ask_witness(&witness).await);
        held.log_state(&attempt).await.expect("a state").witness
    };
    assert_eq!(told().await, Witnessed::Nobody);
    world.ledger().tell_witness(&witness).await.expect("told");
    assert!(matches!(told().await, Witnessed::Agrees(seen) if seen.size == seen.taken));
    world.kv.restore(&backup);
    assert!(matches!(told().await, Witnessed::Contradicts(_)), "frozen");
    witness.tamper(names::SEEN, Some(vec![1]));
    assert_eq!(told().await, Witnessed::Silent);
}

#[tokio::test(start_paused = true)]
async fn it_takes_the_scope_to_read_the_log() {
    let world = World::new(213).await;
    let reader = world.admin(&["keys:read".to_owned()]).await;
    let attempt = Attempt::to_read(world.caller(&reader.token).await, Action::AuditRead, Target::default());
    let refused = world.service().log_state(&attempt).await.map(drop);
    assert_eq!(refused.map_err(|error| error.code), Err(Code::InsufficientScope));
}
