//! Ten thousand bad requests over sixteen connections bring nothing down: no 500, no trap, and whoever asks rightly meanwhile is
//! answered rightly.

use std::sync::atomic::{AtomicBool, Ordering};

use keyward_e2e::admin::authorize;
use keyward_e2e::load::{CONNECTIONS, on_connections};
use keyward_e2e::{Connection, Keyward, Request, json};

use crate::tokens::{mistyped, unknown, wrong_secret};

const BAD_EACH: usize = 10_000 / CONNECTIONS;

#[test]
fn valid_ones_are_still_answered() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let holder = keyward.holder(&application, &["orders:read"]);
    let (token, root) = (holder.token.as_str(), keyward.root());
    let raw = |target: &str, body: &[u8]| {
        Request::new("POST", target).field("content-type", "application/json").body(body)
    };
    let bad: Vec<Request> = vec![
        authorize(&mistyped(token), ""),
        authorize(&wrong_secret(token), ""),
        authorize(&unknown(1), "?scope=orders:read"),
        authorize(token, "?scope=ORDERS"),
        authorize(token, "?scope=orders:write"),
        authorize(token, "?environment=moon"),
        authorize(token, "?application=nobody"),
        authorize(token, "?scope=%zz"),
        authorize(token, "").field("x-api-key", token),
        Request::get(&format!("/v1/authorize?k={token}")),
        Request::get("/v1/authorize"),
        Request::new("DELETE", "/v1/keys"),
        Request::new("BREW", "/v1/applications"),
        Request::get("/v1/nowhere"),
        Request::get("/v1/keys/key_x").bearer(root),
        Request::get("/v1/applications?limit=0").bearer(root),
        Request::get("/v1/audit/events?cursor=!!").bearer(root),
        Request::get("/v1/audit/events/evt_9_9").bearer(root),
        Request::get("/v1/keys").bearer(&unknown(2)),
        raw("/v1/claims", b"{"),
        raw("/v1/claims", &[0xff; 100]),
        raw("/v1/claims", "[".repeat(5000).as_bytes()),
        raw("/v1/claims", b"{\"ticket\":\"kwc_live_x\"}"),
        raw("/v1/claims", &vec![b' '; 70_000]),
        raw("/v1/revocations", b"{\"token\":17}"),
        raw("/v1/revocations", format!("{{\"token\":\"{}\"}}", unknown(3)).as_bytes()),
        raw("/v1/keys/verify", b"{\"token\":\"\",\"token\":\"\"}").bearer(root),
        raw("/v1/keys/verify", b"").bearer(root),
        Request::new("POST", "/v1/claims").field("content-type", "text/plain").body("x"),
        Request::new("POST", "/v1/claims").field("content-length", "x"),
        Request::get("/v1/authorize").field("x-large", vec![b'a'; 30_000]),
        Request::get("/v1/authorize").field("authorization", b"Bearer \xc3\x28"),
    ];
    let over = AtomicBool::new(false);
    let (statuses, served) = std::thread::scope(|scope| {
        let honest = scope.spawn(|| {
            let mut connection = Connection::open(keyward.address());
            let mut served = 0;
            while !over.load(Ordering::Relaxed) {
                let reply = connection.exchange(&authorize(token, "?scope=orders:read"));
                assert_eq!(reply.status, 204, "{:?}", reply.fields);
                served += 1;
            }
            served
        });
        let statuses = on_connections(keyward.address(), CONNECTIONS, |number, connection| {
            let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
            for n in 0..BAD_EACH {
                let request = &bad[(number + n) % bad.len()];
                let reply = connection.try_exchange(request);
                let closes = reply.as_ref().is_none_or(|reply| {
                    reply.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
                });
                let status = reply.map_or(0, |reply| reply.status);
                assert!((400..500).contains(&status) || status == 0, "{}: {status}", request.line());
                *statuses.entry(status).or_default() += 1;
                if closes || status == 0 {
                    *connection = Connection::open(keyward.address());
                }
            }
            statuses
        });
        over.store(true, Ordering::Relaxed);
        (statuses, honest.join().unwrap())
    });
    let unanswered: usize = statuses.iter().filter_map(|counts| counts.get(&0)).sum();
    // Only a connection that was closed after another bad request may leave one without an answer.
    assert!(unanswered <= BAD_EACH * CONNECTIONS / bad.len(), "{statuses:?}");
    assert!(served > 100, "{served} valid requests were answered meanwhile");
    let log = keyward.log();
    for word in ["trap", "dropped", "panic", "\"level\":\"error\""] {
        assert!(!log.contains(word), "{log}");
    }
    // Nothing of it is left that an administrator would trip over.
    let made = keyward.as_root(Request::post("/v1/applications", &json!({ "name": "after" })));
    made.expect(201);
    keyward.settle_log();
    assert!(keyward.holes().unexplained.is_empty());
}
