//! One tick of the scheduler on its way to a use case: the store and the rings, and the clocks and randomness of WASI 0.2, since the
//! cron trigger links nothing of WASI 0.3. There is no request and no caller.

use crate::plane::EventLines;
use crate::store::ControlKv;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Result, Timestamp};
use keyward_guest::variables::{self, Control};
use keyward_service::{MaintenanceView, Service};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What a tick works with.
pub struct Tick {
    kv: ControlKv,
    control: Rc<Control>,
    clock: StdClock,
}

impl Tick {
    /// Reads the variables; nothing of the store is touched yet.
    ///
    /// # Errors
    /// [`keyward_domain::Code::Misconfigured`].
    pub async fn open() -> Result<Self> {
        let clock = StdClock { started: Instant::now() };
        Ok(Self { kv: ControlKv::default(), control: variables::control().await?, clock })
    }

    /// The work that is due, and the witness told of it.
    ///
    /// # Errors
    /// Those of [`Service::maintain`] and [`keyward_ledger::Ledger::tell_witness`].
    pub async fn maintain(&self) -> Result<MaintenanceView> {
        let service = Service::new(&self.kv, &self.control.rings, &self.clock, &StdRng, &EventLines, "");
        // Before what is due, which looks at it. Where that store is silent the log and what is due on it go on all the same.
        let usage = ControlKv::new(&self.control.usage_store);
        let folded = match service.fold_use(&usage).await {
            Ok(_) => service.forget_ended_limits(&usage).await.map(drop),
            Err(error) => Err(error),
        };
        let done = self.maintain_log(service).await?;
        folded.map(|()| done)
    }

    async fn maintain_log(
        &self,
        service: Service<'_, ControlKv, StdClock, StdRng>,
    ) -> Result<MaintenanceView> {
        let Some(store) = self.control.witness_store.as_deref().map(ControlKv::new) else {
            return service.maintain().await;
        };
        let service = service.held_to(service.ledger().ask_witness(&store).await);
        let done = service.maintain().await?;
        service.ledger().tell_witness(&store).await?;
        Ok(done)
    }
}

/// The clocks as the standard library has them: WASI 0.2's. A sleep holds the whole instance, which has nothing else to do.
struct StdClock {
    started: Instant,
}

impl Clock for StdClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn sleep_ms(&self, ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
    }
}

/// The randomness of WASI 0.2: cryptographically secure by its contract.
struct StdRng;

impl Rng for StdRng {
    fn fill(&self, bytes: &mut [u8]) {
        if getrandom::fill(bytes).is_err() {
            // WASI's does not fail. Were it to, a nonce out of anything less must not come to be.
            std::process::abort();
        }
    }
}
