//! Killed at any moment and started again, Keyward has lost nothing that it acknowledged, and its log has no hole that it does not
//! explain.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use keyward_e2e::admin::{Holder, Issued, claim, new_key, revoke};
use keyward_e2e::{Connection, Keyward, Request, Setup, Value, json};

use crate::patience::with_time;

const KILLS: usize = 10;
const WRITERS: usize = 4;
/// By then something was acknowledged.
const FIRST_WITHIN: Duration = Duration::from_secs(10);

/// What was acknowledged before the kill.
#[derive(Default)]
struct Acknowledged {
    issued: Vec<Issued>,
    claimed: Vec<Holder>,
    revoked: Vec<Holder>,
    events: Vec<String>,
}

#[test]
fn on_sqlite() {
    survives(Keyward::start());
}

#[test]
fn on_redis() {
    survives(Setup::new().on_redis().start());
}

fn survives(mut keyward: Keyward) {
    let application = keyward.application("orders");
    let acknowledged = Mutex::new(Acknowledged::default());
    for round in 0..KILLS {
        // Spread over the time that a write takes, so that the kill meets each of its steps sooner or later.
        let alive_for = Duration::from_millis(150 + 37 * u64::try_from(round).unwrap());
        let before = acknowledged.lock().unwrap().events.len();
        std::thread::scope(|scope| {
            let (keyward, acknowledged, application) = (&keyward, &acknowledged, application.as_str());
            for _ in 0..WRITERS {
                scope.spawn(move || write_until_cut(keyward, acknowledged, application));
            }
            scope.spawn(move || {
                // A machine that has other things to do takes its time to acknowledge the first.
                let begun = Instant::now();
                while acknowledged.lock().unwrap().events.len() == before && begun.elapsed() < FIRST_WITHIN {
                    std::thread::sleep(Duration::from_millis(1));
                }
                std::thread::sleep(alive_for);
                keyward.kill();
            });
        });
        if let Some(redis) = keyward.redis_mut().filter(|_| round % 2 == 1) {
            // Every other time the store dies, too: what it acknowledged is on its disk.
            redis.restart();
        }
        keyward.restart_after_end();
        let acknowledged = acknowledged.lock().unwrap();
        assert!(acknowledged.events.len() > before, "round {round}: there was something to lose");
        // At once, before anything could be mended.
        for holder in acknowledged.revoked.iter().rev().take(20) {
            assert_eq!(keyward.authorizes(&holder.token), 401, "round {round}: an acknowledged revocation");
        }
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    let dead: Vec<&str> = acknowledged.revoked.iter().map(|holder| holder.id.as_str()).collect();
    for holder in &acknowledged.claimed {
        let expected = if dead.contains(&holder.id.as_str()) { 401 } else { 204 };
        let status = keyward.authorizes(&holder.token);
        // A revocation that was cut off before its acknowledgement may have been written or not.
        assert!(status == expected || (expected == 204 && is_revoked(&keyward, &holder.id)), "{status}");
    }
    let listed = keyward.list(&format!("/v1/keys?limit=100&application={application}"));
    let ids: Vec<&str> = listed.iter().map(|key| key["id"].as_str().unwrap()).collect();
    for issued in &acknowledged.issued {
        assert!(ids.contains(&issued.id.as_str()), "an acknowledged key is listed");
    }
    keyward.settle_log();
    let holes = keyward.holes();
    assert_eq!((&holes.unexplained, &holes.contradicted), (&Vec::new(), &Vec::new()), "{holes:?}");
    let events = keyward.events("");
    assert_eq!(
        events.len() + holes.voids.len(),
        usize::try_from(holes.last).unwrap(),
        "every event can be read"
    );
    let told: Vec<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    for event in &acknowledged.events {
        assert!(told.contains(&event.as_str()), "{event} was acknowledged");
    }
}

fn is_revoked(keyward: &Keyward, id: &str) -> bool {
    keyward.as_root(Request::get(&format!("/v1/keys/{id}"))).expect(200).json()["state"] == "revoked"
}

/// Issues, claims and revokes until the connection is cut.
fn write_until_cut(keyward: &Keyward, acknowledged: &Mutex<Acknowledged>, application: &str) {
    let mut connection = Connection::open(keyward.address());
    let mut ask = |request: Request| connection.try_exchange(&request);
    let root = keyward.root();
    loop {
        let Some(reply) = ask(Request::post("/v1/keys", &new_key(application, &["a:b"])).bearer(root)) else {
            return;
        };
        let issued = Issued::of(&reply.clone().expect(201));
        {
            let mut acknowledged = acknowledged.lock().unwrap();
            acknowledged.events.push(reply.text_at("/event"));
            acknowledged.issued.push(issued.clone());
        }
        let Some(reply) = ask(claim(&issued.ticket)) else { return };
        let holder = Holder::of(&reply.clone().expect(200));
        {
            let mut acknowledged = acknowledged.lock().unwrap();
            acknowledged.events.push(reply.text_at("/event"));
            acknowledged.claimed.push(holder.clone());
        }
        let Some(reply) = ask(revoke(&holder.id).bearer(root)) else { return };
        {
            let mut acknowledged = acknowledged.lock().unwrap();
            acknowledged.events.push(reply.expect(200).text_at("/event"));
            acknowledged.revoked.push(holder);
        }
    }
}

/// How a request ended that met its death at one of its writes.
struct Met {
    what: String,
    died: bool,
}

/// Plans a death at the `nth` write of this kind and sends the request into it.
fn meets(keyward: &mut Keyward, fault: &Value, request: &Request) -> Met {
    keyward.plan_faults(&json!([fault]));
    let died = keyward.connect().try_exchange(request).is_none();
    if died {
        keyward.restart_after_end();
    } else {
        keyward.withdraw_faults();
    }
    Met { what: format!("{} at {fault}", request.line()), died }
}

#[test]
fn at_each_write_of_each_deed() {
    let mut keyward = Keyward::start();
    let application = keyward.application("orders");
    let mut faults = Vec::new();
    for when in ["before", "after"] {
        for nth in 1..=3 {
            faults.push(json!({ "op": "increment", "component": "issuance", "nth": nth, "effect": "kill", "when": when }));
        }
        faults.push(json!({ "op": "set_many", "effect": "kill", "when": when }));
    }
    let mut deaths = 0;
    for fault in &faults {
        let written = fault["op"] == "set_many" && fault["when"] == "after";
        // Claiming: whoever died on the way has no token, and nobody else can have two.
        let open = keyward.issue(&application, &["a:b"]);
        let met = meets(&mut keyward, fault, &claim(&open.ticket));
        deaths += usize::from(met.died);
        let reissued = with_time(&keyward, || {
            keyward.as_root(Request::post(&format!("/v1/keys/{}/claims", open.id), &json!({})))
        });
        let versions = |keyward: &Keyward| {
            let shown = keyward.as_root(Request::get(&format!("/v1/keys/{}", open.id))).expect(200).json();
            shown["versions"].as_array().unwrap().len()
        };
        if met.died && !written {
            let next = Issued::of(&reissued.expect(201));
            let holder = keyward.claim(&next);
            assert_eq!(keyward.authorizes(&holder.token), 204, "{}", met.what);
        } else {
            reissued.expect(409);
        }
        assert_eq!(versions(&keyward), 1, "{}: one secret", met.what);

        // Issuing with an Idempotency-Key: repeated, it is one key.
        let request = Request::post("/v1/keys", &new_key(&application, &["a:b"]))
            .bearer(keyward.root())
            .field("idempotency-key", fault.to_string().replace(' ', ""));
        let before = keyward.list(&format!("/v1/keys?application={application}")).len();
        let met = meets(&mut keyward, fault, &request);
        deaths += usize::from(met.died);
        let again = keyward.send_until_ended(&request).expect(201);
        let is_replayed = again.field("idempotency-replayed").is_some();
        assert_eq!(is_replayed, !met.died || written, "{}", met.what);
        let after = keyward.list(&format!("/v1/keys?application={application}")).len();
        assert_eq!(after, before + 1, "{}: one key", met.what);

        // Revoking: repeated, it is one death.
        let holder = keyward.claim(&Issued::of(&again));
        let mut fault = fault.clone();
        fault["component"] = "revocation".into();
        let request = revoke(&holder.id).bearer(keyward.root());
        let met = meets(&mut keyward, &fault, &request);
        deaths += usize::from(met.died);
        let expected = if !met.died || written { 401 } else { 204 };
        assert_eq!(keyward.authorizes(&holder.token), expected, "{}", met.what);
        keyward.as_root(revoke(&holder.id)).expect(200);
        assert_eq!(keyward.authorizes(&holder.token), 401, "{}", met.what);
        assert_eq!(keyward.events(&format!("key={}&action=key.revoke", holder.id)).len(), 1, "{}", met.what);
    }
    assert!(deaths >= 18, "{deaths} deaths were met");
    keyward.settle_log();
    let holes = keyward.holes();
    assert_eq!((holes.unexplained, holes.contradicted), (Vec::new(), Vec::new()));
}

#[test]
fn a_crash_between_ticket_and_batch_becomes_a_void() {
    let mut keyward = Keyward::start();
    let application = keyward.application("orders");
    let known = keyward.holder(&application, &["a:b"]);
    for when in ["before", "after"] {
        let before = keyward.holes();
        keyward.plan_faults(&json!([{ "op": "set_many", "effect": "kill", "when": when }]));
        let request = Request::post("/v1/keys", &new_key(&application, &["a:b"])).bearer(keyward.root());
        assert!(keyward.connect().try_exchange(&request).is_none(), "it died before it could answer");
        keyward.restart_after_end();
        let after = keyward.holes();
        assert_eq!(after.last, before.last + 1, "{when}: a ticket was taken");
        let gap: &[u64] = if when == "before" { &[after.last] } else { &[] };
        assert_eq!(after.unexplained, gap, "{when}");

        // Others go on beside the young gap and are seen; then the gap is old, and a void says so.
        let next = keyward.holder(&application, &["a:b"]);
        assert_eq!(keyward.events(&format!("key={}", next.id)).len(), 2, "{when}");
        keyward.settle_log();
        let settled = keyward.holes();
        let voids = before.voids.iter().chain(gap).copied().collect::<Vec<_>>();
        assert_eq!((settled.voids, settled.unexplained), (voids, Vec::new()), "{when}");
        assert_eq!((keyward.authorizes(&known.token), keyward.authorizes(&next.token)), (204, 204));
    }
    let listed = keyward.list(&format!("/v1/keys?application={application}"));
    assert_eq!(listed.len(), 4, "the key whose batch was written is there, the other is not");
}
