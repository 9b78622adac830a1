//! `keyward ring`: the life of a ring's versions in a state directory. It shows numbers, states and times, never a key. A process
//! that runs has its rings from its start; docs/operations.md says how a roll-over goes.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::time::SystemTime;

use crate::failure::Result;
use crate::table::{Cell, Table};
use crate::terminal::Tone;
use crate::{Ending, Failure, Global, Terminal};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use keyward_crypto::ring::RingChangeError;
use keyward_crypto::{SecretBytes, State};
use keyward_domain::error::Blame;
use keyward_domain::ports::Clock;
use serde_json::{Value, json};

use super::reseal::{self, Figures};
use super::rings::{
    RINGS, RingFiles, RingVariable, check_unneeded, out_of_step, random, read, ring_variable,
};
use super::state::StateDir;
use super::store::RealClock;

/// `keyward ring`.
#[derive(Debug, Args)]
pub struct Options {
    /// Where `keyward init` put the rings
    #[arg(long, global = true, value_name = "DIR", default_value = ".keyward")]
    state_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every ring's versions; with --url or --context also what that server has and has counted
    Status,
    /// Add a new version, which only opens until it is activated
    Add(Which),
    /// Make a version the one that seals, MACs or signs from now on
    Activate(Activate),
    /// Have a server seal its records anew under the active version, and count them
    Reseal(ResealOptions),
    /// Drop a version for good; with --url or --context that server says what still needs it
    Retire(Retire),
}

#[derive(Debug, Args)]
struct Which {
    /// The ring
    #[arg(value_name = "RING", value_parser = PossibleValuesParser::new(RINGS.map(|ring| ring.name)))]
    ring: String,
}

#[derive(Debug, Args)]
struct Activate {
    #[command(flatten)]
    which: Which,
    /// The version's number
    version: u32,
    /// Every process has it: do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
struct ResealOptions {
    /// What credentials hold, under `vault_keyring`, instead of the records
    #[arg(long)]
    vault: bool,
}

#[derive(Debug, Args)]
struct Retire {
    #[command(flatten)]
    which: Which,
    /// The version's number
    version: u32,
    /// Though nobody has counted what is still sealed under it
    #[arg(long)]
    force_unverified: bool,
}

impl Which {
    fn variable(&self) -> Result<&'static RingVariable> {
        ring_variable(&self.ring).ok_or_else(|| Failure::system("ring", &self.ring))
    }
}

/// Carries it out.
pub fn run(global: &Global, options: &Options, terminal: &Terminal) -> Result<Ending> {
    let state = StateDir::new(&options.state_dir);
    match &options.command {
        Command::Status => status(global, &state, terminal),
        Command::Add(which) => add(global, &state, which.variable()?, terminal),
        Command::Activate(Activate { which, version, yes }) => {
            activate(global, &state, which.variable()?, *version, *yes, terminal)
        }
        Command::Reseal(options) if options.vault => reseal::run_vault(global, terminal),
        Command::Reseal(_) => reseal::run(global, terminal),
        Command::Retire(Retire { which, version, force_unverified }) => {
            retire(global, &state, which.variable()?, *version, *force_unverified, terminal)
        }
    }
}

const fn word(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::DecryptOnly => "decrypt-only",
    }
}

fn status(global: &Global, state: &StateDir, terminal: &Terminal) -> Result<Ending> {
    state.check_complete()?;
    // What the files say is wanted most where no server runs.
    let figures = Figures::asked(global, terminal).unwrap_or_else(|failure| {
        terminal.fail(&failure);
        None
    });
    let local = ["RING", "VERSION", "STATE", "CREATED"];
    let beside = figures.as_ref().map_or(&[][..], |_| &["AT THE SERVER", "IN USE BY"]);
    let mut table = Table::new(&[&local, beside].concat());
    let mut rings = Vec::new();
    for variable in &RINGS {
        let changing = read(state, variable)?;
        let ring = changing.ring();
        let mut versions: Vec<_> = ring.versions().collect();
        versions.sort_by_key(|(version, _)| *version);
        let mut items = Vec::new();
        for (version, version_state) in versions {
            let (word, created_at) = (word(version_state), ring.created_at(version));
            items.push(json!({ "version": version, "state": word, "created_at": created_at }));
            let seen = figures.as_ref().map(|figures| figures.of(variable.name, version));
            table.row(
                [
                    Cell::new(variable.name),
                    Cell::new(version.to_string()),
                    Cell::state(word),
                    Cell::or_dash(created_at),
                ]
                .into_iter()
                .chain(seen.into_iter().flatten()),
            );
        }
        rings.push(json!({ "ring": variable.name, "versions": items }));
    }
    let out_of_step = out_of_step(state)?;
    if global.json {
        let server = figures.as_ref().map(Figures::json).transpose()?;
        show_json(&json!({ "rings": rings, "out_of_step": out_of_step, "server": server }), terminal)?;
    } else {
        terminal.print(&table.render(terminal.styles()))?;
        for variable in &RINGS {
            if let Some(remark) = variable.remark {
                terminal.note(&format!("{}: {remark}", variable.name));
            }
        }
    }
    for name in out_of_step {
        let path = state.environment().display().to_string();
        terminal.warn(&format!(
            "{} says something else of {name} than its file; any change of a ring mends it",
            crate::escape::shown(&path)
        ));
    }
    Ok(Ending::Done)
}

fn add(
    global: &Global,
    state: &StateDir,
    variable: &'static RingVariable,
    terminal: &Terminal,
) -> Result<Ending> {
    let files = RingFiles::lock(state)?;
    let mut ring = files.read(variable)?;
    let created_at = RealClock::default().now().to_string();
    let version = ring.add(SecretBytes::new(*random()?), &created_at).map_err(refused)?;
    files.write(variable, &ring)?;
    show(global, variable, version, word(State::DecryptOnly), terminal)?;
    terminal.note(&format!(
        "Hand the ring to every process and start each anew; then `keyward ring activate {} {version}`.",
        variable.name
    ));
    Ok(Ending::Done)
}

fn activate(
    global: &Global,
    state: &StateDir,
    variable: &'static RingVariable,
    version: u32,
    is_agreed: bool,
    terminal: &Terminal,
) -> Result<Ending> {
    let files = RingFiles::lock(state)?;
    let mut ring = files.read(variable)?;
    ring.activate(version).map_err(refused)?;
    if !is_agreed {
        let name = variable.name;
        agree(&format!(
            "Every process must have version {version} of {name} first: one that does not knows nothing of what it makes, and answers 503."
        ))?;
    }
    files.write(variable, &ring)?;
    show(global, variable, version, word(State::Active), terminal)?;
    terminal.note("Hand the ring to every process again and start each anew; the version before still opens what it sealed.");
    Ok(Ending::Done)
}

fn retire(
    global: &Global,
    state: &StateDir,
    variable: &'static RingVariable,
    version: u32,
    is_forced: bool,
    terminal: &Terminal,
) -> Result<Ending> {
    let files = RingFiles::lock(state)?;
    let mut ring = files.read(variable)?;
    ring.retire(version).map_err(refused)?;
    let figures = match variable.name {
        _ if is_forced || variable.loss.is_none() => None,
        "vault_keyring" => Figures::asked_with_vault(global, terminal)?,
        _ => Figures::asked(global, terminal)?,
    };
    let remaining = match figures {
        Some(figures) => {
            let changed_at = changed_at(state, variable)?;
            Some(figures.remaining(variable.name, version, ring.ring().active_version(), changed_at)?)
        }
        None => None,
    };
    check_unneeded(variable, version, remaining, is_forced)?;
    files.write(variable, &ring)?;
    show(global, variable, version, "retired", terminal)?;
    if let Some(loss) = variable.loss {
        terminal.note(&format!(
            "Should anything have needed it, only a copy of the old ring brings it back: {loss}."
        ));
    }
    Ok(Ending::Done)
}

/// When a ring's file was changed last.
fn changed_at(state: &StateDir, variable: &RingVariable) -> Result<SystemTime> {
    let path = state.variable(variable.name);
    let changed = std::fs::metadata(&path).and_then(|data| data.modified());
    changed.map_err(|error| Failure::file("ring", &path, &error))
}

/// Why a change of a ring was refused.
fn refused(error: RingChangeError) -> Failure {
    let blame = match &error {
        RingChangeError::Unknown { .. } => Blame::Caller,
        RingChangeError::Active { .. } | RingChangeError::Newest { .. } | RingChangeError::Full { .. } => {
            Blame::Conflict
        }
        RingChangeError::Version(_) => Blame::Bug,
    };
    Failure::new(blame, "The ring was left as it is", error.to_string())
}

/// Asks on a terminal; without one nobody agrees.
fn agree(what: &str) -> Result<()> {
    let refuse = |why: &str| Err(Failure::command_line(format!("{why}; nothing was changed")).advise(what));
    if !std::io::stdin().is_terminal() {
        return refuse("--yes is needed where there is no terminal to ask at");
    }
    eprint!("{what} Go on? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" if read.is_ok() => Ok(()),
        _ => refuse("not agreed to"),
    }
}

fn show(
    global: &Global,
    variable: &RingVariable,
    version: u32,
    state: &str,
    terminal: &Terminal,
) -> Result<()> {
    if global.json {
        return show_json(&json!({ "ring": variable.name, "version": version, "state": state }), terminal);
    }
    let mut table = Table::new(&["RING", "VERSION", "STATE"]);
    let tone = if state == "retired" { Tone::Bad } else { Tone::Plain };
    table.row([Cell::new(variable.name), Cell::new(version.to_string()), Cell::toned(state, tone)]);
    terminal.print(&table.render(terminal.styles()))
}

fn show_json(json: &Value, terminal: &Terminal) -> Result<()> {
    terminal.print(&crate::escape::shown_json(&json.to_string()))
}
