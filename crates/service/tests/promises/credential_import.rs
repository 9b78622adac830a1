//! Credentials that lay elsewhere are imported many to a commit, which happens whole or not at all; made again, a call imports nothing
//! twice and loses nothing; nobody imports to where they may not write; and no value is in an answer, an event or an error.

use crate::history::check_state;
use crate::revocation_races::interleave;
use crate::world::{Do, World, perform, survive, writes};
use keyward_domain::event::{Action, Event, Outcome};
use keyward_domain::{ApplicationId, Code, CredentialId};
use keyward_ledger::memory::{Call, Fault};
use serde_json::{Value, json};

const CANARY: &str = "canary-5b2d90aa-never-to-be-seen";

fn one(application: ApplicationId, name: &str, value: &str) -> Value {
    json!({"application": application.to_string(), "name": name, "kind": "api-key", "value": {"value": value}})
}

fn import(credentials: &[Value]) -> Value {
    json!({"reason": "out of the old .env", "credentials": credentials})
}

fn writing(credentials: &[Value]) -> Value {
    json!({"on_conflict": "write", "credentials": credentials})
}

/// The outcome of each, in the order given.
fn outcomes(reply: &Value) -> Vec<&str> {
    let all = reply["credentials"].as_array().expect("a list");
    for outcome in ["imported", "existing", "written", "refused"] {
        let count = all.iter().filter(|one| one["outcome"] == outcome).count();
        assert_eq!(reply[outcome], json!(count), "{reply}");
    }
    all.iter().map(|one| one["outcome"].as_str().expect("an outcome")).collect()
}

async fn done(world: &World, asked: &Value) -> Value {
    world.run(&Do::ImportCredentials(asked.clone())).await.expect("imports").json()
}

async fn value(world: &World, application: ApplicationId, name: &str) -> Option<String> {
    let read = world.run(&Do::ReadCredentialNamed(application, name.to_owned())).await;
    read.ok().map(|reply| reply.at("/value/value"))
}

/// What was written by imports.
async fn imports(world: &World, outcome: Outcome) -> Vec<Event> {
    let mut events = world.events().await;
    events.retain(|event| event.detail.iter().any(|fact| fact == "imported") && event.outcome == outcome);
    events
}

#[tokio::test(start_paused = true)]
async fn thirty_two_are_one_commit_each_with_its_event_and_made_again_they_exist() {
    let world = World::new(950).await;
    let app = world.application("shop").await;
    let all: Vec<Value> = (0..32).map(|n| one(app, &format!("old/{n}"), &format!("value {n}"))).collect();
    world.kv.take_calls();
    let reply = done(&world, &import(&all)).await;
    assert_eq!(outcomes(&reply), ["imported"; 32]);
    // A turn at each name, and the tickets of the events.
    assert_eq!(writes(&world.kv.take_calls()), (33, 1), "one batch");
    for n in 0..32 {
        assert_eq!(value(&world, app, &format!("old/{n}")).await, Some(format!("value {n}")));
    }
    let events = imports(&world, Outcome::Done).await;
    assert_eq!(events.len(), 32);
    for (event, told) in events.iter().zip(reply["credentials"].as_array().unwrap()) {
        assert_eq!(
            (event.action, event.reason.as_deref()),
            (Action::CredentialCreated, Some("out of the old .env"))
        );
        assert_eq!(event.target.credential.map(|id| id.to_string()).as_deref(), told["id"].as_str());
        assert_eq!(event.detail[..3], ["api-key", "version 1", "imported"]);
        assert!(event.due().is_some(), "it says when it is to be rotated");
    }
    let again = done(&world, &import(&all)).await;
    assert_eq!(outcomes(&again), ["existing"; 32]);
    assert_eq!(again["credentials"][7]["id"], reply["credentials"][7]["id"]);
    assert_eq!(writes(&world.kv.take_calls()).1, 32, "what is there is not written; those are the reads");
    check_state(&world, 950).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_is_kept_or_written_as_it_was_asked_and_one_that_is_refused_keeps_no_other() {
    let world = World::new(951).await;
    let app = world.application("shop").await;
    done(&world, &import(&[one(app, "same", "1"), one(app, "other", "1"), one(app, "gone", "1")])).await;
    let gone = world.run(&Do::ReadCredentialNamed(app, "gone".to_owned())).await.unwrap().at("/id");
    world.run(&Do::RetireCredential(gone.parse().unwrap(), "x")).await.expect("retired");
    let basic = json!({"application": app, "name": "other", "kind": "basic", "value": {"username": "a", "password": "b"}});
    let mut bad = one(app, "Bad Name", CANARY);
    bad["expires_at"] = json!("2030-01-01T00:00:00Z");
    let all = [
        one(app, "same", "1"),
        one(app, "other", "2"),
        one(app, "gone", "2"),
        one(app, "new", "3"),
        one(app, "new", "4"),
        bad,
    ];
    let mut look = import(&all);
    look["dry_run"] = json!(true);
    let events = world.events().await.len();
    let looked = done(&world, &look).await;
    assert_eq!(world.events().await.len(), events, "a look is no event");
    let kept = done(&world, &import(&all)).await;
    let expected = ["existing", "refused", "imported", "imported", "refused", "refused"];
    assert_eq!((outcomes(&looked), outcomes(&kept)), (expected.to_vec(), expected.to_vec()));
    assert_eq!(looked["credentials"][2]["id"], Value::Null);
    let code = |at: usize| kept["credentials"][at]["error"]["code"].clone();
    assert_eq!(
        (code(1), code(4), code(5)),
        (json!("name-taken"), json!("invalid-field"), json!("invalid-field"))
    );
    assert_eq!(kept["credentials"][4]["error"]["errors"][0]["field"], "name");
    assert_eq!(kept["credentials"][5]["error"]["errors"][0]["field"], "name");
    assert_ne!(kept["credentials"][2]["id"], json!(gone), "another than the one that was given up");
    assert_eq!(value(&world, app, "other").await.as_deref(), Some("1"));
    assert_eq!(value(&world, app, "new").await.as_deref(), Some("3"), "the first of two");
    let refused = imports(&world, Outcome::Refused).await;
    let reasons: Vec<_> = refused.iter().map(|event| event.reason.as_deref().unwrap()).collect();
    assert_eq!(reasons, ["name-taken", "invalid-field", "invalid-field"]);
    // Written, it is a new version, whose kind is the credential's.
    let written = done(&world, &writing(&[one(app, "other", "2"), one(app, "same", "1"), basic])).await;
    assert_eq!(outcomes(&written), ["written", "existing", "refused"]);
    assert_eq!(written["credentials"][0]["version"], 2);
    assert_eq!(value(&world, app, "other").await.as_deref(), Some("2"));
    let unfit = json!({"application": app, "name": "same", "kind": "basic", "value": {"username": "a", "password": "b"}});
    let written = done(&world, &writing(&[unfit])).await;
    assert_eq!(written["credentials"][0]["error"]["code"], "invalid-field");
    let event = world.events().await.into_iter().rfind(|event| event.action == Action::CredentialWritten);
    let event = event.expect("an event");
    assert_eq!(
        (event.outcome, &event.detail[..2]),
        (Outcome::Done, &["version 2".to_owned(), "imported".to_owned()][..])
    );
    assert!(event.previous.is_some());
    check_state(&world, 951).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_imports_to_where_they_may_not_write_and_it_is_on_record() {
    let world = World::new(952).await;
    let (app, other) = (world.application("shop").await, world.application("other").await);
    let narrow = world.admin(&[format!("credentials:write@{app}/payments/*")]).await;
    let all = [one(app, "payments/psp", "1"), one(app, "orders/db", "1"), one(other, "payments/psp", "1")];
    let absent = one(ApplicationId::from_bytes([9; 16]), "payments/psp", "1");
    let all = [&all[..], &[absent]].concat();
    for dry_run in [true, false] {
        let mut asked = import(&all);
        asked["dry_run"] = json!(dry_run);
        let before = imports(&world, Outcome::Refused).await.len();
        let reply = world.run_as(&narrow.token, &Do::ImportCredentials(asked)).await.expect("imports").json();
        assert_eq!(outcomes(&reply), ["imported", "refused", "refused", "refused"]);
        let errors: Vec<&Value> = (1..4).map(|at| &reply["credentials"][at]["error"]).collect();
        assert!(errors.iter().all(|error| error["code"] == "not-found"), "{reply}");
        assert_eq!((errors[0], errors[1]), (errors[2], errors[2]), "what is hidden looks like what is not");
        let refused = imports(&world, Outcome::Refused).await;
        // Of a look, those alone where there was something to hide.
        assert_eq!(refused.len() - before, if dry_run { 2 } else { 3 });
        assert_eq!(refused[before].detail[0], format!("credentials:write@{app}/orders/db"));
    }
    let poor = world.admin(&["credentials:read".to_owned()]).await;
    let error = world.run_as(&poor.token, &Do::ImportCredentials(import(&all))).await.expect_err("refused");
    assert_eq!(
        (error.code, error.missing_scope.map(|scope| scope.to_string()).as_deref()),
        (Code::InsufficientScope, Some("credentials:write"))
    );
    for count in [0, 33] {
        let all: Vec<Value> = (0..count).map(|n| one(app, &format!("n{n}"), "1")).collect();
        let error = world.run(&Do::ImportCredentials(import(&all))).await.expect_err("refused");
        assert_eq!((error.code, error.fields[0].field.as_str()), (Code::InvalidField, "credentials"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_is_in_no_answer_event_or_record() {
    let world = World::new(953).await;
    let app = world.application("shop").await;
    let mut unfit = one(app, "unfit", CANARY);
    unfit["value"] = json!({ "valeu": CANARY });
    let all = [one(app, "a", CANARY), unfit, one(app, "b", CANARY)];
    let first = world.run_once("once", &Do::ImportCredentials(import(&all))).await.expect("imports");
    let again = world.run_once("once", &Do::ImportCredentials(import(&all))).await.expect("the same again");
    assert!(again.replayed && again.text == first.text);
    let other = Do::ImportCredentials(import(&[one(app, "a", "another value")]));
    let mismatch = world.run_once("once", &other).await.map_err(|error| error.code).err();
    assert_eq!(mismatch, Some(Code::IdempotencyMismatch), "the values are part of what was asked");
    let written = world
        .run(&Do::ImportCredentials(writing(&[one(app, "a", "x"), one(app, "b", CANARY)])))
        .await
        .unwrap();
    for text in [&first.text, &again.text, &written.text] {
        assert!(!text.contains(CANARY), "{text}");
    }
    for event in world.events().await {
        assert!(!serde_json::to_string(&event).expect("JSON").contains(CANARY), "{event:?}");
    }
    for (key, value) in world.kv.values() {
        assert!(!value.windows(CANARY.len()).any(|part| part == CANARY.as_bytes()), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_who_import_the_same_at_once_one_does_and_the_other_finds_it() {
    let mut met = 0;
    for seed in 0..24 {
        let world = World::new(9_540 + seed).await;
        let app = world.application("shop").await;
        let all: Vec<Value> = (0..4).map(|n| one(app, &format!("n{n}"), "same")).collect();
        let mut theirs = all.clone();
        theirs[3] = one(app, "n3", "another");
        theirs.reverse();
        let asked = [import(&all), import(&theirs)].map(Do::ImportCredentials);
        let replies = interleave(&world, &asked, |awake| world.rng.below(awake), None).await;
        let replies: Vec<Value> = replies.into_iter().map(|reply| reply.expect("imports").json()).collect();
        let count = |what: &str| -> u64 { replies.iter().map(|reply| reply[what].as_u64().unwrap()).sum() };
        assert_eq!((count("imported"), count("existing"), count("refused")), (4, 3, 1), "{replies:?}");
        let ids = |reply: &Value| -> Vec<String> {
            let all = reply["credentials"].as_array().unwrap().iter();
            let mut ids: Vec<_> = all.map(|one| format!("{} {}", one["name"], one["id"])).collect();
            ids.sort();
            ids
        };
        assert_eq!(ids(&replies[0]), ids(&replies[1]), "each leads to the one that there is");
        assert_eq!(imports(&world, Outcome::Done).await.len(), 4, "nothing twice");
        // Whoever found the names free and was overtaken says so in the log.
        met += imports(&world, Outcome::Refused).await.len().saturating_sub(1);
        check_state(&world, 9_540 + seed).await;
    }
    assert!(met > 20, "{met} met in a turn");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_somebody_writes_meanwhile_is_neither_lost_nor_written_over_unseen() {
    let world = World::new(957).await;
    let app = world.application("shop").await;
    done(&world, &import(&[one(app, "n0", "same")])).await;
    let id: CredentialId =
        world.run(&Do::ReadCredentialNamed(app, "n0".to_owned())).await.unwrap().at("/id").parse().unwrap();
    let by_hand = Do::WriteCredential(id, json!({"value": {"value": "by hand"}}));
    let by_import = Do::ImportCredentials(writing(&[one(app, "n0", "by import")]));
    for ended in interleave(&world, &[by_hand, by_import], |awake| world.rng.below(awake), None).await {
        ended.expect("done");
    }
    let view = world.run(&Do::ShowCredential(id)).await.unwrap().json();
    assert_eq!((view["versions"].as_array().unwrap().len(), &view["revision"]), (3, &json!(3)));
    check_state(&world, 957).await;
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_call_all_of_a_commit_or_nothing_is_imported_and_the_next_call_goes_on() {
    for nth in 0.. {
        let mut finished = true;
        for fault in [Fault::Crash, Fault::CrashAfter] {
            let world = World::new(955).await;
            let app = world.application("shop").await;
            done(&world, &import(&[one(app, "old", "1")])).await;
            let asked = writing(&[one(app, "old", "2"), one(app, "new", "3"), one(app, "Unfit", "4")]);
            let what = Do::ImportCredentials(asked);
            let caller = world.caller_with(&world.root, Some("once")).await;
            world.fault_at(nth, |_| true, fault);
            let ended = survive(perform(&world.service(), caller, &what)).await;
            world.heal();
            finished &= ended.is_some();
            let held = (value(&world, app, "old").await.unwrap(), value(&world, app, "new").await);
            let whole = held == ("2".to_owned(), Some("3".to_owned()));
            assert!(whole || held == ("1".to_owned(), None), "call {nth}: {held:?}");
            let reply = world.run_until_ended("once", &what).await.expect("repeated").json();
            assert_eq!(outcomes(&reply), ["written", "imported", "refused"], "call {nth}");
            let again = done(&world, &import(&[one(app, "old", "2"), one(app, "new", "3")])).await;
            assert_eq!(outcomes(&again), ["existing", "existing"], "call {nth}");
            assert_eq!(imports(&world, Outcome::Done).await.len(), 3, "call {nth}: each once");
            check_state(&world, 955).await;
        }
        if finished {
            assert!(nth > 10, "{nth} calls");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_fails_the_call_and_refuses_nothing() {
    let world = World::new(956).await;
    let app = world.application("shop").await;
    let what = Do::ImportCredentials(import(&[one(app, "a", "1"), one(app, "b", "2")]));
    let caller = world.caller(&world.root).await;
    world.kv.plan(|call| match call {
        Call::Get(key) if key.starts_with("n:") => Fault::Before,
        _ => Fault::None,
    });
    let error = perform(&world.service(), caller, &what).await.expect_err("it cannot be told");
    assert_eq!(error.code, Code::StoreUnavailable);
    world.heal();
    assert_eq!(outcomes(&world.run(&what).await.unwrap().json()), ["imported", "imported"]);
}
