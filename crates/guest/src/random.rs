//! Randomness, as WASI gives it: cryptographically secure by its contract.

use keyward_domain::RequestId;
use keyward_domain::ports::Rng;
use spin_sdk::wasip3::random::random;

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

/// A fresh request id.
pub fn request_id() -> RequestId {
    let (high, low) = (random::get_random_u64(), random::get_random_u64());
    RequestId::from_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
}
