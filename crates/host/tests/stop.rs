//! Promise: a stop in good order loses nothing that was under way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod common;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{Setup, eventually};

#[test]
fn requests_and_spawned_tasks_finish_and_nothing_more_is_accepted() {
    for signal in ["-TERM", "-INT"] {
        let dir = tempfile::tempdir().unwrap();
        let host = Setup::plain().dir(dir.path()).start();
        assert_eq!(host.ok("/spawn?ms=700&key=spawned"), "spawned");
        let addr = host.addr;
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| host.ok("/sleep?ms=600"));
            std::thread::sleep(Duration::from_millis(150));
            host.signal(signal);
            eventually("a closed door", || TcpStream::connect(addr).is_err());
            assert_eq!(slow.join().unwrap(), "slept");
        });
        let (code, log) = host.wait();
        assert_eq!(code, 0, "{log}");
        assert!(log.contains("stopped"), "{log}");
        let host = Setup::plain().dir(dir.path()).start();
        assert_eq!(host.ok("/get?key=spawned"), "spawned", "the task ran to its end");
    }
}

#[test]
fn an_idle_host_stops_at_once_and_a_stuck_one_within_its_bound() {
    let host = Setup::plain().start();
    let _idle = host.connect();
    host.ok("/hello");
    let begin = Instant::now();
    host.stop();
    assert!(begin.elapsed() < Duration::from_secs(2), "an idle stop took {:?}", begin.elapsed());

    let host = Setup::plain().args("--stop-time-max-ms 500").start();
    let mut wire = host.connect();
    wire.send(b"GET /busy HTTP/1.1\r\nhost: a\r\n\r\n");
    std::thread::sleep(Duration::from_millis(100));
    let begin = Instant::now();
    let log = host.stop();
    assert!(begin.elapsed() < Duration::from_secs(5), "a stuck stop took {:?}", begin.elapsed());
    assert!(log.contains("were cut"), "{log}");
}
