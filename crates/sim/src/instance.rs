//! Where the service runs: instances with connections, rings, caches and clocks of their own, that may die at any call of the store; and
//! validators at the edge, which read a replica. What becomes of a call is drawn here and nowhere else.

use crate::flaws::{Flaw, Flawed, Memory};
use crate::limits::{CounterStore, Counters};
use crate::world::{Do, Reply, SeededRng, Store, TestClock, World, perform_for_receipt, rings, vault_ring};
use futures::future::{Either, select};
use keyward_domain::ports::NoSink;
use keyward_domain::{Code, Error, Result};
use keyward_ledger::Receipt;
use keyward_ledger::memory::{Fault, Replica};
use keyward_records::{KvRead, Rings};
use keyward_service::{Caller, Service};
use keyward_verify::{Administrator, Demand, InstanceCache, Leases, Verdict, Verifier};
use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use tokio::sync::Notify;

/// How much goes wrong between the instances and the store, in thousandths of the calls.
#[derive(Clone, Copy)]
pub struct Weather {
    /// Fail, half of them after they were applied.
    pub failing: usize,
    /// Are done twice.
    pub repeated: usize,
    /// Kill the process, before or after they were applied.
    pub deadly: usize,
    /// Take seconds; the others take up to [`CALL_MS_MAX`].
    pub slow: usize,
    /// Take longer than anybody waits.
    pub stalled: usize,
}

impl Weather {
    pub const FAIR: Self = Self { failing: 0, repeated: 0, deadly: 0, slow: 0, stalled: 0 };
}

/// The longest that a call of the store usually takes.
const CALL_MS_MAX: usize = 12;
/// What a slow one takes: less than the time after which a writer is given up.
const SLOW_MS: u64 = 1_800;
/// What a stalled one takes: by then a writer was stepped over.
const STALLED_MS: u64 = 20_000;

/// The versions of the rings that a process starts with, the last of each active.
#[derive(Clone)]
pub struct Versions {
    pub records: Vec<u8>,
    pub audit: Vec<u8>,
    pub vault: Vec<u8>,
}

impl Versions {
    fn rings(&self) -> Rings {
        Rings { vault: Some(vault_ring(&self.vault)), ..rings(&self.records, &self.audit, &[1]) }
    }
}

/// A process.
#[derive(Default)]
pub struct Process {
    is_dead: Cell<bool>,
    died: Notify,
}

/// One of several instances of the service.
pub struct Instance {
    pub kv: Flawed,
    pub rings: Rings,
    pub clock: TestClock,
    pub leases: Leases,
    applications: InstanceCache,
    process: Rc<Process>,
}

/// What all instances of a world have in common.
pub struct Site {
    pub weather: Rc<Cell<Weather>>,
    pub rng: Rc<SeededRng>,
    pub behind: Rc<Store>,
    pub flaw: Option<Flaw>,
    pub memory: Rc<Memory>,
    pub counters: CounterStore,
}

impl Site {
    /// Starts an instance.
    pub fn start(&self, world: &World, versions: &Versions) -> Instance {
        let skew_ms = i64::try_from(self.rng.below(1_000)).unwrap() - 500;
        let clock = world.clock.ahead_by(skew_ms);
        let kv = world.kv.connect(clock.clone());
        let process = Rc::new(Process::default());
        let (weather, rng, dying) = (Rc::clone(&self.weather), Rc::clone(&self.rng), Rc::clone(&process));
        kv.plan(move |_| draw(&weather.get(), &rng, &dying));
        let (flaw, memory) = (self.flaw, Rc::clone(&self.memory));
        let kv = Flawed { kv, behind: Rc::clone(&self.behind), flaw, memory };
        let applications = InstanceCache::default();
        Instance { kv, rings: versions.rings(), clock, leases: Leases::default(), applications, process }
    }
}

/// What becomes of a call.
pub fn draw(weather: &Weather, rng: &SeededRng, process: &Process) -> Fault {
    if process.is_dead.get() {
        return Fault::Crash;
    }
    let mut at = rng.below(1_000);
    let mut falls_in = |part: usize| {
        let falls = at < part;
        at = if falls { usize::MAX } else { at.saturating_sub(part) };
        falls
    };
    if falls_in(weather.deadly) {
        process.is_dead.set(true);
        process.died.notify_waiters();
        return *rng.one_of(&[Fault::Crash, Fault::CrashAfter]);
    }
    if falls_in(weather.failing) {
        return *rng.one_of(&[Fault::Before, Fault::After]);
    }
    if falls_in(weather.repeated) {
        return Fault::Twice;
    }
    if falls_in(weather.slow) {
        return *rng.one_of(&[
            Fault::Slow(SLOW_MS),
            Fault::SlowReply(SLOW_MS),
            Fault::SlowReply(2 * SLOW_MS),
        ]);
    }
    if falls_in(weather.stalled) {
        return *rng.one_of(&[Fault::Slow(STALLED_MS), Fault::SlowReply(STALLED_MS)]);
    }
    // Half of the calls take no time, so that orders differ within a millisecond as well.
    match rng.below(2 * CALL_MS_MAX) {
        ms if ms < CALL_MS_MAX => Fault::None,
        ms if ms % 2 == 0 => Fault::Slow(u64::try_from(ms - CALL_MS_MAX).unwrap()),
        ms => Fault::SlowReply(u64::try_from(ms - CALL_MS_MAX).unwrap()),
    }
}

impl Instance {
    pub fn is_dead(&self) -> bool {
        self.process.is_dead.get()
    }

    /// A connection to the store of counters.
    pub fn counters<'a>(&'a self, site: &'a Site) -> Counters<'a> {
        Counters::new(&site.counters, &self.process, self.clock.clone())
    }

    pub fn service<'a>(&'a self, rng: &'a SeededRng) -> Service<'a, Flawed, TestClock, SeededRng> {
        Service::new(&self.kv, &self.rings, &self.clock, rng, &NoSink, "https://keyward.example")
    }

    /// What work in this process comes to; `None` where the process dies meanwhile, and the work with it.
    pub async fn living<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let died = pin!(self.process.died.notified());
        if self.is_dead() {
            return None;
        }
        match select(pin!(work), died).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    pub async fn verify(&self, token: &str) -> Result<Verdict> {
        verify(&self.kv, &self.rings, &self.applications, &self.clock, token).await
    }

    /// One request, from its credential to its answer, as a component serves it.
    pub async fn serve(
        &self,
        world: &World,
        token: Option<&str>,
        what: &Do,
        idempotency_key: Option<&str>,
    ) -> (Result<Reply>, Option<Receipt>) {
        let caller = match token {
            None => world.holder(idempotency_key),
            Some(token) => match self.admit(world, token, idempotency_key).await {
                Ok(caller) => caller,
                Err(error) => return (Err(error), None),
            },
        };
        perform_for_receipt(&self.service(&world.rng), caller, what).await
    }

    /// The caller that an admin's token stands for.
    pub async fn admit(&self, world: &World, token: &str, idempotency_key: Option<&str>) -> Result<Caller> {
        let Verdict::Accepted(verified) = self.verify(token).await? else {
            return Err(Error::new(Code::Unauthenticated, "the admin's token does not pass"));
        };
        let admin = Administrator::of(verified, &self.kv, &self.rings.records).await?;
        let key = idempotency_key.map(|key| keyward_crypto::SecretText::new(key.to_owned()));
        Ok(Caller::admin(&admin, World::source(), world.request(), key))
    }
}

/// A validator at the edge.
pub struct Edge {
    pub replica: Replica<TestClock>,
    rings: Rings,
    applications: InstanceCache,
    clock: TestClock,
    /// How far it is behind while it is not cut off.
    pub lag_ms: Cell<u64>,
    pub is_cut: Cell<bool>,
    /// Since when it is as far behind as it is.
    pub since_ms: Cell<u64>,
}

impl Edge {
    pub fn new(world: &World, versions: &Versions) -> Self {
        Self {
            replica: world.kv.replica(world.clock.clone()),
            rings: versions.rings(),
            applications: InstanceCache::default(),
            clock: world.clock.clone(),
            lag_ms: Cell::new(0),
            is_cut: Cell::new(false),
            since_ms: Cell::new(0),
        }
    }

    pub async fn verify(&self, token: &str) -> Result<Verdict> {
        verify(&self.replica, &self.rings, &self.applications, &self.clock, token).await
    }
}

async fn verify(
    kv: &impl KvRead,
    rings: &Rings,
    applications: &InstanceCache,
    clock: &TestClock,
    token: &str,
) -> Result<Verdict> {
    Verifier::new(kv, &rings.records, &rings.peppers, applications, clock)
        .verify(token, &Demand::default())
        .await
}
