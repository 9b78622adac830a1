//! The one door to the repository: README, CI and people build, run, lint, test and measure Keyward through here.
//! It only drives cargo and the programs that cargo builds; it holds no rule of Keyward's own and never links wasmtime.

mod bench;
mod build;
mod floors;
mod fuzz;
mod lint;
mod metadata;
mod mutants;
mod openapi;
mod programs;
mod steps;
mod suite;
mod table;
mod tools;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, disable_help_subcommand = true)]
struct Door {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the host, the command and every component
    Build,
    /// Build, make a state directory if there is none, and run Keyward
    Up(up::Options),
    /// Formatting, clippy, the floors, licences and sources of dependencies
    Lint(lint::Options),
    /// What CI runs: lint, native tests, build, host tests, end-to-end tests; `--full` adds what takes longer
    Test(suite::Options),
    /// Run the fuzz targets, each for a bounded time
    Fuzz(fuzz::Options),
    /// Plant mistakes in domain, crypto and ledger and see whether a test finds each: hours
    Mutants(mutants::Options),
    /// Write docs/openapi.json anew, out of the types
    Openapi,
    /// Measure the hot path against bare components on the same host
    Bench(bench::Options),
    /// Full load for some minutes: does memory stay what it is?
    Soak(bench::soak::Options),
}

/// Exit codes: 0 all is well, 1 a step failed or a bar was missed, 2 the command line was wrong (clap's).
fn main() -> ExitCode {
    let done = match Door::parse().task {
        Task::Build => build::run(),
        Task::Up(options) => up::run(options),
        Task::Lint(options) => lint::run(options),
        Task::Test(options) => suite::run(options),
        Task::Fuzz(options) => fuzz::run(options),
        Task::Mutants(options) => mutants::run(options),
        Task::Openapi => openapi::run(),
        Task::Bench(options) => bench::run(options),
        Task::Soak(options) => bench::soak::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} {error:#}", steps::paint(steps::Colour::Red, "error:"));
            ExitCode::FAILURE
        }
    }
}
