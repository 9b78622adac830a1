//! Revoking an application kills the keys issued so far and no later ones; asked again, it kills nothing new.

use crate::world::{Do, World, new_key};
use keyward_domain::event::Action;
use keyward_verify::Demand;
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn keys_issued_after_a_revocation_live_and_the_next_one_kills_them() {
    let world = World::new(61).await;
    let app = world.application("shop").await;
    let mut held = Vec::new();
    for generation in 1..=3 {
        held.push(world.held(&new_key(app, "k")).await.token);
        assert_eq!(world.code(held.last().unwrap(), &Demand::default()).await, "VALID");
        let revoked = world.run(&Do::RevokeApplication(app, "leak")).await.unwrap();
        assert_eq!(revoked.at("/generation"), generation.to_string());
        for token in &held {
            assert_eq!(world.code(token, &Demand::default()).await, "REVOKED");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn asked_again_without_a_new_key_it_answers_the_same_and_adds_nothing() {
    let world = World::new(62).await;
    let app = world.application("shop").await;
    world.held(&new_key(app, "k")).await;
    let first = world.run(&Do::RevokeApplication(app, "leak")).await.unwrap();
    let again = world.run(&Do::RevokeApplication(app, "leak, still")).await.unwrap();
    assert_eq!(first.json(), again.json());
    let events = world.events().await;
    assert_eq!(events.iter().filter(|e| e.action == Action::ApplicationRevoked).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_edit_notes_the_living_generation() {
    let world = World::new(63).await;
    let app = world.application("shop").await;
    world.held(&new_key(app, "k")).await;
    world.run(&Do::RevokeApplication(app, "leak")).await.unwrap();
    let changed = world.run(&Do::ChangeApplication(app, json!({"contacts": ["ops"]}), None)).await.unwrap();
    assert_eq!(changed.at("/generation"), "2");
    let token = world.held(&new_key(app, "k")).await.token;
    assert_eq!(world.code(&token, &Demand::default()).await, "VALID");
}
