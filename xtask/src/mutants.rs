//! `cargo xtask mutants`: cargo-mutants plants one mistake after the other in the crates whose rules everything stands on, and a
//! test has to find each. What needs no test, and why, stands in `.cargo/mutants.toml`; whatever else survives fails.

use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args;

use crate::steps::{self, Journal};
use crate::tools;

/// What to plant.
#[derive(Args)]
pub struct Options {
    /// Only in this crate; may repeat
    #[arg(long = "crate", value_name = "NAME")]
    crates: Vec<String>,
    /// Only every n-th mistake, from the k-th, counted from 0: `0/8`
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,
}

/// A crate, and the tests that judge it.
struct Judged {
    name: &'static str,
    arguments: &'static [&'static str],
    /// How many days all of it is spread over as a part of all tests, so that each day takes about half an hour.
    days: u64,
}

const CRATES: [Judged; 3] = [
    Judged { name: "keyward-domain", arguments: &["--cargo-test-arg=--lib"], days: 4 },
    Judged { name: "keyward-crypto", arguments: &["--cargo-test-arg=--lib"], days: 4 },
    // Its promises are kept to the use cases above it, and tested there, which takes minutes. cargo-mutants would take the time that
    // the crate's own tests need for its measure, and call every other mistake found.
    Judged {
        name: "keyward-ledger",
        arguments: &[
            "--test-package=keyward-ledger,keyward-service",
            "--cargo-test-arg=--tests",
            "--timeout=1200",
        ],
        days: 40,
    },
];

/// Property tests run once for each mistake: a quarter of the ordinary cases finds what all of them find, in less time.
const PROPERTY_CASES: &str = "64";

const SECONDS_PER_DAY: u64 = 86_400;

/// cargo-mutants's codes for "some survived" and "some made a test run for ever", which is as good as found.
const SURVIVED: i32 = 2;
const TIMED_OUT: i32 = 3;

fn plant(
    journal: &mut Journal,
    chosen: &[&Judged],
    shard: impl Fn(&Judged) -> Option<String>,
) -> anyhow::Result<()> {
    let program = tools::need(journal, "cargo-mutants")?;
    let folder = steps::target_dir().join("mutants");
    // It works on a copy of the tree; a temporary folder in memory would be too small for it.
    let copies = folder.join("copies");
    std::fs::create_dir_all(&copies).with_context(|| format!("cannot make {}", copies.display()))?;
    for judged in chosen {
        let Judged { name, arguments, .. } = judged;
        let output = folder.join(name);
        std::fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
        let shard = shard(judged);
        journal.step(&format!("mutants of {name}"), || {
            let mut command = steps::command(&program);
            command.args(["mutants", "--gitignore=true", "--package", name, "--output"]).arg(&output).args(*arguments);
            command.args(shard.iter().flat_map(|shard| ["--shard", shard.as_str(), "--sharding", "round-robin"]));
            command.env("TMPDIR", &copies).env("PROPTEST_CASES", PROPERTY_CASES).stdin(Stdio::null());
            let status = command.status().context("cannot start cargo-mutants")?;
            match status.code() {
                Some(0 | TIMED_OUT) => Ok(()),
                Some(SURVIVED) => bail!(
                    "no test finds what {} lists: write one, or say in .cargo/mutants.toml why none is needed",
                    output.join("mutants.out/missed.txt").display()
                ),
                _ => bail!("cargo-mutants ended with {status}"),
            }
        });
    }
    journal.close()
}

/// The day's share of every crate, as a part of all tests: another one each day.
pub fn share_of_the_day(journal: &mut Journal) {
    let all: Vec<&Judged> = CRATES.iter().collect();
    let today =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / SECONDS_PER_DAY);
    // What fails is a step in the journal.
    drop(plant(journal, &all, |judged| Some(format!("{}/{}", today % judged.days, judged.days))));
}

/// `cargo xtask mutants`.
pub fn run(options: Options) -> anyhow::Result<()> {
    let names: Vec<&str> = CRATES.iter().map(|judged| judged.name).collect();
    if let Some(unknown) = options.crates.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("`{unknown}` is not mutated; expected one of {}", names.join(", "));
    }
    let wanted =
        |judged: &&Judged| options.crates.is_empty() || options.crates.iter().any(|name| name == judged.name);
    let chosen: Vec<&Judged> = CRATES.iter().filter(wanted).collect();
    let mut journal = Journal::default();
    let planted = plant(&mut journal, &chosen, |_| options.shard.clone());
    eprint!("{}", journal.summary());
    planted
}
