//! `keyward audit` where it needs this machine: a check of the store itself, past any server, and a witness that serves.

use std::path::{Path, PathBuf};

use crate::arguments::{AuditCommand, AuditVerify};
use crate::commands::audit_verify::{Check, audit_ring, verifier_keys};
use crate::failure::Result;
use crate::{Ending, Failure, Global, Terminal};
use keyward_auditor::{Part, Progress, Report, StoreSource, Trust, Values, verify as verify_log};
use keyward_crypto::note::{LogKeys, VerifierKey};
use keyward_domain::error::Blame;
use keyward_host::{NativeStoreError, ReadStore, StoreSnapshot};
use keyward_records::Rings;
use tokio::runtime::Runtime;

use super::rings::LOG_KEYS;
use super::state::StateDir;
use super::{new_epoch, start_failure, witness};

/// The label that Keyward's components open.
const LABEL: &str = "default";
/// Where `keyward init` makes a state unless told.
const STATE_DIR_DEFAULT: &str = ".keyward";

/// Whether a command needs this half.
pub fn is_local(command: &AuditCommand) -> bool {
    match command {
        AuditCommand::Verify(options) => options.store.is_some() || options.state_dir.is_some(),
        AuditCommand::Witness(options) => options.listen.is_some(),
        AuditCommand::NewEpoch(_) => true,
        AuditCommand::List(_) | AuditCommand::Export(_) | AuditCommand::Tail(_) => false,
    }
}

/// Carries it out.
///
/// # Errors
/// Whatever kept it from its work.
pub fn run(global: &Global, command: &AuditCommand, terminal: &Terminal) -> Result<Ending> {
    match command {
        AuditCommand::Verify(options) => verify(global, options, terminal),
        AuditCommand::Witness(options) => witness::run(global, options, terminal),
        AuditCommand::NewEpoch(options) => new_epoch::run(global, options, terminal),
        other => crate::commands::run_audit(global, other, terminal),
    }
}

fn verify(global: &Global, options: &AuditVerify, terminal: &Terminal) -> Result<Ending> {
    let state = StateDir::new(options.state_dir.as_deref().unwrap_or(Path::new(STATE_DIR_DEFAULT)));
    let variables = options.variables.clone().unwrap_or_else(|| state.variables());
    let runtime = Runtime::new().map_err(|error| Failure::system("runtime", error))?;
    let store = {
        // A Redis client starts a task of its own as soon as it is made.
        let _entered = runtime.enter();
        match &options.store {
            Some(file) => StoreSnapshot::open(LABEL, file).map(ReadStore::File),
            None => ReadStore::open(LABEL, options.runtime_config_file.as_deref(), state.path()),
        }
    };
    let store = Readable { store: store.map_err(|error| start_failure(&error))?, runtime };
    let audit = audit_ring(&variables)?;
    let (origin, offered) = named(options, &variables)?;
    let source = StoreSource::new(&store, &audit, origin.clone());
    Check { global, terminal, options, offered, threads: threads() }.run(&source, &origin)
}

/// What a check of a file's log comes to, held against nothing that was seen before.
///
/// # Errors
/// The file cannot be read.
pub fn report(path: &Path, rings: &Rings) -> Result<Report> {
    let runtime = Runtime::new().map_err(|error| Failure::system("runtime", error))?;
    let store = StoreSnapshot::open(LABEL, path).map_err(|error| start_failure(&error))?;
    let store = Readable { store: ReadStore::File(store), runtime };
    let (origin, keys) = match &rings.log {
        Some(keys) => names_of(keys)?,
        None => (String::new(), Vec::new()),
    };
    let source = StoreSource::new(&store, &rings.audit, origin);
    let trust = Trust { keys, ..Trust::default() };
    verify_log(&source, &trust, threads(), &Unwatched)
}

/// Whom nobody watches.
struct Unwatched;

impl Progress for Unwatched {
    fn at(&self, _: Part, _: u64, _: u64) {}
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// The log's name and its public keys: as the log's own keys have them, or else the keys that were given.
fn named(options: &AuditVerify, variables: &Path) -> Result<(String, Vec<VerifierKey>)> {
    const WHAT: &str = "file of the log's keys";
    let path: PathBuf = variables.join(format!("{LOG_KEYS}.json"));
    let given = options.seen.log_keys.first().and_then(|key| key.name().rsplit_once('/'));
    if let (false, Some((origin, _))) = (path.exists(), given) {
        return Ok((origin.to_owned(), options.seen.log_keys.clone()));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| Failure::file(WHAT, &path, &error))?;
    let unfit = |fault: String| Failure::new(Blame::Caller, format!("The {WHAT} cannot be used"), fault);
    let keys =
        LogKeys::parse(&keyward_crypto::Zeroizing::new(text)).map_err(|fault| unfit(fault.to_string()))?;
    names_of(&keys)
}

fn names_of(keys: &LogKeys) -> Result<(String, Vec<VerifierKey>)> {
    let first = keys.origin(1);
    let origin = first.strip_suffix("/1").unwrap_or(&first).to_owned();
    Ok((origin, verifier_keys(&keys.verifier_keys(1))?))
}

/// The store as the auditor asks it.
struct Readable {
    store: ReadStore,
    runtime: Runtime,
}

impl Values for Readable {
    type Error = Failure;

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        self.runtime.block_on(self.store.get_many(keys)).map_err(unread)
    }

    fn counter(&self, key: &str) -> Result<i64> {
        self.runtime.block_on(self.store.counter(key)).map_err(unread)
    }

    fn names(&self) -> Result<Vec<String>> {
        self.runtime.block_on(self.store.names()).map_err(unread)
    }
}

fn unread(error: NativeStoreError) -> Failure {
    Failure::new(Blame::Store, "The store cannot be read", error.to_string())
}
