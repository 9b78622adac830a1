//! `cargo xtask fuzz`: builds the targets of `fuzz/` and runs one after the other for a bounded time, each in one process.
//! No sanitizer, so that the pinned stable toolchain does: there is no unsafe code of ours to watch, and what a target asserts is
//! rules of Keyward's own. It keeps no finding: whoever repeats one mends the code and leaves a test beside it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::Args;

use crate::steps::{self, Colour, Journal, Outcome, paint};
use crate::table::Table;
use crate::tools;

/// How long each target runs where nothing else is said, in seconds.
const SECONDS: u64 = 60;
/// What one input may take, in seconds: an input is a few KB, and what is asserted of it takes microseconds.
const TIMEOUT_S: u64 = 10;

/// What to run.
#[derive(Args)]
pub struct Options {
    /// Only this target, such as `token`
    target: Option<String>,
    /// Seconds for each target
    #[arg(long, value_name = "N", default_value_t = SECONDS)]
    seconds: u64,
    /// Run the target on this input alone: what an earlier run found
    #[arg(long, value_name = "FILE", requires = "target", conflicts_with = "seconds")]
    repeat: Option<PathBuf>,
}

/// The names of all targets, as `fuzz/Cargo.toml` has them.
fn targets() -> anyhow::Result<Vec<String>> {
    let path = steps::root().join("fuzz/Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    names(&text).with_context(|| format!("{} names no targets", path.display()))
}

fn names(manifest: &str) -> Option<Vec<String>> {
    let manifest: toml::Table = manifest.parse().ok()?;
    let targets = manifest.get("bin")?.as_array()?.iter();
    targets.map(|target| Some(target.get("name")?.as_str()?.to_owned())).collect()
}

/// What libFuzzer says of a run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    executions: u64,
    per_second: u64,
    /// Edges between basic blocks that were passed.
    coverage: u64,
    /// Inputs that were kept, since each does what no other does.
    corpus: u64,
    /// The input that broke what is asserted.
    finding: Option<String>,
}

impl Told {
    /// Notes one line of libFuzzer's.
    fn note(&mut self, line: &str) {
        if let Some(path) = line.split("Test unit written to ").nth(1) {
            self.finding = Some(path.trim().to_owned());
        }
        if let Some(status) = line.strip_prefix('#') {
            let number = |text: &str| text.split(['/', '\t']).next().and_then(|digits| digits.parse().ok());
            let after =
                |label: &str| status.split(label).nth(1).and_then(|rest| number(rest.split(' ').next()?));
            self.executions = number(status).unwrap_or(self.executions);
            self.coverage = after("cov: ").unwrap_or(self.coverage);
            self.corpus = after("corp: ").unwrap_or(self.corpus);
            self.per_second = after("exec/s: ").unwrap_or(self.per_second);
        }
    }

    fn row(&self, target: &str) -> [String; 6] {
        let result = match self.finding {
            None => paint(Colour::Green, "nothing found"),
            Some(_) => paint(Colour::Red, "FOUND"),
        };
        let numbers = [self.executions, self.per_second, self.coverage, self.corpus];
        let [executions, per_second, coverage, corpus] = numbers.map(|number| number.to_string());
        [target.to_owned(), executions, per_second, coverage, corpus, result]
    }
}

/// Whether a line only says that an input was kept, of which there are thousands, or what it would recommend for a dictionary.
fn is_chatter(line: &str) -> bool {
    let is_kept = line.starts_with('#') && ["NEW", "REDUCE", "RELOAD"].iter().any(|word| line.contains(word));
    is_kept || line.starts_with("###### ") || (line.starts_with('"') && line.contains("\" # Uses: "))
}

/// Where the targets are built, and what a run keeps of its inputs.
fn folder() -> PathBuf {
    steps::target_dir().join("fuzz")
}

/// A cargo-fuzz command, up to its own arguments.
fn cargo_fuzz(program: &Path, command: &str) -> Command {
    let mut cargo_fuzz = steps::command(program);
    cargo_fuzz.args([command, "--sanitizer", "none", "--target-dir"]).arg(folder());
    cargo_fuzz.stdin(Stdio::null());
    cargo_fuzz
}

/// Runs one target and passes on what it says.
fn run_target(program: &Path, target: &str, seconds: u64) -> anyhow::Result<Told> {
    let corpus = folder().join("corpus").join(target);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let mut command = cargo_fuzz(program, "run");
    command.arg(target).arg(&corpus);
    let seeds = Path::new("fuzz/seeds").join(target);
    if steps::root().join(&seeds).is_dir() {
        command.arg(&seeds);
    }
    command.args(["--", &format!("-max_total_time={seconds}"), &format!("-timeout={TIMEOUT_S}")]);
    let mut child = command.stderr(Stdio::piped()).spawn().context("cannot start cargo-fuzz")?;
    let mut told = Told::default();
    for line in child.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).split(b'\n')) {
        let line = String::from_utf8_lossy(&line?).into_owned();
        told.note(&line);
        if !is_chatter(&line) {
            eprintln!("{line}");
        }
    }
    let status = child.wait()?;
    // Without an input it did not get so far as to find one.
    if !status.success() && told.finding.is_none() {
        bail!("cargo-fuzz ended with {status}");
    }
    Ok(told)
}

/// Builds what is to run, runs it, and shows a table.
fn fuzz(journal: &mut Journal, chosen: &[String], seconds: u64) -> anyhow::Result<()> {
    let program = tools::need(journal, "cargo-fuzz")?;
    let built = journal.step("build fuzz targets", || {
        let one = if let [one] = chosen { Some(one) } else { None };
        steps::must(cargo_fuzz(&program, "build").args(one))
    });
    if built != Outcome::Passed {
        return journal.close();
    }
    let mut table = Table::new(&["target", "executions", "exec/s", "coverage", "corpus", "result"]);
    for target in chosen {
        journal.step(&format!("fuzz {target}"), || {
            let told = run_target(&program, target, seconds)?;
            table.row(told.row(target));
            match told.finding {
                None => Ok(()),
                Some(path) => bail!(
                    "an input breaks what {target} asserts; `cargo xtask fuzz {target} --repeat {}` shows how",
                    Path::new(&path).strip_prefix(steps::root()).unwrap_or(Path::new(&path)).display()
                ),
            }
        });
    }
    eprint!("{}", table.render());
    journal.close()
}

/// Every target, as a part of all tests.
pub fn every_target(journal: &mut Journal) {
    // What fails is noted in the journal, step by step; only what comes before the first step is not.
    match targets() {
        Ok(targets) => drop(fuzz(journal, &targets, SECONDS)),
        Err(error) => drop(journal.step("fuzz", || Err(error))),
    }
}

/// `cargo xtask fuzz`.
pub fn run(options: Options) -> anyhow::Result<()> {
    let known = targets()?;
    let chosen = match options.target {
        None => known,
        Some(target) if known.contains(&target) => vec![target],
        Some(target) => bail!("no fuzz target `{target}`; expected one of {}", known.join(", ")),
    };
    let mut journal = Journal::default();
    match (options.repeat, chosen.as_slice()) {
        (Some(input), [target]) => {
            let program = tools::need(&mut journal, "cargo-fuzz")?;
            // As whoever typed it sees it; cargo-fuzz is started at the root.
            let input = input.canonicalize().unwrap_or(input);
            steps::must(cargo_fuzz(&program, "run").arg(target).arg(input))
        }
        _ => fuzz(&mut journal, &chosen, options.seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let mut told = Told::default();
        for line in [
            "INFO: Running with entropic power schedule (0xFF, 100).",
            "#2\tINITED cov: 51 ft: 52 corp: 1/1b exec/s: 0 rss: 27Mb",
            "#675112\tDONE   cov: 211 ft: 436 corp: 131/9789b lim: 4096 exec/s: 51931 rss: 28Mb",
            "Done 675112 runs in 13 second(s)",
        ] {
            told.note(line);
        }
        let expected =
            Told { executions: 675_112, per_second: 51_931, coverage: 211, corpus: 131, finding: None };
        assert_eq!(told, expected);
        told.note("artifact_prefix='/a/'; Test unit written to /a/crash-0a1b");
        assert_eq!(told.finding.as_deref(), Some("/a/crash-0a1b"));
        assert!(is_chatter("#12\tNEW    cov: 3") && is_chatter("\"m\\000\" # Uses: 1691"));
        assert!(!is_chatter("#16\tpulse  cov: 3") && !is_chatter("thread panicked"));
    }

    #[test]
    fn every_target_has_its_file_and_every_file_is_a_target() {
        let mut named = targets().unwrap();
        let mut files: Vec<String> = fs::read_dir(steps::root().join("fuzz/fuzz_targets"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        named.sort();
        files.sort();
        assert_eq!(named, files);
    }
}
