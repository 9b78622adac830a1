//! One guest instance's state: what it was configured with, what it holds open, what it may use.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::{Semaphore, watch};
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::app::App;
use crate::connect::Networking;
use crate::limits::Limits;
use crate::log::{GuestOutput, Log};
use crate::outbound::AllowedHosts;
use crate::send::Outbound;
use crate::store::Stores;
use crate::traces::Traces;
use crate::world::World;
use crate::world::clock::Clock;

/// What every instance of an application shares.
pub(crate) struct Environment {
    pub(crate) engine: Engine,
    pub(crate) limits: Limits,
    pub(crate) log: Log,
    pub(crate) traces: Traces,
    pub(crate) stores: Stores,
    pub(crate) world: Option<Arc<World>>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) networking: Networking,
    /// Outbound requests in flight.
    pub(crate) outbound: Arc<Semaphore>,
    /// Chained requests in flight.
    pub(crate) chained: Arc<Semaphore>,
    /// The application, for requests that guests send to it. Set once, when it exists.
    pub(crate) app: OnceLock<Weak<App>>,
    /// Instances alive.
    pub(crate) live: Arc<AtomicUsize>,
    /// Turns true when the host stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// One component, as its manifest table has it, variables filled in. No `Debug`: some are secrets.
pub(crate) struct ComponentConfig {
    pub(crate) id: Arc<str>,
    pub(crate) labels: HashSet<String>,
    pub(crate) variables: Arc<HashMap<String, String>>,
    pub(crate) allowed: AllowedHosts,
    pub(crate) environment: Vec<(String, String)>,
}

/// The data of a guest's store.
pub(crate) struct GuestState {
    wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    http: WasiHttpCtx,
    outbound: Outbound,
    limits: StoreLimits,
    pub(crate) env: Arc<Environment>,
    pub(crate) config: Arc<ComponentConfig>,
    pub(crate) open_stores: usize,
    _alive: Alive,
}

struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl GuestState {
    pub(crate) fn clock(&self) -> &Arc<Clock> {
        &self.env.clock
    }

    /// A store for one new instance of `config`'s component.
    pub(crate) fn new_store(env: &Arc<Environment>, config: &Arc<ComponentConfig>) -> Store<Self> {
        let mut wasi = WasiCtx::builder();
        let lines = env.limits.guest_line_bytes_max;
        wasi.stdout(GuestOutput::new(env.log.clone(), config.id.clone(), "stdout", lines));
        wasi.stderr(GuestOutput::new(env.log.clone(), config.id.clone(), "stderr", lines));
        wasi.envs(&config.environment);
        if env.clock.is_virtual() {
            wasi.wall_clock(GuestClock(env.clock.clone()));
            wasi.monotonic_clock(GuestClock(env.clock.clone()));
        }
        if let Some(mut random) = env.world.as_ref().and_then(|world| world.randomness()) {
            wasi.insecure_random_seed(u128::from(random.next_u64()));
            wasi.insecure_random(StdRng::seed_from_u64(random.next_u64()));
            wasi.secure_random(random);
        }
        env.live.fetch_add(1, Ordering::AcqRel);
        let limits = StoreLimitsBuilder::new()
            .memory_size(env.limits.guest_memory_bytes_max)
            .trap_on_grow_failure(true)
            .build();
        let state = Self {
            wasi: wasi.build(),
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            outbound: Outbound { env: env.clone(), config: config.clone() },
            limits,
            env: env.clone(),
            config: config.clone(),
            open_stores: 0,
            _alive: Alive(env.live.clone()),
        };
        let mut store = Store::new(&env.engine, state);
        store.limiter(|state| &mut state.limits);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outbound, table: &mut self.table, ctx: &mut self.http }
    }
}

struct GuestClock(Arc<Clock>);

impl HostWallClock for GuestClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.0.wall()
    }
}

impl HostMonotonicClock for GuestClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.0.mono_ns()
    }
}
