//! What a key narrowed to one application may not see does not exist for it; and nobody grants or touches what they lack.

use crate::world::{Do, World, new_key};
use keyward_domain::event::{Action, EventId, Outcome, Target};
use keyward_domain::{ApplicationId, Code, KeyId};
use keyward_service::{Attempt, Body, Page};
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn another_tenants_id_is_404_everywhere() {
    let world = World::new(30).await;
    let (mine, theirs) = (world.application("mine").await, world.application("theirs").await);
    let their_key = world.held(&new_key(theirs, "k")).await;
    let (their_unclaimed, _) = world.issue(&new_key(theirs, "u")).await;
    let their_event =
        world.events().await.iter().rev().find(|e| e.target.application == Some(theirs)).unwrap().id;
    let root_event = EventId { epoch: 1, seq: 1 };
    let scopes = ["apps:read", "apps:write", "keys:read", "keys:write", "keys:revoke", "audit:read"];
    let admin = world.admin(&scopes.map(|scope| format!("{scope}@{mine}"))).await;
    let absent = ApplicationId::from_bytes([1; 16]);
    let no_key = KeyId::from_bytes([1; 16]);
    let on_key = |id| {
        [
            Do::ReadKey(id),
            Do::ChangeKey(id, json!({"name": "x"}), None),
            Do::ChangeKey(id, json!({"name": "x"}), Some(77)),
            Do::Reissue(id),
            Do::RevokeKey(id, "x"),
        ]
    };
    let on_application = |id: ApplicationId| {
        [
            Do::ReadApplication(id),
            Do::ChangeApplication(id, json!({"status": "suspended"}), None),
            Do::RevokeApplication(id, "x"),
            Do::Issue(new_key(id, "x")),
            Do::ListKeys(id),
            Do::ListEvents(Some(id)),
        ]
    };
    let mut details = Vec::new();
    for (id, app) in [(their_key.id, theirs), (their_unclaimed, theirs), (no_key, absent)] {
        for what in on_key(id).into_iter().chain(on_application(app)) {
            let error = world.run_as(&admin.token, &what).await.expect_err("refused");
            assert_eq!((error.code, error.code.status()), (Code::NotFound, 404), "{what:?}");
            details.push(error.to_string());
        }
    }
    // What is another's reads exactly as what is nobody's.
    let (theirs_told, nobodys_told) = details.split_at(details.len() - 11);
    assert!(theirs_told.chunks(11).all(|told| told == nobodys_told));
    for (what, code) in [
        (Do::Lookup(their_key.token.clone()), Code::NotFound),
        (Do::ReadEvent(their_event), Code::NotFound),
        (Do::ReadEvent(root_event), Code::NotFound),
        (Do::ReadEvent(EventId { epoch: 1, seq: 9_999 }), Code::NotFound),
    ] {
        assert_eq!(world.run_as(&admin.token, &what).await.err().map(|e| e.code), Some(code), "{what:?}");
    }
    // Lists show what is theirs to see.
    let listed = world.run_as(&admin.token, &Do::ListApplications).await.expect("a list").json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["id"], json!(mine.to_string()));
    // And their own things work.
    let own = world.run_as(&admin.token, &Do::Issue(new_key(mine, "own"))).await.expect("own key");
    let own: KeyId = own.at("/key/id").parse().unwrap();
    world.run_as(&admin.token, &Do::ReadKey(own)).await.expect("own key");
    world.run_as(&admin.token, &Do::ListEvents(Some(mine))).await.expect("own log");
    // Nobody's key was touched.
    assert_eq!(world.code(&their_key.token, &keyward_verify::Demand::default()).await, "VALID");
}

#[tokio::test(start_paused = true)]
async fn what_is_hidden_is_in_the_log_and_what_is_not_there_is_not() {
    let world = World::new(34).await;
    let (mine, theirs) = (world.application("mine").await, world.application("theirs").await);
    let their_key = world.held(&new_key(theirs, "k")).await;
    let their_event = world.events().await.pop().unwrap().id;
    let scopes = ["apps:read", "keys:read", "audit:read"];
    let admin = world.admin(&scopes.map(|scope| format!("{scope}@{mine}"))).await;
    let looks = |app, key, event| {
        [
            (Do::ReadApplication(app), "apps:read"),
            (Do::ListKeys(app), "keys:read"),
            (Do::ReadKey(key), "keys:read"),
            (Do::ListEvents(Some(app)), "audit:read"),
            (Do::ReadEvent(event), "audit:read"),
        ]
    };
    for (what, scope) in looks(theirs, their_key.id, their_event) {
        let before = world.events().await.len();
        assert_eq!(world.run_as(&admin.token, &what).await.err().map(|e| e.code), Some(Code::NotFound));
        let mut events = world.events().await;
        assert_eq!(events.len(), before + 1, "{what:?}");
        let event = events.pop().unwrap();
        assert_eq!((event.outcome, event.target.application), (Outcome::Refused, Some(theirs)), "{what:?}");
        assert_eq!(event.detail, [format!("{scope}@{theirs}")], "{what:?}");
    }
    let absent = ApplicationId::from_bytes([1; 16]);
    let before = world.events().await.len();
    for (what, _) in looks(absent, KeyId::from_bytes([1; 16]), EventId { epoch: 1, seq: 9_999 }) {
        assert_eq!(world.run_as(&admin.token, &what).await.err().map(|e| e.code), Some(Code::NotFound));
        assert_eq!(world.events().await.len(), before, "{what:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_narrowed_list_keeps_to_its_limit() {
    let world = World::new(35).await;
    let mut scopes = Vec::new();
    for n in 0..5 {
        scopes.push(format!("apps:read@{}", world.application(&format!("app {n}")).await));
    }
    let admin = world.admin(&scopes).await;
    let attempt =
        Attempt::to_read(world.caller(&admin.token).await, Action::ApplicationRead, Target::default());
    let (mut ids, mut cursor, mut sizes) = (Vec::new(), None::<String>, Vec::new());
    loop {
        let page = Page::parse(Some("2"), cursor.as_deref()).expect("a page");
        let found = world.service().applications(&attempt, &page).await.expect("a list");
        let found: serde_json::Value = serde_json::from_str(found.to_json().expose()).unwrap();
        let items = found["items"].as_array().unwrap();
        sizes.push(items.len());
        ids.extend(items.iter().map(|item| format!("apps:read@{}", item["id"].as_str().unwrap())));
        match found["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
    scopes.sort();
    ids.sort();
    assert_eq!(ids, scopes);
}

#[tokio::test(start_paused = true)]
async fn without_the_scope_it_is_403_for_everything() {
    let world = World::new(31).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let admin = world.admin(&["metrics:read".to_owned()]).await;
    let all = [
        Do::CreateApplication(json!({"name": "x"})),
        Do::ChangeApplication(app, json!({"name": "x"}), None),
        Do::RevokeApplication(app, "x"),
        Do::Issue(new_key(app, "x")),
        Do::ChangeKey(held.id, json!({"name": "x"}), None),
        Do::Reissue(held.id),
        Do::RevokeKey(held.id, "x"),
        Do::Lookup(held.token.clone()),
        Do::ReadApplication(app),
        Do::ListApplications,
        Do::ReadKey(held.id),
        Do::ReadKey(KeyId::from_bytes([1; 16])),
        Do::ListKeys(app),
        Do::ReadEvent(EventId { epoch: 1, seq: 1 }),
        Do::ReadEvent(EventId { epoch: 1, seq: 9_999 }),
        Do::ListEvents(Some(app)),
        Do::ListEvents(None),
    ];
    for what in all {
        let error = world.run_as(&admin.token, &what).await.expect_err("refused");
        assert_eq!((error.code, error.code.status()), (Code::InsufficientScope, 403), "{what:?}");
        let event = world.events().await.pop().expect("an event");
        assert_eq!((event.outcome, event.actor.key), (Outcome::Refused, Some(admin.id)), "{what:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_touches_a_key_of_keyward_holds_every_scope_of_it() {
    let world = World::new(32).await;
    let root = world.caller(&world.root).await.key().expect("root's id");
    let (unclaimed, _) = world
        .issue(&json!({"application": ApplicationId::KEYWARD.to_string(), "name": "auditor", "environment": "live",
            "scopes": ["audit:read"], "principal": "a@example.com"}))
        .await;
    let peer = world.admin(&["keys:*".to_owned()]).await;
    let admin = world.admin(&["keys:*".to_owned()]).await;
    let grant = |scopes: &[&str]| {
        Do::Issue(
            json!({"application": ApplicationId::KEYWARD.to_string(), "name": "x", "environment": "live",
            "scopes": scopes, "principal": "x@example.com"}),
        )
    };
    for what in [
        Do::RevokeKey(root, "coup"),
        Do::ChangeKey(root, json!({"disabled": true}), None),
        Do::Reissue(root),
        Do::Reissue(unclaimed),
        Do::RevokeKey(unclaimed, "x"),
        Do::ChangeKey(peer.id, json!({"scopes": ["keys:read", "audit:read"]}), None),
        Do::ChangeKey(admin.id, json!({"scopes": ["*"]}), None),
        grant(&["*"]),
        grant(&["keys:read", "apps:read"]),
    ] {
        let error = world.run_as(&admin.token, &what).await.expect_err("refused");
        assert_eq!((error.code, error.code.status()), (Code::InsufficientScope, 403), "{what:?}");
    }
    world.run(&Do::ReadApplication(ApplicationId::KEYWARD)).await.expect("root is alive");
    world.run_as(&admin.token, &grant(&["keys:read"])).await.expect("a part of what they hold");
    world.run_as(&admin.token, &Do::RevokeKey(peer.id, "left")).await.expect("an equal");
}

#[tokio::test(start_paused = true)]
async fn the_built_in_application_cannot_be_locked_out() {
    let world = World::new(33).await;
    let keyward = ApplicationId::KEYWARD;
    for what in [
        Do::ChangeApplication(keyward, json!({"status": "suspended"}), None),
        Do::ChangeApplication(keyward, json!({"name": "x"}), None),
        Do::RevokeApplication(keyward, "x"),
    ] {
        assert_eq!(world.run(&what).await.err().map(|e| e.code), Some(Code::Forbidden), "{what:?}");
    }
    let taken = world.run(&Do::CreateApplication(json!({"name": "keyward"}))).await.err();
    assert_eq!(taken.map(|e| e.code), Some(Code::NameTaken));
}
