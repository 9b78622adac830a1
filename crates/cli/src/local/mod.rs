//! The half that works on this machine: `init` makes a state directory, `up` runs Keyward from it, the others look after it. Only
//! here are the host, the store and the use cases that run without HTTP.

pub mod audit;
mod backup;
mod init;
mod new_epoch;
mod recover_root;
mod reseal;
mod restore;
mod ring;
mod rings;
pub mod state;
pub mod store;
mod up;
mod verify_store;
mod witness;

use crate::failure::Result;
use crate::{Ending, Failure, Global, Terminal};
use clap::Subcommand;
use keyward_domain::error::Blame;
use keyward_host::StartError;

/// What works on this machine.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make key rings, the store and the root key, once
    Init(init::Options),
    /// Run Keyward on this machine, in the foreground
    Up(up::Options),
    /// Key rings: add a version, make it active, retire it
    Ring(ring::Options),
    /// Copy the store's file while Keyward runs
    Backup(backup::Options),
    /// Put a backup in the store's place
    Restore(restore::Options),
    /// Make a new root key next to the store, where the old one is lost
    RecoverRoot(recover_root::Options),
}

/// Carries a command out.
pub fn run(global: &Global, command: Command, terminal: &Terminal) -> Result<Ending> {
    match command {
        Command::Init(options) => init::run(global, &options, terminal),
        Command::Up(options) => up::run(global, options, terminal),
        Command::Ring(options) => ring::run(global, &options, terminal),
        Command::Backup(options) => backup::run(global, &options, terminal),
        Command::Restore(options) => restore::run(global, &options, terminal),
        Command::RecoverRoot(options) => recover_root::run(global, &options, terminal),
    }
}

/// Who can mend a start that failed.
fn start_failure(error: &StartError) -> Failure {
    let (blame, title) = match error {
        StartError::Manifest { .. } => (Blame::Caller, "The manifest cannot be run"),
        StartError::RuntimeConfig { .. } => (Blame::Caller, "The runtime configuration cannot be used"),
        StartError::Variable { .. } => (Blame::Caller, "A variable cannot be used"),
        StartError::Component { .. } => (Blame::Caller, "A component cannot be run"),
        StartError::Store { .. } => (Blame::Store, "A store cannot be opened"),
        StartError::System { .. } => (Blame::Caller, "This machine refused something"),
        StartError::Engine(_) => (Blame::Bug, "The engine refused its settings"),
    };
    Failure::new(blame, title, error.to_string())
}
