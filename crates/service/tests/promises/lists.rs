//! Lists: page by page each item exactly once, newest first, whether the projections are behind, blocked by a gap, or moving.

use crate::world::{ADDRESS, Do, SeededRng, World, new_key};
use futures::future::join;
use keyward_domain::event::{Action, Event, Outcome, Target};
use keyward_domain::{ApplicationId, Code};
use keyward_ledger::memory::Fault;
use keyward_service::{Attempt, Body, EventFilter, KeyFilter, Page};
use serde_json::{Value, json};
use std::time::Duration;

/// The keys of one application.
fn of(application: ApplicationId) -> KeyFilter<'static> {
    KeyFilter { application: Some(application), ..KeyFilter::default() }
}

async fn look(world: &World, action: Action) -> Attempt {
    Attempt::to_read(world.caller(&world.root).await, action, Target::default())
}

/// All pages of a list, put together; `between` runs between pages.
async fn pages(limit: usize, list: impl AsyncFn(Page) -> Value, between: impl AsyncFn(usize)) -> Vec<Value> {
    let (mut items, mut cursor): (Vec<Value>, Option<String>) = (Vec::new(), None);
    for number in 0.. {
        assert!(number < 2_000, "the pages have no end");
        let page = Page::parse(Some(&limit.to_string()), cursor.as_deref()).expect("a page");
        let found = list(page).await;
        let on_page = found["items"].as_array().expect("items");
        assert!(on_page.len() <= limit);
        items.extend(on_page.iter().cloned());
        cursor = found["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
        between(number).await;
    }
    items
}

async fn keys_listed(
    world: &World,
    app: ApplicationId,
    limit: usize,
    between: impl AsyncFn(usize),
) -> Vec<String> {
    let attempt = look(world, Action::KeyRead).await;
    let service = world.service();
    let list = async |page: Page| {
        serde_json::from_str(
            service.keys(&attempt, &of(app), &page).await.expect("a list").to_json().expose(),
        )
        .unwrap()
    };
    pages(limit, list, between).await.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

async fn events_listed(
    world: &World,
    filter: &EventFilter,
    limit: usize,
    between: impl AsyncFn(usize),
) -> Vec<String> {
    let attempt = look(world, Action::AuditRead).await;
    let service = world.service();
    let list = async |page: Page| {
        let found = service.audit_events(&attempt, filter, &page).await.expect("a list");
        serde_json::from_str(found.to_json().expose()).unwrap()
    };
    pages(limit, list, between).await.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

async fn nothing(_: usize) {}

/// A world with `count` keys of two applications in turns; the ids of the first one's, newest first.
async fn with_keys(seed: u64, count: usize) -> (World, ApplicationId, Vec<String>) {
    let world = World::new(seed).await;
    let (app, other) = (world.application("shop").await, world.application("other").await);
    let mut ids = Vec::new();
    for n in 0..count {
        let (id, _) = world.issue(&new_key(app, &format!("k{n}"))).await;
        ids.insert(0, id.to_string());
        if n % 3 == 0 {
            world.issue(&new_key(other, "x")).await;
        }
    }
    (world, app, ids)
}

/// The projections' condition in which lists are looked at.
async fn bring(world: &World, condition: &str) {
    match condition {
        "never integrated" => world.kv.plan(|call| match call {
            keyward_ledger::memory::Call::Increment(key) if key.starts_with("c:tree") => Fault::Before,
            _ => Fault::None,
        }),
        "integrated" => drop(world.ledger().integrate(64).await.expect("integrates")),
        "half way" => drop(world.ledger().integrate(1).await.expect("integrates")),
        "blocked by a gap" => {
            world.kv.tamper("e:1.150", None);
            world.ledger().integrate(64).await.expect("stops");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn each_key_comes_exactly_once_newest_first() {
    for condition in ["never integrated", "integrated", "half way", "blocked by a gap"] {
        let (world, app, mut ids) = with_keys(80, 290).await;
        if condition == "blocked by a gap" {
            // The gap takes the event of whatever was issued with that ticket out of every list.
            let lost = world.log().await[149].1.clone().expect("an event");
            ids.retain(|id| lost.target.key.is_none_or(|key| key.to_string() != *id));
        }
        bring(&world, condition).await;
        // Pages of one are many: once is enough.
        let limits: &[usize] = if condition == "integrated" { &[1, 32, 100] } else { &[7, 33, 100] };
        for &limit in limits {
            assert_eq!(keys_listed(&world, app, limit, nothing).await, ids, "{condition}, pages of {limit}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pages_hold_together_while_keys_are_issued_and_projections_move() {
    for limit in [1, 10, 50] {
        let (world, app, ids) = with_keys(81, 120).await;
        world.kv.plan(|call| match call {
            keyward_ledger::memory::Call::Increment(key) if key.starts_with("c:tree") => Fault::Before,
            _ => Fault::None,
        });
        let found = keys_listed(&world, app, limit, async |number| {
            if number % 3 == 0 {
                world.issue(&new_key(app, "later")).await;
            }
            if number == 1 {
                world.heal();
                world.ledger().integrate(64).await.expect("integrates");
            }
        })
        .await;
        assert_eq!(found, ids, "what was there at the start, and nothing twice");
    }
}

#[tokio::test(start_paused = true)]
async fn applications_are_listed_alike() {
    let world = World::new(82).await;
    let mut ids = vec![ApplicationId::KEYWARD.to_string()];
    for n in 0..70 {
        ids.insert(0, world.application(&format!("a{n}")).await.to_string());
    }
    let attempt = look(&world, Action::ApplicationRead).await;
    let service = world.service();
    let list = async |page: Page| {
        serde_json::from_str(service.applications(&attempt, &page).await.unwrap().to_json().expose()).unwrap()
    };
    let found = pages(9, list, nothing).await;
    let found: Vec<&str> = found.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(found, ids);
}

#[tokio::test(start_paused = true)]
async fn filters_find_what_a_naive_look_at_the_log_finds() {
    for condition in ["never integrated", "integrated", "half way", "blocked by a gap"] {
        let world = World::new(83).await;
        let rng = SeededRng::new(83);
        let mut history = crate::history::History::default();
        let admin = world.admin(&["*".to_owned()]).await;
        for _ in 0..220 {
            let what = history.choose(&rng);
            let ended = match what {
                Do::TakeClaim(_) | Do::Report(_) | Do::Renew(_) => world.run(&what).await,
                _ if rng.chance(50) => world.run_as(&admin.token, &what).await,
                _ => world.run(&what).await,
            };
            history.note(&what, &Some(ended));
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        bring(&world, condition).await;
        let mut events: Vec<Event> = world.events().await;
        events.reverse();
        let root = world.caller(&world.root).await.key();
        let middle = events[events.len() / 2].at;
        let key = events.iter().find(|e| e.action == Action::KeyChanged).and_then(|e| e.target.key);
        let app = history.applications.first().copied();
        let none = EventFilter::default;
        let filters = [
            none(),
            EventFilter { application: app, ..none() },
            EventFilter { key, ..none() },
            EventFilter { actor: Some(admin.id), ..none() },
            EventFilter { actor: root, application: app, ..none() },
            EventFilter { action: Some(Action::ClaimTaken), ..none() },
            EventFilter { action: Some(Action::KeyIssued), application: app, since: Some(middle), ..none() },
            EventFilter { until: Some(middle), ..none() },
            EventFilter { since: Some(middle), until: Some(middle), ..none() },
            EventFilter { key, action: Some(Action::ApplicationCreated), ..none() },
        ];
        for (at, filter) in filters.iter().enumerate() {
            let expected: Vec<String> = events
                .iter()
                .filter(|e| filter.application.is_none_or(|id| e.target.application == Some(id)))
                .filter(|e| filter.key.is_none_or(|id| e.target.key == Some(id)))
                .filter(|e| filter.actor.is_none_or(|id| e.actor.key == Some(id)))
                .filter(|e| filter.action.is_none_or(|action| e.action == action))
                .filter(|e| filter.since.is_none_or(|since| e.at >= since))
                .filter(|e| filter.until.is_none_or(|until| e.at < until))
                .map(|e| e.id.to_string())
                .collect();
            for limit in [3, 50] {
                let found = events_listed(&world, filter, limit, nothing).await;
                assert_eq!(found, expected, "{condition}, filter {at}, pages of {limit}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_beside_commits_waits_for_nobody() {
    let world = World::new(84).await;
    let app = world.application("shop").await;
    world.kv.plan(|call| match call {
        keyward_ledger::memory::Call::SetMany(keys) if keys.iter().any(|key| key.starts_with("e:")) => {
            Fault::Slow(40)
        }
        _ => Fault::None,
    });
    let (_, slowest) = join(
        async {
            for n in 0..50 {
                world.issue(&new_key(app, &format!("k{n}"))).await;
                // Long enough for a list to find nothing to do.
                tokio::time::sleep(Duration::from_millis(35)).await;
            }
        },
        async {
            let mut slowest = Duration::ZERO;
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_millis(15)).await;
                let started = tokio::time::Instant::now();
                let (one, two) = join(world.run(&Do::ListKeys(app)), world.run(&Do::ListApplications)).await;
                one.and(two).expect("lists");
                slowest = slowest.max(started.elapsed());
            }
            slowest
        },
    )
    .await;
    assert!(slowest <= Duration::from_millis(100), "{slowest:?}");
}

#[tokio::test(start_paused = true)]
async fn pages_and_cursors_that_nobody_gave_are_refused() {
    for (limit, cursor) in [
        (Some("0"), None),
        (Some("101"), None),
        (Some("-1"), None),
        (Some("x"), None),
        (Some(""), None),
        (None, Some("")),
        (None, Some("x")),
        (None, Some("MS4")),
        (None, Some("MS4y")),
        (None, Some("%00")),
    ] {
        let error = Page::parse(limit, cursor).err().unwrap_or_else(|| panic!("{limit:?} {cursor:?}"));
        assert_eq!(error.code, Code::InvalidParameter);
    }
    // A cursor far beyond the end is the end's.
    let world = World::new(85).await;
    let far = "MS45OTk5OTk5OTk5OTkuMTg0NDY3NDQwNzM3MDk1NTE2MTU";
    let attempt = look(&world, Action::AuditRead).await;
    let page = Page::parse(None, Some(far)).expect("well-formed");
    let found = world.service().audit_events(&attempt, &EventFilter::default(), &page).await.expect("a list");
    assert_eq!(found.items.len(), 1);
    assert_eq!(found.items[0].outcome, Outcome::Done);
    assert_eq!(json!(found.items[0].source), json!({}), "root was made by nobody at {ADDRESS}");
}
