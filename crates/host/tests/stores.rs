//! Promise: one semantics over SQLite, Redis and memory, through both interfaces, and only for the labels that
//! a component was given.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod common;

use std::time::{Duration, Instant};

use common::{Host, RedisServer, Setup, manifest};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use keyward_host::NativeStore;

fn setup(kind: &str) -> Setup {
    let manifest = manifest(
        "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"",
        "key_value_stores = [\"default\", \"other\"]",
    );
    Setup::new(manifest).runtime_config(format!(
        "[key_value_store.default]\n{kind}\n[key_value_store.other]\ntype = \"spin\"\n"
    ))
}

/// What every store must do, step by step: path and answer.
const SEMANTICS: &[(&str, &str)] = &[
    ("/get?key=a", "-"),
    ("/exists?key=a", "false"),
    ("/set?key=a&value=1", "ok"),
    ("/get?key=a", "1"),
    ("/b-get?key=a", "1"),
    ("/exists?key=a", "true"),
    ("/b-exists?key=a", "true"),
    ("/set?key=a&value=", "ok"),
    ("/get?key=a", ""),
    ("/delete?key=a", "ok"),
    ("/delete?key=a", "ok"),
    ("/get?key=a", "-"),
    ("/increment?key=n&delta=0", "0"),
    ("/increment?key=n&delta=5", "5"),
    ("/increment?key=n&delta=-7", "-2"),
    ("/set-many?keys=x,y,z&value=v", "ok"),
    ("/get-many?keys=z,none,x", "z=v,none=-,x=v"),
    ("/get?store=other&key=x", "-"),
    ("/keys", "n,x,y,z"),
    ("/b-keys", "n,x,y,z"),
    ("/delete-many?keys=x,none,z", "ok"),
    ("/keys", "n,y"),
    ("/swap?key=s&value=1", "swapped"),
    ("/swap?key=s&value=2", "swapped"),
    ("/get?key=s", "2"),
    ("/swap?key=s&value=3&meddle=1", "refused"),
    ("/get?key=s", "meddled"),
    ("/set?key=%c3%a9%20%3a*&value=w", "ok"),
    ("/b-get?key=%c3%a9%20%3a*", "w"),
];

fn holds(host: &Host) {
    for (step, (path, expected)) in SEMANTICS.iter().enumerate() {
        assert_eq!(host.ok(path), *expected, "step {step}: {path}");
    }
    // A value that is no counter is an error, harms nothing, and the store goes on.
    host.ok("/set?key=text&value=abc");
    let reply = host.get("/increment?key=text");
    assert!(reply.status == 422 && reply.body.contains("Other"), "{}", reply.body);
    assert_eq!(host.ok("/get?key=text"), "abc");
    for n in 0..3 {
        let keys: Vec<String> = (0..700).map(|m| format!("many.{n}.{m}")).collect();
        host.ok(&format!("/set-many?value=v&keys={}", keys.join(",")));
    }
    let keys = host.ok("/keys");
    assert_eq!(
        keys.split(',').filter(|key| key.starts_with("many.")).count(),
        2_100,
        "a listing of several pages"
    );
}

#[test]
fn sqlite() {
    holds(&setup("type = \"spin\"\npath = \"own.db\"").start());
}

#[test]
fn memory() {
    holds(&setup("type = \"spin\"").start());
}

#[test]
fn redis() {
    let server = RedisServer::start();
    holds(&setup(&format!("type = \"redis\"\nurl = \"{}\"", server.url())).start());
}

/// An instance that waits in a call of the synchronous interface polls none of its other calls meanwhile.
#[tokio::test]
async fn on_redis_no_call_waits_for_others_that_nobody_polls() {
    let server = RedisServer::start();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("runtime.toml");
    let text = format!("[key_value_store.default]\ntype = \"redis\"\nurl = \"{}\"\n", server.url());
    std::fs::write(&config, text).unwrap();
    let store = NativeStore::open("default", Some(&config), dir.path()).unwrap();
    store.get("connects").await.unwrap();

    let mut begun: FuturesUnordered<_> = (0..500).map(|_| store.get("read by many")).collect();
    assert!(begun.next().now_or_never().is_none(), "none can be answered yet");
    let write = store.set_many(vec![("written".to_owned(), b"1".to_vec())]);
    tokio::time::timeout(Duration::from_secs(2), write).await.expect("an answer at once").unwrap();
    assert!(begun.all(async |read| read.unwrap().is_none()).await);
}

#[test]
fn tickets_are_unique_however_many_ask_at_once() {
    let server = RedisServer::start();
    for kind in [
        "type = \"spin\"\npath = \"own.db\"".to_owned(),
        format!("type = \"redis\"\nurl = \"{}\"", server.url()),
    ] {
        let host = setup(&kind).start();
        let mut tickets: Vec<u32> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut wire = host.connect();
                        (0..50)
                            .map(|_| wire.get("/increment?key=n").body.parse().unwrap())
                            .collect::<Vec<u32>>()
                    })
                })
                .collect();
            asking.into_iter().flat_map(|asking| asking.join().unwrap()).collect()
        });
        tickets.sort_unstable();
        assert_eq!(tickets, (1..=400).collect::<Vec<_>>(), "{kind}");
    }
}

#[test]
fn labels_a_component_was_not_given_are_denied() {
    let host = Setup::plain().runtime_config("[key_value_store.other]\ntype = \"spin\"").start();
    for path in [
        "/get?store=other&key=a",
        "/get?store=none&key=a",
        "/b-get?store=other&key=a",
        "/increment?store=none&key=a",
    ] {
        let reply = host.get(path);
        assert!(reply.status == 422 && reply.body.contains("AccessDenied"), "{path}: {}", reply.body);
    }
}

#[test]
fn oversized_keys_and_overflowing_counters_are_errors() {
    let host = Setup::plain().start();
    let reply = host.get(&format!("/set?value=1&key={}", "k".repeat(1_025)));
    assert!(reply.body.contains("1024 are allowed"), "{}", reply.body);
    host.ok(&format!("/increment?key=n&delta={}", i64::MAX));
    assert!(host.get("/increment?key=n").body.contains("would leave 64 bits"));
    assert_eq!(host.ok("/increment?key=n&delta=0"), i64::MAX.to_string());
}

#[test]
fn a_redis_that_is_down_is_an_error_soon_and_mends_itself() {
    let server = RedisServer::start();
    let port = server.port;
    let password = "hunter2";
    // The host starts before its store does, and while it is away.
    drop(server);
    let host = setup(&format!("type = \"redis\"\nurl = \"redis://:{password}@127.0.0.1:{port}/0\"")).start();
    let begin = Instant::now();
    let reply = host.get("/get?key=a");
    assert!(reply.status == 422 && reply.body.contains("Other"), "{}", reply.body);
    assert!(begin.elapsed() < Duration::from_secs(6), "answered after {:?}", begin.elapsed());
    drop(host);

    let server = RedisServer::start_at(port);
    let host = setup(&format!("type = \"redis\"\nurl = \"redis://127.0.0.1:{port}/0\"")).start();
    assert_eq!(host.ok("/set?key=a&value=1"), "ok");
    drop(server);
    let begin = Instant::now();
    assert_eq!(host.get("/get?key=a").status, 422);
    assert!(begin.elapsed() < Duration::from_secs(6), "answered after {:?}", begin.elapsed());
    let _server = RedisServer::start_at(port);
    common::eventually("the store's return", || host.get("/set?key=a&value=2").status == 200);
    assert_eq!(host.ok("/get?key=a"), "2");
    assert!(!host.stop().contains(password));
}
