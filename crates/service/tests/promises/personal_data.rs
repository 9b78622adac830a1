//! What is personal in the log lies under a key of its month, and goes when that key is destroyed; all else of the log stays.

use crate::history::{check_projections, check_state, integrate_all};
use crate::world::{ADDRESS, AGENT, Do, World, is_batch, perform};
use keyward_domain::Code;
use keyward_domain::event::Action;
use keyward_domain::ports::Clock;
use keyward_ledger::memory::Fault;
use keyward_records::{CurrentMonth, SHREDDED, StoredEvent, names, open};
use serde_json::json;
use std::time::Duration;

const MONTH: Duration = Duration::from_secs(31 * 24 * 3600);

fn create(name: &str) -> Do {
    Do::CreateApplication(json!({ "name": name }))
}

#[tokio::test(start_paused = true)]
async fn the_sealed_event_alone_says_nothing_personal() {
    let world = World::new(210).await;
    world.run(&create("shop")).await.expect("created");
    let id = world.ledger().last_ticket().await.unwrap();
    let sealed = &world.kv.values()[&names::event(id)];
    let stored: StoredEvent = open(&world.rings.audit, &names::event(id), sealed).expect("opens");
    let text = json!(stored).to_string();
    for personal in [ADDRESS, AGENT, "ops@example.com"] {
        assert!(!text.contains(personal), "{personal} in {text}");
    }
    let event = world.read().event(id).await.unwrap().expect("an event");
    assert_eq!(event.source.client_addr.as_deref(), Some(ADDRESS));
    assert_eq!(event.source.user_agent.as_deref(), Some(AGENT));
    assert_eq!(event.actor.principal.as_deref(), Some("ops@example.com"));
}

#[tokio::test(start_paused = true)]
async fn shredded_months_read_shredded_and_the_log_still_holds() {
    let world = World::new(211).await;
    world.run(&create("first month")).await.expect("created");
    let old = world.ledger().last_ticket().await.unwrap();
    world.clock.advance_wall(MONTH);
    world.run(&create("second month")).await.expect("created");
    let recent = world.ledger().last_ticket().await.unwrap();
    let month =
        |event: &keyward_domain::event::Event| keyward_domain::timestamp::Month::of(event.at).to_string();
    let (first, second) = (
        month(&world.read().event(old).await.unwrap().unwrap()),
        month(&world.read().event(recent).await.unwrap().unwrap()),
    );
    assert!(first < second);
    integrate_all(&world, 211).await;
    let before = world.ledger().head_of(None).await.unwrap();

    // Nobody destroys what is still being written to, or without the scope, or without saying why.
    for (before, reason, code) in [
        ("2999-01", "x", Code::InvalidField),
        ("2026-1", "x", Code::InvalidField),
        (&*second, "", Code::InvalidField),
    ] {
        let refused = world.run(&Do::Shred(before.to_owned(), reason.to_owned())).await.expect_err("refused");
        assert_eq!(refused.code, code, "{before} {reason}");
    }
    let reader = world.admin(&["audit:read".to_owned()]).await;
    let refused =
        world.run_as(&reader.token, &Do::Shred(second.clone(), "x".to_owned())).await.expect_err("refused");
    assert_eq!(refused.code, Code::InsufficientScope);

    let done =
        world.run(&Do::Shred(second.clone(), "a request under Art. 17".to_owned())).await.expect("done");
    assert_eq!(done.json()["months"], json!([first]));
    let gone = world.read().event(old).await.unwrap().expect("still there");
    assert_eq!(gone.source.client_addr.as_deref(), Some(SHREDDED));
    assert_eq!(gone.source.user_agent.as_deref(), Some(SHREDDED));
    assert_eq!(gone.actor.principal.as_deref(), Some(SHREDDED));
    assert_eq!(gone.action, Action::ApplicationCreated);
    let kept = world.read().event(recent).await.unwrap().expect("there");
    assert_eq!(kept.source.client_addr.as_deref(), Some(ADDRESS));
    // No value in the store has the key any more, whatever else it has.
    let again = world.run(&Do::Shred(second, "again".to_owned())).await.expect("nothing left to do");
    assert_eq!(again.json()["months"], json!([]));

    integrate_all(&world, 211).await;
    assert_eq!(world.ledger().root_at(1, before.size).await, Ok(before.root), "the tree is what it was");
    check_projections(&world, 211).await;
    check_state(&world, 211).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_shredded_is_gone_for_an_instance_that_wrote_last_in_that_month_too() {
    let world = World::new(214).await;
    let idle = world.rings_without_month();
    let caller = world.caller(&world.root).await;
    perform(&world.service_with(&idle), caller, &create("shop")).await.expect("created");
    let old = world.ledger().last_ticket().await.unwrap();
    world.clock.advance_wall(MONTH);
    let current = keyward_domain::timestamp::Month::of(world.clock.now()).to_string();
    world.run(&Do::Shred(current, "x".to_owned())).await.expect("done");
    let gone = world.service_with(&idle).ledger().read().event(old).await.unwrap().expect("still there");
    assert_eq!(gone.source.client_addr.as_deref(), Some(SHREDDED));
}

#[tokio::test(start_paused = true)]
async fn writers_that_meet_at_the_beginning_of_a_month_lose_nothing() {
    let mut world = World::new(212).await;
    world.clock.advance_wall(MONTH);
    // Instances with no memory of a key, all at once.
    let callers =
        [world.caller(&world.root).await, world.caller(&world.root).await, world.caller(&world.root).await];
    let others = [world.rings_without_month(), world.rings_without_month()];
    world.rings.month = CurrentMonth::default();
    let services = [world.service(), world.service_with(&others[0]), world.service_with(&others[1])];
    let names = ["a", "b", "c"].map(create);
    let [one, two, three] = callers;
    let (one, two, three) = futures::join!(
        perform(&services[0], one, &names[0]),
        perform(&services[1], two, &names[1]),
        perform(&services[2], three, &names[2]),
    );
    for reply in [one, two, three] {
        reply.expect("created");
    }
    world.rings.month = CurrentMonth::default();
    for event in world.events().await.into_iter().skip(1) {
        assert_eq!(event.source.client_addr.as_deref(), Some(ADDRESS), "{}", event.id);
    }
    check_state(&world, 212).await;
}

#[tokio::test(start_paused = true)]
async fn a_month_whose_first_writer_failed_is_written_by_the_next() {
    let mut world = World::new(213).await;
    world.clock.advance_wall(MONTH);
    world.rings.month = CurrentMonth::default();
    world.fault_at(0, is_batch, Fault::Before);
    world.run(&create("lost")).await.expect_err("not written");
    world.heal();
    world.run(&create("kept")).await.expect("created");
    world.rings.month = CurrentMonth::default();
    let last = world.ledger().last_ticket().await.unwrap();
    let event = world.read().event(last).await.unwrap().expect("an event");
    assert_eq!(event.source.client_addr.as_deref(), Some(ADDRESS));
}
