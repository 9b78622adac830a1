//! A rotation cuts nobody off who keeps to it: the grace begins with the claim, ends to the millisecond, and is nobody's who was
//! ended by an incident.

use crate::revocation_races::interleave;
use crate::world::{Do, World, new_key};
use keyward_domain::event::{Action, Outcome};
use keyward_domain::ports::Clock;
use keyward_domain::{ApplicationId, Code, KeyId, Timestamp};
use keyward_ledger::memory::Fault;
use keyward_verify::Demand;
use serde_json::{Value, json};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn rotate(id: KeyId) -> Do {
    Do::Rotate(id, json!({"reason": "due", "grace_s": 3600}))
}

fn incident(id: KeyId) -> Do {
    Do::Rotate(id, json!({"reason": "leaked", "mode": "incident"}))
}

async fn code(world: &World, what: &Do) -> Option<Code> {
    world.run(what).await.err().map(|error| error.code)
}

async fn passes(world: &World, token: &str) -> &'static str {
    world.code(token, &Demand::default()).await
}

/// The key as an admin sees it: state of its rotation, and of each version.
async fn seen(world: &World, id: KeyId) -> (String, Vec<(u64, String)>) {
    let key = world.run(&Do::ReadKey(id)).await.expect("read").json();
    let versions = key["versions"].as_array().expect("versions").iter();
    let state = |version: &Value| {
        (version["version"].as_u64().unwrap(), version["state"].as_str().unwrap().to_owned())
    };
    (key["rotation"]["state"].as_str().unwrap().to_owned(), versions.map(state).collect())
}

fn versions(states: &[(u64, &str)]) -> Vec<(u64, String)> {
    states.iter().map(|(number, state)| (*number, (*state).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn the_old_version_passes_until_the_grace_is_over_and_not_a_millisecond_longer() {
    let world = World::new(700).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let offered = world.run(&rotate(held.id)).await.expect("offered");
    assert_eq!(
        offered.at("/claim/url"),
        format!("https://keyward.example/claim#{}", offered.at("/claim/ticket"))
    );
    assert_eq!(seen(&world, held.id).await, ("offered".into(), versions(&[(1, "live")])));

    // Nobody is cut off for a successor that nobody fetched, and its claim may be asked for again.
    tokio::time::advance(HOUR * 24 * 30).await;
    assert_eq!(passes(&world, &held.token).await, "VALID");
    assert_eq!(code(&world, &Do::TakeClaim(offered.at("/claim/ticket"))).await, Some(Code::ClaimGone));
    let ticket = world.run(&Do::Reissue(held.id)).await.expect("a new claim").at("/claim/ticket");
    let claimed = world.run(&Do::TakeClaim(ticket)).await.expect("claimed");
    let successor = claimed.at("/token");
    let end = Timestamp::parse(&claimed.at("/key/others_end_at")).expect("a time");
    assert_eq!(
        seen(&world, held.id).await,
        ("overlapping".into(), versions(&[(1, "retiring"), (2, "live")]))
    );

    let left_ms = u64::try_from(end.unix_ms() - world.clock.now().unix_ms()).unwrap();
    tokio::time::advance(Duration::from_millis(left_ms - 1)).await;
    assert_eq!(passes(&world, &held.token).await, "VALID");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(passes(&world, &held.token).await, "EXPIRED");
    assert_eq!(passes(&world, &successor).await, "VALID");
    assert_eq!(seen(&world, held.id).await, ("stable".into(), versions(&[(1, "retired"), (2, "live")])));
    assert!(left_ms <= 3_600_000 && left_ms > 3_590_000, "{left_ms}");
}

#[tokio::test(start_paused = true)]
async fn the_hard_end_of_a_key_is_the_end_of_every_grace() {
    let world = World::new(701).await;
    let app = world.application("shop").await;
    let mut new = new_key(app, "k");
    new["expires_in_s"] = json!(7200);
    let held = world.held(&new).await;
    let ticket = world.run(&rotate(held.id)).await.expect("offered").at("/claim/ticket");
    tokio::time::advance(Duration::from_secs(600)).await;
    let claimed = world.run(&Do::TakeClaim(ticket)).await.expect("claimed");
    tokio::time::advance(Duration::from_secs(3000)).await;
    assert_eq!(passes(&world, &held.token).await, "VALID");
    let again = Do::Rotate(held.id, json!({"reason": "due"}));
    assert_eq!(code(&world, &again).await, Some(Code::StateConflict), "the first grace is not over");
    tokio::time::advance(Duration::from_secs(3600)).await;
    for token in [&held.token, &claimed.at("/token")] {
        assert_eq!(passes(&world, token).await, "EXPIRED");
    }
    assert_eq!(code(&world, &again).await, Some(Code::StateConflict), "the key has expired");
}

#[tokio::test(start_paused = true)]
async fn an_offer_is_cancelled_until_it_is_claimed_and_an_overlap_finished_from_then_on() {
    let world = World::new(702).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let (finish, cancel) = (Do::FinishRotation(held.id, "done"), Do::CancelRotation(held.id, "not yet"));
    for what in [&finish, &cancel] {
        assert_eq!(code(&world, what).await, Some(Code::StateConflict), "stable");
    }
    let first = world.run(&rotate(held.id)).await.expect("offered").at("/claim/ticket");
    assert_eq!(code(&world, &rotate(held.id)).await, Some(Code::StateConflict), "offered already");
    assert_eq!(code(&world, &finish).await, Some(Code::StateConflict));
    world.run(&cancel).await.expect("cancelled");
    assert_eq!(code(&world, &Do::TakeClaim(first)).await, Some(Code::ClaimGone));

    let ticket = world.run(&rotate(held.id)).await.expect("offered").at("/claim/ticket");
    let claimed = world.run(&Do::TakeClaim(ticket)).await.expect("claimed");
    assert_eq!(claimed.at("/key/version"), "3", "no number is given twice");
    assert_eq!(code(&world, &cancel).await, Some(Code::StateConflict), "claimed");
    assert_eq!(passes(&world, &held.token).await, "VALID");
    world.run(&finish).await.expect("finished");
    assert_eq!(passes(&world, &held.token).await, "REVOKED");
    assert_eq!(passes(&world, &claimed.at("/token")).await, "VALID");
    world.clock.step_wall_ms(-7_200_000);
    assert_eq!(passes(&world, &held.token).await, "REVOKED", "whatever the clock does");
    for refused in [
        json!({"reason": " "}),
        json!({"reason": "x", "grace_s": 7_776_001}),
        json!({"reason": "x", "mode": "incident", "grace_s": 0}),
    ] {
        assert_eq!(code(&world, &Do::Rotate(held.id, refused)).await, Some(Code::InvalidField));
    }
}

#[tokio::test(start_paused = true)]
async fn an_incident_ends_every_version_at_once_offered_ones_included() {
    for overlapping in [false, true] {
        let world = World::new(703).await;
        let app = world.application("shop").await;
        let held = world.held(&new_key(app, "k")).await;
        let ticket = world.run(&rotate(held.id)).await.expect("offered").at("/claim/ticket");
        let mut tokens = vec![held.token.clone()];
        if overlapping {
            tokens.push(world.run(&Do::TakeClaim(ticket.clone())).await.expect("claimed").at("/token"));
        }
        let offered = world.run(&incident(held.id)).await.expect("ended");
        for token in &tokens {
            assert_eq!(passes(&world, token).await, "REVOKED");
        }
        if !overlapping {
            assert_eq!(code(&world, &Do::TakeClaim(ticket)).await, Some(Code::ClaimGone));
        }
        assert_eq!(code(&world, &Do::CancelRotation(held.id, "x")).await, Some(Code::StateConflict));
        assert_eq!(code(&world, &Do::Renew(held.renewal)).await, Some(Code::RenewalGone));
        let claimed = world.run(&Do::TakeClaim(offered.at("/claim/ticket"))).await.expect("claimed");
        assert_eq!(claimed.at("/key/version"), "3");
        assert_eq!(passes(&world, &claimed.at("/token")).await, "VALID");
        for token in &tokens {
            assert_eq!(passes(&world, token).await, "REVOKED");
        }
        // Once more, out of the state that it left.
        world.run(&incident(held.id)).await.expect("ended");
        assert_eq!(passes(&world, &claimed.at("/token")).await, "REVOKED");
        let killed = world.events().await.into_iter().filter(|event| event.action == Action::VersionsKilled);
        assert_eq!(killed.count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn repeated_it_rotates_once() {
    let world = World::new(704).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let from_first = Do::Rotate(held.id, json!({"reason": "due", "version": 1}));
    let first = world.run_once("once", &from_first).await.expect("offered");
    let again = world.run_once("once", &from_first).await.expect("the same");
    assert!(again.replayed && again.text == first.text);
    world.run(&Do::TakeClaim(first.at("/claim/ticket"))).await.expect("claimed");
    tokio::time::advance(HOUR * 24 * 8).await;
    assert_eq!(code(&world, &from_first).await, Some(Code::StateConflict), "it names the version before");
    let what = rotate(held.id);
    let twins = futures::future::join_all((0..2).map(|_| world.run(&what))).await;
    assert_eq!(twins.iter().filter(|twin| twin.is_ok()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_lacks_a_scope_of_root_does_not_rotate_root() {
    let world = World::new(705).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let root = world.caller(&world.root).await.key().expect("root's id");
    let admin = world.admin(&["keys:rotate".to_owned()]).await;
    for what in [rotate(root), incident(root), Do::FinishRotation(root, "x"), Do::CancelRotation(root, "x")] {
        let error = world.run_as(&admin.token, &what).await.expect_err("refused");
        assert_eq!((error.code, error.code.status()), (Code::InsufficientScope, 403));
    }
    world.run_as(&admin.token, &rotate(held.id)).await.expect("a partner's key");
    let narrowed = world.admin(&[format!("keys:rotate@{}", ApplicationId::KEYWARD)]).await;
    assert_eq!(
        world.run_as(&narrowed.token, &rotate(held.id)).await.err().map(|e| e.code),
        Some(Code::NotFound)
    );
    assert_eq!(code(&world, &incident(root)).await, Some(Code::LastRoot), "nobody else could take its claim");
    assert_eq!(passes(&world, &world.root).await, "VALID");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_nobody_claimed_or_that_is_dead_is_not_rotated() {
    let world = World::new(706).await;
    let app = world.application("shop").await;
    let (unclaimed, _) = world.issue(&new_key(app, "unclaimed")).await;
    assert_eq!(code(&world, &rotate(unclaimed)).await, Some(Code::StateConflict));
    let held = world.held(&new_key(app, "k")).await;
    let ticket = world.run(&rotate(held.id)).await.expect("offered").at("/claim/ticket");
    let claimed = world.run(&Do::TakeClaim(ticket)).await.expect("claimed");
    world.run(&Do::RevokeKey(held.id, "x")).await.expect("revoked");
    for token in [&held.token, &claimed.at("/token")] {
        assert_eq!(passes(&world, token).await, "REVOKED", "both, at once");
    }
    for what in [rotate(held.id), incident(held.id), Do::FinishRotation(held.id, "x")] {
        assert_eq!(code(&world, &what).await, Some(Code::Revoked));
    }
    assert_eq!(code(&world, &Do::Renew(claimed.at("/renewal_token"))).await, Some(Code::Revoked));
}

#[tokio::test(start_paused = true)]
async fn whatever_it_races_an_incident_leaves_no_secret_alive() {
    for seed in 0..60 {
        let world = World::new(7100 + seed).await;
        let app = world.application("shop").await;
        let held = world.held(&new_key(app, "k")).await;
        let ticket = world.run(&rotate(held.id)).await.expect("offered").at("/claim/ticket");
        let what = [
            incident(held.id),
            Do::TakeClaim(ticket),
            Do::Renew(held.renewal.clone()),
            Do::ChangeKey(held.id, json!({"name": "edited"}), None),
            Do::Reseal(true),
        ];
        let ended = interleave(&world, &what, |awake| world.rng.below(awake), None).await;
        assert!(ended[0].is_ok(), "seed {seed}: {:?}", ended[0]);
        assert_eq!(passes(&world, &held.token).await, "REVOKED", "seed {seed}");
        // Whoever got a token before it has a dead one, whoever got one after it the successor.
        let key = world.read().key(held.id).await.unwrap().expect("the key");
        for reply in ended[1..3].iter().filter_map(|reply| reply.as_ref().ok()) {
            let version = reply.at("/key/version").parse::<u16>().unwrap();
            let code = passes(&world, &reply.at("/token")).await;
            assert!(
                matches!(code, "REVOKED" | "NOT_FOUND"),
                "seed {seed}: version {version} is {code}, {:?}",
                key.phase(world.clock.now())
            );
        }
        let offered = ended[0].as_ref().unwrap().at("/claim/ticket");
        let claimed = world.run(&Do::TakeClaim(offered)).await.expect("the successor's claim");
        assert_eq!(passes(&world, &claimed.at("/token")).await, "VALID", "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn dying_at_any_call_it_is_done_or_not_and_can_be_repeated() {
    for mode in ["scheduled", "incident"] {
        for fault in [Fault::Crash, Fault::CrashAfter] {
            for nth in 0.. {
                let world = World::new(7200).await;
                let app = world.application("shop").await;
                let held = world.held(&new_key(app, "k")).await;
                let what = Do::Rotate(held.id, json!({"reason": "x", "mode": mode}));
                let caller = world.caller_with(&world.root, Some("once")).await;
                world.kv.take_calls();
                world.fault_at(nth, |_| true, fault);
                let ended =
                    crate::world::survive(crate::world::perform(&world.service(), caller, &what)).await;
                world.heal();
                if ended.is_some() {
                    assert!(nth > 5, "{mode}: {nth} calls");
                    break;
                }
                let offered = world.run_until_ended("once", &what).await.expect("repeated");
                let expected = if mode == "incident" { "REVOKED" } else { "VALID" };
                assert_eq!(passes(&world, &held.token).await, expected, "{mode}, call {nth}");
                let claimed = world.run(&Do::TakeClaim(offered.at("/claim/ticket"))).await.expect("claimed");
                assert_eq!(passes(&world, &claimed.at("/token")).await, "VALID");
                let offers = world
                    .events()
                    .await
                    .into_iter()
                    .filter(|event| event.action == Action::KeyRotated && event.outcome == Outcome::Done);
                assert_eq!(offers.count(), 1, "{mode}, call {nth}");
            }
        }
    }
}
