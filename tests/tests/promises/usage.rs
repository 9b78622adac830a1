//! Use is counted after the answer, by key, version, hour and outcome, and shown; the latest refusals are told; and all of it costs the
//! hot path one increment and one write for each batch, and keeps no address.

use keyward_e2e::admin::authorize;
use keyward_e2e::{Keyward, Reply, Request, Value, eventually, json};

/// How long an instance waits before it keeps what it counted, in milliseconds, and a little.
const FLUSH_MS: u64 = 500;

fn usage(keyward: &Keyward, key: &str, query: &str) -> Value {
    keyward.as_root(Request::get(&format!("/v1/keys/{key}/usage{query}"))).expect(200).json()
}

/// Until what was counted is kept and folded: `done` looks at the key's use.
fn once_folded(keyward: &Keyward, key: &str, done: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    eventually("the use that was counted", || {
        keyward.advance_ms(FLUSH_MS);
        last = usage(keyward, key, "");
        done(&last)
    });
    last
}

#[test]
fn use_is_shown_by_the_hour_and_by_what_it_came_to() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let holder = keyward.holder(&application, &["orders:read"]);
    for _ in 0..3 {
        keyward.send(authorize(&holder.token, "?scope=orders:read")).expect(204);
    }
    for _ in 0..2 {
        keyward.send(authorize(&holder.token, "?scope=orders:write")).expect(403);
    }
    let asked = json!({ "token": holder.token, "scopes": [], "client_ip": "2001:db8::1" });
    keyward.as_root(Request::post("/v1/keys/verify", &asked)).expect(200);
    let expected = json!({ "VALID": 4, "INSUFFICIENT_SCOPE": 2 });
    let shown = once_folded(&keyward, &holder.id, |shown| shown["outcomes"] == expected);
    assert_eq!(shown["versions"][0]["version"], 1);
    assert_eq!(shown["addresses"], 2, "loopback, and the one that was named");
    let buckets = shown["buckets"].as_array().unwrap();
    assert_eq!(buckets.len(), 24);
    let sum = |name: &str| buckets.iter().filter_map(|bucket| bucket["outcomes"][name].as_u64()).sum::<u64>();
    assert_eq!((sum("VALID"), sum("INSUFFICIENT_SCOPE")), (4, 2));
    let by_day = usage(&keyward, &holder.id, "?by=day");
    assert_eq!((&by_day["outcomes"], by_day["buckets"].as_array().map(Vec::len)), (&expected, Some(30)));
    let key = keyward.as_root(Request::get(&format!("/v1/keys/{}", holder.id))).expect(200).json();
    assert_eq!(key["versions"][0]["last_used_at"], shown["last_used_at"]);
    for bad in
        ["?by=week", "?from=yesterday", "?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z", "?form=x"]
    {
        let refused =
            keyward.as_root(Request::get(&format!("/v1/keys/{}/usage{bad}", holder.id))).expect(400);
        assert_eq!(refused.json()["code"], "invalid-parameter", "{bad}");
    }
}

#[test]
fn a_batch_costs_one_increment_and_one_write_and_nothing_else_is_written() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let holder = keyward.holder(&application, &["orders:read"]);
    let by_validation = |keyward: &Keyward| {
        let calls = keyward.calls().into_iter().filter(|call| call.component == "validation");
        calls.filter(|call| call.op != "get").collect::<Vec<_>>()
    };
    keyward.reset_calls();
    for _ in 0..50 {
        assert_eq!(keyward.authorizes(&holder.token), 204);
    }
    eventually("a batch", || {
        keyward.advance_ms(FLUSH_MS);
        by_validation(&keyward).iter().any(|call| call.op != "increment")
    });
    let calls = by_validation(&keyward);
    let tickets = calls.iter().filter(|call| call.keys == ["u:tickets"]).count();
    let batches = calls.iter().filter(|call| call.op == "set").count();
    assert_eq!(tickets, batches);
    assert_eq!(tickets + batches, calls.len());
    assert!(calls.iter().flat_map(|call| &call.keys).all(|key| key.starts_with("u:")));
}

#[test]
fn refusals_are_told_as_they_come_without_address_or_token() {
    let keyward = Keyward::start();
    let (application, other) = (keyward.application("orders"), keyward.application("other"));
    let holder = keyward.holder(&application, &["orders:read"]);
    let feed = |query: &str, tag: Option<&str>| -> Reply {
        let request = Request::get(&format!("/v1/activity/refusals{query}"));
        keyward.as_root(tag.into_iter().fold(request, |request, tag| request.field("if-none-match", tag)))
    };
    let first = feed("", None).expect(200);
    assert_eq!(first.json()["items"], json!([]));
    let tag = first.field("etag").expect("a tag").to_owned();
    feed("", Some(&tag)).expect(304);

    for _ in 0..3 {
        keyward.send(authorize(&holder.token, "?scope=orders:write")).expect(403);
    }
    keyward.send(authorize(&holder.token, "?environment=test")).expect(403);
    let mut told = Value::Null;
    eventually("four refusals", || {
        keyward.advance_ms(FLUSH_MS);
        let reply = feed("", None).expect(200);
        assert!(!reply.text().contains("127.0.0.1") && !reply.text().contains(&holder.token));
        told = reply.json()["items"].clone();
        let counts = told.as_array().unwrap().iter().filter_map(|item| item["count"].as_u64());
        counts.sum::<u64>() == 4
    });
    let of = |code: &str| told.as_array().unwrap().iter().find(|item| item["code"] == code).unwrap().clone();
    assert_eq!(of("INSUFFICIENT_SCOPE")["missing_scope"], "orders:write");
    assert_eq!(of("FORBIDDEN")["missing_scope"], Value::Null);
    assert_eq!((&of("FORBIDDEN")["key"], &of("FORBIDDEN")["version"]), (&json!(holder.id), &json!(1)));
    assert_eq!(feed("", Some(&tag)).expect(200).json()["items"], told, "it is another than was seen");
    assert_eq!(feed(&format!("?application={other}"), None).expect(200).json()["items"], json!([]));
    feed("?wait_s=31", None).expect(400);
}
