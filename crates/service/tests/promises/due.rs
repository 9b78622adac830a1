//! What is due for keys is done by whoever walks, once: twice, at once, half, or a day late.

use crate::history::{check_projections, check_state, integrate_all};
use crate::world::{Do, Held, World, new_key, survive};
use keyward_domain::KeyId;
use keyward_domain::event::{Action, ActorKind, Event, Outcome};
use keyward_ledger::memory::Fault;
use keyward_verify::Demand;
use serde_json::json;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);
/// A minute is walked when it is over, and a little.
const TICK: Duration = Duration::from_secs(66);

async fn tick(world: &World) -> keyward_service::DueView {
    match world.service().maintain().await {
        Ok(done) => done.due,
        Err(error) => panic!("a tick: {error}"),
    }
}

async fn told(world: &World, id: KeyId) -> Vec<(Action, Outcome)> {
    let events = world.events().await.into_iter();
    let mine = events.filter(|e| e.target.key == Some(id) && e.actor.kind == ActorKind::System);
    mine.map(|event| (event.action, event.outcome)).collect()
}

async fn offers(world: &World) -> Vec<Event> {
    world.events().await.into_iter().filter(|event| event.action == Action::KeyOffered).collect()
}

async fn keys(world: &World, count: usize) -> Vec<Held> {
    let app = world.application("shop").await;
    let mut keys = Vec::new();
    for n in 0..count {
        keys.push(world.held(&new_key(app, &format!("k{n}"))).await);
    }
    keys
}

#[tokio::test(start_paused = true)]
async fn a_successor_is_offered_when_it_is_due_and_the_breach_is_told_when_nobody_takes_it() {
    let world = World::new(800).await;
    let held = keys(&world, 1).await.remove(0);
    tick(&world).await;
    tokio::time::advance(DAY * 89).await;
    assert_eq!(tick(&world).await.keys, 0);
    tokio::time::advance(DAY + TICK).await;
    let done = tick(&world).await;
    assert_eq!((done.keys, done.offered), (2, 2), "root is due as well");
    let shown = world.run(&Do::ReadKey(held.id)).await.expect("read").json();
    assert_eq!(
        (&shown["rotation"]["state"], &shown["rotation"]["successor"]),
        (&json!("offered"), &json!(2))
    );
    assert_eq!(shown["claim"], json!(null), "a link is made for whoever asks for it, and lies nowhere");
    // Its holder can take it by itself; whoever does not is told of, and passes on.
    for _ in 0..10 {
        tokio::time::advance(DAY).await;
        tick(&world).await;
    }
    let expected = [
        (Action::KeyOffered, Outcome::Done),
        (Action::RotationUnclaimed, Outcome::Done),
        (Action::RotationUnclaimed, Outcome::Done),
        (Action::PolicyBroken, Outcome::Alarm),
    ];
    assert_eq!(told(&world, held.id).await, expected);
    assert_eq!(world.code(&held.token, &Demand::default()).await, "VALID");
    let renewed = world.run(&Do::Renew(held.renewal)).await.expect("renewed");
    assert_eq!(renewed.at("/key/version"), "2");
    tokio::time::advance(DAY * 90 + TICK).await;
    assert_eq!(tick(&world).await.offered, 1, "and round again");
}

#[tokio::test(start_paused = true)]
async fn an_end_is_told_before_and_at_it_and_the_secrets_are_forgotten_after_a_month() {
    let world = World::new(801).await;
    let app = world.application("shop").await;
    let mut new = new_key(app, "k");
    new["expires_in_s"] = json!(20 * 24 * 3600);
    let held = world.held(&new).await;
    let revoked = world.held(&new_key(app, "revoked")).await;
    world.run(&Do::RevokeKey(revoked.id, "x")).await.expect("revoked");
    for _ in 0..49 {
        tick(&world).await;
        tokio::time::advance(DAY).await;
    }
    let expected = [Action::KeyExpiring, Action::KeyExpiring, Action::KeyExpired];
    assert_eq!(
        told(&world, held.id).await.into_iter().map(|(action, _)| action).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(world.code(&held.token, &Demand::default()).await, "EXPIRED");
    for _ in 0..2 {
        tokio::time::advance(DAY).await;
        tick(&world).await;
    }
    for (held, flag) in [(&held, b'l'), (&revoked, b'x')] {
        assert_eq!(told(&world, held.id).await.last().map(|(action, _)| *action), Some(Action::KeyForgotten));
        let key = world.read().key(held.id).await.unwrap().expect("its record stays");
        assert!(key.versions.is_empty() && key.rotation.renewal.is_none());
        assert_eq!(world.code(&held.token, &Demand::default()).await, "NOT_FOUND");
        let stored = world.kv.values()[&keyward_records::names::flag(held.id)].clone();
        assert_eq!(stored[0] == b'l', flag == b'l', "the flag stays");
    }
    let before = told(&world, held.id).await;
    tokio::time::advance(DAY * 100).await;
    tick(&world).await;
    assert_eq!(told(&world, held.id).await, before, "and that is all");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_breaks_its_policy_ends_where_the_policy_says_so() {
    let world = World::new(805).await;
    let terms = json!({"name": "strict", "rotate_every_s": 3600, "grace_s": 600, "on_breach": "retire"});
    let policy = world.run(&Do::CreatePolicy(terms)).await.expect("a policy").at("/id");
    let app = world.application("shop").await;
    let mut new = new_key(app, "k");
    new["policy"] = json!(policy);
    let (late, in_time) = (world.held(&new).await, world.held(&new).await);
    tick(&world).await;
    tokio::time::advance(HOUR + TICK).await;
    assert_eq!(tick(&world).await.offered, 2);
    let renewed = world.run(&Do::Renew(in_time.renewal)).await.expect("renewed");
    tokio::time::advance(Duration::from_secs(600) + TICK).await;
    let done = tick(&world).await;
    assert_eq!((done.broken, done.retired), (1, 1));
    let last: Vec<_> = told(&world, late.id).await.into_iter().map(|(action, _)| action).collect();
    assert!(last.ends_with(&[Action::PolicyBroken, Action::KeyRetired]), "{last:?}");
    assert_eq!(world.code(&late.token, &Demand::default()).await, "EXPIRED");
    assert_eq!(world.code(&renewed.at("/token"), &Demand::default()).await, "VALID");
}

#[tokio::test(start_paused = true)]
async fn two_walks_at_once_and_one_walk_twice_make_one_offer() {
    let world = World::new(802).await;
    let held = keys(&world, 70).await;
    tick(&world).await;
    tokio::time::advance(DAY * 90 + TICK).await;
    let (service, another) = (world.service(), world.service());
    world.kv.plan(|_| Fault::Slow(2));
    let (one, other) = futures::join!(service.maintain(), another.maintain());
    world.heal();
    let offered = one.expect("a tick").due.offered + other.expect("a tick").due.offered;
    assert_eq!(offered, 70 + 1, "root is due as well");
    tick(&world).await;
    let offers = offers(&world).await;
    assert_eq!(offers.len(), 70 + 1);
    for held in held {
        assert!(offers.iter().any(|event| event.target.key == Some(held.id)));
    }
}

#[tokio::test(start_paused = true)]
async fn dying_at_any_call_it_is_finished_by_the_next() {
    for fault in [Fault::Crash, Fault::CrashAfter] {
        for nth in 0.. {
            let world = World::new(803).await;
            let terms = json!({ "name": "hourly", "rotate_every_s": 3600, "grace_s": 3000 });
            let policy = world.run(&Do::CreatePolicy(terms)).await.expect("a policy").at("/id");
            let app = world.application("shop").await;
            let mut held = Vec::new();
            for name in ["a", "b"] {
                let mut new = new_key(app, name);
                new["policy"] = json!(policy);
                held.push(world.held(&new).await);
            }
            tick(&world).await;
            tokio::time::advance(HOUR + TICK).await;
            world.fault_at(nth, |_| true, fault);
            let ended = survive(world.service().maintain()).await;
            world.heal();
            // A ticket that died without its event is voided after a minute; a turn that is silent is stepped over.
            for _ in 0..3 {
                tokio::time::advance(TICK).await;
                tick(&world).await;
            }
            for held in &held {
                let mine = told(&world, held.id).await;
                assert_eq!(mine, [(Action::KeyOffered, Outcome::Done)], "{fault:?}, call {nth}");
            }
            check_state(&world, 803).await;
            integrate_all(&world, 803).await;
            check_projections(&world, 803).await;
            if ended.is_some() {
                assert!(nth > 30, "{nth} calls");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tick_costs_what_is_due_and_not_what_there_is() {
    let mut costs = Vec::new();
    for others in [600, 2400] {
        let world = World::new(804).await;
        keys(&world, 20).await;
        tick(&world).await;
        tokio::time::advance(DAY * 30).await;
        let app = world.application("others").await;
        for n in 0..others {
            world.held(&new_key(app, &format!("o{n}"))).await;
        }
        tick(&world).await;
        tokio::time::advance(DAY * 60 - HOUR).await;
        // The days that nobody walked, and the daily look at the rings.
        for _ in 0..20 {
            tick(&world).await;
        }
        world.kv.take_calls();
        tokio::time::advance(HOUR + TICK).await;
        assert_eq!(tick(&world).await.offered, 20 + 1, "root is due as well");
        costs.push(world.kv.take_calls().len());
    }
    let [few, many] = costs[..] else { panic!("two worlds") };
    assert!(few.abs_diff(many) < 40, "{costs:?}");
}
