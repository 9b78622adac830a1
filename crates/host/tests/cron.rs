//! Promise: a cron trigger ticks by its schedule, each tick in a fresh instance, errors only logged.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod common;

use common::{Setup, eventually, manifest};

fn cron_manifest(expression: &str) -> String {
    let triggers = format!(
        "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n[[trigger.cron]]\ncomponent = \"probe\"\ncron_expression = \"{expression}\""
    );
    manifest(&triggers, "key_value_stores = [\"default\"]")
}

#[test]
fn it_ticks_by_its_schedule() {
    let host = Setup::new(cron_manifest("* * * * * *")).start();
    eventually("three ticks", || host.ok("/increment?key=cron.ticks&delta=0").parse::<u32>().unwrap() >= 3);
    assert_eq!(host.ok("/get?key=cron.instance-ticks"), "1", "a fresh instance each");
    let last: u64 = host.ok("/get?key=cron.last").parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now - last <= 3, "{last} at {now}");
}

#[test]
fn in_the_test_world_it_ticks_by_the_virtual_clock_without_catching_up() {
    let host = Setup::new(cron_manifest("0 0 * * * *"))
        .args("--control 127.0.0.1:0 --virtual-clock 1000000 --frozen")
        .start();
    let ticks = || host.ok("/increment?key=cron.ticks&delta=0");
    assert_eq!(ticks(), "0");
    host.control("POST", "/clock/advance", r#"{"ms":3600000}"#);
    eventually("a tick", || ticks() == "1");
    host.control("POST", "/clock/advance", r#"{"ms":36000000}"#);
    eventually("a tick", || ticks() == "2");
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(ticks(), "2", "ten hours missed are one tick");
}

#[test]
fn one_tick_on_order_and_a_failing_one_is_logged_without_the_guests_words() {
    let host = Setup::new(cron_manifest("0 0 0 1 1 *")).args("--control 127.0.0.1:0 --manual-cron").start();
    let answer = host.control("POST", "/cron/tick", "");
    assert_eq!(answer["ticks"][0]["ok"], true, "{answer}");
    assert_eq!(host.ok("/increment?key=cron.ticks&delta=0"), "1");
    host.ok("/set?key=cron.fail&value=1");
    let answer = host.control("POST", "/cron/tick", r#"{"component":"probe"}"#);
    assert_eq!(answer["ticks"][0]["ok"], false, "{answer}");
    let log = host.stop();
    assert!(
        log.contains("a tick ended with an error of the component") && !log.contains("nobody should see"),
        "{log}"
    );
}
