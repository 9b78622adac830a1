//! How far the forgetting of counters of limits is: hour by hour, through those whose windows ended in it.

use crate::names;
use crate::record::Record;
use keyward_crypto::Domain;
use serde::{Deserialize, Serialize};

/// A place on the walk along the hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedWalk {
    /// The hour that it is in, counted from 1970.
    pub hour: i64,
    /// The last of its tickets that was seen to.
    pub ticket: u64,
}

impl Record for EndedWalk {
    const DOMAIN: Domain = Domain::Projection;
    fn store_key(&self) -> String {
        names::ENDED_WALK.to_owned()
    }
}
