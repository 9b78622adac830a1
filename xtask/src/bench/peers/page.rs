//! `docs/peers.md` and its picture, out of a run: the figures with what they are worth. It is written whole; nobody edits it by hand.

use std::collections::BTreeMap;

use anyhow::Context;

use super::super::report::BAR_CONNECTIONS;
use super::chart::{self, thousands};
use super::report::Report;
use crate::steps;

/// Writes both.
pub fn write(report: &Report) -> anyhow::Result<()> {
    for (name, text) in [("peers.md", page(report)), ("peers.svg", chart::draw(report))] {
        let path = steps::root().join("docs").join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

fn page(report: &Report) -> String {
    let mut text = format!(
        "# Beside other products

`cargo xtask bench --peers` installs what else checks API keys, starts all of it beside Keyward on one machine, and asks each in turn through the same load generator. This page and its picture are what the last run with
`--write-docs` wrote. What counts is how the sides compare within the run, not the figures by themselves: the load generator takes a core's share too.

![Checks per second and p99 of each side](peers.svg)

## One check
{} keys a side, drawn in turn, all of them good; {} s for each side at each number of connections, in {} rounds that take the sides forwards and backwards in turn, after one that only warms up. Closed loop, connections kept open.

| side | connections | checks/s | p50 ms | p99 ms | Keyward's checks/s, in multiples of these |
|---|---|---|---|---|---|
",
        thousands(report.keys as f64),
        report.seconds,
        super::ROUNDS,
    );
    for (connections, side, measured) in report.rows() {
        let times = match report.times(side.name, connections) {
            Some(_) if side.name == super::keyward::NAME => "-".to_owned(),
            Some(times) => format!("{times:.2}"),
            None => "-".to_owned(),
        };
        text.push_str(&format!(
            "| {} | {connections} | {} | {:.2} | {:.2} | {times} |\n",
            side.name,
            thousands(measured.per_second()),
            measured.p50_ms(),
            measured.p99_ms(),
        ));
    }
    text.push_str(&match report.faster(BAR_CONNECTIONS).as_slice() {
        [] => "\nNobody was faster than Keyward.\n".to_owned(),
        faster => format!("\nFaster than Keyward at {BAR_CONNECTIONS} connections: {}.\n", faster.join("; ")),
    });
    text.push_str(&bars(report));
    text.push_str(&format!(
        "
## One revocation, and memory
{} keys a side are revoked through its own interface while four connections check that key without a pause. From the acknowledgement to the refusal that the last of the four meets, which contains that check's own time; and how many checks were sent after the acknowledgement and accepted all the same.
Memory after the load: all processes of a side, `+` those of its database. RSS counts a page that processes share in each of them, PSS divides it among them.

| side | bites after, p50 and max ms | accepted meanwhile | RSS MB | PSS MB |
|---|---|---|---|---|
",
        report.revoked,
    ));
    for side in &report.sides {
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            side.name,
            side.bites_told(),
            thousands(side.bites.accepted() as f64),
            side.memory_told(|memory| memory.rss_kb),
            side.memory_told(|memory| memory.pss_kb),
        ));
    }
    for (name, why) in &report.missing {
        text.push_str(&format!("\nNot measured: {name}. {why}\n"));
    }
    text.push_str(
        "
## What is compared
Each side does what it does for a good key, and no two do the same. None was asked to limit or to write an access log.

| side | one check | how it runs, and whom that favours |
|---|---|---|
",
    );
    for side in &report.sides {
        text.push_str(&format!("| {} | {} | {} |\n", side.name, side.act, side.terms));
    }
    text.push_str(
        "
What Keyward does beside the measured act and most of the others do not: every issue and revocation is an event in a log that proves itself, records lie encrypted, a secret is shown once. That costs its mutations, which are not compared here. Its memory holds a runtime for WebAssembly and
all seven components, of which checks use one.

## Made on
",
    );
    text.push_str(&format!("{}. The load generator ran on the same cores. A load average well above nothing (a build just before counts too) means that others took their share, and that the figures are worth less.\n\n", report.machine.told()));
    let versions: BTreeMap<&str, &str> = report
        .sides
        .iter()
        .flat_map(|side| side.versions.iter().map(|(name, version)| (*name, version.as_str())))
        .collect();
    text.push_str("| | version |\n|---|---|\n");
    for (name, version) in versions {
        text.push_str(&format!("| {name} | {version} |\n"));
    }
    text.push_str(
        "
## Again
```
cargo xtask bench --peers --write-docs
```

As root on Debian it installs `nodejs`, `npm`, `nginx` and `postgresql` where they are missing; the rest goes below `target/peers`: Node packages by `bench/peers/better-auth/package-lock.json`, Python packages by `bench/peers/django/requirements.txt`, RustyVault by `cargo install --locked` (minutes; it needs
`libssl-dev`). Whoever cannot be installed is left out and named. `--seconds 2` is a quick look, `--json FILE` has all figures. Everything listens on the loopback interface alone and ends with the run.
",
    );
    text
}

fn bars(report: &Report) -> String {
    let mut text = "\n| bar | seen | wanted | |\n|---|---|---|---|\n".to_owned();
    for bar in report.bars() {
        text.push_str(&format!(
            "| {} | {} | {} {:.2} | {} |\n",
            bar.what,
            bar.seen.map_or("-".to_owned(), |seen| format!("{seen:.2}")),
            if bar.is_minimum { ">=" } else { "<=" },
            bar.bar,
            match bar.is_met() {
                Some(true) => "met",
                Some(false) => "missed",
                None => "not measured",
            },
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_side_and_every_bar() {
        let mut report =
            Report::made_up(&[("Keyward", 9_000, 1_000), ("better-auth, PostgreSQL", 500, 30_000)]);
        report.missing.push(("RustyVault", "it does not build".to_owned()));
        let page = page(&report);
        for told in [
            "| better-auth, PostgreSQL | 16 | 500 |",
            "| 18.00 |",
            "Not measured: RustyVault.",
            "| Thing | 1.2.3 |",
        ] {
            assert!(page.contains(told), "no {told:?} in {page}");
        }
    }
}
