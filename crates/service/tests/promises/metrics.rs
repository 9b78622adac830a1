//! What a monitoring system scrapes says how Keyward is, in series that do not grow with what Keyward holds. That the text is what
//! Prometheus reads is seen by its own parser, end to end.

use crate::usage::{keep, keep_batch, ticket};
use crate::world::{Do, World, new_key};
use keyward_domain::Code;
use keyward_domain::event::{Action, Target};
use keyward_domain::usage::Durations;
use keyward_records::UsageBatch;
use keyward_service::Attempt;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

async fn scrape_as(world: &World, token: &str) -> keyward_domain::Result<String> {
    let attempt = Attempt::to_read(world.caller(token).await, Action::MetricsRead, Target::default());
    world.service().metrics(&attempt, &world.kv).await
}

/// The samples by name and labels, as they are written. Fails where a line is neither a sample nor told of beforehand.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let (mut families, mut samples) = (BTreeSet::new(), BTreeMap::new());
    assert!(text.ends_with('\n'));
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, said) = help.split_once(' ').expect("a help");
            let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE ")).expect("a type after it");
            let (typed, kind) = kind.split_once(' ').expect("a type");
            assert_eq!(name, typed);
            assert!(said.ends_with('.') && !said.contains('\\'), "{said}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(families.insert(name.to_owned()), "{name} twice");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a sample");
        let bare = name.split('{').next().unwrap();
        let of_histogram = ["_bucket", "_sum", "_count"].iter().filter_map(|part| bare.strip_suffix(part));
        let mut known = of_histogram.chain([bare]);
        assert!(known.any(|name| families.contains(name)), "{name} is of no family");
        assert!(samples.insert(name.to_owned(), value.parse().expect("a number")).is_none(), "{name} twice");
    }
    samples
}

async fn scrape(world: &World) -> BTreeMap<String, f64> {
    samples(&scrape_as(world, &world.root).await.expect("metrics"))
}

#[tokio::test(start_paused = true)]
async fn metrics_say_how_use_log_and_work_stand() {
    let world = World::new(980).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let first = scrape(&world).await;
    assert_eq!(first["keyward_validations_total{outcome=\"VALID\"}"], 0.0);
    assert!(!first.contains_key("keyward_maintenance_timestamp_seconds"), "there was none yet");
    assert!(first["keyward_audit_log_lag"] > 0.0);

    let used = ticket(&world).await;
    keep(&world, used, held.id, 1, 12);
    let slow = ticket(&world).await;
    let mut reads = Durations::default();
    [90, 400, 2_000_000].into_iter().for_each(|took_us| reads.note(took_us));
    keep_batch(&world, &UsageBatch { ticket: slow, counts: Vec::new(), refusals: Vec::new(), reads });
    ticket(&world).await;
    let waiting = scrape(&world).await;
    assert_eq!(waiting["keyward_usage_batches_waiting"], 3.0);
    let now = world.service().fold_use(&world.kv).await;
    assert_eq!(now.expect("folded"), 2);
    tokio::time::advance(Duration::from_secs(61)).await;
    world.service().fold_use(&world.kv).await.expect("folded");
    world.service().maintain().await.expect("a run");

    let text = scrape_as(&world, &world.root).await.expect("metrics");
    println!("{text}");
    let after = samples(&text);
    for (name, expected) in [
        ("keyward_validations_total{outcome=\"VALID\"}", 12.0),
        ("keyward_validations_total{outcome=\"INSUFFICIENT_SCOPE\"}", 1.0),
        ("keyward_usage_batches_total{result=\"folded\"}", 2.0),
        ("keyward_usage_batches_total{result=\"missing\"}", 1.0),
        ("keyward_usage_batches_waiting", 0.0),
        ("keyward_validation_store_read_duration_seconds_bucket{le=\"0.0001\"}", 1.0),
        ("keyward_validation_store_read_duration_seconds_bucket{le=\"0.0005\"}", 2.0),
        ("keyward_validation_store_read_duration_seconds_bucket{le=\"1\"}", 2.0),
        ("keyward_validation_store_read_duration_seconds_bucket{le=\"+Inf\"}", 3.0),
        ("keyward_validation_store_read_duration_seconds_sum", 2.00049),
        ("keyward_validation_store_read_duration_seconds_count", 3.0),
        ("keyward_audit_log_lag", 0.0),
        ("keyward_delivery_circuits_open", 0.0),
    ] {
        assert_eq!(after[name], expected, "{name}");
    }
    assert!(after["keyward_audit_log_size"] > 2.0);
    let ran_at = after["keyward_maintenance_timestamp_seconds"];
    assert!(ran_at >= after["keyward_due_timestamp_seconds"], "{ran_at}");
}

#[tokio::test(start_paused = true)]
async fn series_do_not_grow_with_keys_and_only_whoever_may_see_all_reads_them() {
    let world = World::new(981).await;
    let few = scrape(&world).await;
    for number in 0..20 {
        let app = world.application(&format!("app {number}")).await;
        let held = world.held(&new_key(app, "k")).await;
        let used = ticket(&world).await;
        keep(&world, used, held.id, 1, 1);
    }
    world.service().fold_use(&world.kv).await.expect("folded");
    let many = scrape(&world).await;
    let of_time = ["keyward_usage_folded_timestamp_seconds"];
    let names = |samples: &BTreeMap<String, f64>| {
        samples.keys().filter(|name| !of_time.contains(&name.as_str())).cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(&few), names(&many));
    let scraper = world.admin(&["metrics:read".to_owned()]).await;
    assert!(scrape_as(&world, &scraper.token).await.is_ok());
    assert!(world.run_as(&scraper.token, &Do::ListApplications).await.is_err(), "that and nothing else");
    let app = world.application("one").await;
    let narrowed = world.admin(&[format!("metrics:read@{app}")]).await;
    let refused = scrape_as(&world, &narrowed.token).await.expect_err("sums of all are nobody's part");
    assert_eq!(refused.code, Code::InsufficientScope);
}
