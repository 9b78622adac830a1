//! The reading half of the store: traits to read and to count, the names of store keys, the typed records and how they open.
//!
//! INVARIANT: nothing here writes state. The writing half is the ledger's.

mod credential;
mod delivery;
mod due;
mod ended;
mod epoch;
mod event;
mod flag;
mod kv;
mod last_use;
mod maintained;
pub mod names;
pub mod projection;
mod read;
mod record;
pub mod register;
mod reseal;
mod revised;
mod rotation_walk;
mod signed;
mod usage;
mod witness;

pub use credential::{CredentialValue, ProviderSecret, SecretFields};
pub use delivery::{Delivery, Due};
pub use due::{DueWalk, MINUTES_PER_HOUR, minute_of};
pub use ended::EndedWalk;
pub use epoch::{ClosedEpoch, Epochs};
pub use event::{
    CurrentMonth, MonthKey, PersonalKey, PersonalKeyState, SHREDDED, SealedPersonal, StoredEvent,
};
pub use flag::{Flag, LIVE, Tombstone, tombstone_value};
pub use kv::{KvCount, KvForget, KvRead, KvUsage, StoreError};
pub use last_use::{
    Folding, KeyUse, Missing, Refusals, Requests, Resolution, UseBlock, UseBucket, VersionUse,
};
pub use maintained::Maintained;
pub use read::{Reader, Rings};
pub use record::{Codec, NameRecord, Record, RecordError, StoredOutcome, Void, open, seal};
pub use reseal::{Counts, Pass, Place, Resealing, WholePass};
pub use revised::Revised;
pub use rotation_walk::RotationWalk;
pub use signed::Signed;
pub use usage::{EndedLimits, SealedUsage, UsageBatch, UsageCount, UsageRefusal};
pub use witness::Seen;
