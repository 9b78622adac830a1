//! Whether the audit log, its projections and the state beside it are what they should be. Pure checking over a [`LogSource`]: the log
//! may come over HTTP or out of the store itself. It writes nothing, believes no root that it did not compute, and names each broken
//! place.

mod audit;
mod checkpoints;
mod frontier;
mod lists;
mod parallel;
mod registers;
mod report;
mod source;
mod state;
mod store;
mod tree;
mod witness;

pub use audit::{Part, Progress, Trust, verify};
pub use report::{EpochReport, Finding, Kind, Report};
pub use source::{Content, Inventory, Listed, LogSource, Register, Registered, Stand, Ticket, ring_version};
pub use store::{StoreSource, Values};
pub use witness::{Seen, Witness, WitnessError, check_note, keys_of};
