//! The wall clock may step: what is dead stays dead, and what waits waits by the other clock.

use crate::world::{Do, World, code_of, new_key};
use keyward_domain::Code;
use keyward_verify::{Demand, InstanceCache};
use serde_json::json;
use std::time::Duration;

const DAY_MS: i64 = 86_400_000;

#[tokio::test(start_paused = true)]
async fn revoked_stays_revoked() {
    let world = World::new(50).await;
    let app = world.application("shop").await;
    let (one, all) = (world.held(&new_key(app, "one")).await, world.held(&new_key(app, "all")).await);
    let applications = InstanceCache::default();
    world.run(&Do::RevokeKey(one.id, "lost")).await.expect("revoked");
    world.run(&Do::RevokeApplication(app, "leak")).await.expect("revoked");
    for step_ms in [-1, -DAY_MS, -365 * DAY_MS, 365 * DAY_MS, 20 * 365 * DAY_MS] {
        world.clock.step_wall_ms(step_ms);
        tokio::time::advance(Duration::from_millis(250)).await;
        for token in [&one.token, &all.token] {
            let code = code_of(&world.verify_with(&applications, token, &Demand::default()).await);
            assert_eq!(code, "REVOKED", "{step_ms}");
        }
        let error = world.run(&Do::ChangeKey(one.id, json!({"disabled": false}), None)).await.err();
        assert_eq!(error.map(|e| e.code), Some(Code::Revoked));
    }
    // The answer of the death stays the same.
    let again = world.run(&Do::RevokeKey(one.id, "again")).await.expect("the same answer");
    let shown = world.run(&Do::ReadKey(one.id)).await.unwrap();
    assert_eq!(again.at("/revoked_at"), shown.at("/revoked/at"));
    assert_eq!(shown.at("/revoked/reason"), "lost");
}

#[tokio::test(start_paused = true)]
async fn edits_and_events_go_on() {
    let world = World::new(51).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    world.clock.step_wall_ms(-DAY_MS);
    let started = tokio::time::Instant::now();
    for n in 0..5 {
        world.run(&Do::ChangeKey(held.id, json!({"name": format!("n{n}")}), None)).await.expect("changed");
    }
    assert_eq!(started.elapsed(), Duration::ZERO, "nobody waits for the wall clock");
    let ids: Vec<u64> = world.events().await.iter().map(|event| event.id.seq).collect();
    assert_eq!(
        ids,
        (1..=u64::try_from(ids.len()).unwrap()).collect::<Vec<_>>(),
        "order is by ticket, not by time"
    );
}
