//! `runtime-config.toml`: which label is kept where, and which networks nobody is connected to. A label nobody configured does not exist, except
//! `default`, which is Spin's SQLite file in the state directory.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::{Table, Value};

use super::memory::Memory;
use super::redis::Redis;
use super::sqlite::Sqlite;
use super::{Backend, Store, Stores};
use crate::client_tls::ClientTls;
use crate::connect::Networking;
use crate::error::StartError;
use crate::limits::Limits;
use crate::networks::BlockedNetworks;
use crate::start::FileStore;
use crate::world::World;
use crate::world::replica::Replica;

/// Spin's name for the file behind `default`.
const DEFAULT_FILE: &str = "sqlite_key_value.db";

enum Kind {
    File(PathBuf),
    Memory,
    /// The URL, which may hold a password.
    Redis(String),
    Replica {
        of: String,
        lag: Duration,
    },
}

/// What the file says.
#[derive(Default)]
struct RuntimeConfig {
    kinds: BTreeMap<String, Kind>,
    networking: Networking,
}

/// Opens every store.
pub(crate) fn open_stores(
    config: Option<&Path>,
    further: &[FileStore],
    state_dir: &Path,
    limits: &Limits,
    world: Option<&Arc<World>>,
) -> Result<Stores, StartError> {
    let mut kinds = kinds(config, state_dir, world.is_some())?;
    add_further(&mut kinds, further)?;
    let mut files: HashMap<PathBuf, Arc<Sqlite>> = HashMap::new();
    let mut by_label = HashMap::new();
    let store = |label: &str, backend| Store::new(label, backend, limits, world);
    for (label, kind) in &kinds {
        let backend = match kind {
            Kind::File(path) => {
                let file = match files.get(path) {
                    Some(file) => file.clone(),
                    None => Arc::new(Sqlite::open(path).map_err(|e| StartError::store(label, e))?),
                };
                files.insert(path.clone(), file.clone());
                Backend::Sqlite(file)
            }
            Kind::Memory => Backend::Memory(Memory::new(label)),
            Kind::Redis(url) => Backend::Redis(
                Redis::new(label, url, limits.store_time_max).map_err(|e| StartError::store(label, e))?,
            ),
            Kind::Replica { .. } => continue,
        };
        by_label.insert(label.clone(), Arc::new(store(label, backend)));
    }
    for (label, kind) in &kinds {
        let (Kind::Replica { of, lag }, Some(world)) = (kind, world) else { continue };
        let fault = |reason: String| StartError::store(label, reason);
        let primary = by_label
            .get(of)
            .ok_or_else(|| fault(format!("`of = \"{of}\"` names no store that is no replica itself")))?;
        let (followers, snapshot) = match &*primary.backend {
            Backend::Memory(memory) => (memory.followers(), Vec::new()),
            Backend::Sqlite(file) => (file.followers(), file.snapshot(of).map_err(|e| fault(e.0))?),
            // What was in Redis before the host began is not seen; test runs begin empty.
            Backend::Redis(redis) => (redis.followers(), Vec::new()),
            Backend::Replica(_) => {
                return Err(fault(format!("`of = \"{of}\"` is a replica; name its primary")));
            }
        };
        let replica = Arc::new(Replica::new(*lag, snapshot, world.clock.clone()));
        followers.add(of, &replica);
        by_label.insert(label.clone(), Arc::new(store(label, Backend::Replica(replica))));
    }
    Ok(Stores { by_label, files: files.into_values().collect() })
}

/// One file to read, under the label that it was written by.
pub(crate) fn open_file(label: &str, path: &Path, limits: &Limits) -> Result<Stores, StartError> {
    let file = Arc::new(Sqlite::open_to_read(path).map_err(|e| StartError::store(label, e))?);
    let store = Store::new(label, Backend::Sqlite(file.clone()), limits, None);
    Ok(Stores { by_label: HashMap::from([(label.to_owned(), Arc::new(store))]), files: vec![file] })
}

/// What there is to know of the network.
pub(crate) fn networking(config: Option<&Path>, test_world: bool) -> Result<Networking, StartError> {
    Ok(read(config, test_world)?.networking)
}

/// Where each label is kept.
fn kinds(
    config: Option<&Path>,
    state_dir: &Path,
    test_world: bool,
) -> Result<BTreeMap<String, Kind>, StartError> {
    let mut kinds = read(config, test_world)?.kinds;
    kinds.entry("default".into()).or_insert_with(|| Kind::File(state_dir.join(DEFAULT_FILE)));
    Ok(kinds)
}

/// What the runtime configuration says, where there is one.
fn read(config: Option<&Path>, test_world: bool) -> Result<RuntimeConfig, StartError> {
    let Some(path) = config else { return Ok(RuntimeConfig::default()) };
    let fault = |reason: String| StartError::RuntimeConfig { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|e| fault(format!("cannot be read: {e}")))?;
    parse(&text, path.parent().unwrap_or(Path::new(".")), test_world).map_err(fault)
}

/// Puts further stores beside the configured ones, which they neither replace nor share a file with.
fn add_further(kinds: &mut BTreeMap<String, Kind>, further: &[FileStore]) -> Result<(), StartError> {
    for FileStore { label, path, .. } in further {
        let fault = |reason: &str| StartError::store(label, format!("`{}`: {reason}", path.display()));
        let new = std::path::absolute(path).map_err(|e| fault(&e.to_string()))?;
        let is_new = |kind: &Kind| match kind {
            Kind::File(known) => std::path::absolute(known).is_ok_and(|known| known == new),
            _ => false,
        };
        if kinds.values().any(is_new) {
            return Err(fault("another store lies in that file"));
        }
        if kinds.insert(label.clone(), Kind::File(new)).is_some() {
            return Err(fault("the runtime configuration says already where it is kept"));
        }
    }
    Ok(())
}

/// The file that one label is kept in, where it is kept in one.
pub(crate) fn file_of(
    label: &str,
    config: Option<&Path>,
    state_dir: &Path,
) -> Result<Option<PathBuf>, StartError> {
    match kinds(config, state_dir, false)?.remove(label) {
        Some(Kind::File(path)) => Ok(Some(path)),
        Some(_) => Ok(None),
        None => Err(StartError::store(label, "the runtime configuration does not say where it is kept")),
    }
}

fn parse(text: &str, base: &Path, test_world: bool) -> Result<RuntimeConfig, String> {
    let mut root: Table = text.parse().map_err(|e: toml::de::Error| e.message().to_owned())?;
    let stores = match root.remove("key_value_store") {
        None => Table::new(),
        Some(Value::Table(stores)) => stores,
        Some(_) => return Err("`key_value_store` must be tables, as in `[key_value_store.default]`".into()),
    };
    let blocked = match root.remove("outbound_networking") {
        None => BlockedNetworks::default(),
        Some(Value::Table(table)) => BlockedNetworks::parse(table)?,
        Some(_) => return Err("`outbound_networking` must be a table".into()),
    };
    let client_tls = match root.remove("client_tls") {
        None => ClientTls::default(),
        Some(tables) => ClientTls::parse(tables, base)?,
    };
    if let Some(unknown) = root.keys().next() {
        return Err(format!(
            "`{unknown}` is not supported by this host, which knows `[key_value_store.LABEL]`, `[outbound_networking]` and `[[client_tls]]` alone"
        ));
    }
    let mut kinds = BTreeMap::new();
    for (label, value) in stores {
        let at = format!("[key_value_store.{label}]");
        let Value::Table(mut table) = value else { return Err(format!("`{at}` must be a table")) };
        let mut text = |name: &str| match table.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("`{at} {name}` must be a string")),
        };
        let kind = match text("type")?.as_deref() {
            Some("spin") => text("path")?.map_or(Kind::Memory, |path| Kind::File(base.join(path))),
            Some("redis") => Kind::Redis(text("url")?.ok_or_else(|| format!("`{at} url` is missing"))?),
            Some("replica") if test_world => {
                let of = text("of")?.ok_or_else(|| format!("`{at} of` is missing: the label it follows"))?;
                let lag = table
                    .remove("lag_ms")
                    .and_then(|lag| lag.as_integer())
                    .and_then(|ms| u64::try_from(ms).ok());
                let lag = lag.ok_or_else(|| format!("`{at} lag_ms` is missing: a number of milliseconds"))?;
                Kind::Replica { of, lag: Duration::from_millis(lag) }
            }
            Some("replica") => {
                return Err(format!("`{at} type = \"replica\"` exists in the test world only"));
            }
            Some(other) => {
                return Err(format!(
                    "`{at} type` is `{other}`; this host has \"spin\" (SQLite) and \"redis\""
                ));
            }
            None => return Err(format!("`{at} type` is missing: \"spin\" (SQLite) or \"redis\"")),
        };
        if let Some(unknown) = table.keys().next() {
            return Err(format!("{at} has `{unknown}`, which this type of store does not know"));
        }
        kinds.insert(label, kind);
    }
    Ok(RuntimeConfig { kinds, networking: Networking { blocked, client_tls } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_and_passwords_are_not() {
        for (text, part) in [
            ("state_dir = \"/elsewhere\"", "`state_dir` is not supported"),
            ("[sqlite_database.x]\ntype = \"spin\"", "`sqlite_database` is not supported"),
            ("[key_value_store.a]\ntype = \"azure\"", "is `azure`"),
            ("[key_value_store.a]\ntype = \"redis\"", "url` is missing"),
            ("[key_value_store.a]\ntype = \"replica\"\nof = \"b\"\nlag_ms = 1", "test world only"),
            ("[key_value_store.a]\ntype = \"redis\"\nurl = \"redis://:hunter2@h\"\nother = 1", "has `other`"),
            ("[key_value_store.a]\ntype = \"redis\"\nurl = redis://:hunter2@h", ""),
        ] {
            let seen = parse(text, Path::new("/"), false).map(|_| ()).unwrap_err();
            assert!(seen.contains(part) && !seen.contains("hunter2"), "{text}: {seen}");
        }
    }

    #[test]
    fn further_stores_take_no_other_stores_place() {
        let further = |label: &str, path: &str| {
            vec![FileStore { label: label.to_owned(), path: path.into(), components: Vec::new() }]
        };
        let configured = || kinds(None, Path::new("/state"), false).unwrap();
        let mut both = configured();
        add_further(&mut both, &further("witness", "/elsewhere/witness.db")).unwrap();
        assert_eq!(both.len(), 2);
        for (label, path, part) in [
            ("witness", "/state/sqlite_key_value.db", "another store lies in that file"),
            ("default", "/elsewhere/witness.db", "says already where it is kept"),
        ] {
            let seen = add_further(&mut configured(), &further(label, path)).unwrap_err().to_string();
            assert!(seen.contains(part) && seen.contains(path), "{seen}");
        }
    }
}
