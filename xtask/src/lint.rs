//! `cargo xtask lint`: formatting, the floors, clippy, licences and sources of dependencies.
//! It changes no file.

use std::process::Command;

use anyhow::bail;
use clap::Args;

use crate::build::{self, WASM_TARGET};
use crate::floors;
use crate::metadata::{Member, Workspace};
use crate::steps::{self, Journal, Outcome};
use crate::tools;

/// What to check beyond the ordinary.
#[derive(Args)]
pub struct Options {
    /// Install cargo-deny into .tools if it is missing (it is compiled, which takes minutes), and run it
    #[arg(long)]
    deny: bool,
    /// Leave out clippy on what links wasmtime: minutes on a cold cache
    #[arg(long)]
    light: bool,
}

/// `rustfmt --check` on everything; the fuzz targets are a workspace of their own.
pub fn format(journal: &mut Journal) -> Outcome {
    journal.step("format", || {
        steps::must(&mut steps::cargo(["fmt", "--all", "--check"]))?;
        steps::must(&mut steps::cargo(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
    })
}

/// The floors: one line for each broken rule.
pub fn floors(journal: &mut Journal) -> Outcome {
    journal.step("floors", || {
        let broken = floors::check(&Workspace::load()?)?;
        for violation in &broken {
            eprintln!("    {violation}");
        }
        if broken.is_empty() { Ok(()) } else { bail!("{} broken rules", broken.len()) }
    })
}

/// A set of crates that cargo is called with together, in the profile in which they are built elsewhere.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// All that is tested natively without wasmtime, components too (their tests run outside Wasm): `dev`.
    Light,
    /// All that links wasmtime: `release`.
    Heavy,
    /// All that runs in Wasm: components and what they share.
    Wasm,
}

impl Set {
    fn holds(self, workspace: &Workspace, member: &Member) -> bool {
        let is_heavy = build::NATIVE_PACKAGES.contains(&member.name.as_str());
        match self {
            Self::Light => !is_heavy,
            Self::Heavy => is_heavy,
            Self::Wasm => workspace.is_wasm(&member.name),
        }
    }

    /// `cargo ARGUMENTS -p FIRST -p SECOND ...`
    pub fn cargo(self, arguments: &[&str]) -> anyhow::Result<Command> {
        let workspace = Workspace::load()?;
        let mut cargo = steps::cargo(arguments);
        for member in workspace.members().filter(|member| self.holds(&workspace, member)) {
            cargo.args(["-p", &member.name]);
        }
        Ok(cargo)
    }
}

fn clippy_on(set: Set, flags: &[&str]) -> anyhow::Result<()> {
    let mut cargo = set.cargo(&["clippy", "--quiet", "--keep-going"])?;
    steps::must(cargo.args(flags).args(["--", "-D", "warnings"]))
}

/// Clippy on the native crates that do not link wasmtime, their tests too.
pub fn clippy_light(journal: &mut Journal) -> Outcome {
    journal.step("clippy: native", || clippy_on(Set::Light, &["--all-targets"]))
}

/// Clippy on components and what they share.
pub fn clippy_wasm(journal: &mut Journal) -> Outcome {
    journal.step("clippy: components", || {
        build::wasm_target()?;
        clippy_on(Set::Wasm, &["--target", WASM_TARGET])
    })
}

/// Clippy on the host, the command and the end-to-end tests.
pub fn clippy_heavy(journal: &mut Journal) -> Outcome {
    journal.step("clippy: host and command", || clippy_on(Set::Heavy, &["--release", "--all-targets"]))
}

/// Licences, bans and sources of every dependency. Advisories need a database that is fetched from elsewhere, so they are
/// no part of a run that must work from the package registry alone.
pub fn deny(journal: &mut Journal, install: bool) -> Outcome {
    const STEP: &str = "licences and sources";
    let program = match tools::find("cargo-deny") {
        None if install => match tools::need(journal, "cargo-deny") {
            Ok(program) => program,
            Err(_) => return Outcome::Failed,
        },
        None => {
            let why = "cargo-deny is not installed; `cargo xtask lint --deny` installs it into .tools";
            journal.skip(STEP, why);
            return Outcome::Skipped;
        }
        Some(program) => program,
    };
    journal.step(STEP, || {
        // Warnings, duplicate versions above all, are left out: a page of them on each run would be read by nobody.
        // `cargo deny check bans` tells them.
        steps::must(
            steps::command(program)
                .args(["--log-level", "error", "check", "--hide-inclusion-graph"])
                .args(["licenses", "bans", "sources"]),
        )
    })
}

/// `cargo xtask lint`.
pub fn run(options: Options) -> anyhow::Result<()> {
    let mut journal = Journal::default();
    format(&mut journal);
    floors(&mut journal);
    clippy_light(&mut journal);
    clippy_wasm(&mut journal);
    if options.light {
        journal.skip("clippy: host and command", "--light");
    } else {
        clippy_heavy(&mut journal);
    }
    deny(&mut journal, options.deny);
    eprint!("{}", journal.summary());
    journal.close()
}
