//! The guard against a store that was rolled back: a ledger that is held to what a witness saw neither writes to nor signs for a log
//! that is behind it. The witness lies in a second store, which whoever makes the ledger reads.
//!
//! A store that is behind stays so: the integrator does not extend it, so no number of attempts makes up for what is missing.

use crate::batch::{Batch, KvWrite};
use crate::ledger::Ledger;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Code, Error, Result};
use keyward_records::projection::Head;
use keyward_records::{KvCount, KvRead, Reader, Record, Seen, seal};

/// What a ledger is held to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Witness {
    /// There is none, or it has seen nothing yet.
    #[default]
    None,
    /// This was seen.
    Saw(Seen),
    /// There is one, and it does not answer: nothing is written that it might forbid.
    Silent,
}

impl Witness {
    fn saw(self) -> Result<Option<Seen>> {
        match self {
            Self::None => Ok(None),
            Self::Saw(seen) => Ok(Some(seen)),
            Self::Silent => Err(Error::new(
                Code::StoreUnavailable,
                "the witness's store did not answer; nothing was changed; repeat later",
            )),
        }
    }
}

impl<'a, K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'a, K, C, R> {
    /// The same ledger, held to what a witness saw.
    #[must_use]
    pub const fn held_to(mut self, witness: Witness) -> Self {
        self.witness = witness;
        self
    }

    /// What it is held to.
    pub const fn witness(&self) -> Witness {
        self.witness
    }

    /// What `store` remembers as a witness.
    pub async fn ask_witness(&self, store: &impl KvRead) -> Witness {
        match Reader::new(store, self.rings).seen().await {
            Ok(None) => Witness::None,
            Ok(Some(seen)) => Witness::Saw(seen),
            Err(_) => Witness::Silent,
        }
    }

    /// Tells `store`, a witness, how far the log is. Of two that tell it at once the one behind may win; the next makes up for it.
    ///
    /// # Errors
    /// [`Code::StoreRolledBack`] where the witness saw more than there is; where a store does not answer.
    pub async fn tell_witness(&self, store: &(impl KvRead + KvWrite)) -> Result<()> {
        let held = self.ask_witness(store).await;
        let ledger = self.held_to(held);
        let head = ledger.read().head().await?;
        ledger.hold_tree(&head).await?;
        let taken = ledger.taken(head.epoch).await?;
        let found = Seen { epoch: head.epoch, taken, size: head.size, root: head.root };
        let next = held.saw()?.map_or(found, |seen| seen.forward(found));
        if held == Witness::Saw(next) {
            return Ok(());
        }
        let sealed = seal(&self.rings.audit, &next, self.rng.bytes())
            .map_err(|_| Error::internal("what a witness saw is too large to be sealed"))?;
        store.set_many(&Batch::new(vec![(next.store_key(), sealed)])).await?;
        Ok(())
    }

    /// Refuses where the log is behind what the witness saw. Costs a read where there is a witness.
    ///
    /// # Errors
    /// [`Code::StoreRolledBack`]; where a store does not answer.
    pub async fn hold(&self) -> Result<()> {
        let Some(seen) = self.witness.saw()? else { return Ok(()) };
        if seen.allows(&self.read().head().await?) { Ok(()) } else { Err(rolled_back()) }
    }

    /// As [`Ledger::hold`], and whether tickets go on where the witness saw them: for readiness, since it asks the counter.
    ///
    /// # Errors
    /// As [`Ledger::hold`].
    pub async fn hold_counter(&self) -> Result<()> {
        if self.witness == Witness::None {
            return Ok(());
        }
        self.hold().await?;
        let last = self.last_ticket().await?;
        self.hold_tickets(last.epoch, last.seq)
    }

    /// As [`Ledger::hold_counter`], and whether the tree begins with the one that was seen: all that can be held against a witness.
    ///
    /// # Errors
    /// As [`Ledger::hold`]; where tiles are missing.
    pub async fn hold_whole(&self) -> Result<()> {
        self.hold_counter().await?;
        self.hold_tree(&self.read().head().await?).await
    }

    /// Refuses the tickets after `before` where the witness saw later ones: they have been taken once already.
    pub(crate) fn hold_tickets(&self, epoch: u32, before: u64) -> Result<()> {
        match self.witness.saw()? {
            Some(seen) if epoch < seen.epoch || (epoch == seen.epoch && before < seen.taken) => {
                Err(rolled_back())
            }
            _ => Ok(()),
        }
    }

    /// As [`Ledger::hold`], for a head and the tree below it: whether it begins with the tree that was seen.
    pub(crate) async fn hold_tree(&self, head: &Head) -> Result<()> {
        let Some(seen) = self.witness.saw()? else { return Ok(()) };
        let begins = seen.allows(head)
            && (head.epoch > seen.epoch
                || head.size == seen.size
                || self.root_at(seen.epoch, seen.size).await? == seen.root);
        if begins { Ok(()) } else { Err(rolled_back()) }
    }
}

fn rolled_back() -> Error {
    Error::new(
        Code::StoreRolledBack,
        "the store is older than what its witness saw, so nothing is changed on it: put the newer store back, or run \
         `keyward audit new-epoch` on this one",
    )
}
