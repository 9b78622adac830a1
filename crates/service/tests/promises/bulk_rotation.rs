//! One call after the other offers successors of all keys that are meant and of no other: each with one event and one claim, in commits
//! that happen whole or not at all, by the rules of a single rotation, and never more than the caller may.

use crate::history::check_state;
use crate::revocation_races::interleave;
use crate::world::{Do, Held, World, is_batch, new_key, perform, survive};
use keyward_domain::event::{Action, Event, Outcome};
use keyward_domain::ports::Clock;
use keyward_domain::{ApplicationId, Code, KeyId};
use keyward_ledger::memory::{Call, Fault};
use keyward_verify::Demand;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The most that one call may rotate.
const KEYS_AT_ONCE: usize = 32;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// A minute is walked when it is over, and a little.
const TICK: Duration = Duration::from_secs(66);

/// What all calls of one rotation came to.
#[derive(Default, Debug)]
struct All {
    /// The ticket of each key.
    tickets: BTreeMap<KeyId, String>,
    rotated: Vec<KeyId>,
    /// The code of each key that was left.
    skipped: BTreeMap<KeyId, String>,
    already_dead: u64,
    calls: usize,
}

fn id_of(value: &Value) -> KeyId {
    value["id"].as_str().unwrap().parse().unwrap()
}

/// Follows the cursor to its end.
async fn rotate_as(world: &World, token: &str, asked: &Value) -> All {
    let (mut all, mut asked) = (All::default(), asked.clone());
    loop {
        let reply = world.run_as(token, &Do::RotateMany(asked.clone())).await.expect("rotates").json();
        let rotated = reply["rotated"].as_array().unwrap();
        assert!(rotated.len() <= KEYS_AT_ONCE);
        all.calls += 1;
        for key in rotated {
            all.rotated.push(id_of(key));
            assert_eq!(key["claim"].is_null(), reply["dry_run"] == true);
            assert_eq!(key["event"].is_null(), reply["dry_run"] == true);
            if let Some(ticket) = key["claim"]["ticket"].as_str() {
                assert_eq!(key["claim"]["url"], format!("https://keyward.example/claim#{ticket}"));
                assert!(all.tickets.insert(id_of(key), ticket.to_owned()).is_none(), "each once");
            }
        }
        let skipped = reply["skipped"].as_array().unwrap();
        all.skipped.extend(skipped.iter().map(|key| (id_of(key), key["code"].as_str().unwrap().to_owned())));
        all.already_dead += reply["already_dead"].as_u64().unwrap();
        if reply["next_cursor"].is_null() {
            return all;
        }
        asked["cursor"] = reply["next_cursor"].clone();
    }
}

async fn rotate(world: &World, asked: &Value) -> All {
    rotate_as(world, &world.root, asked).await
}

/// The body of a key.
fn key(application: ApplicationId, name: &str, environment: &str, tags: &[&str]) -> Value {
    let mut new = new_key(application, name);
    (new["environment"], new["tags"]) = (json!(environment), json!(tags));
    new
}

async fn passes(world: &World, token: &str) -> &'static str {
    world.code(token, &Demand::default()).await
}

async fn claim(world: &World, ticket: &str) -> String {
    world.run(&Do::TakeClaim(ticket.to_owned())).await.expect("claimed").at("/token")
}

/// What was done to keys in rotations.
async fn offers(world: &World) -> Vec<Event> {
    let mut events = world.events().await;
    let of_rotation = [Action::KeyRotated, Action::ClaimReissued];
    events.retain(|event| of_rotation.contains(&event.action) && event.outcome == Outcome::Done);
    events
}

async fn held(world: &World, application: ApplicationId, count: usize) -> Vec<Held> {
    let mut all = Vec::new();
    for n in 0..count {
        let (environment, tags) = (["live", "test"][(n / 2) % 2], [&["eu"][..], &[]][n % 2]);
        all.push(world.held(&key(application, &format!("key {n}"), environment, tags)).await);
        tokio::time::advance(Duration::from_secs(60)).await;
    }
    all
}

fn ids(keys: &[Held]) -> BTreeSet<KeyId> {
    keys.iter().map(|held| held.id).collect()
}

#[tokio::test(start_paused = true)]
async fn those_that_are_meant_have_a_successor_to_be_claimed_and_no_other() {
    type Row = (&'static str, fn(ApplicationId, &World) -> Value, fn(usize) -> bool);
    let rows: [Row; 5] = [
        ("application", |app, _| json!({ "application": app }), |_| true),
        ("tag", |_, _| json!({ "tag": "EU" }), |n| n % 2 == 0),
        ("standing", |app, _| json!({ "application": app, "standing": "active" }), |_| true),
        (
            "environment and time",
            |_, world| json!({ "environment": "test", "issued_since": world.clock.now().plus_s(-6 * 60 - 30) }),
            |n| n >= 2 && (n / 2) % 2 == 1,
        ),
        (
            "age of the version",
            |app, world| json!({ "application": app, "claimed_until": world.clock.now().plus_s(-4 * 60 - 30) }),
            |n| n < 4,
        ),
    ];
    for (name, asked, is_meant) in rows {
        let world = World::new(180).await;
        let (app, other) = (world.application("shop").await, world.application("other").await);
        // Of before, and of somebody else: never meant.
        let theirs = world.held(&key(other, "theirs", "live", &[])).await;
        tokio::time::advance(DAY).await;
        let keys = held(&world, app, 8).await;
        let mut asked = asked(app, &world);
        (asked["reason"], asked["grace_s"]) = (json!("all of them"), json!(3600));
        let mut dry = asked.clone();
        dry["dry_run"] = json!(true);
        let before = offers(&world).await.len();
        let looked = rotate(&world, &dry).await;
        assert_eq!(offers(&world).await.len(), before, "{name}: a dry run changes nothing");
        let done = rotate(&world, &asked).await;
        assert_eq!(looked.rotated, done.rotated, "{name}");
        let expected: BTreeSet<KeyId> =
            keys.iter().enumerate().filter(|(n, _)| is_meant(*n)).map(|(_, held)| held.id).collect();
        assert_eq!(done.tickets.keys().copied().collect::<BTreeSet<_>>(), expected, "{name}");
        let told = offers(&world).await.split_off(before);
        assert_eq!(told.len(), expected.len(), "{name}: one event each");
        for event in told {
            let id = event.target.key.expect("a key");
            let written: Vec<&str> = event.writes.iter().map(|write| &write.record[..2]).collect();
            assert_eq!(written, ["m:", "q:"], "{name}: its own key and claim alone");
            assert_eq!(event.reason.as_deref(), Some("all of them"));
            assert_eq!(world.read().key(id).await.unwrap().unwrap().event, event.id, "{name}");
        }
        for held in &keys {
            assert_eq!(passes(&world, &held.token).await, "VALID", "{name}: nobody is cut off");
            let Some(ticket) = done.tickets.get(&held.id) else { continue };
            let successor = claim(&world, ticket).await;
            assert_eq!(
                (passes(&world, &held.token).await, passes(&world, &successor).await),
                ("VALID", "VALID")
            );
        }
        assert!(!done.tickets.contains_key(&theirs.id));
        tokio::time::advance(Duration::from_secs(3601)).await;
        let old = &keys[keys.iter().position(|held| expected.contains(&held.id)).unwrap()];
        assert_eq!(
            passes(&world, &old.token).await,
            "EXPIRED",
            "{name}: the grace is the one that was asked for"
        );
        check_state(&world, 180).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_rotated_now_is_named_and_what_was_offered_on_schedule_is_handed_out() {
    let world = World::new(181).await;
    let app = world.application("shop").await;
    let keys = held(&world, app, 6).await;
    let [stable, offered, expired_claim, overlapping, dead, scheduled] = &keys[..] else { panic!("six") };
    let (unclaimed, _) = world.issue(&new_key(app, "unclaimed")).await;
    let single = |held: &Held| Do::Rotate(held.id, json!({"reason": "x", "grace_s": 30 * 24 * 3600}));
    // A policy under which it is due at once; its successor is offered, and nobody has a link.
    let policy = world.policy(&json!({"rotate_every_s": 24 * 3600, "grace_s": 24 * 3600})).await;
    world.run(&Do::ChangeKey(scheduled.id, json!({ "policy": policy }), None)).await.expect("changed");
    tokio::time::advance(DAY + TICK).await;
    while world.service().maintain().await.expect("a tick").due.offered == 0 {}
    world.run(&Do::RevokeKey(dead.id, "x")).await.expect("revoked");
    world.run(&single(expired_claim)).await.expect("offered");
    let ticket = world.run(&single(overlapping)).await.expect("offered").at("/claim/ticket");
    claim(&world, &ticket).await;
    // A claim is open for a quarter of an hour.
    tokio::time::advance(Duration::from_secs(16 * 60)).await;
    world.run(&single(offered)).await.expect("offered");
    let asked = json!({"application": app, "reason": "x"});
    let before = offers(&world).await.len();
    let done = rotate(&world, &asked).await;
    let expected: BTreeSet<KeyId> = [stable.id, expired_claim.id, scheduled.id].into();
    assert_eq!(done.tickets.keys().copied().collect::<BTreeSet<_>>(), expected);
    assert_eq!(done.already_dead, 1);
    let conflict = || "state-conflict".to_owned();
    let expected: BTreeMap<KeyId, String> =
        [(offered.id, conflict()), (overlapping.id, conflict()), (unclaimed, conflict())].into();
    assert_eq!(done.skipped, expected);
    let told: BTreeMap<KeyId, Action> = offers(&world).await[before..]
        .iter()
        .map(|event| (event.target.key.unwrap(), event.action))
        .collect();
    assert_eq!(told[&stable.id], Action::KeyRotated);
    assert_eq!(
        told[&scheduled.id],
        Action::ClaimReissued,
        "no other successor than the one that was offered"
    );
    for (held, ticket) in [(scheduled, &done.tickets[&scheduled.id]), (stable, &done.tickets[&stable.id])] {
        let key = world.read().key(held.id).await.unwrap().unwrap();
        assert_eq!(key.highest_version(), 2);
        assert_eq!(passes(&world, &claim(&world, ticket).await).await, "VALID");
    }
    let again = rotate(&world, &asked).await;
    assert!(again.tickets.is_empty(), "twice offers nothing more: {again:?}");
    assert_eq!(again.skipped.len(), 6);
    check_state(&world, 181).await;
}

#[tokio::test(start_paused = true)]
async fn overdue_keys_are_found_by_their_standing() {
    let world = World::new(182).await;
    let app = world.application("shop").await;
    let policy = world.policy(&json!({"rotate_every_s": 24 * 3600, "grace_s": 24 * 3600})).await;
    let keys = held(&world, app, 3).await;
    for held in &keys[1..] {
        world.run(&Do::ChangeKey(held.id, json!({ "policy": policy }), None)).await.expect("changed");
    }
    tokio::time::advance(DAY * 2 + TICK).await;
    while world.service().maintain().await.expect("a tick").due.minutes_left > 0 {}
    for selection in [json!({"standing": "overdue"}), json!({"standing": "overdue", "application": app})] {
        let mut asked = selection.clone();
        (asked["reason"], asked["dry_run"]) = (json!("late"), json!(true));
        let found = rotate(&world, &asked).await;
        assert_eq!(found.rotated.iter().copied().collect::<BTreeSet<_>>(), ids(&keys[1..]), "{selection}");
    }
    let done = rotate(&world, &json!({"standing": "overdue", "reason": "late"})).await;
    assert_eq!(done.tickets.keys().copied().collect::<BTreeSet<_>>(), ids(&keys[1..]));
    for ticket in done.tickets.values() {
        claim(&world, ticket).await;
    }
    assert!(rotate(&world, &json!({"standing": "overdue", "reason": "late"})).await.rotated.is_empty());
    check_state(&world, 182).await;
}

#[tokio::test(start_paused = true)]
async fn in_an_incident_every_version_dies_first_and_what_was_claimed_meanwhile_lives_on() {
    let world = World::new(183).await;
    let app = world.application("shop").await;
    let mut keys = held(&world, app, 40).await;
    let twice = keys.pop().unwrap();
    let ticket = world.run(&Do::Rotate(twice.id, json!({"reason": "x"}))).await.expect("offered");
    let found_at = world.clock.now();
    let asked =
        json!({"application": app, "mode": "incident", "claimed_until": found_at, "reason": "leaked"});
    let done = rotate(&world, &asked).await;
    assert_eq!((done.tickets.len(), done.calls), (40, 2), "{:?}", done.skipped);
    for held in keys.iter().chain([&twice]) {
        assert_eq!(passes(&world, &held.token).await, "REVOKED");
    }
    let gone = world.run(&Do::TakeClaim(ticket.at("/claim/ticket"))).await.expect_err("died as well");
    assert_eq!(gone.code, Code::ClaimGone);
    tokio::time::advance(Duration::from_secs(1)).await;
    let fresh = claim(&world, &done.tickets[&keys[0].id]).await;
    let again = rotate(&world, &asked).await;
    assert!(again.tickets.is_empty(), "repeated, it leaves what it did: {again:?}");
    assert_eq!(again.skipped.len(), 39, "their claims are open");
    assert_eq!(passes(&world, &fresh).await, "VALID");
    // Once nobody can take those claims any more, others are made for the same successors.
    tokio::time::advance(Duration::from_secs(16 * 60)).await;
    let again = rotate(&world, &asked).await;
    assert_eq!(again.tickets.len(), 39);
    let key = world.read().key(keys[1].id).await.unwrap().unwrap();
    assert_eq!(key.highest_version(), 2, "the successor is the one that was offered");
    assert_eq!(passes(&world, &claim(&world, &again.tickets[&keys[1].id]).await).await, "VALID");
    let kills = world.events().await.into_iter().filter(|event| event.action == Action::VersionsKilled);
    assert_eq!(kills.count(), 40, "an event for each, and for none twice");
    check_state(&world, 183).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_rotates_more_than_they_may_nor_ends_their_own_key_nor_the_last_root() {
    let world = World::new(184).await;
    let (app, other) = (world.application("shop").await, world.application("other").await);
    let mine = world.held(&new_key(app, "mine")).await;
    let theirs = world.held(&new_key(other, "theirs")).await;
    let operator = world.admin(&["keys:rotate".to_owned(), "keys:read".to_owned()]).await;
    let stronger = world.admin(&["apps:write".to_owned()]).await;
    let narrowed = world.admin(&[format!("keys:rotate@{app}")]).await;
    let all = json!({"issued_since": "2000-01-01T00:00:00Z", "reason": "x"});
    let error = world.run_as(&narrowed.token, &Do::RotateMany(all.clone())).await.expect_err("of all");
    assert_eq!(error.code, Code::InsufficientScope);
    let of = |application: ApplicationId| json!({"application": application, "reason": "x"});
    let error = world.run_as(&narrowed.token, &Do::RotateMany(of(other))).await.expect_err("of others");
    assert_eq!(error.code, Code::NotFound);
    assert_eq!(rotate_as(&world, &narrowed.token, &of(app)).await.rotated, [mine.id]);
    let done = rotate_as(&world, &operator.token, &all).await;
    assert_eq!(done.rotated, [narrowed.id, operator.id, theirs.id], "its own as well: nothing ends");
    let refused: Vec<&str> = done.skipped.values().map(String::as_str).collect();
    assert_eq!(
        refused.iter().filter(|code| **code == "insufficient-scope").count(),
        2,
        "root, and the stronger"
    );
    assert_eq!(done.skipped[&stronger.id], "insufficient-scope");
    // In an incident the key of the call and the last root are spared, whoever asks.
    let mut incident = all.clone();
    incident["mode"] = json!("incident");
    let mut dry = incident.clone();
    dry["dry_run"] = json!(true);
    let second = world.admin(&["*".to_owned()]).await;
    let mut for_an_hour = new_key(ApplicationId::KEYWARD, "for an hour");
    (for_an_hour["scopes"], for_an_hour["principal"]) = (json!(["*"]), json!("x"));
    for_an_hour["expires_in_s"] = json!(3600);
    let caller = world.held(&for_an_hour).await;
    for asked in [&dry, &incident] {
        let done = rotate_as(&world, &caller.token, asked).await;
        assert_eq!(done.skipped[&caller.id], "forbidden");
        assert_eq!(done.skipped.values().filter(|code| *code == "last-root").count(), 1);
        assert!(done.rotated.contains(&second.id) && done.rotated.contains(&mine.id));
    }
    assert_eq!(passes(&world, &world.root).await, "VALID");
    assert_eq!(passes(&world, &caller.token).await, "VALID");
    assert_eq!(passes(&world, &second.token).await, "REVOKED");
}

#[tokio::test(start_paused = true)]
async fn what_selects_nothing_or_cannot_be_read_is_refused_with_its_event() {
    let world = World::new(185).await;
    let app = world.application("shop").await;
    for (asked, field) in [
        (json!({"reason": "x"}), ""),
        (json!({"environment": "live", "reason": "x"}), ""),
        (json!({"application": app, "reason": " "}), "reason"),
        (json!({"tag": " ", "reason": "x"}), "tag"),
        (json!({"application": app, "mode": "incident", "grace_s": 1, "reason": "x"}), "grace_s"),
        (json!({"application": app, "grace_s": 7_776_001, "reason": "x"}), "grace_s"),
        (json!({"application": app, "cursor": "x", "reason": "x"}), "cursor"),
        (json!({"application": app, "standing": "active", "cursor": "x", "reason": "x"}), "cursor"),
    ] {
        let before = world.events().await.len();
        let error = world.run(&Do::RotateMany(asked.clone())).await.expect_err("refused");
        assert_eq!((error.code, error.fields[0].field.as_str()), (Code::InvalidField, field), "{asked}");
        let events = world.events().await;
        assert_eq!(events.len(), before + 1, "{asked}");
        let event = events.last().unwrap();
        assert_eq!((event.action, event.outcome), (Action::KeyRotated, Outcome::Refused));
    }
    let absent = json!({"application": ApplicationId::from_bytes([7; 16]), "reason": "x"});
    assert_eq!(world.run(&Do::RotateMany(absent)).await.expect_err("refused").code, Code::NotFound);
    world.run(&Do::Freeze("x")).await.expect("frozen");
    let error = world.run(&Do::RotateMany(json!({"application": app, "reason": "x"}))).await;
    assert_eq!(error.expect_err("refused").code, Code::IssuingFrozen);
}

#[tokio::test(start_paused = true)]
async fn under_one_idempotency_key_the_claims_are_those_of_the_first_time() {
    let world = World::new(186).await;
    let app = world.application("shop").await;
    held(&world, app, 5).await;
    let asked = Do::RotateMany(json!({"application": app, "reason": "x"}));
    let first = world.run_once("once", &asked).await.expect("rotates");
    assert_eq!(first.json()["rotated"].as_array().unwrap().len(), 5);
    let again = world.run_once("once", &asked).await.expect("rotated");
    assert!(again.replayed && again.text == first.text);
    let other = Do::RotateMany(json!({"application": app, "reason": "y"}));
    assert_eq!(world.run_once("once", &other).await.expect_err("another").code, Code::IdempotencyMismatch);
    assert_eq!(offers(&world).await.len(), 5);
    // No value of the store has a ticket or a link in it.
    let ticket = first.at("/rotated/0/claim/ticket");
    let is_in = |value: &[u8]| value.windows(ticket.len()).any(|window| window == ticket.as_bytes());
    assert!(!world.kv.values().values().any(|value| is_in(value)));
    check_state(&world, 186).await;
}

#[tokio::test(start_paused = true)]
async fn many_are_offered_in_few_commits_each_in_its_own_turn() {
    let world = World::new(187).await;
    let app = world.application("shop").await;
    held(&world, app, 40).await;
    world.kv.take_calls();
    let done = rotate(&world, &json!({"application": app, "reason": "x"})).await;
    let calls = world.kv.take_calls();
    assert_eq!((done.tickets.len(), done.calls), (40, 2));
    let batches = calls.iter().filter(|call| matches!(call, Call::SetMany(_))).count();
    assert_eq!(batches, 2, "one for each call");
    let turns = calls.iter().filter(|call| matches!(call, Call::Increment(key) if key.starts_with("c:m:")));
    assert_eq!(turns.count(), 40);
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_call_all_of_a_commit_or_nothing_is_offered_and_the_next_call_goes_on() {
    for mode in ["scheduled", "incident"] {
        for nth in 0.. {
            let mut finished = true;
            for fault in [Fault::Crash, Fault::CrashAfter] {
                let world = World::new(188).await;
                let app = world.application("shop").await;
                let keys = held(&world, app, 3).await;
                let asked = json!({"application": app, "mode": mode, "reason": "x"});
                let caller = world.caller_with(&world.root, Some("once")).await;
                world.fault_at(nth, |_| true, fault);
                let what = Do::RotateMany(asked.clone());
                let ended = survive(perform(&world.service(), caller, &what)).await;
                world.heal();
                finished &= ended.is_some();
                let offered = offers(&world).await.len();
                assert!(offered == 0 || offered == 3, "{mode}, call {nth}: {offered}");
                let reply = world.run_until_ended("once", &what).await.expect("repeated").json();
                assert_eq!(reply["rotated"].as_array().unwrap().len(), 3, "{mode}, call {nth}");
                assert_eq!(offers(&world).await.len(), 3, "{mode}, call {nth}: each once");
                for held in &keys {
                    let expected = if mode == "incident" { "REVOKED" } else { "VALID" };
                    assert_eq!(passes(&world, &held.token).await, expected, "{mode}, call {nth}");
                }
                let ticket = reply["rotated"][0]["claim"]["ticket"].as_str().unwrap();
                assert_eq!(passes(&world, &claim(&world, ticket).await).await, "VALID");
                check_state(&world, 188).await;
            }
            if finished {
                assert!(nth > 10, "{mode}: {nth} calls");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_offers_nothing_and_one_whose_reply_is_lost_all_of_its_own() {
    for (fault, told) in
        [(Fault::Before, false), (Fault::After, true), (Fault::Twice, true), (Fault::SlowReply(4_000), true)]
    {
        let world = World::new(189).await;
        let app = world.application("shop").await;
        held(&world, app, 4).await;
        let asked = json!({"application": app, "reason": "x"});
        world.fault_at(0, is_batch, fault);
        let ended = world.run(&Do::RotateMany(asked.clone())).await;
        world.heal();
        assert_eq!(ended.is_ok(), told, "{fault:?}");
        let offered = offers(&world).await.len();
        assert_eq!(offered, if told { 4 } else { 0 }, "{fault:?}");
        tokio::time::advance(Duration::from_secs(6)).await;
        rotate(&world, &asked).await;
        assert_eq!(offers(&world).await.len(), 4, "{fault:?}: one event each, in the end");
        check_state(&world, 189).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_it_races_each_key_has_one_successor() {
    for seed in 0..60 {
        let world = World::new(7300 + seed).await;
        let app = world.application("shop").await;
        let keys = held(&world, app, 3).await;
        let many = Do::RotateMany(json!({"application": app, "reason": "x"}));
        let what = [
            many.clone(),
            many,
            Do::Rotate(keys[0].id, json!({"reason": "x"})),
            Do::ChangeKey(keys[1].id, json!({"name": "edited"}), None),
            Do::RevokeKey(keys[2].id, "x"),
        ];
        let ended = interleave(&world, &what, |awake| world.rng.below(awake), None).await;
        let told: Vec<Value> =
            ended[..2].iter().map(|reply| reply.as_ref().expect("rotates").json()).collect();
        assert!(ended[3].is_ok() && ended[4].is_ok(), "seed {seed}");
        let of = |id: KeyId| {
            let rotated = told.iter().flat_map(|reply| reply["rotated"].as_array().unwrap());
            rotated.filter(|key| id_of(key) == id).count()
        };
        assert_eq!(of(keys[0].id) + usize::from(ended[2].is_ok()), 1, "seed {seed}: one is offered once");
        assert_eq!(of(keys[1].id), 1, "seed {seed}");
        assert!(of(keys[2].id) <= 1, "seed {seed}");
        assert_eq!(passes(&world, &keys[2].token).await, "REVOKED", "seed {seed}");
        for held in &keys[..2] {
            let key = world.read().key(held.id).await.unwrap().unwrap();
            assert_eq!(key.highest_version(), 2, "seed {seed}");
        }
        let key = world.read().key(keys[1].id).await.unwrap().unwrap();
        assert_eq!(key.name, "edited", "seed {seed}: no edit is lost");
        check_state(&world, 7300 + seed).await;
    }
}
