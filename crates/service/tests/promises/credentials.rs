//! What credentials hold is handed to whoever may read it and is nowhere else; what is destroyed is gone; a service reads what its
//! grants match and not a name more.

use crate::world::{Do, Held, TestService, World, new_key, perform, vault_ring, writes};
use futures::future::join_all;
use keyward_domain::event::{Action, ActorKind, Outcome};
use keyward_domain::{ApplicationId, Code, CredentialId};
use keyward_ledger::memory::Fault;
use keyward_records::names;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const CANARY: &str = "canary-9f3a1c77-never-to-be-seen";

fn new_credential(application: ApplicationId, name: &str, value: &str) -> Value {
    json!({"application": application.to_string(), "name": name, "kind": "api-key", "value": {"value": value}})
}

fn version(value: &str) -> Value {
    json!({"value": {"value": value}})
}

async fn credential(world: &World, application: ApplicationId, name: &str, value: &str) -> CredentialId {
    let reply = world.run(&Do::CreateCredential(new_credential(application, name, value))).await;
    reply.expect("a credential").at("/id").parse().expect("an id")
}

/// A service of an application with these grants.
async fn service_account(world: &World, application: ApplicationId, names: &[&str]) -> Held {
    let mut new = new_key(application, "service");
    new["scopes"] = names.iter().map(|name| json!(format!("credentials:read@{name}"))).collect();
    world.held(&new).await
}

async fn code(world: &World, what: &Do) -> Option<Code> {
    world.run(what).await.err().map(|error| error.code)
}

#[tokio::test(start_paused = true)]
async fn a_value_is_in_the_answer_to_its_read_and_nowhere_else() {
    let world = World::new(900).await;
    let app = world.application("shop").await;
    let new = Do::CreateCredential(new_credential(app, "payments/psp", CANARY));
    let created = world.run_once("create", &new).await.expect("created");
    let id: CredentialId = created.at("/id").parse().expect("an id");
    let again = world.run_once("create", &new).await.expect("the same again");
    assert_eq!((again.at("/id"), again.replayed), (id.to_string(), true));
    let other = Do::CreateCredential(new_credential(app, "payments/psp", "another value"));
    let mismatch = world.run_once("create", &other).await.map_err(|error| error.code).err();
    assert_eq!(mismatch, Some(Code::IdempotencyMismatch), "the value is part of what was asked");
    world.run_once("write", &Do::WriteCredential(id, version(CANARY))).await.expect("written");
    let shown = world.run(&Do::ShowCredential(id)).await.expect("shown");
    let listed = world.run(&Do::ListCredentials(Some(app))).await.expect("listed");
    for text in [&created.text, &again.text, &shown.text, &listed.text] {
        assert!(!text.contains(CANARY), "{text}");
    }
    let read = world.run(&Do::ReadCredential(id, None)).await.expect("read");
    assert_eq!((read.at("/value/value"), read.at("/version")), (CANARY.to_owned(), "2".to_owned()));
    let refused = [
        Do::WriteCredential(id, json!({"value": {"valeu": CANARY}})),
        Do::WriteCredential(id, json!({"value": {"value": CANARY}, "reason": ""})),
        Do::CreateCredential(new_credential(app, "Payments", CANARY)),
    ];
    for what in refused {
        let error = world.run(&what).await.expect_err("refused");
        assert_eq!(error.code, Code::InvalidField);
        assert!(!format!("{error:?}").contains(CANARY), "{error:?}");
    }
    for event in world.events().await {
        assert!(!serde_json::to_string(&event).expect("JSON").contains(CANARY), "{event:?}");
    }
    for (key, value) in world.kv.values() {
        assert!(!value.windows(CANARY.len()).any(|part| part == CANARY.as_bytes()), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_read_is_an_event_that_comes_before_the_answer() {
    let world = World::new(901).await;
    let app = world.application("shop").await;
    let id = credential(&world, app, "db", "one").await;
    let account = service_account(&world, app, &["*"]).await;
    world.kv.take_calls();
    world.run_as_workload(&account.token, &Do::ReadCredential(id, None)).await.expect("read");
    assert_eq!(writes(&world.kv.take_calls()), (1, 1), "one increment, one batch");
    let event = world.events().await.pop().expect("an event");
    assert_eq!((event.action, event.outcome), (Action::CredentialRead, Outcome::Done));
    assert_eq!((event.actor.kind, event.actor.key), (ActorKind::Workload, Some(account.id)));
    assert_eq!((event.target.credential, event.target.application), (Some(id), Some(app)));
    assert_eq!(event.detail, ["version 1"]);
    // Where nobody can say that it was read, nobody reads it.
    world.kv.plan(|call| match call {
        keyward_ledger::memory::Call::SetMany(_) => Fault::Before,
        _ => Fault::None,
    });
    let read = world.run_as_workload(&account.token, &Do::ReadCredential(id, None)).await;
    assert_eq!(read.map_err(|error| error.code), Err(Code::OutcomeUnknown));
    world.heal();
    assert_eq!(code(&world, &Do::ReadCredential(id, Some(7))).await, Some(Code::NotFound));
}

#[tokio::test(start_paused = true)]
async fn a_service_reads_what_its_grants_match_and_not_a_name_more() {
    let world = World::new(902).await;
    let (app, other) = (world.application("shop").await, world.application("other").await);
    let names = ["db", "payments/db", "payments/eu/db", "paymentsx/db"];
    let ids = join_all(names.map(|name| credential(&world, app, name, name))).await;
    let foreign = credential(&world, other, "db", "foreign").await;
    // Grants, and which of the names they open.
    let table: [(&[&str], [bool; 4]); 6] = [
        (&["db"], [true, false, false, false]),
        (&["payments/*"], [false, true, true, false]),
        (&["payments/db", "paymentsx/*"], [false, true, false, true]),
        (&["payments/eu/*"], [false, false, true, false]),
        (&["*"], [true, true, true, true]),
        (&[], [false, false, false, false]),
    ];
    for (grants, opened) in table {
        let account = service_account(&world, app, grants).await;
        for ((name, id), opened) in names.into_iter().zip(&ids).zip(opened) {
            let by_id = world.run_as_workload(&account.token, &Do::ReadCredential(*id, None)).await;
            let named = Do::ReadCredentialNamed(app, name.to_owned());
            let by_name = world.run_as_workload(&account.token, &named).await;
            let refused = match grants {
                [] => Code::InsufficientScope,
                _ => Code::NotFound,
            };
            for read in [by_id, by_name] {
                match opened {
                    true => assert_eq!(read.expect("read").at("/value/value"), name, "{grants:?}"),
                    false => assert_eq!(read.map_err(|error| error.code), Err(refused), "{grants:?} {name}"),
                }
            }
        }
        // Another application's, whatever is granted; and what a service never does.
        for what in [
            Do::ReadCredential(foreign, None),
            Do::ReadCredentialNamed(other, "db".to_owned()),
            Do::ShowCredential(ids[0]),
            Do::ListCredentials(Some(app)),
            Do::WriteCredential(ids[0], version("mine")),
            Do::DestroyCredentialVersion(ids[0], 1),
            Do::RetireCredential(ids[0], "mine"),
            Do::ListKeys(app),
        ] {
            let refused = world.run_as_workload(&account.token, &what).await.map_err(|error| error.code);
            assert!(matches!(refused, Err(Code::NotFound | Code::InsufficientScope)), "{grants:?} {what:?}");
        }
    }
    // What a partner's own scopes may be called opens nothing.
    for scopes in [json!(["*"]), json!(["credentials:read"]), json!(["credentials:*"])] {
        let mut new = new_key(app, "partner");
        new["scopes"] = scopes;
        let partner = world.held(&new).await;
        let read = world.run_as_workload(&partner.token, &Do::ReadCredential(ids[0], None)).await;
        assert_eq!(read.map_err(|error| error.code), Err(Code::InsufficientScope));
    }
    // What was refused is on record, and says what was missing.
    let refused = world.events().await.into_iter().rfind(|event| event.action == Action::CredentialRead);
    let refused = refused.expect("an event");
    assert_eq!((refused.outcome, refused.actor.kind), (Outcome::Refused, ActorKind::Workload));
    assert_eq!(refused.detail, ["credentials:read"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_hands_out_what_reads_more_than_they_may() {
    let world = World::new(903).await;
    let app = world.application("shop").await;
    let issuer = world
        .admin(&[
            format!("keys:write@{app}"),
            format!("keys:rotate@{app}"),
            format!("keys:revoke@{app}"),
            format!("credentials:read@{app}/orders/*"),
        ])
        .await;
    let with = |grant: &str| {
        let mut new = new_key(app, "service");
        new["scopes"] = json!([grant]);
        new
    };
    let issue = async |grant: &str| world.run_as(&issuer.token, &Do::Issue(with(grant))).await;
    issue("credentials:read@orders/db").await.expect("they may read it themselves");
    for grant in ["credentials:read@*", "credentials:read@payments/db"] {
        assert_eq!(
            issue(grant).await.map_err(|error| error.code).err(),
            Some(Code::InsufficientScope),
            "{grant}"
        );
    }
    for bad in [format!("credentials:read@{app}/db"), "credentials:write@db".to_owned()] {
        assert_eq!(issue(&bad).await.map_err(|error| error.code).err(), Some(Code::InvalidField), "{bad}");
    }
    // Root's own service account: its token is not had by way of a rotation or a new claim, but it can be ended.
    let (waiting, _) = world.issue(&with("credentials:read@payments/db")).await;
    let held = world.held(&with("credentials:read@payments/db")).await;
    let widened = Do::ChangeKey(held.id, json!({"scopes": ["credentials:read@*"]}), None);
    let rotation = json!({"reason": "why", "mode": "scheduled"});
    for what in [Do::Rotate(held.id, rotation), Do::Reissue(waiting), widened] {
        let refused = world.run_as(&issuer.token, &what).await.map_err(|error| error.code).err();
        assert_eq!(refused, Some(Code::InsufficientScope), "{what:?}");
    }
    world.run_as(&issuer.token, &Do::RevokeKey(held.id, "it leaked")).await.expect("revoked");
}

#[tokio::test(start_paused = true)]
async fn what_is_destroyed_is_gone_even_where_it_is_put_back() {
    let world = World::new(904).await;
    let app = world.application("shop").await;
    let id = credential(&world, app, "db", "one").await;
    for value in ["two", "three"] {
        world.run(&Do::WriteCredential(id, version(value))).await.expect("written");
    }
    let read = async |number: Option<u32>| {
        world.run(&Do::ReadCredential(id, number)).await.map(|reply| reply.at("/value/value"))
    };
    assert_eq!(read(Some(1)).await.as_deref(), Ok("one"));
    world.run(&Do::RollCredentialBack(id, 1)).await.expect("rolled back");
    assert_eq!(read(None).await.as_deref(), Ok("one"));
    assert_eq!(
        code(&world, &Do::DestroyCredentialVersion(id, 1)).await,
        Some(Code::StateConflict),
        "current"
    );
    let value_key = names::credential_value(id, 2);
    let sealed = world.kv.values()[&value_key].clone();
    let view = world.run(&Do::DestroyCredentialVersion(id, 2)).await.expect("destroyed");
    assert_eq!(view.json()["versions"][1]["state"], "destroyed");
    assert_ne!(world.kv.values()[&value_key], sealed, "overwritten, not only marked");
    assert_eq!(read(Some(2)).await.map_err(|error| error.code), Err(Code::StateConflict));
    world.kv.tamper(&value_key, Some(sealed));
    assert_eq!(read(Some(2)).await.map_err(|error| error.code), Err(Code::StateConflict), "put back");
    assert_eq!(code(&world, &Do::RollCredentialBack(id, 2)).await, Some(Code::StateConflict));
    world.run(&Do::RetireCredential(id, "moved")).await.expect("retired");
    assert_eq!(read(None).await.map_err(|error| error.code), Err(Code::StateConflict));
    assert_eq!(code(&world, &Do::WriteCredential(id, version("four"))).await, Some(Code::StateConflict));
    let events = world.events().await;
    let by: Vec<String> = events
        .iter()
        .filter(|event| matches!(event.action, Action::CredentialDestroyed | Action::CredentialRetired))
        .map(|event| event.id.to_string())
        .collect();
    for number in 1..=3 {
        let left = world.kv.values()[&names::credential_kill(id, number)].clone();
        assert!(by.contains(&String::from_utf8(left).expect("an event")), "version {number}");
    }
    // The name is free again, and leads to the new one alone.
    let next = credential(&world, app, "db", "new").await;
    let read = world.run(&Do::ReadCredentialNamed(app, "db".to_owned())).await.expect("read");
    assert_eq!((read.at("/id"), read.at("/value/value")), (next.to_string(), "new".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn of_many_who_write_at_once_each_has_a_version_of_its_own() {
    let world = World::new(905).await;
    let app = world.application("shop").await;
    let id = credential(&world, app, "db", "0").await;
    let values: Vec<String> = (1..=5).map(|number| number.to_string()).collect();
    let writes = values.iter().map(|value| {
        let what = Do::WriteCredential(id, version(value));
        async { world.run(&{ what }).await.map(|reply| reply.at("/current")) }
    });
    let mut numbers: Vec<String> = join_all(writes).await.into_iter().map(|n| n.expect("written")).collect();
    numbers.sort();
    assert_eq!(numbers, ["2", "3", "4", "5", "6"]);
    let mut held = Vec::new();
    for number in 1..=6 {
        let read = world.run(&Do::ReadCredential(id, Some(number))).await.expect("read");
        held.push(read.at("/value/value"));
    }
    held.sort();
    assert_eq!(held, ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn names_are_unique_within_an_application_and_move() {
    let world = World::new(906).await;
    let (app, other) = (world.application("shop").await, world.application("other").await);
    let id = credential(&world, app, "db", "mine").await;
    credential(&world, other, "db", "theirs").await;
    let again = Do::CreateCredential(new_credential(app, "db", "x"));
    assert_eq!(code(&world, &again).await, Some(Code::NameTaken));
    world.run(&Do::ChangeCredential(id, json!({"name": "db2"}), Some(1))).await.expect("renamed");
    assert_eq!(
        code(&world, &Do::ChangeCredential(id, json!({"name": "db3"}), Some(1))).await,
        Some(Code::RevisionMismatch)
    );
    assert_eq!(code(&world, &Do::ReadCredentialNamed(app, "db".to_owned())).await, Some(Code::NotFound));
    let read = world.run(&Do::ReadCredentialNamed(app, "db2".to_owned())).await.expect("read");
    assert_eq!(read.at("/value/value"), "mine");
    // Whoever may write some names moves none to where they may not.
    let writer = world.admin(&[format!("credentials:write@{app}/db2")]).await;
    let moved = Do::ChangeCredential(id, json!({"name": "elsewhere"}), None);
    let refused = world.run_as(&writer.token, &moved).await.map_err(|error| error.code).err();
    assert_eq!(refused, Some(Code::NotFound));
    world.run_as(&writer.token, &Do::WriteCredential(id, version("x"))).await.expect("theirs to write");
}

#[tokio::test(start_paused = true)]
async fn a_policy_says_when_it_is_due_and_for_how_long_it_is_gone_on_with() {
    let world = World::new(907).await;
    let app = world.application("shop").await;
    let strict =
        world.policy(&json!({"rotate_every_s": 3600, "grace_s": 0, "lease_s": 5, "outage_s": 60})).await;
    let mut new = new_credential(app, "db", "one");
    new["policy"] = json!(strict.to_string());
    let id: CredentialId =
        world.run(&Do::CreateCredential(new)).await.expect("created").at("/id").parse().expect("an id");
    let plain = credential(&world, app, "plain", "one").await;
    let read = async |id| world.run(&Do::ReadCredential(id, None)).await.expect("read").json();
    let (of_strict, of_plain) = (read(id).await, read(plain).await);
    assert_eq!((&of_strict["lease_s"], &of_strict["outage_s"]), (&json!(5), &json!(60)));
    assert_eq!((&of_plain["lease_s"], &of_plain["outage_s"]), (&json!(300), &json!(3600)));
    let state = async || world.run(&Do::ShowCredential(id)).await.expect("shown").at("/state");
    assert_eq!(state().await, "active");
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    assert_eq!(state().await, "overdue");
    world.run(&Do::WriteCredential(id, version("two"))).await.expect("written");
    assert_eq!(state().await, "active", "what was rotated is due anew");
}

/// What lies under each version of the vault's ring.
async fn counted(service: &TestService<'_>, world: &World) -> BTreeMap<u64, u64> {
    let (mut counts, mut cursor) = (BTreeMap::new(), None);
    loop {
        let what = Do::ReadVaultRing(cursor);
        let step = perform(service, world.caller(&world.root).await, &what).await.expect("a step").json();
        for version in step["ring"]["versions"].as_array().unwrap() {
            *counts.entry(version["version"].as_u64().unwrap()).or_default() +=
                version["records"].as_u64().unwrap();
        }
        cursor = step["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return counts;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_they_hold_is_sealed_anew_and_the_old_version_of_the_ring_may_go() {
    let world = World::new(908).await;
    let app = world.application("shop").await;
    let id = credential(&world, app, "db", "one").await;
    world.run(&Do::WriteCredential(id, version("two"))).await.expect("written");
    world.run(&Do::WriteCredential(id, version("three"))).await.expect("written");
    world.run(&Do::DestroyCredentialVersion(id, 2)).await.expect("destroyed");
    for number in 0..40 {
        credential(&world, app, &format!("other/{number}"), "x").await;
    }
    let vault = |versions: &[u8]| {
        let mut rings = world.rings_without_month();
        rings.vault = Some(vault_ring(versions));
        rings
    };
    let both = vault(&[1, 2]);
    let service = world.service_with(&both);
    let run = async |what: Do| perform(&service, world.caller(&world.root).await, &what).await;
    let read = async |number| run(Do::ReadCredential(id, number)).await.map(|reply| reply.at("/value/value"));
    assert_eq!(read(None).await.as_deref(), Ok("three"), "under the old version");
    assert_eq!(counted(&service, &world).await, BTreeMap::from([(1, 42), (2, 0)]));
    let (mut cursor, mut values, mut resealed, mut steps) = (None, 0, 0, 0);
    loop {
        let step = run(Do::ResealVault(cursor)).await.expect("a step").json();
        assert_eq!((&step["active"], &step["unreadable"]), (&json!(2), &json!(0)));
        (values, resealed) =
            (values + step["values"].as_u64().unwrap(), resealed + step["resealed"].as_u64().unwrap());
        steps += 1;
        cursor = step["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((values, resealed), (42, 42));
    assert!(steps > 1, "a step is bounded");
    assert_eq!(counted(&service, &world).await, BTreeMap::from([(1, 0), (2, 42)]));
    let again = run(Do::ResealVault(None)).await.expect("a step").json();
    assert_eq!(again["resealed"], 0, "there is nothing left to do");
    let alone = vault(&[2]);
    let service = world.service_with(&alone);
    let run = async |what: Do| perform(&service, world.caller(&world.root).await, &what).await;
    for (number, expected) in [(1, Ok("one")), (2, Err(Code::StateConflict)), (3, Ok("three"))] {
        let read = run(Do::ReadCredential(id, Some(number))).await.map(|reply| reply.at("/value/value"));
        assert_eq!(read.as_deref().map_err(|error| error.code), expected, "version {number}");
    }
    // A process without the version says "later", and hands nothing out.
    let behind = world.run(&Do::ReadCredential(id, None)).await.map_err(|error| error.code);
    assert_eq!(behind.err(), Some(Code::RingVersionUnknown));
}

#[tokio::test(start_paused = true)]
async fn going_back_twice_by_one_form_is_done_once() {
    let world = World::new(909).await;
    let app = world.application("shop").await;
    let id = credential(&world, app, "db", "one").await;
    world.run(&Do::WriteCredential(id, version("two"))).await.expect("written");
    let before = world.events().await.len();
    let back = Do::RollCredentialBack(id, 1);
    let (one, other) =
        futures::join!(world.run_until_ended("a form", &back), world.run_until_ended("a form", &back));
    let (one, other) = (one.expect("once"), other.expect("again"));
    assert_eq!((one.text == other.text, one.replayed != other.replayed), (true, true));
    assert_eq!(world.events().await.len(), before + 1);
}
