//! `cargo xtask test`: what CI runs, from a bare machine to the end-to-end tests.
//! Every step is taken even after one failed, so that one run shows all that is wrong; it needs no standard input.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::build;
use crate::lint;
use crate::steps::{self, Journal};

/// What to run.
#[derive(Args)]
pub struct Options {
    /// Only these steps; may repeat
    #[arg(long)]
    only: Vec<Part>,
}

/// The steps by name.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Install redis-server and nginx if they are missing (root on Debian)
    Tools,
    /// Formatting, floors, clippy, licences
    Lint,
    /// Native tests of the crates without wasmtime
    Unit,
    /// Host, command and components
    Build,
    /// Tests of the host and the command
    Host,
    /// End to end
    E2e,
}

/// Programs that tests start, with the Debian package that holds each: the other store, and a gateway.
const PROGRAMS: [(&str, &str); 2] = [("redis-server", "redis-server"), ("nginx", "nginx")];

/// Where a package manager puts them: `/usr/sbin` is in no ordinary user's path.
const FOLDERS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

fn missing_packages() -> Vec<&'static str> {
    PROGRAMS
        .iter()
        .filter(|(program, _)| !FOLDERS.iter().any(|folder| Path::new(folder).join(program).exists()))
        .map(|(_, package)| *package)
        .collect()
}

fn install_programs() -> anyhow::Result<()> {
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    let apt = |arguments: &[&str]| {
        let mut command = steps::command("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).args(arguments);
        steps::must(&mut command)
    };
    let named = missing.join(" ");
    apt(&["update", "-qq"]).with_context(|| format!("missing on this machine: {named}"))?;
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(&missing);
    apt(&install).with_context(|| format!("missing on this machine: {named}"))?;
    match missing_packages().as_slice() {
        [] => Ok(()),
        still => bail!("installed, and yet not there: {}", still.join(" ")),
    }
}

/// `cargo xtask test`.
pub fn run(options: Options) -> anyhow::Result<()> {
    let wanted = |part: Part| options.only.is_empty() || options.only.contains(&part);
    let mut journal = Journal::default();
    if wanted(Part::Tools) {
        journal.step("redis-server and nginx", install_programs);
    }
    if wanted(Part::Lint) {
        lint::format(&mut journal);
        lint::floors(&mut journal);
        lint::clippy_light(&mut journal);
        lint::clippy_wasm(&mut journal);
        lint::deny(&mut journal, false);
    }
    if wanted(Part::Unit) {
        journal.step("unit tests", || steps::must(&mut steps::cargo(["test", "--quiet"])));
    }
    let mut is_built = true;
    if wanted(Part::Build) {
        is_built = build::everything(&mut journal).is_ok();
    }
    if wanted(Part::Lint) {
        lint::clippy_heavy(&mut journal);
    }
    for (part, name, package) in [
        (Part::Host, "host tests", "keyward-host"),
        (Part::Host, "command tests", "keyward-cli"),
        (Part::E2e, "end-to-end tests", "keyward-e2e"),
    ] {
        if !wanted(part) {
            continue;
        }
        if is_built {
            journal.step(name, || steps::must(&mut steps::cargo(["test", "--release", "-p", package])));
        } else {
            journal.skip(name, "nothing to test: the build failed");
        }
    }
    eprint!("{}", journal.summary());
    if wanted(Part::Build) && is_built {
        eprint!("{}", build::sizes(&build::COMPONENTS)?.render());
    }
    journal.close()
}
