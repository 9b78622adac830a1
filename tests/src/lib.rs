//! What the end-to-end tests share: Keyward in a process of its own, HTTP spoken byte by byte, a Redis server, gateways, a browser.
//! It knows Keyward as a caller does: through its command, its API and, where a test breaks the world, the host's control interface.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the whole package is tests: what goes wrong must fail loudly and at once"
)]

pub mod admin;
pub mod browser;
pub mod control;
pub mod dashboard;
pub mod document;
pub mod edge;
pub mod figures;
pub mod gateway;
pub mod holes;
pub mod http;
pub mod keyward;
pub mod load;
pub mod network;
pub mod pasted;
pub mod programs;
pub mod redis;
pub mod relay;
pub mod store_copy;

pub use http::{Connection, Reply, Request};
pub use keyward::{Keyward, Setup};
pub use serde_json::{Value, json};

use std::time::{Duration, Instant};

/// Polls until `done`, at most ten seconds.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what} did not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}
