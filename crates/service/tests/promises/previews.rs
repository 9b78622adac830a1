//! What a change would come to can be looked at before it is made: it shows what the change then does, refuses what the change would,
//! and changes nothing.

use crate::world::{Do, World, new_key};
use keyward_domain::event::{Action, Target};
use keyward_domain::{ApplicationId, Code, Error, KeyId};
use keyward_service::{ApplicationChange, Attempt, KeyChange};
use serde_json::{Value, json};

/// A key as it would be.
async fn key(
    world: &World,
    token: &str,
    id: KeyId,
    change: &Value,
    if_match: Option<u64>,
) -> Result<Value, Error> {
    let attempt = Attempt::to_read(world.caller(token).await, Action::KeyChanged, Target::key(Some(id)));
    let change: KeyChange = serde_json::from_value(change.clone()).expect("a change");
    let view = world.service().preview_key_change(&attempt, id, &change, if_match).await?;
    Ok(serde_json::to_value(view).expect("JSON"))
}

/// An application as it would be.
async fn application(
    world: &World,
    id: ApplicationId,
    change: &Value,
    if_match: Option<u64>,
) -> Result<Value, Error> {
    let caller = world.caller(&world.root).await;
    let attempt = Attempt::to_read(caller, Action::ApplicationChanged, Target::application(Some(id)));
    let change: ApplicationChange = serde_json::from_value(change.clone()).expect("a change");
    let view = world.service().preview_application_change(&attempt, id, &change, if_match).await?;
    Ok(serde_json::to_value(view).expect("JSON"))
}

/// Without what only a change that was made has.
fn but_for_its_event(mut view: Value) -> Value {
    for field in ["event", "revision"] {
        view[field] = Value::Null;
    }
    view
}

#[tokio::test(start_paused = true)]
async fn it_shows_what_the_change_then_does_and_changes_nothing() {
    let world = World::new(230).await;
    let app = world.application("shop").await;
    let policy = world.policy(&json!({ "rotate_every_s": 86_400, "grace_s": 3_600 })).await;
    let held = world.held(&new_key(app, "held")).await;
    let changes = [
        json!({ "name": "renamed", "tags": ["eu"] }),
        json!({ "scopes": [], "rules": { "network": ["192.0.2.0/24"] }, "policy": policy }),
        json!({ "limits": [{ "name": "burst", "limit": 10, "window_s": 60 }], "policy": null, "disabled": true }),
    ];
    for change in changes {
        let (before, events) = (world.kv.values(), world.events().await.len());
        let shown = key(&world, &world.root, held.id, &change, None).await.expect("shown");
        assert!(before == world.kv.values() && world.events().await.len() == events, "nothing was written");
        let made = world.run(&Do::ChangeKey(held.id, change.clone(), None)).await.expect("made").json();
        assert_eq!(but_for_its_event(shown), but_for_its_event(made), "{change}");
    }
    let change = json!({
        "name": "shop and more", "contacts": ["a@example.com"], "importance": "high", "policy": policy,
        "limits": [{ "name": "shared", "limit": 5, "per": "day" }]
    });
    let before = world.kv.values();
    let shown = application(&world, app, &change, None).await.expect("shown");
    assert!(before == world.kv.values(), "nothing was written");
    let made = world.run(&Do::ChangeApplication(app, change, None)).await.expect("made").json();
    assert_eq!(but_for_its_event(shown), but_for_its_event(made));
}

#[tokio::test(start_paused = true)]
async fn it_refuses_what_the_change_would() {
    let world = World::new(231).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "held")).await;
    let reader = world.admin(&["keys:read".to_owned()]).await;
    let code = async |token: &str, change: Value, if_match| {
        key(&world, token, held.id, &change, if_match).await.map(drop).map_err(|error| error.code)
    };
    let root = world.root.clone();
    let name = json!({ "name": "x" });
    assert_eq!(code(&root, name.clone(), Some(1_000)).await, Err(Code::RevisionMismatch));
    assert_eq!(code(&root, json!({}), None).await, Err(Code::InvalidField));
    assert_eq!(code(&root, json!({ "scopes": ["NOT ONE"] }), None).await, Err(Code::InvalidField));
    assert_eq!(code(&reader.token, name.clone(), None).await, Err(Code::InsufficientScope));
    world.run(&Do::RevokeKey(held.id, "over")).await.expect("revoked");
    assert_eq!(code(&root, name.clone(), None).await, Err(Code::Revoked));
    let of = async |id, change: Value, if_match| {
        application(&world, id, &change, if_match).await.map(drop).map_err(|error| error.code)
    };
    assert_eq!(of(app, name.clone(), Some(1_000)).await, Err(Code::RevisionMismatch));
    assert_eq!(of(app, json!({ "contacts": [""] }), None).await, Err(Code::InvalidField));
    assert_eq!(of(ApplicationId::KEYWARD, name, None).await, Err(Code::Forbidden));
}
