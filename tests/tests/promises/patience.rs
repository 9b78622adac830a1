//! Time that passes while a request waits. No promise of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyward_e2e::Keyward;

/// What the virtual clock moves on at each step, in milliseconds.
const STEP_MS: u64 = 500;

/// Does `work` while the virtual clock runs many times faster: what waits 5 s for a silent writer waits for a moment.
pub fn with_time<T: Send>(keyward: &Keyward, work: impl FnOnce() -> T + Send) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
                keyward.advance_ms(STEP_MS);
            }
        });
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
