//! Instances that answer HTTP requests, reused as Spin reuses them, by the handler Spin uses. Here is what that
//! handler asks of its host: how an instance is made, how long it lives, what is said when it fails.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use wasmtime::component::GuestTaskId;
use wasmtime::{Store, StoreContextMut, Trap};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};

use crate::guest::{ComponentConfig, Environment, GuestState};
use crate::http::body::Permit;

/// The caller has its 504 before the instance is given up, so that the one is told apart from a trap.
const GIVE_UP_AFTER: Duration = Duration::from_millis(100);

/// One component's side of the handler.
pub(crate) struct Handler {
    pub(crate) env: Arc<Environment>,
    pub(crate) config: Arc<ComponentConfig>,
    pub(crate) pre: ProxyPre<GuestState>,
}

impl HandlerState for Handler {
    type StoreData = GuestState;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<GuestState, Expiration, Worker>> {
        let limits = &self.env.limits;
        let mut store = GuestState::new_store(&self.env, &self.config);
        let proxy = tokio::time::timeout(limits.request_time_max, self.pre.instantiate_async(&mut store))
            .await
            .map_err(|_| wasmtime::format_err!("guest timed out"))??;
        let mut stopping = self.env.stopping.clone();
        Ok(Instance {
            store,
            proxy,
            view: |state| state.http(),
            expiration: Expiration {
                idle: limits.instance_idle_time_max,
                requests: limits.request_time_max + GIVE_UP_AFTER,
                post_return: limits.post_return_time_max,
                sleep: Box::pin(tokio::time::sleep(limits.instance_idle_time_max)),
                stopping: Some(Box::pin(async move {
                    let _ = stopping.wait_for(|stopping| *stopping).await;
                })),
            },
            state: Worker {
                env: self.env.clone(),
                config: self.config.clone(),
                // As in Spin: a component of WASI 0.2 counts on a fresh instance for each request.
                requests_max: if matches!(self.pre, ProxyPre::P2(_)) {
                    1
                } else {
                    limits.instance_requests_max
                },
            },
        })
    }
}

/// When an instance is given up.
pub(crate) struct Expiration {
    idle: Duration,
    requests: Duration,
    post_return: Duration,
    sleep: Pin<Box<Sleep>>,
    /// Resolves when the host stops; nothing once it has.
    stopping: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl WorkerExpiration for Expiration {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        status: WorkerStatus,
        start: Instant,
    ) -> Poll<()> {
        if let Some(stopping) = &mut self.stopping
            && stopping.as_mut().poll(cx).is_ready()
        {
            self.stopping = None;
        }
        let allowed = match status {
            // A host that stops keeps no idle instance.
            WorkerStatus::Idle if self.stopping.is_none() => return Poll::Ready(()),
            WorkerStatus::Idle => self.idle,
            WorkerStatus::Requests => self.requests,
            WorkerStatus::PostReturn => self.post_return,
        };
        let deadline = tokio::time::Instant::from_std(start) + allowed;
        if self.sleep.deadline() != deadline {
            self.sleep.as_mut().reset(deadline);
        }
        self.sleep.as_mut().poll(cx)
    }
}

/// What one instance takes on, and what is said at its end.
pub(crate) struct Worker {
    env: Arc<Environment>,
    config: Arc<ComponentConfig>,
    requests_max: usize,
}

impl WorkerState for Worker {
    type StoreData = GuestState;
    type RequestData = Permit;

    fn should_accept_request(&self, concurrent_count: usize, total_count: usize) -> ShouldAccept {
        if total_count >= self.requests_max {
            ShouldAccept::Never
        } else if concurrent_count >= self.env.limits.instance_concurrency_max {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, GuestState>,
        permit: Permit,
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        let patience = tokio::time::sleep(self.env.limits.request_time_max + GIVE_UP_AFTER);
        Box::pin(async move {
            patience.await;
            // Held until the guest is done, even when its caller is long gone.
            drop(permit);
        })
    }

    fn drop(&self, store: Store<GuestState>, result: Result<(), wasmtime::Error>) {
        if let Err(error) = result {
            let message = format!("the instance was dropped: {}", reason(&error));
            self.env.log.error(Some(&self.config.id), &message);
        }
        drop(store);
    }
}

/// Why a guest failed, in the host's words alone.
pub(crate) fn reason(error: &wasmtime::Error) -> String {
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return trap.to_string();
    }
    let text = error.root_cause().to_string();
    if text.starts_with("forcing trap when growing") {
        "wasm trap: the memory bound is met".into()
    } else if text == "guest timed out" {
        "the time bound is met".into()
    } else if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        "no instance is free".into()
    } else {
        "the guest failed".into()
    }
}
