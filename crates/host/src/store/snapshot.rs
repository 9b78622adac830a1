//! An SQLite store as it is at one moment, to be looked at: opened for reading alone, whoever writes it meanwhile. A file that nobody
//! has open, such as a copy, is read without making anything beside it.

use std::io::Read as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::sqlite::{BUSY_TIME_MAX, SELECT};
use super::{Result, read_counter};

/// Where a file's header says how it is written, and what it says of a write-ahead log: <https://www.sqlite.org/fileformat.html>.
const JOURNAL_AT: usize = 18;
const WRITE_AHEAD: u8 = 2;

pub(crate) struct Snapshot {
    connection: Mutex<Connection>,
    label: String,
}

impl Snapshot {
    pub(crate) fn open(label: &str, path: &Path) -> std::result::Result<Self, String> {
        let fault = |e: rusqlite::Error| format!("`{}`: {e}", path.display());
        let absolute = std::fs::canonicalize(path).map_err(|e| format!("`{}`: {e}", path.display()))?;
        let is_idle = is_idle(&absolute).map_err(|e| format!("`{}`: {e}", path.display()))?;
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(uri(&absolute, is_idle), flags).map_err(fault)?;
        connection.busy_timeout(BUSY_TIME_MAX).map_err(fault)?;
        // The first read of a transaction fixes what all others see.
        connection.execute_batch("BEGIN").map_err(fault)?;
        connection
            .query_row("SELECT 1 FROM spin_key_value LIMIT 1", [], |_| Ok(()))
            .optional()
            .map_err(fault)?;
        Ok(Self { connection: Mutex::new(connection), label: label.to_owned() })
    }

    pub(crate) fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection.prepare_cached(SELECT)?;
        keys.iter()
            .map(|key| {
                Ok(statement.query_row([self.label.as_str(), key.as_str()], |row| row.get(0)).optional()?)
            })
            .collect()
    }

    pub(crate) fn counter(&self, key: &str) -> Result<i64> {
        let value = self.get_many(&[key.to_owned()])?.pop().flatten();
        read_counter(value.as_deref())
    }

    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement =
            connection.prepare_cached("SELECT key FROM spin_key_value WHERE store = ?1 ORDER BY key")?;
        let names = statement.query_map([&self.label], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        Ok(names)
    }
}

/// Whether a file is written with a write-ahead log that is not there: nobody has it open, and reading it would make one.
fn is_idle(path: &Path) -> std::io::Result<bool> {
    let mut header = [0; JOURNAL_AT + 1];
    std::fs::File::open(path)?.read_exact(&mut header)?;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    Ok(header.last() == Some(&WRITE_AHEAD) && !Path::new(&log).exists())
}

/// The file as SQLite's URI: all but letters, digits and slashes encoded, so that no path is an option.
fn uri(path: &Path, is_idle: bool) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let encoded: String = path
        .as_os_str()
        .as_bytes()
        .iter()
        .map(|byte| match byte {
            b'/' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(*byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let option = if is_idle { "?immutable=1" } else { "" };
    format!("file:{encoded}{option}")
}

#[cfg(test)]
mod tests {
    use super::super::sqlite::Sqlite;
    use super::*;

    #[tokio::test]
    async fn it_shows_one_moment_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a store?.db");
        let store = Sqlite::open(&path).unwrap();
        store.set_many("default", vec![("a:1".into(), b"one".to_vec())]).await.unwrap();
        store.increment("default", "c:1", 7).await.unwrap();
        let live = Snapshot::open("default", &path).unwrap();
        store.set_many("default", vec![("a:2".into(), b"two".to_vec())]).await.unwrap();
        store.set_many("default", vec![("a:1".into(), b"other".to_vec())]).await.unwrap();
        let keys = ["a:1".to_owned(), "a:2".to_owned()];
        assert_eq!(live.get_many(&keys).unwrap(), [Some(b"one".to_vec()), None]);
        assert_eq!((live.counter("c:1").unwrap(), live.counter("c:2").unwrap()), (7, 0));
        assert_eq!(live.names().unwrap(), ["a:1", "c:1"]);
        drop(live);
        store.close();

        let copy = folder.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        std::fs::copy(&path, copy.join("x")).unwrap();
        let copied = Snapshot::open("default", &copy.join("x")).unwrap();
        assert_eq!(copied.get_many(&keys).unwrap(), [Some(b"other".to_vec()), Some(b"two".to_vec())]);
        drop(copied);
        assert_eq!(std::fs::read_dir(&copy).unwrap().count(), 1);
        assert!(Snapshot::open("default", &copy.join("nowhere")).is_err());
    }
}
