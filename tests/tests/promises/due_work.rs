//! What is due on the log is done by the clock, without anybody asking: events are integrated and signed for, a ticket without an
//! event is voided after a minute, an event that comes after that is reported; by however many hosts at once.

use std::collections::BTreeSet;

use keyward_e2e::admin::new_key;
use keyward_e2e::{Keyward, Request, Setup, eventually, programs};

/// One minute by the scheduler's clock, in milliseconds.
const MINUTE_MS: u64 = 60_000;

/// The sizes of the log's signed trees, in order.
fn signed_sizes(keyward: &Keyward) -> Vec<u64> {
    let sizes: BTreeSet<u64> =
        keyward.store_keys("cp:1.").iter().map(|key| key["cp:1.".len()..].parse().unwrap()).collect();
    sizes.into_iter().collect()
}

/// Tickets that have an event.
fn events(keyward: &Keyward) -> BTreeSet<u64> {
    keyward.store_keys("e:1.").iter().map(|key| key["e:1.".len()..].parse().unwrap()).collect()
}

#[test]
fn events_are_integrated_and_signed_for_without_anybody_asking() {
    let keyward = Setup::new().ticking().start();
    keyward.application("orders");
    assert_eq!(signed_sizes(&keyward), [] as [u64; 0]);
    keyward.advance_ms(MINUTE_MS);
    eventually("a signed tree of all events", || {
        signed_sizes(&keyward).last() == events(&keyward).last() && !signed_sizes(&keyward).is_empty()
    });
}

#[test]
fn a_gap_is_voided_after_a_minute_and_a_late_event_reported() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let key = keyward.issue(&application, &["orders:read"]);
    let lost = *events(&keyward).last().unwrap();
    let after = keyward.application("after");
    // As if the writer of the key's event were held up: its batch has not come yet.
    let event = keyward.stored(&format!("e:1.{lost}")).unwrap();
    keyward.remove(&format!("e:1.{lost}"));

    assert!(keyward.tick());
    assert_eq!(signed_sizes(&keyward).last(), Some(&(lost - 1)), "the log waits for it");
    assert!(keyward.store_keys("v:").is_empty());
    keyward.advance_ms(MINUTE_MS + 1_000);
    assert!(keyward.tick());
    assert_eq!(keyward.store_keys("v:"), [format!("v:1.{lost}")]);
    assert_eq!(signed_sizes(&keyward).last(), events(&keyward).last(), "and goes on");
    assert!(keyward.list(&format!("/v1/keys?application={application}")).is_empty());

    keyward.tamper(&format!("e:1.{lost}"), &event);
    assert!(keyward.tick());
    let alarms = keyward.events("action=audit.late");
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    let alarm = &alarms[0];
    assert_eq!(alarm["outcome"], "alarm");
    assert_eq!(
        (&alarm["detail"][0], &alarm["detail"][1]),
        (&format!("evt_1_{lost}").into(), &"key.issue".into())
    );
    assert_eq!(alarm["target"]["key"], key.id.as_str());
    let listed = keyward.list(&format!("/v1/keys?application={application}"));
    assert_eq!(listed.len(), 1, "what it did is in the lists: {listed:?}");
    assert_eq!(listed[0]["id"], key.id.as_str());
    assert!(keyward.tick());
    assert_eq!(keyward.events("action=audit.late").len(), 1, "it is reported once");
    keyward.as_root(Request::get(&format!("/v1/applications/{after}"))).expect(200);
}

#[test]
fn two_hosts_at_it_sign_one_root_per_size_and_report_once() {
    let first = Setup::new().on_redis().start();
    let second = first.beside();
    let application = first.application("orders");
    for round in 0..6 {
        let key = first.issue(&application, &["orders:read"]);
        second.as_root(Request::post("/v1/keys", &new_key(&application, &["orders:read"]))).expect(201);
        let lost = *events(&first).last().unwrap();
        let event = (round == 3).then(|| {
            let event = first.stored(&format!("e:1.{lost}")).unwrap();
            first.remove(&format!("e:1.{lost}"));
            event
        });
        std::thread::scope(|scope| {
            let other = scope.spawn(|| second.tick());
            assert!(first.tick() && other.join().unwrap());
        });
        if let Some(event) = event {
            for host in [&first, &second] {
                host.advance_ms(MINUTE_MS + 1_000);
            }
            assert!(first.tick());
            assert_eq!(first.store_keys("v:"), [format!("v:1.{lost}")]);
            first.tamper(&format!("e:1.{lost}"), &event);
        }
        assert_eq!(first.list(&format!("/v1/audit/events?key={}", key.id)).len(), 1);
    }
    std::thread::scope(|scope| {
        let other = scope.spawn(|| second.tick());
        assert!(first.tick() && other.join().unwrap());
    });
    assert_eq!(first.events("action=audit.late").len(), 1, "two who see it report it once");
    // One key of the store for each size, so one root; and each root holds what the one before it held.
    let sizes = signed_sizes(&first);
    assert_eq!(sizes.last(), events(&first).last());
    for pair in sizes.windows(2) {
        let target = format!("/v1/audit/proof/consistency?from={}&size={}", pair[0], pair[1]);
        first.as_root(Request::get(&target)).expect(200);
    }
}

#[test]
fn a_tick_that_fails_says_what_failed_and_the_next_one_does_the_work() {
    let keyward = Keyward::start();
    keyward.application("orders");
    keyward.plan_faults(&keyward_e2e::json!([{ "component": "scheduler", "effect": "fail_before" }]));
    assert!(!keyward.tick());
    eventually("the log's line", || keyward.log().contains("maintenance: store-unavailable"));
    keyward.withdraw_faults();
    assert!(keyward.tick());
    assert_eq!(signed_sizes(&keyward).last(), events(&keyward).last());
}

#[test]
fn a_store_of_use_that_is_silent_holds_up_nothing_of_the_log() {
    let keyward = Keyward::start();
    keyward.application("orders");
    keyward.plan_faults(&keyward_e2e::json!([{ "key": "u:*", "effect": "fail_before" }]));
    assert!(!keyward.tick(), "it says that something failed");
    assert_eq!(signed_sizes(&keyward).last(), events(&keyward).last(), "and did everything else");
}

#[test]
fn the_scheduler_needs_nothing_that_the_cron_trigger_lacks() {
    let component = std::fs::read(programs::component("scheduler")).unwrap();
    let text = String::from_utf8_lossy(&component);
    let newer: Vec<&str> = text
        .match_indices("wasi:")
        .map(|(at, _)| text[at..].split(|c: char| !c.is_ascii_graphic()).next().unwrap_or_default())
        .filter(|name| name.contains("@0.3"))
        .collect();
    assert!(newer.is_empty(), "{newer:?}");
}
