//! After an acknowledged revocation no validation that starts later is accepted: on every connection, under load, on both stores,
//! whatever the clock does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use keyward_e2e::admin::{Holder, authorize, revoke};
use keyward_e2e::load::{CONNECTIONS, on_connections};
use keyward_e2e::{Connection, Keyward, Request, Setup, json};

/// Validations that start after an acknowledgement, over all keys and connections.
const AFTER_ACKNOWLEDGEMENT: usize = 10_000;
/// What each connection asks of each dead key; with 16 connections, 25 keys make the number above.
const LOOKS_EACH: usize = 25;
const KEYS: usize = AFTER_ACKNOWLEDGEMENT / (CONNECTIONS * LOOKS_EACH);

#[test]
fn under_sixteen_hammering_connections() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let keys: Vec<Holder> = (0..KEYS).map(|_| keyward.holder(&application, &["orders:read"])).collect();
    // How many of the keys, in their order, have an acknowledged revocation.
    let dead = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let (keys, dead, over) = (&keys, &dead, &over);

    let (seen, revocations) = std::thread::scope(|scope| {
        let hammer = scope.spawn(|| {
            on_connections(keyward.address(), CONNECTIONS, |number, connection| {
                let mut looks = [0_usize; KEYS];
                let (mut accepted, mut wrong) = (0_usize, Vec::new());
                let mut n = number;
                while looks.iter().any(|looks| *looks < LOOKS_EACH) && !over.load(Ordering::Relaxed) {
                    // Mostly the key that dies next or died last: there a late answer would show.
                    let edge = dead.load(Ordering::Acquire);
                    let owed = looks[..edge].iter().position(|looks| *looks < LOOKS_EACH);
                    let at = match (n % 2, owed) {
                        (0, Some(owed)) => owed,
                        _ => edge.min(KEYS - 1),
                    };
                    n += 1;
                    let is_dead = at < dead.load(Ordering::Acquire);
                    let status =
                        connection.exchange(&authorize(&keys[at].token, "?scope=orders:read")).status;
                    match (is_dead, status) {
                        (true, 401) => looks[at] += 1,
                        (true, status) => wrong.push(format!("key {at}: {status} after its revocation")),
                        (false, 204) => accepted += 1,
                        (false, 401) => {}
                        (false, status) => wrong.push(format!("key {at}: {status} while it lived")),
                    }
                }
                (looks.iter().sum::<usize>(), accepted, wrong)
            })
        });
        let revoker = scope.spawn(|| {
            let mut connection = Connection::open(keyward.address());
            for (at, key) in keys.iter().enumerate() {
                let reply = connection.exchange(&revoke(&key.id).bearer(keyward.root()));
                assert_eq!(reply.status, 200, "{}", reply.text());
                dead.store(at + 1, Ordering::Release);
                // On the very connection that was told so, the very next request.
                let next = connection.exchange(&authorize(&key.token, ""));
                assert_eq!(next.status, 401, "the next validation on the same connection");
            }
            KEYS
        });
        let revocations = revoker.join();
        // A revoker that failed leaves keys alive, which nobody could ever count as dead.
        over.store(revocations.is_err(), Ordering::Relaxed);
        (hammer.join().unwrap(), revocations.unwrap())
    });
    let wrong: Vec<_> = seen.iter().flat_map(|(.., wrong)| wrong).collect();
    assert!(wrong.is_empty(), "{} wrong answers, such as {:?}", wrong.len(), wrong.first());
    let denied: usize = seen.iter().map(|(denied, ..)| denied).sum();
    assert!(denied >= AFTER_ACKNOWLEDGEMENT, "{denied}");
    let accepted: usize = seen.iter().map(|(_, accepted, _)| accepted).sum();
    assert!(accepted >= revocations, "the keys worked before: {accepted}");
}

#[test]
fn one_key_on_redis() {
    one_key(&Setup::new().on_redis().start());
}

#[test]
fn one_key_on_sqlite() {
    one_key(&Keyward::start());
}

fn one_key(keyward: &Keyward) {
    let application = keyward.application("orders");
    let mut connections: Vec<Connection> = (0..4).map(|_| keyward.connect()).collect();
    let reasons = [json!({ "reason": "leaked" }), json!({ "reason": "\u{1f480}".repeat(256) })];
    for reason in &reasons {
        let key = keyward.holder(&application, &["orders:read"]);
        for connection in &mut connections {
            assert_eq!(connection.exchange(&authorize(&key.token, "")).status, 204);
        }
        let target = format!("/v1/keys/{}/revoke", key.id);
        keyward.as_root(Request::post(&target, reason)).expect(200);
        for connection in &mut connections {
            let refused = connection.exchange(&authorize(&key.token, ""));
            assert_eq!((refused.status, refused.field("keyward-code")), (401, Some("REVOKED")));
        }
    }
    // Whoever finds a token may end it: the token is the proof.
    let leaked = keyward.holder(&application, &["orders:read"]);
    let report = || keyward.send(Request::post("/v1/revocations", &json!({ "token": leaked.token })));
    let first = report().expect(200).json();
    assert_eq!(keyward.authorizes(&leaked.token), 401);
    assert_eq!(report().expect(200).json(), first, "twice is once");
    let event =
        keyward.as_root(Request::get(&format!("/v1/audit/events/{}", first["event"].as_str().unwrap())));
    assert_eq!(
        (event.json()["action"].as_str(), event.json()["actor"]["kind"].as_str()),
        (Some("key.report"), Some("holder"))
    );
    // A key whose claim is still open is dead all the same.
    let open = keyward.issue(&application, &["orders:read"]);
    keyward.as_root(revoke(&open.id)).expect(200);
    assert_eq!(
        keyward.send(keyward_e2e::admin::claim(&open.ticket)).expect(410).json()["code"],
        "claim-gone"
    );
}

#[test]
fn a_whole_application_within_a_quarter_of_a_second() {
    let keyward = Keyward::start();
    let (mine, other) = (keyward.application("mine"), keyward.application("other"));
    let keys: Vec<Holder> = (0..3).map(|_| keyward.holder(&mine, &["orders:read"])).collect();
    let spared = keyward.holder(&other, &["orders:read"]);
    for key in &keys {
        assert_eq!(keyward.authorizes(&key.token), 204);
    }
    let target = format!("/v1/applications/{mine}/revoke");
    let done = keyward.as_root(Request::post(&target, &json!({ "reason": "the partner was broken into" })));
    assert_eq!(done.expect(200).json()["generation"], 1);
    keyward.advance_ms(250);
    for key in &keys {
        let refused = keyward.send(authorize(&key.token, "")).expect(401);
        assert_eq!(refused.field("keyward-code"), Some("REVOKED"));
    }
    assert_eq!(keyward.authorizes(&spared.token), 204);
    let next = keyward.holder(&mine, &["orders:read"]);
    assert_eq!(keyward.authorizes(&next.token), 204, "the next generation lives");
}

#[test]
fn a_clock_that_steps_back_brings_nobody_back() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let key = keyward.holder(&application, &["orders:read"]);
    keyward.as_root(revoke(&key.id)).expect(200);
    let now_ms = keyward.now_ms();
    for back_ms in [1, 60_000, 3_600_000, 40 * 365 * 86_400_000] {
        keyward.set_wall_ms(now_ms - back_ms);
        assert_eq!(keyward.authorizes(&key.token), 401, "{back_ms} ms back");
        let shown = keyward.as_root(Request::get(&format!("/v1/keys/{}", key.id))).expect(200).json();
        assert_eq!(shown["state"], "revoked", "{back_ms} ms back");
    }
    // Administration goes on, too: events of the past are written and found.
    let second = keyward.holder(&application, &["orders:read"]);
    keyward.as_root(revoke(&second.id)).expect(200);
    assert_eq!(keyward.events(&format!("key={}&action=key.revoke", second.id)).len(), 1);
}
