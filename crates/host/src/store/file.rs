//! A store's SQLite file as a whole: copied while others use it, checked, and made one file without a log beside it. It reads no
//! key and no value.

use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode};

use super::config::file_of;
use super::sqlite::{connect, create_private};
use crate::error::StartError;

/// Pages copied between two looks at the progress: 4 MiB of SQLite's usual pages.
const STEP_PAGES: i32 = 1_024;

/// The SQLite file that a store lies in.
#[derive(Debug, Clone)]
pub struct StoreFile(PathBuf);

/// Why a store's file did not serve; no key or value is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFileError {
    /// Another process has it open.
    #[error("another process has it open")]
    InUse,
    /// It is no whole SQLite database; the text is SQLite's finding.
    #[error("it is no whole SQLite database: {0}")]
    Damaged(String),
    /// It is a database in which Spin's key-value table is not.
    #[error("it is a SQLite database, but no key-value store: it has no table `spin_key_value`")]
    NoStore,
    /// The file system or SQLite refused.
    #[error("{0}")]
    Failed(String),
}

impl From<rusqlite::Error> for StoreFileError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse,
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<std::io::Error> for StoreFileError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl StoreFile {
    /// The file at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The file of the store that components know by `label`; `None` where that store lies in no file. Opens nothing.
    ///
    /// # Errors
    /// [`StartError`] where the configuration is wrong or has no such label.
    pub fn of(
        label: &str,
        runtime_config: Option<&Path>,
        state_dir: &Path,
    ) -> Result<Option<Self>, StartError> {
        Ok(file_of(label, runtime_config, state_dir)?.map(Self))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where SQLite keeps what is not folded into the file yet.
    pub fn companions(&self) -> [PathBuf; 3] {
        ["-wal", "-shm", "-journal"].map(|end| {
            let mut path = self.0.clone().into_os_string();
            path.push(end);
            path.into()
        })
    }

    /// Copies the store as it is at one moment into a new file (mode 0600), which is on disk and needs no other when this returns.
    /// Whoever has the store open goes on reading and, where it keeps a write-ahead log as this host does, writing. `progress` is
    /// told how many pages of how many are copied.
    ///
    /// # Errors
    /// [`StoreFileError`]; what was copied by then is left for the caller to remove.
    pub fn copy_to(&self, to: &Path, mut progress: impl FnMut(i32, i32)) -> Result<(), StoreFileError> {
        if to.exists() {
            return Err(StoreFileError::Failed(format!("`{}` is there already", to.display())));
        }
        let from = connect(&self.0)?;
        // One read transaction around all steps: a writer in between would make SQLite begin anew with each of them.
        from.execute_batch("BEGIN")?;
        from.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        create_private(to)?;
        let mut copy = connect(to)?;
        let backup = Backup::new(&from, &mut copy)?;
        loop {
            let step = backup.step(STEP_PAGES)?;
            let at = backup.progress();
            progress(at.pagecount.saturating_sub(at.remaining), at.pagecount);
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => return Err(StoreFileError::InUse),
            }
        }
        drop(backup);
        fold(&copy)?;
        copy.close().map_err(|(_, error)| error)?;
        std::fs::File::open(to)?.sync_all()?;
        Ok(())
    }

    /// Reads every page and index of it and sees that it is a key-value store.
    ///
    /// # Errors
    /// [`StoreFileError`]: what is wrong with it.
    pub fn check(&self) -> Result<(), StoreFileError> {
        let connection = connect(&self.0)?;
        connection.pragma_update(None, "query_only", true)?;
        let finding: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if finding != "ok" {
            return Err(StoreFileError::Damaged(finding));
        }
        let is_store = connection.table_exists(None, "spin_key_value")?;
        if is_store { Ok(()) } else { Err(StoreFileError::NoStore) }
    }

    /// Folds what lies beside the file into it, so that the file alone is the store.
    ///
    /// # Errors
    /// [`StoreFileError::InUse`] while another process has it open, as this host does while it runs.
    pub fn fold(&self) -> Result<(), StoreFileError> {
        let connection = connect(&self.0)?;
        // No waiting: whoever has it open now will not close it within seconds.
        connection.busy_timeout(std::time::Duration::ZERO)?;
        fold(&connection)
    }
}

/// A journal of its own kind instead of a write-ahead log: the file is then whole by itself.
fn fold(connection: &Connection) -> Result<(), StoreFileError> {
    let mode: String = connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    if mode == "delete" { Ok(()) } else { Err(StoreFileError::InUse) }
}
