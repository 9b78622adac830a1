//! A client that renews itself is never refused; a renewal token works once, and what comes twice is an alarm and a stop.

use crate::revocation_races::interleave;
use crate::world::{Do, World, new_key};
use keyward_domain::Code;
use keyward_domain::event::{Action, ActorKind, Event, Outcome};
use keyward_ledger::memory::Fault;
use keyward_verify::Demand;
use serde_json::json;
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

async fn passes(world: &World, token: &str) -> &'static str {
    world.code(token, &Demand::default()).await
}

async fn code(world: &World, what: &Do) -> Option<Code> {
    world.run(what).await.err().map(|error| error.code)
}

async fn alarms(world: &World) -> Vec<Event> {
    let events = world.events().await.into_iter();
    events.filter(|e| e.action == Action::RenewalReplayed && e.outcome == Outcome::Alarm).collect()
}

#[tokio::test(start_paused = true)]
async fn a_hundred_times_in_turn_no_token_is_refused_while_it_is_in_use() {
    let world = World::new(720).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let (mut token, mut renewal) = (held.token, held.renewal);
    for round in 2..=101 {
        let renewed = world.run(&Do::Renew(renewal)).await.expect("renewed");
        assert_eq!(renewed.at("/key/version"), round.to_string());
        let next = renewed.at("/token");
        for token in [&token, &next] {
            assert_eq!(passes(&world, token).await, "VALID", "round {round}");
        }
        tokio::time::advance(GRACE).await;
        assert_eq!(passes(&world, &token).await, "EXPIRED", "round {round}");
        assert_eq!(passes(&world, &next).await, "VALID", "round {round}");
        (token, renewal) = (next, renewed.at("/renewal_token"));
    }
    let key = world.read().key(held.id).await.unwrap().expect("the key");
    assert_eq!(key.versions.len(), 2, "what is dead for longer is forgotten");
    assert_eq!(alarms(&world).await, []);
}

#[tokio::test(start_paused = true)]
async fn used_twice_it_is_an_alarm_and_a_stop_and_both_versions_stay() {
    let world = World::new(721).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let renewed = world.run(&Do::Renew(held.renewal.clone())).await.expect("renewed");
    for _ in 0..3 {
        let error = world.run(&Do::Renew(held.renewal.clone())).await.expect_err("used");
        assert_eq!((error.code, error.code.status()), (Code::RenewalUsed, 410));
    }
    let raised = alarms(&world).await;
    assert_eq!(raised.len(), 1);
    assert_eq!((raised[0].target.key, raised[0].actor.kind), (Some(held.id), ActorKind::Holder));
    for token in [&held.token, &renewed.at("/token")] {
        assert_eq!(passes(&world, token).await, "VALID");
    }
    tokio::time::advance(GRACE).await;
    assert_eq!(
        code(&world, &Do::Renew(renewed.at("/renewal_token"))).await,
        Some(Code::RenewalGone),
        "stopped"
    );
    // An admin decides: the next claim brings the next renewal token.
    let ticket =
        world.run(&Do::Rotate(held.id, json!({"reason": "x"}))).await.expect("offered").at("/claim/ticket");
    let claimed = world.run(&Do::TakeClaim(ticket)).await.expect("claimed");
    tokio::time::advance(GRACE).await;
    world.run(&Do::Renew(claimed.at("/renewal_token"))).await.expect("renewed");
}

#[tokio::test(start_paused = true)]
async fn used_twice_it_is_an_incident_where_the_policy_says_so() {
    let world = World::new(726).await;
    let app = world.application("shop").await;
    let policy = world.policy(&json!({ "on_renewal_reuse": "incident" })).await;
    let mut new = new_key(app, "k");
    new["policy"] = json!(policy);
    let held = world.held(&new).await;
    let renewed = world.run(&Do::Renew(held.renewal.clone())).await.expect("renewed");
    for _ in 0..2 {
        assert_eq!(code(&world, &Do::Renew(held.renewal.clone())).await, Some(Code::RenewalUsed));
    }
    assert_eq!(alarms(&world).await.len(), 1);
    for token in [&held.token, &renewed.at("/token")] {
        assert_eq!(passes(&world, token).await, "REVOKED", "every version is dead, at once");
    }
    assert_eq!(code(&world, &Do::Renew(renewed.at("/renewal_token"))).await, Some(Code::RenewalGone));
    let shown = world.run(&Do::ReadKey(held.id)).await.expect("shown");
    assert_eq!(
        (shown.at("/rotation/state"), shown.at("/rotation/mode"), shown.at("/rotation/successor")),
        ("offered".to_owned(), "incident".to_owned(), "3".to_owned())
    );
    // Whoever an admin hands the claim to has the key again.
    let ticket = world.run(&Do::Reissue(held.id)).await.expect("a claim").at("/claim/ticket");
    let claimed = world.run(&Do::TakeClaim(ticket)).await.expect("claimed");
    assert_eq!(passes(&world, &claimed.at("/token")).await, "VALID");
    for token in [&held.token, &renewed.at("/token")] {
        assert_eq!(passes(&world, token).await, "REVOKED");
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_may_not_allow_it() {
    let world = World::new(727).await;
    let app = world.application("shop").await;
    let before = world.held(&new_key(app, "before")).await;
    let policy = world.policy(&json!({ "self_renewal": false })).await;
    let change = Do::ChangeApplication(app, json!({ "policy": policy }), None);
    world.run(&change).await.expect("given");
    assert_eq!(world.held(&new_key(app, "after")).await.renewal, "");
    let error = world.run(&Do::Renew(before.renewal.clone())).await.expect_err("not any more");
    assert_eq!(error.code, Code::RenewalGone);
    world.run(&Do::ChangePolicy(policy, json!({ "self_renewal": true }), None)).await.expect("changed");
    world.run(&Do::Renew(before.renewal)).await.expect("allowed again");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_had_again_for_a_day() {
    let world = World::new(722).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let renew = Do::Renew(held.renewal);
    let first = world.run_once("mine", &renew).await.expect("renewed");
    tokio::time::advance(Duration::from_secs(23 * 3600)).await;
    let again = world.run_once("mine", &renew).await.expect("the same");
    assert!(again.replayed && again.text == first.text);
    assert_eq!(alarms(&world).await, []);
    tokio::time::advance(Duration::from_secs(2 * 3600)).await;
    assert_eq!(world.run_once("mine", &renew).await.err().map(|e| e.code), Some(Code::RenewalUsed));
}

#[tokio::test(start_paused = true)]
async fn refused_for_the_moment_it_is_not_used_up() {
    let world = World::new(723).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let renewed = world.run(&Do::Renew(held.renewal)).await.expect("renewed");
    let next = Do::Renew(renewed.at("/renewal_token"));
    let error = world.run(&next).await.expect_err("the grace of the first is not over");
    assert_eq!(error.code, Code::StateConflict);
    let wait_s = u64::from(error.retry_after_s.expect("when to come back"));
    world.run(&Do::Freeze("x")).await.expect("frozen");
    tokio::time::advance(Duration::from_secs(wait_s)).await;
    assert_eq!(code(&world, &next).await, Some(Code::IssuingFrozen));
    world.run(&Do::Thaw("x")).await.expect("thawed");
    assert_eq!(world.run(&next).await.expect("renewed").at("/key/version"), "3");
}

#[tokio::test(start_paused = true)]
async fn it_takes_the_successor_that_is_offered() {
    let world = World::new(724).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let offered =
        world.run(&Do::Rotate(held.id, json!({"reason": "due", "grace_s": 60}))).await.expect("offered");
    let renewed = world.run(&Do::Renew(held.renewal)).await.expect("renewed");
    assert_eq!(renewed.at("/key/version"), "2");
    assert_eq!(code(&world, &Do::TakeClaim(offered.at("/claim/ticket"))).await, Some(Code::ClaimTaken));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(passes(&world, &held.token).await, "EXPIRED", "the grace that was offered");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_renewal_token_or_was_given_up_raises_no_alarm() {
    let world = World::new(725).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    for no in [&held.token, "x", ""] {
        assert_eq!(code(&world, &Do::Renew(no.to_owned())).await, Some(Code::InvalidField));
    }
    let forged = keyward_domain::token::render(
        "kwr",
        keyward_domain::key::Environment::Live,
        held.id.as_bytes(),
        1,
        &[7; 32],
    );
    assert_eq!(code(&world, &Do::Renew(forged)).await, Some(Code::NotFound));
    // An admin's claim brings a new one, and the old one holds no longer.
    let ticket =
        world.run(&Do::Rotate(held.id, json!({"reason": "x"}))).await.expect("offered").at("/claim/ticket");
    world.run(&Do::TakeClaim(ticket)).await.expect("claimed");
    assert_eq!(code(&world, &Do::Renew(held.renewal)).await, Some(Code::RenewalGone));
    let admin = world.admin(&["keys:read".to_owned()]).await;
    assert_eq!(admin.renewal, "", "who administers is decided by people");
    assert_eq!(alarms(&world).await, []);
}

#[tokio::test(start_paused = true)]
async fn raced_by_many_it_mints_once() {
    for seed in 0..40 {
        let world = World::new(7300 + seed).await;
        let app = world.application("shop").await;
        let held = world.held(&new_key(app, "k")).await;
        let what = vec![Do::Renew(held.renewal.clone()); 4];
        let ended = interleave(&world, &what, |awake| world.rng.below(awake), None).await;
        let won: Vec<_> = ended.iter().filter_map(|reply| reply.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "seed {seed}: {ended:?}");
        let lost = ended.iter().filter_map(|reply| reply.as_ref().err());
        assert!(lost.into_iter().all(|error| error.code == Code::RenewalUsed), "seed {seed}: {ended:?}");
        assert_eq!(passes(&world, &won[0].at("/token")).await, "VALID");
        assert_eq!(passes(&world, &held.token).await, "VALID");
        assert_eq!(alarms(&world).await.len(), 1, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn dying_at_any_call_it_is_done_or_not_and_can_be_repeated() {
    for fault in [Fault::Crash, Fault::CrashAfter] {
        for nth in 0.. {
            let world = World::new(7400).await;
            let app = world.application("shop").await;
            let held = world.held(&new_key(app, "k")).await;
            let renew = Do::Renew(held.renewal);
            world.kv.take_calls();
            world.fault_at(nth, |_| true, fault);
            let caller = world.holder(Some("mine"));
            let ended = crate::world::survive(crate::world::perform(&world.service(), caller, &renew)).await;
            world.heal();
            if ended.is_some() {
                assert!(nth > 5, "{nth} calls");
                break;
            }
            let renewed = world.run_until_ended("mine", &renew).await.expect("repeated");
            for token in [&held.token, &renewed.at("/token")] {
                assert_eq!(passes(&world, token).await, "VALID", "call {nth}");
            }
            assert_eq!(alarms(&world).await, [], "call {nth}");
        }
    }
}
