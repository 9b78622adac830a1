//! How to write: the audited commit, turns at a record, idempotency, and the integrator that computes projections.
//!
//! INVARIANT: nothing reaches the store but in a [`Batch`], and only this crate makes one: together with the events that say why.

mod batch;
mod checkpoint;
mod commit;
pub mod conformance;
mod delivery;
mod idempotency;
mod integrate;
mod ledger;
pub mod memory;
mod personal;
mod probe;
mod progress;
mod register;
mod rollback;
mod tree;
mod turn;

pub use batch::{Batch, KvWrite};
pub use checkpoint::{Finding, LastCheckpoint};
pub use commit::{Committed, Draft, Receipt, Tickets, Writes};
pub use idempotency::{Begun, IdempotentRequest, Replay, Reservation};
pub use integrate::{Progress, late_event, places, things};
pub use ledger::Ledger;
pub use probe::StoreKind;
pub use progress::FoldedUse;
pub use register::{Told, told};
pub use rollback::Witness;
pub use tree::Proof;
pub use turn::Turn;
