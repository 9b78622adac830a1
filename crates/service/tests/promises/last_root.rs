//! Somebody can always administer everything: the last key that holds `*` for good neither dies nor loses it, whatever is asked.
//! A token that leaked ends all the same, if its holder reports it.

use crate::world::{Do, Held, World, new_admin};
use keyward_domain::event::{Action, Outcome};
use keyward_domain::{ApplicationId, Code, KeyId};
use keyward_records::names;
use keyward_verify::Demand;
use serde_json::{Value, json};

/// What would take a root key's place from it.
fn ends_of(root: KeyId) -> Vec<Do> {
    let change = |change: Value| Do::ChangeKey(root, change, None);
    vec![
        Do::RevokeKey(root, "coup"),
        change(json!({ "disabled": true })),
        change(json!({ "scopes": ["keys:*", "apps:*"] })),
        change(json!({ "scopes": [format!("*@{}", ApplicationId::KEYWARD)] })),
        change(json!({ "scopes": [] })),
    ]
}

async fn refuses(world: &World, token: &str, whats: &[Do]) {
    for what in whats {
        let error = world.run_as(token, what).await.expect_err("refused");
        assert_eq!((error.code, error.code.status()), (Code::LastRoot, 409), "{what:?}");
        assert!(error.detail.contains("issue another root key"), "{error}");
        let event = world.events().await.pop().unwrap();
        assert_eq!((event.outcome, event.reason.as_deref()), (Outcome::Refused, Some("last-root")));
    }
    assert_eq!(world.code(token, &Demand::default()).await, "VALID");
}

async fn root_of(world: &World) -> KeyId {
    world.caller(&world.root).await.key().expect("root's id")
}

#[tokio::test(start_paused = true)]
async fn the_last_root_stays() {
    let world = World::new(160).await;
    let root = root_of(&world).await;
    refuses(&world, &world.root, &ends_of(root)).await;
    // What takes nothing from it is allowed.
    world
        .run(&Do::ChangeKey(root, json!({ "name": "r", "scopes": ["*", "keys:read"] }), None))
        .await
        .expect("edited");

    // None of these could take its place.
    world.issue(&new_admin(&["*"], &[])).await;
    let disabled = world.admin(&["*".to_owned()]).await;
    world.run(&Do::ChangeKey(disabled.id, json!({ "disabled": true }), None)).await.expect("one of two");
    let mut short = new_admin(&["*"], &[]);
    short["expires_in_s"] = json!(3600);
    world.held(&short).await;
    world.admin(&[format!("*@{}", ApplicationId::KEYWARD)]).await;
    world
        .admin(&["keys:*".to_owned(), "apps:*".to_owned(), "roles:*".to_owned(), "audit:*".to_owned()])
        .await;
    let dead = world.admin(&["*".to_owned()]).await;
    world.run(&Do::RevokeKey(dead.id, "left")).await.expect("one of two");
    let killed = world.admin(&["*".to_owned()]).await;
    world.kv.tamper(&names::version_kill(killed.id, 1), Some(b"x".to_vec()));
    let damaged = world.admin(&["*".to_owned()]).await;
    let store_key = names::key(damaged.id);
    let mut record = world.kv.values()[&store_key].clone();
    *record.last_mut().unwrap() ^= 1;
    world.kv.tamper(&store_key, Some(record));
    refuses(&world, &world.root, &ends_of(root)).await;

    // Another one that is claimed and lasts can; then that one is the last.
    let second = world.admin(&["*".to_owned()]).await;
    world.run(&Do::RevokeKey(root, "handed over")).await.expect("not the last any more");
    let again = world.run_as(&second.token, &Do::RevokeKey(root, "handed over")).await;
    again.expect("the dead are no root: the answer of its death");
    refuses(&world, &second.token, &ends_of(second.id)).await;
}

#[tokio::test(start_paused = true)]
async fn by_a_role_as_well() {
    let world = World::new(161).await;
    let root = root_of(&world).await;
    let (all, other) = (world.role("all", &["*"]).await, world.role("other", &["*"]).await);
    let holder: Held = world.admin_with(&[all]).await;
    world.run_as(&holder.token, &Do::RevokeKey(root, "handed over")).await.expect("its holder is another");

    let narrowed = format!("*@{}", ApplicationId::KEYWARD);
    let mut ends = ends_of(holder.id);
    // Its own scopes are none of what makes it a root.
    ends.truncate(2);
    ends.extend([
        Do::ChangeKey(holder.id, json!({ "roles": [] }), None),
        Do::ChangeRole(all, json!({ "scopes": ["keys:*"] }), None),
        Do::ChangeRole(all, json!({ "scopes": [narrowed] }), None),
    ]);
    refuses(&world, &holder.token, &ends).await;
    let retire = world.run_as(&holder.token, &Do::RetireRole(all, "x")).await;
    assert_eq!(retire.err().map(|e| e.code), Some(Code::StateConflict), "a role in use");

    // A role that no root needs may change, and one role may take the other's place.
    world
        .run_as(&holder.token, &Do::ChangeKey(holder.id, json!({ "roles": [other] }), None))
        .await
        .expect("exchanged");
    world.run_as(&holder.token, &Do::ChangeRole(all, json!({ "scopes": [] }), None)).await.expect("nobody's");
    let change = Do::ChangeRole(other, json!({ "scopes": ["keys:*"] }), None);
    refuses(&world, &holder.token, std::slice::from_ref(&change)).await;
    let second = new_admin(&["*"], &[]);
    let issued = world.run_as(&holder.token, &Do::Issue(second)).await.expect("issued").at("/claim/ticket");
    world.run(&Do::TakeClaim(issued)).await.expect("claimed");
    world.run_as(&holder.token, &change).await.expect("there is another");
}

#[tokio::test(start_paused = true)]
async fn a_leaked_root_token_ends_all_the_same() {
    let world = World::new(162).await;
    world.run(&Do::Report(world.root.clone())).await.expect("reported");
    assert_eq!(world.code(&world.root, &Demand::default()).await, "REVOKED");
    assert_eq!(world.events().await.pop().map(|event| event.action), Some(Action::KeyReported));
}
