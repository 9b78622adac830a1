//! Epochs of the log: each is a log of its own, with tickets, a tree and checkpoints of its own. A new one is opened where a store was
//! rolled back, so that no ticket is ever taken twice.

use crate::names;
use crate::projection::Head;
use crate::record::Record;
use keyward_crypto::Domain;
use serde::{Deserialize, Serialize};

/// Which epochs there are. Absent from the store until the second is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epochs {
    /// The epoch in which tickets are taken.
    pub current: u32,
    /// Those before it, from the first on, as they were when they were closed.
    pub closed: Vec<ClosedEpoch>,
}

/// An epoch that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedEpoch {
    /// Where its projections, and with them its tree, ended.
    pub head: Head,
}

impl Epochs {
    /// Before any roll-back.
    pub const FIRST: Self = Self { current: 1, closed: Vec::new() };

    /// How many tickets a closed epoch has.
    pub fn size_of(&self, epoch: u32) -> Option<u64> {
        self.closed.iter().map(|closed| &closed.head).find(|head| head.epoch == epoch).map(|head| head.size)
    }
}

impl Record for Epochs {
    const DOMAIN: Domain = Domain::Control;
    fn store_key(&self) -> String {
        names::EPOCHS.to_owned()
    }
}
