//! What a witness remembers of the log: how far it was when somebody last told it, kept in a store of its own. A store that is behind
//! what its witness saw has been rolled back.

use crate::names;
use crate::projection::Head;
use crate::record::Record;
use keyward_crypto::Domain;
use keyward_crypto::tree::Hash;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// What a witness saw of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The epoch in which tickets were taken.
    pub epoch: u32,
    /// Tickets of it that were taken.
    pub taken: u64,
    /// Leaves of its tree.
    pub size: u64,
    /// The tree's root at this size.
    #[serde(with = "crate::projection::hash")]
    pub root: Hash,
}

impl Record for Seen {
    const DOMAIN: Domain = Domain::Control;
    fn store_key(&self) -> String {
        names::SEEN.to_owned()
    }
}

impl Seen {
    /// What is to be remembered where `later` is found after this; it never goes back.
    #[must_use]
    pub fn forward(self, later: Self) -> Self {
        if later.epoch != self.epoch {
            return if later.epoch > self.epoch { later } else { self };
        }
        let tree = if later.size > self.size { later } else { self };
        Self { taken: later.taken.max(self.taken), ..tree }
    }

    /// Whether a store whose log is at `head` may be the one that was seen, or has gone on from it: all that can be told without its
    /// tree.
    pub fn allows(&self, head: &Head) -> bool {
        match head.epoch.cmp(&self.epoch) {
            Ordering::Less => false,
            Ordering::Equal => head.size > self.size || (head.size == self.size && head.root == self.root),
            Ordering::Greater => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(epoch: u32, taken: u64, size: u64, root: u8) -> Seen {
        Seen { epoch, taken, size, root: [root; 32] }
    }

    #[test]
    fn it_never_goes_back() {
        let held = seen(2, 10, 8, 1);
        for (later, expected) in [
            (seen(2, 12, 9, 2), seen(2, 12, 9, 2)),
            (seen(2, 9, 7, 3), held),
            (seen(2, 11, 8, 3), seen(2, 11, 8, 1)),
            (seen(1, 99, 99, 3), held),
            (seen(3, 1, 0, 4), seen(3, 1, 0, 4)),
        ] {
            assert_eq!(held.forward(later), expected, "{later:?}");
        }
    }

    #[test]
    fn what_is_behind_is_told_apart() {
        let held = seen(2, 10, 8, 1);
        let head = |epoch, size, root| Head { size, root: [root; 32], ..Head::start(epoch) };
        for (head, expected) in [
            (head(2, 8, 1), true),
            (head(2, 9, 7), true),
            (head(3, 0, 0), true),
            (head(2, 7, 1), false),
            (head(2, 8, 2), false),
            (head(1, 99, 1), false),
        ] {
            assert_eq!(held.allows(&head), expected, "{head:?}");
        }
    }
}
