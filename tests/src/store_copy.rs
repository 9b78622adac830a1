//! A copy of an SQLite store, to be changed behind everybody's back.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, params};

/// The copy's file, and a connection to it.
pub struct StoreCopy {
    path: PathBuf,
    connection: Connection,
}

impl StoreCopy {
    /// Copies the store of a state directory as it is now, in use or not, into a new file.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn of(state_dir: &Path, to: PathBuf) -> Self {
        let store = Connection::open(state_dir.join("sqlite_key_value.db")).unwrap();
        let _ = std::fs::remove_file(&to);
        store.execute("VACUUM INTO ?1", [to.to_str().unwrap()]).unwrap();
        let connection = Connection::open(&to).unwrap();
        Self { path: to, connection }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A value.
    ///
    /// # Panics
    /// Where there is none.
    pub fn at(&self, key: &str) -> Vec<u8> {
        let found =
            self.connection
                .query_row("SELECT value FROM spin_key_value WHERE key = ?1", [key], |row| row.get(0));
        found.optional().unwrap().unwrap_or_else(|| panic!("there is no `{key}`"))
    }

    /// Overwrites a value, or makes one.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn put(&self, key: &str, value: &[u8]) {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO spin_key_value (store, key, value) VALUES ('default', ?1, ?2)",
                params![key, value],
            )
            .unwrap();
    }

    /// Removes values.
    ///
    /// # Panics
    /// Where one of them is not there.
    pub fn delete(&self, keys: &[&str]) {
        for key in keys {
            assert_eq!(
                self.connection.execute("DELETE FROM spin_key_value WHERE key = ?1", [key]).unwrap(),
                1,
                "{key}"
            );
        }
    }
}
