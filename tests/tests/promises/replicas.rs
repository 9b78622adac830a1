//! Validators on a replica that is a long way off refuse a revoked key as soon as the revocation has arrived, and nobody once they cannot know
//! what they miss. It runs `deploy/edge`, on two hosts with 100 ms between them in either direction.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use keyward_e2e::admin::{Holder, authorize, revoke};
use keyward_e2e::edge::EdgeDeployment;
use keyward_e2e::load::CONNECTIONS;
use keyward_e2e::{Connection, Request, json};

use keyward_e2e::figures;

/// The way, in either direction.
const DELAY: Duration = Duration::from_millis(100);
/// Revocations of which the slowest are told.
const REVOCATIONS: usize = 1_000;
/// What 99 of 100 must be seen within.
const P99_MAX: Duration = Duration::from_millis(500);
/// By then a revocation is lost.
const LOST_AFTER: Duration = Duration::from_secs(10);
/// How long an application's standing is held beyond that.
const STANDING_HELD: Duration = Duration::from_millis(250);
/// `repl-timeout` of deploy/edge, and what a replica that looks once a second is late by.
const SILENCE_MAX: Duration = Duration::from_secs(5 + 3);
/// Long enough that the replica has given up by then.
const CUT_FOR: Duration = Duration::from_secs(10);
/// Shorter than a replica gives up in.
const STALLED_FOR: Duration = Duration::from_secs(2);
/// Long enough for a replica that knocks once a second, over a way that is longer than usual.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(20);
/// How long between two looks: a measurement is not to be a load.
const LOOK_EACH: Duration = Duration::from_millis(2);
/// Looks after the first refusal, none of which may pass.
const LOOKS_AFTER: usize = 3;

fn holders(deployment: &EdgeDeployment, application: &str, count: usize) -> Vec<Holder> {
    let share = count.div_ceil(CONNECTIONS);
    let holders = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                for _ in 0..share {
                    let holder = deployment.keyward.holder(application, &["orders:read"]);
                    holders.lock().unwrap().push(holder);
                }
            });
        }
    });
    let mut holders = holders.into_inner().unwrap();
    holders.truncate(count);
    let mut region = deployment.connect();
    keyward_e2e::eventually("the region knows them all", || {
        holders.iter().all(|holder| status(&mut region, holder) == 204)
    });
    holders
}

fn status(connection: &mut Connection, holder: &Holder) -> u16 {
    connection.exchange(&authorize(&holder.token, "")).status
}

/// Revokes the key here and asks there until it is refused: how long that took since the revocation was acknowledged.
fn lag(centre: &mut Connection, region: &mut Connection, root: &str, holder: &Holder) -> Duration {
    assert_eq!(centre.exchange(&revoke(&holder.id).bearer(root)).status, 200);
    let acknowledged = Instant::now();
    while acknowledged.elapsed() < LOST_AFTER {
        match status(region, holder) {
            204 => std::thread::sleep(LOOK_EACH),
            401 => {
                let lag = acknowledged.elapsed();
                for _ in 0..LOOKS_AFTER {
                    assert_eq!(status(region, holder), 401, "once refused, it stays so");
                }
                return lag;
            }
            other => panic!("{other} for a revoked key"),
        }
    }
    panic!("still accepted after {LOST_AFTER:?}");
}

#[test]
fn a_revocation_arrives_within_half_a_second() {
    let deployment = EdgeDeployment::start(DELAY);
    let keyward = &deployment.keyward;
    let application = keyward.application("orders");
    let holders = holders(&deployment, &application, REVOCATIONS);
    let lags = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for share in holders.chunks(REVOCATIONS.div_ceil(CONNECTIONS)) {
            let (mut centre, mut region) = (keyward.connect(), deployment.connect());
            let lags = &lags;
            scope.spawn(move || {
                for holder in share {
                    let lag = lag(&mut centre, &mut region, keyward.root(), holder);
                    lags.lock().unwrap().push(lag);
                }
            });
        }
    });
    let mut lags = lags.into_inner().unwrap();
    lags.sort();
    let at = |share: f64| lags[((lags.len() - 1) as f64 * share) as usize];
    let (p50, p99, max) = (at(0.50), at(0.99), at(1.0));
    println!("{} revocations seen at the replica: p50 {p50:?}, p99 {p99:?}, max {max:?}", lags.len());
    figures::note(
        "revocation_at_replica",
        &json!({
            "revocations": lags.len(), "delay_ms": ms(DELAY), "p50_ms": ms(p50), "p99_ms": ms(p99), "max_ms": ms(max),
        }),
    );
    assert_eq!(lags.len(), REVOCATIONS);
    assert!(p50 >= DELAY, "it came a long way: {p50:?}");
    assert!(p99 < P99_MAX, "{p99:?}");
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[test]
fn an_application_a_quarter_of_a_second_later() {
    let deployment = EdgeDeployment::start(DELAY);
    let keyward = &deployment.keyward;
    let application = keyward.application("orders");
    let holders = holders(&deployment, &application, 3);
    let target = format!("/v1/applications/{application}/revoke");
    keyward.as_root(Request::post(&target, &json!({ "reason": "the partner was broken into" }))).expect(200);
    let acknowledged = Instant::now();
    let mut region = deployment.connect();
    while holders.iter().any(|holder| status(&mut region, holder) == 204) {
        assert!(acknowledged.elapsed() < P99_MAX + STANDING_HELD, "still accepted");
    }
}

#[test]
fn a_region_that_is_cut_off_accepts_nobody_before_long_and_recovers_by_itself() {
    let deployment = EdgeDeployment::start(DELAY);
    let keyward = &deployment.keyward;
    let application = keyward.application("orders");
    let holders = holders(&deployment, &application, 21);
    let (kept, dead) = holders.split_first().unwrap();
    let mut region = deployment.connect();

    deployment.cut();
    let cut = Instant::now();
    for holder in dead {
        keyward.as_root(revoke(&holder.id)).expect(200);
    }
    let acknowledged = Instant::now();
    let mut last_accepted = acknowledged;
    while cut.elapsed() < CUT_FOR {
        for holder in dead {
            match status(&mut region, holder) {
                204 => last_accepted = Instant::now(),
                503 => {}
                other => panic!("{other} while the region was cut off"),
            }
        }
    }
    let accepted_for = last_accepted - acknowledged;
    assert!(accepted_for < SILENCE_MAX, "accepted for {accepted_for:?} after the revocation");
    assert_eq!(status(&mut region, kept), 503, "what the region cannot know it does not say");

    deployment.mend();
    let mended = Instant::now();
    // A replica answers again once it is connected, a moment before what it missed is applied.
    let mut stale = Vec::new();
    while status(&mut region, kept) != 204 || dead.iter().any(|holder| status(&mut region, holder) != 401) {
        if dead.iter().any(|holder| status(&mut region, holder) == 204) {
            stale.push(Instant::now());
        }
        assert!(mended.elapsed() < CAUGHT_UP_WITHIN, "the region does not recover");
    }
    let recovered = mended.elapsed();
    let stale_for = stale.last().zip(stale.first()).map_or(Duration::ZERO, |(last, first)| *last - *first);
    assert!(stale_for < P99_MAX, "it answered for {stale_for:?} before it had caught up");
    println!(
        "cut off: accepted for {accepted_for:?} after the revocation; the link back: after {recovered:?} as it should be, and for {stale_for:?} as it was before"
    );
    figures::note(
        "partition",
        &json!({ "accepted_for_ms": ms(accepted_for), "stale_for_ms": ms(stale_for), "recovered_after_ms": ms(recovered) }),
    );
}

#[test]
fn a_way_that_stalls_brings_everything_when_it_goes_on() {
    let deployment = EdgeDeployment::start(DELAY);
    let keyward = &deployment.keyward;
    let application = keyward.application("orders");
    let holders = holders(&deployment, &application, 20);
    let mut region = deployment.connect();
    deployment.way.stall();
    let stalled = Instant::now();
    for holder in &holders {
        keyward.as_root(revoke(&holder.id)).expect(200);
    }
    while stalled.elapsed() < STALLED_FOR {
        for holder in &holders {
            assert_eq!(status(&mut region, holder), 204, "it has heard nothing yet");
        }
    }
    deployment.way.resume();
    let resumed = Instant::now();
    for holder in &holders {
        while status(&mut region, holder) == 204 {
            assert!(resumed.elapsed() < P99_MAX, "still accepted {:?} after it went on", resumed.elapsed());
        }
    }
    for holder in &holders {
        assert_eq!(status(&mut region, holder), 401);
    }
}

#[test]
fn limits_and_use_of_a_region_are_those_of_the_control_plane() {
    let deployment = EdgeDeployment::start(DELAY);
    let keyward = &deployment.keyward;
    let application = keyward.application("orders");
    let holder = holders(&deployment, &application, 1).remove(0);
    let limits = json!({ "limits": [{ "name": "day", "limit": 5, "per": "day" }] });
    keyward.as_root(Request::patch(&format!("/v1/keys/{}", holder.id), &limits)).expect(200);
    let mut region = deployment.connect();
    keyward_e2e::eventually("the region knows of the limit", || {
        let reply = region.exchange(&authorize(&holder.token, ""));
        reply.field("ratelimit").is_some()
    });
    let statuses: Vec<u16> = (0..6).map(|_| status(&mut region, &holder)).collect();
    assert_eq!(statuses, [204, 204, 204, 204, 429, 429], "one was spent before");
    assert_eq!(keyward.authorizes(&holder.token), 429, "it is one limit, wherever it is spent");
    keyward_e2e::eventually("use of the region is folded", || {
        let used = keyward.as_root(Request::get(&format!("/v1/keys/{}/usage", holder.id))).expect(200).json();
        used["outcomes"]["USAGE_EXCEEDED"].as_u64().is_some_and(|refused| refused >= 2)
    });
}

#[test]
fn a_validator_may_read_what_it_needs_and_write_counters_alone() {
    let deployment = EdgeDeployment::start(Duration::ZERO);
    let refused = |answer: String| answer.starts_with("-NOPERM") || answer.starts_with("-READONLY");
    for key in ["k:0", "m:0", "a:0", "x:0.1", "r:0"] {
        assert_eq!(deployment.as_validator(&deployment.replica, &["GET", key]), "$-1", "{key}");
        assert!(refused(deployment.as_validator(&deployment.replica, &["SET", key, "l"])), "{key}");
        for command in [["GET", key, ""], ["SET", key, "l"], ["MSET", key, "l"], ["INCRBY", key, "1"]] {
            let words: Vec<&str> = command.into_iter().filter(|word| !word.is_empty()).collect();
            assert!(
                refused(deployment.as_validator(&deployment.primary, &words)),
                "{words:?} on the primary"
            );
        }
    }
    for key in ["d:0", "e:1.1", "s:2026-01.1", "y:0", "q:0", "z:0", "c:audit:1", "p:head"] {
        assert!(refused(deployment.as_validator(&deployment.replica, &["GET", key])), "{key}");
    }
    for command in [vec!["KEYS", "*"], vec!["SCAN", "0"], vec!["CONFIG", "GET", "*"], vec!["DEL", "u:1"]] {
        for server in [&deployment.primary, &deployment.replica] {
            assert!(refused(deployment.as_validator(server, &command)), "{command:?}");
        }
    }
    assert_eq!(deployment.as_validator(&deployment.primary, &["INCRBY", "u:tickets", "0"]), ":0");
}
