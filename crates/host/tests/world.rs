//! Promise: in the test world, and only there, time, chance and the stores' faults are the test's to order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod common;

use std::time::{Duration, Instant};

use common::{Host, Setup, eventually, manifest, request};

fn two_stores() -> String {
    manifest(
        "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"",
        "key_value_stores = [\"default\", \"copy\"]",
    )
}

fn wall_and_mono(host: &Host) -> (u64, u64) {
    let text = host.ok("/clock");
    let (wall, mono) = text.split_once(' ').unwrap();
    (wall.parse().unwrap(), mono.parse().unwrap())
}

#[test]
fn a_frozen_clock_is_what_guests_see_and_sleep_by() {
    let host = Setup::plain().args("--control 127.0.0.1:0 --virtual-clock 1000 --frozen").start();
    assert_eq!(wall_and_mono(&host), (1_000_000, 0));
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| host.ok("/sleep?ms=20000"));
        std::thread::sleep(Duration::from_millis(100));
        host.control("POST", "/clock/advance", r#"{"ms":19999}"#);
        std::thread::sleep(Duration::from_millis(100));
        assert!(!sleeper.is_finished());
        host.control("POST", "/clock/advance", r#"{"ms":1}"#);
        assert_eq!(sleeper.join().unwrap(), "slept");
    });
    assert_eq!(wall_and_mono(&host), (1_020_000, 20_000));
    let answer = host.control("POST", "/clock/set-wall", r#"{"unix_ms":5000}"#);
    assert_eq!((answer["unix_ms"].as_u64(), answer["mode"].as_str()), (Some(5_000), Some("frozen")));
    assert_eq!(wall_and_mono(&host), (5_000, 20_000), "the wall clock alone steps back");
}

#[test]
fn a_flowing_clock_flows_and_is_moved() {
    let host = Setup::plain().args("--control 127.0.0.1:0 --virtual-clock 1000").start();
    let before = wall_and_mono(&host);
    host.control("POST", "/clock/advance", r#"{"ms":3600000}"#);
    let after = wall_and_mono(&host);
    assert!(
        (3_600_000..3_660_000).contains(&(after.0 - before.0))
            && (3_600_000..3_660_000).contains(&(after.1 - before.1))
    );
    let begin = Instant::now();
    assert_eq!(host.ok("/sleep?ms=50"), "slept");
    assert!(begin.elapsed() >= Duration::from_millis(50));
}

#[test]
fn the_same_seed_gives_the_same_randomness_and_each_instance_its_own() {
    let draw = |seed: u32| {
        let host = Setup::plain().args(&format!("--control 127.0.0.1:0 --seed {seed}")).start();
        let mut wire = host.connect();
        let drawn: Vec<String> = (0..130).map(|_| wire.get("/random").body).collect();
        drawn
    };
    let (one, again, other) = (draw(1), draw(1), draw(2));
    assert_eq!(one, again);
    assert_ne!(one, other);
    let mut distinct = one.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), one.len());
}

#[test]
fn faults_on_order() {
    let host = Setup::plain().args("--control 127.0.0.1:0").start();
    let plan = |rules: &str| {
        host.control("DELETE", "/faults", "");
        host.control("POST", "/faults", rules);
    };
    plan(r#"[{"op":"set","key":"m*","nth":2,"count":1,"effect":"fail_before"}]"#);
    let statuses: Vec<u16> = ["m1", "k1", "m2", "m3"]
        .iter()
        .map(|key| host.get(&format!("/set?key={key}&value=1")).status)
        .collect();
    assert_eq!(statuses, [200, 200, 422, 200]);
    assert_eq!(host.ok("/get?key=m2"), "-", "failed before: not applied");

    plan(r#"[{"op":"set_many","store":"default","effect":"fail_after"}]"#);
    assert_eq!(host.get("/set-many?keys=p,q&value=1").status, 422);
    assert_eq!(host.ok("/get?key=p"), "1", "failed after: applied");

    plan(r#"[{"op":"increment","effect":"repeat"}]"#);
    assert_eq!(host.ok("/increment?key=n"), "2", "applied twice");

    plan(r#"[{"op":"get","effect":"delay","ms":200}]"#);
    let begin = Instant::now();
    host.ok("/get?key=p");
    assert!(begin.elapsed() >= Duration::from_millis(200));

    plan(r#"[{"op":"set","key":"stalled","when":"after","effect":"stall"}]"#);
    std::thread::scope(|scope| {
        let stalled = scope.spawn(|| host.ok("/set?key=stalled&value=1"));
        eventually("the write", || host.ok("/get?key=stalled") == "1");
        std::thread::sleep(Duration::from_millis(50));
        assert!(!stalled.is_finished());
        host.control("DELETE", "/faults", "");
        assert_eq!(stalled.join().unwrap(), "ok");
    });
    let refused = request(host.control.unwrap(), "POST", "/faults", "", br#"[{"effect":"explode"}]"#);
    assert_eq!(refused.status, 400);
}

#[test]
fn killed_before_it_is_lost_and_killed_after_it_is_kept() {
    for (when, kept) in [("before", "-"), ("after", "1")] {
        let dir = tempfile::tempdir().unwrap();
        let mut host = Setup::plain().dir(dir.path()).args("--control 127.0.0.1:0").start();
        host.control("POST", "/faults", &format!(r#"[{{"op":"set","effect":"kill","when":"{when}"}}]"#));
        let mut wire = host.connect();
        wire.send(b"GET /set?key=a&value=1 HTTP/1.1\r\nhost: a\r\n\r\n");
        assert!(wire.reply().is_none(), "nobody was told anything");
        eventually("the end", || host.has_ended());
        let host = Setup::plain().dir(dir.path()).start();
        assert_eq!(host.ok("/get?key=a"), kept, "{when}");
    }
}

#[test]
fn store_calls_are_counted_and_raw_access_is_not() {
    let host = Setup::plain().args("--control 127.0.0.1:0").start();
    host.ok("/set-many?keys=a,b&value=1");
    host.ok("/increment?key=n");
    host.ok("/hello");
    let control =
        |method: &str, path: &str, body: &[u8]| request(host.control.unwrap(), method, path, "", body);
    assert_eq!(control("GET", "/kv/default/entries/a", b"").body, "1");
    assert_eq!(control("PUT", "/kv/default/entries/c%2Fd", b"raw").status, 200);
    assert_eq!(host.control("GET", "/kv/default/keys?prefix=c", "")["keys"], serde_json::json!(["c/d"]));
    assert_eq!(control("DELETE", "/kv/default/entries/a", b"").status, 200);
    assert_eq!(control("GET", "/kv/default/entries/a", b"").status, 404);
    let calls = host.control("GET", "/calls?trace=1", "");
    assert_eq!(calls["total"], 2, "{calls}");
    assert_eq!(calls["stores"]["default"], serde_json::json!({ "set_many": 1, "increment": 1 }));
    assert_eq!(
        calls["trace"][0],
        serde_json::json!({ "component": "probe", "store": "default", "op": "set_many", "keys": ["a", "b"] })
    );
    host.control("POST", "/calls/reset", "");
    assert_eq!(host.control("GET", "/calls", "")["total"], 0);
}

#[test]
fn a_replica_shows_its_primary_as_it_was() {
    let host = Setup::new(two_stores())
        .runtime_config("[key_value_store.copy]\ntype = \"replica\"\nof = \"default\"\nlag_ms = 1000\n")
        .args("--control 127.0.0.1:0 --virtual-clock 1000 --frozen")
        .start();
    let copy = |key: &str| host.ok(&format!("/get?store=copy&key={key}"));
    host.ok("/set?key=a&value=1");
    host.control("POST", "/clock/advance", r#"{"ms":500}"#);
    host.ok("/set?key=a&value=2");
    host.ok("/increment?key=n");
    assert_eq!(copy("a"), "-");
    host.control("POST", "/clock/advance", r#"{"ms":500}"#);
    assert_eq!((copy("a"), host.ok("/get?key=a")), ("1".into(), "2".into()));
    host.control("POST", "/clock/advance", r#"{"ms":500}"#);
    assert_eq!((copy("a"), copy("n")), ("2".into(), "\u{1}\0\0\0\0\0\0\0".into()));
    assert!(host.get("/set?store=copy&key=a&value=3").body.contains("read-only"));
}

#[test]
fn without_being_asked_for_there_is_no_test_world() {
    let host = Setup::plain().start();
    assert!(host.control.is_none());
    let (code, _) = Setup::plain().args("--seed 1").fails();
    assert_ne!(code, 0, "--seed alone is refused");
}
