//! How the log stands, for people: how far it is, what was signed of it last and whether that holds, and whether its witness agrees. All of
//! it by this process, which believes the store and the rings that it runs on; whoever does not verifies the log from outside.

use crate::attempt::Attempt;
use crate::proof::HeadView;
use crate::service::Service;
use keyward_domain::error::Blame;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Code, Result, Timestamp};
use keyward_ledger::{KvWrite, LastCheckpoint, Witness};
use keyward_records::{KvCount, KvRead, Seen, Signed};

pub use keyward_ledger::Finding;

/// How the log stands.
pub struct LogState {
    /// How far its tree is.
    pub head: HeadView,
    /// What was signed last; none where nothing was.
    pub checkpoint: Option<CheckpointState>,
    /// What its witness says.
    pub witness: Witnessed,
}

/// What was signed of a log last.
pub struct CheckpointState {
    /// The epoch whose tree it is.
    pub epoch: u32,
    /// Entries in that tree.
    pub size: u64,
    /// When it was signed.
    pub at: Timestamp,
    /// The name of the log that signed it.
    pub origin: String,
    /// What came of holding it against the log.
    pub finding: Finding,
}

impl From<LastCheckpoint> for CheckpointState {
    fn from(last: LastCheckpoint) -> Self {
        let LastCheckpoint { signed: Signed { epoch, size, at, .. }, origin, finding } = last;
        Self { epoch, size, at, origin, finding }
    }
}

/// What a log's witness says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witnessed {
    /// There is none, or it has seen nothing yet.
    Nobody,
    /// It does not answer; nothing is written meanwhile.
    Silent,
    /// The log is the one that it saw, or has gone on from it.
    Agrees(Seen),
    /// The log is behind what it saw, or another one: administration is frozen.
    Contradicts(Seen),
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// How the log stands.
    ///
    /// # Errors
    /// A missing scope; where the store does not answer.
    pub async fn log_state(&self, attempt: &Attempt) -> Result<LogState> {
        let head = self.audit_head(attempt, None).await?;
        let (checkpoint, witness) = futures::join!(self.ledger.last_checkpoint(), self.witnessed());
        Ok(LogState { head, checkpoint: checkpoint?.map(CheckpointState::from), witness: witness? })
    }

    async fn witnessed(&self) -> Result<Witnessed> {
        let seen = match self.ledger.witness() {
            Witness::None => return Ok(Witnessed::Nobody),
            Witness::Silent => return Ok(Witnessed::Silent),
            Witness::Saw(seen) => seen,
        };
        match self.ledger.hold_whole().await {
            Ok(()) => Ok(Witnessed::Agrees(seen)),
            Err(error) if error.code == Code::StoreRolledBack || error.code.blame() == Blame::Integrity => {
                Ok(Witnessed::Contradicts(seen))
            }
            Err(error) => Err(error),
        }
    }
}
