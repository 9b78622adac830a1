//! What is scraped is what Prometheus reads, by its own parser; it says how Keyward is, and its series do not grow with what there is.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use keyward_e2e::{Keyward, Request, Value, eventually, programs};

/// What Prometheus' own parser makes of a scrape: families by name.
fn scrape(keyward: &Keyward) -> BTreeMap<String, Value> {
    let reply = keyward.as_root(Request::get("/metrics")).expect(200);
    assert_eq!(reply.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut python = Command::new(programs::installed("python"));
    python.arg(programs::root().join("tests/python/read_metrics.py"));
    let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&reply.body).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "`cargo xtask test --only tools` installs prometheus_client");
    let families: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    families.into_iter().map(|family| (family["name"].as_str().unwrap().to_owned(), family)).collect()
}

/// The value of a sample.
fn value(families: &BTreeMap<String, Value>, family: &str, labels: &Value) -> f64 {
    let samples = families[family]["samples"].as_array().unwrap();
    let sample = samples.iter().find(|sample| sample["labels"] == *labels);
    sample.unwrap_or_else(|| panic!("{family} {labels}"))["value"].as_f64().unwrap()
}

fn series(families: &BTreeMap<String, Value>) -> usize {
    families.values().map(|family| family["samples"].as_array().unwrap().len()).sum()
}

#[test]
fn prometheus_reads_what_is_scraped_and_series_do_not_grow() {
    let keyward = Keyward::start();
    assert!(keyward.tick());
    let before = scrape(&keyward);
    let application = keyward.application("orders");
    for _ in 0..5 {
        let holder = keyward.holder(&application, &["orders:read"]);
        assert_eq!(keyward.authorizes(&holder.token), 204);
    }
    keyward.webhook(&application);
    let outcome = |name: &str| keyward_e2e::json!({ "outcome": name });
    let mut after = BTreeMap::new();
    eventually("five validations", || {
        keyward.advance_ms(1_000);
        assert!(keyward.tick());
        after = scrape(&keyward);
        value(&after, "keyward_validations", &outcome("VALID")) >= 5.0
    });
    assert_eq!(value(&after, "keyward_validations", &outcome("EXPIRED")), 0.0);
    assert_eq!(after["keyward_validations"]["type"], "counter");
    let reads = &after["keyward_validation_store_read_duration_seconds"];
    assert_eq!(reads["type"], "histogram");
    let count = reads["samples"]
        .as_array()
        .unwrap()
        .iter()
        .find(|sample| sample["name"].as_str().is_some_and(|name| name.ends_with("_count")));
    assert!(count.unwrap()["value"].as_f64().unwrap() >= 1.0, "the first of an instance is timed");
    let nothing = keyward_e2e::json!({});
    assert_eq!(value(&after, "keyward_audit_log_lag", &nothing), 0.0, "the tick integrates");
    assert!(
        value(&after, "keyward_audit_log_size", &nothing)
            > value(&before, "keyward_audit_log_size", &nothing)
    );
    assert!(value(&after, "keyward_maintenance_timestamp_seconds", &nothing) > 0.0);
    assert_eq!(series(&before), series(&after), "whatever there is");
    for family in after.values() {
        assert!(!family["help"].as_str().unwrap().is_empty(), "{family}");
    }
}

#[test]
fn a_scraper_needs_one_scope_and_sees_nothing_else() {
    let keyward = Keyward::start();
    let scraper = keyward.admin("prometheus", &["metrics:read"]);
    keyward.send(Request::get("/metrics").bearer(&scraper.token)).expect(200);
    keyward.send(Request::get("/v1/applications").bearer(&scraper.token)).expect(403);
    keyward.send(Request::get("/metrics")).expect(401);
    keyward.as_root(Request::get("/metrics?name=x")).expect(400);
    let narrowed = keyward.admin("narrowed", &[&format!("metrics:read@{}", keyward.application("orders"))]);
    keyward.send(Request::get("/metrics").bearer(&narrowed.token)).expect(403);
}
