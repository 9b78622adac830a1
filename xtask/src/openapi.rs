//! `cargo xtask openapi`: writes the document of the HTTP API anew. What changed in it is then seen as a diff of the snapshot.

use std::process::Stdio;

use anyhow::{Context, bail};

use crate::steps;

/// The snapshot, below the root.
const SNAPSHOT: &str = "docs/openapi.json";

/// `cargo xtask openapi`.
pub fn run() -> anyhow::Result<()> {
    let mut cargo = steps::cargo(["run", "--quiet", "-p", "keyward-api"]);
    let output =
        cargo.stderr(Stdio::inherit()).output().context("cannot start `cargo run -p keyward-api`")?;
    if !output.status.success() {
        bail!("`cargo run -p keyward-api` ended with {}", output.status);
    }
    let path = steps::root().join(SNAPSHOT);
    std::fs::write(&path, output.stdout).with_context(|| format!("cannot write {}", path.display()))
}
