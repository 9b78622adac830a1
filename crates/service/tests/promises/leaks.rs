//! A report of leaked tokens ends every key of ours in it, once and with one event each, labels all that it has, and is harmless when it
//! comes again.

use crate::world::{Do, World, is_batch, new_key};
use keyward_domain::event::{Action, ActorKind};
use keyward_domain::key::Environment;
use keyward_domain::{Code, KeyId, token};
use keyward_ledger::memory::Fault;
use keyward_verify::Demand;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn found(token: &str) -> Value {
    json!({"token": token, "type": "keyward_token", "url": "https://github.com/acme/shop/blob/1/.env", "source": "content", "new": 1})
}

fn nobodys(id: u8) -> String {
    token::render("kw", Environment::Live, &[id; 16], 1, &[id; 32])
}

fn labels(reply: &crate::world::Reply) -> Vec<bool> {
    let items = reply.json().as_array().expect("a list").clone();
    items.iter().map(|item| item["label"] == "true_positive").collect()
}

#[tokio::test(start_paused = true)]
async fn ours_die_once_and_others_are_told_apart() {
    let world = World::new(920).await;
    let app = world.application("shop").await;
    let mut held = Vec::new();
    for number in 0..200 {
        held.push(world.held(&new_key(app, &format!("key {number}"))).await);
    }
    world.run(&Do::RevokeKey(held[7].id, "before")).await.expect("revoked");
    let spared = world.held(&new_key(app, "not in it")).await;
    let mut matches: Vec<Value> = held.iter().map(|key| found(&key.token)).collect();
    matches.push(found(&held[3].token));
    matches.extend([
        found(&nobodys(1)),
        found("kw_live_short"),
        found(""),
        json!({"token": "ghp_x", "type": "other"}),
    ]);
    let report = Do::ReportLeaks(json!(matches));
    let before = world.events().await.len();
    world.kv.take_calls();
    let reply = world.run(&report).await.expect("reported");
    assert_eq!(world.kv.take_calls().iter().filter(|call| is_batch(call)).count(), 2, "199 in two commits");
    let expected: Vec<bool> = (0..201).map(|_| true).chain([false; 4]).collect();
    assert_eq!(labels(&reply), expected);
    assert!(!reply.text.contains(&held[0].token), "no token is repeated");
    for key in &held {
        assert_ne!(world.code(&key.token, &Demand::default()).await, "VALID");
    }
    assert_eq!(world.code(&spared.token, &Demand::default()).await, "VALID");
    let events: Vec<_> = world.events().await.split_off(before);
    let about: BTreeSet<KeyId> = events.iter().filter_map(|event| event.target.key).collect();
    assert_eq!((events.len(), about.len()), (199, 199), "one for each that lived");
    assert!(
        events.iter().all(|event| event.action == Action::KeyLeaked && event.actor.kind == ActorKind::Holder)
    );
    assert!(
        events[0].detail.contains(&"found in content at https://github.com/acme/shop/blob/1/.env".to_owned())
    );
    // Again: the same labels, and nothing else.
    let again = world.run(&report).await.expect("reported again");
    assert_eq!(labels(&again), expected);
    assert_eq!(world.events().await.len(), before + 199);
}

#[tokio::test(start_paused = true)]
async fn a_report_that_broke_off_ends_the_others_when_it_comes_again() {
    let world = World::new(921).await;
    let app = world.application("shop").await;
    let mut held = Vec::new();
    for number in 0..150 {
        held.push(world.held(&new_key(app, &format!("key {number}"))).await);
    }
    let report = Do::ReportLeaks(held.iter().map(|key| found(&key.token)).collect());
    world.fault_at(1, is_batch, Fault::Before);
    assert_eq!(world.run(&report).await.map_err(|error| error.code).err(), Some(Code::OutcomeUnknown));
    world.heal();
    world.run(&report).await.expect("reported again");
    let leaks = world.events().await.into_iter().filter(|event| event.action == Action::KeyLeaked);
    let about: Vec<KeyId> = leaks.filter_map(|event| event.target.key).collect();
    assert_eq!((about.len(), about.iter().collect::<BTreeSet<_>>().len()), (150, 150), "one event for each");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_holds_a_token_is_on_no_record() {
    let world = World::new(922).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "key")).await;
    let mut one = found(&held.token);
    one["url"] = json!(format!("https://example.com/?key={}", held.token));
    world.run(&Do::ReportLeaks(json!([one]))).await.expect("reported");
    for event in world.events().await {
        assert!(!serde_json::to_string(&event).expect("JSON").contains(&held.token));
    }
    let too_many: Vec<Value> = vec![json!({"token": "", "type": "x"}); 10_001];
    let refused = world.run(&Do::ReportLeaks(json!(too_many))).await.map_err(|error| error.code).err();
    assert_eq!(refused, Some(Code::InvalidBody));
}
