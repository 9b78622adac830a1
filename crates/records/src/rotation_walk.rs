//! Which rotations of credentials are under way, and how far the list of those that began was followed. A projection: thrown away, the
//! list is followed from its beginning.

use crate::delivery::Due;
use crate::names;
use crate::record::Record;
use keyward_crypto::Domain;
use keyward_domain::CredentialId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where the walk goes on, behind work that was done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RotationWalk {
    /// The place in the list of rotations that began, from 0.
    pub at: u64,
    /// The credentials before that place whose rotation is not over, and when each is to be looked at next.
    #[serde(default)]
    pub open: BTreeMap<CredentialId, Due>,
}

impl Record for RotationWalk {
    const DOMAIN: Domain = Domain::Projection;
    fn store_key(&self) -> String {
        names::ROTATING.to_owned()
    }
}
