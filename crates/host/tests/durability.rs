//! Promise: on SQLite what was acknowledged is on disk, in Spin's own table; and no read waits for a writer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::{Setup, eventually};
use rusqlite::{Connection, params};

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let host = Setup::plain().dir(dir.path()).start();
        // Each writer's last acknowledged number.
        let acknowledged: [AtomicU32; 4] = Default::default();
        let count = |n: &AtomicU32| n.load(Ordering::SeqCst);
        std::thread::scope(|scope| {
            for (writer, last) in acknowledged.iter().enumerate() {
                let host = &host;
                scope.spawn(move || {
                    let mut wire = host.connect();
                    for n in 1.. {
                        let path = format!("/set-many?keys=w{writer}.a,w{writer}.b&value={round}.{n}");
                        wire.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes());
                        match wire.reply() {
                            Some(reply) if reply.status == 200 => last.store(n, Ordering::SeqCst),
                            _ => break,
                        }
                    }
                });
            }
            eventually("writes by everyone", || acknowledged.iter().all(|last| count(last) >= 20));
            host.signal("-KILL");
        });
        drop(host);
        let host = Setup::plain().dir(dir.path()).start();
        for (writer, last) in acknowledged.iter().map(count).enumerate() {
            let (a, b) =
                (host.ok(&format!("/get?key=w{writer}.a")), host.ok(&format!("/get?key=w{writer}.b")));
            assert_eq!(a, b, "a batch is whole or not at all");
            let kept: u32 = a.strip_prefix(&format!("{round}.")).unwrap().parse().unwrap();
            assert!(
                kept == last || kept == last + 1,
                "writer {writer}: {last} was acknowledged, {kept} is kept"
            );
        }
    }
}

#[test]
fn the_file_is_spins_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state/sqlite_key_value.db");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    // As Spin makes it: its table, no write-ahead log, counters as eight bytes, little-endian.
    let spin = Connection::open(&file).unwrap();
    spin.execute(
        "CREATE TABLE IF NOT EXISTS spin_key_value (store TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (store, key))",
        [],
    )
    .unwrap();
    let put = "INSERT INTO spin_key_value VALUES (?1, ?2, ?3)";
    spin.execute(put, params!["default", "n", 41_i64.to_le_bytes()]).unwrap();
    spin.execute(put, params!["default", "a", b"from spin"]).unwrap();
    spin.execute(put, params!["elsewhere", "a", b"another label"]).unwrap();
    drop(spin);
    let host = Setup::plain().dir(dir.path()).start();
    assert_eq!(host.ok("/get?key=a"), "from spin");
    assert_eq!(host.ok("/increment?key=n"), "42");
    host.stop();
    assert!(!file.with_extension("db-wal").exists(), "a stop folds the log into the database");
    let spin = Connection::open(&file).unwrap();
    let value: Vec<u8> = spin
        .query_row("SELECT value FROM spin_key_value WHERE store = 'default' AND key = 'n'", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(value, 42_i64.to_le_bytes());
}

#[test]
fn reads_do_not_wait_for_a_writer() {
    let host = Setup::plain().start();
    host.ok("/set?key=a&value=1");
    let other = Connection::open(host.dir.join("state/sqlite_key_value.db")).unwrap();
    other.busy_timeout(Duration::from_secs(5)).unwrap();
    // Another process holds the write lock: writers must wait, readers must not.
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other.execute("UPDATE spin_key_value SET value = x'32'", []).unwrap();
    let released = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let reply = host.ok("/set?key=b&value=1");
            assert!(released.load(Ordering::SeqCst), "the write waited");
            reply
        });
        std::thread::sleep(Duration::from_millis(100));
        let begin = Instant::now();
        let mut wire = host.connect();
        for _ in 0..50 {
            assert_eq!(wire.get("/get?key=a").body, "1", "the last committed value");
        }
        assert!(begin.elapsed() < Duration::from_secs(2), "50 reads took {:?}", begin.elapsed());
        released.store(true, Ordering::SeqCst);
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(writer.join().unwrap(), "ok");
    });
    // And what another process commits is seen by the next read.
    other.execute("UPDATE spin_key_value SET value = x'33' WHERE key = 'a'", []).unwrap();
    assert_eq!(host.ok("/get?key=a"), "3");
}

#[test]
fn every_read_sees_every_write_acknowledged_before_it() {
    let host = Setup::plain().start();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let host = &host;
            scope.spawn(move || {
                let (mut one, mut other) = (host.connect(), host.connect());
                for n in 0..100 {
                    one.get(&format!("/set?key=k{writer}&value={n}"));
                    assert_eq!(other.get(&format!("/get?key=k{writer}")).body, n.to_string());
                }
            });
        }
    });
}

#[test]
fn a_second_start_compiles_nothing_and_is_quick() {
    let dir = tempfile::tempdir().unwrap();
    Setup::plain().dir(dir.path()).own_cache().start().stop();
    let cached = || {
        std::fs::read_dir(dir.path().join("state/cache"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let files = cached();
    assert_eq!(files.len(), 1);
    let written = std::fs::metadata(&files[0]).unwrap().modified().unwrap();
    let begin = Instant::now();
    let host = Setup::plain().dir(dir.path()).own_cache().start();
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(2), "the second start took {took:?}");
    assert_eq!(std::fs::metadata(&files[0]).unwrap().modified().unwrap(), written);
    host.stop();
    // A damaged file is compiled anew, never run.
    let mut bytes = std::fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&files[0], &bytes).unwrap();
    let host = Setup::plain().dir(dir.path()).own_cache().start();
    assert_eq!(host.ok("/hello"), "hello");
    assert_ne!(std::fs::read(&files[0]).unwrap(), bytes);
    // So is one that others may write.
    std::fs::set_permissions(&files[0], std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    drop(host);
    Setup::plain().dir(dir.path()).own_cache().start();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&files[0]).unwrap().permissions());
    eventually("a private file", || mode & 0o777 == 0o600);
}
