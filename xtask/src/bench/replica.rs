//! A revocation as a replica sees it. The end-to-end test of `deploy/edge` measures that, on hosts with a long way between them; its figures are
//! read here.

use anyhow::{Context, bail};
use serde_json::Value;

use crate::steps;
use crate::suite;

/// The test program, the test, and the name of its figures.
const PROGRAM: &str = "promises";
const TEST: &str = "replicas::a_revocation_arrives_within_half_a_second";
const FIGURES: &str = "revocation_at_replica";
/// The variable by which the test is told where to write them.
const FIGURES_VARIABLE: &str = "KEYWARD_E2E_FIGURES";

/// How long after its acknowledgement a revocation was seen.
pub struct Lag {
    /// How many there were.
    pub revocations: u64,
    /// The delay of the way, in each direction.
    pub delay_ms: f64,
    /// Half of them were seen within this.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// All of them.
    pub max_ms: f64,
}

/// Runs the test. It needs root, for hosts of its own.
pub fn measure() -> anyhow::Result<Lag> {
    let programs = suite::build_tests()?;
    let program = programs
        .iter()
        .find(|program| program.name == PROGRAM)
        .with_context(|| format!("no test program `{PROGRAM}`"))?;
    let path = steps::target_dir().join("bench").join(format!("{}-figures.json", std::process::id()));
    let mut test = program.command();
    test.args(["--exact", TEST, "--nocapture"]).env(FIGURES_VARIABLE, &path);
    steps::must(&mut test)?;
    let text = std::fs::read_to_string(&path).with_context(|| format!("no figures in {}", path.display()))?;
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    for line in text.lines() {
        let told: Value = serde_json::from_str(line).context("the figures are no JSON")?;
        if told.get("name").and_then(Value::as_str) == Some(FIGURES) {
            return lag(told.get("figures").unwrap_or(&Value::Null));
        }
    }
    bail!("no figures of the name `{FIGURES}`")
}

fn lag(figures: &Value) -> anyhow::Result<Lag> {
    let figure =
        |name: &str| figures.get(name).and_then(Value::as_f64).with_context(|| format!("no figure `{name}`"));
    Ok(Lag {
        revocations: figures.get("revocations").and_then(Value::as_u64).context("no figure `revocations`")?,
        delay_ms: figure("delay_ms")?,
        p50_ms: figure("p50_ms")?,
        p99_ms: figure("p99_ms")?,
        max_ms: figure("max_ms")?,
    })
}
