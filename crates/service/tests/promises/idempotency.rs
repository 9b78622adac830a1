//! One Idempotency-Key, one effect, one answer: twice, ten times at once, after a lost answer, and with another body.

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
                let replies: Vec<Reply> =
                    replies.into_iter().map(|reply| reply.expect("an answer")).collect();
                assert!(replies.iter().all(|reply| reply.text == replies[0].text), "{what:?}");
                assert_eq!(replies.iter().filter(|reply| !reply.replayed).count(), 1, "{what:?}");
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
                let again = world.run_once("once", &what).await;
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
