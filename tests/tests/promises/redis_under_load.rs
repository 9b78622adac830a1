//! A Redis that is killed and started again under load: 503 at once while it is gone, no wrong accept, and everything goes on by itself
//! when it is back, with a log that verifies.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keyward_e2e::admin::{Holder, authorize, new_key, revoke};
use keyward_e2e::load::{CONNECTIONS, on_connections};
use keyward_e2e::{Connection, Keyward, Request, Setup};

/// As many for each connection.
const KEYS: usize = 60 * CONNECTIONS;
/// How often it is killed.
const KILLS: usize = 3;
const UP_FOR: Duration = Duration::from_millis(700);
const DOWN_FOR: Duration = Duration::from_millis(1_500);
/// Nobody waits longer for a 503: half a second, and what sixteen connections on two cores take.
const AT_ONCE: Duration = Duration::from_millis(1_000);
/// By then it answers again.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// What one connection saw.
#[derive(Default)]
struct Seen {
    accepted: usize,
    unavailable: usize,
    slowest_unavailable: Duration,
    wrong: Vec<String>,
}

/// Ends the load when whoever started it is done, well or not.
struct OverAtTheEnd<'a>(&'a AtomicBool);

impl Drop for OverAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn nobody_passes_who_was_revoked_and_nobody_waits() {
    let mut keyward = Setup::new().on_redis().start();
    let application = keyward.application("orders");
    let holders = holders(&keyward, &application);
    let mut redis = keyward.take_redis().unwrap();
    // How many of the keys, in their order, have an acknowledged revocation.
    let (dead, is_gone, is_over) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
    let (keyward, holders, dead, is_gone, is_over) = (&keyward, &holders, &dead, &is_gone, &is_over);

    let (seen, revocations, writes) = std::thread::scope(|scope| {
        let hammer = scope.spawn(|| {
            on_connections(keyward.address(), CONNECTIONS, |number, connection| {
                hammer(connection, number, holders, dead, is_gone, is_over)
            })
        });
        let revoker = scope.spawn(|| revoke_all(keyward, holders, dead, is_over));
        let writer = scope.spawn(|| write(keyward, &application, is_over));
        let over = OverAtTheEnd(is_over);
        for _ in 0..KILLS {
            std::thread::sleep(UP_FOR);
            redis.kill();
            is_gone.store(true, Ordering::SeqCst);
            std::thread::sleep(DOWN_FOR);
            is_gone.store(false, Ordering::SeqCst);
            redis.restart();
            let back = Instant::now();
            while keyward.authorizes(&holders[KEYS - 1].token) != 204 {
                assert!(back.elapsed() < BACK_WITHIN, "it does not come back");
            }
        }
        drop(over);
        (hammer.join().unwrap(), revoker.join().unwrap(), writer.join().unwrap())
    });

    let wrong: Vec<&String> = seen.iter().flat_map(|seen| &seen.wrong).collect();
    assert!(wrong.is_empty(), "{} wrong answers, such as {:?}", wrong.len(), wrong.first());
    let sum = |count: fn(&Seen) -> usize| seen.iter().map(count).sum::<usize>();
    let (accepted, unavailable) = (sum(|seen| seen.accepted), sum(|seen| seen.unavailable));
    let slowest = seen.iter().map(|seen| seen.slowest_unavailable).max().unwrap();
    println!(
        "{accepted} accepted, {unavailable} times 503 (the slowest after {slowest:?}), {revocations} revoked, {writes} issued"
    );
    assert!(accepted > 1_000 && unavailable > 100 && revocations > 50 && writes > 50);
    assert!(slowest < AT_ONCE, "{slowest:?}");

    for (at, holder) in holders.iter().enumerate().take(revocations) {
        assert_eq!(keyward.authorizes(&holder.token), 401, "key {at}, whose revocation was acknowledged");
    }
    keyward.settle_log();
    let witness = keyward.folder().join("witness.json");
    let mut verify = keyward.command_at_its_time(&["audit", "verify", "--witness"]);
    let output = verify.arg(&witness).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn holders(keyward: &Keyward, application: &str) -> Vec<Holder> {
    let holders = Mutex::new(Vec::new());
    on_connections(keyward.address(), CONNECTIONS, |_, _| {
        for _ in 0..KEYS / CONNECTIONS {
            let holder = keyward.holder(application, &["orders:read"]);
            holders.lock().unwrap().push(holder);
        }
    });
    holders.into_inner().unwrap()
}

/// Asks for the key that was revoked last and for one that lives, in turn, until it is over.
fn hammer(
    connection: &mut Connection,
    number: usize,
    holders: &[Holder],
    dead: &AtomicUsize,
    is_gone: &AtomicBool,
    is_over: &AtomicBool,
) -> Seen {
    let mut seen = Seen::default();
    let mut turn = number;
    while !is_over.load(Ordering::SeqCst) {
        turn += 1;
        let edge = dead.load(Ordering::SeqCst);
        // One that is dead, or the last of all, which nobody revokes.
        let at = if turn.is_multiple_of(2) && edge > 0 { edge - 1 } else { KEYS - 1 };
        let was_gone = is_gone.load(Ordering::SeqCst);
        let asked = Instant::now();
        let status = connection.exchange(&authorize(&holders[at].token, "")).status;
        let was_gone = was_gone && is_gone.load(Ordering::SeqCst);
        match status {
            503 => {
                seen.unavailable += 1;
                seen.slowest_unavailable = seen.slowest_unavailable.max(asked.elapsed());
            }
            _ if was_gone => seen.wrong.push(format!("{status} without a store")),
            204 if at == KEYS - 1 => seen.accepted += 1,
            401 if at < KEYS - 1 => {}
            other => seen.wrong.push(format!("{other} for key {at}")),
        }
    }
    seen
}

/// Revokes one key after another, each until that is acknowledged; how many were.
fn revoke_all(keyward: &Keyward, holders: &[Holder], dead: &AtomicUsize, is_over: &AtomicBool) -> usize {
    let mut connection = keyward.connect();
    for (at, holder) in holders.iter().take(KEYS - 1).enumerate() {
        loop {
            if is_over.load(Ordering::SeqCst) {
                return at;
            }
            match connection.exchange(&revoke(&holder.id).bearer(keyward.root())).status {
                200 => break,
                503 => {}
                other => panic!("{other} for a revocation"),
            }
        }
        dead.store(at + 1, Ordering::SeqCst);
    }
    KEYS - 1
}

/// Issues keys meanwhile; how many were acknowledged.
fn write(keyward: &Keyward, application: &str, is_over: &AtomicBool) -> usize {
    let mut connection = keyward.connect();
    let mut written = 0;
    while !is_over.load(Ordering::SeqCst) {
        let issue = Request::post("/v1/keys", &new_key(application, &["a:b"])).bearer(keyward.root());
        match connection.exchange(&issue).status {
            201 => written += 1,
            503 => {}
            other => panic!("{other} for an issue"),
        }
    }
    written
}
