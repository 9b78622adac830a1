//! The log's last signed checkpoint: which one it is, and the keys that prove it. It lies beside the log and not in it; the checkpoint
//! itself is what counts, and whoever trusts nobody here fetches that and brings the keys along.

use crate::names;
use crate::record::Record;
use keyward_crypto::Domain;
use keyward_domain::Timestamp;
use keyward_domain::timestamp::millis;
use serde::{Deserialize, Serialize};

/// What was signed last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The epoch whose tree it is.
    pub epoch: u32,
    /// Leaves of that tree.
    pub size: u64,
    /// When it was signed, by the clock of whoever did.
    #[serde(with = "millis")]
    pub at: Timestamp,
    /// The public keys that sign that epoch's checkpoints, as C2SP signed-note writes them: for those who hold no key of the log.
    pub keys: Vec<String>,
}

impl Record for Signed {
    const DOMAIN: Domain = Domain::Projection;
    fn store_key(&self) -> String {
        names::SIGNED.to_owned()
    }
}
