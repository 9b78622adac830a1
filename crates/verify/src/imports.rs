//! Under which peppers tokens were imported, and which digests of them are known: where a text that is no token of Keyward may be found. Held
//! in the instance for at most 250 ms counted from the start of the read, so that a flood of such texts costs no reads where there are none.

use keyward_crypto::Peppers;
use keyward_domain::Result;
use keyward_domain::imported::Algorithm;
use keyward_domain::ports::Clock;
use keyward_records::{KvRead, names};
use std::cell::RefCell;

/// How long what was read may be used, in milliseconds: the most that the first import of its kind waits until its tokens pass.
const HELD_MS: u64 = 250;

/// The pepper and the algorithm of a kind of imports.
type Kinds = Vec<(u32, Algorithm)>;

/// The instance's memory of which imports there are. It holds nothing of any request and nothing of any key.
#[derive(Default)]
pub(crate) struct ImportsCache {
    held: RefCell<Option<(u64, Kinds)>>,
}

impl ImportsCache {
    pub(crate) async fn kinds<K: KvRead, C: Clock>(
        &self,
        kv: &K,
        peppers: &Peppers,
        clock: &C,
    ) -> Result<Kinds> {
        let started_ms = clock.monotonic_ms();
        if let Some((read_ms, kinds)) = &*self.held.borrow()
            && started_ms.saturating_sub(*read_ms) < HELD_MS
        {
            return Ok(kinds.clone());
        }
        let mut kinds = Vec::new();
        for pepper in peppers.versions() {
            for algorithm in Algorithm::ALL {
                if kv.get(&names::imports(pepper, algorithm)).await?.is_some() {
                    kinds.push((pepper, algorithm));
                }
            }
        }
        *self.held.borrow_mut() = Some((started_ms, kinds.clone()));
        Ok(kinds)
    }
}
