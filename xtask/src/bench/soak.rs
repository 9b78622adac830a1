//! `cargo xtask soak`: the host under full load for as long as one likes, and whether its memory stays what it is. Keys are checked on
//! sixteen connections and issued on another, while the scheduler ticks as it does for anybody.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use tokio::task::LocalSet;

use super::load::{Measured, drive};
use super::memory::{self, Memory};
use super::stage::{Cast, Stage, Telling};
use super::workloads::{self, Issue};
use crate::build;
use crate::steps::{Colour, Journal, paint};
use crate::table::Table;

/// Connections that check.
const CHECKING: usize = 16;
/// Connections that issue.
const ISSUING: usize = 1;
/// Keys that are checked.
const KEYS: usize = 1_000;
/// After each of this many equal parts memory is looked at: the first is for warming up.
const PARTS: u32 = 10;
/// What memory may be at the end, as a multiple of what it was after warming up: allocators keep what they had in a busy moment.
const GROWTH_MAX: f64 = 1.15;

/// How long.
#[derive(Args)]
pub struct Options {
    /// Minutes of load
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Run what was built before
    #[arg(long)]
    no_build: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { minutes: 10, no_build: true }
    }
}

/// One part of the time.
struct Part {
    checked: Measured,
    issued: Measured,
    memory: Memory,
}

/// `cargo xtask soak`.
///
/// # Errors
/// Where something is answered as it should not be, or memory grows.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if options.minutes == 0 {
        bail!("--minutes is 1 or more");
    }
    if !options.no_build {
        build::everything(&mut Journal::default())?;
        build::components(&mut Journal::default(), &build::BENCH_COMPONENTS)?;
    }
    let stage = Stage::set(Cast::Keyward, "soak")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let length = Duration::from_secs(options.minutes * 60) / PARTS;
    let parts = LocalSet::new()
        .block_on(&runtime, soak(&stage, length))
        .with_context(|| format!("the host's log and state are in {}", stage.folder().display()))?;
    stage.clear()?;
    print!("{}", render(&parts, length));
    let wrong = parts.iter().any(|part| !part.checked.wrong().is_empty() || !part.issued.wrong().is_empty());
    if wrong {
        bail!("some answers were of another status than expected");
    }
    let growth = growth(&parts).context("no memory was told")?;
    let told = format!("memory at the end / after warming up: {growth:.2}, at most {GROWTH_MAX:.2}");
    if growth > GROWTH_MAX {
        bail!("{told}");
    }
    eprintln!("{} {told}", paint(Colour::Green, "met"));
    Ok(())
}

async fn soak(stage: &Stage, length: Duration) -> anyhow::Result<Vec<Part>> {
    let host = stage.start(Telling::Nothing).await?;
    let root = stage.root_token()?;
    let (application, keys) = host.seed(&root, KEYS).await?;
    let authorize = workloads::authorize(&keys);
    let mut parts = Vec::new();
    for number in 1..=PARTS {
        eprintln!("part {number} of {PARTS}, {:.0} s", length.as_secs_f64());
        let issue = Issue::new(&root, &application, usize::MAX);
        let (checked, issued) = tokio::try_join!(
            drive(host.address, CHECKING, length, Rc::clone(&authorize)),
            drive(host.address, ISSUING, length, issue)
        )?;
        parts.push(Part { checked, issued, memory: memory::of_tree(host.pid())? });
    }
    Ok(parts)
}

/// Memory of the process's own after the last part over that after the first. What it maps of the store's file is the kernel's to keep or to drop.
fn growth(parts: &[Part]) -> Option<f64> {
    let (first, last) = (parts.first()?.memory.anonymous_kb, parts.last()?.memory.anonymous_kb);
    (first > 0).then(|| last as f64 / first as f64)
}

fn render(parts: &[Part], length: Duration) -> String {
    let mut table =
        Table::new(&["after s", "checked/s", "p99 ms", "issued/s", "own memory MB", "with mapped files MB"]);
    for (number, Part { checked, issued, memory }) in (1_u32..).zip(parts) {
        table.row([
            format!("{:.0}", length.as_secs_f64() * f64::from(number)),
            format!("{:.0}", checked.per_second()),
            format!("{:.2}", checked.p99_ms()),
            format!("{:.0}", issued.per_second()),
            format!("{:.1}", build::kilobytes(memory.anonymous_kb)),
            format!("{:.1}", build::kilobytes(memory.rss_kb)),
        ]);
    }
    table.render()
}

/// As a step of `cargo xtask test --full`.
pub fn step(journal: &mut Journal) {
    journal.step("soak", || run(&Options::default()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_compared_with_what_it_was_after_warming_up() {
        let part = |anonymous_kb| Part {
            checked: Measured::none().unwrap(),
            issued: Measured::none().unwrap(),
            memory: Memory { anonymous_kb, ..Memory::default() },
        };
        assert_eq!(growth(&[part(100), part(400), part(110)]), Some(1.1));
        assert_eq!(growth(&[part(0)]), None);
        assert!(render(&[part(2_000)], Duration::from_secs(60)).contains("2.0"));
    }
}
