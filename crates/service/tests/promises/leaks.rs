//! A report of leaked tokens ends every key of ours in it, once and with one event each, labels all that it has, and is harmless when it
//! comes again.

use crate::world::{Do, World, is_batch, new_key};
use keyward_domain::event::{Action, ActorKind, Outcome};
use keyward_domain::key::Environment;
use keyward_domain::{ApplicationId, Code, KeyId, token};
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

/// Events since the log had `before` of them: their actions, and of which keys.
async fn told(world: &World, before: usize) -> Vec<(Action, Outcome)> {
    let events = world.events().await.split_off(before);
    events.into_iter().map(|event| (event.action, event.outcome)).collect()
}

async fn passes(world: &World, token: &str) -> &'static str {
    world.code(token, &Demand::default()).await
}

/// An application whose keys are rotated where they leak.
async fn rotating(world: &World) -> ApplicationId {
    let app = world.application("shop").await;
    let policy = world.policy(&json!({ "on_leak": "rotate" })).await;
    world.run(&Do::ChangeApplication(app, json!({ "policy": policy }), None)).await.expect("given");
    app
}

#[tokio::test(start_paused = true)]
async fn by_policy_a_leaked_key_is_rotated_as_in_an_incident() {
    let world = World::new(923).await;
    let app = rotating(&world).await;
    let held = world.held(&new_key(app, "key")).await;
    let admin = world.admin(&["keys:read".to_owned()]).await;
    let before = world.events().await.len();
    let report = Do::ReportLeaks(json!([found(&held.token), found(&held.renewal)]));
    assert_eq!(labels(&world.run(&report).await.expect("reported")), [true, true]);
    assert_eq!(passes(&world, &held.token).await, "REVOKED", "its version is dead");
    let refused = world.run(&Do::Renew(held.renewal.clone())).await.map_err(|error| error.code);
    assert_eq!(refused.err(), Some(Code::RenewalGone), "whoever has the token may have the renewal token");
    let done = [(Action::KeyLeaked, Outcome::Done), (Action::KeyRotated, Outcome::Done)];
    assert_eq!(told(&world, before).await, done);
    let event = world.events().await.swap_remove(before);
    assert_eq!(event.detail[0], "version 1");
    assert!(event.detail[1].starts_with("found in content at https://github.com/"), "{:?}", event.detail);
    let shown = world.run(&Do::ReadKey(held.id)).await.expect("shown");
    assert_eq!([shown.at("/state"), shown.at("/standing")], ["active", "rotating"], "the key goes on");

    // Whoever is to have it claims its successor, which a report that comes again leaves alone.
    let ticket = world.run(&Do::Reissue(held.id)).await.expect("a claim").at("/claim/ticket");
    let next = world.run(&Do::TakeClaim(ticket)).await.expect("claimed");
    assert_eq!(
        (next.at("/key/version"), passes(&world, &next.at("/token")).await),
        ("2".to_owned(), "VALID")
    );
    let before = world.events().await.len();
    assert_eq!(labels(&world.run(&report).await.expect("reported again")), [true, true]);
    assert_eq!(told(&world, before).await, []);
    assert_eq!(passes(&world, &next.at("/token")).await, "VALID");

    // A policy has no say over who administers.
    let policy = world.policy(&json!({ "name": "lenient", "on_leak": "rotate" })).await;
    world.run(&Do::ChangeKey(admin.id, json!({ "policy": policy }), None)).await.expect("given");
    world.run(&Do::ReportLeaks(json!([found(&admin.token)]))).await.expect("reported");
    assert_eq!(world.run(&Do::ReadKey(admin.id)).await.expect("shown").at("/state"), "revoked");
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_broke_off_is_ended_when_the_report_comes_again() {
    for (nth, fault) in (0..3).flat_map(|nth| [(nth, Fault::Before), (nth, Fault::After)]) {
        let world = World::new(924).await;
        let app = rotating(&world).await;
        let mut held = Vec::new();
        for number in 0..40 {
            held.push(world.held(&new_key(app, &format!("key {number}"))).await);
        }
        let report = Do::ReportLeaks(held.iter().map(|key| found(&key.token)).collect());
        let before = world.events().await.len();
        world.fault_at(nth, is_batch, fault);
        let first = world.run(&report).await;
        world.heal();
        assert!(first.is_ok() || matches!(&first, Err(error) if error.code == Code::OutcomeUnknown), "{nth}");
        world.run(&report).await.expect("reported again");
        let count =
            async |wanted| told(&world, before).await.into_iter().filter(|told| *told == wanted).count();
        assert_eq!(count((Action::KeyLeaked, Outcome::Done)).await, 40, "batch {nth}, {fault:?}");
        assert_eq!(count((Action::KeyRotated, Outcome::Done)).await, 40, "batch {nth}, {fault:?}");
        for held in &held {
            let key = world.read().key(held.id).await.unwrap().expect("the key");
            assert_eq!((key.highest_version(), key.rotation.renewal), (2, None), "one successor each");
            assert_eq!(passes(&world, &held.token).await, "REVOKED");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_token_and_a_ticket_are_withdrawn_and_the_versions_go_on() {
    let world = World::new(925).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "held")).await;
    let (unclaimed, ticket) = world.issue(&new_key(app, "unclaimed")).await;
    let before = world.events().await.len();
    let unknown = |prefix| token::render(prefix, Environment::Live, &[3; 16], 1, &[4; 32]);
    let (renewals, tickets) = (unknown(token::PREFIX_RENEWAL), unknown(token::PREFIX_CLAIM));
    let report = Do::ReportLeaks(json!([
        found(&held.renewal),
        found(&ticket),
        found(&renewals),
        found(&tickets),
        found(&ticket)
    ]));
    let expected = [true, true, false, false, true];
    assert_eq!(labels(&world.run(&report).await.expect("reported")), expected);
    assert_eq!(told(&world, before).await, [(Action::KeyLeaked, Outcome::Done); 2], "one each");
    let code = async |what: &Do| world.run(what).await.map_err(|error| error.code).err();
    assert_eq!(code(&Do::Renew(held.renewal.clone())).await, Some(Code::RenewalGone));
    assert_eq!(code(&Do::TakeClaim(ticket.clone())).await, Some(Code::ClaimGone));
    assert_eq!(passes(&world, &held.token).await, "VALID", "nobody saw that");
    assert_eq!(world.run(&Do::ReadKey(unclaimed)).await.expect("shown").at("/state"), "unclaimed");
    let before = world.events().await.len();
    assert_eq!(labels(&world.run(&report).await.expect("reported again")), expected);
    assert_eq!(told(&world, before).await, []);
    // Whoever is to have them gets others.
    let again = world.run(&Do::Reissue(unclaimed)).await.expect("a claim").at("/claim/ticket");
    let claimed = world.run(&Do::TakeClaim(again)).await.expect("claimed");
    assert_eq!(passes(&world, &claimed.at("/token")).await, "VALID");
}

#[tokio::test(start_paused = true)]
async fn what_opens_nothing_any_more_ends_nothing() {
    let world = World::new(926).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "key")).await;
    let incident = json!({ "reason": "found before the scanner did", "mode": "incident" });
    let offered = world.run(&Do::Rotate(held.id, incident)).await.expect("rotated");
    let next = world.run(&Do::TakeClaim(offered.at("/claim/ticket"))).await.expect("claimed");
    let before = world.events().await.len();
    let dead = json!([found(&held.token), found(&held.renewal), found(&offered.at("/claim/ticket"))]);
    assert_eq!(labels(&world.run(&Do::ReportLeaks(dead)).await.expect("reported")), [true; 3]);
    assert_eq!((told(&world, before).await, passes(&world, &next.at("/token")).await), (vec![], "VALID"));
    world
        .run(&Do::ReportLeaks(json!([found(&held.token), found(&next.at("/token"))])))
        .await
        .expect("reported");
    assert_eq!(passes(&world, &next.at("/token")).await, "REVOKED", "the one that passed was there as well");
}
