//! Whether a store's file is one that Keyward can go on with: whole for SQLite, and opened by the rings at hand.

use std::path::Path;

use crate::Failure;
use crate::failure::Result;
use keyward_domain::error::Blame;
use keyward_domain::event::EventId;
use keyward_domain::{ApplicationId, Code, Error};
use keyward_host::{StoreFile, StoreFileError};
use keyward_records::Rings;

use super::store::LocalStore;

/// What was found in a store that can be gone on with.
pub struct Verified {
    /// Tickets of events that were taken in its epoch.
    pub tickets: u64,
    /// The newest event; it opened.
    pub newest: EventId,
}

/// Reads the whole file as SQLite does, then the built-in application's record and the newest event under these rings, then the whole
/// log. Nothing is changed.
///
/// # Errors
/// The file is damaged or no store; the rings are not the ones that it was written with; the log is not what it should be.
pub fn verify_store(path: &Path, rings: &Rings) -> Result<Verified> {
    StoreFile::at(path).check().map_err(|error| unfit(path, &error))?;
    let found = LocalStore::open_file(path)?.run(rings, async |service| {
        let ledger = service.ledger();
        if ledger.read().application(ApplicationId::KEYWARD).await?.is_none() {
            return Err(Error::new(Code::StateConflict, "the store has never been initialised"));
        }
        let EventId { epoch, seq: tickets } = ledger.last_ticket().await?;
        // Tickets without an event are rare: a lost reply, a process killed between ticket and batch.
        for seq in (1..=tickets).rev() {
            if let Some(event) = ledger.read().event(EventId { epoch, seq }).await? {
                return Ok(Verified { tickets, newest: event.id });
            }
        }
        Err(Error::damaged("the log: it has no event"))
    });
    let verified = found.map_err(|(code, failure)| match code {
        Code::RingVersionUnknown | Code::RecordDamaged => failure.advise(format!(
            "`{}` opens under the rings that it was written with, and no others: these are not they, or it was tampered with.",
            path.display()
        )),
        _ => failure,
    })?;
    check_log(path, rings)?;
    Ok(verified)
}

/// Passes where the log, its lists and the state are what they should be, as `keyward audit verify --store` sees it.
fn check_log(path: &Path, rings: &Rings) -> Result<()> {
    let report = super::audit::report(path, rings)?;
    let Some(first) = report.findings.first() else { return Ok(()) };
    let detail = format!("`{}`: {}: {}", path.display(), first.place, first.what);
    Err(Failure::new(Blame::Integrity, "The log is not what it should be", detail)
        .advise(format!("`keyward audit verify --store {}` names every broken place.", path.display())))
}

/// Why a file is no store.
pub fn unfit(path: &Path, error: &StoreFileError) -> Failure {
    let (blame, title) = match error {
        StoreFileError::InUse => (Blame::Conflict, "The store is in use"),
        StoreFileError::Damaged(_) => (Blame::Integrity, "The store's file is damaged"),
        StoreFileError::NoStore => (Blame::Caller, "The file is no store"),
        StoreFileError::Failed(_) => (Blame::Caller, "The store's file cannot be used"),
    };
    Failure::new(blame, title, format!("`{}`: {error}", path.display()))
}
