//! Limits over HTTP: of many connections at once no more pass in a window than the limit, and nearly as many do; few requests touch a
//! counter; and whoever is refused is told when to come back, in the standard's own words.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keyward_e2e::admin::authorize;
use keyward_e2e::load::on_connections;
use keyward_e2e::{Keyward, Request, Setup, Value, json};
use sfv::{BareItem, List, ListEntry, Parser};

const CONNECTIONS: usize = 64;
const LIMIT: usize = 1_000;
/// How many of these must have passed.
const PASSED_MIN: usize = 950;
const MINUTE_MS: u64 = 60_000;

/// A holder of a key under these limits: the key's id and its token.
fn holder(keyward: &Keyward, application: &str, limits: &Value) -> (String, String) {
    let holder = keyward.holder(application, &["orders:read"]);
    let change = json!({ "limits": limits });
    keyward.as_root(Request::patch(&format!("/v1/keys/{}", holder.id), &change)).expect(200);
    (holder.id, holder.token)
}

/// Sets the clock to the beginning of a minute.
fn to_a_minute(keyward: &Keyward) {
    keyward.advance_ms(MINUTE_MS - keyward.now_ms() % MINUTE_MS);
}

fn increments(keyward: &Keyward) -> usize {
    keyward.calls().iter().filter(|call| call.op == "increment" && call.keys[0].contains("u:limit:")).count()
}

/// A structured field as a list of items with parameters, by their names.
fn limits_of(field: &str) -> BTreeMap<String, BTreeMap<String, i64>> {
    let list: List = Parser::new(field).parse().expect("a list of structured fields");
    let item = |entry: ListEntry| {
        let ListEntry::Item(item) = entry else { panic!("an inner list in {field}") };
        let BareItem::String(name) = item.bare_item else { panic!("no string in {field}") };
        let number = |value: BareItem| match value {
            BareItem::Integer(number) => i64::from(number),
            other => panic!("{other:?} in {field}"),
        };
        let parameters = item.params.into_iter().map(|(name, value)| (name.to_string(), number(value)));
        (name.to_string(), parameters.collect())
    };
    list.into_iter().map(item).collect()
}

fn many_connections_against_one_limit(keyward: &Keyward) {
    let application = keyward.application("orders");
    let limits = json!([{ "name": "minute", "limit": LIMIT, "window_s": 60 }]);
    let (_, token) = holder(keyward, &application, &limits);
    to_a_minute(keyward);
    keyward.reset_calls();
    let (passed, requests) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let started = Instant::now();
    on_connections(keyward.address(), CONNECTIONS, |_, connection| {
        // Long enough that what an instance had leased comes back and is spent by others.
        while started.elapsed() < Duration::from_secs(6) {
            let reply = connection.exchange(&authorize(&token, ""));
            requests.fetch_add(1, Ordering::Relaxed);
            match reply.status {
                204 => drop(passed.fetch_add(1, Ordering::Relaxed)),
                429 => {
                    let after_s: u64 =
                        reply.field("retry-after").expect("when to come back").parse().unwrap();
                    assert!((1..=60).contains(&after_s), "{after_s} s");
                }
                status => panic!("{status}: {}", reply.text()),
            }
        }
    });
    let (passed, requests) = (passed.into_inner(), requests.into_inner());
    let counted = increments(keyward);
    println!("{passed} of {requests} requests passed, {counted} increments");
    assert!((PASSED_MIN..=LIMIT).contains(&passed), "{passed} of {LIMIT} passed");
    assert!(counted * 4 < requests, "{counted} increments for {requests} requests");
    keyward.advance_ms(MINUTE_MS);
    assert_eq!(keyward.send(authorize(&token, "")).status, 204, "the next window begins anew");
}

#[test]
fn no_more_pass_than_the_limit_on_sqlite() {
    many_connections_against_one_limit(&Keyward::start());
}

#[test]
fn no_more_pass_than_the_limit_on_redis() {
    many_connections_against_one_limit(&Setup::new().on_redis().start());
}

#[test]
fn limits_are_told_as_the_standard_has_it() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let shared = json!({ "limits": [{ "name": "shared.daily", "limit": 5, "per": "day" }] });
    keyward.as_root(Request::patch(&format!("/v1/applications/{application}"), &shared)).expect(200);
    let burst = json!([{ "name": "burst", "limit": 3, "window_s": 60 }]);
    let (_, first) = holder(&keyward, &application, &burst);
    let (_, second) = holder(&keyward, &application, &json!([]));
    to_a_minute(&keyward);
    let reply = keyward.send(authorize(&first, "?cost=3")).expect(204);
    let policy = limits_of(reply.field("ratelimit-policy").unwrap());
    assert_eq!((policy["burst"]["q"], policy["burst"]["w"]), (3, 60));
    assert_eq!((policy["shared.daily"]["q"], policy["shared.daily"]["w"]), (5, 86_400));
    let limit = limits_of(reply.field("ratelimit").unwrap());
    assert_eq!((limit["burst"]["r"], limit["shared.daily"]["r"]), (0, 2));
    assert!((1..=60).contains(&limit["burst"]["t"]));

    let refused = keyward.send(authorize(&first, "")).expect(429);
    assert_eq!(refused.field("keyward-code"), Some("RATE_LIMITED"));
    assert_eq!(refused.field("content-type"), Some("application/problem+json"));
    let problem = refused.json();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["violated-policies"], json!(["burst"]));
    // Another key of the application shares what is left.
    keyward.send(authorize(&second, "?cost=2")).expect(204);
    let check = Request::post("/v1/keys/verify", &json!({ "token": second }));
    let told = keyward.as_root(check).expect(200).json();
    assert_eq!((&told["valid"], &told["code"]), (&json!(false), &json!("USAGE_EXCEEDED")));
    assert_eq!(told["limits"][0]["name"], "shared.daily");
    keyward.advance_ms(24 * 3_600_000);
    let told = keyward.as_root(Request::post("/v1/keys/verify", &json!({ "token": second, "cost": 4 })));
    assert_eq!(told.expect(200).json()["limits"][0]["remaining"], 1);
}

#[test]
fn a_limit_holds_for_all_versions_of_a_key_and_its_counters_are_forgotten() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let holder = keyward.holder(&application, &["orders:read"]);
    let change = json!({ "limits": [{ "name": "hour", "limit": 2, "window_s": 3600 }] });
    keyward.as_root(Request::patch(&format!("/v1/keys/{}", holder.id), &change)).expect(200);
    let newer = keyward.claim(&keyward.rotate(&holder.id, &json!({ "reason": "planned" }))).token;
    keyward.as_root(Request::post("/v1/maintenance/run", &json!({}))).expect(200);
    keyward.advance_ms(3_600_000 - keyward.now_ms() % 3_600_000);
    for (token, status) in [(&holder.token, 204), (&newer, 204), (&holder.token, 429), (&newer, 429)] {
        keyward.send(authorize(token, "")).expect(status);
    }
    // What instances noted is written a little later.
    std::thread::sleep(Duration::from_secs(1));
    let names = || keyward.store_keys("u:limit:").len() + keyward.store_keys("u:ended:").len();
    assert_eq!(names(), 3, "a counter, the tickets of an hour and a note");
    keyward.advance_ms(3 * 3_600_000);
    keyward.as_root(Request::post("/v1/maintenance/run", &json!({}))).expect(200);
    assert_eq!(names(), 0);
}
