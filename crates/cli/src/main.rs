//! The `keyward` command. Here is only which half a command belongs to: the client (the library) or, with the feature `host`,
//! making and running a Keyward on this machine.

#[cfg(feature = "host")]
mod local;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use keyward_cli::failure::EXIT_CODES;
use keyward_cli::{Global, Terminal};

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
    Client(keyward_cli::Command),
}

fn main() -> ExitCode {
    let Arguments { global, command } = Arguments::parse();
    let terminal = Terminal::default();
    let ended = match command {
        #[cfg(feature = "host")]
        Command::Local(command) => local::run(&global, command, &terminal),
        Command::Client(command) => keyward_cli::commands::run(&global, &command, &terminal),
    };
    match ended {
        Ok(ending) => ending.exit_code().into(),
        Err(failure) => {
            terminal.fail(&failure);
            failure.exit_code().into()
        }
    }
}
