//! No more is ever spent of a limit in a window than its amount, by however many instances at once and whatever their store does; what is
//! leased and not spent comes back; and most requests touch no counter.

use crate::world::{Do, SeededRng, TestClock, World, new_key};
use keyward_domain::limit::Window;
use keyward_domain::ports::{Clock, Rng};
use keyward_ledger::memory::{Call, Fault, MemoryKv};
use keyward_records::{EndedLimits, KvCount, SealedUsage, names};
use keyward_verify::{Demand, EndingCounter, GivenUp, Leases, Limiter, RefusalCode, Verdict};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const AMOUNT: u64 = 1_000;

/// A key under limits, and the store of its counters.
struct Limited {
    world: World,
    counters: MemoryKv<TestClock>,
    token: String,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Refused(RefusalCode),
    Unanswered,
}

impl Limited {
    async fn new(seed: u64, limits: Value) -> Self {
        let world = World::new(seed).await;
        let app = world.application("shop").await;
        let mut new = new_key(app, "k");
        new["limits"] = limits;
        let token = world.held(&new).await.token;
        let counters = MemoryKv::new(world.clock.clone());
        Self { world, counters, token }
    }

    /// One request at an instance with these leases.
    async fn ask(&self, leases: &Leases, cost: u64) -> Outcome {
        self.ask_by(&self.world.clock, leases, cost).await
    }

    /// The same on a host with this clock.
    async fn ask_by(&self, clock: &TestClock, leases: &Leases, cost: u64) -> Outcome {
        let verdict = self.world.verify(&self.token, &Demand::default()).await.expect("a verdict");
        match Limiter::new(&self.counters, leases, clock).admit(verdict, cost).await {
            Ok((Verdict::Accepted(_), _)) => Outcome::Passed,
            Ok((Verdict::Refused(refusal), _)) => Outcome::Refused(refusal.code),
            Err(_) => Outcome::Unanswered,
        }
    }

    async fn give_back(&self, leases: &Leases) {
        let given_up = leases.give_up(self.world.clock.now());
        let _ = given_up.write(&self.counters, &self.world.rings.records, &self.world.rng).await;
    }

    /// Lets the wall clock get to the beginning of a window.
    fn to_a_window(&self, window: Window) {
        let now = self.world.clock.now();
        self.world.clock.step_wall_ms(window.at(now).ends_at.unix_ms() - now.unix_ms());
    }
}

#[tokio::test(start_paused = true)]
async fn many_instances_spend_all_of_a_limit_and_no_more() {
    let limits = json!([{ "name": "burst", "limit": AMOUNT, "window_s": 60 }]);
    let limited = Limited::new(920, limits).await;
    limited.to_a_window(Window::Seconds(60));
    let (mut passed, mut requests) = (0, 0);
    // Each instance serves some requests and is gone, as they are where Keyward runs; it gives back a little later.
    for _ in 0..40 {
        let instances: Vec<Leases> = (0..8).map(|_| Leases::default()).collect();
        for _ in 0..32 {
            let asked = instances.iter().map(|leases| limited.ask(leases, 1));
            let answers = futures::future::join_all(asked).await;
            requests += answers.len();
            passed += answers.iter().filter(|outcome| **outcome == Outcome::Passed).count();
        }
        tokio::time::advance(Duration::from_millis(300)).await;
        for leases in &instances {
            limited.give_back(leases).await;
        }
    }
    assert_eq!(passed, usize::try_from(AMOUNT).unwrap(), "of {requests} requests");
    let counted = limited.counters.take_calls();
    let counted = counted.iter().filter(|call| matches!(call, Call::Increment(_))).count();
    assert!(counted * 5 < requests, "{counted} increments for {requests} requests");
    // The next window begins anew.
    limited.to_a_window(Window::Seconds(60));
    assert_eq!(limited.ask(&Leases::default(), AMOUNT).await, Outcome::Passed);
}

/// Two hosts whose clocks differ ask as fast as they may, over three turns of a window.
#[tokio::test(start_paused = true)]
async fn hosts_whose_clocks_differ_are_bound_in_each_window_and_meet_for_as_long_as_the_turn_is_apart() {
    const WINDOW_MS: i64 = 60_000;
    const STEP_MS: i64 = 100;
    const APART_MS: i64 = 2_000;
    const SMALL: u64 = 50;
    let limits = json!([{ "name": "burst", "limit": SMALL, "window_s": 60 }]);
    let limited = Limited::new(923, limits).await;
    limited.to_a_window(Window::Seconds(60));
    let clocks = [limited.world.clock.clone(), limited.world.clock.ahead_by(APART_MS)];
    let hosts = [Leases::default(), Leases::default()];
    let mut passed: BTreeMap<i64, u64> = BTreeMap::new();
    let (mut apart_ms, mut by_minute) = (0, [0; 3]);
    for minute in &mut by_minute {
        for _ in 0..WINDOW_MS / STEP_MS {
            let windows = clocks.each_ref().map(|clock| Window::Seconds(60).at(clock.now()).number);
            apart_ms += if windows[0] == windows[1] { 0 } else { STEP_MS };
            for ((clock, leases), window) in clocks.iter().zip(&hosts).zip(windows) {
                if limited.ask_by(clock, leases, 1).await == Outcome::Passed {
                    *passed.entry(window).or_default() += 1;
                    *minute += 1;
                }
            }
            tokio::time::advance(Duration::from_millis(STEP_MS.unsigned_abs())).await;
        }
    }
    let [first, second, third, begun] = passed.into_values().collect::<Vec<_>>()[..] else {
        panic!("three minutes, and the one that the second host has begun")
    };
    assert_eq!([first, second, third], [SMALL; 3], "all of each window, and no more");
    assert!(begun <= SMALL);
    assert_eq!(apart_ms, 3 * APART_MS, "they count apart around each turn and nowhere else");
    assert!(by_minute.iter().all(|units| *units <= 2 * SMALL), "{by_minute:?}");
}

#[tokio::test(start_paused = true)]
async fn whatever_the_store_does_no_more_is_spent_than_the_limit() {
    let limits = json!([
        { "name": "burst", "limit": 50, "window_s": 3600 },
        { "name": "daily", "limit": 70, "per": "day" },
    ]);
    let mut limited = Limited::new(921, limits).await;
    let mut passed_in_all = 0;
    for seed in 0..200 {
        let (rng, faults) = (SeededRng::new(seed), SeededRng::new(seed + 1_000_000));
        limited.counters = MemoryKv::new(limited.world.clock.clone());
        limited.to_a_window(Window::Day);
        limited.counters.plan(move |_| match faults.below(10) {
            0 => Fault::Before,
            1 => Fault::After,
            2 => Fault::Slow(u64::try_from(faults.below(50)).unwrap()),
            3 => Fault::SlowReply(u64::try_from(faults.below(50)).unwrap()),
            _ => Fault::None,
        });
        let instances: Vec<Leases> = (0..4).map(|_| Leases::default()).collect();
        let mut spent = [0, 0];
        for round in 0..60 {
            if round == 30 {
                limited.to_a_window(Window::Seconds(3600));
            }
            let costs: Vec<u64> =
                instances.iter().map(|_| u64::try_from(1 + rng.below(3)).unwrap()).collect();
            let asked = instances.iter().zip(&costs).map(|(leases, cost)| limited.ask(leases, *cost));
            let answers = futures::future::join_all(asked).await;
            let passed = answers.iter().zip(&costs).filter(|(outcome, _)| **outcome == Outcome::Passed);
            spent[round / 30] += passed.map(|(_, cost)| cost).sum::<u64>();
            if rng.chance(30) {
                limited.give_back(rng.one_of(&instances)).await;
            }
        }
        let [first, second] = spent;
        assert!(first <= 50 && second <= 50, "seed {seed}: {spent:?} in windows of 50");
        assert!(first + second <= 70, "seed {seed}: {spent:?} in a day of 70");
        passed_in_all += first + second;
    }
    assert!(passed_in_all > 200 * 40, "{passed_in_all} units passed");
}

#[tokio::test(start_paused = true)]
async fn a_counter_that_does_not_answer_keeps_nothing_of_the_others() {
    let limits = json!([
        { "name": "burst", "limit": 1_000_000, "window_s": 3600 },
        { "name": "daily", "limit": 1_000_000, "per": "day" },
    ]);
    let limited = Limited::new(924, limits).await;
    let leases = Leases::default();
    assert_eq!(limited.ask(&leases, 1).await, Outcome::Passed);
    let mut calls = 0;
    limited.counters.plan(move |_| {
        calls += 1;
        if calls == 1 { Fault::Before } else { Fault::None }
    });
    limited.give_back(&leases).await;
    let counters = limited.counters.counters();
    let mut spent: Vec<i64> =
        counters.iter().filter(|(key, _)| key.starts_with("u:limit:")).map(|(_, spent)| *spent).collect();
    spent.sort_unstable();
    assert!(spent.len() == 2 && spent[0] == 1 && spent[1] > 1, "{spent:?}: given back, and not");
    let noted = limited.counters.values().into_keys().any(|key| key.starts_with("u:ended"));
    assert!(noted, "that both came to be is noted: {counters:?}");
}

#[tokio::test(start_paused = true)]
async fn a_low_limit_goes_one_by_one_and_a_used_up_quota_is_told_apart() {
    let limited = Limited::new(922, json!([{ "name": "daily", "limit": 3, "per": "day" }])).await;
    let (one, other) = (Leases::default(), Leases::default());
    assert_eq!(limited.ask(&one, 1).await, Outcome::Passed);
    assert_eq!(limited.ask(&other, 2).await, Outcome::Passed);
    let used_up = Outcome::Refused(RefusalCode::UsageExceeded);
    assert_eq!(limited.ask(&one, 1).await, used_up);
    // What was taken in vain comes back, and nothing else does.
    limited.give_back(&one).await;
    limited.give_back(&other).await;
    assert_eq!(limited.ask(&other, 1).await, used_up);
    limited.to_a_window(Window::Day);
    assert_eq!(limited.ask(&other, 3).await, Outcome::Passed);
}

#[tokio::test(start_paused = true)]
async fn limits_are_given_changed_and_on_record() {
    let world = World::new(923).await;
    let app = world.application("shop").await;
    let mut new = new_key(app, "k");
    new["limits"] = json!([{ "name": "burst", "limit": 10, "window_s": 1 }]);
    let held = world.held(&new).await;
    let change = json!({ "limits": [{ "name": "burst", "limit": 20, "window_s": 1, "on_outage": "pass" }] });
    let changed = world.run(&Do::ChangeKey(held.id, change, None)).await.expect("changed").json();
    assert_eq!(changed["limits"][0]["limit"], 20);
    let shared = json!({ "limits": [{ "name": "all", "limit": 5, "per": "month" }] });
    let changed = world.run(&Do::ChangeApplication(app, shared, None)).await.expect("changed").json();
    assert_eq!(
        changed["limits"],
        json!([{ "name": "all", "limit": 5, "per": "month", "on_outage": "refuse" }])
    );
    let facts: Vec<String> = world.events().await.into_iter().flat_map(|event| event.detail).collect();
    for fact in
        ["limit burst 10 per 1 s", "limit burst 20 per 1 s, passes on outage", "limit all 5 per month"]
    {
        assert!(facts.iter().any(|found| found == fact), "{fact}");
    }
    let bad = json!({ "limits": [{ "name": "burst", "limit": 0, "window_s": 1 }] });
    let refused = world.run(&Do::ChangeKey(held.id, bad, None)).await.map(|_| ()).expect_err("refused");
    assert_eq!(refused.fields[0].field, "limits[0].limit");
}

#[tokio::test(start_paused = true)]
async fn counters_are_forgotten_once_their_windows_are_over() {
    let limits = json!([
        { "name": "burst", "limit": 5, "window_s": 60 },
        { "name": "monthly", "limit": 5, "per": "month" },
    ]);
    let limited = Limited::new(924, limits).await;
    let (world, counters) = (&limited.world, &limited.counters);
    world.service().forget_ended_limits(counters).await.expect("a first walk");
    let leases = Leases::default();
    assert_eq!(limited.ask(&leases, 1).await, Outcome::Passed);
    let GivenUp { born, .. } = leases.give_up(world.clock.now());
    assert_eq!(born.len(), 2);
    for EndingCounter { counter, hour } in &born {
        let ticket = counters.increment(&names::usage::ended_limits(*hour), 1).await.unwrap().unsigned_abs();
        // A note that names anything else has nothing forgotten.
        let noted = EndedLimits { hour: *hour, ticket, counters: vec![counter.clone(), "k:1".to_owned()] };
        let sealed = SealedUsage::ended(&world.rings.records, &noted, world.rng.bytes()).expect("sealed");
        counters.tamper(sealed.store_key(), Some(sealed.value().to_vec()));
    }
    counters.tamper("k:1", Some(vec![1]));
    let [burst, monthly] = [&born[0].counter, &born[1].counter];
    tokio::time::advance(Duration::from_secs(59 * 60)).await;
    assert_eq!(world.service().forget_ended_limits(counters).await, Ok(0), "too young");
    let mut forgotten = 0;
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(3600)).await;
        // Killed at a call or not, the next run goes on.
        counters.plan(|call| if matches!(call, Call::Forget(_)) { Fault::After } else { Fault::None });
        let _ = world.service().forget_ended_limits(counters).await;
        counters.plan(|_| Fault::None);
        forgotten += world.service().forget_ended_limits(counters).await.expect("forgotten");
    }
    assert!(forgotten <= 1);
    assert_eq!(counters.increment(burst, 0).await, Ok(0), "it is gone");
    assert_eq!(counters.increment(monthly, 0).await, Ok(1), "its month is not over");
    assert!(counters.values().contains_key("k:1"));
    for _ in 0..40 {
        tokio::time::advance(Duration::from_secs(24 * 3600)).await;
        world.service().forget_ended_limits(counters).await.expect("forgotten");
    }
    assert_eq!(counters.increment(monthly, 0).await, Ok(0));
    assert_eq!(counters.values().keys().collect::<Vec<_>>(), ["k:1"], "no note is left");
}
