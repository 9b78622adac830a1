//! A writer that stalls with a ticket in its hand holds nobody up for long: revocations wait for nobody, edits step over it, other
//! records do not notice; and what it writes when it wakes up un-revokes nothing.

use keyward_e2e::admin::{authorize, hex_of, revoke};
use keyward_e2e::{Connection, Keyward, Reply, Request, Value, eventually, json};

use crate::patience::with_time;

fn rename(keyward: &Keyward, id: &str, name: &str) -> Request {
    Request::patch(&format!("/v1/keys/{id}"), &json!({ "name": name })).bearer(keyward.root())
}

/// An edit of a fresh key stalls under `fault`; `meanwhile` happens, then the key is revoked, then the edit wakes up.
fn stalls(keyward: &Keyward, mut fault: Value, meanwhile: impl FnOnce(&str)) -> (String, Reply) {
    let application = keyward.application(&format!("application {fault}"));
    let key = keyward.holder(&application, &["a:b"]);
    fault["key"] = format!("m:{}", hex_of(&key.id)).into();
    fault["component"] = "issuance".into();
    fault["effect"] = "stall".into();
    fault["count"] = 1.into();
    let nth = fault["nth"].as_u64().unwrap();
    keyward.plan_faults(&json!([fault]));
    let woken = std::thread::scope(|scope| {
        let edit = rename(keyward, &key.id, "by the one that slept");
        let sleeper = scope.spawn(move || Connection::open(keyward.address()).exchange(&edit));
        eventually("the stall", || keyward.faults_matched() == [nth]);

        assert_eq!(keyward.authorizes(&key.token), 204, "validation does not notice");
        meanwhile(&key.id);
        keyward.as_root(revoke(&key.id)).expect(200);
        assert_eq!(keyward.authorizes(&key.token), 401, "ending it waits for nobody");
        keyward.withdraw_faults();
        sleeper.join().unwrap()
    });
    for query in ["", "?scope=a:b"] {
        let refused = keyward.send(authorize(&key.token, query)).expect(401);
        assert_eq!(refused.field("keyward-code"), Some("REVOKED"));
    }
    let shown = keyward.as_root(Request::get(&format!("/v1/keys/{}", key.id))).expect(200);
    assert_eq!(shown.text_at("/state"), "revoked");
    keyward.settle_log();
    assert!(keyward.holes().unexplained.is_empty(), "{:?}", keyward.holes());
    (shown.text_at("/name"), woken)
}

#[test]
fn a_batch_that_lands_after_a_revocation_un_revokes_nothing() {
    let keyward = Keyward::start();
    let (name, woken) = stalls(&keyward, json!({ "op": "set_many", "nth": 1 }), |_| {});
    assert_eq!((name.as_str(), woken.status), ("by the one that slept", 200), "the edit itself was honest");
}

#[test]
fn the_next_one_steps_over_a_silent_one() {
    let keyward = Keyward::start();
    // Its second read of the record is the one that follows its ticket.
    let (name, woken) = stalls(&keyward, json!({ "op": "get", "nth": 2 }), |id| {
        let started_ms = keyward.now_ms();
        let next = with_time(&keyward, || keyward.send(rename(&keyward, id, "by the one that came next")));
        assert_eq!(next.expect(200).text_at("/name"), "by the one that came next");
        let waited_ms = keyward.now_ms() - started_ms;
        assert!((5_000..15_000).contains(&waited_ms), "it waited {waited_ms} ms");
    });
    assert_eq!(name, "by the one that came next", "whoever slept for so long loses its edit");
    assert!(matches!(woken.status, 409 | 503), "and is told so: {} {}", woken.status, woken.text());
}
