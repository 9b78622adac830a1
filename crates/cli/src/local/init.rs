//! `keyward init`: key rings, the store's first commit and the root key, all of them or none. It never writes over a state, and
//! shows no secret: it says where they lie.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use keyward_cli::failure::Result;
use keyward_cli::table::{Card, Cell};
use keyward_cli::{Ending, Failure, Global, Terminal};
use keyward_crypto::digest::hex;
use keyward_crypto::note::LogKeys;
use keyward_crypto::{Peppers, Ring, RingDocument, RingError, Sealer, SecretText, Zeroizing};
use keyward_domain::error::Blame;
use keyward_domain::ports::{Clock, NoSink, Rng};
use keyward_domain::{Code, Timestamp};
use keyward_host::{NativeStore, NativeStoreError};
use keyward_ledger::{Batch, KvWrite};
use keyward_records::{CurrentMonth, KvCount, KvRead, Rings, StoreError};
use keyward_service::{Service, bootstrap};
use tokio::runtime::Runtime;

use super::start_failure;
use super::state::{LOG_KEYS, StateDir, VARIABLES, write_private};

/// The label that Keyward's components open.
const LABEL: &str = "default";

/// `keyward init`.
#[derive(Debug, Args)]
pub struct Options {
    /// Where rings, root key and store are to lie
    #[arg(long, value_name = "DIR", default_value = ".keyward")]
    state_dir: PathBuf,
    /// The application's manifest, for the command that starts Spin
    #[arg(long, short = 'f', value_name = "FILE", default_value = "spin.toml")]
    from: PathBuf,
    /// Spin's runtime configuration, where the store is to lie elsewhere
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
    /// The person or workload that the root key stands for in the audit log
    #[arg(long, default_value = "root")]
    principal: String,
}

/// Carries it out.
pub fn run(global: &Global, options: &Options, terminal: &Terminal) -> Result<Ending> {
    let state = StateDir::new(&options.state_dir);
    let mut staging = state.stage()?;
    let layout = staging.layout();

    let created_at = RealClock::default().now().to_string();
    let documents =
        VARIABLES.iter().map(|name| Ok((*name, document(name, &created_at)?))).collect::<Result<Vec<_>>>()?;
    let mut environment = Zeroizing::new(String::with_capacity(4096));
    for (name, document) in &documents {
        write_private(&layout.variable(name), document.expose())?;
        // Rings hold no apostrophe: they are JSON of base64url, digits and fixed words.
        let upper = name.to_ascii_uppercase();
        environment.extend(["SPIN_VARIABLE_", &upper, "='", document.expose(), "'\n"]);
    }
    write_private(&layout.environment(), &environment)?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::system("runtime", error))?;
    let store = {
        // A Redis client starts a task of its own as soon as it is made.
        let _entered = runtime.enter();
        NativeStore::open(LABEL, options.runtime_config_file.as_deref(), layout.path())
            .map_err(|error| start_failure(&error))?
    };
    let committed = first_commit(&runtime, store, &documents, &options.principal);
    let is_elsewhere = options.runtime_config_file.is_some();
    let may_be_written = matches!(&committed, Ok(_) | Err((Code::OutcomeUnknown, _)));
    if is_elsewhere && may_be_written {
        // That store outlives a failure; from here on it must not lose its rings.
        staging.keep();
    }
    let kept = |failure: Failure| {
        if !(is_elsewhere && may_be_written) {
            return failure;
        }
        let folder = layout.path().display();
        failure.advise(format!(
            "The rings were kept in {folder}: should the store have been written, it needs them."
        ))
    };
    let token = committed.map_err(|(_, failure)| kept(failure))?;
    let line = Zeroizing::new(format!("{}\n", token.expose()));
    write_private(&layout.root_key(), &line).map_err(kept)?;
    drop((line, token));
    staging.put_into_place().map_err(kept)?;
    report(global, options, &state, terminal)
}

/// A new variable's document: a ring of one version, or the log's keys under a name that no other log has.
fn document(name: &str, created_at: &str) -> Result<SecretText> {
    let key = random::<32>()?;
    if name == LOG_KEYS {
        let origin = format!("keyward.invalid/{}", hex(&*random::<8>()?));
        return LogKeys::generate(*key, &origin, created_at)
            .map_err(|error| Failure::system("new keys of the log", error));
    }
    Ok(RingDocument::generate(*key, created_at).map_err(bad_ring)?.to_json())
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes).map_err(|error| Failure::system("random bytes", error))?;
    Ok(bytes)
}

fn bad_ring(error: RingError) -> Failure {
    Failure::system("new rings", error)
}

/// What the components are handed as variables, as far as the ledger needs it.
fn rings(documents: &[(&'static str, SecretText)]) -> Result<Rings> {
    let document = |name: &'static str| {
        let found = documents.iter().find(|(known, _)| *known == name);
        found.map(|(_, document)| document.expose()).ok_or_else(|| Failure::system("new rings", name))
    };
    let sealer =
        |name| document(name).and_then(|json| Ring::parse(name, json).map_err(bad_ring)).map(Sealer::new);
    Ok(Rings {
        records: sealer("records_keyring")?,
        audit: sealer("audit_keyring")?,
        peppers: Peppers::parse(document("peppers")?).map_err(bad_ring)?,
        log: None,
        month: CurrentMonth::default(),
    })
}

/// Writes the built-in application and its root key through the ledger; gives the root token, or how the store ended.
fn first_commit(
    runtime: &Runtime,
    store: NativeStore,
    documents: &[(&'static str, SecretText)],
    principal: &str,
) -> Result<SecretText, (Code, Failure)> {
    let rings = rings(documents).map_err(|failure| (Code::Internal, failure))?;
    let (kv, clock, rng) = (Kv { store, fault: Mutex::default() }, RealClock::default(), SystemRng);
    let service = Service::new(&kv, &rings, &clock, &rng, &NoSink, "");
    let done = runtime.block_on(bootstrap::initialise(&service, principal));
    let fault = kv.fault.into_inner().ok().flatten();
    kv.store.close();
    done.map_err(|error| {
        let code = error.code;
        let failure = match code {
            // Nobody has written with these rings before, so what they do not open is another's.
            Code::RecordDamaged => Failure::new(
                Blame::Conflict,
                "The store is in use",
                "it was initialised with other rings; nothing was changed",
            ),
            _ => Failure::from(error),
        };
        (
            code,
            match fault {
                Some(text) => failure.advise(format!("The store said: {text}")),
                None => failure,
            },
        )
    })
}

fn report(global: &Global, options: &Options, state: &StateDir, terminal: &Terminal) -> Result<Ending> {
    let shown = |path: PathBuf| path.display().to_string();
    let mut spin = format!(
        "(set -a; . {}; spin up --build --from {} --state-dir {}",
        quoted(&sourced(state)),
        quoted(&shown(options.from.clone())),
        quoted(&shown(state.path().to_owned())),
    );
    if let Some(file) = &options.runtime_config_file {
        spin.push_str(&format!(" --runtime-config-file {}", quoted(&shown(file.clone()))));
    }
    spin.push(')');
    if global.json {
        let json = serde_json::json!({
            "state_dir": shown(state.path().to_owned()),
            "root_key": shown(state.root_key()),
            "variables": shown(state.variables()),
            "environment": shown(state.environment()),
            "spin": spin,
        });
        terminal.print(&keyward_cli::escape::shown_json(&json.to_string()))?;
        return Ok(Ending::Done);
    }
    let mut up = format!("keyward up --from {}", quoted(&shown(options.from.clone())));
    up.push_str(&format!(" --state-dir {}", quoted(&shown(state.path().to_owned()))));
    if let Some(file) = &options.runtime_config_file {
        up.push_str(&format!(" --runtime-config-file {}", quoted(&shown(file.clone()))));
    }
    let card = Card::new()
        .field("root key", Cell::new(shown(state.root_key())))
        .field("rings", Cell::new(shown(state.variables())))
        .field("run it", Cell::new(up))
        .field("with Spin", Cell::new(spin));
    terminal.print(&card.render(terminal.styles()))?;
    terminal.note(
        "Keep a copy of the rings where the store's copies are not: without them the store cannot be read.",
    );
    Ok(Ending::Done)
}

/// The environment file as `.` finds it: with a slash, or else a shell searches PATH.
fn sourced(state: &StateDir) -> String {
    let path = state.environment().display().to_string();
    if path.contains('/') { path } else { format!("./{path}") }
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-' | b'+' | b'@' | b'%')
    };
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The native store as the ledger wants it.
struct Kv {
    store: NativeStore,
    /// What the store said last when it failed: the ledger's own error does not carry it.
    fault: Mutex<Option<String>>,
}

impl Kv {
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
struct RealClock(Instant);

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
struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        if getrandom::fill(bytes).is_err() {
            // A key out of anything less must not come to be. The rings were made by the same source a moment ago.
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        for (word, expected) in [
            (".keyward", ".keyward"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
        assert_eq!(sourced(&StateDir::new(".keyward".as_ref())), ".keyward/variables.env");
        assert_eq!(sourced(&StateDir::new("".as_ref())), "./variables.env");
    }
}
