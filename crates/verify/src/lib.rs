//! The hot path: may this token pass? Three parallel reads, one decryption, one MAC; nothing about a key is ever cached.
//!
//! INVARIANT: nothing here writes but the counters of limits and notes of them, and nothing here answers "allowed" when the store of the keys is silent.

mod administrator;
mod application;
mod cache;
mod imports;
mod key_check;
mod limiter;
mod verdict;
mod verify;

pub use administrator::Administrator;
pub use cache::InstanceCache;
pub use key_check::{KeyCheck, KeyCheckAnswer};
pub use limiter::{EndingCounter, GivenUp, Leases, LimitStanding, Limiter};
pub use verdict::{Demand, Presented, Refusal, RefusalCode, Verdict, Verified};
pub use verify::Verifier;
