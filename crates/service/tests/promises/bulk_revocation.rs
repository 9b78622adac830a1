//! One call after the other revokes all keys that are meant and no other: each with one event that names its own tombstone alone, in
//! commits that happen whole or not at all, and never more than the caller may.

use crate::history::check_state;
use crate::revocation_races::interleave;
use crate::world::{Do, Held, SeededRng, World, is_batch, is_ticket, new_key, perform, survive, writes};
use keyward_crypto::digest::hex;
use keyward_domain::event::{Action, Event, Outcome};
use keyward_domain::key::Key;
use keyward_domain::ports::Clock;
use keyward_domain::{ApplicationId, Code, KeyId};
use keyward_ledger::memory::{Call, Fault};
use keyward_records::names;
use keyward_verify::Demand;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// The most that one call may revoke.
const KILLS_MAX: usize = 128;

/// What all calls of one revocation came to.
#[derive(Default, Debug)]
struct All {
    revoked: Vec<KeyId>,
    already_dead: u64,
    examined: u64,
    skipped: Vec<Value>,
    calls: usize,
}

/// Follows the cursor to its end.
async fn revoke(world: &World, token: &str, asked: &Value) -> All {
    let (mut all, mut asked) = (All::default(), asked.clone());
    loop {
        let reply = world.run_as(token, &Do::RevokeMany(asked.clone())).await.expect("revokes").json();
        let revoked = reply["revoked"].as_array().unwrap();
        assert!(revoked.len() <= KILLS_MAX);
        all.calls += 1;
        all.revoked.extend(revoked.iter().map(|key| key["id"].as_str().unwrap().parse::<KeyId>().unwrap()));
        all.already_dead += reply["already_dead"].as_u64().unwrap();
        all.examined += reply["examined"].as_u64().unwrap();
        all.skipped.extend(reply["skipped"].as_array().unwrap().iter().cloned());
        if reply["next_cursor"].is_null() {
            return all;
        }
        asked["cursor"] = reply["next_cursor"].clone();
    }
}

fn key(app: ApplicationId, environment: &str, tags: &[&str]) -> Value {
    let mut new = new_key(app, "k");
    (new["environment"], new["tags"]) = (json!(environment), json!(tags));
    new
}

async fn issue_as(world: &World, token: &str, new: &Value) -> KeyId {
    let reply = world.run_as(token, &Do::Issue(new.clone())).await.expect("a key");
    reply.at("/key/id").parse().expect("an id")
}

async fn is_dead(world: &World, id: KeyId) -> bool {
    matches!(world.read().flag(id).await.expect("opens"), Some(Some(_)))
}

async fn deaths(world: &World) -> Vec<Event> {
    let mut events = world.events().await;
    events.retain(|event| event.action == Action::KeyRevoked && event.outcome == Outcome::Done);
    events
}

/// The keys, who issued each, and the applications.
struct Stage {
    world: World,
    apps: [ApplicationId; 2],
    admins: [Held; 2],
    keys: Vec<(KeyId, KeyId)>,
}

impl Stage {
    async fn new(seed: u64, count: usize) -> Self {
        let world = World::new(seed).await;
        let apps = [world.application("shop").await, world.application("other").await];
        let powers = ["keys:write".to_owned(), "keys:read".to_owned()];
        let admins = [world.admin(&powers).await, world.admin(&powers).await];
        let root = world.caller(&world.root).await.key().expect("root's key");
        let mut keys: Vec<(KeyId, KeyId)> = admins.iter().map(|admin| (admin.id, root)).collect();
        for n in 0..count {
            let admin = &admins[n % 2];
            let tags: &[&str] = [&["acme"][..], &[], &["eu", "acme"]][n % 3];
            let new = key(apps[(n / 2) % 2], ["live", "test"][(n / 4) % 2], tags);
            keys.push((issue_as(&world, &admin.token, &new).await, admin.id));
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        Self { world, apps, admins, keys }
    }

    /// Those that a naive look at every record finds.
    async fn expected(&self, matches: impl Fn(&Key, KeyId) -> bool) -> BTreeSet<KeyId> {
        let mut expected = BTreeSet::new();
        for (id, actor) in &self.keys {
            let key = self.world.read().key(*id).await.unwrap().unwrap();
            if matches(&key, *actor) {
                expected.insert(*id);
            }
        }
        expected
    }
}

#[tokio::test(start_paused = true)]
async fn those_that_are_meant_die_and_no_other_wherever_the_projections_stand() {
    /// What is asked, and whether a naive look finds that a key is meant.
    type Row = (&'static str, fn(&Stage) -> Value, fn(&Stage, &Key, KeyId) -> bool);
    let selections: Vec<Row> = vec![
        ("actor", |s| json!({"actor": s.admins[0].id}), |s, _, actor| actor == s.admins[0].id),
        ("tag", |_| json!({"tag": "ACME"}), |_, key, _| key.tags.contains(&"acme".to_owned())),
        (
            "tag and application",
            |s| json!({"tag": "acme", "application": s.apps[1]}),
            |s, key, _| key.tags.contains(&"acme".to_owned()) && key.application == s.apps[1],
        ),
        (
            "actor, tag and environment",
            |s| json!({"actor": s.admins[1].id, "tag": "eu", "environment": "test"}),
            |s, key, actor| {
                actor == s.admins[1].id && key.tags.len() == 2 && key.environment.as_str() == "test"
            },
        ),
        (
            "actor and application",
            |s| json!({"actor": s.admins[1].id, "application": s.apps[0]}),
            |s, key, actor| actor == s.admins[1].id && key.application == s.apps[0],
        ),
    ];
    for condition in ["never integrated", "integrated", "half way", "blocked by a gap"] {
        for (name, asked, matches) in &selections {
            let stage = Stage::new(160, 60).await;
            bring(&stage.world, condition).await;
            let expected = stage.expected(|key, actor| matches(&stage, key, actor)).await;
            assert!(!expected.is_empty() && expected.len() < stage.keys.len(), "{name}");
            check(&stage, &asked(&stage), &expected, &format!("{name}, {condition}")).await;
        }
        for (since, until, app) in [(true, false, false), (false, true, false), (true, true, true)] {
            let stage = Stage::new(161, 60).await;
            bring(&stage.world, condition).await;
            let middle = stage.world.read().key(stage.keys[30].0).await.unwrap().unwrap().created_at;
            let (from, to) = (middle, middle.plus_s(60 * 20));
            let mut asked = json!({});
            if since {
                asked["issued_since"] = json!(from);
            }
            if until {
                asked["issued_until"] = json!(to);
            }
            if app {
                asked["application"] = json!(stage.apps[0]);
            }
            let expected = stage
                .expected(|key, _| {
                    (!since || key.created_at >= from)
                        && (!until || key.created_at < to)
                        && (!app || key.application == stage.apps[0])
                })
                .await;
            assert!(!expected.is_empty() && expected.len() < stage.keys.len());
            check(&stage, &asked, &expected, &format!("time, {condition}")).await;
        }
    }
}

async fn bring(world: &World, condition: &str) {
    match condition {
        "never integrated" => {}
        "integrated" => drop(world.ledger().integrate(64).await.expect("integrates")),
        "half way" => {
            world.ledger().integrate(64).await.expect("integrates");
            // Read back as it is, and written no more.
            world.kv.plan(|call| match call {
                Call::Increment(key) if key.starts_with("c:tree") => Fault::Before,
                _ => Fault::None,
            });
        }
        _ => {
            world.fault_at(0, is_batch, Fault::Crash);
            assert!(survive(world.run(&Do::CreateApplication(json!({"name": "lost"})))).await.is_none());
            world.heal();
            world.ledger().integrate(64).await.expect("stops");
        }
    }
}

/// Looks without doing, does, does again, and looks at the log.
async fn check(stage: &Stage, asked: &Value, expected: &BTreeSet<KeyId>, name: &str) {
    let world = &stage.world;
    let mut asked = asked.clone();
    asked["reason"] = json!("an emergency");
    let mut dry = asked.clone();
    dry["dry_run"] = json!(true);
    let before = world.kv.values();
    world.kv.take_calls();
    let looked = revoke(world, &world.root, &dry).await;
    assert_eq!(writes(&world.kv.take_calls()).1, 0, "{name}: a dry run writes nothing");
    assert_eq!(world.kv.values(), before, "{name}: a dry run changes nothing");
    let done = revoke(world, &world.root, &asked).await;
    assert_eq!(looked.revoked, done.revoked, "{name}");
    assert_eq!(done.revoked.iter().copied().collect::<BTreeSet<_>>(), *expected, "{name}");
    assert_eq!(done.revoked.len(), expected.len(), "{name}: each once");
    for (id, _) in &stage.keys {
        assert_eq!(is_dead(world, *id).await, expected.contains(id), "{name}");
    }
    let again = revoke(world, &world.root, &asked).await;
    assert_eq!(
        (again.revoked.len(), again.already_dead),
        (0, u64::try_from(expected.len()).unwrap()),
        "{name}"
    );
    let deaths = deaths(world).await;
    assert_eq!(deaths.len(), expected.len(), "{name}: one event each");
    for death in deaths {
        let id = death.target.key.expect("a key");
        let key = world.read().key(id).await.unwrap().unwrap();
        assert_eq!(death.reason.as_deref(), Some("an emergency"));
        assert_eq!((death.previous, death.target.application), (Some(key.event), Some(key.application)));
        let flag = world.kv.values()[&names::flag(id)].clone();
        let [write] = death.writes.as_slice() else { panic!("{name}: writes of its own alone") };
        assert_eq!(write.record, names::flag(id), "{name}");
        assert_eq!(write.digest, hex(&world.rings.audit.keyed_digest(&write.record, &flag)), "{name}");
        let tombstone = world.read().flag(id).await.unwrap().flatten().expect("a tombstone");
        assert_eq!((tombstone.event, tombstone.reason.as_str()), (death.id, "an emergency"), "{name}");
    }
    check_state(world, 160).await;
}

#[tokio::test(start_paused = true)]
async fn many_die_in_few_commits_and_work_that_was_cut_off_is_taken_up() {
    let stage = Stage::new(162, 600).await;
    let world = &stage.world;
    let asked = json!({"actor": stage.admins[0].id, "reason": "x"});
    // Cut off after the first call: its answer, cursor and all, is lost.
    let first = world.run(&Do::RevokeMany(asked.clone())).await.expect("revokes").json();
    assert_eq!(first["revoked"].as_array().unwrap().len(), KILLS_MAX);
    world.kv.take_calls();
    let rest = revoke(world, &world.root, &asked).await;
    let calls = world.kv.take_calls();
    assert_eq!((rest.revoked.len(), rest.already_dead), (300 - KILLS_MAX, 128));
    let commits = calls
        .iter()
        .filter(|call| matches!(call, Call::SetMany(keys) if keys.iter().any(|key| key.starts_with("e:"))))
        .count();
    assert_eq!(commits, 2, "172 in two commits");
    assert_eq!(writes(&calls).1, commits, "and no other batch");
    assert_eq!(deaths(world).await.len(), 300);
    // Where all is dead, a call looks at many.
    let again = revoke(world, &world.root, &asked).await;
    assert!((again.calls, again.examined) == (1, 300) && again.revoked.is_empty(), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_revokes_nothing_and_one_whose_reply_is_lost_all_of_its_own() {
    for (fault, which, dead, told) in [
        (Fault::Before, is_batch as fn(&Call) -> bool, 0, false),
        (Fault::After, is_batch, 20, true),
        (Fault::Twice, is_batch, 20, true),
        (Fault::SlowReply(4_000), is_batch, 20, true),
        (Fault::Before, is_ticket, 20, true),
        (Fault::After, is_ticket, 20, true),
    ] {
        let stage = Stage::new(163, 40).await;
        let world = &stage.world;
        let asked = json!({"actor": stage.admins[1].id, "reason": "x"});
        // Of the calls of the counter, the first only looks where the log ends.
        let caller = world.caller(&world.root).await;
        world.fault_at(usize::from(which(&Call::Increment("c:audit:1".to_owned()))), which, fault);
        let ended = perform(&world.service(), caller, &Do::RevokeMany(asked.clone())).await;
        world.heal();
        assert_eq!(ended.is_ok(), told, "{fault:?}");
        if let Err(error) = ended {
            assert_eq!(error.code.status(), 503, "{fault:?}");
        }
        let mut count = 0;
        for (id, _) in &stage.keys {
            count += usize::from(is_dead(world, *id).await);
        }
        assert_eq!((count, deaths(world).await.len()), (dead, dead), "{fault:?}");
        revoke(world, &world.root, &asked).await;
        assert_eq!(deaths(world).await.len(), 20, "{fault:?}: one event each, in the end");
        check_state(world, 163).await;
    }
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_call_all_of_a_commit_or_nothing_is_done_and_the_next_call_goes_on() {
    for nth in 0.. {
        let mut finished = true;
        for fault in [Fault::Crash, Fault::CrashAfter] {
            let stage = Stage::new(164, 10).await;
            let world = &stage.world;
            let asked = json!({"tag": "acme", "reason": "x"});
            let caller = world.caller(&world.root).await;
            world.fault_at(nth, |_| true, fault);
            let service = world.service();
            let ended = survive(perform(&service, caller, &Do::RevokeMany(asked.clone()))).await;
            world.heal();
            finished &= ended.is_some();
            let dead = deaths(world).await.len();
            assert!(dead == 0 || dead == 7, "call {nth}: {dead}");
            revoke(world, &world.root, &asked).await;
            assert_eq!(deaths(world).await.len(), 7, "call {nth}");
            check_state(world, 164).await;
        }
        if finished {
            assert!(nth > 10, "{nth} calls");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_revokes_more_than_they_may_nor_the_key_they_call_with() {
    let world = World::new(165).await;
    let app = world.application("shop").await;
    let other = world.application("other").await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let start = world.clock.now();
    let mine = world.held(&new_key(app, "mine")).await;
    let theirs = world.held(&new_key(other, "theirs")).await;
    let operator = world.admin(&["keys:revoke".to_owned(), "keys:read".to_owned()]).await;
    let equal = world.admin(&["keys:read".to_owned()]).await;
    let stronger = world.admin(&["apps:write".to_owned()]).await;
    let narrowed = world.admin(&[format!("keys:revoke@{app}")]).await;
    let asked = json!({"issued_since": start, "reason": "x"});

    let error = world.run_as(&narrowed.token, &Do::RevokeMany(asked.clone())).await.expect_err("of all");
    assert_eq!(error.code, Code::InsufficientScope);
    let mut of_theirs = asked.clone();
    of_theirs["application"] = json!(other);
    let error = world.run_as(&narrowed.token, &Do::RevokeMany(of_theirs)).await.expect_err("of others");
    assert_eq!(error.code, Code::NotFound);
    let mut of_mine = asked.clone();
    of_mine["application"] = json!(app);
    assert_eq!(revoke(&world, &narrowed.token, &of_mine).await.revoked, [mine.id]);

    let done = revoke(&world, &operator.token, &asked).await;
    // `keys:revoke` covers what is narrowed to one application.
    assert_eq!(done.revoked, [narrowed.id, equal.id, theirs.id]);
    let skipped: Vec<(String, String, Value)> = done
        .skipped
        .iter()
        .map(|key| {
            let text = |name: &str| key[name].as_str().unwrap().to_owned();
            (text("id"), text("code"), key["missing_scope"].clone())
        })
        .collect();
    let expected = [
        (stronger.id.to_string(), "insufficient-scope".to_owned(), json!("apps:write")),
        (operator.id.to_string(), "forbidden".to_owned(), Value::Null),
    ];
    assert_eq!(skipped, expected);
    assert_eq!(world.code(&operator.token, &Demand::default()).await, "VALID");
    assert_eq!(world.code(&stronger.token, &Demand::default()).await, "VALID");
    // Root is no exception: by all that it issued, or by time, it stays.
    let all = json!({"issued_since": "2000-01-01T00:00:00Z", "reason": "x"});
    let by_root = revoke(&world, &world.root, &all).await;
    assert_eq!(by_root.skipped.len(), 1);
    assert_eq!(world.code(&world.root, &Demand::default()).await, "VALID");
    assert_eq!(world.code(&operator.token, &Demand::default()).await, "REVOKED");
}

#[tokio::test(start_paused = true)]
async fn of_roots_one_stays() {
    let world = World::new(170).await;
    let second = world.admin(&["*".to_owned()]).await;
    let third = world.admin(&["*".to_owned()]).await;
    let mut for_an_hour = new_key(ApplicationId::KEYWARD, "for an hour");
    (for_an_hour["scopes"], for_an_hour["principal"]) = (json!(["*"]), json!("x"));
    for_an_hour["expires_in_s"] = json!(3600);
    let caller = world.held(&for_an_hour).await;
    let all = json!({"issued_since": "2000-01-01T00:00:00Z", "reason": "x"});
    let mut dry = all.clone();
    dry["dry_run"] = json!(true);
    for asked in [&dry, &all] {
        let done = revoke(&world, &caller.token, asked).await;
        assert_eq!(done.revoked, [third.id, second.id]);
        let codes: Vec<&str> = done.skipped.iter().map(|key| key["code"].as_str().unwrap()).collect();
        assert_eq!(codes, ["forbidden", "last-root"]);
    }
    assert_eq!(world.code(&world.root, &Demand::default()).await, "VALID");
}

#[tokio::test(start_paused = true)]
async fn what_selects_nothing_or_cannot_be_read_is_refused_with_its_event() {
    let world = World::new(166).await;
    let app = world.application("shop").await;
    for (asked, field) in [
        (json!({"reason": "x"}), ""),
        (json!({"application": app, "environment": "live", "reason": "x"}), ""),
        (json!({"tag": "a", "reason": " "}), "reason"),
        (json!({"tag": " ", "reason": "x"}), "tag"),
        (json!({"tag": "a", "cursor": "x", "reason": "x"}), "cursor"),
    ] {
        let before = world.events().await.len();
        let error = world.run(&Do::RevokeMany(asked.clone())).await.expect_err("refused");
        assert_eq!((error.code, error.fields[0].field.as_str()), (Code::InvalidField, field), "{asked}");
        let events = world.events().await;
        assert_eq!(events.len(), before + 1, "{asked}");
        let event = events.last().unwrap();
        assert_eq!((event.action, event.outcome), (Action::KeyRevoked, Outcome::Refused));
    }
    let absent = json!({"tag": "a", "application": ApplicationId::from_bytes([7; 16]), "reason": "x"});
    let error = world.run(&Do::RevokeMany(absent)).await.expect_err("refused");
    assert_eq!(error.code, Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn under_one_idempotency_key_the_answer_is_that_of_the_first_time() {
    let stage = Stage::new(167, 12).await;
    let world = &stage.world;
    let asked = Do::RevokeMany(json!({"actor": stage.admins[0].id, "reason": "x"}));
    let first = world.run_once("once", &asked).await.expect("revokes");
    assert_eq!(first.json()["revoked"].as_array().unwrap().len(), 6);
    let again = world.run_once("once", &asked).await.expect("revoked");
    assert!(again.replayed && again.text == first.text);
    let other = Do::RevokeMany(json!({"actor": stage.admins[1].id, "reason": "x"}));
    let error = world.run_once("once", &other).await.expect_err("another request");
    assert_eq!(error.code, Code::IdempotencyMismatch);
    assert_eq!(deaths(world).await.len(), 6);
    check_state(world, 167).await;
}

#[tokio::test(start_paused = true)]
async fn in_many_orders_of_calls_a_claim_beside_it_leaves_no_living_token() {
    let world = World::new(168).await;
    let app = world.application("shop").await;
    let rng = SeededRng::new(169);
    let (mut minted, mut refused) = (0, 0);
    for n in 0..150 {
        let tag = format!("t{n}");
        let (id, ticket) = world.issue(&key(app, "live", &[&tag])).await;
        let asked = json!({"tag": tag, "reason": "x"});
        world.ledger().integrate(64).await.expect("integrates");
        // One is now and then far ahead of the other.
        let ahead = rng.below(100);
        let choose = |among| if rng.chance(ahead) { 0 } else { rng.below(among) };
        let both = [Do::RevokeMany(asked), Do::TakeClaim(ticket)];
        let mut results = interleave(&world, &both, choose, None).await;
        let claimed = results.pop().expect("two");
        let revoked = results.remove(0).expect("waits for nobody").json();
        assert_eq!(revoked["revoked"][0]["id"], json!(id));
        match claimed {
            Ok(reply) => {
                minted += 1;
                assert_eq!(world.code(&reply.at("/token"), &Demand::default()).await, "REVOKED");
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.code, Code::ClaimGone);
            }
        }
        assert!(is_dead(&world, id).await);
    }
    assert!(minted > 20 && refused > 20, "{minted} minted, {refused} refused");
}
