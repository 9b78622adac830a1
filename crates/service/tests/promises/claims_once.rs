//! A claim is the right to have one secret minted, once: raced, repeated, late, replaced, stolen.

use crate::world::{Do, World, is_batch, new_key};
use futures::future::join_all;
use keyward_domain::Code;
use keyward_domain::event::{Action, ActorKind, Outcome};
use keyward_ledger::memory::{Call, Fault};
use keyward_verify::Demand;
use std::time::Duration;

async fn alarms(world: &World) -> usize {
    let events = world.events().await;
    events.iter().filter(|e| e.outcome == Outcome::Alarm && e.action == Action::ClaimReplayed).count()
}

#[tokio::test(start_paused = true)]
async fn raced_by_ten_it_has_one_winner_nine_refusals_and_one_alarm() {
    for slow_ms in [0, 3, 500] {
        let world = World::new(20).await;
        let app = world.application("shop").await;
        let (id, ticket) = world.issue(&new_key(app, "k")).await;
        world.kv.plan(move |call| if is_batch(call) { Fault::Slow(slow_ms) } else { Fault::None });
        let what = Do::TakeClaim(ticket);
        let results = join_all((0..10).map(|_| world.run(&what))).await;
        let won: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!(won.len(), 1);
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            assert_eq!((error.code, error.code.status()), (Code::ClaimTaken, 410));
        }
        assert_eq!(alarms(&world).await, 1);
        // Whoever comes later is refused, without another alarm.
        assert_eq!(world.run(&what).await.err().map(|e| e.code), Some(Code::ClaimTaken));
        let events = world.events().await;
        let alarm = events.iter().find(|e| e.outcome == Outcome::Alarm).expect("an alarm");
        assert_eq!((alarm.target.application, alarm.target.key), (Some(app), Some(id)));
        assert_eq!(alarm.actor.kind, ActorKind::Holder);
        assert_eq!(alarms(&world).await, 1);
        assert_eq!(world.code(&won[0].at("/token"), &Demand::default()).await, "VALID");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thief_raises_the_alarm_even_after_the_holder_asked_twice_at_once() {
    let world = World::new(21).await;
    let app = world.application("shop").await;
    let (_, ticket) = world.issue(&new_key(app, "k")).await;
    let what = Do::TakeClaim(ticket);
    world.kv.plan(|call| if is_batch(call) { Fault::Slow(50) } else { Fault::None });
    let twins = join_all((0..3).map(|_| world.run_once("once", &what))).await;
    assert_eq!(twins.iter().filter(|twin| twin.is_ok()).count(), 1);
    assert!(twins.iter().flat_map(|twin| twin.as_ref().err()).all(|e| e.code == Code::IdempotencyInFlight));
    world.run_until_ended("once", &what).await.expect("the same answer");
    assert_eq!(alarms(&world).await, 0, "the same request, repeated, is nobody's theft");
    assert_eq!(world.run(&what).await.err().map(|e| e.code), Some(Code::ClaimTaken));
    assert_eq!(alarms(&world).await, 1);
}

#[tokio::test(start_paused = true)]
async fn late_replaced_or_revoked_it_is_gone() {
    let world = World::new(22).await;
    let app = world.application("shop").await;
    let (_, late) = world.issue(&new_key(app, "late")).await;
    tokio::time::advance(Duration::from_secs(15 * 60)).await;
    let (replaced, old) = world.issue(&new_key(app, "replaced")).await;
    let new = world.run(&Do::Reissue(replaced)).await.expect("reissued").at("/claim/ticket");
    let (revoked, dead) = world.issue(&new_key(app, "revoked")).await;
    world.run(&Do::RevokeKey(revoked, "x")).await.expect("revoked");
    for ticket in [late, old, dead] {
        let error = world.run(&Do::TakeClaim(ticket)).await.expect_err("gone");
        assert_eq!((error.code, error.code.status()), (Code::ClaimGone, 410));
    }
    world.run(&Do::TakeClaim(new)).await.expect("the new one is open");
    assert_eq!(world.run(&Do::Reissue(replaced)).await.err().map(|e| e.code), Some(Code::StateConflict));
    assert_eq!(world.run(&Do::Reissue(revoked)).await.err().map(|e| e.code), Some(Code::Revoked));
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_a_revoked_application_is_gone() {
    let world = World::new(23).await;
    let app = world.application("shop").await;
    let (_, ticket) = world.issue(&new_key(app, "k")).await;
    world.run(&Do::RevokeApplication(app, "leak")).await.expect("revoked");
    assert_eq!(world.run(&Do::TakeClaim(ticket)).await.err().map(|e| e.code), Some(Code::ClaimGone));
}

#[tokio::test(start_paused = true)]
async fn a_lost_place_burns_the_claim_says_so_and_is_mended_by_a_new_one() {
    for fault in [Fault::Before, Fault::After] {
        let world = World::new(24).await;
        let app = world.application("shop").await;
        let (id, ticket) = world.issue(&new_key(app, "k")).await;
        let digest = keyward_crypto::digest::sha256(ticket.as_bytes());
        let claim_bytes = *digest.first_chunk::<16>().expect("32 bytes");
        world.fault_at(0, |call| matches!(call, Call::Increment(key) if key.starts_with("c:q:")), fault);
        let error = world.run(&Do::TakeClaim(ticket.clone())).await.expect_err("no answer");
        world.heal();
        // Whether the place was taken is not known, so nobody may say that nothing was changed.
        assert_eq!(error.code, Code::OutcomeUnknown);
        let again = world.run(&Do::TakeClaim(ticket)).await;
        assert_eq!(again.is_ok(), fault == Fault::Before);
        let claim = keyward_domain::ClaimId::from_bytes(claim_bytes);
        let shown = serde_json::to_value(world.service().claim(claim).await.expect("there")).expect("JSON");
        assert_eq!(shown["state"], "taken", "a burnt claim is not shown as open");
        if again.is_err() {
            let ticket = world.run(&Do::Reissue(id)).await.expect("reissued").at("/claim/ticket");
            world.run(&Do::TakeClaim(ticket)).await.expect("the new claim");
        }
        let events = world.events().await;
        assert_eq!(events.iter().filter(|e| e.action == Action::ClaimTaken).count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_ticket_is_told_apart_from_an_unknown_one() {
    let world = World::new(25).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let (_, ticket) = world.issue(&new_key(app, "l")).await;
    let unknown =
        keyward_domain::token::render("kwc", keyward_domain::key::Environment::Live, &[1; 16], 1, &[2; 32]);
    let table = [
        (String::new(), Code::InvalidField),
        (ticket[..ticket.len() - 1].to_owned(), Code::InvalidField),
        (held.token, Code::InvalidField),
        (unknown, Code::NotFound),
    ];
    for (text, expected) in table {
        let error = world.run(&Do::TakeClaim(text.clone())).await.expect_err("refused");
        assert_eq!(error.code, expected);
        assert!(text.is_empty() || !format!("{error} {error:?}").contains(&text));
    }
}
