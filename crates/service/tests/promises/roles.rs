//! Roles are bundles of scopes by reference: what one allows changes for all its holders at once; nobody gives through a role what
//! they lack; and the hot path never reads one.

use crate::world::{Do, Held, UNCLAIMED, World, new_admin, new_key, perform};
use futures::future::join_all;
use keyward_domain::event::{Action, Outcome};
use keyward_domain::{Code, KeyId, RoleId};
use keyward_ledger::memory::Call;
use keyward_records::names;
use keyward_verify::Demand;
use serde_json::json;

fn change(role: RoleId, scopes: &[&str]) -> Do {
    Do::ChangeRole(role, json!({ "scopes": scopes }), None)
}

async fn code(world: &World, who: &Held, what: &Do) -> Option<Code> {
    world.run_as(&who.token, what).await.err().map(|error| error.code)
}

#[tokio::test(start_paused = true)]
async fn what_a_role_allows_changes_for_all_its_holders_at_once() {
    let world = World::new(150).await;
    let app = world.application("shop").await;
    let (reader, auditor) = (world.role("reader", &["keys:read"]).await, world.role("auditor", &[]).await);
    let holders = [world.admin_with(&[reader]).await, world.admin_with(&[auditor, reader]).await];
    let bare = world.admin_with(&[]).await;
    let refused = Some(Code::InsufficientScope);
    for holder in &holders {
        assert_eq!(code(&world, holder, &Do::ListKeys(app)).await, None);
        assert_eq!(code(&world, holder, &Do::ListApplications).await, refused);
    }
    for what in [Do::ListKeys(app), Do::ListApplications, Do::ListEvents(None), Do::ListRoles] {
        assert_eq!(code(&world, &bare, &what).await, refused, "neither scopes nor roles: {what:?}");
    }
    world.run(&change(reader, &["apps:read"])).await.expect("changed");
    for holder in &holders {
        assert_eq!(code(&world, holder, &Do::ListKeys(app)).await, refused);
        assert_eq!(code(&world, holder, &Do::ListApplications).await, None);
    }
    // Narrowed, as scopes of a key may be.
    let other = world.application("other").await;
    world.run(&change(reader, &[&format!("keys:read@{app}")])).await.expect("changed");
    for holder in &holders {
        assert_eq!(code(&world, holder, &Do::ListKeys(app)).await, None);
        assert_eq!(code(&world, holder, &Do::ListKeys(other)).await, Some(Code::NotFound));
    }
    // Given and taken by a change of the key.
    world.run(&Do::ChangeKey(bare.id, json!({ "roles": [reader] }), None)).await.expect("changed");
    assert_eq!(code(&world, &bare, &Do::ListKeys(app)).await, None);
    let view = world.run(&Do::ChangeKey(bare.id, json!({ "roles": [] }), None)).await.expect("changed");
    assert_eq!(view.json()["roles"], json!([]));
    assert_eq!(code(&world, &bare, &Do::ListKeys(app)).await, refused);
    let shown = world.run(&Do::ReadKey(holders[1].id)).await.expect("shown").json();
    assert_eq!(shown["roles"], json!([auditor.to_string(), reader.to_string()]));
    let listed = world.run(&Do::ListRoles).await.expect("listed").json();
    let names: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["auditor", "reader"], "newest first");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_allows_nothing_and_is_touched_by_root_alone() {
    let world = World::new(151).await;
    let app = world.application("shop").await;
    let role = world.role("reader", &["keys:read"]).await;
    let holder = world.admin_with(&[role]).await;
    let manager = world.admin(&["keys:*".to_owned()]).await;
    let store_key = names::role(role);
    let sealed = world.kv.values()[&store_key].clone();
    let mut damaged = sealed.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for gone in [None, Some(damaged)] {
        world.kv.tamper(&store_key, gone);
        assert_eq!(code(&world, &holder, &Do::ListKeys(app)).await, Some(Code::InsufficientScope));
        // Whoever might take the key over and put the role back would hold it.
        let edit = Do::ChangeKey(holder.id, json!({ "name": "mine" }), None);
        let error = world.run_as(&manager.token, &edit).await.expect_err("refused");
        assert_eq!(error.code, Code::InsufficientScope);
        assert!(error.detail.contains(&role.to_string()), "{error}");
        world.run(&edit).await.expect("root mends it");
    }
    world.kv.tamper(&store_key, Some(sealed));
    assert_eq!(code(&world, &holder, &Do::ListKeys(app)).await, None);
    world
        .run_as(&manager.token, &Do::ChangeKey(holder.id, json!({ "name": "x" }), None))
        .await
        .expect("an equal");
}

#[tokio::test(start_paused = true)]
async fn nobody_gives_through_a_role_what_they_lack() {
    let world = World::new(152).await;
    let (strong, weak) =
        (world.role("strong", &["keys:read", "audit:read"]).await, world.role("weak", &["keys:read"]).await);
    let strong_key = world.admin_with(&[strong]).await;
    let (unclaimed, _) = world.issue(&new_admin(&[], &[weak, strong])).await;
    let manager = world.admin(&["keys:*".to_owned(), "roles:*".to_owned()]).await;
    let refused = [
        Do::CreateRole(json!({ "name": "mine", "scopes": ["audit:read"] })),
        Do::CreateRole(json!({ "name": "mine", "scopes": ["*"] })),
        // Neither more nor less of what they lack.
        change(weak, &["keys:read", "audit:read"]),
        change(strong, &["keys:read"]),
        Do::ChangeRole(strong, json!({ "description": "x" }), None),
        Do::RetireRole(strong, "x"),
        Do::Issue(new_admin(&[], &[strong])),
        Do::Issue(new_admin(&["keys:read"], &[weak, strong])),
        Do::ChangeKey(manager.id, json!({ "roles": [strong] }), None),
        Do::ChangeKey(strong_key.id, json!({ "roles": [] }), None),
        Do::ChangeKey(strong_key.id, json!({ "disabled": true }), None),
        Do::Reissue(unclaimed),
        Do::RevokeKey(strong_key.id, "x"),
    ];
    for what in refused {
        let error = world.run_as(&manager.token, &what).await.expect_err("refused");
        assert_eq!(error.code, Code::InsufficientScope, "{what:?}");
        let missing = error.missing_scope.expect("says which").to_string();
        assert!(["audit:read", "*"].contains(&missing.as_str()), "{what:?}: {missing}");
    }
    // What they hold, they give; through a role as well.
    let new = Do::CreateRole(json!({ "name": "mine", "scopes": ["keys:revoke"] }));
    let role: RoleId = world.run_as(&manager.token, &new).await.expect("created").at("/id").parse().unwrap();
    let issued =
        world.run_as(&manager.token, &Do::Issue(new_admin(&[], &[role, weak]))).await.expect("issued");
    let issued: KeyId = issued.at("/key/id").parse().unwrap();
    world
        .run_as(&manager.token, &Do::ChangeKey(issued, json!({ "roles": [weak] }), None))
        .await
        .expect("changed");
    world.run_as(&manager.token, &Do::RevokeKey(issued, "left")).await.expect("revoked");
    // Roles belong to no application: a scope that is narrowed to one does not reach them.
    let app = world.application("shop").await;
    let narrowed = world.admin(&[format!("roles:*@{app}"), "keys:read".to_owned()]).await;
    for what in [Do::CreateRole(json!({ "name": "n", "scopes": [] })), Do::ReadRole(weak), Do::ListRoles] {
        assert_eq!(code(&world, &narrowed, &what).await, Some(Code::InsufficientScope), "{what:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_in_use_is_not_retired() {
    let world = World::new(153).await;
    let app = world.application("shop").await;
    let role = world.role("reader", &["keys:read"]).await;
    let (first, second) = (world.admin_with(&[role]).await, world.admin_with(&[role]).await);
    let mut short = new_admin(&[], &[role]);
    short["expires_in_s"] = json!(3600);
    world.held(&short).await;
    let retire = Do::RetireRole(role, "reorganised");
    for holders in ["3", "2"] {
        let error = world.run(&retire).await.expect_err("in use");
        assert_eq!(error.code, Code::StateConflict);
        assert!(error.detail.starts_with(&format!("living keys that hold the role: {holders};")), "{error}");
        // What has expired comes back no more.
        world.clock.step_wall_ms(3_600_000);
    }
    world.run(&Do::RevokeKey(first.id, "left")).await.expect("revoked");
    world.run(&Do::ChangeKey(second.id, json!({ "disabled": true }), None)).await.expect("disabled");
    assert_eq!(
        world.run(&retire).await.err().map(|e| e.code),
        Some(Code::StateConflict),
        "it may be enabled"
    );
    world
        .run(&Do::ChangeKey(second.id, json!({ "disabled": false, "roles": [] }), None))
        .await
        .expect("taken");

    let retired = world.run(&retire).await.expect("retired");
    assert!(retired.json()["retired_at"].is_string());
    let events = world.events().await.len();
    assert_eq!(world.run(&retire).await.expect("again"), retired, "the answer of the first time");
    assert_eq!(world.events().await.len(), events);
    for (what, expected) in [
        (change(role, &["keys:read"]), Code::StateConflict),
        (Do::ChangeRole(role, json!({ "name": "again" }), None), Code::StateConflict),
        (Do::Issue(new_admin(&[], &[role])), Code::InvalidField),
        (Do::ChangeKey(second.id, json!({ "roles": [role] }), None), Code::InvalidField),
        (
            Do::ChangeKey(second.id, json!({ "roles": [RoleId::from_bytes([9; 16])] }), None),
            Code::InvalidField,
        ),
        (Do::ChangeKey(second.id, json!({ "roles": ["rol_x"] }), None), Code::InvalidField),
        (Do::ChangeKey(second.id, json!({ "roles": vec![role; 17] }), None), Code::InvalidField),
    ] {
        assert_eq!(world.run(&what).await.err().map(|e| e.code), Some(expected), "{what:?}");
    }
    // Its name is free, and keys of partners hold no role.
    let again = world.role("reader", &["keys:read"]).await;
    assert_ne!(again, role);
    let mut partner = new_key(app, "k");
    partner["roles"] = json!([again]);
    let error = world.run(&Do::Issue(partner)).await.expect_err("refused");
    assert_eq!((error.code, error.fields[0].field.as_str()), (Code::InvalidField, "roles"));
}

#[tokio::test(start_paused = true)]
async fn names_are_unique_among_roles_whoever_comes_at_once() {
    let world = World::new(154).await;
    world.application("operators").await;
    let service = world.service();
    let new = Do::CreateRole(json!({ "name": "operators", "scopes": ["keys:read"] }));
    let mut callers = Vec::new();
    for _ in 0..4 {
        callers.push(world.caller(&world.root).await);
    }
    let ended = join_all(callers.into_iter().map(|caller| perform(&service, caller, &new))).await;
    let (won, lost): (Vec<_>, Vec<_>) = ended.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1, "an application of that name is no role");
    assert!(lost.into_iter().all(|ended| ended.err().unwrap().code == Code::NameTaken));
    let first: RoleId = won.into_iter().next().unwrap().unwrap().at("/id").parse().unwrap();
    let second = world.role("others", &[]).await;
    let rename = |id, name: &str| Do::ChangeRole(id, json!({ "name": name }), None);
    assert_eq!(world.run(&rename(second, "operators")).await.err().map(|e| e.code), Some(Code::NameTaken));
    world.run(&rename(first, "crew")).await.expect("renamed");
    let before_ms = tokio::time::Instant::now();
    world.run(&rename(second, "operators")).await.expect("free again");
    assert!(before_ms.elapsed().as_secs() < 1, "refusals gave their turns back");
    // Of those who saw the same revision, one wins.
    let seen: u64 = world.run(&Do::ReadRole(first)).await.expect("shown").at("/revision").parse().unwrap();
    let edits: Vec<Do> =
        (0..3).map(|n| Do::ChangeRole(first, json!({ "description": format!("{n}") }), Some(seen))).collect();
    let mut callers = Vec::new();
    for _ in &edits {
        callers.push(world.caller(&world.root).await);
    }
    let ended =
        join_all(callers.into_iter().zip(&edits).map(|(caller, edit)| perform(&service, caller, edit))).await;
    assert_eq!(ended.iter().filter(|ended| ended.is_ok()).count(), 1);
    assert!(ended.iter().flat_map(|ended| ended.as_ref().err()).all(|e| e.code == Code::RevisionMismatch));
    // The same request under its Idempotency-Key makes one role.
    let new = Do::CreateRole(json!({ "name": "once", "scopes": [] }));
    let (one, two) =
        (world.run_once("k", &new).await.expect("made"), world.run_once("k", &new).await.expect("replayed"));
    assert!(two.replayed && one.text == two.text);
}

#[tokio::test(start_paused = true)]
async fn each_call_leaves_one_event_that_names_the_role() {
    let world = World::new(155).await;
    let poor = world.admin(&["metrics:read".to_owned()]).await;
    let role = world.role("reader", &["keys:read"]).await;
    let created = world.events().await.pop().unwrap();
    assert_eq!((created.action, created.outcome), (Action::RoleCreated, Outcome::Done));
    assert_eq!((created.target.role, created.detail), (Some(role), vec!["scopes keys:read".to_owned()]));
    let absent = RoleId::from_bytes([1; 16]);
    let rows: Vec<(Do, bool, Action, Outcome, Option<RoleId>)> = vec![
        (change(role, &["apps:read"]), false, Action::RoleChanged, Outcome::Done, Some(role)),
        (change(role, &["NO"]), false, Action::RoleChanged, Outcome::Refused, Some(role)),
        (Do::ChangeRole(role, json!({}), None), false, Action::RoleChanged, Outcome::Refused, Some(role)),
        (
            Do::ChangeRole(role, json!({"name": "n"}), Some(77)),
            false,
            Action::RoleChanged,
            Outcome::Refused,
            Some(role),
        ),
        (change(absent, &[]), false, Action::RoleChanged, Outcome::Refused, Some(absent)),
        (change(role, &[]), true, Action::RoleChanged, Outcome::Refused, Some(role)),
        (
            Do::CreateRole(json!({"name": "reader", "scopes": []})),
            false,
            Action::RoleCreated,
            Outcome::Refused,
            None,
        ),
        (
            Do::CreateRole(json!({"name": "", "scopes": []})),
            false,
            Action::RoleCreated,
            Outcome::Refused,
            None,
        ),
        (
            Do::CreateRole(json!({"name": "x", "scopes": []})),
            true,
            Action::RoleCreated,
            Outcome::Refused,
            None,
        ),
        (Do::ReadRole(role), true, Action::RoleRead, Outcome::Refused, Some(role)),
        (Do::ListRoles, true, Action::RoleRead, Outcome::Refused, None),
        (Do::RetireRole(role, "why"), true, Action::RoleRetired, Outcome::Refused, Some(role)),
        (Do::RetireRole(role, ""), false, Action::RoleRetired, Outcome::Refused, Some(role)),
        (Do::RetireRole(role, "why"), false, Action::RoleRetired, Outcome::Done, Some(role)),
        (Do::RetireRole(absent, "why"), false, Action::RoleRetired, Outcome::Refused, Some(absent)),
    ];
    for (what, by_poor, action, outcome, target) in rows {
        let before = world.events().await.len();
        let result = world.run_as(if by_poor { &poor.token } else { &world.root }, &what).await;
        let mut events = world.events().await;
        assert_eq!(events.len(), before + 1, "{what:?}");
        let event = events.pop().unwrap();
        assert_eq!((event.action, event.outcome, event.target.role), (action, outcome, target), "{what:?}");
        assert_eq!(
            event.reason.as_deref() == Some("why"),
            outcome == Outcome::Done && action == Action::RoleRetired
        );
        assert_eq!(result.is_ok(), outcome == Outcome::Done, "{what:?}");
    }
    // Who was given which role is in the log.
    let role = world.role("other", &["keys:read"]).await;
    let (id, _) = world.issue(&new_admin(&[], &[role])).await;
    let issued = world.events().await.pop().unwrap();
    assert_eq!(
        (issued.target.key, issued.detail),
        (Some(id), vec![format!("role {role}"), UNCLAIMED.to_owned()])
    );
    let before = world.events().await.len();
    world.run(&Do::ReadRole(role)).await.expect("shown");
    world.run(&Do::ListRoles).await.expect("listed");
    assert!(world.run(&Do::ReadRole(absent)).await.is_err());
    assert_eq!(world.events().await.len(), before, "a look that is allowed leaves none");
}

#[tokio::test(start_paused = true)]
async fn the_hot_path_reads_no_role() {
    let world = World::new(156).await;
    let role = world.role("reader", &["keys:read"]).await;
    let holder = world.admin_with(&[role]).await;
    let is_of_role = |call: &Call| matches!(call, Call::Get(key) if key.starts_with("r:"));
    world.kv.take_calls();
    assert_eq!(world.code(&holder.token, &Demand::default()).await, "VALID");
    let scope = keyward_domain::scope::Scope::fixed("keys:read");
    let demand = Demand { scopes: std::slice::from_ref(&scope), ..Demand::default() };
    assert_eq!(
        world.code(&holder.token, &demand).await,
        "INSUFFICIENT_SCOPE",
        "roles are of administration alone"
    );
    assert!(!world.kv.take_calls().iter().any(is_of_role));
    world.caller(&holder.token).await;
    assert_eq!(
        world.kv.take_calls().iter().filter(|call| is_of_role(call)).count(),
        1,
        "once where one administers"
    );
}
