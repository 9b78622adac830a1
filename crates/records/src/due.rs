//! How far the walk along what is due has come. A projection: thrown away, the walk begins an hour back, and what it missed is found by
//! its sweep.

use crate::names;
use crate::record::Record;
use keyward_crypto::Domain;
use keyward_domain::Timestamp;
use serde::{Deserialize, Serialize};

/// Minutes in an hour.
pub const MINUTES_PER_HOUR: i64 = 60;
const MINUTE_MS: i64 = 60_000;

/// Where the walk goes on. Both places are behind work that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueWalk {
    /// The minute, counted from 1970, whose keys and credentials are seen to next.
    pub minute: i64,
    /// The place in that minute's list, from 0.
    pub at: u64,
    /// The place in the list of all keys, from 0: the sweep goes round.
    pub sweep: u64,
    /// The same in the list of all credentials.
    #[serde(default)]
    pub sweep_credentials: u64,
}

impl DueWalk {
    /// The first walk.
    pub const fn beginning(now: Timestamp) -> Self {
        Self { minute: minute_of(now) - MINUTES_PER_HOUR, at: 0, sweep: 0, sweep_credentials: 0 }
    }
}

/// The minute that a moment lies in, counted from 1970.
pub const fn minute_of(at: Timestamp) -> i64 {
    at.unix_ms().div_euclid(MINUTE_MS)
}

impl Record for DueWalk {
    const DOMAIN: Domain = Domain::Projection;
    fn store_key(&self) -> String {
        names::DUE_WALK.to_owned()
    }
}
