//! The half that works on this machine: `init` makes a state directory, `up` runs Keyward from it. Only here are the host, the
//! store and the one use case that runs without HTTP.

mod init;
mod state;
mod up;

use clap::Subcommand;
use keyward_cli::failure::Result;
use keyward_cli::{Ending, Failure, Global, Terminal};
use keyward_domain::error::Blame;
use keyward_host::StartError;

/// What works on this machine.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make key rings, the store and the root key, once
    Init(init::Options),
    /// Run Keyward on this machine, in the foreground
    Up(up::Options),
}

/// Carries a command out.
pub fn run(global: &Global, command: Command, terminal: &Terminal) -> Result<Ending> {
    match command {
        Command::Init(options) => init::run(global, &options, terminal),
        Command::Up(options) => up::run(global, options, terminal),
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
