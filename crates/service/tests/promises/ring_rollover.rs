//! A ring rolls over: everything that is not flag, tombstone or short-lived ends under the active version, whatever happens on the
//! way, and until then nobody is denied for it. Dropped while in use, a version is missed (503), never a verdict.

use crate::history::{check_projections, check_state, integrate_all};
use crate::revocation_races::interleave;
use crate::world::{Do, Held, SeededRng, World, is_batch, new_key, rings, survive};
use keyward_crypto::Sealer;
use keyward_domain::event::{Action, ActorKind, Outcome};
use keyward_domain::{ApplicationId, Code};
use keyward_ledger::memory::{Call, Fault};
use keyward_records::projection::lists;
use keyward_records::{KvCount, names};
use keyward_verify::Demand;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Steps after which a pass over these small worlds must long have ended.
const STEPS_MAX: usize = 32;

/// Steps of a pass until one found everything under the active version.
async fn reseal(world: &World) -> Value {
    for _ in 0..STEPS_MAX {
        let reply = world.run(&Do::Reseal(false)).await.expect("a step").json();
        if reply["settled"] == true && reply["pass"].is_null() {
            return reply;
        }
    }
    panic!("no pass came to its end");
}

/// The ring version of every stored value whose key starts so.
fn under(world: &World, prefixes: &[&str]) -> BTreeMap<String, u32> {
    let values = world.kv.values().into_iter();
    values
        .filter(|(key, _)| prefixes.iter().any(|prefix| key.starts_with(prefix)))
        .map(|(key, value)| (key, Sealer::sealed_under(&value).expect("sealed")))
        .collect()
}

/// All that a pass has to move but claims.
fn state(world: &World) -> BTreeMap<String, u32> {
    under(world, &["a:", "d:", "n:", "m:", "r:", "g:", names::ISSUING])
}

fn all_under(found: &BTreeMap<String, u32>, version: u32) {
    let others: Vec<_> = found.iter().filter(|(_, have)| **have != version).collect();
    assert!(others.is_empty() && !found.is_empty(), "not under {version}: {others:?}");
}

/// What the figures say of a ring, by version.
async fn figures(world: &World, ring: &str, what: &str) -> BTreeMap<u64, u64> {
    let reply = world.run(&Do::ReadRings).await.expect("figures").json();
    let rings = reply["rings"].as_array().unwrap();
    let ring = rings.iter().find(|found| found["name"] == ring).expect("a ring");
    let versions = ring["versions"].as_array().unwrap().iter();
    versions
        .filter_map(|version| Some((version["version"].as_u64()?, version.get(what)?.as_u64()?)))
        .collect()
}

/// A world with something of everything, all under version 1.
struct Cast {
    app: ApplicationId,
    held: Held,
    dead: Held,
    ticket: String,
    kept: Vec<Held>,
}

async fn cast(world: &World, keys: usize) -> Cast {
    let app = world.application("shop").await;
    let renamed = world.application("given up").await;
    let change = Do::ChangeApplication(renamed, json!({"name": "another"}), None);
    world.run(&change).await.expect("renamed");
    // A name that only a refused attempt wrote.
    assert!(world.run(&Do::ChangeApplication(renamed, json!({"name": "shop"}), None)).await.is_err());
    world.role("clerks", &["keys:read"]).await;
    let policy = world.policy(&json!({ "rotate_every_s": null })).await;
    world.run(&Do::ChangeApplication(app, json!({ "policy": policy }), None)).await.expect("given");
    world.run(&Do::Freeze("drill")).await.expect("frozen");
    world.run(&Do::Thaw("over")).await.expect("thawed");
    let mut kept = Vec::new();
    for number in 0..keys {
        kept.push(world.held(&new_key(app, &format!("key {number}"))).await);
    }
    let dead = world.held(&new_key(app, "dead")).await;
    world.run(&Do::RevokeKey(dead.id, "leaked")).await.expect("revoked");
    let (_, ticket) = world.issue(&new_key(app, "unclaimed")).await;
    Cast { app, held: world.held(&new_key(app, "held")).await, dead, ticket, kept }
}

async fn code(world: &World, held: &Held) -> &'static str {
    world.code(&held.token, &Demand::default()).await
}

#[tokio::test(start_paused = true)]
async fn everything_is_sealed_anew_and_the_old_version_can_go() {
    let mut world = World::new(400).await;
    let cast = cast(&world, 70).await;
    let flags = |world: &World| -> BTreeMap<String, Vec<u8>> {
        world
            .kv
            .values()
            .into_iter()
            .filter(|(key, _)| key.starts_with("k:") || key.starts_with("x:"))
            .collect()
    };
    let flags_before = flags(&world);
    let claims = under(&world, &["q:"]).len();
    all_under(&state(&world), 1);
    let log_before = world.events().await.len();

    world.rings = rings(&[1, 2], &[1], &[1]);
    let settled = reseal(&world).await;
    all_under(&state(&world), 2);
    assert_eq!(flags(&world), flags_before, "flags are touched by birth and death alone");
    let open = under(&world, &["q:"]).into_values().filter(|version| *version == 2).count();
    assert_eq!((open, claims), (1, 70 + 3), "one claim is open; the taken ones grow old");
    let renewals = under(&world, &["z:"]);
    assert!(renewals.len() > 70 && renewals.values().all(|version| *version == 2));
    // Every record but the name given up, which no application leads to, is counted once.
    let records = u64::try_from(state(&world).len() + renewals.len() + open - 1).unwrap();
    assert_eq!(figures(&world, "records_keyring", "records").await, BTreeMap::from([(1, 0), (2, records)]));
    assert_eq!(figures(&world, "records_keyring", "tombstones").await, BTreeMap::from([(1, 1), (2, 0)]));
    assert_eq!(settled["last"]["outdated"], 0);

    let events: Vec<_> = world.events().await.split_off(log_before);
    let sealed: Vec<_> = events.iter().filter(|event| event.actor.kind == ActorKind::System).collect();
    let written: usize = sealed.iter().map(|event| event.writes.len()).sum();
    assert_eq!(written, state(&world).len() + renewals.len() + 1, "each record once: {:?}", sealed[0].detail);
    for event in sealed {
        assert_eq!((event.action, event.outcome), (Action::RingResealed, Outcome::Done));
        assert!((1..=64).contains(&event.writes.len()), "{}", event.writes.len());
        assert_eq!(event.detail, ["records_keyring 2".to_owned(), format!("{} records", event.writes.len())]);
    }
    check_state(&world, 400).await;

    world.rings = rings(&[2], &[1], &[1]);
    for held in cast.kept.iter().chain([&cast.held]) {
        assert_eq!(code(&world, held).await, "VALID");
    }
    assert_eq!(code(&world, &cast.dead).await, "REVOKED");
    let shown = world.run(&Do::ReadKey(cast.dead.id)).await.expect("shown without its tombstone").json();
    assert_eq!((&shown["state"], &shown["revoked"]), (&json!("revoked"), &Value::Null));
    let edit = Do::ChangeKey(cast.dead.id, json!({"name": "x"}), None);
    assert_eq!(world.run(&edit).await.expect_err("dead").code, Code::Revoked);
    world.run(&Do::RevokeKey(cast.dead.id, "once more")).await.expect("a proper tombstone in its place");
    let shown = world.run(&Do::ReadKey(cast.dead.id)).await.expect("shown").json();
    assert_eq!(shown["revoked"]["reason"], "once more");
    world.run(&Do::TakeClaim(cast.ticket)).await.expect("the open claim is taken");
    world.run(&Do::CreateApplication(json!({"name": "given up"}))).await.expect("the name is free");
    world.run(&Do::ListKeys(cast.app)).await.expect("listed");
    assert!(world.run(&Do::ReadEmergency).await.is_ok());
    integrate_all(&world, 400).await;
    check_projections(&world, 400).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_dropped_while_in_use_is_missed_not_denied() {
    let mut world = World::new(401).await;
    let cast = cast(&world, 0).await;
    world.rings = rings(&[2], &[1], &[1]);
    for held in [&cast.held, &cast.dead] {
        assert_eq!(code(&world, held).await, "ring-version-unknown");
    }
    // What this process cannot open is counted, left as it is, and does not keep it busy.
    for _ in 0..4 {
        world.service().maintain().await.expect("a run");
    }
    all_under(&under(&world, &["m:"]), 1);
    world.rings = rings(&[1, 2], &[1], &[1]);
    assert!(figures(&world, "records_keyring", "records").await[&1] > 0);
    reseal(&world).await;
    assert_eq!(code(&world, &cast.held).await, "VALID");
}

#[tokio::test(start_paused = true)]
async fn the_scheduler_does_it_a_step_each_run_and_once_a_day_looks_again() {
    let mut world = World::new(402).await;
    let cast = cast(&world, 3).await;
    world.rings = rings(&[1, 2], &[1], &[1]);
    for _ in 0..STEPS_MAX {
        world.service().maintain().await.expect("a run");
    }
    all_under(&state(&world), 2);
    let settled = world.read().resealing().await.unwrap();
    world.kv.take_calls();
    world.service().maintain().await.expect("a run");
    assert_eq!(world.read().resealing().await.unwrap(), settled, "nothing is due");
    let reads = world
        .kv
        .take_calls()
        .iter()
        .filter(|call| matches!(call, Call::Get(key) if key.starts_with("q:")))
        .count();
    assert_eq!(reads, 0, "and no claim is looked at");
    world.clock.advance_wall(Duration::from_secs(24 * 3600));
    world.service().maintain().await.expect("a run");
    assert_ne!(world.read().resealing().await.unwrap(), settled, "a day later it is");

    // A process that was not started anew yet seals under the old version, and does not move the others' work back.
    reseal(&world).await;
    let behind = rings(&[2, 1], &[1], &[1]);
    for _ in 0..4 {
        world.service_with(&behind).maintain().await.expect("a run");
    }
    all_under(&state(&world), 2);
    world.rings = behind;
    world
        .run(&Do::ChangeKey(cast.held.id, json!({"name": "by the old process"}), None))
        .await
        .expect("edited");
    world.rings = rings(&[1, 2], &[1], &[1]);
    world.run(&Do::Reseal(true)).await.expect("a pass begins, though one was whole a moment ago");
    let last = reseal(&world).await;
    assert_eq!(last["last"]["outdated"], 0);
    all_under(&state(&world), 2);
}

#[tokio::test(start_paused = true)]
async fn what_lies_behind_a_gap_is_waited_for() {
    let mut world = World::new(403).await;
    let app = world.application("shop").await;
    world.fault_at(0, is_batch, Fault::Crash);
    let lost = Do::CreateApplication(json!({"name": "never"}));
    assert!(survive(world.run(&lost)).await.is_none());
    world.heal();
    let held = world.held(&new_key(app, "behind the gap")).await;
    world.rings = rings(&[1, 2], &[1], &[1]);
    for _ in 0..4 {
        let reply = world.run(&Do::Reseal(false)).await.expect("a step").json();
        assert!(reply["last"].is_null(), "it counted without the key: {reply}");
        assert_eq!(reply["pass"]["waiting"], true);
    }
    world.clock.advance_wall(Duration::from_secs(61));
    reseal(&world).await;
    all_under(&state(&world), 2);
    world.rings = rings(&[2], &[1], &[1]);
    assert_eq!(code(&world, &held).await, "VALID");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_lacks_a_page_is_not_taken_for_one_that_ends_there() {
    let mut world = World::new(411).await;
    let cast = cast(&world, 2).await;
    integrate_all(&world, 411).await;
    let page = names::list_page(&lists::keys_of(cast.app), 0);
    let whole = world.kv.values().remove(&page).expect("a page");
    world.kv.tamper(&page, None);
    world.rings = rings(&[1, 2], &[1], &[1]);
    let error = world.run(&Do::Reseal(false)).await.expect_err("keys that nothing leads to");
    assert_eq!(error.code, Code::RecordDamaged);
    let resealing = world.run(&Do::ReadRings).await.expect("figures").json();
    assert_eq!(resealing["resealing"]["settled"], false, "whoever asks must not drop version 1: {resealing}");
    world.kv.tamper(&page, Some(whole));
    reseal(&world).await;
    all_under(&state(&world), 2);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_went_silent_at_one_record_holds_up_no_other() {
    let mut world = World::new(407).await;
    let cast = cast(&world, 5).await;
    world.rings = rings(&[1, 2], &[1], &[1]);
    world
        .kv
        .increment(&names::counter::revision(&names::key(cast.held.id)), 1)
        .await
        .expect("a turn nobody uses");
    // The turns at all others grow old while that one is waited for: they are taken again, not lost.
    world.run(&Do::Reseal(false)).await.expect("one step");
    all_under(&under(&world, &["m:", "a:", "d:"]), 2);
    for held in cast.kept.iter().chain([&cast.held]) {
        let before = tokio::time::Instant::now();
        world.run(&Do::ChangeKey(held.id, json!({"name": "edited"}), None)).await.expect("edited");
        assert!(before.elapsed() < Duration::from_secs(1), "its next writer waits for nobody");
    }
}

#[tokio::test(start_paused = true)]
async fn faults_and_crashes_at_any_call_only_delay_it() {
    let mut struck = 0;
    for fault in
        [Fault::Before, Fault::After, Fault::Twice, Fault::SlowReply(4_000), Fault::Crash, Fault::CrashAfter]
    {
        for nth in (0..160).step_by(11) {
            let seed = 404;
            let mut world = World::new(seed).await;
            let cast = cast(&world, 2).await;
            world.rings = rings(&[1, 2], &[1], &[1]);
            world.kv.take_calls();
            world.fault_at(nth, |_| true, fault);
            for _ in 0..6 {
                let _ = survive(world.service().maintain()).await;
            }
            struck += usize::from(world.kv.take_calls().len() > nth);
            world.heal();
            // A crash can have left a gap in the log, and turns that nobody uses.
            world.clock.advance_wall(Duration::from_secs(61));
            let ended = survive(reseal(&world)).await;
            assert!(ended.is_some(), "{fault:?} at call {nth}");
            all_under(&state(&world), 2);
            world.rings = rings(&[2], &[1], &[1]);
            assert_eq!(code(&world, &cast.held).await, "VALID", "{fault:?} at call {nth}");
            assert_eq!(code(&world, &cast.dead).await, "REVOKED", "{fault:?} at call {nth}");
            world.run(&Do::TakeClaim(cast.ticket.clone())).await.expect("the open claim");
            integrate_all(&world, seed).await;
            check_projections(&world, seed).await;
            check_state(&world, seed).await;
        }
    }
    assert!(struck > 60, "{struck} runs met their fault");
}

#[tokio::test(start_paused = true)]
async fn whoever_races_it_loses_nothing() {
    let mut won = 0;
    for seed in 0..40 {
        let mut world = World::new(500 + seed).await;
        let cast = cast(&world, 1).await;
        world.rings = rings(&[1, 2], &[1], &[1]);
        let rivals = [
            Do::Reseal(false),
            Do::Reseal(false),
            Do::RevokeKey(cast.kept[0].id, "leaked"),
            Do::ChangeKey(cast.held.id, json!({"name": "edited"}), None),
            Do::ChangeApplication(cast.app, json!({"contacts": ["who@example.com"]}), None),
            Do::TakeClaim(cast.ticket.clone()),
        ];
        let schedule = SeededRng::new(seed);
        let mut results = interleave(&world, &rivals, |among| schedule.below(among), None).await;
        let claimed = results.pop().unwrap().expect("claimed").at("/token");
        results.pop().unwrap().expect("the application's edit");
        results.pop().unwrap().expect("the key's edit");
        results.pop().unwrap().expect("a revocation waits for nobody");
        won += results.iter().filter(|result| result.is_ok()).count();
        reseal(&world).await;
        all_under(&state(&world), 2);
        assert_eq!(code(&world, &cast.kept[0]).await, "REVOKED", "seed {seed}");
        assert_eq!(world.code(&claimed, &Demand::default()).await, "VALID", "seed {seed}");
        assert_eq!(code(&world, &cast.held).await, "VALID", "seed {seed}");
        let key = world.run(&Do::ReadKey(cast.held.id)).await.unwrap();
        assert_eq!(key.at("/name"), "edited", "seed {seed}");
        let app = world.run(&Do::ReadApplication(cast.app)).await.unwrap();
        assert_eq!(app.at("/contacts/0"), "who@example.com", "seed {seed}");
        check_state(&world, seed).await;
    }
    assert!(won > 40, "{won} steps of 80 came through");
}

#[tokio::test(start_paused = true)]
async fn keys_keep_their_pepper_and_say_when_it_is_old() {
    let mut world = World::new(405).await;
    let app = world.application("shop").await;
    let old = world.held(&new_key(app, "old")).await;
    let dead = world.held(&new_key(app, "dead")).await;
    world.run(&Do::RevokeKey(dead.id, "leaked")).await.expect("revoked");
    world.rings = rings(&[1], &[1], &[1, 2]);
    let new = world.held(&new_key(app, "new")).await;
    for held in [&old, &new] {
        assert_eq!(code(&world, held).await, "VALID");
    }
    let shown = async |held: &Held| world.run(&Do::ReadKey(held.id)).await.unwrap().json();
    assert_eq!(shown(&old).await["versions"][0]["pepper_outdated"], true);
    assert!(shown(&new).await["versions"][0].get("pepper_outdated").is_none());
    world.run(&Do::Reseal(true)).await.expect("a step");
    reseal(&world).await;
    // Root is on the old one as well; the dead key is not to be rotated.
    assert_eq!(figures(&world, "peppers", "keys").await, BTreeMap::from([(1, 2), (2, 1)]));
    world.rings = rings(&[1], &[1], &[2]);
    assert_eq!(code(&world, &old).await, "ring-version-unknown", "missed, not denied");
    assert_eq!(code(&world, &new).await, "VALID");
}

#[tokio::test(start_paused = true)]
async fn figures_and_steps_have_scopes_of_their_own() {
    let world = World::new(406).await;
    let reader = world.admin(&["rings:read".to_owned()]).await;
    let writer = world.admin(&["rings:write".to_owned()]).await;
    assert!(world.run_as(&reader.token, &Do::ReadRings).await.is_ok());
    assert!(world.run_as(&writer.token, &Do::Reseal(false)).await.is_ok());
    for (token, what) in [(&reader.token, Do::Reseal(false)), (&writer.token, Do::ReadRings)] {
        assert_eq!(world.run_as(token, &what).await.expect_err("refused").code, Code::InsufficientScope);
        let event = world.events().await.pop().expect("an event");
        assert_eq!(event.outcome, Outcome::Refused);
    }
    let text = world.run(&Do::ReadRings).await.unwrap().text;
    assert!(!text.contains("key\":\""), "{text}");
}
