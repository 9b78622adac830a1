//! `cargo xtask test`: what CI runs, from a bare machine to the end-to-end tests; `--full` adds what takes from minutes to hours.
//! Every step is taken even after one failed, so that one run shows all that is wrong; it needs no standard input.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use serde_json::Value;

use crate::bench::soak;
use crate::build;
use crate::fuzz;
use crate::lint::{self, Set};
use crate::metadata::Workspace;
use crate::mutants;
use crate::programs::{self, CARRIED};
use crate::steps::{self, Journal, Outcome};

/// What to run.
#[derive(Args)]
pub struct Options {
    /// Only these steps; may repeat
    #[arg(long)]
    only: Vec<Part>,
    /// What takes longer, too: fuzz, mutants, soak and outage
    #[arg(long)]
    full: bool,
}

/// The steps by name.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Install the programs that tests start, if they are missing (root on Debian)
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
    /// Every fuzz target for a minute
    Fuzz,
    /// Mutation testing of domain, crypto and ledger: the day's share, an hour or two
    Mutants,
    /// Full load for ten minutes
    Soak,
    /// Services that read credentials, through two minutes without Keyward
    Outage,
}

impl Part {
    /// What CI leaves out: it answers in minutes.
    const BEYOND_CI: &[Self] = &[Self::Fuzz, Self::Mutants, Self::Soak, Self::Outage];
}

impl Options {
    fn want(&self, part: Part) -> bool {
        match self.only.as_slice() {
            [] => self.full || !Part::BEYOND_CI.contains(&part),
            only => only.contains(&part),
        }
    }
}

/// A test program that cargo built.
pub struct TestProgram {
    /// The folder of its package: what a test takes for its working directory.
    folder: PathBuf,
    /// What cargo calls it.
    pub name: String,
    path: PathBuf,
}

impl TestProgram {
    /// Runs it as cargo would.
    pub fn command(&self) -> Command {
        let mut command = steps::command(&self.path);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder).stdin(Stdio::null());
        command
    }
}

/// Builds the native packages and their tests, all in one go (see `NATIVE_PACKAGES`), and tells where the tests are. Each package has a test of
/// its program, so that the programs are built as well; by themselves they would be built out of other features, wasmtime and all once more.
pub fn build_tests() -> anyhow::Result<Vec<TestProgram>> {
    let mut cargo = build::on_native("test");
    cargo.args(["--no-run", "--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let output = cargo.output().context("cannot start `cargo test --no-run`")?;
    if !output.status.success() {
        bail!("`cargo test --no-run` ended with {}", output.status);
    }
    let mut programs = Vec::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{")) {
        let message: Value = serde_json::from_slice(line).context("cargo's messages are no JSON")?;
        let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
        let is_test = message.pointer("/profile/test").and_then(Value::as_bool) == Some(true);
        if let (true, Some(path), Some(manifest), Some(name)) =
            (is_test, text("/executable"), text("/manifest_path"), text("/target/name"))
        {
            let folder = Path::new(manifest).parent().map(PathBuf::from).unwrap_or_default();
            programs.push(TestProgram { folder, name: name.to_owned(), path: path.into() });
        }
    }
    Ok(programs)
}

/// Runs the test programs of `package` one after another, as cargo would, without the tests whose names hold one of `left_out`,
/// and names those that failed.
fn run_tests(programs: &[TestProgram], package: &str, left_out: &[&str]) -> anyhow::Result<()> {
    let workspace = Workspace::load()?;
    let folder = &workspace.member(package).with_context(|| format!("no package `{package}`"))?.folder;
    let mut failed = Vec::new();
    for program in programs.iter().filter(|program| program.folder == *folder) {
        eprintln!("    {package}: {}", program.name);
        let mut command = program.command();
        command.args(left_out.iter().flat_map(|name| ["--skip", name]));
        if steps::must(&mut command).is_err() {
            failed.push(program.name.as_str());
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join(", ")) }
}

/// How long Keyward is away in the tests of services, in seconds, and the variable that tells them.
const OUTAGE: (&str, &str) = ("KEYWARD_E2E_OUTAGE_S", "120");

/// The end-to-end tests of services that read credentials, through a long outage.
fn outlast_outage(programs: &[TestProgram]) -> anyhow::Result<()> {
    let promises =
        programs.iter().find(|program| program.name == "promises" && program.folder.ends_with("tests"));
    let mut command = promises.context("the end-to-end tests are not built")?.command();
    steps::must(command.arg("workloads::").env(OUTAGE.0, OUTAGE.1))
}

/// `cargo xtask test`.
pub fn run(options: Options) -> anyhow::Result<()> {
    let wanted = |part: Part| options.want(part);
    let mut journal = Journal::default();
    if wanted(Part::Tools) {
        programs::install(&mut journal);
    }
    if wanted(Part::Lint) {
        lint::format(&mut journal);
        lint::floors(&mut journal);
        lint::clippy_light(&mut journal);
        lint::clippy_wasm(&mut journal);
        lint::deny(&mut journal, true);
    }
    if wanted(Part::Unit) {
        journal.step("unit tests", || {
            steps::must(&mut Set::Light.cargo(&["test", "--quiet", "--no-fail-fast"])?)
        });
        // The command as a client alone: its tests need neither wasmtime nor a store.
        journal.step("unit tests: command", || {
            steps::must(&mut steps::cargo([
                "test",
                "--quiet",
                "-p",
                "keyward-cli",
                "--no-default-features",
                "--no-fail-fast",
            ]))
        });
    }
    let mut is_built = true;
    if wanted(Part::Build) {
        is_built = build::every_component(&mut journal).is_ok();
    }
    if wanted(Part::Lint) {
        lint::clippy_heavy(&mut journal);
    }
    let heavy: Vec<(&str, &str)> = [
        (Part::Host, "host tests", "keyward-host"),
        (Part::Host, "command tests", "keyward-cli"),
        (Part::Host, "bench loader tests", "bench-loader"),
        (Part::E2e, "end-to-end tests", "keyward-e2e"),
    ]
    .into_iter()
    .filter(|(part, ..)| wanted(*part))
    .map(|(_, name, package)| (name, package))
    .collect();
    let mut test_programs = Vec::new();
    if (wanted(Part::Build) || wanted(Part::Outage) || !heavy.is_empty()) && is_built {
        let built = journal.step("build host, command and their tests", || {
            test_programs = build_tests()?;
            Ok(())
        });
        is_built = built == Outcome::Passed;
    }
    let mut left_out = Vec::new();
    if wanted(Part::E2e) {
        for missing in CARRIED.iter().filter(|program| !program.is_here()) {
            journal.skip(missing.tests, "not installed; `cargo xtask test --only tools` tries to");
            left_out.push(missing.tests);
        }
    }
    for (name, package) in heavy {
        if is_built {
            journal.step(name, || run_tests(&test_programs, package, &left_out));
        } else {
            journal.skip(name, "nothing to test: the build failed");
        }
    }
    if wanted(Part::Fuzz) {
        fuzz::every_target(&mut journal);
    }
    if wanted(Part::Mutants) {
        mutants::share_of_the_day(&mut journal);
    }
    if wanted(Part::Soak) && is_built {
        soak::step(&mut journal);
    }
    if wanted(Part::Outage) && is_built {
        journal.step("two minutes without Keyward", || outlast_outage(&test_programs));
    }
    eprint!("{}", journal.summary());
    if wanted(Part::Build) && is_built {
        eprint!("{}", build::sizes(&build::COMPONENTS)?.render());
    }
    journal.close()
}
