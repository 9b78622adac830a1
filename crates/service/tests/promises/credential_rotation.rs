//! A credential that is rotated by its provider is at each moment one that the third party accepts: at every fault, by however many runs
//! at once, also where it is given up or taken back. The provider is here in memory; over real HTTP it is in the end-to-end tests.

use crate::world::provider::{Mood, Provider};
use crate::world::{Do, World, ring_json, survive};
use futures::future::join_all;
use keyward_crypto::{Ring, Sealer};
use keyward_domain::credential_rotation::{ATTEMPTS_MAX, SCHEDULE_S};
use keyward_domain::event::{Action, ActorKind, Event, Outcome, Target};
use keyward_domain::webhook::Targets;
use keyward_domain::{Code, CredentialId};
use keyward_ledger::memory::Fault;
use keyward_records::names;
use keyward_service::{Attempt, Body, WhichCredential};
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

const URL: &str = "https://psp.example/keyward";
/// What the lease and a read that is under way add up to.
const WAIT: Duration = Duration::from_secs(330);

struct Rotated {
    id: CredentialId,
    provider: Provider,
}

impl Rotated {
    /// A credential that the third party accepts and that its provider is to rotate.
    async fn new(world: &World) -> Self {
        Self::of(world, &json!("api-key"), &json!({"value": "s0"})).await
    }

    async fn of(world: &World, kind: &Value, value: &Value) -> Self {
        let app = world.application("shop").await;
        let new = json!({"application": app, "name": "psp", "kind": kind, "value": value});
        let created = world.run(&Do::CreateCredential(new)).await.expect("a credential");
        let id = created.at("/id").parse().expect("an id");
        let provider = Provider::accepting(value);
        let set = world.run(&Do::SetProvider(id, json!({ "url": URL }))).await.expect("a provider");
        provider.learns(&set.json());
        Self { id, provider }
    }

    async fn begin(&self, world: &World) {
        world.run(&Do::RotateCredential(self.id, "it is time")).await.expect("begun");
    }

    async fn show(&self, world: &World) -> Value {
        world.run(&Do::ShowCredential(self.id)).await.expect("shown").json()
    }

    /// What a service reads; it must work at the third party.
    async fn read(&self, world: &World) -> Value {
        let read = world.run(&Do::ReadCredential(self.id, None)).await.expect("read").json()["value"].clone();
        assert!(self.provider.accepts(&read), "what is handed out is refused by the third party");
        read
    }

    async fn ending(&self, world: &World) -> Value {
        let shown = self.show(world).await;
        assert_eq!(shown["rotation"], json!(null), "it goes on");
        shown["last_rotation"]["ending"].clone()
    }

    async fn ending_or_none(&self, world: &World) -> Option<Value> {
        Some(self.show(world).await["last_rotation"].clone()).filter(|ended| !ended.is_null())
    }

    /// What the world's clock has to pass until the provider is called next.
    async fn next_call(&self, world: &World) -> Duration {
        let shown = self.show(world).await;
        let at = shown["rotation"]["next_attempt_at"].as_str().expect("it goes on");
        let at = keyward_domain::Timestamp::parse(at).expect("a time");
        let now = keyward_domain::ports::Clock::now(&world.clock);
        Duration::from_millis(u64::try_from(at.unix_ms() - now.unix_ms()).unwrap_or(0))
    }
}

async fn run(world: &World, rotated: &Rotated) -> Value {
    let run = world.service().go_on_with_rotations(&rotated.provider, Targets::Public).await;
    let run = run.unwrap_or_else(|error| panic!("a run: {error}"));
    serde_json::from_str(run.to_json().expose()).expect("JSON")
}

async fn told(world: &World, id: CredentialId) -> Vec<Event> {
    let events = world.events().await.into_iter();
    events.filter(|e| e.target.credential == Some(id) && e.actor.kind == ActorKind::System).collect()
}

async fn code(world: &World, what: &Do) -> Option<Code> {
    world.run(what).await.err().map(|error| error.code)
}

#[tokio::test(start_paused = true)]
async fn four_steps_lead_from_one_secret_to_the_next() {
    let world = World::new(950).await;
    let rotated = Rotated::new(&world).await;
    rotated.begin(&world).await;
    assert_eq!(rotated.show(&world).await["rotation"]["phase"], "creating");
    let done = run(&world, &rotated).await;
    assert_eq!(done, json!({"done": 3, "failed": 0, "ended": 0, "more": false}));
    let shown = rotated.show(&world).await;
    assert_eq!((&shown["current"], &shown["rotation"]["phase"]), (&json!(2), &json!("waiting")));
    assert_eq!(rotated.provider.accepts.borrow().len(), 2, "whoever holds the old one goes on with it");
    assert_eq!(rotated.read(&world).await, json!({"value": "s1000000"}));
    tokio::time::advance(WAIT - Duration::from_secs(1)).await;
    run(&world, &rotated).await;
    assert_eq!(rotated.provider.accepts.borrow().len(), 2);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(run(&world, &rotated).await["ended"], 1);
    assert_eq!(rotated.ending(&world).await, "done");
    rotated.read(&world).await;
    assert_eq!(rotated.provider.accepts.borrow().len(), 1);
    assert_eq!(rotated.provider.steps(), ["create", "set", "test", "finish"]);
    let actions: Vec<&str> =
        told(&world, rotated.id).await.iter().map(|event| event.action.as_str()).collect();
    let expected = [
        "credential.call-provider",
        "credential.advance-rotation",
        "credential.call-provider",
        "credential.advance-rotation",
        "credential.call-provider",
        "credential.promote",
        "credential.call-provider",
        "credential.finish-rotation",
    ];
    assert_eq!(actions, expected, "what is handed to the provider is on record before");
    let handed = &told(&world, rotated.id).await[2];
    let rotation = rotated.show(&world).await["last_rotation"]["id"].as_str().expect("one").to_owned();
    let facts = [&format!("rotation {rotation}"), "step set", "attempt 1", "version 1", "version 2"];
    assert_eq!(handed.detail, facts);
    // Nothing is to be done any more, and nothing is written once the lists are up to date.
    run(&world, &rotated).await;
    world.kv.take_calls();
    run(&world, &rotated).await;
    assert_eq!(crate::world::writes(&world.kv.take_calls()).1, 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_next_version_is_woken_by_that_alone() {
    let world = World::new(965).await;
    let rotated = Rotated::new(&world).await;
    rotated.begin(&world).await;
    let seen = world.run(&Do::ReadCredential(rotated.id, None)).await.expect("read").json();
    let seen = seen["revision"].as_u64().expect("one");
    let is_news = async || {
        let caller = world.caller(&world.root).await;
        let attempt = Attempt::to_read(caller, Action::CredentialRead, Target::default());
        let which = WhichCredential::Id(rotated.id);
        world.service().credential_changed(&attempt, which, seen, 0).await.expect("looked at")
    };
    rotated.provider.plan(|called| if called.step == "test" { Mood::IsSilent } else { Mood::Well });
    run(&world, &rotated).await;
    assert!(!is_news().await, "steps are nothing to read anew for");
    rotated.provider.plan(|_| Mood::Well);
    tokio::time::advance(rotated.next_call(&world).await).await;
    run(&world, &rotated).await;
    assert!(is_news().await);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_was_not_tested_is_handed_to_nobody() {
    let world = World::new(951).await;
    let rotated = Rotated::new(&world).await;
    rotated.begin(&world).await;
    rotated.provider.plan(|called| if called.step == "test" { Mood::IsSilent } else { Mood::Well });
    run(&world, &rotated).await;
    let shown = rotated.show(&world).await;
    assert_eq!(shown["versions"][0]["state"], "pending");
    assert_eq!(shown["rotation"]["last_failure"]["fault"], "timeout");
    assert_eq!(rotated.read(&world).await, json!({"value": "s0"}));
    for what in [
        Do::ReadCredential(rotated.id, Some(2)),
        Do::RollCredentialBack(rotated.id, 2),
        Do::DestroyCredentialVersion(rotated.id, 2),
        Do::WriteCredential(rotated.id, json!({"value": {"value": "by hand"}})),
        Do::RotateCredential(rotated.id, "again"),
        Do::RemoveProvider(rotated.id, "gone"),
    ] {
        assert_eq!(code(&world, &what).await, Some(Code::StateConflict), "{what:?}");
    }
    rotated.provider.plan(|_| Mood::Well);
    tokio::time::advance(rotated.next_call(&world).await).await;
    run(&world, &rotated).await;
    let read = Do::ReadCredential(rotated.id, Some(2));
    assert_eq!(world.run(&read).await.expect("tested").at("/value/value"), "s1000000");
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_asked_for_again_under_the_same_id_and_made_once() {
    let world = World::new(952).await;
    let rotated = Rotated::new(&world).await;
    rotated.begin(&world).await;
    // Each step fails twice: once before it is done, once after.
    rotated.provider.plan(|called| match called.attempt {
        1 => Mood::Refuses(503),
        2 => Mood::LosesAnswer,
        _ => Mood::Well,
    });
    for _ in 0..60 {
        run(&world, &rotated).await;
        rotated.read(&world).await;
        if rotated.show(&world).await["rotation"].is_null() {
            break;
        }
        tokio::time::advance(Duration::from_secs(20)).await;
    }
    assert_eq!(rotated.ending(&world).await, "done");
    assert_eq!(rotated.provider.steps().len(), 12);
    assert_eq!(rotated.show(&world).await["versions"].as_array().map(Vec::len), Some(2), "one was made");
    let delayed: Vec<Event> = told(&world, rotated.id)
        .await
        .into_iter()
        .filter(|event| event.action == Action::CredentialRotationDelayed)
        .collect();
    assert_eq!(delayed.len(), 8);
    assert_eq!(delayed[0].detail[1..4], ["step create", "attempt 1", "status 503"]);
    assert_eq!(delayed[1].detail[3], "connection");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_get_on_is_given_up_rolled_back_and_begun_again_a_day_later() {
    let world = World::new(953).await;
    let rotated = Rotated::new(&world).await;
    rotated.begin(&world).await;
    rotated.provider.plan(|called| if called.step == "test" { Mood::Refuses(500) } else { Mood::Well });
    let mut waited = Duration::ZERO;
    while rotated.ending_or_none(&world).await.is_none() {
        run(&world, &rotated).await;
        rotated.read(&world).await;
        if rotated.ending_or_none(&world).await.is_none() {
            let wait = rotated.next_call(&world).await;
            waited += wait;
            tokio::time::advance(wait).await;
        }
    }
    assert_eq!(rotated.ending(&world).await, "failed");
    let schedule = SCHEDULE_S.iter().sum::<i64>();
    let waited_s = i64::try_from(waited.as_secs()).unwrap();
    assert!((schedule..=schedule + schedule / 10).contains(&waited_s), "{waited_s} s");
    let steps = rotated.provider.steps();
    let tests = steps.iter().filter(|step| *step == "test").count();
    assert_eq!((tests, steps.last().map(String::as_str)), (ATTEMPTS_MAX as usize, Some("roll_back")));
    assert_eq!(rotated.provider.accepts.borrow().len(), 1, "the new one is accepted no longer");
    assert_eq!(rotated.show(&world).await["current"], 1);
    let left = world.kv.values()[&names::credential_kill(rotated.id, 2)].clone();
    let told = told(&world, rotated.id).await;
    let undone = told.iter().find(|event| event.action == Action::CredentialRotationUndone).expect("undone");
    assert_eq!(String::from_utf8(left).expect("an event"), undone.id.to_string());
    let failed = told.iter().find(|event| event.action == Action::CredentialRotationFailed).expect("told");
    assert_eq!(failed.outcome, Outcome::Alarm);
    assert_eq!(failed.detail[1..4], ["step test", "attempt 7", "status 500"]);
    assert_eq!(code(&world, &Do::ReadCredential(rotated.id, Some(2))).await, Some(Code::StateConflict));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_finds_the_new_secret_bad_has_it_taken_back_at_once() {
    let world = World::new(954).await;
    let rotated = Rotated::new(&world).await;
    rotated.begin(&world).await;
    rotated.provider.plan(|called| if called.step == "test" { Mood::Refuses(422) } else { Mood::Well });
    let done = run(&world, &rotated).await;
    assert_eq!(done, json!({"done": 3, "failed": 1, "ended": 1, "more": false}));
    assert_eq!(rotated.ending(&world).await, "failed");
    assert_eq!(rotated.read(&world).await, json!({"value": "s0"}));
    // A provider that is gone altogether: what it was to take back is destroyed all the same.
    rotated.begin(&world).await;
    rotated.provider.plan(|called| if called.step == "create" { Mood::Well } else { Mood::Refuses(410) });
    run(&world, &rotated).await;
    assert_eq!(rotated.ending(&world).await, "failed");
    let told = told(&world, rotated.id).await;
    let undone = told.last().expect("an event");
    assert_eq!((undone.action, undone.outcome), (Action::CredentialRotationUndone, Outcome::Alarm));
    assert_eq!(rotated.show(&world).await["versions"][0]["state"], "destroyed");
    rotated.read(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_rotation_can_be_cancelled_until_the_old_secret_is_being_ended() {
    for step in ["create", "set", "test", "finish"] {
        let world = World::new(955).await;
        let rotated = Rotated::new(&world).await;
        assert_eq!(
            code(&world, &Do::CancelCredentialRotation(rotated.id, "none")).await,
            Some(Code::StateConflict)
        );
        rotated.begin(&world).await;
        rotated.provider.plan(move |called| if called.step == step { Mood::IsSilent } else { Mood::Well });
        run(&world, &rotated).await;
        let cancelled = world.run(&Do::CancelCredentialRotation(rotated.id, "not now")).await;
        assert_eq!(cancelled.expect("cancelled").at("/current"), "1", "{step}");
        assert_eq!(rotated.read(&world).await, json!({"value": "s0"}));
        assert!(code(&world, &Do::ReadCredential(rotated.id, Some(2))).await.is_some());
        tokio::time::advance(WAIT).await;
        run(&world, &rotated).await;
        assert_eq!(rotated.ending(&world).await, "cancelled", "{step}");
        assert_eq!(rotated.provider.steps().last().map(String::as_str), Some("roll_back"));
        assert_eq!(rotated.provider.accepts.borrow().len(), 1);
        rotated.read(&world).await;
        world.run(&Do::RemoveProvider(rotated.id, "by hand from now on")).await.expect("removed");
        assert_eq!(code(&world, &Do::RotateCredential(rotated.id, "x")).await, Some(Code::StateConflict));
    }
    // Its end at the third party has been asked for: who knows whether it was done.
    let world = World::new(956).await;
    let rotated = Rotated::new(&world).await;
    rotated.begin(&world).await;
    rotated.provider.plan(|called| if called.step == "finish" { Mood::LosesAnswer } else { Mood::Well });
    run(&world, &rotated).await;
    tokio::time::advance(WAIT).await;
    run(&world, &rotated).await;
    let late = Do::CancelCredentialRotation(rotated.id, "too late");
    assert_eq!(code(&world, &late).await, Some(Code::StateConflict));
    rotated.read(&world).await;
}

#[tokio::test(start_paused = true)]
async fn of_two_runs_at_once_each_step_is_done_by_one() {
    let world = World::new(957).await;
    let rotated = Rotated::new(&world).await;
    rotated.provider.takes_ms(200);
    rotated.begin(&world).await;
    join_all([run(&world, &rotated), run(&world, &rotated), run(&world, &rotated)]).await;
    tokio::time::advance(WAIT).await;
    join_all([run(&world, &rotated), run(&world, &rotated)]).await;
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(61)).await;
        run(&world, &rotated).await;
    }
    assert_eq!(rotated.ending(&world).await, "done");
    assert_eq!(rotated.provider.steps(), ["create", "set", "test", "finish"]);
}

/// Rotates while the process dies at call `nth`, and lets another one go on; whether there was such a call.
async fn crash_at(nth: usize, fault: Fault) -> bool {
    let world = World::new(958).await;
    let rotated = Rotated::new(&world).await;
    rotated.begin(&world).await;
    let seen = Rc::new(Cell::new(0));
    let counter = Rc::clone(&seen);
    world.kv.plan(move |_| {
        counter.set(counter.get() + 1);
        match counter.get().cmp(&(nth + 1)) {
            std::cmp::Ordering::Less => Fault::None,
            std::cmp::Ordering::Equal => fault,
            std::cmp::Ordering::Greater => Fault::Crash,
        }
    });
    let service = world.service();
    survive(service.go_on_with_rotations(&rotated.provider, Targets::Public)).await;
    tokio::time::advance(WAIT).await;
    survive(service.go_on_with_rotations(&rotated.provider, Targets::Public)).await;
    let crashed = seen.get() > nth;
    world.heal();
    // A ticket without an event keeps the lists waiting for a minute.
    for _ in 0..12 {
        run(&world, &rotated).await;
        rotated.read(&world).await;
        if rotated.ending_or_none(&world).await.is_some() {
            break;
        }
        tokio::time::advance(Duration::from_secs(61)).await;
    }
    assert_eq!(rotated.ending(&world).await, "done", "call {nth}, {fault:?}");
    assert_eq!(rotated.provider.accepts.borrow().len(), 1, "call {nth}, {fault:?}");
    rotated.read(&world).await;
    crashed
}

#[tokio::test(start_paused = true)]
async fn whatever_a_process_dies_at_another_one_goes_on() {
    for nth in 0.. {
        let mut crashed = false;
        for fault in [Fault::Crash, Fault::CrashAfter] {
            crashed |= crash_at(nth, fault).await;
        }
        if !crashed {
            assert!(nth > 50, "{nth} calls");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_in_an_event_an_answer_or_the_store() {
    const OLD: &str = "canary-old-5b0c";
    const NEW: &str = "c1000000";
    let world = World::new(959).await;
    let rotated = Rotated::of(&world, &json!("api-key"), &json!({ "value": OLD })).await;
    rotated.begin(&world).await;
    rotated.provider.plan(|called| if called.attempt == 1 { Mood::LosesAnswer } else { Mood::Well });
    let mut texts = Vec::new();
    for _ in 0..40 {
        texts.push(run(&world, &rotated).await.to_string());
        texts.push(rotated.show(&world).await.to_string());
        tokio::time::advance(Duration::from_secs(20)).await;
    }
    assert_eq!(rotated.ending(&world).await, "done");
    assert_eq!(rotated.read(&world).await, json!({ "value": NEW }));
    texts.extend(world.events().await.iter().map(|event| serde_json::to_string(event).expect("JSON")));
    for text in texts {
        assert!(!text.contains(OLD) && !text.contains(NEW), "{text}");
    }
    for (key, value) in world.kv.values() {
        for canary in [OLD, NEW] {
            assert!(!value.windows(canary.len()).any(|part| part == canary.as_bytes()), "{key}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_provider_makes_none_keyward_makes_the_secret_and_keeps_the_rest() {
    let world = World::new(960).await;
    let value = json!({"username": "shop", "password": "p0"});
    let rotated = Rotated::of(&world, &json!("basic"), &value).await;
    rotated.provider.leaves_it_to_keyward.set(true);
    rotated.begin(&world).await;
    run(&world, &rotated).await;
    let read = rotated.read(&world).await;
    let password = read["password"].as_str().expect("one");
    assert_eq!((&read["username"], password.len()), (&json!("shop"), 43));
    assert!(password.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    // No certificate comes out of randomness.
    let world = World::new(961).await;
    let value = json!({"certificate": "c0", "private_key": "k0"});
    let rotated = Rotated::of(&world, &json!("certificate"), &value).await;
    rotated.provider.leaves_it_to_keyward.set(true);
    rotated.begin(&world).await;
    run(&world, &rotated).await;
    assert_eq!(rotated.show(&world).await["rotation"]["last_failure"]["fault"], "protocol");
}

#[tokio::test(start_paused = true)]
async fn whoever_names_a_provider_may_read_what_it_is_told_and_sees_the_secret_once() {
    let world = World::new(962).await;
    let rotated = Rotated::new(&world).await;
    let set = |url: &str| Do::SetProvider(rotated.id, json!({ "url": url }));
    let writer = world.admin(&["credentials:write".to_owned(), "credentials:list".to_owned()]).await;
    let refused = world.run_as(&writer.token, &set("https://evil.example/")).await;
    assert_eq!(refused.map_err(|error| error.code).err(), Some(Code::InsufficientScope));
    for bad in ["http://psp.example/", "https://127.0.0.1/", "https://self/"] {
        assert_eq!(code(&world, &set(bad)).await, Some(Code::InvalidField), "{bad}");
    }
    let first = world.run_once("set", &set(URL)).await.expect("set");
    let again = world.run_once("set", &set(URL)).await.expect("the same again");
    assert_eq!((&first.text, again.replayed), (&again.text, true));
    let secret = first.at("/secret");
    assert!(!rotated.show(&world).await.to_string().contains(&secret));
    // The provider knows the one before alone: that signs as well, for a day.
    rotated.begin(&world).await;
    assert_eq!(run(&world, &rotated).await["done"], 3);
    tokio::time::advance(WAIT).await;
    run(&world, &rotated).await;
    world.run(&Do::RemoveProvider(rotated.id, "by hand")).await.expect("removed");
    let left = world.kv.values()[&names::credential_provider(rotated.id)].clone();
    assert!(String::from_utf8(left).is_ok_and(|text| text.starts_with("evt_")), "overwritten");
    // Another provider never sees what the one before knows.
    world.run(&set("https://other.example/")).await.expect("set");
    rotated.begin(&world).await;
    let service = world.service();
    let other = Provider::accepting(&json!({}));
    let unsigned = std::panic::AssertUnwindSafe(service.go_on_with_rotations(&other, Targets::Public));
    assert!(futures::FutureExt::catch_unwind(unsigned).await.is_err(), "signed with a secret of its own");
}

#[tokio::test(start_paused = true)]
async fn what_is_retired_is_rotated_no_more_and_its_providers_secret_is_gone() {
    let world = World::new(963).await;
    let rotated = Rotated::new(&world).await;
    rotated.begin(&world).await;
    rotated.provider.plan(|called| if called.step == "test" { Mood::IsSilent } else { Mood::Well });
    run(&world, &rotated).await;
    world.run(&Do::RetireCredential(rotated.id, "moved")).await.expect("retired");
    let calls = rotated.provider.calls.borrow().len();
    tokio::time::advance(WAIT).await;
    run(&world, &rotated).await;
    assert_eq!(rotated.provider.calls.borrow().len(), calls);
    let left = world.kv.values()[&names::credential_provider(rotated.id)].clone();
    assert!(String::from_utf8(left).is_ok_and(|text| text.starts_with("evt_")), "overwritten");
    let shown = rotated.show(&world).await;
    assert_eq!((&shown["provider"], &shown["rotation"]), (&json!(null), &json!(null)));
    assert_eq!(shown["versions"][0]["state"], "destroyed");
}

#[tokio::test(start_paused = true)]
async fn a_providers_secret_is_sealed_anew_with_what_credentials_hold() {
    let mut world = World::new(964).await;
    let rotated = Rotated::new(&world).await;
    let ring = |versions: &[u8]| Ring::parse("vault_keyring", &ring_json(105, versions)).expect("a ring");
    world.rings.vault = Some(Sealer::new(ring(&[1, 2])));
    let step = world.run(&Do::ResealVault(None)).await.expect("resealed").json();
    assert_eq!((&step["values"], &step["resealed"]), (&json!(2), &json!(2)));
    world.rings.vault = Some(Sealer::new(ring(&[2])));
    rotated.begin(&world).await;
    assert_eq!(run(&world, &rotated).await["done"], 3);
}
