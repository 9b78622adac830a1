//! The promises of verify, ledger and service, one file for each, over a store in memory and virtual time.
//! No test sleeps for real or takes randomness from the machine: what fails once fails again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod audited_commit;
mod bulk_revocation;
mod bulk_rotation;
mod claims_once;
mod clock_steps_back;
mod compliance;
mod costs;
mod crashes;
mod credential_import;
mod credential_reminders;
mod credential_report;
mod credential_rotation;
mod credentials;
mod deliveries;
mod due;
mod events;
mod frozen_issuing;
mod generations;
mod history;
mod hot_path;
mod idempotency;
mod imports;
mod last_root;
mod leaks;
mod limits;
mod lists;
mod log_state;
mod merkle_log;
mod metrics;
mod personal_data;
mod policies;
mod previews;
mod projections;
mod renewal;
mod revocation_races;
mod ring_rollover;
mod roles;
mod rolled_back;
mod root_recovery;
mod rotation;
mod routing;
mod sessions;
mod standings;
mod tags;
mod tenancy;
mod text_as_it_is;
mod turns;
mod usage;
#[path = "../world/mod.rs"]
mod world;
