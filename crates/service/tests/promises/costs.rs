//! What a change costs the store: one batch, one increment for its event, one more where a record changes, one more with an
//! Idempotency-Key. The same table says what claims and refusals cost.

use crate::imports::imports;
use crate::world::{Do, World, new_key, perform, writes};
use keyward_domain::ApplicationId;
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn one_batch_and_the_documented_increments() {
    let world = World::new(100).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "held")).await;
    let other = world.held(&new_key(app, "other")).await;
    let (unclaimed, _) = world.issue(&new_key(app, "unclaimed")).await;
    let role = world.role("role", &["keys:read"]).await;
    let policy = world.policy(&json!({})).await;
    for tag in ["a", "a", "b"] {
        let mut tagged = new_key(app, "tagged");
        tagged["tags"] = json!([tag]);
        world.issue(&tagged).await;
    }
    for tag in ["c", "d"] {
        let mut tagged = new_key(app, "tagged");
        tagged["tags"] = json!([tag]);
        world.held(&tagged).await;
    }
    let absent = ApplicationId::from_bytes([1; 16]);
    let mut tickets = Vec::new();
    for n in 0..2 {
        tickets.push(world.issue(&new_key(app, &format!("claim {n}"))).await.1);
    }
    let rows: Vec<(&str, Do, bool, usize)> = vec![
        // What, does it come with an Idempotency-Key, increments.
        ("issue", Do::Issue(new_key(app, "a")), false, 1),
        ("issue with a key", Do::Issue(new_key(app, "a")), true, 2),
        // Names are records that change.
        ("create", Do::CreateApplication(json!({"name": "a"})), false, 2),
        ("create with a key", Do::CreateApplication(json!({"name": "b"})), true, 3),
        ("change", Do::ChangeApplication(app, json!({"contacts": ["x"]}), None), false, 2),
        ("suspend", Do::ChangeApplication(app, json!({"status": "suspended"}), None), false, 2),
        ("resume", Do::ChangeApplication(app, json!({"status": "active"}), None), false, 2),
        ("rename: two names more", Do::ChangeApplication(app, json!({"name": "c"}), None), false, 4),
        ("create a role", Do::CreateRole(json!({"name": "r", "scopes": ["keys:read"]})), false, 2),
        ("create a role with a key", Do::CreateRole(json!({"name": "s", "scopes": []})), true, 3),
        ("change a role", Do::ChangeRole(role, json!({"scopes": ["keys:read"]}), None), false, 2),
        ("create a policy", Do::CreatePolicy(json!({"name": "r"})), false, 2),
        ("create a policy with a key", Do::CreatePolicy(json!({"name": "s"})), true, 3),
        ("change a policy", Do::ChangePolicy(policy, json!({"grace_s": 60}), None), false, 2),
        ("edit", Do::ChangeKey(held.id, json!({"name": "a"}), None), false, 2),
        ("reissue", Do::Reissue(unclaimed), false, 2),
        ("reissue with a key", Do::Reissue(unclaimed), true, 3),
        ("lookup", Do::Lookup(held.token.clone()), false, 1),
        ("revoke", Do::RevokeKey(held.id, "x"), false, 1),
        ("report", Do::Report(other.token), false, 1),
        // A claim has a winner and changes a record.
        ("claim", Do::TakeClaim(tickets[0].clone()), false, 3),
        ("claim with a key", Do::TakeClaim(tickets[1].clone()), true, 4),
        // The first refusal of a claim counts and writes the alarm.
        ("claim again", Do::TakeClaim(tickets[0].clone()), false, 2),
        ("refused before a turn", Do::ChangeKey(unclaimed, json!({"name": "a"}), Some(1)), false, 1),
        ("refused with a key", Do::Issue(new_key(absent, "a")), true, 2),
        // An increment of nothing tells where the log ends.
        ("revoke many", Do::RevokeMany(json!({"tag": "a", "reason": "x"})), false, 1 + 1),
        ("revoke many with a key", Do::RevokeMany(json!({"tag": "b", "reason": "x"})), true, 1 + 2),
        // A turn for each key that is rotated.
        ("rotate many", Do::RotateMany(json!({"tag": "c", "reason": "x"})), false, 1 + 1 + 1),
        ("rotate many with a key", Do::RotateMany(json!({"tag": "d", "reason": "x"})), true, 1 + 1 + 2),
        // A turn for each, since others may be importing the same.
        ("import", Do::ImportKeys(imports(app, 0..3)), false, 1 + 3),
        ("import with a key", Do::ImportKeys(imports(app, 3..5)), true, 2 + 2),
        ("freeze", Do::Freeze("x"), false, 2),
        ("issue while frozen", Do::Issue(new_key(app, "a")), false, 1),
        ("claim while frozen", Do::Reissue(unclaimed), false, 1),
        ("thaw", Do::Thaw("x"), false, 2),
        ("revoke all", Do::RevokeApplication(app, "x"), false, 1),
    ];
    for (name, what, with_key, increments) in rows {
        let key = with_key.then_some(name);
        let caller = match what {
            Do::TakeClaim(_) | Do::Report(_) | Do::Renew(_) => world.holder(key),
            _ => world.caller_with(&world.root, key).await,
        };
        world.kv.take_calls();
        let _ = perform(&world.service(), caller, &what).await;
        assert_eq!(writes(&world.kv.take_calls()), (increments, 1), "{name}");
    }
    // What writes nothing costs no increment and no batch.
    for (name, what) in [
        ("third at a claim: the alarm that was raised", Do::TakeClaim(tickets[0].clone())),
        ("read", Do::ReadKey(held.id)),
        ("read an application", Do::ReadApplication(app)),
        ("revoked again", Do::RevokeKey(held.id, "x")),
    ] {
        let caller = match what {
            Do::TakeClaim(_) => world.holder(None),
            _ => world.caller(&world.root).await,
        };
        world.kv.take_calls();
        let _ = perform(&world.service(), caller, &what).await;
        let places = if matches!(what, Do::TakeClaim(_)) { 1 } else { 0 };
        assert_eq!(writes(&world.kv.take_calls()), (places, 0), "{name}");
    }
    // A replay costs one read more than finding out that there is one.
    let caller = world.caller_with(&world.root, Some("issue with a key")).await;
    world.kv.take_calls();
    let replay = perform(&world.service(), caller, &Do::Issue(new_key(app, "a"))).await.expect("replayed");
    assert!(replay.replayed);
    assert_eq!(writes(&world.kv.take_calls()), (0, 0));
}
