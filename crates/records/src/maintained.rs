//! When the work that is due from time to time was done last. A projection: nothing follows from it but what is told.

use crate::names;
use crate::record::Record;
use keyward_crypto::Domain;
use keyward_domain::Timestamp;
use keyward_domain::timestamp::millis;
use serde::{Deserialize, Serialize};

/// The last run that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintained {
    /// When it did.
    #[serde(with = "millis")]
    pub at: Timestamp,
}

impl Record for Maintained {
    const DOMAIN: Domain = Domain::Projection;
    fn store_key(&self) -> String {
        names::MAINTAINED.to_owned()
    }
}
