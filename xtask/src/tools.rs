//! Cargo's subcommands that come from crates.io: compiled into `.tools` when they are first needed, which takes minutes.
//! One that is in the path is taken as it is.

use std::path::PathBuf;

use anyhow::bail;

use crate::steps::{self, Journal, Outcome};

/// Where they are installed.
fn folder() -> PathBuf {
    steps::root().join(".tools")
}

/// The program, such as `cargo-deny`: our own, or else that in the path.
pub fn find(name: &str) -> Option<PathBuf> {
    let in_path = std::env::var_os("PATH");
    let in_path = in_path.iter().flat_map(std::env::split_paths).map(|folder| folder.join(name));
    std::iter::once(folder().join("bin").join(name)).chain(in_path).find(|program| program.exists())
}

/// The program, installed if it is missing.
///
/// # Errors
/// Where it could not be; the step in `journal` says why.
pub fn need(journal: &mut Journal, name: &str) -> anyhow::Result<PathBuf> {
    if let Some(program) = find(name) {
        return Ok(program);
    }
    let installed = journal.step(&format!("install {name}"), || {
        // What runs for seconds need not be optimised for minutes.
        steps::must(steps::cargo(["install", "--debug", "--locked", name, "--root"]).arg(folder()))
    });
    match find(name) {
        Some(program) if installed == Outcome::Passed => Ok(program),
        _ => bail!("no {name}: it is neither in the path nor could it be installed"),
    }
}
