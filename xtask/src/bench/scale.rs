//! What grows with the number of keys and what must not: authorize and a tick of the scheduler, beside a thousand keys and beside many, in
//! one run, both sides in turn.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};

use super::load::drive;
use super::report::{Report, SCALE_FROM, Tick};
use super::stage::{Cast, Host, Stage, Telling};
use super::workloads::{self, Claimed};
use super::{Options, ROUNDS, by_operation, length, note, order};

/// Keys of the store that the other is measured against.
const FEW: usize = 1_000;
/// Keys that are due for a successor, in both.
const DUE: usize = 100;
/// Keys of each store that requests are drawn from: as many as the load generator holds at ease, spread over the whole store.
const DRAWN: usize = 100_000;
/// How long after the loading what is due is walked, at the latest: a minute is walked a little after its end.
const WALKED_AFTER: Duration = Duration::from_secs(70);

/// Two stages that differ in how many keys there are.
pub struct Scale {
    sides: [Side; 2],
}

struct Side {
    stage: Stage,
    keys: usize,
}

impl Scale {
    /// Makes both stages, empty.
    pub fn set(many: usize) -> anyhow::Result<Self> {
        let side = |name, keys| anyhow::Ok(Side { stage: Stage::set(Cast::Keyward, name)?, keys });
        Ok(Self { sides: [side("few", FEW)?, side("many", many)?] })
    }

    /// Removes both.
    pub fn clear(self) -> anyhow::Result<()> {
        self.sides.into_iter().try_for_each(|side| side.stage.clear())
    }
}

/// Loads both, counts the calls of a tick in each, and has both authorize.
pub async fn measure(options: &Options, scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let mut drawn = Vec::new();
    for Side { stage, keys } in &scale.sides {
        eprintln!("loading {keys} keys");
        let root = stage.root_token()?;
        let host = stage.start(Telling::Calls).await?;
        let application = host.application(&root).await?;
        // The walk along what is due begins where it is first asked to.
        host.maintain(&root).await?;
        drop(host);
        let tokens = stage.load(&application, *keys, DUE.min(*keys), 0)?;
        drawn.push(draw(&tokens, DRAWN)?);
        let host = stage.start(Telling::Calls).await?;
        report.ticks.push(tick(&host, &root, *keys).await?);
    }
    let [few, many] = &scale.sides;
    let hosts = [few.stage.start(Telling::Nothing).await?, many.stage.start(Telling::Nothing).await?];
    let workloads: Vec<_> = drawn.iter().map(|keys| workloads::authorize(keys)).collect();
    let names = ["authorize, a thousand", "authorize, many keys"];
    for connections in &options.connections {
        for round in 0..=ROUNDS {
            eprintln!("few and many keys at {connections} connections, round {round} of {ROUNDS}");
            for side in order(round, hosts.len()) {
                let (Some(host), Some(workload), Some(name)) =
                    (hosts.get(side), workloads.get(side), names.get(side))
                else {
                    continue;
                };
                let measured =
                    drive(host.address, *connections, length(options, round), Rc::clone(workload)).await?;
                if round > 0 {
                    note(report, *connections, SCALE_FROM + side, name, &measured)?;
                }
            }
        }
    }
    Ok(())
}

/// The tick that finds what is due.
async fn tick(host: &Host, root: &str, keys: usize) -> anyhow::Result<Tick> {
    tokio::time::sleep(WALKED_AFTER).await;
    host.reset_calls().await?;
    let done = host.maintain(root).await?;
    let calls = by_operation(&host.calls().await?);
    let offered = done.pointer("/due/offered").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if offered == 0 {
        bail!("nothing was found to be due beside {keys} keys");
    }
    Ok(Tick { keys, offered, calls })
}

/// At most so many keys out of the loader's file, at even distances. Ids are random, so the file's order has nothing to do with that in which
/// the store keeps them.
fn draw(tokens: &Path, at_most: usize) -> anyhow::Result<Vec<Claimed>> {
    let text =
        std::fs::read_to_string(tokens).with_context(|| format!("cannot read {}", tokens.display()))?;
    let all: Vec<&str> = text.lines().collect();
    let step = all.len().div_ceil(at_most.max(1)).max(1);
    all.into_iter()
        .step_by(step)
        .map(|line| {
            let (id, token) = line.split_once(' ').context("a line of the loader's file has no token")?;
            Ok(Claimed { id: id.to_owned(), token: token.to_owned() })
        })
        .collect()
}
