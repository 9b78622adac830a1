//! Every change is one audited commit: whole or not at all, known before it is told, honest where it cannot be known.

use crate::history::{check_projections, check_state, integrate_all};
use crate::world::{Do, Which, World, is_batch, is_ticket, new_key, survive};
use keyward_domain::event::{Action, Outcome};
use keyward_domain::{ApplicationId, Code, KeyId};
use keyward_ledger::memory::Fault;
use keyward_service::bootstrap;
use keyward_verify::Demand;
use serde_json::json;

/// Every use case that changes something, in a world where it can be done; the third is its action.
async fn changing(seed: u64) -> (World, Vec<(&'static str, Do, Action)>) {
    let world = World::new(seed).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "held")).await;
    let other = world.held(&new_key(app, "other")).await;
    let (unclaimed, _) = world.issue(&new_key(app, "unclaimed")).await;
    let (_, ticket) = world.issue(&new_key(app, "to claim")).await;
    let mut tagged = new_key(app, "tagged");
    tagged["tags"] = json!(["a"]);
    world.issue(&tagged).await;
    let all = vec![
        ("create", Do::CreateApplication(json!({"name": "new"})), Action::ApplicationCreated),
        ("change", Do::ChangeApplication(app, json!({"contacts": ["x"]}), None), Action::ApplicationChanged),
        ("rename", Do::ChangeApplication(app, json!({"name": "renamed"}), None), Action::ApplicationChanged),
        (
            "suspend",
            Do::ChangeApplication(app, json!({"status": "suspended"}), None),
            Action::ApplicationSuspended,
        ),
        ("issue", Do::Issue(new_key(app, "new")), Action::KeyIssued),
        ("edit", Do::ChangeKey(held.id, json!({"name": "edited"}), None), Action::KeyChanged),
        ("reissue", Do::Reissue(unclaimed), Action::ClaimReissued),
        ("claim", Do::TakeClaim(ticket), Action::ClaimTaken),
        ("lookup", Do::Lookup(held.token.clone()), Action::KeyLookedUp),
        ("report", Do::Report(other.token), Action::KeyReported),
        ("revoke", Do::RevokeKey(held.id, "lost"), Action::KeyRevoked),
        ("revoke many", Do::RevokeMany(json!({"tag": "a", "reason": "x"})), Action::KeyRevoked),
        ("freeze", Do::Freeze("stolen"), Action::IssuingFrozen),
        ("thaw", Do::Thaw("found"), Action::IssuingThawed),
        ("revoke all", Do::RevokeApplication(app, "leak"), Action::ApplicationRevoked),
    ];
    (world, all)
}

const CHANGES: usize = 15;

async fn done(world: &World, action: Action) -> usize {
    let events = world.events().await;
    events.iter().filter(|event| event.action == action && event.outcome == Outcome::Done).count()
}

/// All values but those of the projections.
fn state(world: &World) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut values = world.kv.values();
    values.retain(|key, _| !key.starts_with("p:") && !key.starts_with("t:"));
    values
}

#[tokio::test(start_paused = true)]
async fn where_the_audit_write_fails_it_is_503_and_nothing_is_changed() {
    for case in 0..CHANGES {
        let calls: [(&str, Which); 2] = [("tickets", is_ticket), ("batches", is_batch)];
        for (calls, which) in calls {
            let (world, mut all) = changing(90).await;
            let (name, what, _) = all.swap_remove(case);
            let before = state(&world);
            world.kv.plan(move |call| if which(call) { Fault::Before } else { Fault::None });
            let error = world
                .run(&what)
                .await
                .err()
                .unwrap_or_else(|| panic!("{name}: acknowledged without {calls}"));
            world.heal();
            assert_eq!(error.code.status(), 503, "{name}, no {calls}");
            assert_eq!(state(&world), before, "{name}, no {calls}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_usable_key_comes_of_a_claim_whose_audit_write_fails() {
    let world = World::new(91).await;
    let app = world.application("shop").await;
    let (id, ticket) = world.issue(&new_key(app, "k")).await;
    world.kv.plan(|call| if is_batch(call) { Fault::Before } else { Fault::None });
    let error = world.run(&Do::TakeClaim(ticket)).await.expect_err("no token");
    assert_eq!(error.code, Code::OutcomeUnknown);
    world.heal();
    assert!(world.read().key(id).await.unwrap().unwrap().versions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_has_one_effect_and_an_honest_answer() {
    for case in 0..CHANGES {
        let calls: [(&str, Which); 2] = [("ticket", is_ticket), ("batch", is_batch)];
        for (call, which) in calls {
            for fault in [Fault::Before, Fault::After, Fault::Twice, Fault::SlowReply(4_000)] {
                let (world, mut all) = changing(92).await;
                let (name, what, action) = all.swap_remove(case);
                let before = done(&world, action).await;
                // Its first call of the counter only looks where the log ends.
                let looks = usize::from((name, call) == ("revoke many", "ticket"));
                world.fault_at(looks, which, fault);
                let result = world.run(&what).await;
                world.heal();
                let effects = done(&world, action).await - before;
                match &result {
                    Ok(_) => assert_eq!(effects, 1, "{name}: {call} {fault:?}"),
                    Err(error) => {
                        assert_eq!(error.code.status(), 503, "{name}: {call} {fault:?}");
                        assert_eq!(effects, 0, "{name}: {call} {fault:?}");
                    }
                }
                // A reply that is lost after the deed is found out; one before it may have done nothing.
                let told = result.is_ok();
                let turn_too_old = (call, fault) == ("ticket", Fault::SlowReply(4_000));
                if !turn_too_old {
                    assert_eq!(told, (call, fault) != ("batch", Fault::Before), "{name}: {call} {fault:?}");
                }
                check_state(&world, 92).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_looked_up_is_unknown_and_says_so() {
    for case in 0..CHANGES {
        let (world, mut all) = changing(93).await;
        let (name, what, _) = all.swap_remove(case);
        // The batch is done, its reply lost, and the store is silent from there on.
        let mut silent = false;
        world.kv.plan(move |call| {
            let now = silent;
            silent |= is_batch(call);
            match (now, silent) {
                (true, _) => Fault::Before,
                (false, true) => Fault::After,
                (false, false) => Fault::None,
            }
        });
        let error = world.run(&what).await.expect_err("unknown");
        assert_eq!(error.code, Code::OutcomeUnknown, "{name}");
        assert!(!error.detail.contains("nothing was changed"), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_call_leaves_all_or_nothing_and_a_log_without_unexplained_holes() {
    for case in 0..CHANGES {
        for nth in 0.. {
            let mut finished = true;
            for fault in [Fault::Crash, Fault::CrashAfter] {
                let (world, mut all) = changing(94).await;
                let (name, what, action) = all.swap_remove(case);
                let before = done(&world, action).await;
                let caller = match what {
                    Do::TakeClaim(_) | Do::Report(_) | Do::Renew(_) => world.holder(None),
                    _ => world.caller(&world.root).await,
                };
                world.fault_at(nth, |_| true, fault);
                let service = world.service();
                let ended = survive(crate::world::perform(&service, caller, &what)).await;
                world.heal();
                finished &= ended.is_some();
                let effects = done(&world, action).await - before;
                assert!(effects <= 1);
                assert!(ended.is_none_or(|result| result.is_ok() && effects == 1), "{name}: call {nth}");
                check_state(&world, 94).await;
                integrate_all(&world, 94).await;
                check_projections(&world, 94).await;
            }
            if finished {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_ticket_and_batch_leaves_a_void_and_lists_meanwhile() {
    let world = World::new(95).await;
    let app = world.application("shop").await;
    world.fault_at(0, is_batch, Fault::Crash);
    assert!(survive(world.run(&Do::Issue(new_key(app, "lost")))).await.is_none());
    world.heal();
    let lost = world.ledger().last_ticket().await.unwrap();
    let (id, _) = world.issue(&new_key(app, "kept")).await;
    let listed = world.run(&Do::ListKeys(app)).await.expect("lists").json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["id"], id.to_string());
    let events = world.run(&Do::ListEvents(None)).await.expect("lists").json();
    let ids: Vec<&str> =
        events["items"].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap()).collect();
    let next = format!("evt_1_{}", lost.seq + 1);
    assert!(ids.contains(&next.as_str()) && !ids.contains(&lost.to_string().as_str()));
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    integrate_all(&world, 95).await;
    assert!(world.read().void(lost).await.unwrap().is_some());
    assert_eq!(world.run(&Do::ReadEvent(lost)).await.err().map(|e| e.code), Some(Code::NotFound));
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_came_too_late_to_be_used_is_not_used() {
    // Its reply takes longer than a ticket may lack its event: by then it is void.
    for case in 0..CHANGES {
        let (world, mut all) = changing(89).await;
        let (name, what, action) = all.swap_remove(case);
        let before = done(&world, action).await;
        world.fault_at(0, is_ticket, Fault::SlowReply(75_000));
        let (result, ()) = futures::future::join(world.run(&what), async {
            for _ in 0..8 {
                tokio::time::sleep(std::time::Duration::from_secs(9)).await;
                world.ledger().integrate(8).await.expect("integrates");
            }
        })
        .await;
        world.heal();
        let effects = done(&world, action).await - before;
        assert_eq!(usize::from(result.is_ok()), effects, "{name}");
        let values = world.kv.values();
        for event in world.events().await {
            assert!(
                !values.contains_key(&keyward_records::names::void(event.id)),
                "{name}: {} is void",
                event.id
            );
        }
        integrate_all(&world, 89).await;
        check_projections(&world, 89).await;
        check_state(&world, 89).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_commit_is_made_once_and_can_be_made_after_a_crash() {
    let world = World::new(96).await;
    let again = bootstrap::initialise(&world.service(), "ops").await.err().expect("refused");
    assert_eq!(again.code, Code::StateConflict);
    for fault in [Fault::Crash, Fault::Before] {
        let mut world = World::empty(97);
        world.fault_at(0, is_batch, fault);
        let first = survive(bootstrap::initialise(&world.service(), "ops")).await;
        assert!(first.is_none_or(|result| result.is_err()));
        world.heal();
        let root = bootstrap::initialise(&world.service(), "ops").await.expect("nothing was there");
        world.root = root.expose().to_owned();
        assert_eq!(world.code(&world.root, &Demand::default()).await, "VALID");
        assert!(bootstrap::initialise(&world.service(), "ops").await.is_err());
        integrate_all(&world, 97).await;
        check_projections(&world, 97).await;
    }
    // A store that lost the built-in application, but not its log, is no new store.
    let world = World::new(98).await;
    for key in world.kv.values().keys().filter(|key| key.starts_with("a:") || key.starts_with("d:")) {
        world.kv.tamper(key, None);
    }
    assert!(bootstrap::initialise(&world.service(), "ops").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_error_names_no_id_that_was_not_asked_for() {
    let world = World::new(99).await;
    for (what, code) in [
        (Do::ReadKey(KeyId::from_bytes([3; 16])), Code::NotFound),
        (Do::ReadApplication(ApplicationId::from_bytes([3; 16])), Code::NotFound),
    ] {
        assert_eq!(world.run(&what).await.err().map(|error| error.code), Some(code));
    }
}
