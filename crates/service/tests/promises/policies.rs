//! Policies are terms by reference: those of a key, else of its application, else what holds where nobody chose. A retired one is given
//! to nobody and holds on for those that have it.

use crate::world::{Do, UNCLAIMED, World, new_admin, new_key, perform};
use futures::future::join_all;
use keyward_domain::event::{Action, Outcome};
use keyward_domain::{ApplicationId, Code, Error, KeyId, PolicyId, Timestamp};
use keyward_ledger::memory::Call;
use keyward_records::names;
use serde_json::{Value, json};
use std::time::Duration;

const DAY_S: i64 = 24 * 3600;

async fn refused(world: &World, what: &Do) -> Error {
    world.run(what).await.expect_err("refused")
}

async fn code(world: &World, what: &Do) -> Option<Code> {
    world.run(what).await.err().map(|error| error.code)
}

/// The fields that a refusal names.
fn fields(error: &Error) -> Vec<&str> {
    error.fields.iter().map(|found| found.field.as_str()).collect()
}

fn create(terms: Value) -> Do {
    let mut new = terms;
    new["name"] = json!("p");
    Do::CreatePolicy(new)
}

/// A moment of an answer; `None` for null.
fn unix_s(at: &Value) -> Option<i64> {
    Timestamp::parse(at.as_str()?).map(Timestamp::unix_s)
}

/// When the next version of a key is due, in seconds from when its newest was claimed.
async fn due_after_s(world: &World, key: KeyId) -> Option<i64> {
    let shown = world.run(&Do::ReadKey(key)).await.expect("shown").json();
    let newest = shown["versions"].as_array().unwrap().last()?;
    Some(unix_s(&shown["due_at"])? - unix_s(&newest["claimed_at"])?)
}

async fn give(world: &World, key: KeyId, policy: Value) {
    world.run(&Do::ChangeKey(key, json!({ "policy": policy }), None)).await.expect("given");
}

async fn give_application(world: &World, id: ApplicationId, policy: Value) {
    world.run(&Do::ChangeApplication(id, json!({ "policy": policy }), None)).await.expect("given");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_given_is_the_presets_and_else_the_default() {
    let world = World::new(160).await;
    let plain = world.run(&create(json!({ "rotate_every_s": 2_592_000 }))).await.expect("created").json();
    for (field, value) in [
        ("rotate_every_s", json!(2_592_000)),
        ("grace_s", json!(604_800)),
        ("lifetime_s_max", json!(null)),
        ("idle_after_s", json!(null)),
        ("self_renewal", json!(true)),
        ("on_renewal_reuse", json!("stop")),
        ("on_breach", json!("warn")),
        ("on_leak", json!("revoke")),
        ("lease_s", json!(300)),
        ("outage_s", json!(3600)),
        ("retired_at", json!(null)),
    ] {
        assert_eq!(plain[field], value, "{field}");
    }
    let presets = world.run(&Do::ListPresets).await.expect("listed").json();
    for preset in presets["items"].as_array().unwrap() {
        let name = preset["preset"].as_str().unwrap();
        let created = world
            .run(&Do::CreatePolicy(
                json!({ "name": name, "preset": name, "idle_after_s": null, "grace_s": 60 }),
            ))
            .await
            .expect("created")
            .json();
        assert_eq!((&created["idle_after_s"], &created["grace_s"]), (&json!(null), &json!(60)), "{name}");
        for field in ["rotate_every_s", "lifetime_s_max", "self_renewal", "on_renewal_reuse", "on_breach"] {
            assert_eq!(created[field], preset[field], "{name}: {field}");
        }
        let detail = world.events().await.pop().unwrap().detail;
        assert_eq!((detail[0].as_str(), detail.len()), (&*format!("preset {name}"), 11));
    }
    assert_eq!(presets["items"].as_array().unwrap().len(), 4);
    let listed = world.run(&Do::ListPolicies).await.expect("listed").json();
    let names: Vec<&str> =
        listed["items"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(names, ["pci", "gdpr", "hipaa", "soc2", "p"], "newest first");
}

#[tokio::test(start_paused = true)]
async fn terms_out_of_bounds_are_refused_by_name() {
    let world = World::new(161).await;
    for (terms, field) in [
        (json!({ "rotate_every_s": 299 }), vec!["rotate_every_s", "grace_s"]),
        (json!({ "rotate_every_s": 299, "grace_s": 0 }), vec!["rotate_every_s"]),
        (json!({ "rotate_every_s": 315_360_001 }), vec!["rotate_every_s"]),
        (json!({ "rotate_every_s": 300, "grace_s": 301 }), vec!["grace_s"]),
        // The default grace of a week does not fit an interval of an hour.
        (json!({ "rotate_every_s": 3600 }), vec!["grace_s"]),
        (json!({ "rotate_every_s": null, "grace_s": 7_776_001 }), vec!["grace_s"]),
        (json!({ "lifetime_s_max": 59, "idle_after_s": 3599 }), vec!["lifetime_s_max", "idle_after_s"]),
        (json!({ "description": "x".repeat(1025) }), vec!["description"]),
    ] {
        let error = refused(&world, &create(terms.clone())).await;
        assert_eq!((error.code, fields(&error)), (Code::InvalidField, field), "{terms}");
    }
    let policy = world.policy(&json!({ "rotate_every_s": 86_400, "grace_s": 3600 })).await;
    let change = |change: Value| Do::ChangePolicy(policy, change, None);
    // What stays is checked together with what changes.
    assert_eq!(fields(&refused(&world, &change(json!({ "rotate_every_s": 1800 }))).await), ["grace_s"]);
    assert_eq!(fields(&refused(&world, &change(json!({}))).await), [""]);
    let never = world.run(&change(json!({ "rotate_every_s": null }))).await.expect("changed").json();
    assert_eq!((&never["rotate_every_s"], &never["grace_s"]), (&json!(null), &json!(3600)));
    assert_eq!(world.events().await.pop().unwrap().detail, ["rotate_every_s none"]);
}

#[tokio::test(start_paused = true)]
async fn its_own_policy_comes_before_its_applications() {
    let world = World::new(162).await;
    let app = world.application("shop").await;
    let key = world.held(&new_key(app, "k")).await.id;
    assert_eq!(due_after_s(&world, key).await, Some(90 * DAY_S), "where nobody chose");
    let monthly = world.policy(&json!({ "rotate_every_s": 30 * DAY_S })).await;
    let weekly = world.policy(&json!({ "rotate_every_s": 7 * DAY_S })).await;
    let never = world.policy(&json!({ "rotate_every_s": null })).await;
    give_application(&world, app, json!(monthly)).await;
    assert_eq!(due_after_s(&world, key).await, Some(30 * DAY_S));
    give(&world, key, json!(weekly)).await;
    assert_eq!(due_after_s(&world, key).await, Some(7 * DAY_S));
    // A change of a policy counts for all that have it, at once.
    world
        .run(&Do::ChangePolicy(weekly, json!({ "rotate_every_s": 8 * DAY_S }), None))
        .await
        .expect("changed");
    assert_eq!(due_after_s(&world, key).await, Some(8 * DAY_S));
    // What a change does not name stays; null is none of its own.
    world.run(&Do::ChangeKey(key, json!({ "name": "renamed" }), None)).await.expect("changed");
    assert_eq!(due_after_s(&world, key).await, Some(8 * DAY_S));
    give(&world, key, json!(null)).await;
    assert_eq!(due_after_s(&world, key).await, Some(30 * DAY_S));
    give(&world, key, json!(never)).await;
    assert_eq!(due_after_s(&world, key).await, None);
    give(&world, key, json!(null)).await;
    give_application(&world, app, json!(null)).await;
    assert_eq!(due_after_s(&world, key).await, Some(90 * DAY_S));
    // From the beginning on.
    let new = json!({ "name": "with", "policy": monthly });
    let with = world.run(&Do::CreateApplication(new)).await.expect("created");
    assert_eq!(with.at("/policy"), monthly.to_string());
    let with: ApplicationId = with.at("/id").parse().unwrap();
    let mut new = new_key(with, "own");
    new["policy"] = json!(weekly);
    assert_eq!(due_after_s(&world, world.held(&new).await.id).await, Some(8 * DAY_S));
    assert_eq!(due_after_s(&world, world.held(&new_key(with, "default")).await.id).await, Some(30 * DAY_S));
    // And so the successor has its grace.
    let policy = world.policy(&json!({ "grace_s": 120 })).await;
    give(&world, key, json!(policy)).await;
    let offered = world.run(&Do::Rotate(key, json!({ "reason": "due" }))).await.expect("offered");
    assert_eq!(offered.at("/key/rotation/grace_s"), "120");
    assert_eq!(offered.at("/key/policy"), policy.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_life_is_within_the_policys_bound() {
    let world = World::new(163).await;
    let app = world.application("shop").await;
    let bounded = world.policy(&json!({ "lifetime_s_max": 3600 })).await;
    give_application(&world, app, json!(bounded)).await;
    let with = |expires_in_s: Value| {
        let mut new = new_key(app, "k");
        new["expires_in_s"] = expires_in_s;
        Do::Issue(new)
    };
    let error = refused(&world, &with(json!(3601))).await;
    assert_eq!((error.code, fields(&error)), (Code::InvalidField, vec!["expires_in_s"]));
    let (reason, expected) = (&error.fields[0].reason, &error.fields[0].expected);
    assert!(reason.contains(&bounded.to_string()) && expected.contains("3600"), "{reason}; {expected}");
    let lives_s = async |what: &Do| {
        let key = world.run(what).await.expect("issued").json()["key"].clone();
        Some(unix_s(&key["expires_at"])? - unix_s(&key["created_at"])?)
    };
    assert_eq!(lives_s(&with(json!(3600))).await, Some(3600));
    assert_eq!(lives_s(&with(json!(60))).await, Some(60));
    assert_eq!(lives_s(&with(json!(null))).await, Some(3600), "the bound is taken");
    // Its own policy counts instead, where it has one.
    let free = world.policy(&json!({})).await;
    let mut new = new_key(app, "k");
    new["policy"] = json!(free);
    assert_eq!(lives_s(&Do::Issue(new)).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_retired_policy_is_given_to_nobody_and_holds_on_for_those_that_have_it() {
    let world = World::new(164).await;
    let (app, other) = (world.application("shop").await, world.application("other").await);
    let key = world.held(&new_key(app, "k")).await.id;
    let policy = world.policy(&json!({ "rotate_every_s": 30 * DAY_S, "lifetime_s_max": 3600 })).await;
    give_application(&world, app, json!(policy)).await;
    let retired = world.run(&Do::RetirePolicy(policy, "replaced")).await.expect("retired");
    assert!(retired.json()["retired_at"].is_string());
    let events = world.events().await.len();
    assert_eq!(world.run(&Do::RetirePolicy(policy, "replaced")).await.expect("again"), retired);
    assert_eq!(world.events().await.len(), events);
    assert_eq!(due_after_s(&world, key).await, Some(30 * DAY_S));
    let issued = world.run(&Do::Issue(new_key(app, "new"))).await.expect("issued by the application's");
    assert!(issued.json()["key"]["expires_at"].is_string());
    let mut new = new_key(app, "n");
    new["policy"] = json!(policy);
    let (absent, no_id) = (PolicyId::from_bytes([9; 16]), "pol_x");
    for what in [
        Do::Issue(new),
        Do::ChangeKey(key, json!({ "policy": policy }), None),
        Do::ChangeKey(key, json!({ "policy": absent }), None),
        Do::ChangeKey(key, json!({ "policy": no_id }), None),
        Do::ChangeApplication(other, json!({ "policy": policy }), None),
        Do::ChangeApplication(other, json!({ "policy": no_id }), None),
        Do::CreateApplication(json!({ "name": "x", "policy": absent })),
        Do::CreateApplication(json!({ "name": "x", "policy": no_id })),
    ] {
        let error = refused(&world, &what).await;
        assert_eq!((error.code, fields(&error)), (Code::InvalidField, vec!["policy"]), "{what:?}");
    }
    // A change of something else does not ask for another policy.
    world.run(&Do::ChangeApplication(app, json!({ "contacts": ["ops"] }), None)).await.expect("changed");
    for change in [json!({ "name": "again" }), json!({ "grace_s": 60 })] {
        assert_eq!(code(&world, &Do::ChangePolicy(policy, change, None)).await, Some(Code::StateConflict));
    }
    let name = retired.at("/name");
    let again = world.run(&Do::CreatePolicy(json!({ "name": name }))).await.expect("its name is free");
    assert_ne!(again.at("/id"), policy.to_string());
}

#[tokio::test(start_paused = true)]
async fn keys_of_keyward_neither_renew_themselves_nor_end_by_a_policy() {
    let world = World::new(165).await;
    let policy = world.policy(&json!({ "rotate_every_s": 30 * DAY_S, "on_breach": "retire" })).await;
    give_application(&world, ApplicationId::KEYWARD, json!(policy)).await;
    let admin = world.held(&new_admin(&["keys:read"], &[])).await;
    assert_eq!(admin.renewal, "");
    assert_eq!(due_after_s(&world, admin.id).await, Some(30 * DAY_S));
    // Whoever gives it to one of them must hold what that one holds.
    let clerk = world.admin(&["keys:write".to_owned(), "policies:*".to_owned()]).await;
    let give = Do::ChangeKey(admin.id, json!({ "policy": policy }), None);
    let error = world.run_as(&clerk.token, &give).await.expect_err("refused");
    assert_eq!(error.missing_scope.map(|scope| scope.to_string()).as_deref(), Some("keys:read"));
    let default = Do::ChangeApplication(ApplicationId::KEYWARD, json!({ "policy": null }), None);
    let error = world.run_as(&clerk.token, &default).await.expect_err("refused");
    assert_eq!(error.missing_scope.map(|scope| scope.to_string()).as_deref(), Some("apps:write"));
}

#[tokio::test(start_paused = true)]
async fn a_list_reads_each_policy_once() {
    let world = World::new(166).await;
    let app = world.application("shop").await;
    let (one, two) =
        (world.policy(&json!({ "grace_s": 1 })).await, world.policy(&json!({ "grace_s": 2 })).await);
    give_application(&world, app, json!(one)).await;
    for number in 0..20 {
        let mut new = new_key(app, &format!("key {number}"));
        if number % 3 == 0 {
            new["policy"] = json!(two);
        }
        world.issue(&new).await;
    }
    world.run(&Do::ListKeys(app)).await.expect("listed");
    let caller = world.caller(&world.root).await;
    world.kv.take_calls();
    let listed = perform(&world.service(), caller, &Do::ListKeys(app)).await.expect("listed").json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 20);
    let calls = world.kv.take_calls();
    for store_key in [names::policy(one), names::policy(two), names::details(app)] {
        let reads = calls.iter().filter(|call| matches!(call, Call::Get(key) if *key == store_key)).count();
        assert_eq!(reads, 1, "{store_key}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_are_unique_among_policies_whoever_comes_at_once() {
    let world = World::new(167).await;
    world.role("quarterly", &[]).await;
    let service = world.service();
    let new = Do::CreatePolicy(json!({ "name": "quarterly" }));
    let mut callers = Vec::new();
    for _ in 0..4 {
        callers.push(world.caller(&world.root).await);
    }
    let ended = join_all(callers.into_iter().map(|caller| perform(&service, caller, &new))).await;
    let (won, lost): (Vec<_>, Vec<_>) = ended.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1, "a role of that name is no policy");
    assert!(lost.into_iter().all(|ended| ended.err().unwrap().code == Code::NameTaken));
    let first: PolicyId = won.into_iter().next().unwrap().unwrap().at("/id").parse().unwrap();
    let second = world.policy(&json!({})).await;
    let rename = |id, name: &str| Do::ChangePolicy(id, json!({ "name": name }), None);
    assert_eq!(code(&world, &rename(second, "quarterly")).await, Some(Code::NameTaken));
    world.run(&rename(first, "each quarter")).await.expect("renamed");
    let before = tokio::time::Instant::now();
    world.run(&rename(second, "quarterly")).await.expect("free again");
    assert!(before.elapsed() < Duration::from_secs(1), "refusals gave their turns back");
    // Of those who saw the same revision, one wins.
    let seen: u64 = world.run(&Do::ReadPolicy(first)).await.expect("shown").at("/revision").parse().unwrap();
    let edits: Vec<Do> =
        (0..3).map(|n| Do::ChangePolicy(first, json!({ "grace_s": n }), Some(seen))).collect();
    let mut callers = Vec::new();
    for _ in &edits {
        callers.push(world.caller(&world.root).await);
    }
    let ended =
        join_all(callers.into_iter().zip(&edits).map(|(caller, edit)| perform(&service, caller, edit))).await;
    assert_eq!(ended.iter().filter(|ended| ended.is_ok()).count(), 1);
    assert!(ended.iter().flat_map(|ended| ended.as_ref().err()).all(|e| e.code == Code::RevisionMismatch));
    // The same request under its Idempotency-Key makes one policy; null is another request than absence.
    let (absent, null) = (json!({ "name": "once" }), json!({ "name": "once", "rotate_every_s": null }));
    let one = world.run_once("k", &Do::CreatePolicy(absent.clone())).await.expect("made");
    let two = world.run_once("k", &Do::CreatePolicy(absent)).await.expect("replayed");
    assert!(two.replayed && one.text == two.text);
    let error = world.run_once("k", &Do::CreatePolicy(null)).await.expect_err("another");
    assert_eq!(error.code, Code::IdempotencyMismatch);
}

#[tokio::test(start_paused = true)]
async fn each_call_leaves_one_event_that_names_the_policy() {
    let world = World::new(168).await;
    let poor = world.admin(&["metrics:read".to_owned()]).await;
    let policy = world.policy(&json!({})).await;
    let created = world.events().await.pop().unwrap();
    assert_eq!((created.action, created.outcome), (Action::PolicyCreated, Outcome::Done));
    assert_eq!((created.target.policy, created.detail.len()), (Some(policy), 10));
    let absent = PolicyId::from_bytes([1; 16]);
    let change = |id, change: Value| Do::ChangePolicy(id, change, None);
    let (changed, retired) = (Action::PolicyChanged, Action::PolicyRetired);
    let rows: Vec<(Do, bool, Action, Outcome, Option<PolicyId>)> = vec![
        (change(policy, json!({ "grace_s": 9 })), false, changed, Outcome::Done, Some(policy)),
        (change(policy, json!({ "grace_s": 9_999_999 })), false, changed, Outcome::Refused, Some(policy)),
        (
            Do::ChangePolicy(policy, json!({"name": "n"}), Some(77)),
            false,
            changed,
            Outcome::Refused,
            Some(policy),
        ),
        (change(absent, json!({ "grace_s": 9 })), false, changed, Outcome::Refused, Some(absent)),
        (change(policy, json!({ "grace_s": 9 })), true, changed, Outcome::Refused, Some(policy)),
        (Do::CreatePolicy(json!({"name": "{}"})), false, Action::PolicyCreated, Outcome::Refused, None),
        (Do::CreatePolicy(json!({"name": ""})), false, Action::PolicyCreated, Outcome::Refused, None),
        (Do::CreatePolicy(json!({"name": "x"})), true, Action::PolicyCreated, Outcome::Refused, None),
        (Do::ReadPolicy(policy), true, Action::PolicyRead, Outcome::Refused, Some(policy)),
        (Do::ListPolicies, true, Action::PolicyRead, Outcome::Refused, None),
        (Do::ListPresets, true, Action::PolicyRead, Outcome::Refused, None),
        (Do::RetirePolicy(policy, "why"), true, retired, Outcome::Refused, Some(policy)),
        (Do::RetirePolicy(policy, ""), false, retired, Outcome::Refused, Some(policy)),
        (Do::RetirePolicy(policy, "why"), false, retired, Outcome::Done, Some(policy)),
        (Do::RetirePolicy(absent, "why"), false, retired, Outcome::Refused, Some(absent)),
    ];
    for (what, by_poor, action, outcome, target) in rows {
        let before = world.events().await.len();
        let result = world.run_as(if by_poor { &poor.token } else { &world.root }, &what).await;
        let mut events = world.events().await;
        assert_eq!(events.len(), before + 1, "{what:?}");
        let event = events.pop().unwrap();
        assert_eq!((event.action, event.outcome, event.target.policy), (action, outcome, target), "{what:?}");
        assert_eq!(result.is_ok(), outcome == Outcome::Done, "{what:?}");
    }
    // Who was given which policy is in the log.
    let (app, policy) = (world.application("shop").await, world.policy(&json!({ "grace_s": 5 })).await);
    let fact = format!("policy {policy}");
    let mut new = new_key(app, "k");
    new["policy"] = json!(policy);
    let (key, _) = world.issue(&new).await;
    assert_eq!(world.events().await.pop().unwrap().detail, [fact.as_str(), UNCLAIMED]);
    give(&world, key, json!(null)).await;
    assert_eq!(world.events().await.pop().unwrap().detail, ["policy", "policy none", UNCLAIMED]);
    give_application(&world, app, json!(policy)).await;
    assert_eq!(world.events().await.pop().unwrap().detail, ["policy", fact.as_str()]);
    let before = world.events().await.len();
    world.run(&Do::ReadPolicy(policy)).await.expect("shown");
    world.run(&Do::ListPolicies).await.expect("listed");
    world.run(&Do::ListPresets).await.expect("listed");
    assert_eq!(world.events().await.len(), before, "a look that is allowed leaves none");
}
