//! A lost root key is replaced next to the store: the new one may do everything, the old ones stay unless told otherwise, and each
//! death has its event.

use crate::world::{Do, World, new_key};
use keyward_domain::event::{Action, ActorKind, EventId, Outcome};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::role::Role;
use keyward_domain::scope::{Scope, ScopeSet};
use keyward_domain::{ApplicationId, Code, RoleId};
use keyward_records::{Record, seal};
use keyward_service::bootstrap;
use keyward_verify::Demand;
use serde_json::json;

const REASON: &str = "the old one is lost";

#[tokio::test(start_paused = true)]
async fn the_new_root_may_do_everything_and_the_old_keys_stay() {
    let world = World::new(131).await;
    let admin = world.admin(&["keys:read".to_owned()]).await;
    let before = world.events().await.len();
    let recovered =
        bootstrap::recover_root(&world.service(), "ada@example.com", REASON, false).await.expect("recovered");
    assert!(recovered.revoked.is_empty());

    let events = world.events().await.split_off(before);
    let [event] = events.as_slice() else { panic!("{} events", events.len()) };
    assert_eq!((event.action, event.outcome), (Action::RootRecovered, Outcome::Done));
    assert_eq!((event.id, event.target.key), (recovered.event, Some(recovered.key)));
    assert_eq!(event.target.application, Some(ApplicationId::KEYWARD));
    assert_eq!((event.actor.kind, event.reason.as_deref()), (ActorKind::System, Some(REASON)));

    for token in [recovered.token.expose(), &world.root, &admin.token] {
        assert_eq!(world.code(token, &Demand::default()).await, "VALID");
    }
    let application = Do::CreateApplication(json!({ "name": "shop" }));
    world.run_as(recovered.token.expose(), &application).await.expect("root may");
    let issued = world.events().await.pop().expect("an event");
    assert_eq!(issued.actor.principal.as_deref(), Some("ada@example.com"));
    let listed = world.run(&Do::ListKeys(ApplicationId::KEYWARD)).await.expect("a list");
    assert!(listed.text.contains(&recovered.key.to_string()), "the new root is on the list of keys");
}

/// A record in the store, as if somebody had written it.
fn put<T: Record>(world: &World, record: &T) {
    let sealed = seal(&world.rings.records, record, world.rng.bytes()).expect("sealed");
    world.kv.tamper(&record.store_key(), Some(sealed));
}

#[tokio::test(start_paused = true)]
async fn every_other_root_dies_where_that_is_asked_for() {
    let world = World::new(132).await;
    let first_root = world.caller(&world.root).await.key().expect("a key");
    let shop = world.application("shop").await;
    // Every scope, but of another application: no admin.
    let mut new = new_key(shop, "everything");
    new["scopes"] = json!(["*"]);
    let everything = world.held(&new).await;
    let plain = world.held(&new_key(shop, "plain")).await;
    let admin = world.admin(&["keys:*".to_owned(), "apps:*".to_owned()]).await;
    // More than a page of them, so that the whole list is looked through; some in projections, some in the log's tail.
    let mut roots = vec![first_root];
    for _ in 0..60 {
        roots.push(world.admin(&["*".to_owned()]).await.id);
    }
    let dead = world.admin(&["*".to_owned()]).await;
    world.run(&Do::RevokeKey(dead.id, "before")).await.expect("revoked");
    let damaged = world.admin(&["audit:read".to_owned()]).await;
    roots.push(damaged.id);
    let record = keyward_records::names::key(damaged.id);
    let mut value = world.kv.values()[&record].clone();
    *value.last_mut().expect("a record") ^= 1;
    world.kv.tamper(&record, Some(value));
    // Root through a role, and one whose role was retired.
    let by_role = world.admin(&["audit:read".to_owned()]).await;
    let by_old_role = world.admin(&["audit:read".to_owned()]).await;
    roots.push(by_role.id);
    for (holder, fill, retired_at) in [(&by_role, 1, None), (&by_old_role, 2, Some(world.clock.now()))] {
        let role = Role {
            id: RoleId::from_bytes([fill; 16]),
            name: format!("everything {fill}"),
            description: String::new(),
            scopes: ScopeSet::from_iter([Scope::fixed("*")]),
            created_at: world.clock.now(),
            retired_at,
            revision: 1,
            event: EventId { epoch: 1, seq: 1 },
        };
        let mut key = world.read().key(holder.id).await.expect("the store answers").expect("a key");
        key.roles = vec![role.id];
        put(&world, &role);
        put(&world, &key);
    }
    let before = world.events().await.len();

    let recovered =
        bootstrap::recover_root(&world.service(), "ada@example.com", REASON, true).await.expect("recovered");
    let sorted = |mut keys: Vec<_>| {
        keys.sort();
        keys
    };
    assert_eq!(sorted(recovered.revoked.clone()), sorted(roots.clone()));
    assert_eq!(world.code(&world.root, &Demand::default()).await, "REVOKED");
    assert_eq!(world.code(recovered.token.expose(), &Demand::default()).await, "VALID");
    for token in [&everything.token, &plain.token, &admin.token, &by_old_role.token] {
        assert_eq!(world.code(token, &Demand::default()).await, "VALID");
    }
    let events = world.events().await.split_off(before);
    assert_eq!(events.len(), 1 + roots.len());
    for (key, event) in recovered.revoked.iter().zip(&events[1..]) {
        assert_eq!((event.action, event.outcome), (Action::KeyRevoked, Outcome::Done));
        assert_eq!((event.target.key, event.reason.as_deref()), (Some(*key), Some(REASON)));
        assert!(event.previous.is_some() || *key == damaged.id);
        assert_eq!(event.writes.len(), 1, "an event names the record that it wrote");
        let tombstone = world.read().flag(*key).await.expect("a flag").flatten().expect("a tombstone");
        assert_eq!((tombstone.event, tombstone.reason.as_str()), (event.id, REASON));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_without_a_keyward_is_refused_and_left_alone() {
    let world = World::empty(133);
    let refused = bootstrap::recover_root(&world.service(), "ada@example.com", REASON, true).await;
    assert_eq!(refused.err().map(|error| error.code), Some(Code::StateConflict));
    assert!(world.kv.values().is_empty());

    let world = World::new(134).await;
    let values = world.kv.values();
    for (principal, reason) in [("", REASON), ("ada@example.com", " ")] {
        let refused = bootstrap::recover_root(&world.service(), principal, reason, true).await;
        assert_eq!(refused.err().map(|error| error.code), Some(Code::InvalidField));
    }
    assert_eq!(world.kv.values(), values);
}
