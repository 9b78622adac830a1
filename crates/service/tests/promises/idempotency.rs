//! One Idempotency-Key, one effect, one answer: twice, ten times at once, after a lost answer or a crash, and with another body.
//! While the first request has not ended, the others are sent away.

use crate::world::{Do, Reply, Which, World, is_batch, is_ticket, new_key, perform};
use futures::future::join_all;
use keyward_domain::event::{Action, Outcome};
use keyward_domain::{ApplicationId, Code};
use keyward_ledger::memory::Fault;
use serde_json::json;
use std::time::Duration;

/// The use cases that take an Idempotency-Key, ready to be run in a fresh world, and the action of their effect.
async fn creating(world: &World) -> Vec<(Do, Action)> {
    let app = world.application("shop").await;
    let (unclaimed, _) = world.issue(&new_key(app, "unclaimed")).await;
    let (_, ticket) = world.issue(&new_key(app, "to claim")).await;
    vec![
        (Do::CreateApplication(json!({"name": "new"})), Action::ApplicationCreated),
        (Do::Issue(new_key(app, "new")), Action::KeyIssued),
        (Do::Reissue(unclaimed), Action::ClaimReissued),
        (Do::TakeClaim(ticket), Action::ClaimTaken),
    ]
}

async fn done(world: &World, action: Action) -> usize {
    let events = world.events().await;
    events.iter().filter(|event| event.action == action && event.outcome == Outcome::Done).count()
}

#[tokio::test(start_paused = true)]
async fn one_key_at_once_has_one_effect_and_one_answer() {
    for case in 0..4 {
        for at_once in [2, 10] {
            for slow_ms in [0, 7, 400] {
                let world = World::new(10).await;
                let (what, action) = creating(&world).await.swap_remove(case);
                let before = done(&world, action).await;
                world.kv.plan(move |call| if is_batch(call) { Fault::Slow(slow_ms) } else { Fault::None });
                let replies = join_all((0..at_once).map(|_| world.run_once("once", &what))).await;
                world.heal();
                let (ended, in_flight): (Vec<_>, Vec<_>) = replies.into_iter().partition(Result::is_ok);
                let replies: Vec<Reply> = ended.into_iter().flatten().collect();
                assert!(replies.iter().all(|reply| reply.text == replies[0].text), "{what:?}");
                assert_eq!(replies.iter().filter(|reply| !reply.replayed).count(), 1, "{what:?}");
                for reply in in_flight {
                    assert_eq!(reply.err().map(|error| error.code), Some(Code::IdempotencyInFlight));
                }
                assert_eq!(done(&world, action).await, before + 1, "{what:?}");
                // And later, as often as one likes.
                let again = world.run_once("once", &what).await.expect("an answer");
                assert_eq!((again.text, again.replayed), (replies[0].text.clone(), true), "{what:?}");
                // Without the key, or with another, it is another request.
                assert_eq!(done(&world, action).await, before + 1, "{what:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_had_again() {
    // The nth ticket or batch does not answer, before or after it was done.
    let calls: [(&str, Which); 2] = [("ticket", is_ticket), ("batch", is_batch)];
    for case in 0..4 {
        for (name, which) in calls {
            for fault in [Fault::Before, Fault::After, Fault::Twice] {
                let world = World::new(11).await;
                let (what, action) = creating(&world).await.swap_remove(case);
                let before = done(&world, action).await;
                world.fault_at(0, which, fault);
                let first = world.run_once("once", &what).await;
                world.heal();
                if let Err(error) = &first {
                    assert_eq!(error.code.status(), 503, "{what:?} {name} {fault:?}");
                    assert!(matches!(error.code, Code::OutcomeUnknown | Code::StoreUnavailable));
                    // Nothing was done where the store did not do it, and it is said.
                    assert_eq!((name, fault), ("batch", Fault::Before), "{what:?}");
                }
                let again = world.run_until_ended("once", &what).await;
                if matches!(what, Do::TakeClaim(_)) && first.is_err() {
                    // A claim that was won and not written is burnt: never a secret minted twice.
                    assert_eq!(again.err().map(|error| error.code), Some(Code::ClaimTaken));
                    assert_eq!(done(&world, action).await, before);
                    continue;
                }
                let again = again.expect("an answer");
                if let Ok(first) = first {
                    assert_eq!((first.text, again.replayed), (again.text, true), "{what:?} {name} {fault:?}");
                }
                assert_eq!(done(&world, action).await, before + 1, "{what:?} {name} {fault:?}");
            }
        }
    }
}

/// Runs `what` in a process that dies at the first call that `which` picks.
async fn dies(world: &World, what: &Do, which: Which) {
    let mut is_dead = false;
    world.kv.plan(move |call| {
        is_dead |= which(call);
        if is_dead { Fault::Crash } else { Fault::None }
    });
    let caller = match what {
        Do::TakeClaim(_) => world.holder(Some("once")),
        _ => world.caller_with(&world.root, Some("once")).await,
    };
    let service = world.service();
    let ended = tokio::time::timeout(Duration::ZERO, perform(&service, caller, what)).await;
    assert!(ended.is_err(), "it died: {what:?}");
    world.heal();
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_one_of_those_who_come_later_executes() {
    for case in 0..4 {
        let world = World::new(17).await;
        let (what, action) = creating(&world).await.swap_remove(case);
        let before = done(&world, action).await;
        let code = async || world.run_once("once", &what).await.map_err(|error| error.code);
        dies(&world, &what, is_ticket).await;
        assert_eq!(code().await, Err(Code::IdempotencyInFlight), "{what:?}");
        tokio::time::advance(Duration::from_millis(4_900)).await;
        assert_eq!(code().await, Err(Code::IdempotencyInFlight), "{what:?}");
        // It dies once more, at its own place; and then ten come at once.
        tokio::time::advance(Duration::from_secs(10)).await;
        if !matches!(what, Do::TakeClaim(_)) {
            dies(&world, &what, is_batch).await;
            assert_eq!(code().await, Err(Code::IdempotencyInFlight), "{what:?}");
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        let replies = join_all((0..10).map(|_| code())).await;
        if matches!(what, Do::TakeClaim(_)) {
            // Burnt: never a secret minted twice.
            assert_eq!(replies.iter().filter(|reply| **reply == Err(Code::ClaimTaken)).count(), 1);
            assert_eq!(done(&world, action).await, before);
            continue;
        }
        let fresh = replies.iter().flatten().filter(|reply| !reply.replayed).count();
        assert_eq!((fresh, done(&world, action).await), (1, before + 1), "{what:?}: {replies:?}");
        assert!(code().await.is_ok_and(|reply| reply.replayed), "{what:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_repeats_each_second_is_through_within_ten() {
    let world = World::new(18).await;
    let app = world.application("shop").await;
    let what = Do::Issue(new_key(app, "k"));
    dies(&world, &what, is_batch).await;
    let started = tokio::time::Instant::now();
    world.run_until_ended("once", &what).await.expect("issued");
    let took = started.elapsed();
    assert!((Duration::from_secs(5)..=Duration::from_secs(10)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_only_slow_does_not_write_beside_its_successor() {
    for slow in [is_ticket as Which, is_batch] {
        let world = World::new(19).await;
        let app = world.application("shop").await;
        let what = Do::Issue(new_key(app, "k"));
        let before = done(&world, Action::KeyIssued).await;
        let mut first = true;
        // Ten seconds for its ticket, or for a batch that the store does not do in the end.
        world.kv.plan(move |call| match slow(call) && std::mem::take(&mut first) {
            true if is_batch(call) => Fault::Crash,
            true => Fault::SlowReply(10_000),
            false => Fault::None,
        });
        let slow =
            async { tokio::time::timeout(Duration::from_secs(20), world.run_once("once", &what)).await };
        let next = async {
            tokio::time::sleep(Duration::from_millis(6_500)).await;
            world.run_once("once", &what).await
        };
        let (slow, next) = futures::join!(slow, next);
        assert!(!next.expect("executed").replayed);
        if let Ok(ended) = slow {
            assert_eq!(ended.err().map(|error| error.code.status()), Some(503));
        }
        assert_eq!(done(&world, Action::KeyIssued).await, before + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_steps_back_lets_nobody_in_early() {
    let world = World::new(20).await;
    let app = world.application("shop").await;
    let what = Do::Issue(new_key(app, "k"));
    dies(&world, &what, is_batch).await;
    world.clock.step_wall_ms(-3_600_000);
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(600)).await;
        let error = world.run_once("once", &what).await.expect_err("in flight");
        assert_eq!(error.code, Code::IdempotencyInFlight);
    }
    tokio::time::advance(Duration::from_secs(7_200)).await;
    world.run_once("once", &what).await.expect("issued");
}

#[tokio::test(start_paused = true)]
async fn another_body_under_the_same_key_is_422() {
    let world = World::new(12).await;
    let app = world.application("shop").await;
    world.run_once("once", &Do::Issue(new_key(app, "a"))).await.expect("issued");
    let error = world.run_once("once", &Do::Issue(new_key(app, "b"))).await.expect_err("refused");
    assert_eq!((error.code, error.code.status()), (Code::IdempotencyMismatch, 422));
    // Refused as an administrative call is: with an event.
    let last = world.events().await.pop().expect("an event");
    assert_eq!((last.outcome, last.reason.as_deref()), (Outcome::Refused, Some("idempotency-mismatch")));
    // The same key on another route, of another admin, or another key here, is another request.
    world.run_once("once", &Do::CreateApplication(json!({"name": "b"}))).await.expect("another route");
    world.run_once("twice", &Do::Issue(new_key(app, "b"))).await.expect("another key");
    let admin = world.admin(&["keys:write".to_owned()]).await;
    let caller = world.caller_with(&admin.token, Some("once")).await;
    let reply =
        perform(&world.service(), caller, &Do::Issue(new_key(app, "b"))).await.expect("another admin");
    assert!(!reply.replayed);
}

#[tokio::test(start_paused = true)]
async fn a_refused_attempt_does_not_stand_in_the_way_of_a_corrected_one() {
    let world = World::new(13).await;
    let started = tokio::time::Instant::now();
    let absent = ApplicationId::from_bytes([9; 16]);
    let error = world.run_once("once", &Do::Issue(new_key(absent, "a"))).await.expect_err("refused");
    assert_eq!(error.code, Code::NotFound);
    let error = world.run_once("twice", &Do::CreateApplication(json!({"name": "keyward"}))).await.err();
    assert_eq!(error.map(|error| error.code), Some(Code::NameTaken));
    let app = world.application("shop").await;
    world.run_once("once", &Do::Issue(new_key(app, "a"))).await.expect("corrected");
    world.run_once("twice", &Do::CreateApplication(json!({"name": "other"}))).await.expect("corrected");
    assert!(started.elapsed() < Duration::from_millis(100), "nobody waited: {:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_claims_answer_is_had_again_for_60_s_and_then_not() {
    let world = World::new(14).await;
    let app = world.application("shop").await;
    let (_, ticket) = world.issue(&new_key(app, "k")).await;
    let what = Do::TakeClaim(ticket);
    let first = world.run_once("once", &what).await.expect("a token");
    tokio::time::advance(Duration::from_millis(59_999)).await;
    let again = world.run_once("once", &what).await.expect("again");
    assert_eq!((again.replayed, again.text), (true, first.text));
    assert_eq!(world.run_once("other", &what).await.err().map(|e| e.code), Some(Code::ClaimTaken));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(world.run_once("once", &what).await.err().map(|e| e.code), Some(Code::ClaimTaken));
}

#[tokio::test(start_paused = true)]
async fn two_holders_who_chose_the_same_key_do_not_meet() {
    let world = World::new(15).await;
    let app = world.application("shop").await;
    let (_, one) = world.issue(&new_key(app, "one")).await;
    let (_, two) = world.issue(&new_key(app, "two")).await;
    let first = world.run_once("1", &Do::TakeClaim(one.clone())).await.expect("a token");
    let second = world.run_once("1", &Do::TakeClaim(two.clone())).await.expect("another token");
    assert_ne!(first.at("/token"), second.at("/token"));
    assert_eq!(world.run_once("1", &Do::TakeClaim(one)).await.expect("again").text, first.text);
    assert_eq!(world.run_once("1", &Do::TakeClaim(two)).await.expect("again").text, second.text);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_opens_only_with_its_idempotency_key() {
    let world = World::new(16).await;
    let app = world.application("shop").await;
    let values = world.kv.values();
    world.run_once("once", &Do::Issue(new_key(app, "k"))).await.expect("issued");
    let fresh: Vec<String> = world
        .kv
        .values()
        .into_keys()
        .filter(|key| key.starts_with("y:") && !values.contains_key(key))
        .collect();
    let [outcome] = fresh.as_slice() else { panic!("{fresh:?}") };
    let sealed = world.kv.values().remove(outcome).expect("there");
    let domain = keyward_crypto::Domain::Outcome;
    assert!(world.rings.records.open(domain, outcome, &sealed).is_err());
    assert!(world.rings.records.open_bound(domain, outcome, b"other", &sealed).is_err());
    assert!(world.rings.records.open_bound(domain, outcome, b"once", &sealed).is_ok());
}
