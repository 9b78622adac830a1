//! A store in Spin's own SQLite table, so that a state directory moves between Spin and this host. Writes go
//! through one connection on one thread, many of them in one transaction, each acknowledged after the fsync.
//! Reads go through other connections (write-ahead log), inline on the calling thread, and never wait for
//! the writer.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use tokio::sync::{mpsc, oneshot};

use super::{Change, Followers, Found, PAGE_KEYS, Pair, Result, StoreError, add_to_counter};

/// How much of the file a reader maps at most, in bytes: what lies there is read without a system call. SQLite's own limit is 2 GiB.
const MAPPED_BYTES_MAX: i64 = 1 << 30;
/// Writes waiting for the writer; callers wait beyond.
const QUEUE_WRITES_MAX: usize = 1_024;
/// Writes in one transaction.
const BATCH_WRITES_MAX: usize = 256;
/// How long to wait for another process that holds the database.
pub(super) const BUSY_TIME_MAX: Duration = Duration::from_secs(4);

/// Spin's table.
const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS spin_key_value (
    store TEXT NOT NULL,
    key   TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (store, key)
)";
pub(super) const SELECT: &str = "SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2";
const UPSERT: &str = "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3)
    ON CONFLICT (store, key) DO UPDATE SET value = excluded.value";
const DELETE: &str = "DELETE FROM spin_key_value WHERE store = ?1 AND key = ?2";
const KEYS: &str =
    "SELECT key FROM spin_key_value WHERE store = ?1 AND key >= ?2 AND key > ?3 ORDER BY key LIMIT ?4";

pub(crate) struct Sqlite {
    path: PathBuf,
    readers: Mutex<Vec<Connection>>,
    writes: Mutex<Option<mpsc::Sender<Write>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    followers: Followers,
}

struct Write {
    label: String,
    what: What,
    reply: oneshot::Sender<Result<Outcome>>,
}

enum What {
    SetMany(Vec<Pair>),
    DeleteMany(Vec<String>),
    Increment(String, i64),
    Swap(String, Option<Vec<u8>>, Vec<u8>),
}

#[derive(Clone, Copy)]
enum Outcome {
    Done,
    Sum(i64),
    Swapped(bool),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // The code alone: SQLite's longer texts may quote what was being written.
        match error.sqlite_error_code() {
            Some(code) => Self(format!("sqlite: {code:?}")),
            None => Self("sqlite: the stored row has an unexpected form".into()),
        }
    }
}

impl Sqlite {
    /// Opens or creates the database at `path` (mode 0600) and starts its writer.
    pub(crate) fn open(path: &Path) -> std::result::Result<Self, String> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|e| format!("the directory `{}` cannot be made: {e}", parent.display()))?;
        }
        create_private(path).map_err(|e| format!("`{}` cannot be created: {e}", path.display()))?;
        let fault = |e: rusqlite::Error| format!("`{}`: {e}", path.display());
        let connection = connect(path).map_err(fault)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(fault)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(fault)?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20).map_err(fault)?;
        connection.execute(SCHEMA, []).map_err(fault)?;
        let followers = Followers::default();
        let (tx, rx) = mpsc::channel(QUEUE_WRITES_MAX);
        let told = followers.clone();
        let writer = std::thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || run_writer(connection, rx, &told))
            .map_err(|e| format!("no thread for the writer: {e}"))?;
        Ok(Self {
            path: path.to_owned(),
            readers: Mutex::default(),
            writes: Mutex::new(Some(tx)),
            writer: Mutex::new(Some(writer)),
            followers,
        })
    }

    /// Opens the database at `path`, which must be there, without a writer: it is read as it is and never changed, and may be in
    /// use by another process.
    pub(crate) fn open_to_read(path: &Path) -> std::result::Result<Self, String> {
        let fault = |e: rusqlite::Error| format!("`{}`: {e}", path.display());
        connect(path)
            .and_then(|c| c.query_row("SELECT 1 FROM spin_key_value LIMIT 1", [], |_| Ok(())).optional())
            .map_err(fault)?;
        Ok(Self {
            path: path.to_owned(),
            readers: Mutex::default(),
            writes: Mutex::default(),
            writer: Mutex::default(),
            followers: Followers::default(),
        })
    }

    pub(crate) fn followers(&self) -> &Followers {
        &self.followers
    }

    /// Refuses further writes, finishes the queued ones, checkpoints.
    pub(crate) fn close(&self) {
        // The readers' connections first: the last to close folds the write-ahead log in and removes it.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        drop(self.writes.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writer.join();
        }
    }

    /// Runs `read` on a connection of its own; each statement sees every write acknowledged before it began.
    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let pooled = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => {
                let connection = connect(&self.path)?;
                connection.pragma_update(None, "query_only", true)?;
                connection.pragma_update(None, "mmap_size", MAPPED_BYTES_MAX)?;
                connection
            }
        };
        let outcome = read(&connection);
        // At most one connection per thread that ever read at once.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(outcome?)
    }

    async fn write(&self, label: &str, what: What) -> Result<Outcome> {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let closed = || StoreError::new("the store is closed");
        let (reply, answer) = oneshot::channel();
        let writes = writes.ok_or_else(closed)?;
        writes.send(Write { label: label.to_owned(), what, reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    pub(crate) fn get_now(&self, label: &str, key: &str) -> Result<Option<Vec<u8>>> {
        self.read(|c| c.prepare_cached(SELECT)?.query_row([label, key], |row| row.get(0)).optional())
    }

    pub(crate) async fn get(&self, label: &str, key: &str) -> Result<Option<Vec<u8>>> {
        self.get_now(label, key)
    }

    pub(crate) async fn exists(&self, label: &str, key: &str) -> Result<bool> {
        self.read(|c| {
            c.prepare_cached("SELECT 1 FROM spin_key_value WHERE store = ?1 AND key = ?2")?
                .exists([label, key])
        })
    }

    pub(crate) async fn keys(
        &self,
        label: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<(Vec<String>, Option<String>)> {
        let keys = self.read(|c| {
            let mut statement = c.prepare_cached(KEYS)?;
            let rows = statement.query_map(
                params![label, prefix, after.unwrap_or(""), i64::try_from(PAGE_KEYS).unwrap_or(i64::MAX)],
                |row| row.get::<_, String>(0),
            )?;
            let mut keys = Vec::new();
            for key in rows {
                let key = key?;
                if !key.starts_with(prefix) {
                    break;
                }
                keys.push(key);
            }
            Ok(keys)
        })?;
        let cursor = (keys.len() == PAGE_KEYS).then(|| keys.last().cloned()).flatten();
        Ok((keys, cursor))
    }

    /// Reads all keys in one snapshot.
    pub(crate) async fn get_many(&self, label: &str, keys: &[String]) -> Result<Vec<Found>> {
        self.read(|c| {
            let snapshot = c.unchecked_transaction()?;
            let mut statement = snapshot.prepare_cached(SELECT)?;
            keys.iter()
                .map(|key| {
                    Ok((
                        key.clone(),
                        statement.query_row([label, key.as_str()], |row| row.get(0)).optional()?,
                    ))
                })
                .collect()
        })
    }

    pub(crate) async fn set_many(&self, label: &str, pairs: Vec<Pair>) -> Result<()> {
        self.write(label, What::SetMany(pairs)).await.map(drop)
    }

    pub(crate) async fn delete_many(&self, label: &str, keys: Vec<String>) -> Result<()> {
        self.write(label, What::DeleteMany(keys)).await.map(drop)
    }

    pub(crate) async fn increment(&self, label: &str, key: &str, delta: i64) -> Result<i64> {
        if delta == 0 {
            // How a counter is read: no reason to write it, to wait for the disk, or to need a writer at all.
            return add_to_counter(self.get_now(label, key)?.as_deref(), 0);
        }
        match self.write(label, What::Increment(key.to_owned(), delta)).await? {
            Outcome::Sum(sum) => Ok(sum),
            Outcome::Done | Outcome::Swapped(_) => Err(StoreError::new("sqlite: an answer of another call")),
        }
    }

    pub(crate) async fn swap(
        &self,
        label: &str,
        key: &str,
        old: Option<Vec<u8>>,
        new: Vec<u8>,
    ) -> Result<bool> {
        match self.write(label, What::Swap(key.to_owned(), old, new)).await? {
            Outcome::Swapped(swapped) => Ok(swapped),
            Outcome::Done | Outcome::Sum(_) => Err(StoreError::new("sqlite: an answer of another call")),
        }
    }

    /// Everything under one label: how a replica begins.
    pub(crate) fn snapshot(&self, label: &str) -> Result<Vec<Pair>> {
        self.read(|c| {
            let mut statement = c.prepare("SELECT key, value FROM spin_key_value WHERE store = ?1")?;
            statement.query_map([label], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time.
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIME_MAX)?;
    Ok(connection)
}

pub(super) fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

fn run_writer(connection: Connection, mut writes: mpsc::Receiver<Write>, followers: &Followers) {
    let mut batch = Vec::new();
    while writes.blocking_recv_many(&mut batch, BATCH_WRITES_MAX) > 0 {
        let mut changes = Vec::new();
        match commit(&connection, &batch, &mut changes) {
            Ok(outcomes) => {
                tell(followers, &changes);
                for (write, outcome) in batch.drain(..).zip(outcomes) {
                    // Who stopped waiting is told nothing; the write stands.
                    let _ = write.reply.send(outcome);
                }
            }
            // One faulty write must not fail its neighbours: each on its own.
            Err(_) if batch.len() > 1 => {
                for write in batch.drain(..) {
                    commit_alone(&connection, write, followers);
                }
            }
            Err(error) => {
                for write in batch.drain(..) {
                    let _ = write.reply.send(Err(error.clone()));
                }
            }
        }
    }
    // The last one out folds the log into the database; a failure costs the next start a recovery, nothing else.
    let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
}

fn commit_alone(connection: &Connection, write: Write, followers: &Followers) {
    let mut changes = Vec::new();
    let outcome = commit(connection, std::slice::from_ref(&write), &mut changes);
    if outcome.is_ok() {
        tell(followers, &changes);
    }
    let outcome =
        outcome.and_then(|mut outcomes| outcomes.pop().unwrap_or(Err(StoreError::new("sqlite: no outcome"))));
    let _ = write.reply.send(outcome);
}

fn tell(followers: &Followers, changes: &[(String, Change)]) {
    if !followers.is_empty() {
        for (label, change) in changes {
            followers.tell(label, std::slice::from_ref(change));
        }
    }
}

/// Applies all writes in one transaction. The outer error is SQLite's and undoes everything; an inner one is
/// of that write alone, which then changed nothing.
fn commit(
    connection: &Connection,
    batch: &[Write],
    changes: &mut Vec<(String, Change)>,
) -> Result<Vec<Result<Outcome>>> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let applied = batch
        .iter()
        .map(|write| apply(connection, write, changes))
        .collect::<rusqlite::Result<Vec<_>>>()
        .and_then(|outcomes| connection.execute_batch("COMMIT").map(|()| outcomes));
    if applied.is_err() {
        // Fails when SQLite has already rolled back by itself.
        let _ = connection.execute_batch("ROLLBACK");
    }
    Ok(applied?)
}

fn apply(
    connection: &Connection,
    write: &Write,
    changes: &mut Vec<(String, Change)>,
) -> rusqlite::Result<Result<Outcome>> {
    let label = write.label.as_str();
    let stored = |key: &str| {
        connection.prepare_cached(SELECT)?.query_row([label, key], |row| row.get::<_, Vec<u8>>(0)).optional()
    };
    let mut put = |key: &str, value: &[u8]| {
        changes.push((label.to_owned(), Change { key: key.to_owned(), value: Some(value.to_vec()) }));
        connection.prepare_cached(UPSERT)?.execute(params![label, key, value])
    };
    match &write.what {
        What::SetMany(pairs) => {
            for (key, value) in pairs {
                put(key, value)?;
            }
            Ok(Ok(Outcome::Done))
        }
        What::DeleteMany(keys) => {
            for key in keys {
                connection.prepare_cached(DELETE)?.execute([label, key.as_str()])?;
                changes.push((label.to_owned(), Change { key: key.clone(), value: None }));
            }
            Ok(Ok(Outcome::Done))
        }
        What::Increment(key, delta) => match add_to_counter(stored(key)?.as_deref(), *delta) {
            Ok(sum) => {
                put(key, &sum.to_le_bytes())?;
                Ok(Ok(Outcome::Sum(sum)))
            }
            Err(refused) => Ok(Err(refused)),
        },
        What::Swap(key, old, new) => {
            let same = stored(key)? == *old;
            if same {
                put(key, new)?;
            }
            Ok(Ok(Outcome::Swapped(same)))
        }
    }
}
