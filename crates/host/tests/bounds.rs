//! Promise: no guest and no caller takes the host down. Each bound is met on purpose, and others are answered
//! meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod common;

use std::time::{Duration, Instant};

use common::{Setup, eventually};

#[test]
fn busy_loops_end_at_the_time_bound_and_others_are_answered_meanwhile() {
    let host = Setup::plain().args("--request-time-max-ms 1500").start();
    std::thread::scope(|scope| {
        let loops: Vec<_> = (0..6).map(|_| scope.spawn(|| host.get("/busy").status)).collect();
        std::thread::sleep(Duration::from_millis(200));
        let begin = Instant::now();
        assert_eq!(host.ok("/hello"), "hello");
        assert!(begin.elapsed() < Duration::from_millis(1_000), "answered after {:?}", begin.elapsed());
        for busy in loops {
            assert_eq!(busy.join().unwrap(), 504);
        }
    });
    assert_eq!(host.get("/sleep?ms=5000").status, 504);
    assert_eq!(host.ok("/hello"), "hello");
}

#[test]
fn memory_beyond_the_bound_traps_and_below_it_serves() {
    let host = Setup::plain().args("--guest-memory-bytes-max 67108864").start();
    assert_eq!(host.ok("/allocate?mib=16"), (16 << 20).to_string());
    assert_eq!(host.get("/allocate?mib=80").status, 500);
    assert_eq!(host.ok("/hello"), "hello");
    let log = host.stop();
    assert!(log.contains("the memory bound is met"), "{log}");
}

#[test]
fn a_body_beyond_the_bound_is_refused_or_cut() {
    let host = Setup::plain().args("--request-body-bytes-max 1000").start();
    assert_eq!(host.request("POST", "/body", "", &[b'x'; 1_000]).body, "1000");
    assert_eq!(host.request("POST", "/body", "", &[b'x'; 1_001]).status, 413);
    let mut wire = host.connect();
    wire.send(b"POST /body HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..4 {
        wire.send(format!("190\r\n{}\r\n", "x".repeat(400)).as_bytes());
    }
    wire.send(b"0\r\n\r\n");
    let cut = wire.reply().unwrap();
    assert_eq!(cut.status, 422, "the guest is told, and tells");
    assert!(cut.body.contains("HttpRequestBodySize(Some(1000))"), "{}", cut.body);
}

#[test]
fn a_head_that_comes_too_slowly_or_is_too_long_is_cut() {
    let host = Setup::plain().args("--request-head-time-max-ms 400").start();
    for beginning in ["", "GET /hello HT", "GET /hello HTTP/1.1\r\nhost: a\r\nx: "] {
        let mut wire = host.connect();
        wire.send(beginning.as_bytes());
        let begin = Instant::now();
        // Hyper answers 408 or nothing; either way the connection ends.
        while wire.reply().is_some() {}
        let took = begin.elapsed();
        assert!(
            took > Duration::from_millis(300) && took < Duration::from_secs(5),
            "{beginning:?} was kept for {took:?}"
        );
    }
    let mut wire = host.connect();
    wire.send(format!("GET /hello HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(100_000)).as_bytes());
    assert!(wire.reply().is_none_or(|reply| reply.status == 431));
    assert_eq!(host.ok("/hello"), "hello");
}

#[test]
fn above_the_requests_in_flight_callers_are_told_to_come_again() {
    let host = Setup::plain().args("--requests-in-flight-max 4").start();
    std::thread::scope(|scope| {
        let sleepers: Vec<_> = (0..4).map(|_| scope.spawn(|| host.get("/sleep?ms=1000").status)).collect();
        std::thread::sleep(Duration::from_millis(400));
        let refused = host.get("/hello");
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
        assert_eq!(host.ok("/.well-known/spin/health"), "OK", "health is answered even then");
        assert!(sleepers.into_iter().all(|sleeper| sleeper.join().unwrap() == 200));
    });
    assert_eq!(host.ok("/hello"), "hello");
}

#[test]
fn a_caller_that_goes_away_frees_its_place_only_when_the_guest_is_done() {
    let host = Setup::plain().args("--requests-in-flight-max 2").start();
    for _ in 0..2 {
        let mut wire = host.connect();
        wire.send(b"GET /sleep?ms=1500 HTTP/1.1\r\nhost: a\r\n\r\n");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(host.get("/hello").status, 503);
    eventually("a place", || host.get("/hello").status == 200);
}

#[test]
fn when_no_instance_is_free_callers_are_told_to_come_again() {
    let host = Setup::plain().args("--instances-max 2 --request-time-max-ms 2000").start();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert_eq!(host.get("/busy").status, 504));
        }
        std::thread::sleep(Duration::from_millis(700));
        let refused = host.get("/hello");
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    });
    eventually("a free instance", || host.get("/hello").status == 200);
}

#[test]
fn connections_beyond_the_bound_wait_for_a_place() {
    let host = Setup::plain().args("--connections-max 2").start();
    let (mut one, mut two) = (host.connect(), host.connect());
    assert_eq!((one.get("/hello").status, two.get("/hello").status), (200, 200));
    let mut three = host.connect();
    three.send(b"GET /hello HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(!three.has_answer_within(Duration::from_millis(300)), "it waits in the backlog");
    drop(one);
    assert_eq!(three.reply().unwrap().body, "hello");
}
