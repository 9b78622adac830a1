//! What validators kept of use is told of each version, counted once; and a key that nobody uses is told of where its policy says so.

use crate::world::{Do, World, new_key};
use keyward_domain::KeyId;
use keyward_domain::event::Action;
use keyward_domain::ports::{Clock, Rng};
use keyward_records::{KvCount, SealedUsage, UsageBatch, UsageCount, names};
use serde_json::json;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

pub async fn ticket(world: &World) -> u64 {
    world.kv.increment(names::usage::TICKETS, 1).await.unwrap().unsigned_abs()
}

/// Keeps a batch as a validator does.
pub fn keep(world: &World, ticket: u64, key: KeyId, version: u16, accepted: u32) {
    let hour = world.clock.now().unix_s().div_euclid(3600);
    let batch = UsageBatch { ticket, counts: vec![UsageCount { key, version, hour, accepted, refused: 1 }] };
    let sealed = SealedUsage::new(&world.rings.records, &batch, world.rng.bytes()).expect("sealed");
    world.kv.tamper(sealed.store_key(), Some(sealed.value().to_vec()));
}

pub async fn fold(world: &World) -> u64 {
    world.service().fold_use(&world.kv).await.expect("folded")
}

#[tokio::test(start_paused = true)]
async fn each_version_says_when_it_was_used_last_and_no_batch_counts_twice() {
    let world = World::new(910).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    world.run(&Do::Renew(held.renewal)).await.expect("renewed");
    for version in [1, 1, 2] {
        let ticket = ticket(&world).await;
        keep(&world, ticket, held.id, version, 10);
        tokio::time::advance(HOUR).await;
    }
    let service = world.service();
    let (one, other) = futures::join!(service.fold_use(&world.kv), service.fold_use(&world.kv));
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(fold(&world).await, 0);
    let used = world.read().key_use(held.id).await.unwrap().expect("used");
    let counts: Vec<_> =
        used.versions.iter().map(|used| (used.version, used.accepted, used.refused)).collect();
    assert_eq!(counts, [(1, 20, 2), (2, 10, 1)]);
    let shown = world.run(&Do::ReadKey(held.id)).await.expect("read").json();
    for (index, version) in [1, 2].into_iter().enumerate() {
        let expected = used.last_used_at(version).expect("a time").to_string();
        assert_eq!(shown["versions"][index]["last_used_at"], expected);
    }
    assert!(used.last_used_at(1) < used.last_used_at(2));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_does_not_come_is_waited_for_a_minute() {
    let world = World::new(911).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let (slow, lost, last) = (ticket(&world).await, ticket(&world).await, ticket(&world).await);
    keep(&world, last, held.id, 1, 1);
    assert_eq!(fold(&world).await, 0);
    tokio::time::advance(Duration::from_secs(30)).await;
    keep(&world, slow, held.id, 1, 1);
    assert_eq!(fold(&world).await, 1, "it came");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(fold(&world).await, 1, "what {lost} said is lost");
    let used = world.read().key_use(held.id).await.unwrap().expect("used");
    assert_eq!((used.versions[0].accepted, used.through), (2, last), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_nobody_uses_is_told_of_once() {
    let world = World::new(912).await;
    let policy = json!({"name": "idle", "idle_after_s": 30 * 24 * 3600, "rotate_every_s": null});
    let policy = world.run(&Do::CreatePolicy(policy)).await.expect("a policy").at("/id");
    let app = world.application("shop").await;
    let mut new = new_key(app, "k");
    new["policy"] = json!(policy);
    let held = world.held(&new).await;
    let told = async || {
        world.service().maintain().await.expect("a run");
        let events = world.events().await.into_iter();
        events.filter(|e| e.action == Action::KeyIdle && e.target.key == Some(held.id)).count()
    };
    tokio::time::advance(DAY * 29).await;
    let first = ticket(&world).await;
    keep(&world, first, held.id, 1, 1);
    fold(&world).await;
    tokio::time::advance(DAY * 29).await;
    assert_eq!(told().await, 0, "it was used");
    tokio::time::advance(DAY * 2).await;
    assert_eq!(told().await, 1);
    tokio::time::advance(DAY * 60).await;
    assert_eq!(told().await, 1, "once");
    let second = ticket(&world).await;
    keep(&world, second, held.id, 1, 1);
    fold(&world).await;
    assert_eq!(told().await, 1);
    tokio::time::advance(DAY * 31).await;
    assert_eq!(told().await, 2, "until it is used again");
}
