//! What is made of the command line's own description: completions for a shell, and manual pages.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use clap_mangen::Man;
use keyward_cli::failure::{EXIT_CODES, Result};
use keyward_cli::{Ending, Failure, Terminal};

/// What concerns the command line itself.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print completions for a shell
    Completions(Completions),
    /// Print the manual page, or write one page for each command
    Man(Pages),
}

/// `keyward completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// The shells that there are completions for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// `keyward man`.
#[derive(Debug, Args)]
pub struct Pages {
    /// Write `keyward.1`, `keyward-key.1`, `keyward-key-create.1` and all others into this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Carries it out; `command` is the whole command line.
pub fn run(what: &Command, command: clap::Command, terminal: &Terminal) -> Result<Ending> {
    match what {
        Command::Completions(Completions { shell }) => terminal.print(&completions(*shell, command)?)?,
        Command::Man(Pages { dir: Some(folder) }) => {
            std::fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(with_exit_codes(command), folder))
                .map_err(|error| Failure::file("folder of manual pages", folder, &error))?;
        }
        Command::Man(Pages { dir: None }) => {
            let mut page = Vec::new();
            Man::new(command).render(&mut page).map_err(|error| Failure::system("manual page", error))?;
            terminal.print(&text(page)?)?;
        }
    }
    Ok(Ending::Done)
}

fn completions(shell: Shell, mut command: clap::Command) -> Result<String> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "keyward", &mut script);
    let mut script = text(script)?;
    // At the end: zsh knows a script of completions by its first line.
    script.push('\n');
    for line in EXIT_CODES.lines() {
        script.push_str(format!("# {line}").trim_end());
        script.push('\n');
    }
    Ok(script)
}

/// Every command's page says how it ends, as the first one does.
fn with_exit_codes(command: clap::Command) -> clap::Command {
    command.after_help(EXIT_CODES).mut_subcommands(with_exit_codes)
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| Failure::system("text", error))
}
