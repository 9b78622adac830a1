//! What validators kept of use is told of each key and version, by the hour and the day and by outcome, counted once; what was lost is
//! counted too; and a key that nobody uses is told of where its policy says so.

use crate::world::{Do, World, new_key};
use keyward_domain::distinct::Distinct;
use keyward_domain::event::{Action, Target};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::refusal::RefusalCode;
use keyward_domain::usage::{Durations, Outcomes};
use keyward_domain::{ApplicationId, Code, KeyId, Timestamp};
use keyward_ledger::memory::Fault;
use keyward_records::{
    KvCount, Resolution, SealedUsage, UsageBatch, UsageCount, UsageRefusal, minute_of, names,
};
use keyward_service::{Attempt, BucketLength, RefusalFilter, UsageQuery};
use serde_json::{Value, json};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

pub async fn ticket(world: &World) -> u64 {
    world.kv.increment(names::usage::TICKETS, 1).await.unwrap().unsigned_abs()
}

/// What an instance counted of one version: requests that passed and one that did not, from as many addresses as said.
fn batch(world: &World, ticket: u64, key: KeyId, version: u16, accepted: u32, addresses: u64) -> UsageBatch {
    let mut count = UsageCount {
        key,
        version,
        hour: Resolution::Hour.bucket_of(world.clock.now()),
        outcomes: Outcomes::default(),
        addresses: Distinct::default(),
    };
    (0..accepted).for_each(|_| count.outcomes.note(None));
    count.outcomes.note(Some(RefusalCode::InsufficientScope));
    for address in 1..=addresses {
        count.addresses.note(address.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    UsageBatch { ticket, counts: vec![count], refusals: Vec::new(), reads: Durations::default() }
}

/// Keeps a batch as a validator does.
pub fn keep_batch(world: &World, batch: &UsageBatch) {
    let sealed = SealedUsage::new(&world.rings.records, batch, world.rng.bytes()).expect("sealed");
    world.kv.tamper(sealed.store_key(), Some(sealed.value().to_vec()));
}

pub fn keep(world: &World, ticket: u64, key: KeyId, version: u16, accepted: u32) {
    keep_batch(world, &batch(world, ticket, key, version, accepted, 3));
}

/// What an admin sees of a key's use.
async fn usage_as(
    world: &World,
    token: &str,
    key: KeyId,
    query: UsageQuery,
) -> keyward_domain::Result<Value> {
    let caller = world.caller(token).await;
    let attempt = Attempt::to_read(caller, Action::KeyRead, Target::key(Some(key)));
    let view = world.service().key_usage(&attempt, key, &query, &world.kv).await?;
    Ok(serde_json::to_value(&view).expect("JSON"))
}

async fn usage(world: &World, key: KeyId, query: UsageQuery) -> Value {
    usage_as(world, &world.root, key, query).await.expect("its use")
}

pub async fn fold(world: &World) -> u64 {
    world.service().fold_use(&world.kv).await.expect("folded")
}

#[tokio::test(start_paused = true)]
async fn each_version_says_when_it_was_used_last_and_no_batch_counts_twice() {
    let world = World::new(910).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    world.run(&Do::Renew(held.renewal)).await.expect("renewed");
    for version in [1, 1, 2] {
        let ticket = ticket(&world).await;
        keep(&world, ticket, held.id, version, 10);
        tokio::time::advance(HOUR).await;
    }
    let service = world.service();
    let (one, other) = futures::join!(service.fold_use(&world.kv), service.fold_use(&world.kv));
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(fold(&world).await, 0);
    let used = world.read().key_use(held.id).await.unwrap().expect("used");
    let counts: Vec<_> =
        used.versions.iter().map(|used| (used.version, used.accepted, used.refused)).collect();
    assert_eq!(counts, [(1, 20, 2), (2, 10, 1)]);
    let shown = world.run(&Do::ReadKey(held.id)).await.expect("read").json();
    for (index, version) in [1, 2].into_iter().enumerate() {
        let expected = used.last_used_at(version).expect("a time").to_string();
        assert_eq!(shown["versions"][index]["last_used_at"], expected);
    }
    assert!(used.last_used_at(1) < used.last_used_at(2));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_does_not_come_is_waited_for_a_minute() {
    let world = World::new(911).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let (slow, lost, last) = (ticket(&world).await, ticket(&world).await, ticket(&world).await);
    keep(&world, last, held.id, 1, 1);
    assert_eq!(fold(&world).await, 0);
    tokio::time::advance(Duration::from_secs(30)).await;
    keep(&world, slow, held.id, 1, 1);
    assert_eq!(fold(&world).await, 1, "it came");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(fold(&world).await, 1, "what {lost} said is lost");
    let used = world.read().key_use(held.id).await.unwrap().expect("used");
    assert_eq!((used.versions[0].accepted, used.through), (2, last), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_nobody_uses_is_told_of_once() {
    let world = World::new(912).await;
    let policy = json!({"name": "idle", "idle_after_s": 30 * 24 * 3600, "rotate_every_s": null});
    let policy = world.run(&Do::CreatePolicy(policy)).await.expect("a policy").at("/id");
    let app = world.application("shop").await;
    let mut new = new_key(app, "k");
    new["policy"] = json!(policy);
    let held = world.held(&new).await;
    let told = async || {
        world.service().maintain().await.expect("a run");
        let events = world.events().await.into_iter();
        events.filter(|e| e.action == Action::KeyIdle && e.target.key == Some(held.id)).count()
    };
    tokio::time::advance(DAY * 29).await;
    let first = ticket(&world).await;
    keep(&world, first, held.id, 1, 1);
    fold(&world).await;
    tokio::time::advance(DAY * 29).await;
    assert_eq!(told().await, 0, "it was used");
    tokio::time::advance(DAY * 2).await;
    assert_eq!(told().await, 1);
    tokio::time::advance(DAY * 60).await;
    assert_eq!(told().await, 1, "once");
    let second = ticket(&world).await;
    keep(&world, second, held.id, 1, 1);
    fold(&world).await;
    assert_eq!(told().await, 1);
    tokio::time::advance(DAY * 31).await;
    assert_eq!(told().await, 2, "until it is used again");
}

#[tokio::test(start_paused = true)]
async fn use_is_told_by_the_hour_and_the_day_by_version_and_by_outcome() {
    let world = World::new(913).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let none = usage(&world, held.id, UsageQuery::default()).await;
    assert_eq!(
        (&none["outcomes"], &none["last_used_at"], &none["addresses"]),
        (&json!({}), &Value::Null, &json!(0))
    );
    assert_eq!(none["buckets"].as_array().map(Vec::len), Some(24));
    for (version, accepted, addresses) in [(1, 5, 2), (1, 7, 3), (2, 11, 1)] {
        let ticket = ticket(&world).await;
        keep_batch(&world, &batch(&world, ticket, held.id, version, accepted, addresses));
        tokio::time::advance(HOUR).await;
    }
    // Folded because somebody asked, and once.
    for _ in 0..2 {
        let shown = usage(&world, held.id, UsageQuery::default()).await;
        assert_eq!(shown["outcomes"], json!({"VALID": 23, "INSUFFICIENT_SCOPE": 3}));
        assert_eq!(shown["addresses"], 3, "the same three");
        assert_eq!(shown["versions"][0]["outcomes"], json!({"VALID": 12, "INSUFFICIENT_SCOPE": 2}));
        assert_eq!(shown["versions"][1]["outcomes"]["VALID"], 11);
        assert_eq!(shown["last_used_at"], shown["versions"][1]["last_used_at"]);
        assert_eq!(shown["as_of"], world.clock.now().to_string());
        let buckets = shown["buckets"].as_array().expect("a series");
        let used: Vec<_> = buckets.iter().filter(|b| b["outcomes"]["VALID"].is_u64()).collect();
        let counts: Vec<_> =
            used.iter().map(|b| (b["outcomes"]["VALID"].as_u64(), b["addresses"].as_u64())).collect();
        assert_eq!(counts, [(Some(5), Some(2)), (Some(7), Some(3)), (Some(11), Some(1))]);
        assert_eq!(used[2]["at"], shown["last_used_at"]);
        assert_eq!(buckets.len(), 24);
    }
    let by_day = UsageQuery { by: BucketLength::Day, ..UsageQuery::default() };
    let shown = usage(&world, held.id, by_day).await;
    assert_eq!((&shown["outcomes"]["VALID"], &shown["addresses"]), (&json!(23), &json!(3)));
    assert_eq!(shown["buckets"].as_array().map(Vec::len), Some(30));
}

#[tokio::test(start_paused = true)]
async fn hours_are_kept_for_a_week_and_days_for_ninety_in_room_that_does_not_grow() {
    let world = World::new(914).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let mut room = 0;
    for day in 0..200 {
        let ticket = ticket(&world).await;
        keep(&world, ticket, held.id, 1, 1);
        fold(&world).await;
        let prefix = names::key_use(held.id);
        let records = world.kv.values().into_keys().filter(|name| name.starts_with(&prefix)).count();
        assert!(records <= 1 + 8 + 4, "{records} records");
        room = room.max(records);
        if day < 199 {
            tokio::time::advance(DAY).await;
        }
    }
    assert_eq!(room, 13);
    let now = world.clock.now();
    for (by, days, expected) in [
        (BucketLength::Hour, 400, 7),
        (BucketLength::Day, 400, 90),
        (BucketLength::Day, 10, 11),
        (BucketLength::Hour, 1, 2),
    ] {
        let from = Some(now.plus_s(-days * 24 * 3600));
        let shown = usage(&world, held.id, UsageQuery { by, from, to: None }).await;
        assert_eq!(shown["outcomes"]["VALID"], expected, "{by:?} of {days} days");
    }
    for (from, to, parameter) in [
        (Some(now.plus_s(2 * 24 * 3600)), None, "from"),
        (Some(now), Some(now.plus_s(-2 * 24 * 3600)), "from"),
        (None, Some(now.plus_s(-100 * 24 * 3600)), "to"),
    ] {
        let query = UsageQuery { from, to, by: BucketLength::Day };
        let refused = usage_as(&world, &world.root, held.id, query).await.expect_err("refused");
        assert_eq!(refused.code, Code::InvalidParameter);
        assert!(refused.detail.contains(&format!("`{parameter}`")), "{}", refused.detail);
    }
    let extremes = [Timestamp::from_unix_ms(i64::MIN), Timestamp::from_unix_ms(i64::MAX)];
    for at in extremes {
        let query = UsageQuery { from: Some(at), to: Some(at), by: BucketLength::Hour };
        assert!(usage_as(&world, &world.root, held.id, query).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn use_is_shown_to_whoever_may_see_the_key() {
    let world = World::new(915).await;
    let (app, other) = (world.application("shop").await, world.application("other").await);
    let held = world.held(&new_key(app, "k")).await;
    for (scope, expected) in [
        (format!("keys:read@{app}"), None),
        (format!("keys:read@{other}"), Some(Code::NotFound)),
        ("audit:read".to_owned(), Some(Code::InsufficientScope)),
    ] {
        let admin = world.admin(std::slice::from_ref(&scope)).await;
        let shown = usage_as(&world, &admin.token, held.id, UsageQuery::default()).await;
        assert_eq!(shown.err().map(|error| error.code), expected, "{scope}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_is_counted_and_many_lost_at_once_cost_one_minute() {
    let world = World::new(916).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let mut last = 0;
    for _ in 0..100 {
        last = ticket(&world).await;
    }
    keep(&world, last, held.id, 1, 1);
    assert_eq!(fold(&world).await, 0);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(fold(&world).await, 1);
    let folding = world.read().folding().await.unwrap();
    assert_eq!((folding.through, folding.missed, folding.folded), (last, 99, 1));
    world.kv.set_counter(names::usage::TICKETS, i64::try_from(last + 70_000).unwrap());
    tokio::time::advance(Duration::from_secs(61)).await;
    fold(&world).await;
    let folding = world.read().folding().await.unwrap();
    assert_eq!(folding.overwritten, 70_000 - names::usage::BATCHES_MAX);
    assert!(folding.as_of.is_some_and(|as_of| as_of < world.clock.now()), "it waits for the rest");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_runs_ahead_takes_no_place_of_what_is_to_come() {
    let world = World::new(917).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let ticket_ahead = ticket(&world).await;
    let mut ahead = batch(&world, ticket_ahead, held.id, 1, 4, 1);
    ahead.counts[0].hour += 8 * 24;
    keep_batch(&world, &ahead);
    let later = ticket(&world).await;
    keep(&world, later, held.id, 1, 3);
    let shown = usage(&world, held.id, UsageQuery::default()).await;
    assert_eq!(shown["outcomes"]["VALID"], 7);
    assert!(shown["last_used_at"].as_str().unwrap() <= world.clock.now().to_string().as_str());
}

#[tokio::test(start_paused = true)]
async fn folding_that_dies_anywhere_counts_each_batch_once() {
    for nth in 0..40 {
        let world = World::new(920 + nth).await;
        let app = world.application("shop").await;
        let held = world.held(&new_key(app, "k")).await;
        let all = || async {
            for _ in 0..3 {
                let ticket = ticket(&world).await;
                keep(&world, ticket, held.id, 1, 10);
            }
        };
        all().await;
        let place = usize::try_from(nth).unwrap() / 2;
        let fault = if nth % 2 == 0 { Fault::Before } else { Fault::After };
        world.fault_at(place, |_| true, fault);
        let _ = world.service().fold_use(&world.kv).await;
        world.heal();
        all().await;
        fold(&world).await;
        let shown = usage(&world, held.id, UsageQuery::default()).await;
        assert_eq!(shown["outcomes"], json!({"VALID": 60, "INSUFFICIENT_SCOPE": 6}), "at call {place}");
    }
}

/// Keeps a batch with refusals alone.
async fn refuse(world: &World, refusals: Vec<UsageRefusal>) {
    let ticket = ticket(world).await;
    keep_batch(world, &UsageBatch { ticket, counts: Vec::new(), refusals, reads: Durations::default() });
}

fn refusal(world: &World, application: ApplicationId, key: KeyId, code: RefusalCode) -> UsageRefusal {
    let minute = minute_of(world.clock.now());
    UsageRefusal { minute, application, key, version: 1, code, missing_scope: None, count: 2 }
}

/// The feed as an admin sees it, and its tag; `None` where it did not change.
async fn feed(
    world: &World,
    token: &str,
    filter: RefusalFilter,
    seen: Option<u64>,
    wait_s: u32,
) -> keyward_domain::Result<Option<(Vec<Value>, u64)>> {
    let caller = world.caller(token).await;
    let attempt = Attempt::to_read(caller, Action::KeyRead, Target::default());
    let found = world.service().refusals(&attempt, &filter, &world.kv, seen, wait_s).await?;
    Ok(found.map(|(view, tag)| {
        let view = serde_json::to_value(&view).expect("JSON");
        (view["items"].as_array().expect("items").clone(), tag)
    }))
}

#[tokio::test(start_paused = true)]
async fn the_latest_refusals_are_told_newest_first_and_those_alike_together() {
    let world = World::new(970).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let root = world.root.clone();
    let scoped = UsageRefusal {
        missing_scope: Some("orders:write".to_owned()),
        ..refusal(&world, app, held.id, RefusalCode::InsufficientScope)
    };
    refuse(&world, vec![refusal(&world, app, held.id, RefusalCode::Expired), scoped.clone()]).await;
    refuse(&world, vec![scoped]).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    refuse(&world, vec![refusal(&world, app, held.id, RefusalCode::Expired)]).await;
    let since = Some(world.clock.now());
    let (items, _) =
        feed(&world, &root, RefusalFilter::default(), None, 0).await.expect("seen").expect("new");
    let told: Vec<_> = items
        .iter()
        .map(|item| (item["code"].as_str().unwrap(), item["missing_scope"].as_str(), item["count"].as_u64()))
        .collect();
    assert_eq!(
        told,
        [
            ("EXPIRED", None, Some(2)),
            ("INSUFFICIENT_SCOPE", Some("orders:write"), Some(4)),
            ("EXPIRED", None, Some(2))
        ]
    );
    assert!(items[0]["at"].as_str() > items[1]["at"].as_str());
    assert_eq!(
        (&items[0]["key"], &items[0]["application"]),
        (&json!(held.id.to_string()), &json!(app.to_string()))
    );
    let filter = RefusalFilter { since, ..RefusalFilter::default() };
    let (items, _) = feed(&world, &root, filter, None, 0).await.expect("seen").expect("new");
    assert_eq!(items.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_noisy_application_takes_no_room_of_anothers_and_nobody_sees_what_is_not_theirs() {
    let world = World::new(971).await;
    let (loud, quiet) = (world.application("loud").await, world.application("quiet").await);
    let held = world.held(&new_key(quiet, "k")).await;
    refuse(&world, vec![refusal(&world, quiet, held.id, RefusalCode::Disabled)]).await;
    for batch in 0..20_u8 {
        let noise = (0..60_u8).map(|number| {
            let key = KeyId::from_bytes([batch, number, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
            refusal(&world, loud, key, RefusalCode::Revoked)
        });
        refuse(&world, noise.collect()).await;
    }
    let root = world.root.clone();
    let (all, _) = feed(&world, &root, RefusalFilter::default(), None, 0).await.expect("seen").expect("new");
    assert_eq!(all.len(), 256);
    let of_quiet = RefusalFilter { application: Some(quiet), since: None };
    let (items, _) = feed(&world, &root, of_quiet, None, 0).await.expect("seen").expect("new");
    assert_eq!((items.len(), &items[0]["code"]), (1, &json!("DISABLED")));

    let narrowed = world.admin(&[format!("keys:read@{quiet}")]).await;
    let (items, _) =
        feed(&world, &narrowed.token, RefusalFilter::default(), None, 0).await.expect("seen").expect("new");
    assert_eq!(items.len(), 1);
    let of_loud = RefusalFilter { application: Some(loud), since: None };
    let hidden = feed(&world, &narrowed.token, of_loud, None, 0).await.expect_err("hidden");
    assert_eq!(hidden.code, Code::NotFound);
    let none = world.admin(&["audit:read".to_owned()]).await;
    let refused = feed(&world, &none.token, RefusalFilter::default(), None, 0).await.expect_err("refused");
    assert_eq!(refused.code, Code::InsufficientScope);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_refusals_hears_of_the_next_within_seconds() {
    let world = World::new(972).await;
    let app = world.application("shop").await;
    let held = world.held(&new_key(app, "k")).await;
    let root = world.root.clone();
    let (none, tag) =
        feed(&world, &root, RefusalFilter::default(), None, 0).await.expect("seen").expect("new");
    assert!(none.is_empty());
    assert!(feed(&world, &root, RefusalFilter::default(), Some(tag), 10).await.expect("waited").is_none());
    let began = tokio::time::Instant::now();
    let (heard, ()) = futures::join!(feed(&world, &root, RefusalFilter::default(), Some(tag), 30), async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        refuse(&world, vec![refusal(&world, app, held.id, RefusalCode::Forbidden)]).await;
    });
    let (items, _) = heard.expect("waited").expect("told");
    assert_eq!(items[0]["code"], "FORBIDDEN");
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
}

/// The requests that an admin sees: those of each hour that had any, as times from now in hours, and what they came to.
async fn requests(
    world: &World,
    token: &str,
    application: Option<ApplicationId>,
    from: Option<Timestamp>,
) -> keyward_domain::Result<Vec<(usize, u64, u64)>> {
    let caller = world.caller(token).await;
    let attempt = Attempt::to_read(caller, Action::KeyRead, Target::default());
    let found = world.service().requests(&attempt, application, from, None, &world.kv).await?;
    let sum = |of: fn(&Outcomes) -> u64| found.buckets.iter().map(|hour| of(&hour.outcomes)).sum::<u64>();
    assert_eq!(
        (found.outcomes.accepted(), found.outcomes.refused()),
        (sum(Outcomes::accepted), sum(Outcomes::refused))
    );
    let hours = found.buckets.iter().rev().enumerate();
    let some = hours.map(|(ago, hour)| (ago, hour.outcomes.accepted(), hour.outcomes.refused()));
    Ok(some.filter(|(_, accepted, refused)| accepted + refused > 0).collect())
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_the_hour_of_each_application_and_of_all() {
    let world = World::new(760).await;
    let (shop, other) = (world.application("shop").await, world.application("other").await);
    let (one, two) = (world.held(&new_key(shop, "one")).await.id, world.held(&new_key(shop, "two")).await.id);
    let theirs = world.held(&new_key(other, "theirs")).await.id;
    let root = world.root.clone();
    for (key, accepted) in [(one, 5), (two, 7), (theirs, 11)] {
        keep(&world, ticket(&world).await, key, 1, accepted);
    }
    world.service().fold_use(&world.kv).await.expect("folded");
    tokio::time::advance(HOUR * 2).await;
    keep(&world, ticket(&world).await, one, 1, 1);
    // Folded twice at once, and once more: each batch counts once.
    let (a, b) = (world.service(), world.service());
    let (a, b) = futures::join!(a.fold_use(&world.kv), b.fold_use(&world.kv));
    a.and(b).expect("folded");
    let of_shop = vec![(0, 1, 1), (2, 12, 2)];
    assert_eq!(requests(&world, &root, Some(shop), None).await, Ok(of_shop.clone()));
    assert_eq!(requests(&world, &root, None, None).await, Ok(vec![(0, 1, 1), (2, 23, 3)]));
    let admin = world.admin(&[format!("keys:read@{shop}")]).await;
    assert_eq!(requests(&world, &admin.token, None, None).await, Ok(of_shop));
    let hidden = requests(&world, &admin.token, Some(other), None).await;
    assert_eq!(hidden.map_err(|error| error.code), Err(Code::NotFound));
    let week = Some(world.clock.now().plus_s(-6 * 24 * 3600));
    tokio::time::advance(DAY * 5).await;
    assert_eq!(requests(&world, &root, None, week).await, Ok(vec![(120, 1, 1), (122, 23, 3)]));
    assert_eq!(
        requests(&world, &root, None, None).await,
        Ok(Vec::new()),
        "a day where nobody says from when"
    );
    for _ in 0..20 {
        tokio::time::advance(DAY).await;
        keep(&world, ticket(&world).await, one, 1, 1);
        world.service().fold_use(&world.kv).await.expect("folded");
    }
    let names = world.kv.values().into_keys().filter(|name| name.starts_with("p:requests")).count();
    assert_eq!(names, 8 + 8 + 1, "of all, of the one that is used, of the other's one day");
}
