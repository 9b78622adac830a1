//! While issuing is frozen nobody issues, whatever they hold; every other thing goes on, and what was refused is not lost.

use crate::revocation_races::{Schedules, interleave};
use crate::world::{Do, World, is_batch, new_key};
use futures::future::join;
use keyward_domain::event::{Action, Outcome};
use keyward_domain::{ApplicationId, Code};
use keyward_ledger::memory::Fault;
use keyward_verify::Demand;
use serde_json::json;

async fn code(world: &World, what: &Do) -> Option<Code> {
    world.run(what).await.err().map(|error| error.code)
}

#[tokio::test(start_paused = true)]
async fn nobody_issues_and_all_else_goes_on() {
    let world = World::new(150).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "held")).await;
    let (waiting, ticket) = world.issue(&new_key(app, "waiting")).await;
    let shown = world.run(&Do::ReadEmergency).await.expect("shown").json();
    assert_eq!(
        shown["issuing"],
        json!({"state": "open", "at": null, "by": null, "reason": null, "event": null})
    );

    let frozen = world.run(&Do::Freeze("a laptop was stolen")).await.expect("frozen").json();
    assert_eq!(frozen["issuing"]["reason"], "a laptop was stolen");
    assert_eq!(frozen["issuing"]["by"]["principal"], "ops@example.com");
    assert_eq!(world.run(&Do::ReadEmergency).await.expect("shown").json(), frozen);

    // Root asks, and holds every scope.
    let mut admin = new_key(ApplicationId::KEYWARD, "second root");
    (admin["scopes"], admin["principal"]) = (json!(["*"]), json!("second"));
    let since = frozen["issuing"]["at"].as_str().unwrap();
    for what in [Do::Issue(new_key(app, "new")), Do::Issue(admin), Do::Reissue(waiting)] {
        let before = world.events().await.len();
        let error = world.run(&what).await.expect_err("frozen");
        assert_eq!((error.code, error.code.status()), (Code::IssuingFrozen, 409), "{what:?}");
        assert!(error.detail.contains(since) && error.detail.contains("a laptop was stolen"), "{error}");
        let events = world.events().await;
        assert_eq!(events.len(), before + 1, "{what:?}");
        let event = events.last().unwrap();
        assert_eq!((event.outcome, event.reason.as_deref()), (Outcome::Refused, Some("issuing-frozen")));
    }
    let refused = world.run(&Do::TakeClaim(ticket.clone())).await.expect_err("minting is issuing");
    assert_eq!(refused.code, Code::IssuingFrozen);
    assert!(
        refused.detail.contains(since) && !refused.detail.contains("laptop"),
        "a stranger learns when, not why"
    );

    assert_eq!(world.code(&held.token, &Demand::default()).await, "VALID");
    for what in [
        Do::ChangeKey(held.id, json!({"name": "renamed"}), None),
        Do::ReadKey(waiting),
        Do::ListKeys(app),
        Do::Lookup(held.token.clone()),
        Do::CreateApplication(json!({"name": "new"})),
        Do::RevokeKey(held.id, "lost"),
    ] {
        assert_eq!(code(&world, &what).await, None, "{what:?}");
    }

    world.run(&Do::Thaw("it was found")).await.expect("thawed");
    world.run(&Do::Issue(new_key(app, "new"))).await.expect("issued");
    let token = world.run(&Do::TakeClaim(ticket)).await.expect("it waited").at("/token");
    assert_eq!(world.code(&token, &Demand::default()).await, "VALID");
    let alarms = world.events().await.into_iter().filter(|event| event.outcome == Outcome::Alarm).count();
    assert_eq!(alarms, 0, "an attempt while frozen is nobody's theft");
}

#[tokio::test(start_paused = true)]
async fn it_is_frozen_since_the_first_call_and_each_call_is_in_the_log() {
    let world = World::new(151).await;
    world.kv.plan(|call| if is_batch(call) { Fault::Slow(20) } else { Fault::None });
    let (freeze, again) = (Do::Freeze("first"), Do::Freeze("second"));
    let (one, two) = join(world.run(&freeze), world.run(&again)).await;
    let (one, two) = (one.expect("frozen").json(), two.expect("frozen").json());
    assert_eq!(one, two);
    assert_eq!(world.run(&Do::Freeze("third")).await.expect("frozen").json(), one);
    let thawed = world.run(&Do::Thaw("over")).await.expect("thawed").json();
    assert_eq!(world.run(&Do::Thaw("still over")).await.expect("thawed").json(), thawed);
    assert_eq!((&thawed["issuing"]["state"], &thawed["issuing"]["reason"]), (&json!("open"), &json!("over")));
    let events = world.events().await;
    let done = |action| {
        let of =
            |event: &&keyward_domain::event::Event| event.action == action && event.outcome == Outcome::Done;
        events.iter().filter(of).map(|event| event.reason.clone().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(done(Action::IssuingFrozen), ["first", "second", "third"]);
    assert_eq!(done(Action::IssuingThawed), ["over", "still over"]);
}

#[tokio::test(start_paused = true)]
async fn only_whoever_may_freezes_for_all() {
    let world = World::new(152).await;
    let app = world.application("shop").await;
    let narrowed = world.admin(&[format!("emergency:freeze@{app}"), "keys:*".to_owned()]).await;
    let reader = world.admin(&["emergency:read".to_owned()]).await;
    let firefighter = world.admin(&["emergency:*".to_owned()]).await;
    for (token, what, missing) in [
        (&narrowed.token, Do::Freeze("x"), Some("emergency:freeze")),
        (&narrowed.token, Do::ReadEmergency, Some("emergency:read")),
        (&reader.token, Do::Freeze("x"), Some("emergency:freeze")),
        (&reader.token, Do::Thaw("x"), Some("emergency:freeze")),
        (&reader.token, Do::ReadEmergency, None),
        (&firefighter.token, Do::Freeze("x"), None),
        (&firefighter.token, Do::Thaw("x"), None),
        (&firefighter.token, Do::ReadEmergency, None),
    ] {
        let error = world.run_as(token, &what).await.err();
        let found = error.and_then(|error| error.missing_scope).map(|scope| scope.to_string());
        assert_eq!(found.as_deref(), missing, "{what:?}");
    }
    assert_eq!(code(&world, &Do::Freeze(" ")).await, Some(Code::InvalidField));
}

#[tokio::test(start_paused = true)]
async fn in_every_order_of_calls_a_claim_beside_a_freeze_is_taken_or_still_open() {
    let world = World::new(153).await;
    let app = world.application("shop").await;
    let mut schedules = Schedules::new();
    let (mut taken, mut refused) = (0, 0);
    loop {
        let (_, ticket) = world.issue(&new_key(app, "k")).await;
        let both = [Do::Freeze("now"), Do::TakeClaim(ticket.clone())];
        let mut results = interleave(&world, &both, |among| schedules.choose(among), None).await;
        let claimed = results.pop().expect("two");
        results.remove(0).expect("frozen");
        assert_eq!(code(&world, &Do::Issue(new_key(app, "late"))).await, Some(Code::IssuingFrozen));
        let left = match claimed {
            Ok(_) => {
                taken += 1;
                Some(Code::ClaimTaken)
            }
            Err(error) => {
                assert_eq!(error.code, Code::IssuingFrozen);
                refused += 1;
                None
            }
        };
        world.run(&Do::Thaw("over")).await.expect("thawed");
        assert_eq!(code(&world, &Do::TakeClaim(ticket)).await, left, "refused, it is not burnt");
        if !schedules.next() {
            break;
        }
    }
    assert!(taken > 50 && refused > 5, "{taken} taken, {refused} refused");
}
