//! What is no token costs no read, and a flood of wrong credentials leaves neither an event nor a counter for each.

use keyward_domain::token;
use keyward_e2e::admin::authorize;
use keyward_e2e::load::{CONNECTIONS, on_connections};
use keyward_e2e::{Keyward, Request, eventually};

use crate::tokens::{mistyped, unknown};

/// How many wrong credentials each connection presents at each face.
const FLOOD_EACH: usize = 100;

#[test]
fn a_mistyped_token_is_refused_before_any_read() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let holder = keyward.holder(&application, &["orders:read"]);
    let cases = [
        mistyped(&holder.token),
        holder.token.replacen("kw_live", "kw_test", 1),
        holder.token[..holder.token.len() - 1].to_owned(),
        "hunter2".to_owned(),
        String::new(),
    ];
    keyward.reset_calls();
    for wrong in &cases {
        let refused = keyward.send(authorize(wrong, "")).expect(401);
        assert_eq!(refused.field("keyward-code"), Some("NOT_FOUND"));
        keyward.send(Request::get("/v1/keys").bearer(wrong)).expect(401);
    }
    let calls = keyward.calls();
    let reads: Vec<_> = calls.iter().filter(|call| call.op == "get").collect();
    assert!(reads.is_empty(), "{reads:?}");
    assert_eq!(keyward.authorizes(&holder.token), 204);
    assert!(keyward.calls().iter().any(|call| call.op == "get"), "calls are counted at all");
}

#[test]
fn a_flood_leaves_no_event_and_no_counter_each() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let holder = keyward.holder(&application, &["orders:read"]);
    let events = keyward.store_keys("e:").len();
    // Counters are what is left beside events; the holder's own use is none of the flood's.
    let counters = |keyward: &Keyward| {
        let kept = ["c:", "u:", "y:", "k:", "m:", "q:"];
        kept.iter().map(|prefix| keyward.store_keys(prefix).len()).sum::<usize>()
    };
    let counted = counters(&keyward);

    keyward.reset_calls();
    let at_gateway = on_connections(keyward.address(), CONNECTIONS, |number, connection| {
        for n in 0..FLOOD_EACH {
            let wrong = match n % 3 {
                0 => unknown(number * FLOOD_EACH + n),
                1 => mistyped(&holder.token),
                _ => token_like(&holder.token, n),
            };
            assert_eq!(connection.exchange(&authorize(&wrong, "")).status, 401);
        }
    });
    assert_eq!(at_gateway.len(), CONNECTIONS);
    let writes = |keyward: &Keyward| keyward.calls().iter().filter(|call| call.op != "get").count();
    assert_eq!(writes(&keyward), 0, "refusals at the gateway's face are not even counted");

    on_connections(keyward.address(), CONNECTIONS, |number, connection| {
        for n in 0..FLOOD_EACH {
            let request = Request::get("/v1/keys").bearer(&unknown(number * FLOOD_EACH + n));
            // After some of one source it is told to wait.
            let status = connection.exchange(&request).status;
            assert!(matches!(status, 401 | 429), "{status}");
        }
    });
    let anonymous = |action: &str| {
        let events = keyward.events(&format!("action={action}"));
        assert!(events.iter().all(|event| event["actor"]["kind"] == "anonymous"));
        events.len()
    };
    eventually("the event of the flood", || anonymous("admin.refuse") > 0);
    eventually("the alarm of the flood", || anonymous("admin.lock-out") > 0);
    // One of each per minute, and the flood may have seen a minute end.
    let minutes = anonymous("admin.refuse");
    let alarms = anonymous("admin.lock-out");
    assert!(minutes <= 2 && alarms <= minutes, "{minutes} events and {alarms} alarms of one source");
    assert_eq!(keyward.store_keys("e:").len(), events + minutes + alarms, "and no other event");
    let integrators = keyward.store_keys("c:tree:").len();
    let left = counters(&keyward) - counted;
    assert!(left <= minutes + integrators, "{left} counters, of which {integrators} are the integrator's");
    let increments =
        keyward.calls().iter().filter(|call| call.keys.iter().any(|key| key.starts_with("c:anon"))).count();
    assert!(increments <= CONNECTIONS * FLOOD_EACH / 10, "{increments} increments");
}

/// The holder's id and version with a secret of its own.
fn token_like(text: &str, n: usize) -> String {
    let parsed = token::parse(text).ok().unwrap();
    let mut secret = [3; 32];
    secret[..8].copy_from_slice(&n.to_be_bytes());
    token::render(parsed.prefix, parsed.environment, &parsed.id, parsed.version, &secret)
}
