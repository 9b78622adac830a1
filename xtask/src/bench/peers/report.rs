//! What the peers were found to do: a table for a person, JSON for a program, and the bars. It compares within one run only.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::{Value, json};

use super::super::load::Measured;
use super::super::memory::Memory;
use super::super::report::{BAR_CONNECTIONS, Bar, bars_to_json, render_bars};
use super::keyward;
use super::machine::Machine;
use super::peer::{Peer, Version};
use super::revocation::Bites;
use crate::steps::{Colour, paint};
use crate::table::Table;

/// Requests per second against better-auth on each of its stores that a bar is set for.
pub const TO_BETTER_AUTH_MIN: [(&str, f64); 2] =
    [("better-auth, PostgreSQL", 10.0), ("better-auth, memory", 3.0)];
/// p99 against the same: lower.
pub const P99_TO_BETTER_AUTH_MAX: f64 = 1.0;

/// One side of the comparison.
pub struct Side {
    /// Its name.
    pub name: &'static str,
    /// What a check does there.
    pub act: &'static str,
    /// How it is run, and whom that favours.
    pub terms: &'static str,
    /// Whether it is a bound, and no product.
    pub is_ceiling: bool,
    /// What it runs on.
    pub versions: Vec<Version>,
    /// Checks, by the number of connections.
    pub checks: BTreeMap<usize, Measured>,
    /// Of its own processes, and of its database's where that has some, after the load.
    pub memory: Option<(Memory, Option<Memory>)>,
    /// Its revocations.
    pub bites: Bites,
}

impl Side {
    /// A side of which nothing was measured yet.
    pub fn new(peer: &dyn Peer, versions: Vec<Version>) -> Self {
        Self {
            name: peer.name(),
            act: peer.act(),
            terms: peer.terms(),
            is_ceiling: peer.is_ceiling(),
            versions,
            checks: BTreeMap::new(),
            memory: None,
            bites: Bites::default(),
        }
    }

    /// Adds a round of checks.
    pub fn add(&mut self, connections: usize, measured: &Measured) -> anyhow::Result<()> {
        match self.checks.entry(connections) {
            std::collections::btree_map::Entry::Occupied(mut sum) => sum.get_mut().add(measured),
            std::collections::btree_map::Entry::Vacant(sum) => {
                sum.insert(measured.clone());
                Ok(())
            }
        }
    }

    /// Memory in words: what it takes itself, and its database.
    pub fn memory_told(&self, kilobytes: fn(&Memory) -> u64) -> String {
        let megabytes = |memory: &Memory| format!("{:.0}", kilobytes(memory) as f64 * 1024.0 / 1e6);
        match &self.memory {
            None => "-".to_owned(),
            Some((own, None)) => megabytes(own),
            Some((own, Some(database))) => format!("{} + {}", megabytes(own), megabytes(database)),
        }
    }

    /// How long revocations took, in words: half of them and all of them, in milliseconds.
    pub fn bites_told(&self) -> String {
        let never = match self.bites.never() {
            0 => String::new(),
            never => format!("{never} of {} never; ", self.bites.count()),
        };
        match self.bites.p50_and_max_ms() {
            Some((p50, max)) => format!("{never}{p50:.1}, {max:.1}"),
            None => "-".to_owned(),
        }
    }
}

/// Everything measured.
pub struct Report {
    /// In the order of the table.
    pub sides: Vec<Side>,
    /// Who could not be measured, and why.
    pub missing: Vec<(&'static str, String)>,
    /// Where.
    pub machine: Machine,
    /// Seconds for each side at each number of connections.
    pub seconds: u64,
    /// Keys that checks draw from.
    pub keys: usize,
    /// Keys of each side that are revoked.
    pub revoked: usize,
}

impl Report {
    /// A report on nothing yet.
    pub fn new(seconds: u64, keys: usize, revoked: usize) -> Self {
        Self { sides: Vec::new(), missing: Vec::new(), machine: Machine::this(), seconds, keys, revoked }
    }

    /// A side, to add to.
    pub fn side(&mut self, name: &str) -> anyhow::Result<&mut Side> {
        self.sides.iter_mut().find(|side| side.name == name).with_context(|| format!("no side {name}"))
    }

    /// Takes a side out, and says why.
    pub fn drop_side(&mut self, name: &'static str, why: String) {
        self.sides.retain(|side| side.name != name);
        self.missing.push((name, why));
    }

    /// A side's checks at so many connections.
    pub fn checks(&self, name: &str, connections: usize) -> Option<&Measured> {
        self.sides.iter().find(|side| side.name == name)?.checks.get(&connections)
    }

    /// Keyward's requests per second, as a multiple of another side's.
    pub fn times(&self, name: &str, connections: usize) -> Option<f64> {
        let theirs = self.checks(name, connections)?.per_second();
        (theirs > 0.0).then_some(())?;
        Some(self.checks(keyward::NAME, connections)?.per_second() / theirs)
    }

    /// Who is faster than Keyward at so many connections.
    pub fn faster(&self, connections: usize) -> Vec<&'static str> {
        let is_faster = |side: &&Side| self.times(side.name, connections).is_some_and(|times| times < 1.0);
        self.sides.iter().filter(is_faster).map(|side| side.name).collect()
    }

    /// The bars.
    pub fn bars(&self) -> Vec<Bar> {
        let at = BAR_CONNECTIONS;
        let p99 = |name| self.checks(name, at).map(Measured::p99_ms).filter(|ms| *ms > 0.0);
        TO_BETTER_AUTH_MIN
            .into_iter()
            .flat_map(|(name, times)| {
                [
                    Bar {
                        what: format!("authorize / {name}, req/s at {at}"),
                        seen: self.times(name, at),
                        bar: times,
                        is_minimum: true,
                    },
                    Bar {
                        what: format!("authorize / {name}, p99 at {at}"),
                        seen: p99(keyward::NAME).zip(p99(name)).map(|(ours, theirs)| ours / theirs),
                        bar: P99_TO_BETTER_AUTH_MAX,
                        is_minimum: false,
                    },
                ]
            })
            .collect()
    }

    /// Whether any answer was of another status than expected: then the figures say nothing.
    pub fn has_wrong_answers(&self) -> bool {
        self.sides.iter().flat_map(|side| side.checks.values()).any(|measured| !measured.wrong().is_empty())
    }

    /// The tables.
    pub fn render(&self) -> String {
        let mut checks =
            Table::new(&["connections", "side", "req/s", "p50 ms", "p99 ms", "Keyward /", "unexpected"]);
        for (connections, side, measured) in self.rows() {
            let wrong: Vec<String> =
                measured.wrong().iter().map(|(status, count)| format!("{count} x {status}")).collect();
            checks.row([
                connections.to_string(),
                side.name.to_owned(),
                format!("{:.0}", measured.per_second()),
                format!("{:.2}", measured.p50_ms()),
                format!("{:.2}", measured.p99_ms()),
                self.times(side.name, connections).map_or("-".to_owned(), |times| format!("{times:.2}")),
                if wrong.is_empty() { "-".to_owned() } else { paint(Colour::Red, &wrong.join(", ")) },
            ]);
        }
        let mut rest = Table::new(&[
            "side",
            "revocation bites after ms: p50, max",
            "accepted meanwhile",
            "RSS MB + database's",
            "PSS MB + database's",
        ]);
        for side in &self.sides {
            rest.row([
                side.name.to_owned(),
                side.bites_told(),
                side.bites.accepted().to_string(),
                side.memory_told(|memory| memory.rss_kb),
                side.memory_told(|memory| memory.pss_kb),
            ]);
        }
        let mut text = format!("{}\n{}\n{}", checks.render(), rest.render(), render_bars(&self.bars()));
        for (name, why) in &self.missing {
            text.push_str(&format!("\n  {}: {name}: {why}\n", paint(Colour::Yellow, "not measured")));
        }
        text
    }

    /// All checks: by connections, then by side.
    pub fn rows(&self) -> impl Iterator<Item = (usize, &Side, &Measured)> {
        let numbers: std::collections::BTreeSet<usize> =
            self.sides.iter().flat_map(|side| side.checks.keys().copied()).collect();
        numbers.into_iter().flat_map(move |connections| {
            self.sides
                .iter()
                .filter_map(move |side| Some((connections, side, side.checks.get(&connections)?)))
        })
    }

    /// The same for a program. Units are in the names.
    pub fn to_json(&self) -> Value {
        let checks: Vec<Value> = self
            .rows()
            .map(|(connections, side, measured)| {
                let unexpected: BTreeMap<String, u64> =
                    measured.wrong().iter().map(|(status, count)| (status.to_string(), *count)).collect();
                json!({
                    "side": side.name,
                    "connections": connections,
                    "requests": measured.requests(),
                    "per_second": measured.per_second(),
                    "p50_ms": measured.p50_ms(),
                    "p99_ms": measured.p99_ms(),
                    "keyward_times": self.times(side.name, connections),
                    "unexpected": unexpected,
                })
            })
            .collect();
        let memory = |memory: &Memory| json!({ "rss_kb": memory.rss_kb, "pss_kb": memory.pss_kb, "processes": memory.processes });
        let sides: Vec<Value> = self
            .sides
            .iter()
            .map(|side| {
                json!({
                    "side": side.name,
                    "versions": side.versions.iter().cloned().collect::<BTreeMap<_, _>>(),
                    "memory": side.memory.as_ref().map(|(own, _)| memory(own)),
                    "memory_database": side.memory.as_ref().and_then(|(_, database)| database.as_ref().map(memory)),
                    "revocations": side.bites.count(),
                    "revocations_that_never_bit": side.bites.never(),
                    "accepted_after_revocation": side.bites.accepted(),
                    "bites_after_p50_ms": side.bites.p50_and_max_ms().map(|(p50, _)| p50),
                    "bites_after_max_ms": side.bites.p50_and_max_ms().map(|(_, max)| max),
                })
            })
            .collect();
        let missing: BTreeMap<&str, &str> =
            self.missing.iter().map(|(name, why)| (*name, why.as_str())).collect();
        json!({
            "machine": self.machine.told(),
            "seconds": self.seconds,
            "keys": self.keys,
            "checks": checks,
            "sides": sides,
            "bars": bars_to_json(&self.bars()),
            "not_measured": missing,
        })
    }

    /// A made-up report, for the tests of what is made of one: each side with its requests in a second and their latency in microseconds.
    #[cfg(test)]
    pub fn made_up(sides: &[(&'static str, u64, u64)]) -> Self {
        let mut report = Self::new(1, 10, 0);
        for (name, requests, latency_us) in sides {
            let checks = BTreeMap::from([(BAR_CONNECTIONS, Measured::made_up(*requests, *latency_us, 1.0))]);
            report.sides.push(Side {
                name,
                act: "one look",
                terms: "As it stands.",
                is_ceiling: false,
                versions: vec![("Thing", "1.2.3".to_owned())],
                checks,
                memory: None,
                bites: Bites::default(),
            });
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_taken_against_better_auth_alone() {
        let report = Report::made_up(&[
            ("Keyward", 9_000, 1_000),
            ("better-auth, PostgreSQL", 1_000, 9_000),
            ("better-auth, memory", 2_000, 900),
        ]);
        let bars: Vec<Option<bool>> = report.bars().iter().map(Bar::is_met).collect();
        assert_eq!(bars, [Some(false), Some(true), Some(true), Some(false)]);
        assert!(report.render().contains("9.00"));
        assert_eq!(report.to_json()["checks"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_side_that_did_not_start_is_named_with_its_cause() {
        let mut report = Report::made_up(&[("Keyward", 1, 1), ("better-auth, memory", 1, 1)]);
        report.drop_side("better-auth, memory", "no packages from npm".to_owned());
        assert!(report.render().contains("better-auth, memory: no packages from npm"));
        assert_eq!(report.bars().iter().filter(|bar| bar.is_met().is_none()).count(), 4);
    }
}
