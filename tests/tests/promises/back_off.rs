//! Whoever presents bad credentials again and again is told to wait; nobody is locked out by it: a good credential passes meanwhile,
//! also from the same place, and nobody can be made to wait by what somebody else writes into a header.

use keyward_e2e::admin::authorize;
use keyward_e2e::{Keyward, Reply, Request, Setup, eventually};

use crate::tokens::{mistyped, unknown};

/// Refusals of one source in one minute that say what is wrong.
const TOLD: usize = 20;

/// The clock at the beginning of a minute, so that none ends underway.
fn at_a_minutes_start(keyward: &Keyward) {
    keyward.advance_ms(60_000 - keyward.now_ms() % 60_000 + 1);
}

fn is_told_to_wait(reply: &Reply) -> bool {
    let waits = reply.status == 429;
    assert_eq!(waits, reply.field("retry-after").is_some());
    assert!(waits || reply.status == 401, "{}", reply.text());
    if waits {
        assert_eq!(reply.json()["code"], "too-many-attempts");
        assert!((1..=60).contains(&reply.field("retry-after").unwrap().parse::<u32>().unwrap()));
    }
    waits
}

#[test]
fn the_bad_wait_while_the_good_pass() {
    let keyward = Keyward::start();
    at_a_minutes_start(&keyward);
    let events = keyward.store_keys("e:").len();
    let mut connection = keyward.connect();
    let root = keyward.root().to_owned();
    let mut bad = |n: usize| {
        let request = Request::get("/v1/applications");
        // Nothing at all, what is no token, and tokens of nobody; from ever new places, as the caller has it.
        let request = match n % 4 {
            0 => request,
            1 => request.bearer(&mistyped(&root)),
            _ => request.bearer(&unknown(n)),
        };
        connection.exchange(&request.field("x-forwarded-for", format!("192.0.2.{n}")))
    };
    for n in 0..TOLD {
        assert!(!is_told_to_wait(&bad(n)), "the {n}th");
    }
    for n in TOLD..2 * TOLD {
        assert!(is_told_to_wait(&bad(n)), "the {n}th");
        let good = keyward.as_root(Request::get("/v1/applications"));
        assert_eq!(good.status, 200, "from the same place");
    }
    // Gateways present what others got wrong: there each is told what it is.
    for n in 0..3 {
        assert_eq!(keyward.send(authorize(&unknown(n), "")).status, 401);
    }
    // Every component of administration knows, once the count is written down.
    let elsewhere = |n| keyward.send(Request::get("/v1/audit/events").bearer(&unknown(n)));
    eventually("the other component's knowledge", || is_told_to_wait(&elsewhere(0)));
    // The minute over, it is told again what is wrong.
    at_a_minutes_start(&keyward);
    assert!(!is_told_to_wait(&elsewhere(1)));
    assert!(!is_told_to_wait(&keyward.send(Request::get("/v1/applications"))));
    eventually("the second minute's event", || keyward.store_keys("e:").len() == events + 2);
}

#[test]
fn nobody_is_made_to_wait_by_a_header() {
    let keyward = Setup::new().variable("trusted_proxies", "127.0.0.1").start();
    at_a_minutes_start(&keyward);
    let from = |forwarded: &str, n: usize| {
        let request = Request::get("/v1/applications").bearer(&unknown(n));
        is_told_to_wait(&keyward.send(request.field("x-forwarded-for", forwarded)))
    };
    // What stands left of the proxy's own entry, the attacker wrote: it neither evades nor frames.
    let waited =
        (0..2 * TOLD).filter(|n| from(&format!("198.51.100.7, 192.0.2.{n}, 203.0.113.9"), *n)).count();
    assert_eq!(waited, TOLD, "the attacker waits");
    assert!(!from("198.51.100.7", 0), "whom the attacker named does not");
    let good = Request::get("/v1/applications").field("x-forwarded-for", "203.0.113.9");
    keyward.as_root(good).expect(200);
    // One subscriber has a whole IPv6 network of 64 bits.
    let waited = (0..TOLD + 5).filter(|n| from(&format!("2001:db8:1:2::{n:x}"), *n)).count();
    assert_eq!(waited, 5);
    assert!(!from("2001:db8:1:3::1", 0));
}
