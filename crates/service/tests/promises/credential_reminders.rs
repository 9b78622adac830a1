//! Of a credential that somebody has to rotate, or that is about to end, people are told in time, and once; what has a provider is
//! rotated when its policy says so. By whoever walks along what is due, whatever it meets.

use crate::history::{check_projections, check_state, integrate_all};
use crate::world::provider::{Mood, Provider};
use crate::world::{Do, World, survive};
use futures::future::join_all;
use keyward_domain::announcement::Type;
use keyward_domain::event::{ActorKind, Outcome};
use keyward_domain::ports::Clock;
use keyward_domain::webhook::Targets;
use keyward_domain::{ApplicationId, CredentialId};
use keyward_ledger::memory::Fault;
use serde_json::{Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A minute is walked when it is over, and a little.
const TICK: Duration = Duration::from_secs(66);

async fn tick(world: &World) -> keyward_service::DueView {
    match world.service().maintain().await {
        Ok(done) => done.due,
        Err(error) => panic!("a tick: {error}"),
    }
}

/// A policy of ten days and two days of grace.
async fn policy(world: &World) -> Value {
    json!(world.policy(&json!({"rotate_every_s": 864_000, "grace_s": 172_800, "lease_s": 60})).await)
}

async fn credential(world: &World, app: ApplicationId, name: &str, more: &Value) -> CredentialId {
    let mut new = json!({"application": app, "name": name, "kind": "api-key", "value": {"value": "s0"}});
    for (field, value) in more.as_object().expect("fields") {
        new[field] = value.clone();
    }
    world.run(&Do::CreateCredential(new)).await.expect("created").at("/id").parse().expect("an id")
}

/// What webhooks are told of a credential that comes by time.
async fn told(world: &World, id: CredentialId) -> Vec<(&'static str, Outcome)> {
    let events = world.events().await.into_iter();
    let mine = events.filter(|e| e.target.credential == Some(id) && e.actor.kind == ActorKind::System);
    mine.filter_map(|event| Some((Type::of(&event)?.as_str(), event.outcome))).collect()
}

const DUE: (&str, Outcome) = ("credential.rotation_due", Outcome::Done);
const OVERDUE: (&str, Outcome) = ("credential.rotation_due", Outcome::Alarm);

#[tokio::test(start_paused = true)]
async fn what_people_rotate_is_told_when_it_is_due_and_when_nobody_did() {
    let world = World::new(970).await;
    let app = world.application("shop").await;
    let policy = policy(&world).await;
    let id = credential(&world, app, "psp", &json!({ "policy": policy })).await;
    tick(&world).await;
    tokio::time::advance(DAY * 10 - TICK).await;
    assert_eq!(tick(&world).await.credentials, 0);
    tokio::time::advance(TICK * 2).await;
    assert_eq!(tick(&world).await.credentials, 1);
    assert_eq!(told(&world, id).await, [DUE]);
    for _ in 0..5 {
        tokio::time::advance(DAY).await;
        tick(&world).await;
    }
    assert_eq!(told(&world, id).await, [DUE, OVERDUE]);
    // Whoever rotates it by hand is left alone until it is due anew.
    world.run(&Do::WriteCredential(id, json!({"value": {"value": "s1"}}))).await.expect("written");
    tokio::time::advance(DAY * 9).await;
    tick(&world).await;
    assert_eq!(told(&world, id).await.len(), 2);
    tokio::time::advance(DAY + TICK).await;
    tick(&world).await;
    assert_eq!(told(&world, id).await, [DUE, OVERDUE, DUE]);
}

#[tokio::test(start_paused = true)]
async fn an_end_is_told_a_week_and_a_day_before_and_when_it_is_there() {
    let world = World::new(971).await;
    let app = world.application("shop").await;
    let ends = |days: i64| json!(world.clock.now().plus_s(days * 24 * 3600));
    let id = credential(&world, app, "psp", &json!({ "expires_at": ends(20) })).await;
    let retired = credential(&world, app, "gone", &json!({ "expires_at": ends(20) })).await;
    world.run(&Do::RetireCredential(retired, "moved")).await.expect("retired");
    let mut days = Vec::new();
    for day in 1..=25 {
        let before = told(&world, id).await.len();
        tokio::time::advance(DAY).await;
        tick(&world).await;
        days.extend((told(&world, id).await.len() > before).then_some(day));
    }
    assert_eq!(days, [13, 19, 20]);
    let kinds: Vec<&str> = told(&world, id).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["credential.expiring", "credential.expiring", "credential.expired"]);
    assert_eq!(told(&world, retired).await, []);
    // Another end is told of anew.
    let change = Do::ChangeCredential(id, json!({ "expires_at": ends(3) }), None);
    world.run(&change).await.expect("changed");
    tokio::time::advance(TICK * 2).await;
    tick(&world).await;
    assert_eq!(told(&world, id).await.len(), 4, "it is near");
}

#[tokio::test(start_paused = true)]
async fn what_has_a_provider_is_rotated_when_its_policy_says_so() {
    let world = World::new(972).await;
    let app = world.application("shop").await;
    let policy = policy(&world).await;
    let id = credential(&world, app, "psp", &json!({ "policy": policy })).await;
    let provider = Provider::accepting(&json!({"value": "s0"}));
    let set = Do::SetProvider(id, json!({"url": "https://psp.example/"}));
    provider.learns(&world.run(&set).await.expect("set").json());
    let run = async || match world.service().go_on_with_rotations(&provider, Targets::Public).await {
        Ok(_) => {}
        Err(error) => panic!("a run: {error}"),
    };
    tokio::time::advance(DAY * 10 + TICK).await;
    let walks = join_all([tick(&world), tick(&world)]).await;
    let begun: usize = walks.iter().map(|done| done.rotations).sum();
    assert_eq!(begun, 1, "by one of those that walk");
    run().await;
    tokio::time::advance(TICK * 2).await;
    run().await;
    let shown = async || world.run(&Do::ShowCredential(id)).await.expect("shown").json();
    assert_eq!(shown().await["last_rotation"]["ending"], "done");
    assert_eq!(told(&world, id).await, [("credential.rotated", Outcome::Done)], "nobody has to do anything");
    // One that fails is an alarm, and is tried again a day later.
    provider.plan(|called| if called.step == "test" { Mood::Refuses(422) } else { Mood::Well });
    for _ in 0..11 {
        tokio::time::advance(DAY).await;
        tick(&world).await;
        run().await;
        run().await;
    }
    let failed = ("credential.rotation_failed", Outcome::Alarm);
    let kinds = told(&world, id).await;
    assert!(kinds.len() >= 2 && kinds[1..].iter().all(|kind| *kind == failed), "{kinds:?}");
    for _ in 0..3 {
        tokio::time::advance(DAY + TICK).await;
        tick(&world).await;
        run().await;
    }
    assert!(told(&world, id).await.contains(&OVERDUE), "nobody rotated it for its whole grace");
    provider.plan(|_| Mood::Well);
    tokio::time::advance(DAY + TICK).await;
    tick(&world).await;
    run().await;
    assert_eq!(shown().await["rotation"]["phase"], "waiting");
    integrate_all(&world, 972).await;
    check_projections(&world, 972).await;
    check_state(&world, 972).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_told_whatever_a_walk_dies_at_and_once() {
    for nth in 0..60 {
        let world = World::new(973).await;
        let app = world.application("shop").await;
        let policy = policy(&world).await;
        let id = credential(&world, app, "psp", &json!({ "policy": policy })).await;
        tick(&world).await;
        tokio::time::advance(DAY * 10 + TICK).await;
        world.fault_at(nth, |_| true, Fault::Crash);
        survive(world.service().maintain()).await;
        world.heal();
        for _ in 0..3 {
            tokio::time::advance(TICK).await;
            join_all([tick(&world), tick(&world)]).await;
        }
        assert_eq!(told(&world, id).await, [DUE], "call {nth}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_list_leads_to_is_found_by_the_sweep() {
    let world = World::new(974).await;
    let app = world.application("shop").await;
    let id = credential(&world, app, "psp", &json!({})).await;
    let policy = world.policy(&json!({"rotate_every_s": 7_776_000, "grace_s": 604_800})).await;
    let change = json!({ "policy": policy });
    world.run(&Do::ChangeCredential(id, change, None)).await.expect("changed");
    tick(&world).await;
    let sooner = json!({"rotate_every_s": 3600, "grace_s": 0});
    world.run(&Do::ChangePolicy(policy, sooner, None)).await.expect("changed");
    tokio::time::advance(Duration::from_secs(3600) + TICK).await;
    assert_eq!(tick(&world).await.credentials, 1);
    assert_eq!(told(&world, id).await, [DUE, OVERDUE], "without a grace it is both");
}
