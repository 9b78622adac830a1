//! What the command does on this machine's files, run as a person runs it: in an empty folder, with an empty environment.
#![cfg(feature = "host")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod backup;
mod folder;
mod init;
mod manual;
mod recover_root;
mod ring;
