//! Who edits the same thing takes turns: nothing acknowledged is lost, revisions are consecutive, refusals give their turn back,
//! and whoever goes silent is stepped over within the documented time and writes nothing when it wakes.

use crate::world::{Do, SeededRng, World, is_batch, new_key, perform};
use futures::future::{join, join_all};
use keyward_domain::{Code, KeyId};
use keyward_ledger::memory::{Call, Fault};
use keyward_records::names;
use keyward_verify::Demand;
use serde_json::json;
use std::time::Duration;

/// The wait for one silent writer, and what a look or two cost on top.
const STEP_OVER: Duration = Duration::from_millis(5_000);
const SLACK: Duration = Duration::from_millis(200);

fn rename(id: KeyId, name: &str) -> Do {
    Do::ChangeKey(id, json!({ "name": name }), None)
}

fn is_key_batch(call: &Call) -> bool {
    matches!(call, Call::SetMany(keys) if keys.iter().any(|key| key.starts_with("m:")))
}

async fn revision(world: &World, id: KeyId) -> u64 {
    world.read().key(id).await.expect("opens").expect("is there").revision
}

#[tokio::test(start_paused = true)]
async fn edits_at_once_are_all_applied_in_consecutive_revisions() {
    for (writers, slow_ms) in [(2, 0), (16, 0), (64, 5), (64, 100), (10, 1_000)] {
        let world = World::new(60).await;
        let app = world.application("shop").await;
        let (id, _) = world.issue(&new_key(app, "k")).await;
        world.kv.plan(move |call| if is_batch(call) { Fault::Slow(slow_ms) } else { Fault::None });
        let edits: Vec<Do> = (0..writers).map(|n| rename(id, &format!("n{n}"))).collect();
        let replies = join_all(edits.iter().map(|edit| world.run(edit))).await;
        let mut revisions: Vec<u64> = replies
            .iter()
            .map(|reply| reply.as_ref().expect("applied").at("/revision").parse().unwrap())
            .collect();
        revisions.sort_unstable();
        assert_eq!(revisions, (2..writers + 2).collect::<Vec<u64>>(), "{writers} writers");
        // Each event names the one before it on the same key: the chain has no fork.
        let mut previous: Vec<_> = world.events().await.iter().filter_map(|event| event.previous).collect();
        previous.sort_unstable();
        let all = previous.len();
        previous.dedup();
        assert_eq!(previous.len(), all, "{writers} writers: no two edits of one state");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_living_writers_is_not_stepped_over() {
    // More of them than can write within the time that one waits: some are refused, and say so; nobody's edit is lost.
    let world = World::new(61).await;
    let app = world.application("shop").await;
    let (id, _) = world.issue(&new_key(app, "k")).await;
    world.kv.plan(|call| if is_batch(call) { Fault::Slow(600) } else { Fault::None });
    let edits: Vec<Do> = (0..60).map(|n| rename(id, &format!("n{n}"))).collect();
    let replies = join_all(edits.iter().map(|edit| world.run(edit))).await;
    world.heal();
    let mut revisions: Vec<u64> = Vec::new();
    for reply in replies {
        match reply {
            Ok(reply) => revisions.push(reply.at("/revision").parse().unwrap()),
            Err(error) => assert_eq!(error.code, Code::StoreUnavailable),
        }
    }
    revisions.sort_unstable();
    assert!(revisions.len() >= 20, "{}", revisions.len());
    assert_eq!(revisions, (2..2 + u64::try_from(revisions.len()).unwrap()).collect::<Vec<_>>());
    let mut previous: Vec<_> = world.events().await.iter().filter_map(|event| event.previous).collect();
    previous.sort_unstable();
    let all = previous.len();
    previous.dedup();
    assert_eq!(previous.len(), all, "two edits of one state: one of them is lost");
    // And it goes on.
    world.run(&rename(id, "after")).await.expect("the crowd is gone");
}

#[tokio::test(start_paused = true)]
async fn if_match_lets_one_of_many_through() {
    let world = World::new(62).await;
    let app = world.application("shop").await;
    let (id, _) = world.issue(&new_key(app, "k")).await;
    for fields in [json!({"name": "x"}), json!({"disabled": true})] {
        let seen = revision(&world, id).await;
        let what = Do::ChangeKey(id, fields, Some(seen));
        let results = join_all((0..8).map(|_| world.run(&what))).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!((error.code, error.code.status()), (Code::RevisionMismatch, 412));
        }
    }
    for what in [
        Do::ChangeKey(id, json!({"name": "y"}), Some(1)),
        Do::ChangeApplication(app, json!({"contacts": ["x"]}), Some(7)),
    ] {
        assert_eq!(world.run(&what).await.err().map(|e| e.code), Some(Code::RevisionMismatch));
    }
    world.run(&Do::ChangeApplication(app, json!({"contacts": ["x"]}), Some(1))).await.expect("as seen");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_gives_the_turn_back() {
    let world = World::new(63).await;
    let app = world.application("shop").await;
    world.application("taken").await;
    let (id, ticket) = world.issue(&new_key(app, "k")).await;
    let started = tokio::time::Instant::now();
    // Each pair races: the loser is refused with its turn in hand.
    for round in 0..6 {
        let seen = revision(&world, id).await;
        let what = Do::ChangeKey(id, json!({"name": format!("n{round}")}), Some(seen));
        join(world.run(&what), world.run(&what)).await.0.expect("the first");
        world.run(&rename(id, "next")).await.expect("the next");
    }
    let (_, _) = join(world.run(&Do::TakeClaim(ticket)), world.run(&Do::Reissue(id))).await;
    world.run(&rename(id, "next")).await.expect("the next");
    let taken = Do::ChangeApplication(app, json!({"name": "taken"}), None);
    assert_eq!(world.run(&taken).await.err().map(|e| e.code), Some(Code::NameTaken));
    world.run(&Do::ChangeApplication(app, json!({"name": "free"}), None)).await.expect("the next");
    let same = Do::CreateApplication(json!({"name": "same"}));
    let results = join_all((0..5).map(|_| world.run(&same))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.into_iter().filter_map(Result::err).all(|error| error.code == Code::NameTaken));
    world.run(&Do::ChangeApplication(app, json!({"name": "other"}), None)).await.expect("renamed");
    world.run(&Do::CreateApplication(json!({"name": "free"}))).await.expect("a name given up is free");
    assert!(started.elapsed() < SLACK, "nobody waited for anybody silent: {:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_others_go_on_past_writers_that_died_with_a_ticket() {
    for (dead, wait_ms) in [(1_u64, 5_000), (2, 10_000), (3, 15_000), (8, 16_250)] {
        let world = World::new(64).await;
        let app = world.application("shop").await;
        let held = world.held(&new_key(app, "k")).await;
        world.kv.plan(|call| if is_key_batch(call) { Fault::Before } else { Fault::None });
        // Killed after the revision ticket and before the batch: these wait for their turn as everybody does.
        let edits: Vec<Do> = (0..dead).map(|n| rename(held.id, &format!("dead{n}"))).collect();
        for edit in &edits {
            let caller = world.caller(&world.root).await;
            // Given up by the caller at once: the ticket stays taken.
            let service = world.service();
            let work = perform(&service, caller, edit);
            let _ = tokio::time::timeout(Duration::from_millis(1), work).await;
        }
        world.heal();
        let started = tokio::time::Instant::now();
        let (one, two) = join(world.run(&rename(held.id, "one")), world.run(&rename(held.id, "two"))).await;
        one.expect("goes on");
        two.expect("goes on");
        let took = started.elapsed();
        let wait = Duration::from_millis(wait_ms);
        assert!(took + SLACK >= wait && took <= wait + SLACK, "{dead} dead: {took:?}");
        assert_eq!(revision(&world, held.id).await, 2 + dead + 2);
        let started = tokio::time::Instant::now();
        world.run(&rename(held.id, "after")).await.expect("goes on");
        assert!(started.elapsed() < SLACK, "it is waited for once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_wakes_after_it_was_stepped_over_writes_nothing() {
    // It stalls with its turn in hand, before it takes its audit ticket.
    for stall_ms in [3_500, 6_000, 60_000] {
        let world = World::new(65).await;
        let app = world.application("shop").await;
        let held = world.held(&new_key(app, "k")).await;
        world.fault_at(
            0,
            |call| matches!(call, Call::Increment(key) if key.starts_with("c:audit")),
            Fault::Slow(stall_ms),
        );
        let (stalled, ()) = join(world.run(&rename(held.id, "stalled")), async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            world.run(&Do::RevokeKey(held.id, "lost")).await.expect("waits for nobody");
            assert_eq!(world.code(&held.token, &Demand::default()).await, "REVOKED");
        })
        .await;
        let error = stalled.expect_err("given up");
        assert_eq!(error.code, Code::StoreUnavailable, "{error}");
        assert_eq!(world.read().key(held.id).await.unwrap().unwrap().name, "k");
        assert_eq!(world.code(&held.token, &Demand::default()).await, "REVOKED");
    }
    let world = World::new(66).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    world.fault_at(
        0,
        |call| matches!(call, Call::Increment(key) if key.starts_with("c:audit")),
        Fault::Slow(30_000),
    );
    let started = tokio::time::Instant::now();
    let (stalled, ()) = join(world.run(&rename(held.id, "stalled")), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        world.run(&Do::ChangeKey(held.id, json!({"disabled": true}), None)).await.expect("steps over");
        assert!(started.elapsed() <= STEP_OVER + SLACK, "{:?}", started.elapsed());
    })
    .await;
    assert_eq!(stalled.err().map(|e| e.code), Some(Code::StoreUnavailable));
    let key = world.read().key(held.id).await.unwrap().unwrap();
    assert_eq!((key.disabled, key.name.as_str()), (true, "k"));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_arrives_late_can_lose_an_edit_and_never_a_revocation() {
    // The store itself holds the batch back: nobody can call it off any more.
    let world = World::new(67).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    world.fault_at(0, is_key_batch, Fault::Slow(20_000));
    let (_, ()) = join(world.run(&rename(held.id, "late")), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        world.run(&rename(held.id, "next")).await.expect("steps over");
        world.run(&Do::RevokeKey(held.id, "lost")).await.expect("revoked");
    })
    .await;
    assert_eq!(world.code(&held.token, &Demand::default()).await, "REVOKED");
    assert_eq!(world.run(&rename(held.id, "x")).await.err().map(|e| e.code), Some(Code::Revoked));
}

#[tokio::test(start_paused = true)]
async fn a_lost_renaming_can_be_repeated() {
    let world = World::new(68).await;
    let app = world.application("shop").await;
    for round in 0..3 {
        let what = Do::ChangeApplication(app, json!({"name": format!("shop {round}")}), None);
        world.fault_at(0, is_batch, Fault::Before);
        assert_eq!(world.run(&what).await.err().map(|e| e.code), Some(Code::OutcomeUnknown));
        world.heal();
        world.run(&what).await.expect("repeated");
    }
}

#[tokio::test(start_paused = true)]
async fn revisions_are_consecutive_under_any_faults_that_are_told() {
    for seed in 0..40 {
        let world = World::new(seed).await;
        let app = world.application("shop").await;
        let (id, _) = world.issue(&new_key(app, "k")).await;
        let rng = SeededRng::new(seed ^ 0xfa17);
        let percent = 10;
        world.kv.plan(move |_| {
            if !rng.chance(percent) {
                return Fault::None;
            }
            *rng.one_of(&[
                Fault::Before,
                Fault::After,
                Fault::Twice,
                Fault::Slow(40),
                Fault::SlowReply(40),
                Fault::SlowReply(3_500),
            ])
        });
        // Authentication reads as well; what cannot authenticate does not count.
        let edits: Vec<Do> = (0..6).map(|n| rename(id, &format!("n{n}"))).collect();
        let mut acknowledged = Vec::new();
        let mut callers = Vec::new();
        for _ in 0..12 {
            callers.push(loop {
                if let Some(caller) = world.try_caller(&world.root, None).await {
                    break caller;
                }
            });
        }
        let service = world.service();
        while !callers.is_empty() {
            let batch: Vec<_> = callers.drain(..3.min(callers.len())).zip(&edits).collect();
            let replies =
                join_all(batch.into_iter().map(|(caller, edit)| perform(&service, caller, edit))).await;
            for reply in replies {
                match reply {
                    Ok(reply) => acknowledged.push(reply.at("/revision").parse::<u64>().unwrap()),
                    Err(error) => assert_eq!(error.code.status(), 503, "seed {seed}: {error}"),
                }
            }
        }
        world.heal();
        let written: Vec<(u64, String)> = writes_of(&world, id).await;
        let stored = revision(&world, id).await;
        let mut unique = acknowledged.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), acknowledged.len(), "seed {seed}: one revision, one edit");
        assert!(unique.last().is_none_or(|last| *last <= stored), "seed {seed}: the last edit is stored");
        assert!(written.len() >= acknowledged.len(), "seed {seed}: every acknowledged edit has its event");
        // Each event follows the one before it: no edit was decided on a state that another had replaced.
        let key = world.read().key(id).await.unwrap().unwrap();
        let events = world.events().await;
        let mut chain = 0;
        let mut at = Some(key.event);
        while let Some(event) = at.and_then(|id| events.iter().find(|event| event.id == id)) {
            chain += 1;
            at = event.previous;
        }
        assert_eq!(chain, written.len() + 1, "seed {seed}: every written edit is in the chain of the key");
    }
}

/// The events that wrote the key's record after its birth.
async fn writes_of(world: &World, id: KeyId) -> Vec<(u64, String)> {
    let record = names::key(id);
    let events = world.events().await;
    events
        .iter()
        .filter(|event| event.previous.is_some() && event.writes.iter().any(|write| write.record == record))
        .map(|event| (event.id.seq, record.clone()))
        .collect()
}
