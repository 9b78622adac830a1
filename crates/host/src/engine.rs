//! The Wasm engine with the bounds that hold for every guest, and the linker with everything a guest may
//! import. Knows no manifest.

use std::time::Duration;

use wasmtime::component::{HasData, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ProfilingStrategy};
use wasmtime_wasi::p3::bindings::clocks as p3_clocks;

use crate::bindings::imports;
use crate::error::StartError;
use crate::guest::GuestState;
use crate::keyvalue::Guest;
use crate::limits::Limits;

/// Core instances, memories and tables that one component may have: a component of an SDK is three or four
/// core modules around one memory.
const CORE_INSTANCES_PER_COMPONENT: u32 = 16;
const MEMORIES_PER_COMPONENT: u32 = 2;
const TABLES_PER_COMPONENT: u32 = 16;

/// Builds the engine and starts the thread that moves its epoch. The thread ends with the engine.
pub(crate) fn build(limits: &Limits, perf_map: bool) -> Result<Engine, StartError> {
    let profiler = || if perf_map { ProfilingStrategy::PerfMap } else { ProfilingStrategy::None };
    let engine = Engine::new(config(limits, true).profiler(profiler()))
        // Where address space is short (containers, `ulimit -v`) instances are made one by one: slower, as bounded.
        .or_else(|_| Engine::new(config(limits, false).profiler(profiler())))
        .map_err(|e| StartError::Engine(e.to_string()))?;
    let weak = engine.weak();
    let slice = limits.time_slice;
    std::thread::Builder::new()
        .name("epoch".into())
        .spawn(move || {
            loop {
                std::thread::sleep(slice);
                match weak.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })
        .map_err(|e| StartError::system("start a thread", e))?;
    Ok(engine)
}

fn config(limits: &Limits, pooled: bool) -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    config.wasm_component_model_async(true);
    // Without it three busy loops hold every thread of the host.
    config.epoch_interruption(true);
    if pooled {
        let instances = limits.instances_max;
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(instances);
        pool.total_core_instances(instances.saturating_mul(4));
        pool.total_memories(instances.saturating_add(instances / 8));
        pool.total_tables(instances.saturating_mul(4));
        pool.total_stacks(instances.saturating_mul(4));
        pool.max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT);
        pool.max_memories_per_component(MEMORIES_PER_COMPONENT);
        pool.max_tables_per_component(TABLES_PER_COMPONENT);
        pool.max_memory_size(limits.guest_memory_bytes_max);
        // Pages kept for the next instance of the same component instead of handed back to the kernel.
        pool.linear_memory_keep_resident(256 << 10);
        pool.table_keep_resident(16 << 10);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// Everything a guest may import. `virtual_clock` puts the test world's clock under the guests' sleeps.
pub(crate) fn linker(engine: &Engine, virtual_clock: bool) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    imports::spin::key_value::key_value::add_to_linker::<_, Guest>(&mut linker, |state| state)?;
    imports::spin::variables::variables::add_to_linker::<_, Guest>(&mut linker, |state| state)?;
    imports::wasi::keyvalue::store::add_to_linker::<_, Guest>(&mut linker, |state| state)?;
    imports::wasi::keyvalue::atomics::add_to_linker::<_, Guest>(&mut linker, |state| state)?;
    imports::wasi::keyvalue::batch::add_to_linker::<_, Guest>(&mut linker, |state| state)?;
    crate::bindings::cron::spin::cron::cron_types::add_to_linker::<_, Guest>(&mut linker, |state| state)?;
    if virtual_clock {
        // WASI's own implementation sleeps by the runtime's timer, whatever its clock shows.
        linker.allow_shadowing(true);
        p3_clocks::monotonic_clock::add_to_linker::<_, Sleeps>(&mut linker, |state| state)?;
        linker.allow_shadowing(false);
    }
    Ok(linker)
}

/// The guests' monotonic clock in the test world.
struct Sleeps;

impl HasData for Sleeps {
    type Data<'a> = &'a mut GuestState;
}

impl p3_clocks::monotonic_clock::Host for GuestState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.clock().mono_ns())
    }

    fn get_resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::try_from(Duration::from_nanos(1).as_nanos())?)
    }
}

impl<T: Send> p3_clocks::monotonic_clock::HostWithStore<T> for Sleeps {
    async fn wait_until(
        accessor: &wasmtime::component::Accessor<T, Self>,
        when: u64,
    ) -> wasmtime::Result<()> {
        let clock = accessor.with(|mut access| access.get().clock().clone());
        clock.sleep_until(when).await;
        Ok(())
    }

    async fn wait_for(
        accessor: &wasmtime::component::Accessor<T, Self>,
        how_long: u64,
    ) -> wasmtime::Result<()> {
        let clock = accessor.with(|mut access| access.get().clock().clone());
        clock.sleep_until(clock.mono_ns().saturating_add(how_long)).await;
        Ok(())
    }
}
