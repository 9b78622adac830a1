//! Waiting for a change of what somebody has seen already. The store tells nobody of changes, so it is looked at again and again.

use crate::service::Service;
use keyward_crypto::digest;
use keyward_domain::Result;
use keyward_domain::ports::{Clock, Rng};
use serde::Serialize;

/// The longest that a reader may wait for a change, in seconds: below what proxies bear.
pub const WAIT_S_MAX: u32 = 30;
/// How often it is looked at for whoever waits, in milliseconds.
const LOOK_EVERY_MS: u64 = 250;

impl<K, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// What `look` finds, and its tag; where that is still the tag `seen`, after waiting up to `wait_s` for another. `None` where it has
    /// not changed by then.
    ///
    /// # Errors
    /// Those of `look`.
    pub(crate) async fn changed<T: Serialize>(
        &self,
        seen: Option<u64>,
        wait_s: u32,
        look: impl AsyncFn() -> Result<T>,
    ) -> Result<Option<(T, u64)>> {
        let begun_ms = self.clock.monotonic_ms();
        loop {
            let found = look().await?;
            let tag = tag_of(&found);
            if seen != Some(tag) {
                return Ok(Some((found, tag)));
            }
            if self.clock.monotonic_ms().saturating_sub(begun_ms) >= u64::from(wait_s) * 1_000 {
                return Ok(None);
            }
            self.clock.sleep_ms(LOOK_EVERY_MS).await;
        }
    }
}

/// What changes with a view: 63 bits of the SHA-256 of its text, a number so that it can be an `ETag` as revisions are.
fn tag_of<T: Serialize>(view: &T) -> u64 {
    let text = serde_json::to_vec(view).unwrap_or_default();
    let first = digest::sha256(&text).first_chunk::<8>().copied().unwrap_or_default();
    u64::from_be_bytes(first) >> 1
}
