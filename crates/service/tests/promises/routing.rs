//! Whoever looks a slot up finds the key that serves it and what passes of it, as of the last acknowledged change.

use crate::world::{Do, World, new_key};
use keyward_domain::event::{Action, Target};
use keyward_domain::{ApplicationId, Code, KeyId};
use keyward_service::Attempt;
use serde_json::{Value, json};
use std::time::Duration;

fn assign(app: ApplicationId, slot: &str, key: Option<KeyId>) -> Do {
    let key = key.map(|key| key.to_string());
    Do::ChangeApplication(app, json!({ "routes": { slot: key } }), None)
}

/// The table and its tag; `None` where it did not change.
async fn table(world: &World, app: ApplicationId, seen: Option<u64>, wait_s: u32) -> Option<(Value, u64)> {
    let caller = world.caller(&world.root).await;
    let attempt = Attempt::to_read(caller, Action::KeyRead, Target::application(Some(app)));
    let found = world.service().routing_table(&attempt, app, seen, wait_s).await.expect("the table");
    found.map(|(table, tag)| (serde_json::to_value(&table).unwrap(), tag))
}

fn versions(table: &Value) -> Vec<(u64, String)> {
    let versions = table["routes"][0]["versions"].as_array().unwrap().iter();
    versions.map(|v| (v["version"].as_u64().unwrap(), v["state"].as_str().unwrap().to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_slot_follows_its_key_through_a_rotation() {
    let world = World::new(900).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    world.run(&assign(app, "payments-primary", Some(held.id))).await.expect("assigned");
    let (first, tag) = table(&world, app, None, 0).await.expect("a table");
    assert_eq!(first["routes"][0]["key"], held.id.to_string());
    assert_eq!(versions(&first), [(1, "live".to_owned())]);
    assert_eq!(table(&world, app, Some(tag), 0).await, None, "unchanged");

    world.run(&Do::Renew(held.renewal)).await.expect("renewed");
    let (second, next) = table(&world, app, Some(tag), 0).await.expect("changed");
    assert_ne!(tag, next);
    assert_eq!(versions(&second), [(1, "retiring".to_owned()), (2, "live".to_owned())]);
    tokio::time::advance(Duration::from_secs(7 * 24 * 3600)).await;
    let (third, _) = table(&world, app, Some(next), 0).await.expect("the grace is over");
    assert_eq!(versions(&third), [(2, "live".to_owned())]);
    world.run(&Do::RevokeKey(held.id, "x")).await.expect("revoked");
    let (last, _) = table(&world, app, None, 0).await.expect("a table");
    assert_eq!((versions(&last), &last["routes"][0]["state"]), (vec![], &json!("revoked")));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_hears_of_a_change_as_it_comes() {
    let world = World::new(901).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    world.run(&assign(app, "a", Some(held.id))).await.expect("assigned");
    let (_, tag) = table(&world, app, None, 0).await.expect("a table");
    let began = tokio::time::Instant::now();
    let (heard, ()) = futures::join!(table(&world, app, Some(tag), 30), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.run(&Do::Rotate(held.id, json!({ "reason": "x" }))).await.expect("offered");
    });
    assert_eq!(heard.expect("changed").0["routes"][0]["rotation"], "offered");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    let (_, tag) = table(&world, app, None, 0).await.expect("a table");
    assert_eq!(table(&world, app, Some(tag), 30).await, None);
    assert!(began.elapsed() >= Duration::from_secs(35));
}

#[tokio::test(start_paused = true)]
async fn a_slot_leads_to_a_living_key_of_the_application() {
    let world = World::new(902).await;
    let (app, other) = (world.application("shop").await, world.application("other").await);
    let (mine, theirs) = (world.held(&new_key(app, "k")).await, world.held(&new_key(other, "k")).await);
    let dead = world.held(&new_key(app, "dead")).await;
    world.run(&Do::RevokeKey(dead.id, "x")).await.expect("revoked");
    for what in [
        assign(app, "a", Some(theirs.id)),
        assign(app, "a", Some(dead.id)),
        assign(app, "A", Some(mine.id)),
        Do::ChangeApplication(app, json!({"routes": {"a": "x"}}), None),
    ] {
        assert_eq!(world.run(&what).await.err().map(|e| e.code), Some(Code::InvalidField), "{what:?}");
    }
    world.run(&assign(app, "b", Some(mine.id))).await.expect("assigned");
    world.run(&assign(app, "a", Some(mine.id))).await.expect("another slot");
    let (both, _) = table(&world, app, None, 0).await.expect("a table");
    let slots: Vec<_> =
        both["routes"].as_array().unwrap().iter().map(|route| route["slot"].clone()).collect();
    assert_eq!(slots, ["a", "b"]);
    world.run(&assign(app, "a", None)).await.expect("given up");
    assert_eq!(table(&world, app, None, 0).await.expect("a table").0["routes"].as_array().unwrap().len(), 1);
}
