//! How keys stand is counted and listed as their records say, whatever happened to them, and without going through them.

use crate::history::{History, check_projections, integrate_all};
use crate::world::{Do, Held, SeededRng, World, new_key};
use keyward_domain::event::{Action, Target};
use keyward_domain::standing::Standing;
use keyward_domain::{ApplicationId, Code, KeyId};
use keyward_ledger::memory::Fault;
use keyward_records::register::{ROWS, RegisterHead, RegisterSums, Row, SUMS, Tally};
use keyward_records::{Record, seal};
use keyward_service::{Attempt, Body, KeyFilter, Order, Page};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A minute is walked when it is over, and a little.
const TICK: Duration = Duration::from_secs(66);

/// How many keys stand how, those that none does left out.
async fn counts(world: &World, application: Option<ApplicationId>) -> BTreeMap<String, u64> {
    let found = world.run(&Do::Standings(application)).await.expect("counts").json();
    assert_eq!(found["is_complete"], true);
    let counts: BTreeMap<String, u64> = serde_json::from_value(found["standings"].clone()).expect("counts");
    assert_eq!(found["total"], counts.values().sum::<u64>());
    assert_eq!(counts.len(), Standing::ALL.len(), "each is named");
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn stand<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    expected.into_iter().map(|(standing, count)| (standing.to_owned(), count)).collect()
}

/// The keys of a filter, through all pages, as whoever holds this token sees them.
async fn listed_as(world: &World, token: &str, filter: &KeyFilter<'_>, limit: usize) -> Vec<String> {
    let caller = world.caller(token).await;
    let attempt = Attempt::to_read(caller, Action::KeyRead, Target::default());
    let (mut ids, mut cursor) = (Vec::new(), None::<String>);
    for _ in 0..500 {
        let page = Page::parse(Some(&limit.to_string()), cursor.as_deref()).expect("a page");
        let found = world.service().keys(&attempt, filter, &page).await.expect("a list");
        let found: Value = serde_json::from_str(found.to_json().expose()).unwrap();
        let items = found["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        for item in items {
            if let Some(standing) = filter.standing {
                assert_eq!(item["standing"], standing.as_str(), "it is shown as it is looked up");
            }
            ids.push(item["id"].as_str().unwrap().to_owned());
        }
        match found["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return ids,
        }
    }
    panic!("the pages have no end");
}

async fn listed(world: &World, filter: &KeyFilter<'_>, limit: usize) -> Vec<String> {
    listed_as(world, &world.root, filter, limit).await
}

fn standing(application: Option<ApplicationId>, standing: Standing) -> KeyFilter<'static> {
    KeyFilter { application, standing: Some(standing), ..KeyFilter::default() }
}

async fn tick(world: &World) -> keyward_service::DueView {
    world.service().maintain().await.expect("a tick").due
}

/// What is counted and listed is how each key is shown by itself.
async fn check_standings(world: &World) {
    let mut by_standing: BTreeMap<(Option<ApplicationId>, String), Vec<String>> = BTreeMap::new();
    let names: Vec<String> = world.kv.values().into_keys().filter(|name| name.starts_with("m:")).collect();
    for name in &names {
        let bytes: Vec<u8> =
            (2..name.len()).step_by(2).map(|at| u8::from_str_radix(&name[at..at + 2], 16).unwrap()).collect();
        let key = KeyId::from_bytes(bytes.try_into().unwrap());
        let shown = world.run(&Do::ReadKey(key)).await.expect("shown").json();
        let application: ApplicationId = shown["application"].as_str().unwrap().parse().unwrap();
        for of in [None, Some(application)] {
            let standing = shown["standing"].as_str().unwrap().to_owned();
            by_standing.entry((of, standing)).or_default().push(key.to_string());
        }
    }
    let mut counted: BTreeMap<Option<ApplicationId>, BTreeMap<String, u64>> = BTreeMap::new();
    for ((application, name), mut expected) in by_standing {
        counted.entry(application).or_default().insert(name.clone(), expected.len() as u64);
        let filter = standing(application, Standing::from_text(&name).unwrap());
        expected.sort();
        let newest = listed(world, &filter, 3).await;
        let mut oldest = listed(world, &KeyFilter { order: Order::Oldest, ..filter }, 7).await;
        oldest.reverse();
        assert_eq!(newest, oldest, "{name}: one order is the other, backwards");
        let mut found = newest;
        found.sort();
        assert_eq!(found, expected, "{name} of {application:?}");
    }
    for (application, expected) in counted {
        assert_eq!(counts(world, application).await, expected, "{application:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_change_of_a_key_moves_it_from_one_count_to_another() {
    let world = World::new(900).await;
    let app = world.application("shop").await;
    let issue = Do::Issue(new_key(app, "k"));
    let issued = world.run(&issue).await.expect("issued");
    let id: KeyId = issued.at("/key/id").parse().unwrap();
    let now = |standing: &'static str| {
        let world = &world;
        async move {
            assert_eq!(counts(world, Some(app)).await, stand([(standing, 1)]));
            let filter = super::standings::standing(Some(app), Standing::from_text(standing).unwrap());
            assert_eq!(listed(world, &filter, 50).await, [id.to_string()]);
            assert_eq!(world.run(&Do::ReadKey(id)).await.unwrap().at("/standing"), standing);
        }
    };
    now("unclaimed").await;
    let claimed = world.run(&Do::TakeClaim(issued.at("/claim/ticket"))).await.expect("claimed");
    now("active").await;
    world.run(&Do::Rotate(id, json!({ "reason": "x" }))).await.expect("offered");
    now("rotating").await;
    world.run(&Do::CancelRotation(id, "x")).await.expect("taken back");
    now("active").await;
    world.run(&Do::Renew(claimed.at("/renewal_token"))).await.expect("renewed");
    now("rotating").await;
    world.run(&Do::FinishRotation(id, "x")).await.expect("finished");
    now("active").await;
    world.run(&Do::ChangeKey(id, json!({ "disabled": true }), None)).await.expect("off");
    now("disabled").await;
    world.run(&Do::ChangeKey(id, json!({ "disabled": false }), None)).await.expect("on");
    now("active").await;
    world.run(&Do::RevokeKey(id, "x")).await.expect("dead");
    now("revoked").await;
    check_projections(&world, 900).await;
}

#[tokio::test(start_paused = true)]
async fn what_time_changes_is_told_by_the_walk() {
    let world = World::new(901).await;
    let app = world.application("shop").await;
    let mut ending = new_key(app, "ending");
    ending["expires_in_s"] = json!(20 * 24 * 3600);
    world.held(&ending).await;
    let Held { renewal, .. } = world.held(&new_key(app, "renewed")).await;
    world.run(&Do::Renew(renewal)).await.expect("renewed");
    let held = world.held(&new_key(app, "rotated late")).await;
    let expected = [
        (0, stand([("active", 2), ("rotating", 1)])),
        (6, stand([("active", 2), ("rotating", 1)])),
        (7, stand([("active", 3)])),
        (13, stand([("active", 2), ("expiring", 1)])),
        (20, stand([("active", 2), ("expired", 1)])),
        (90, stand([("rotating", 2), ("expired", 1)])),
        (97, stand([("overdue", 2), ("expired", 1)])),
    ];
    let mut today = 0;
    for (day, expected) in expected {
        while today < day {
            tokio::time::advance(DAY).await;
            today += 1;
            tokio::time::advance(TICK).await;
            tick(&world).await;
        }
        assert_eq!(counts(&world, Some(app)).await, expected, "day {day}");
        check_standings(&world).await;
    }
    world.run(&Do::Renew(held.renewal)).await.expect("in the end");
    assert_eq!(counts(&world, Some(app)).await, stand([("overdue", 1), ("rotating", 1), ("expired", 1)]));
    integrate_all(&world, 901).await;
    check_projections(&world, 901).await;
    let told = world.events().await.into_iter().filter(|event| event.action == Action::KeyStanding).count();
    assert_eq!(told, 1, "the end of the overlap alone has no other word");
}

#[tokio::test(start_paused = true)]
async fn a_generation_ends_in_all_counts_and_lists_at_once() {
    let world = World::new(902).await;
    let (app, other) = (world.application("shop").await, world.application("other").await);
    for n in 0..300 {
        world.issue(&new_key(app, &format!("k{n}"))).await;
    }
    let held = world.held(&new_key(app, "held")).await;
    world.run(&Do::RevokeKey(held.id, "by itself")).await.expect("dead");
    world.held(&new_key(other, "theirs")).await;
    integrate_all(&world, 902).await;
    world.kv.take_calls();
    world.run(&Do::RevokeApplication(app, "leak")).await.expect("revoked");
    world.kv.take_calls();
    world.ledger().integrate(1).await.expect("integrates");
    let calls = world.kv.take_calls().len();
    assert!(calls < 40, "{calls} calls, whatever the number of its keys");
    assert_eq!(counts(&world, Some(app)).await, stand([("revoked", 301)]));
    assert_eq!(counts(&world, None).await, stand([("active", 2), ("revoked", 301)]));
    for _ in 0..3 {
        world.issue(&new_key(app, "after")).await;
    }
    assert_eq!(counts(&world, Some(app)).await, stand([("revoked", 301), ("unclaimed", 3)]));
    check_standings(&world).await;
    // What was decided on beside the revocation brings nothing back.
    assert_eq!(tick(&world).await.restated, 0);
    check_projections(&world, 902).await;
}

#[tokio::test(start_paused = true)]
async fn they_agree_with_the_records_after_any_history() {
    for seed in 0..6 {
        let world = World::new(903 + seed).await;
        let rng = SeededRng::new(seed ^ 0x5a);
        let mut history = History::default();
        for step in 0..80 {
            if step % 7 == 3 {
                let fault = *rng.one_of(&[Fault::Before, Fault::After, Fault::Twice]);
                world.fault_at(rng.below(12), |_| true, fault);
                let what = history.choose(&rng);
                if let Some(caller) = world.try_caller(&world.root, None).await {
                    drop(crate::world::perform(&world.service(), caller, &what).await);
                }
                world.heal();
            } else {
                history.step(&world, &rng).await;
            }
        }
        integrate_all(&world, seed).await;
        tick(&world).await;
        check_standings(&world).await;
        check_projections(&world, seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_older_than_registers_is_told_of_by_the_sweep() {
    let world = World::new(910).await;
    let app = world.application("shop").await;
    for n in 0..40 {
        world.held(&new_key(app, &format!("k{n}"))).await;
    }
    let revoked = world.held(&new_key(app, "revoked")).await;
    world.run(&Do::RevokeKey(revoked.id, "x")).await.expect("dead");
    let ended = world.application("ended").await;
    world.held(&new_key(ended, "k")).await;
    world.run(&Do::RevokeApplication(ended, "x")).await.expect("dead");
    integrate_all(&world, 910).await;
    let names: Vec<String> = world.kv.values().into_keys().collect();
    for name in names.iter().filter(|name| keyward_records::names::is_of_a_register(name)) {
        world.kv.tamper(name, None);
    }
    let before = world.run(&Do::Standings(None)).await.expect("counts").json();
    assert_eq!((&before["is_complete"], &before["total"]), (&json!(false), &json!(0)));
    // An event of its own may come first.
    world.run(&Do::ChangeKey(revoked.id, json!({ "name": "x" }), None)).await.expect_err("dead");
    assert_eq!(tick(&world).await.restated, 43, "root as well");
    check_standings(&world).await;
    assert_eq!(tick(&world).await.restated, 0, "once");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_narrowed_sees_the_counts_and_keys_of_its_own() {
    let world = World::new(911).await;
    let (mine, theirs) = (world.application("mine").await, world.application("theirs").await);
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.insert(0, world.held(&new_key(mine, &format!("k{n}"))).await.id.to_string());
        world.held(&new_key(theirs, "k")).await;
    }
    let admin = world.admin(&[format!("keys:read@{mine}")]).await;
    let as_admin = async |what: &Do| world.run_as(&admin.token, what).await;
    let all = as_admin(&Do::Standings(None)).await.expect("its own").json();
    assert_eq!((&all["total"], &all["standings"]["active"]), (&json!(5), &json!(5)));
    assert_eq!(as_admin(&Do::Standings(Some(theirs))).await.map_err(|e| e.code), Err(Code::NotFound));
    let active = standing(None, Standing::Active);
    assert_eq!(listed_as(&world, &admin.token, &active, 2).await, ids);
    assert_eq!(listed_as(&world, &admin.token, &KeyFilter::default(), 2).await, ids);
    let tagged = KeyFilter { tag: Some("x"), ..KeyFilter::default() };
    let attempt = Attempt::to_read(world.caller(&admin.token).await, Action::KeyRead, Target::default());
    let page = Page::parse(None, None).unwrap();
    let refused = world.service().keys(&attempt, &tagged, &page).await.map(|_| ()).map_err(|e| e.code);
    assert_eq!(refused, Err(Code::InvalidParameter), "tags of all applications are for whoever sees all");
}

#[tokio::test(start_paused = true)]
async fn keys_are_found_by_the_beginning_of_their_name_in_both_orders() {
    let world = World::new(912).await;
    let (app, other) = (world.application("shop").await, world.application("other").await);
    let mut ids = Vec::new();
    for n in 0..60 {
        let (id, _) = world.issue(&new_key(if n % 2 == 0 { app } else { other }, &format!("k{n}"))).await;
        ids.push(id.to_string());
    }
    let named = |name| KeyFilter { name: Some(name), ..KeyFilter::default() };
    let expected: Vec<String> = [&ids[5..6], &ids[50..60]].concat();
    for limit in [1, 4, 50] {
        let oldest = KeyFilter { order: Order::Oldest, ..named("k5") };
        assert_eq!(listed(&world, &oldest, limit).await, expected, "pages of {limit}");
        let newest: Vec<String> = expected.iter().rev().cloned().collect();
        assert_eq!(listed(&world, &named("k5"), limit).await, newest, "pages of {limit}");
    }
    let here = KeyFilter { application: Some(app), standing: Some(Standing::Unclaimed), ..named("k5") };
    assert_eq!(
        listed(&world, &here, 2).await,
        [&ids[58], &ids[56], &ids[54], &ids[52], &ids[50]].map(Clone::clone)
    );
    assert_eq!(listed(&world, &named("K5"), 50).await, [""; 0], "to the letter");
    let mut tagged = new_key(app, "tagged");
    tagged["tags"] = json!(["red"]);
    let (claimed, unclaimed) = (world.held(&tagged).await.id, world.issue(&tagged).await.0);
    let red = |standing| KeyFilter { tag: Some("red"), standing: Some(standing), ..KeyFilter::default() };
    assert_eq!(listed(&world, &red(Standing::Active), 50).await, [claimed.to_string()]);
    assert_eq!(listed(&world, &red(Standing::Unclaimed), 50).await, [unclaimed.to_string()]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_comes_late_takes_no_number_of_a_register_back() {
    let world = World::new(914).await;
    integrate_all(&world, 914).await;
    let before = world.kv.values();
    let first = world.application("first").await;
    world.issue(&new_key(first, "k")).await;
    integrate_all(&world, 914).await;
    let mut batch = world.kv.values();
    batch.retain(|key, value| key.starts_with("p:") && before.get(key) != Some(value));
    let second = world.application("second").await;
    let held = world.held(&new_key(second, "k")).await;
    world.run(&Do::RevokeApplication(second, "x")).await.expect("revoked");
    world.issue(&new_key(first, "l")).await;
    integrate_all(&world, 914).await;
    // It takes the head back, and with it the registers that it wrote; the second's stays ahead.
    batch.into_iter().for_each(|(key, value)| world.kv.tamper(&key, Some(value)));
    let third = world.application("third").await;
    world.issue(&new_key(third, "k")).await;
    integrate_all(&world, 914).await;
    check_projections(&world, 914).await;
    assert_eq!(counts(&world, Some(second)).await, stand([("revoked", 1)]));
    assert_eq!(world.run(&Do::ReadKey(held.id)).await.unwrap().at("/standing"), "revoked");
}

/// A world in which the register of an application has so many rows already, all of them active; only what lies at its end is there.
async fn long_register(rows: u64) -> (World, ApplicationId) {
    let world = World::new(913).await;
    let app = world.application("shop").await;
    world.issue(&new_key(app, "first")).await;
    integrate_all(&world, 913).await;
    let head = world.read().register(app).await.unwrap().expect("a register");
    let active = |count: u64| {
        let row = Row { key: KeyId::from_bytes([0; 16]), generation: 1, standing: Standing::Active };
        let page = Tally::of_rows(&[row; ROWS as usize], 0);
        Tally::of_tallies(std::iter::repeat_n(&page, count.try_into().unwrap()), 0)
    };
    let (pages, put) = (rows / ROWS, |name: String, sealed: Vec<u8>| world.kv.tamper(&name, Some(sealed)));
    let (whole, last) = (pages / SUMS, pages % SUMS);
    let sums: Vec<Tally> = (0..whole).map(|_| active(SUMS)).chain((last > 0).then(|| active(last))).collect();
    let head = RegisterHead { rows: pages * ROWS, sums, ..head };
    let records =
        RegisterSums { application: app, number: whole, pages: (0..last).map(|_| active(1)).collect() };
    put(head.store_key(), seal(&world.rings.audit, &head, [0; 12]).unwrap());
    put(records.store_key(), seal(&world.rings.audit, &records, [1; 12]).unwrap());
    (world, app)
}

#[tokio::test(start_paused = true)]
async fn a_register_costs_the_same_however_long_it_is() {
    let mut costs = Vec::new();
    for rows in [1_000, 1_000_000] {
        let (world, app) = long_register(rows).await;
        for n in 0..64 {
            world.issue(&new_key(app, &format!("k{n}"))).await;
        }
        world.kv.take_calls();
        let before = world.kv.values();
        world.ledger().integrate(1).await.expect("integrates");
        let integrating = world.kv.take_calls().len();
        let after = world.kv.values();
        let changed = after.iter().filter(|(name, value)| {
            keyward_records::names::is_of_a_register(name) && before.get(*name) != Some(*value)
        });
        let bytes: usize = changed.map(|(name, value)| name.len() + value.len()).sum();
        world.kv.take_calls();
        let found = world.run(&Do::Standings(Some(app))).await.expect("counts").json();
        let counting = world.kv.take_calls().len();
        assert_eq!(found["standings"]["active"], rows / ROWS * ROWS);
        assert_eq!(found["standings"]["unclaimed"], 64);
        let unclaimed = standing(Some(app), Standing::Unclaimed);
        let attempt = Attempt::to_read(world.caller(&world.root).await, Action::KeyRead, Target::default());
        let page = Page::parse(Some("10"), None).expect("a page");
        world.kv.take_calls();
        let listed = world.service().keys(&attempt, &unclaimed, &page).await.expect("a page");
        assert_eq!(listed.items.len(), 10);
        let listing = world.kv.take_calls().len();
        println!(
            "{rows} rows: 64 events integrated with {integrating} calls, {bytes} bytes of registers; {counting} calls to count, {listing} to list ten"
        );
        costs.push((integrating, bytes, counting, listing));
    }
    let [few, many] = costs[..] else { panic!("two sizes") };
    assert!(many.0 <= few.0 + 1 && many.2 == few.2 && many.3 <= few.3 + 1, "{costs:?}");
    assert!(many.1 <= few.1 + 4096, "a sum more for each 16,384 keys: {costs:?}");
}
