//! What the bench found: a table for a person, JSON for a program, and the bars of the design, met or missed.
//! It computes ratios within one run only; absolute numbers belong to the machine.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::load::Measured;
use super::replica::Lag;
use crate::build;
use crate::steps::{Colour, paint};
use crate::table::Table;

/// Each bar with its source: the table "Numbers to hold" of the design.
pub const AUTHORIZE_TO_THREE_READ_MIN: f64 = 0.85;
/// Requests per second against hello-world.
pub const AUTHORIZE_TO_HELLO_MIN: f64 = 0.45;
/// p99 against hello-world's.
pub const AUTHORIZE_P99_TO_HELLO_MAX: f64 = 4.0;
/// Requests per second while 4 connections commit, against alone.
pub const BESIDE_COMMITS_MIN: f64 = 0.6;
/// Size of the validation component, in thousands of bytes.
pub const VALIDATION_KB_MAX: f64 = 500.0;
/// The connections at which the bars on throughput are taken.
pub const BAR_CONNECTIONS: usize = 16;

/// Requests per second with 1,000,000 keys against 1,000.
pub const MANY_KEYS_MIN: f64 = 0.9;
/// Store calls of a tick beside 1,000,000 keys against one beside 1,000, with as many due: the lists that it reads are longer by a page.
pub const TICK_CALLS_MAX: f64 = 1.2;

/// Until 99 of 100 revocations are seen at a replica 100 ms away, in milliseconds.
pub const REPLICA_P99_MS_MAX: f64 = 500.0;

/// Where in the order of measuring the cases begin that commit, or run beside commits.
pub const COMMITS_FROM: usize = 10;
/// Where those begin that are measured with few keys and with many.
pub const SCALE_FROM: usize = 20;

/// One row: a case at a number of connections.
pub type Rows = BTreeMap<(usize, usize, &'static str), Measured>;

/// Store calls for one request of a case, by operation.
pub type Calls = BTreeMap<&'static str, BTreeMap<String, f64>>;

/// Everything measured.
#[derive(Default)]
pub struct Report {
    /// By connections, then in the order of measuring.
    pub rows: Rows,
    /// Empty where the host told nothing.
    pub calls: Calls,
    /// A tick beside few keys and one beside many.
    pub ticks: Vec<Tick>,
    /// Revocations as a replica sees them.
    pub replica: Option<Lag>,
    /// Package and bytes.
    pub sizes_bytes: Vec<(&'static str, u64)>,
    /// What could not be measured, and why.
    pub missing: Vec<String>,
}

/// One tick: what it found, and the store calls that it took.
pub struct Tick {
    /// Keys in the store.
    pub keys: usize,
    /// Successors that it offered.
    pub offered: u64,
    /// By operation.
    pub calls: BTreeMap<String, u64>,
}

impl Tick {
    fn all_calls(&self) -> u64 {
        self.calls.values().sum()
    }
}

/// A bar and what was seen of it.
pub struct Bar {
    /// What is held.
    pub what: String,
    /// The figure, in the bar's unit; none where it was not measured.
    pub seen: Option<f64>,
    /// The bar.
    pub bar: f64,
    /// Whether `seen` must not be less (or else not more).
    pub is_minimum: bool,
}

impl Bar {
    /// Whether it is met; none where it was not measured.
    pub fn is_met(&self) -> Option<bool> {
        self.seen.map(|seen| if self.is_minimum { seen >= self.bar } else { seen <= self.bar })
    }
}

impl Report {
    fn find(&self, connections: usize, name: &str) -> Option<&Measured> {
        self.rows
            .iter()
            .find(|((at, _, case), _)| *at == connections && *case == name)
            .map(|(_, measured)| measured)
    }

    /// Requests per second of `case` over those of `floor`, at as many connections.
    fn ratio(&self, connections: usize, case: &str, floor: &str) -> Option<f64> {
        let floor = self.find(connections, floor)?.per_second();
        (floor > 0.0).then_some(())?;
        Some(self.find(connections, case)?.per_second() / floor)
    }

    /// The bars that this bench can take.
    pub fn bars(&self) -> Vec<Bar> {
        let at = BAR_CONNECTIONS;
        let p99 = |name| self.find(at, name).map(Measured::p99_ms).filter(|ms| *ms > 0.0);
        let mut bars = vec![
            Bar {
                what: format!("authorize / three reads, req/s at {at}"),
                seen: self.ratio(at, "authorize", "three-read"),
                bar: AUTHORIZE_TO_THREE_READ_MIN,
                is_minimum: true,
            },
            Bar {
                what: format!("authorize / hello, req/s at {at}"),
                seen: self.ratio(at, "authorize", "hello"),
                bar: AUTHORIZE_TO_HELLO_MIN,
                is_minimum: true,
            },
            Bar {
                what: format!("authorize under two limits / three reads, req/s at {at}"),
                seen: self.ratio(at, "authorize, limits", "three-read"),
                bar: AUTHORIZE_TO_THREE_READ_MIN,
                is_minimum: true,
            },
            Bar {
                what: format!("authorize under two limits / hello, req/s at {at}"),
                seen: self.ratio(at, "authorize, limits", "hello"),
                bar: AUTHORIZE_TO_HELLO_MIN,
                is_minimum: true,
            },
            Bar {
                what: format!("authorize / hello, p99 at {at}"),
                seen: p99("authorize").zip(p99("hello")).map(|(ours, floor)| ours / floor),
                bar: AUTHORIZE_P99_TO_HELLO_MAX,
                is_minimum: false,
            },
            Bar {
                what: format!("authorize beside 4 that commit / alone, req/s at {at}"),
                seen: self.ratio(at, "authorize + 4 commits", "authorize alone"),
                bar: BESIDE_COMMITS_MIN,
                is_minimum: true,
            },
        ];
        bars.push(Bar {
            what: format!("authorize, many keys / a thousand, req/s at {at}"),
            seen: self.ratio(at, "authorize, many keys", "authorize, a thousand"),
            bar: MANY_KEYS_MIN,
            is_minimum: true,
        });
        bars.push(Bar {
            what: "store calls of a tick, many keys / a thousand".to_owned(),
            seen: match self.ticks.as_slice() {
                [few, many] if few.all_calls() > 0 && few.offered == many.offered => {
                    Some(many.all_calls() as f64 / few.all_calls() as f64)
                }
                _ => None,
            },
            bar: TICK_CALLS_MAX,
            is_minimum: false,
        });
        bars.push(Bar {
            what: "revocation seen at a replica 100 ms away, p99 in ms".to_owned(),
            seen: self.replica.as_ref().map(|lag| lag.p99_ms),
            bar: REPLICA_P99_MS_MAX,
            is_minimum: false,
        });
        // One increment for the event, one more where an existing record changes; nobody sends an Idempotency-Key here.
        // A claim changes a record and, before that, takes the ticket that decides who mints.
        for (case, increments) in [("issue", 1.0), ("claim", 3.0), ("revoke", 1.0)] {
            for (operation, bar) in [("set_many", 1.0), ("increment", increments)] {
                bars.push(Bar {
                    what: format!("{operation} per {case}"),
                    seen: self.calls.get(case).map(|calls| calls.get(operation).copied().unwrap_or(0.0)),
                    bar,
                    is_minimum: false,
                });
            }
        }
        bars.push(Bar {
            what: "validation.wasm, KB".to_owned(),
            seen: self
                .sizes_bytes
                .iter()
                .find(|(name, _)| *name == "validation")
                .map(|(_, bytes)| build::kilobytes(*bytes)),
            bar: VALIDATION_KB_MAX,
            is_minimum: false,
        });
        bars
    }

    /// Whether any answer was of another status than expected: then the figures say nothing.
    pub fn has_wrong_answers(&self) -> bool {
        self.rows.values().any(|measured| !measured.wrong().is_empty())
    }

    /// The tables.
    pub fn render(&self) -> String {
        let mut rows = Table::new(&[
            "connections",
            "case",
            "req/s",
            "p50 ms",
            "p99 ms",
            "/ hello",
            "/ three reads",
            "unexpected",
        ]);
        for ((connections, place, case), measured) in &self.rows {
            // A mutation has no floor: nothing bare does the same.
            let ratio = |floor| match self.ratio(*connections, case, floor) {
                Some(ratio) if *place < COMMITS_FROM => format!("{ratio:.2}"),
                _ => "-".to_owned(),
            };
            let wrong: Vec<String> =
                measured.wrong().iter().map(|(status, count)| format!("{count} x {status}")).collect();
            rows.row([
                connections.to_string(),
                (*case).to_owned(),
                format!("{:.0}", measured.per_second()),
                format!("{:.2}", measured.p50_ms()),
                format!("{:.2}", measured.p99_ms()),
                ratio("hello"),
                ratio("three-read"),
                if wrong.is_empty() { "-".to_owned() } else { paint(Colour::Red, &wrong.join(", ")) },
            ]);
        }
        let mut text = rows.render();
        if !self.calls.is_empty() {
            let mut calls = Table::new(&["store calls per request", "calls"]);
            for (case, by_operation) in &self.calls {
                let told: Vec<String> =
                    by_operation.iter().map(|(operation, count)| format!("{operation} {count:.2}")).collect();
                calls.row([
                    (*case).to_owned(),
                    if told.is_empty() { "none".to_owned() } else { told.join(", ") },
                ]);
            }
            text.push('\n');
            text.push_str(&calls.render());
        }
        if !self.ticks.is_empty() {
            let mut ticks = Table::new(&["a tick beside", "successors offered", "store calls"]);
            for Tick { keys, offered, calls } in &self.ticks {
                let told: Vec<String> =
                    calls.iter().map(|(operation, count)| format!("{operation} {count}")).collect();
                ticks.row([format!("{keys} keys"), offered.to_string(), told.join(", ")]);
            }
            text.push('\n');
            text.push_str(&ticks.render());
        }
        if let Some(Lag { revocations, delay_ms, p50_ms, p99_ms, max_ms }) = &self.replica {
            let mut lag =
                Table::new(&["revocations seen at a replica", "delay ms", "p50 ms", "p99 ms", "max ms"]);
            lag.row(
                std::iter::once(revocations.to_string())
                    .chain([delay_ms, p50_ms, p99_ms, max_ms].map(|ms| format!("{ms:.1}"))),
            );
            text.push('\n');
            text.push_str(&lag.render());
        }
        let mut sizes = Table::new(&["component", "KB"]);
        for (name, bytes) in &self.sizes_bytes {
            sizes.row([(*name).to_owned(), format!("{:.1}", build::kilobytes(*bytes))]);
        }
        text.push('\n');
        text.push_str(&sizes.render());
        // With the bare components alone there is nothing to hold against a bar.
        if self.bars().iter().any(|bar| bar.seen.is_some()) {
            text.push('\n');
            text.push_str(&render_bars(&self.bars()));
        }
        for missing in &self.missing {
            text.push_str(&format!("\n  {}: {missing}\n", paint(Colour::Yellow, "not measured")));
        }
        text
    }

    /// The same for a program. Units are in the names.
    pub fn to_json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|((connections, _, case), measured)| {
                json!({
                    "case": case,
                    "connections": connections,
                    "requests": measured.requests(),
                    "per_second": measured.per_second(),
                    "p50_ms": measured.p50_ms(),
                    "p99_ms": measured.p99_ms(),
                    "to_hello": self.ratio(*connections, case, "hello"),
                    "to_three_read": self.ratio(*connections, case, "three-read"),
                    "unexpected": measured.wrong().iter().map(|(status, count)| (status.to_string(), *count)).collect::<BTreeMap<_, _>>(),
                })
            })
            .collect();
        let ticks: Vec<Value> = self
            .ticks
            .iter()
            .map(|tick| json!({ "keys": tick.keys, "offered": tick.offered, "store_calls": tick.calls }))
            .collect();
        let replica = self.replica.as_ref().map(|lag| {
            json!({ "revocations": lag.revocations, "delay_ms": lag.delay_ms, "p50_ms": lag.p50_ms, "p99_ms": lag.p99_ms, "max_ms": lag.max_ms })
        });
        let sizes: BTreeMap<&str, u64> = self.sizes_bytes.iter().copied().collect();
        json!({ "rows": rows, "store_calls_per_request": self.calls, "ticks": ticks, "revocation_at_replica": replica, "sizes_bytes": sizes, "bars": bars_to_json(&self.bars()), "not_measured": self.missing })
    }
}

/// Bars as a table.
pub fn render_bars(bars: &[Bar]) -> String {
    let mut table = Table::new(&["bar", "seen", "wanted", ""]);
    for bar in bars {
        let sign = if bar.is_minimum { ">=" } else { "<=" };
        table.row([
            bar.what.clone(),
            bar.seen.map_or("-".to_owned(), |seen| format!("{seen:.2}")),
            format!("{sign} {:.2}", bar.bar),
            match bar.is_met() {
                Some(true) => paint(Colour::Green, "met"),
                Some(false) => paint(Colour::Red, "MISSED"),
                None => paint(Colour::Yellow, "not measured"),
            },
        ]);
    }
    table.render()
}

/// Bars for a program.
pub fn bars_to_json(bars: &[Bar]) -> Vec<Value> {
    bars.iter()
        .map(|bar| json!({ "what": bar.what, "seen": bar.seen, "bar": bar.bar, "is_minimum": bar.is_minimum, "met": bar.is_met() }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_missed_or_not_measured() {
        let mut report = Report::default();
        for (place, name, requests, latency_us) in
            [(0, "hello", 1000, 100), (1, "three-read", 500, 200), (2, "authorize", 450, 900)]
        {
            report.rows.insert((16, place, name), Measured::made_up(requests, latency_us, 1.0));
        }
        report
            .calls
            .insert("issue", BTreeMap::from([("set_many".to_owned(), 1.0), ("increment".to_owned(), 2.0)]));
        let bars: Vec<(String, Option<bool>)> =
            report.bars().into_iter().map(|bar| (bar.what.clone(), bar.is_met())).collect();
        let met =
            |what: &str| bars.iter().find(|(name, _)| name.starts_with(what)).map(|(_, met)| *met).unwrap();
        assert_eq!(met("authorize / three reads, req/s"), Some(true));
        assert_eq!(met("authorize / hello, req/s"), Some(true));
        assert_eq!(met("authorize / hello, p99"), Some(false));
        assert_eq!(met("authorize beside"), None);
        assert_eq!(met("set_many per issue"), Some(true));
        assert_eq!(met("increment per issue"), Some(false));
        assert_eq!(met("validation.wasm"), None);
        assert_eq!(report.to_json()["rows"].as_array().unwrap().len(), 3);
        assert!(report.render().contains("MISSED"));
    }
}
