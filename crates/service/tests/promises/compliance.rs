//! The report on compliance says what happened, to the second: each figure is held against one that was computed by hand.

use crate::world::{Do, World, new_key};
use keyward_domain::{ApplicationId, Code, KeyId};
use keyward_ledger::memory::Call;
use serde_json::{Value, json};
use std::time::Duration;

const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;

async fn wait_s(seconds: i64) {
    tokio::time::advance(Duration::from_secs(u64::try_from(seconds).unwrap())).await;
}

async fn report(world: &World, application: Option<ApplicationId>) -> Value {
    world.run(&Do::Compliance(application, None, 100, None)).await.expect("a report").json()
}

fn spans(figure: &Value) -> (i64, i64, Option<i64>) {
    (figure["count"].as_i64().unwrap(), figure["sum_s"].as_i64().unwrap(), figure["mean_s"].as_i64())
}

/// An admin offers a successor, which is claimed after so long: by another claim, since the first is open for minutes.
async fn rotate(world: &World, key: KeyId, body: Value, after_s: i64) {
    world.run(&Do::Rotate(key, body)).await.expect("offered");
    wait_s(after_s).await;
    let ticket = world.run(&Do::Reissue(key)).await.expect("a claim").at("/claim/ticket");
    world.run(&Do::TakeClaim(ticket)).await.expect("claimed");
}

#[tokio::test(start_paused = true)]
async fn every_figure_is_what_comes_out_by_hand() {
    let world = World::new(900).await;
    let policy = world.policy(&json!({ "rotate_every_s": 10 * DAY_S, "grace_s": 2 * DAY_S })).await;
    let new = json!({ "name": "shop", "contacts": ["ops@shop.example"], "policy": policy });
    let shop: ApplicationId =
        world.run(&Do::CreateApplication(new)).await.expect("shop").at("/id").parse().unwrap();
    let other = world.application("other").await;
    let never = world.policy(&json!({ "rotate_every_s": null })).await;
    // All of them are claimed at the beginning.
    let late = world.held(&new_key(shop, "late")).await;
    let early = world.held(&new_key(shop, "early")).await;
    let leaked = world.held(&new_key(shop, "leaked")).await;
    let idle = world.held(&new_key(shop, "idle")).await;
    let mut unbounded = new_key(shop, "unbounded");
    unbounded["policy"] = json!(never);
    world.held(&unbounded).await;
    world.issue(&new_key(shop, "unclaimed")).await;
    let dead = world.held(&new_key(other, "dead")).await;
    world.held(&new_key(other, "fresh")).await;
    world.service().maintain().await.expect("a tick");

    wait_s(4 * DAY_S).await;
    // Day 4: an offer that is taken back flags nothing.
    world.run(&Do::Rotate(early.id, json!({ "reason": "x" }))).await.expect("offered");
    world.run(&Do::CancelRotation(early.id, "not yet")).await.expect("cancelled");
    wait_s(DAY_S).await;
    // Day 5: rotated by hand, before it is due; the claim comes 2 hours later.
    rotate(&world, early.id, json!({ "reason": "x", "grace_s": 0 }), 2 * HOUR_S).await;
    // An incident: claimed 4 hours later, at day 5 and 6 hours.
    rotate(&world, leaked.id, json!({ "reason": "x", "mode": "incident" }), 4 * HOUR_S).await;
    world.run(&Do::RevokeKey(dead.id, "left")).await.expect("revoked");
    wait_s(5 * DAY_S - 6 * HOUR_S + 70).await;
    // Day 10 and 70 seconds: what is due is offered; its holder renews one 3 hours later.
    world.service().maintain().await.expect("a tick");
    wait_s(3 * HOUR_S).await;
    world.run(&Do::Renew(late.renewal)).await.expect("renewed");
    wait_s(3 * DAY_S - 3 * HOUR_S - 70).await;

    // Day 13.
    let whole = report(&world, None).await;
    let of_shop =
        whole["applications"].as_array().unwrap().iter().find(|of| of["application"]["name"] == "shop");
    let of_shop = &of_shop.expect("shop")["figures"];
    // `early` is fresh until day 15, `leaked` as well, `late` until day 20; `idle` was to be rotated until day 12.
    let keys = json!({ "fresh": 3, "due": 0, "overdue": 1, "never_due": 1, "unclaimed": 1, "ended": 0 });
    assert_eq!(of_shop["keys"], keys);
    let rotations = &of_shop["rotations"];
    // 10 days and 3 hours and 70 seconds; 5 days and 2 hours; 5 days and 6 hours.
    let sum_s = 20 * DAY_S + 11 * HOUR_S + 70;
    assert_eq!(spans(&rotations["between"]), (3, sum_s, Some(sum_s / 3)));
    // `late` alone was due.
    assert_eq!(spans(&rotations["due_to_rotated"]), (1, 3 * HOUR_S + 70, Some(3 * HOUR_S + 70)));
    assert_eq!(rotations["before_due"], 2);
    // 3 hours after the offer, 2 after another, 4 after the incident.
    assert_eq!(spans(&rotations["flagged_to_rotated"]), (3, 9 * HOUR_S, Some(3 * HOUR_S)));
    assert_eq!(rotations["flagged_to_rotated"]["max_s"], 4 * HOUR_S);
    // `idle` is due since day 10 and flagged 70 seconds later.
    assert_eq!(spans(&rotations["waiting_since_due"]), (1, 3 * DAY_S, Some(3 * DAY_S)));
    assert_eq!(spans(&rotations["waiting_since_flagged"]), (1, 3 * DAY_S - 70, Some(3 * DAY_S - 70)));
    assert_eq!(whole["target_s"], DAY_S);

    let overdue = whole["overdue"].as_array().unwrap();
    assert_eq!(overdue.len(), 1);
    assert_eq!((&overdue[0]["id"], &overdue[0]["overdue_s"]), (&json!(idle.id), &json!(DAY_S)));
    assert_eq!(overdue[0]["application"]["contacts"], json!(["ops@shop.example"]));
    assert_eq!(overdue[0]["offered"], true);

    // All keys: those of the other application and root beside them.
    let totals = &whole["totals"];
    assert_eq!(whole["examined"], 9);
    let keys = json!({ "fresh": 5, "due": 0, "overdue": 1, "never_due": 1, "unclaimed": 1, "ended": 1 });
    assert_eq!(totals["keys"], keys);
    assert_eq!(totals["revocations"]["count"], 1);
    assert_eq!(totals["audit"], json!({ "changes": 10, "on_record": 10 }), "nine records and a tombstone");

    // One application's is its part of the whole, and pages add up.
    assert_eq!(report(&world, Some(shop)).await["totals"], *of_shop);
    let (mut cursor, mut examined, mut between) = (None, 0, 0);
    loop {
        let page = world.run(&Do::Compliance(None, None, 2, cursor)).await.expect("a page").json();
        examined += page["examined"].as_u64().unwrap();
        between += page["totals"]["rotations"]["between"]["sum_s"].as_i64().unwrap();
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((examined, between), (9, sum_s));

    // What came before does not count where only what came since is asked for; how keys stand does not change with it.
    let day_6 = keyward_domain::Timestamp::from_unix_ms(1_800_000_000_000 + 6 * DAY_S * 1000);
    let since =
        world.run(&Do::Compliance(Some(shop), Some(day_6), 100, None)).await.expect("a report").json();
    assert_eq!(spans(&since["totals"]["rotations"]["between"]).0, 1);
    assert_eq!(since["totals"]["keys"], of_shop["keys"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_outlives_its_policy_is_overdue() {
    let world = World::new(901).await;
    let app = world.application("shop").await;
    world.held(&new_key(app, "k")).await;
    let policy = world.policy(&json!({ "rotate_every_s": null, "lifetime_s_max": DAY_S })).await;
    world.run(&Do::ChangeApplication(app, json!({ "policy": policy }), None)).await.expect("given");
    assert_eq!(report(&world, Some(app)).await["totals"]["keys"]["never_due"], 1);
    wait_s(DAY_S + HOUR_S).await;
    let found = report(&world, Some(app)).await;
    assert_eq!(found["totals"]["keys"]["overdue"], 1);
    let overdue = &found["overdue"][0];
    assert_eq!((&overdue["overdue_s"], &overdue["due_at"]), (&json!(HOUR_S), &json!(null)));
}

#[tokio::test(start_paused = true)]
async fn who_may_and_what_it_costs() {
    let world = World::new(902).await;
    let (app, other) = (world.application("shop").await, world.application("other").await);
    for number in 0..30 {
        world.held(&new_key(app, &format!("k{number}"))).await;
    }
    let ask = |application| Do::Compliance(application, None, 10, None);
    for scopes in [&["audit:read"][..], &["keys:read"], &[]] {
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let poor = world.admin(&scopes).await;
        for application in [None, Some(app)] {
            let error = world.run_as(&poor.token, &ask(application)).await.expect_err("refused");
            assert_eq!(error.code, Code::InsufficientScope, "{scopes:?} {application:?}");
        }
    }
    let narrowed = world.admin(&[format!("audit:read@{app}"), format!("keys:read@{app}")]).await;
    let code = async |what: &Do| world.run_as(&narrowed.token, what).await.err().map(|error| error.code);
    assert_eq!(code(&ask(Some(app))).await, None);
    assert_eq!(code(&ask(Some(other))).await, Some(Code::NotFound));
    assert_eq!(code(&ask(None)).await, Some(Code::InsufficientScope));
    assert_eq!(code(&ask(Some(ApplicationId::from_bytes([9; 16])))).await, Some(Code::NotFound));
    // The work grows with the page, not with the keys that there are; and nothing is written.
    report(&world, Some(app)).await;
    let count = async |limit: usize| {
        let caller = world.caller(&world.root).await;
        world.kv.take_calls();
        let what = Do::Compliance(Some(app), None, limit, None);
        crate::world::perform(&world.service(), caller, &what).await.expect("a report");
        let calls = world.kv.take_calls();
        assert_eq!(crate::world::writes(&calls).1, 0, "a report writes nothing");
        calls.iter().filter(|call| matches!(call, Call::Get(_))).count()
    };
    let (five, ten) = (count(5).await, count(10).await);
    assert!(ten - five <= 5 * 12 && ten < 200, "{five} and {ten} reads");
}
