//! Runs one command after another, saying which and for how long.
//! A step's own output goes straight through; nothing is captured or hidden.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::table::Table;

/// What `paint` can make of a word.
#[derive(Clone, Copy)]
pub enum Colour {
    Green,
    Red,
    Yellow,
    Bold,
}

/// Colours `text` where standard error is a terminal and `NO_COLOR` is not set.
pub fn paint(colour: Colour, text: &str) -> String {
    let plain = !std::io::stderr().is_terminal()
        || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if plain {
        return text.to_owned();
    }
    let code = match colour {
        Colour::Green => 32,
        Colour::Red => 31,
        Colour::Yellow => 33,
        Colour::Bold => 1,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// The repository's root: the folder above this crate.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's target directory, as cargo itself would choose it.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(chosen) => root().join(chosen),
        None => root().join("target"),
    }
}

/// The cargo that runs us, or else the one in the path, started at the root.
pub fn cargo<I, S>(arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    // Cargo tells us who we are; what we start is somebody else.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Any other program, started at the root.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The command as one would type it.
fn spelled(command: &Command) -> String {
    let mut text = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Runs `command` to its end; an error if it could not start or did not succeed.
pub fn must(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", spelled(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", spelled(command));
    }
    Ok(())
}

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// The steps taken so far, for the summary at the end.
#[derive(Default)]
pub struct Journal {
    taken: Vec<(String, Outcome, f64)>,
}

impl Journal {
    /// Takes a step: a line before, a line after, and its place in the summary. A failure is noted, not returned: see `close`.
    pub fn step(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<()>) -> Outcome {
        self.take(name, work, |error| (Outcome::Failed, Colour::Red, "bad", format!("{error:#}")))
    }

    /// Takes a step that one can do without: where it fails it counts as skipped, and what follows from that is said.
    pub fn attempt(
        &mut self,
        name: &str,
        otherwise: &str,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> Outcome {
        let skipped = |error| (Outcome::Skipped, Colour::Yellow, "-- ", format!("{error:#}; {otherwise}"));
        self.take(name, work, skipped)
    }

    fn take(
        &mut self,
        name: &str,
        work: impl FnOnce() -> anyhow::Result<()>,
        on_error: impl FnOnce(anyhow::Error) -> (Outcome, Colour, &'static str, String),
    ) -> Outcome {
        eprintln!("{} {name}", paint(Colour::Bold, "==>"));
        let start = Instant::now();
        let done = work();
        let seconds = start.elapsed().as_secs_f64();
        let outcome = match done {
            Ok(()) => {
                eprintln!("{} {name}, {seconds:.1} s", paint(Colour::Green, "ok "));
                Outcome::Passed
            }
            Err(error) => {
                let (outcome, colour, mark, told) = on_error(error);
                eprintln!("{} {name}, {seconds:.1} s: {told}", paint(colour, mark));
                outcome
            }
        };
        self.taken.push((name.to_owned(), outcome, seconds));
        outcome
    }

    /// Notes a step that was not taken, and why.
    pub fn skip(&mut self, name: &str, why: &str) {
        eprintln!("{} {name}: {why}", paint(Colour::Yellow, "-- "));
        self.taken.push((name.to_owned(), Outcome::Skipped, 0.0));
    }

    /// The summary: step, result, seconds.
    pub fn summary(&self) -> String {
        let mut table = Table::new(&["step", "result", "seconds"]);
        for (name, outcome, seconds) in &self.taken {
            let result = match outcome {
                Outcome::Passed => paint(Colour::Green, "passed"),
                Outcome::Failed => paint(Colour::Red, "failed"),
                Outcome::Skipped => paint(Colour::Yellow, "skipped"),
            };
            table.row([name.clone(), result, format!("{seconds:.1}")]);
        }
        let total: f64 = self.taken.iter().map(|(_, _, seconds)| seconds).sum();
        table.row(["total".to_owned(), String::new(), format!("{total:.1}")]);
        table.render()
    }

    /// An error that names the steps that failed, if any did.
    pub fn close(&self) -> anyhow::Result<()> {
        let failed: Vec<&str> = self
            .taken
            .iter()
            .filter(|(_, outcome, _)| *outcome == Outcome::Failed)
            .map(|(name, _, _)| name.as_str())
            .collect();
        if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_named_at_the_end_and_the_next_is_still_taken() {
        let mut journal = Journal::default();
        assert!(journal.step("first", || bail!("no")) == Outcome::Failed);
        assert!(journal.step("second", || Ok(())) == Outcome::Passed);
        assert!(journal.attempt("extra", "its tests are left out", || bail!("no")) == Outcome::Skipped);
        journal.skip("third", "not asked for");
        assert_eq!(journal.close().unwrap_err().to_string(), "failed: first");
        let summary = journal.summary();
        assert!(summary.contains("first") && summary.contains("third"), "{summary}");
    }
}
