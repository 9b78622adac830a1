//! A revocation races whatever else may happen to the same key: in every order of store calls every secret is dead afterwards.

use crate::world::{Do, Reply, SeededRng, Store, World, new_key, perform};
use keyward_domain::ports::{Clock, NoSink};
use keyward_domain::{Code, Result, Timestamp};
use keyward_ledger::{Batch, KvWrite};
use keyward_records::{KvCount, KvRead, StoreError};
use keyward_service::Service;
use keyward_verify::Demand;
use serde_json::json;
use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A store whose every call is a step: it happens when the schedule says so.
struct Stepped<'a>(&'a Store);

/// Comes back at the next poll.
async fn step() {
    let mut waited = false;
    std::future::poll_fn(
        |_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending },
    )
    .await;
}

impl KvRead for Stepped<'_> {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        step().await;
        self.0.get(key).await
    }
}

impl KvCount for Stepped<'_> {
    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        step().await;
        self.0.increment(key, delta).await
    }
}

impl KvWrite for Stepped<'_> {
    async fn set_many(&self, batch: &Batch) -> Result<(), StoreError> {
        step().await;
        self.0.set_many(batch).await
    }
}

/// Time that passes only where everybody sleeps.
struct SteppedClock<'a> {
    world: &'a World,
    elapsed_ms: Cell<u64>,
    /// Until when whoever was polled last sleeps.
    asleep_until_ms: Cell<Option<u64>>,
}

impl Clock for SteppedClock<'_> {
    fn now(&self) -> Timestamp {
        let elapsed_ms = i64::try_from(self.elapsed_ms.get()).unwrap();
        Timestamp::from_unix_ms(self.world.clock.now().unix_ms() + elapsed_ms)
    }

    fn monotonic_ms(&self) -> u64 {
        self.elapsed_ms.get()
    }

    async fn sleep_ms(&self, ms: u64) {
        let until_ms = self.elapsed_ms.get() + ms;
        std::future::poll_fn(|_| {
            if self.elapsed_ms.get() >= until_ms {
                return Poll::Ready(());
            }
            self.asleep_until_ms.set(Some(until_ms));
            Poll::Pending
        })
        .await;
    }
}

/// Runs all of `what` at once; `choose` picks whose call comes next among those awake, by how many there are. Whoever is in
/// `frozen` makes so many steps and then none until the others are done.
pub async fn interleave(
    world: &World,
    what: &[Do],
    mut choose: impl FnMut(usize) -> usize,
    frozen: Option<(usize, usize)>,
) -> Vec<Result<Reply>> {
    let mut callers = Vec::new();
    for what in what {
        callers.push(match what {
            Do::TakeClaim(_) | Do::Report(_) | Do::Renew(_) => world.holder(None),
            _ => world.caller(&world.root).await,
        });
    }
    let kv = Stepped(&world.kv);
    let clock = SteppedClock { world, elapsed_ms: Cell::new(0), asleep_until_ms: Cell::new(None) };
    let service = Service::new(&kv, &world.rings, &clock, &world.rng, &NoSink, "https://keyward.example");
    let mut tasks: Vec<Pin<Box<dyn Future<Output = Result<Reply>> + '_>>> = Vec::new();
    for (what, caller) in what.iter().zip(callers) {
        tasks.push(Box::pin(perform(&service, caller, what)));
    }
    let mut asleep: Vec<Option<u64>> = vec![None; tasks.len()];
    let mut results: Vec<Option<Result<Reply>>> = tasks.iter().map(|_| None).collect();
    let mut steps = vec![0_usize; tasks.len()];
    let mut context = Context::from_waker(Waker::noop());
    // Up to the first call of each: until then nobody sees anybody.
    for (task, result) in tasks.iter_mut().zip(&mut results) {
        if let Poll::Ready(ready) = task.as_mut().poll(&mut context) {
            *result = Some(ready);
        }
    }
    loop {
        let open: Vec<usize> = (0..tasks.len()).filter(|at| results[*at].is_none()).collect();
        if open.is_empty() {
            return results.into_iter().flatten().collect();
        }
        let still = |at: &usize| {
            frozen.is_some_and(|(who, after)| who == *at && steps[who] >= after && open.len() > 1)
        };
        let awake: Vec<usize> =
            open.iter().copied().filter(|at| asleep[*at].is_none() && !still(at)).collect();
        if awake.is_empty() {
            let next = open.iter().filter(|at| !still(at)).filter_map(|at| asleep[*at]).min();
            clock.elapsed_ms.set(next.expect("somebody sleeps"));
            for until in &mut asleep {
                *until = until.filter(|until| *until > clock.elapsed_ms.get());
            }
            continue;
        }
        let at = awake[if awake.len() == 1 { 0 } else { choose(awake.len()) }];
        steps[at] += 1;
        if let Poll::Ready(result) = tasks[at].as_mut().poll(&mut context) {
            results[at] = Some(result);
        }
        asleep[at] = clock.asleep_until_ms.take();
    }
}

/// Every schedule, one after the other, as long as `run` is asked for another one.
pub struct Schedules {
    choices: Vec<(usize, usize)>,
    at: usize,
}

impl Schedules {
    pub const fn new() -> Self {
        Self { choices: Vec::new(), at: 0 }
    }

    pub fn choose(&mut self, among: usize) -> usize {
        if self.at == self.choices.len() {
            self.choices.push((0, among));
        }
        self.at += 1;
        self.choices[self.at - 1].0
    }

    /// Goes on to the next schedule; whether there is one.
    pub fn next(&mut self) -> bool {
        self.choices.truncate(self.at);
        self.at = 0;
        while let Some((chosen, among)) = self.choices.pop() {
            if chosen + 1 < among {
                self.choices.push((chosen + 1, among));
                return true;
            }
        }
        false
    }
}

/// A key with one secret, and one that waits to be claimed.
struct Stage {
    world: World,
    app: keyward_domain::ApplicationId,
}

impl Stage {
    async fn new() -> Self {
        let world = World::new(120).await;
        let app = world.application("shop").await;
        Self { world, app }
    }

    /// Revokes a fresh key while `rivals` (names) happen to it, and checks that it is dead.
    async fn race(
        &self,
        rivals: &[&str],
        choose: impl FnMut(usize) -> usize,
        frozen: Option<(usize, usize)>,
    ) {
        let world = &self.world;
        let (id, ticket) = world.issue(&new_key(self.app, "k")).await;
        let mut tokens = Vec::new();
        let claimed = rivals.iter().any(|rival| matches!(*rival, "edit of a claimed key" | "report"));
        if claimed {
            tokens.push(world.run(&Do::TakeClaim(ticket.clone())).await.expect("a token").at("/token"));
        }
        let mut all = vec![Do::RevokeKey(id, "lost")];
        all.extend(rivals.iter().map(|rival| match *rival {
            "edit" | "edit of a claimed key" => {
                Do::ChangeKey(id, json!({"name": "edited", "disabled": false}), None)
            }
            "claim" => Do::TakeClaim(ticket.clone()),
            "reissue" => Do::Reissue(id),
            "revoke" => Do::RevokeKey(id, "found"),
            "report" => Do::Report(tokens[0].clone()),
            other => panic!("{other}"),
        }));
        let mut results = interleave(world, &all, choose, frozen).await;
        let revoked = results.remove(0).expect("a revocation waits for nobody and fails for nobody");
        assert!(revoked.at("/key/id") == id.to_string());
        for (rival, result) in rivals.iter().zip(results) {
            match result {
                Ok(reply) if *rival == "claim" => tokens.push(reply.at("/token")),
                Ok(_) => {}
                Err(error) => {
                    let stepped_over = frozen.is_some() && error.code == Code::StoreUnavailable;
                    let refused = matches!(
                        error.code,
                        Code::Revoked | Code::ClaimGone | Code::ClaimTaken | Code::StateConflict
                    );
                    assert!(refused || stepped_over, "{rival}: {error}");
                }
            }
        }
        for token in &tokens {
            assert_eq!(world.code(token, &Demand::default()).await, "REVOKED", "{rivals:?}");
        }
        assert!(matches!(world.read().flag(id).await, Ok(Some(Some(_)))), "{rivals:?}: a tombstone");
        let shown = world.run(&Do::ReadKey(id)).await.expect("a key").at("/state");
        assert_eq!(shown, "revoked", "{rivals:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_every_order_of_calls_the_key_is_dead() {
    for (rival, at_least) in [("edit", 200), ("claim", 200), ("reissue", 200), ("revoke", 20)] {
        let stage = Stage::new().await;
        let mut schedules = Schedules::new();
        let mut count = 0;
        loop {
            stage.race(&[rival], |among| schedules.choose(among), None).await;
            count += 1;
            if !schedules.next() {
                break;
            }
        }
        assert!(count >= at_least, "{rival}: {count} orders");
    }
}

#[tokio::test(start_paused = true)]
async fn in_many_orders_of_three_the_key_is_dead() {
    let stage = Stage::new().await;
    let rng = SeededRng::new(121);
    for round in 0..150 {
        let rivals: &[&str] = match round % 4 {
            0 => &["edit", "claim"],
            1 => &["reissue", "claim", "edit"],
            2 => &["edit of a claimed key", "report"],
            _ => &["claim", "claim", "revoke"],
        };
        stage.race(rivals, |among| rng.below(among), None).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_frozen_at_any_call_and_wakes_late_revives_nothing() {
    let stage = Stage::new().await;
    for rivals in [["edit", "reissue"], ["claim", "edit"], ["reissue", "claim"], ["edit", "edit"]] {
        for who in 0..3 {
            for after in 0..10 {
                stage.race(&rivals, |_| 0, Some((who, after))).await;
                stage.race(&rivals, |among| among - 1, Some((who, after))).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_revoked_beside_an_issue_leaves_no_key_of_before_alive() {
    let mut stage = Stage::new().await;
    let mut schedules = Schedules::new();
    loop {
        stage.race_of_all("issue", |among| schedules.choose(among)).await;
        if !schedules.next() {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_revoked_beside_a_claim_leaves_no_key_of_before_alive() {
    let mut stage = Stage::new().await;
    let rng = SeededRng::new(122);
    for _ in 0..150 {
        stage.race_of_all("claim", |among| rng.below(among)).await;
    }
}

impl Stage {
    /// Revokes a fresh application while `rival` happens to it.
    async fn race_of_all(&mut self, rival: &str, choose: impl FnMut(usize) -> usize) {
        // Another application each time: how often one was revoked before shows in the number of reads.
        self.app = self.world.application(&format!("shop {}", self.world.rng.next())).await;
        let world = &self.world;
        let (id, ticket) = world.issue(&new_key(self.app, "before")).await;
        let what = match rival {
            "issue" => Do::Issue(new_key(self.app, "beside")),
            _ => Do::TakeClaim(ticket.clone()),
        };
        let all = [Do::RevokeApplication(self.app, "leak"), what];
        let mut results = interleave(world, &all, choose, None).await;
        let other = results.pop().expect("two");
        results.remove(0).expect("revoked");
        match other {
            Ok(reply) if rival == "claim" => {
                assert_eq!(world.code(&reply.at("/token"), &Demand::default()).await, "REVOKED");
            }
            Ok(_) => {}
            Err(error) => assert_eq!((rival, error.code), ("claim", Code::ClaimGone)),
        }
        assert_eq!(world.run(&Do::ReadKey(id)).await.expect("a key").at("/state"), "revoked");
        let later = world.held(&new_key(self.app, "after")).await;
        assert_eq!(world.code(&later.token, &Demand::default()).await, "VALID", "keys issued later live");
    }
}
