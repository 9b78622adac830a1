//! What the components that change things share on top of `guest`: the writing half of the store, and the way from a request to
//! a use case: who calls, what they try, and what becomes of a refusal.
//!
//! INVARIANT: validation does not depend on this crate.

mod answer;
mod maintenance;
mod plane;
mod send;
pub mod session;
mod signed;
mod store;
mod tick;
pub mod waiting;

pub use answer::{created, fresh_or_replayed};
pub use plane::{Admitted, Plane, PlaneService};
pub use send::WasiSender;
pub use signed::signed;
pub use store::ControlKv;
pub use tick::Tick;
