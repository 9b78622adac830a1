//! Projections follow from the log: after any history, with faults, crashes, voids, and any number of integrators at once.

use crate::history::{History, check_projections, check_state, integrate_all};
use crate::world::{Do, SeededRng, World, is_batch, new_key, survive};
use futures::future::{join, join_all};
use keyward_domain::event::EventId;
use keyward_ledger::memory::{Call, Fault};
use keyward_records::names;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Some events, and as many tickets without one after them.
async fn with_gaps(world: &World, gaps: usize) {
    let app = world.application("shop").await;
    for _ in 0..gaps {
        world.fault_at(0, is_batch, Fault::Crash);
        assert!(survive_briefly(world.run(&Do::Issue(new_key(app, "lost")))).await.is_none());
        world.heal();
    }
}

/// As `survive`, in a second.
async fn survive_briefly<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(1), work).await.ok()
}

#[tokio::test(start_paused = true)]
async fn they_agree_with_the_log_after_any_history() {
    for seed in 0..12 {
        let world = World::new(seed).await;
        let rng = SeededRng::new(seed ^ 0x9e);
        let mut history = History::default();
        for step in 0..60 {
            if step % 7 == 3 {
                // A process dies at one of its next calls, or a call fails.
                let fault = *rng.one_of(&[
                    Fault::Crash,
                    Fault::CrashAfter,
                    Fault::Before,
                    Fault::After,
                    Fault::Twice,
                ]);
                world.fault_at(rng.below(12), |_| true, fault);
                let what = history.choose(&rng);
                let caller = survive(world.verify(&world.root, &Default::default())).await;
                if matches!(caller, Some(Ok(_))) {
                    let ended = survive(run_if_possible(&world, &what)).await.flatten();
                    history.note(&what, &ended);
                }
                world.heal();
            } else {
                history.step(&world, &rng).await;
            }
            if step % 5 == 0 {
                let _ = survive(world.ledger().integrate(2)).await;
            }
        }
        check_projections(&world, seed).await;
        integrate_all(&world, seed).await;
        check_projections(&world, seed).await;
        check_state(&world, seed).await;
        // Doing it again changes nothing.
        let before = world.kv.values();
        world.ledger().integrate(8).await.expect("nothing to do");
        assert_eq!(world.kv.values(), before, "seed {seed}");
    }
}

/// The call; `None` where the admin could not even be authenticated.
async fn run_if_possible(world: &World, what: &Do) -> crate::history::Ended {
    let caller = match what {
        Do::TakeClaim(_) | Do::Report(_) | Do::Renew(_) => world.holder(None),
        _ => world.try_caller(&world.root, None).await?,
    };
    Some(crate::world::perform(&world.service(), caller, what).await)
}

#[tokio::test(start_paused = true)]
async fn many_integrators_at_once_do_the_work_of_one() {
    for slow_ms in [0, 5, 700] {
        let world = World::new(71).await;
        let app = world.application("shop").await;
        for n in 0..300 {
            world.issue(&new_key(app, &format!("k{n}"))).await;
        }
        world.kv.take_calls();
        world.kv.plan(move |call| if is_batch(call) { Fault::Slow(slow_ms) } else { Fault::None });
        let ledgers: Vec<_> = (0..5).map(|_| world.ledger()).collect();
        let all = join_all(ledgers.iter().map(|ledger| ledger.integrate(16))).await;
        let calls = world.kv.take_calls();
        world.heal();
        assert!(all.iter().any(|progress| progress.as_ref().is_ok_and(|p| p.size == p.taken)));
        check_projections(&world, 71).await;
        let batches = calls.iter().filter(|call| is_batch(call)).count();
        assert_eq!(batches, 3, "302 events are three batches of 128, whoever writes them");
    }
}

#[tokio::test(start_paused = true)]
async fn an_integrator_that_died_is_taken_over() {
    for n in 0..60 {
        for fault in [Fault::Crash, Fault::CrashAfter] {
            let world = World::new(72).await;
            let app = world.application("shop").await;
            for n in 0..3 {
                world.issue(&new_key(app, &format!("k{n}"))).await;
            }
            world.fault_at(n, |_| true, fault);
            let died = survive_briefly(world.ledger().integrate(4)).await.is_none();
            world.heal();
            let started = tokio::time::Instant::now();
            let progress = world.ledger().integrate(4).await.expect("takes over");
            assert_eq!(progress.size, progress.taken, "call {n}");
            assert!(started.elapsed() <= Duration::from_millis(2_100), "call {n}: {:?}", started.elapsed());
            check_projections(&world, 72).await;
            if !died {
                return;
            }
        }
    }
    panic!("the integrator makes more calls than this test looked at");
}

#[tokio::test(start_paused = true)]
async fn a_late_integrator_does_no_harm() {
    // It holds its batch back while two others go on, each with new events; then its batch arrives.
    for held_back_ms in [2_500, 5_000, 30_000] {
        let world = World::new(73).await;
        let app = world.application("shop").await;
        for n in 0..200 {
            world.issue(&new_key(app, &format!("k{n}"))).await;
        }
        world.fault_at(0, is_batch, Fault::Slow(held_back_ms));
        let ledger = world.ledger();
        let (_, ()) = join(ledger.integrate(1), async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            for n in 0..200 {
                world.issue(&new_key(app, &format!("l{n}"))).await;
                if n % 50 == 0 {
                    world.ledger().integrate(8).await.expect("goes on");
                }
            }
        })
        .await;
        integrate_all(&world, 73).await;
        check_projections(&world, 73).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_ticket_without_event_is_void_after_60_s() {
    let world = World::new(74).await;
    with_gaps(&world, 1).await;
    let lost = world.ledger().last_ticket().await.unwrap();
    let app = world.application("next").await;
    let first_seen = world.ledger().integrate(8).await.expect("integrates");
    assert_eq!(first_seen.size, lost.seq - 1);
    tokio::time::advance(Duration::from_millis(59_900)).await;
    assert_eq!(world.ledger().integrate(8).await.expect("integrates").size, lost.seq - 1);
    assert!(world.read().void(lost).await.unwrap().is_none());
    // Lists show what came after the gap all the while.
    let listed = world.run(&Do::ListApplications).await.expect("a list").json();
    assert_eq!(listed["items"][0]["id"], app.to_string());
    tokio::time::advance(Duration::from_millis(200)).await;
    let started = tokio::time::Instant::now();
    let done = world.ledger().integrate(8).await.expect("integrates");
    assert_eq!(done.size, done.taken);
    assert_eq!(started.elapsed(), Duration::ZERO, "nobody else was at work");
    let void = world.read().void(lost).await.unwrap().expect("a void");
    assert_eq!(void.id, lost);
    assert!(world.read().event(lost).await.unwrap().is_none());
    check_projections(&world, 74).await;
}

#[tokio::test(start_paused = true)]
async fn tickets_lost_together_are_void_together() {
    // A store that was down for a moment leaves many: one wait is enough for all that were taken by then.
    let world = World::new(75).await;
    with_gaps(&world, 20).await;
    world.application("next").await;
    world.ledger().integrate(8).await.expect("integrates");
    tokio::time::advance(Duration::from_secs(60)).await;
    let done = world.ledger().integrate(8).await.expect("integrates");
    assert_eq!(done.size, done.taken);
    let voids = world.kv.values().keys().filter(|key| key.starts_with("v:")).count();
    assert_eq!(voids, 20);
    check_projections(&world, 75).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_in_time_is_no_void() {
    let world = World::new(76).await;
    let app = world.application("shop").await;
    world.ledger().integrate(8).await.expect("is at the end");
    world.fault_at(0, is_batch, Fault::Slow(2_000));
    let what = Do::Issue(new_key(app, "slow"));
    let (issued, ()) = join(world.run(&what), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let started = tokio::time::Instant::now();
        let (one, two) = (world.ledger(), world.ledger());
        let (one, two) = join(one.integrate(8), two.integrate(8)).await;
        one.and(two).expect("stop at the gap");
        assert_eq!(started.elapsed(), Duration::ZERO, "there is nothing to wait for");
    })
    .await;
    issued.expect("issued");
    let started = tokio::time::Instant::now();
    let done = world.ledger().integrate(8).await.expect("goes on");
    assert_eq!(done.size, done.taken);
    assert_eq!(started.elapsed(), Duration::ZERO, "a gap that is filled makes nobody wait");
    assert!(!world.kv.values().keys().any(|key| key.starts_with("v:")));
    check_projections(&world, 76).await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_event_keeps_its_place_and_stops_nobody() {
    let world = World::new(77).await;
    let app = world.application("shop").await;
    world.issue(&new_key(app, "k")).await;
    let id = EventId { epoch: 1, seq: 2 };
    let mut value = world.kv.values().remove(&names::event(id)).expect("there");
    *value.last_mut().unwrap() ^= 1;
    world.kv.tamper(&names::event(id), Some(value));
    let done = world.ledger().integrate(8).await.expect("goes on");
    assert_eq!(done.size, done.taken);
    let listed = world.run(&Do::ListEvents(None)).await.expect("the others").json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_event_sealed_under_a_ring_version_to_come_stops_the_integrator_until_it_comes() {
    let mut world = World::new(78).await;
    let older = std::mem::replace(&mut world.rings, crate::world::rings(&[1], &[1, 2], &[1]));
    world.application("shop").await;
    let newer = std::mem::replace(&mut world.rings, older);
    let error = world.ledger().integrate(8).await.expect_err("later");
    assert_eq!(error.code.as_str(), "ring-version-unknown");
    world.rings = newer;
    tokio::time::advance(Duration::from_secs(3)).await;
    let done = world.ledger().integrate(8).await.expect("goes on");
    assert_eq!(done.size, done.taken);
    check_projections(&world, 78).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_write_projections_still_lists() {
    let world = World::new(79).await;
    let app = world.application("shop").await;
    world.kv.plan(|call| match call {
        Call::SetMany(_) => Fault::Before,
        Call::Increment(key) if key.starts_with("c:tree") => Fault::Before,
        _ => Fault::None,
    });
    let listed = world.run(&Do::ListApplications).await.expect("a list").json();
    assert_eq!(listed["items"][0]["id"], app.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_comes_again_while_another_integrates_loses_nothing() {
    // It comes with each read in turn: it takes head and lists back together, in the middle of what somebody reads of both.
    for moment in 0.. {
        let world = World::new(74).await;
        let app = world.application("shop").await;
        let before = world.kv.values();
        world.ledger().integrate(4).await.expect("integrates");
        let mut batch = world.kv.values();
        batch.retain(|key, value| before.get(key) != Some(value));
        for n in 0..3 {
            world.issue(&new_key(app, &format!("k{n}"))).await;
        }
        world.ledger().integrate(4).await.expect("integrates");
        world.issue(&new_key(app, "last")).await;

        let (echo, came) = (world.kv.connect(world.clock.clone()), Rc::new(Cell::new(false)));
        let (mut reads, comes) = (0, Rc::clone(&came));
        world.kv.plan(move |call| {
            if matches!(call, Call::Get(_)) {
                if reads == moment {
                    batch.iter().for_each(|(key, value)| echo.tamper(key, Some(value.clone())));
                    comes.set(true);
                }
                reads += 1;
            }
            Fault::None
        });
        // It may also see that what it read does not fit, and stop.
        drop(world.ledger().integrate(1).await);
        world.heal();
        integrate_all(&world, 74).await;
        check_projections(&world, 74).await;
        if !came.get() {
            assert!(moment > 10, "{moment} reads");
            return;
        }
    }
}
