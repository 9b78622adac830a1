//! `cargo xtask up`: build, make a state directory if there is none, and become `keyward up`.
//! It starts nothing in the background: the process that runs afterwards is the command itself, and signals reach it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::build;
use crate::steps::{self, Journal};

/// The flags of `keyward up` that are passed on.
#[derive(Args)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: String,
    /// Where keys, store and logs lie, `.keyward` at the repository's root unless told; made by `keyward init` if it is
    /// not there
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// More flags for `keyward up`, after `--`
    #[arg(last = true)]
    more: Vec<String>,
}

/// Whether somebody has run `keyward init` there: the root key is what it leaves last.
pub fn is_initialised(state_dir: &Path) -> bool {
    state_dir.join("root.key").exists()
}

/// `keyward init` for a directory that has none yet.
pub fn init(state_dir: &Path) -> anyhow::Result<()> {
    if is_initialised(state_dir) {
        return Ok(());
    }
    steps::must(steps::command(build::program_path("keyward")).arg("init").arg("--state-dir").arg(state_dir))
}

/// Does not return while Keyward runs.
pub fn run(options: Options) -> anyhow::Result<()> {
    let mut journal = Journal::default();
    build::everything(&mut journal)?;
    // The command runs at the root, so a path that was typed elsewhere is made whole first.
    let state_dir = match options.state_dir {
        Some(typed) => std::path::absolute(typed)?,
        None => steps::root().join(".keyward"),
    };
    init(&state_dir)?;
    let program = build::program_path("keyward");
    let error = steps::command(&program)
        .arg("up")
        .arg("--listen")
        .arg(&options.listen)
        .arg("--state-dir")
        .arg(&state_dir)
        .args(&options.more)
        .exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}
