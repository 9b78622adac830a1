//! The `keyward` command. Here is only which part a command belongs to: the client; with the feature `host`, making and
//! running a Keyward on this machine; or what concerns the command line itself.

mod manual;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use keyward_cli::arguments::ContextCommand;
use keyward_cli::context::{Origins, resolve};
use keyward_cli::failure::{EXIT_CODES, Result};
#[cfg(feature = "host")]
use keyward_cli::local;
use keyward_cli::{Ending, Global, Terminal};

/// API keys governed at the edge: issue, claim, verify, revoke, and see it all in the audit log
#[derive(Parser)]
#[command(name = "keyward", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[cfg(feature = "host")]
    #[command(flatten)]
    Local(local::Command),
    #[command(flatten)]
    Client(Box<keyward_cli::Command>),
    /// Named contexts: where a Keyward answers, and the key file for it
    #[command(subcommand)]
    Context(ContextCommand),
    #[command(flatten)]
    Manual(manual::Command),
}

fn main() -> ExitCode {
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let terminal = Terminal::default();
    match run(arguments, Origins::of(&matches), &terminal) {
        Ok(ending) => ending.exit_code().into(),
        Err(failure) => {
            terminal.fail(&failure);
            failure.exit_code().into()
        }
    }
}

fn run(arguments: Arguments, origins: Origins, terminal: &Terminal) -> Result<Ending> {
    let Arguments { mut global, command } = arguments;
    global.origins = origins;
    match command {
        #[cfg(feature = "host")]
        Command::Local(command) => local::run(&global, command, terminal),
        Command::Client(command) => {
            resolve(&mut global)?;
            match *command {
                #[cfg(feature = "host")]
                keyward_cli::Command::Audit(command) if local::audit::is_local(&command) => {
                    local::audit::run(&global, &command, terminal)
                }
                command => keyward_cli::commands::run(&global, &command, terminal),
            }
        }
        Command::Context(command) => keyward_cli::commands::context::run(&global, &command, terminal),
        Command::Manual(command) => manual::run(&command, Arguments::command(), terminal),
    }
}
