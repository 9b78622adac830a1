//! A use case run on the store itself, next to it: the native store, this machine's clocks and randomness, as the ledger wants them.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::Failure;
use crate::failure::Result;
use keyward_domain::error::Blame;
use keyward_domain::ports::{Clock, NoSink, Rng};
use keyward_domain::{Code, Timestamp};
use keyward_host::{FileStore, NativeStore, NativeStoreError, StartError, StoreFile};
use keyward_ledger::{Batch, KvWrite};
use keyward_records::{KvCount, KvRead, Rings, StoreError};
use keyward_service::Service;
use tokio::runtime::Runtime;

use super::start_failure;
use super::state::StateDir;

/// The label that Keyward's components open.
const LABEL: &str = "default";

/// The use cases over the native store.
pub type LocalService<'a> = Service<'a, Kv, RealClock, SystemRng>;

/// A store that is open.
pub struct LocalStore {
    runtime: Runtime,
    kv: Kv,
}

impl LocalStore {
    /// Opens the store that Keyward has in this state directory, or where the runtime configuration says.
    ///
    /// # Errors
    /// The configuration is wrong, or the store does not open.
    pub fn open(runtime_config: Option<&Path>, state: &StateDir) -> Result<Self> {
        Self::of(|| NativeStore::open(LABEL, runtime_config, state.path()))
    }

    /// The same for a store that must be there: where it is a file, none is made.
    ///
    /// # Errors
    /// As [`LocalStore::open`]; there is no such file.
    pub fn open_existing(runtime_config: Option<&Path>, state: &StateDir) -> Result<Self> {
        let file =
            StoreFile::of(LABEL, runtime_config, state.path()).map_err(|error| start_failure(&error))?;
        if let Some(file) = file {
            check_there(&file)?;
        }
        Self::open(runtime_config, state)
    }

    /// Opens a store's SQLite file to read it; no use case can write there.
    ///
    /// # Errors
    /// There is no such file, or it is no store.
    pub fn open_file(path: &Path) -> Result<Self> {
        Self::of(|| NativeStore::open_file(LABEL, path))
    }

    /// Opens a second store, which the runtime configuration has under this label.
    ///
    /// # Errors
    /// As [`LocalStore::open`].
    pub fn second(&self, label: &str, runtime_config: Option<&Path>, state: &StateDir) -> Result<Kv> {
        let _entered = self.runtime.enter();
        let store =
            NativeStore::open(label, runtime_config, state.path()).map_err(|error| start_failure(&error))?;
        Ok(Kv { store, fault: Mutex::default() })
    }

    /// Opens another store in a file.
    ///
    /// # Errors
    /// There is no such file, or it does not open.
    pub fn further(&self, further: &FileStore, state: &StateDir) -> Result<Kv> {
        let _entered = self.runtime.enter();
        check_file(&further.path)?;
        let store =
            NativeStore::open_further(further, state.path()).map_err(|error| start_failure(&error))?;
        Ok(Kv { store, fault: Mutex::default() })
    }

    fn of(open: impl FnOnce() -> Result<NativeStore, StartError>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::system("runtime", error))?;
        let store = {
            // A Redis client starts a task of its own as soon as it is made.
            let _entered = runtime.enter();
            open().map_err(|error| start_failure(&error))?
        };
        Ok(Self { runtime, kv: Kv { store, fault: Mutex::default() } })
    }

    /// Runs one use case and closes the store. A failure comes with the code that it had, and with what the store said.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn run<T>(
        self,
        rings: &Rings,
        work: impl AsyncFnOnce(&LocalService<'_>) -> keyward_domain::Result<T>,
    ) -> Result<T, (Code, Failure)> {
        self.run_on(async |kv| {
            let clock = RealClock::default();
            work(&Service::new(kv, rings, &clock, &SystemRng, &NoSink, "")).await
        })
    }

    /// The same below the use cases.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn run_on<T>(
        self,
        work: impl AsyncFnOnce(&Kv) -> keyward_domain::Result<T>,
    ) -> Result<T, (Code, Failure)> {
        let Self { runtime, kv } = self;
        let done = runtime.block_on(work(&kv));
        let fault = kv.fault.into_inner().ok().flatten();
        kv.store.close();
        done.map_err(|error| {
            let code = error.code;
            let failure = Failure::from(error);
            match fault {
                Some(text) => (code, failure.advise(format!("The store said: {text}"))),
                None => (code, failure),
            }
        })
    }
}

/// The SQLite file that Keyward's store lies in.
///
/// # Errors
/// The configuration is wrong, or says that the store lies in no file.
pub fn store_file(runtime_config: Option<&Path>, state: &StateDir) -> Result<StoreFile> {
    let file = StoreFile::of(LABEL, runtime_config, state.path()).map_err(|error| start_failure(&error))?;
    file.ok_or_else(|| {
        let detail = "the runtime configuration keeps it elsewhere than in a SQLite file";
        Failure::new(Blame::Caller, "The store is no file", detail)
            .advise("docs/operations.md says how Redis is backed up and restored.")
    })
}

/// Passes where the store's file is there.
///
/// # Errors
/// It is not.
pub fn check_there(file: &StoreFile) -> Result<()> {
    check_file(file.path())
}

fn check_file(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let detail = format!("there is no `{}`", path.display());
    Err(Failure::new(Blame::Caller, "There is no store", detail))
}

/// The native store as the ledger wants it.
pub struct Kv {
    store: NativeStore,
    /// What the store said last when it failed: the ledger's own error does not carry it.
    fault: Mutex<Option<String>>,
}

impl Kv {
    /// Finishes what is queued and closes the store.
    pub fn close(self) {
        self.store.close();
    }

    fn noted<T>(&self, outcome: Result<T, NativeStoreError>) -> Result<T, StoreError> {
        outcome.map_err(|error| {
            if let Ok(mut fault) = self.fault.lock() {
                *fault = Some(error.to_string());
            }
            StoreError
        })
    }
}

impl KvRead for Kv {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.noted(self.store.get(key).await)
    }
}

impl KvCount for Kv {
    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        self.noted(self.store.increment(key, delta).await)
    }
}

impl KvWrite for Kv {
    async fn set_many(&self, batch: &Batch) -> Result<(), StoreError> {
        self.noted(self.store.set_many(batch.entries().to_vec()).await)
    }
}

/// This machine's clocks.
pub struct RealClock(Instant);

impl Default for RealClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn sleep_ms(&self, ms: u64) {
        tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
    }
}

/// The operating system's randomness.
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        if getrandom::fill(bytes).is_err() {
            // A key out of anything less must not come to be.
            std::process::abort();
        }
    }
}
