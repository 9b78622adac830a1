//! Promise: instances are reused as Spin reuses them, and one that traps takes nothing with it but itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod common;

use common::Setup;

#[test]
fn an_instance_answers_128_requests_and_then_makes_room() {
    let host = Setup::plain().start();
    let mut wire = host.connect();
    let counts: Vec<u32> = (0..200).map(|_| wire.get("/count").body.parse().unwrap()).collect();
    let expected: Vec<u32> = (1..=128).chain(1..=72).collect();
    assert_eq!(counts, expected);
}

#[test]
fn requests_that_wait_share_an_instance() {
    let host = Setup::plain().start();
    // On a loaded machine a second instance may be made before the first one waits: any round may show it.
    let shared = (0..5).any(|_| {
        std::thread::scope(|scope| {
            let before: u32 = host.ok("/count").parse().unwrap();
            for _ in 0..8 {
                scope.spawn(|| host.ok("/sleep?ms=600"));
                std::thread::sleep(std::time::Duration::from_millis(30));
            }
            host.ok("/count") == (before + 1).to_string()
        })
    });
    assert!(shared, "the instance with eight sleepers never answered");
}

#[test]
fn a_trap_is_a_500_and_one_line_without_the_guests_words() {
    let host = Setup::plain().arg("--quiet").start();
    let mut wire = host.connect();
    assert_eq!(wire.get("/trap").status, 500);
    assert_eq!(wire.get("/refuse").status, 500, "the connection lives on");
    assert_eq!(wire.get("/hello").body, "hello");
    let log = host.stop();
    assert!(!log.contains("nobody should see"), "{log}");
    assert_eq!(log.matches("the instance was dropped: wasm trap: wasm `unreachable`").count(), 1, "{log}");
    assert_eq!(log.matches("with an error instead of a response").count(), 1, "{log}");
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[test]
fn a_guests_output_is_logged_line_by_line_escaped_and_bounded() {
    let host = Setup::plain().start();
    host.ok("/print?text=one%0atwo%1b%5b31m%0d%00");
    host.ok(&format!("/print?text={}", "x".repeat(6_000)));
    let log = host.stop();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<&str> = lines
        .iter()
        .filter(|line| line["stream"] == "stdout")
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    assert_eq!(said[..2], ["one", "two\\u{1b}[31m\\u{d}\\u{0}"]);
    assert!(said[2].ends_with("x [cut]") && said[2].len() == 4_096 + 6);
    assert!(lines.iter().filter(|line| line["stream"] == "stdout").all(|line| line["component"] == "probe"));
}
