//! The hot path: may this token pass? Three parallel reads, one decryption, one MAC; nothing about a key is ever cached.
//!
//! INVARIANT: nothing here writes, and nothing here answers "allowed" when the store is silent.

mod administrator;
mod application;
mod key_check;
mod verdict;
mod verify;

pub use administrator::Administrator;
pub use application::ApplicationCache;
pub use key_check::{KeyCheck, KeyCheckAnswer};
pub use verdict::{Demand, Refusal, RefusalCode, Verdict, Verified};
pub use verify::Verifier;
