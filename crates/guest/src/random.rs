//! Randomness, as WASI gives it: cryptographically secure by its contract.

use keyward_domain::RequestId;
use keyward_domain::ports::Rng;
use spin_sdk::wasip3::random::random;
use std::cell::Cell;

/// The platform's secure randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct WasiRng;

impl Rng for WasiRng {
    fn fill(&self, bytes: &mut [u8]) {
        let mut filled = 0;
        // The platform may give fewer bytes than asked for, never none.
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let fresh = random::get_random_bytes(rest.len() as u64);
            for (to, from) in rest.iter_mut().zip(&fresh) {
                *to = *from;
            }
            filled = filled.saturating_add(fresh.len());
        }
    }
}

thread_local! {
    /// What this instance's request ids start with, and how many there were: unique without asking the platform for each.
    static REQUESTS: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// A fresh request id: 64 random bits of the instance, then a number. Unique, not secret.
pub fn request_id() -> RequestId {
    let (instance, number) = REQUESTS.get().unwrap_or_else(|| (random::get_random_u64(), 0));
    REQUESTS.set(Some((instance, number.wrapping_add(1))));
    RequestId::from_bytes(((u128::from(instance) << 64) | u128::from(number)).to_be_bytes())
}
