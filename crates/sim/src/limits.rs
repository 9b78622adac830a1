//! Limits in a world: keys and their application under limits, instances that lease of them, and one store of counters, which fails,
//! repeats and falls silent like any other. What passed in each window is kept here, and held to the limit at each request.

use crate::flaws::{Flaw, Memory};
use crate::instance::{Instance, Process, Weather, draw};
use crate::run::Sim;
use crate::world::{Do, SeededRng, Store, TestClock, new_key};
use futures::future::join_all;
use keyward_domain::limit::{Limit, OnOutage, Window};
use keyward_domain::ports::Clock;
use keyward_domain::{ApplicationId, KeyId};
use keyward_ledger::memory::Fault;
use keyward_records::{KvCount, KvForget, KvRead, KvUsage, Reader, SealedUsage, StoreError, names};
use keyward_verify::{Limiter, Verdict};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// How long an instance holds what it leased, as the component does.
const HELD_MS: u64 = 300;
/// Requests of a task, and within how many milliseconds they come.
const REQUESTS: usize = 12;
const WITHIN_MS: u64 = 1_500;
/// Counters are forgotten an hour after their windows: clocks that went back by less than this cannot come upon a window again.
const STEPS_BACK_MS_MAX: i64 = 50 * 60 * 1_000;
/// Requests after which an instance has leased more than it was asked for, where the limit is high.
const LEASING: u64 = 2;
/// Runs within which months of forgetting are made up for.
const RUNS: usize = 400;

/// The store of counters, and what is wrong with it.
pub struct CounterStore {
    kv: Store,
    rng: Rc<SeededRng>,
    weather: Rc<Cell<Weather>>,
    /// It answers nobody.
    pub is_down: Cell<bool>,
    flaw: Option<Flaw>,
    memory: Rc<Memory>,
    /// Units that it gave back once more than it was asked to, by counter: where it repeats a call that gives back, and only there, more
    /// passes than the limit.
    given_twice: RefCell<BTreeMap<String, u64>>,
}

impl CounterStore {
    pub fn new(
        clock: TestClock,
        rng: Rc<SeededRng>,
        weather: Rc<Cell<Weather>>,
        flaw: Option<Flaw>,
        memory: Rc<Memory>,
    ) -> Self {
        let kv = Store::new(clock);
        Self { kv, rng, weather, is_down: Cell::new(false), flaw, memory, given_twice: RefCell::default() }
    }

    fn fault(&self, process: &Process) -> Fault {
        if self.is_down.get() {
            return Fault::Before;
        }
        draw(&self.weather.get(), &self.rng, process)
    }
}

/// A process's connection to the store of counters, for one request or task.
pub struct Counters<'a> {
    store: &'a CounterStore,
    process: &'a Process,
    kv: Store,
    /// What becomes of the call that is about to be made.
    next: Rc<Cell<Fault>>,
    /// The counters of which no answer came.
    unanswered: RefCell<BTreeSet<String>>,
}

impl<'a> Counters<'a> {
    pub fn new(store: &'a CounterStore, process: &'a Process, clock: TestClock) -> Self {
        let kv = store.kv.connect(clock);
        let next = Rc::new(Cell::new(Fault::None));
        let planned = Rc::clone(&next);
        kv.plan(move |_| planned.get());
        Self { store, process, kv, next, unanswered: RefCell::default() }
    }
}

impl KvCount for Counters<'_> {
    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        let fault = self.store.fault(self.process);
        self.next.set(fault);
        if fault == Fault::Twice && delta < 0 {
            *self.store.given_twice.borrow_mut().entry(key.to_owned()).or_default() += delta.unsigned_abs();
        }
        let takes = names::usage::is_limit(key) && delta > 0;
        if self.store.flaw == Some(Flaw::CounterEvicted) && takes && self.store.memory.shows() {
            self.store.kv.set_counter(key, 0);
        }
        let counted = self.kv.increment(key, delta).await;
        if counted.is_err() {
            self.unanswered.borrow_mut().insert(key.to_owned());
        }
        let is_before = self.store.flaw == Some(Flaw::SumBefore) && takes;
        counted.map(|count| if is_before { count - delta } else { count })
    }
}

impl KvRead for Counters<'_> {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.next.set(self.store.fault(self.process));
        self.kv.get(key).await
    }
}

impl KvForget for Counters<'_> {
    async fn forget(&self, key: &str) -> Result<(), StoreError> {
        self.next.set(self.store.fault(self.process));
        self.kv.forget(key).await
    }
}

impl KvUsage for Counters<'_> {
    async fn keep(&self, usage: &SealedUsage) -> Result<(), StoreError> {
        if self.store.flaw == Some(Flaw::NoteLost) && self.store.memory.shows() {
            return Ok(());
        }
        self.next.set(self.store.fault(self.process));
        self.kv.keep(usage).await
    }
}

/// One limit, and the most that it ever allowed.
struct Under {
    holder: [u8; 16],
    limit: Limit,
    most: Cell<u64>,
}

/// A key under limits. Nothing ends it.
struct LimitedKey {
    id: KeyId,
    token: String,
    own: Vec<Under>,
}

/// Keys under limits and their application, and what passed.
pub struct Limited {
    application: ApplicationId,
    shared: Under,
    keys: Vec<LimitedKey>,
    passed: RefCell<BTreeMap<String, u64>>,
    /// Counters of which it was acknowledged that they came to be.
    noted: RefCell<BTreeSet<String>>,
}

fn given(limits: &[&Limit]) -> Value {
    let one = |limit: &&Limit| {
        let mut one = json!({"name": limit.name, "limit": limit.amount, "on_outage": limit.on_outage});
        match limit.window {
            Window::Seconds(window_s) => one["window_s"] = json!(window_s),
            Window::Day => one["per"] = json!("day"),
            Window::Month => one["per"] = json!("month"),
        }
        one
    };
    limits.iter().map(one).collect()
}

fn some_limit(rng: &SeededRng, name: &str, windows: &[Window]) -> Limit {
    Limit {
        name: name.to_owned(),
        amount: *rng.one_of(&[5, 40, 640]),
        window: *rng.one_of(windows),
        on_outage: *rng.one_of(&[OnOutage::Refuse, OnOutage::Pass]),
    }
}

impl Limited {
    /// An application and two keys under limits, before anything went wrong.
    pub async fn settle_in(sim: &Sim) -> Self {
        let rng = &sim.acting;
        let of_seconds = [Window::Seconds(1), Window::Seconds(10), Window::Seconds(3_600)];
        let limit = some_limit(rng, "shared", &of_seconds);
        let new = json!({ "name": "limited", "limits": given(&[&limit]) });
        let reply = sim.world.run(&Do::CreateApplication(new)).await.expect("an application");
        let application: ApplicationId = reply.at("/id").parse().unwrap();
        let under = |holder, limit: Limit| Under { holder, most: Cell::new(limit.amount), limit };
        let shared = under(*application.as_bytes(), limit);
        let mut keys = Vec::new();
        for name in ["first", "second"] {
            let limits = [some_limit(rng, "burst", &of_seconds), some_limit(rng, "quota", &[Window::Day])];
            let mut new = new_key(application, name);
            new["limits"] = given(&limits.iter().collect::<Vec<_>>());
            let held = sim.world.held(&new).await;
            let own = limits.into_iter().map(|limit| under(*held.id.as_bytes(), limit)).collect();
            keys.push(LimitedKey { id: held.id, token: held.token, own });
        }
        let limited =
            Self { application, shared, keys, passed: RefCell::default(), noted: RefCell::default() };
        // Forgetting begins an hour back wherever it never went: it has to have begun.
        sim.world.service().forget_ended_limits(&sim.site.counters.kv).await.expect("a first walk");
        limited
    }

    /// A request that costs so much; whether it passes, where it is answered. Without one, the instance died.
    async fn ask(&self, sim: &Sim, instance: &Instance, key: &LimitedKey, cost: u64) -> Option<bool> {
        let counters = instance.counters(&sim.site);
        let asked = instance.living(async {
            let verdict = instance.verify(&key.token).await.ok()?;
            let now = instance.clock.now();
            let limiter = Limiter::new(&counters, &instance.leases, &instance.clock);
            let (verdict, _) = limiter.admit(verdict, cost).await.ok()?;
            Some((now, matches!(verdict, Verdict::Accepted(_))))
        });
        let (now, passes) = asked.await.flatten()?;
        if passes {
            for under in key.own.iter().chain([&self.shared]) {
                let window = under.limit.window.at(now).number;
                let counter = names::usage::limit(&under.holder, under.limit.tag(), window);
                // A limit that lets pass while nobody counts has no say then.
                if !counters.unanswered.borrow().contains(&counter) {
                    self.note(sim, under, counter, cost);
                }
            }
        }
        Some(passes)
    }

    /// Something passed and was counted: no more than the limit in any window.
    fn note(&self, sim: &Sim, under: &Under, counter: String, cost: u64) {
        let given_twice = sim.site.counters.given_twice.borrow().get(&counter).copied().unwrap_or(0);
        let mut passed = self.passed.borrow_mut();
        let passed = passed.entry(counter).or_default();
        *passed += cost;
        let most = under.most.get() + given_twice;
        let name = &under.limit.name;
        let may = *passed <= most || sim.stepped_back_ms.get() > STEPS_BACK_MS_MAX;
        assert!(may, "{passed} units passed in one window of the limit {name}, which allows {most}");
    }

    /// What an instance owes is given back and noted.
    async fn give_up(&self, sim: &Sim, instance: &Instance) {
        let counters = instance.counters(&sim.site);
        let given_up = instance.leases.give_up(instance.clock.now());
        let born: Vec<String> = given_up.born.iter().map(|born| born.counter.clone()).collect();
        let written = given_up.write(&counters, &instance.rings.records, &*sim.acting);
        if instance.living(written).await == Some(Ok(())) {
            self.noted.borrow_mut().extend(born);
        }
    }

    /// Requests of one moment to some instances.
    pub async fn use_some(&self, sim: &Sim) {
        let rng = &sim.acting;
        let requests = (0..REQUESTS).map(|_| async {
            tokio::time::sleep(Duration::from_millis(rng.next() % WITHIN_MS)).await;
            let (instance, key) = (sim.instance_for(rng), rng.one_of(&self.keys));
            let cost = *rng.one_of(&[1, 1, 1, 3, 40]);
            self.ask(sim, &instance, key, cost).await;
            if !instance.is_dead() && instance.leases.wants_seeing_to() {
                tokio::time::sleep(Duration::from_millis(HELD_MS)).await;
                self.give_up(sim, &instance).await;
            }
        });
        join_all(requests).await;
    }

    /// An admin gives a key another amount of a limit; what was used counts on.
    pub async fn change(&self, sim: &Sim) {
        let key = sim.acting.one_of(&self.keys);
        let mut limits: Vec<Limit> = key.own.iter().map(|under| under.limit.clone()).collect();
        for (limit, under) in limits.iter_mut().zip(&key.own) {
            limit.amount = *sim.acting.one_of(&[5, 20, 60, 640]);
            under.most.set(under.most.get().max(limit.amount));
        }
        let limits = given(&limits.iter().collect::<Vec<_>>());
        sim.call(&Do::ChangeKey(key.id, json!({ "limits": limits }), None), None).await;
    }

    /// Forgets counters whose windows are over, as maintenance does.
    pub async fn forget(&self, sim: &Sim, instance: &Instance) {
        let counters = instance.counters(&sim.site);
        let service = instance.service(&sim.world.rng);
        let _ = instance.living(service.forget_ended_limits(&counters)).await;
    }

    /// When everything works again, and every window is a new one: what was leased comes back, so that all of a limit can be used; and
    /// of windows that are over nothing is left that anybody noted.
    pub async fn judge(&self, sim: &Sim) {
        for key in &self.keys {
            let instance = sim.instance_for(&sim.acting);
            let reader = Reader::new(&instance.kv, &instance.rings);
            let stored = reader.key(key.id).await.expect("opens").expect("is there");
            let shared = reader.application(self.application).await.expect("opens").expect("is there");
            let amounts = stored.limits.iter().chain(&shared.limits).map(|limit| limit.amount);
            let least = amounts.min().expect("a limit");
            for _ in 0..LEASING {
                let one = self.ask(sim, &instance, key, 1).await;
                assert_eq!(one, Some(true), "a new window has nothing left");
            }
            self.give_up(sim, &instance).await;
            let other = sim.instance_for(&sim.acting);
            let all = self.ask(sim, &other, key, least - LEASING).await;
            assert_eq!(all, Some(true), "what was leased and not spent did not come back");
            self.give_up(sim, &other).await;
            // The other key shares the application's limit.
            tokio::time::advance(Duration::from_secs(3 * 24 * 3_600)).await;
        }
        let instance = sim.instance_for(&sim.acting);
        let reader = Reader::new(&instance.kv, &instance.rings);
        let mut is_done = false;
        for _ in 0..RUNS {
            self.forget(sim, &instance).await;
            let walk = reader.ended_walk().await.expect("opens").expect("it began");
            is_done = walk.hour >= instance.clock.now().unix_s().div_euclid(3_600);
            if is_done {
                break;
            }
        }
        assert!(is_done, "the forgetting of counters does not come to an end");
        if sim.stepped_back_ms.get() > STEPS_BACK_MS_MAX {
            return;
        }
        let (counters, notes) = (sim.site.counters.kv.counters(), sim.site.counters.kv.values());
        let left = self.noted.borrow().iter().find(|counter| counters.contains_key(*counter)).cloned();
        assert_eq!(left, None, "the counter of a window that is over was noted, and is not forgotten");
        assert!(notes.is_empty(), "notes of windows that are over are left: {:?}", notes.keys());
    }
}
