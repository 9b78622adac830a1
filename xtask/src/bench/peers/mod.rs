//! `cargo xtask bench --peers`: other products that check API keys, and Keyward, side by side in one run, asked by the same load generator in
//! turn. Each runs on this machine as one would run it for speed; nothing is measured that its own interface does not do.

mod better_auth;
mod chart;
mod django;
mod keyward;
mod machine;
mod nginx;
mod page;
mod peer;
mod postgres;
mod report;
mod revocation;
mod rusty_vault;

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, bail};
use tokio::task::LocalSet;

use super::load::{Workload, drive};
use super::memory;
use super::stage::{Cast, Stage, ask};
use super::workloads::{Claimed, Rotation};
use super::{Options, ROUNDS, conclude, length, order};
use crate::steps::{self, Journal};
use better_auth::{BetterAuth, Store};
use django::Django;
use keyward::Keyward;
use nginx::Nginx;
use peer::{Peer, Running};
use report::{Report, Side};
use rusty_vault::RustyVault;

/// Keys of each side that are revoked while they are in use.
const REVOKED: usize = 20;

/// Long enough for whatever the load left to be done.
const SETTLE: std::time::Duration = std::time::Duration::from_secs(2);

/// Installs, measures, tells.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let stage = Stage::set(Cast::Keyward, "peers")?;
    let folder = steps::target_dir().join("peers/run").join(std::process::id().to_string());
    // A failed run leaves the logs to look at.
    let report = compare(options, &stage, &folder)
        .with_context(|| format!("logs are in {} and {}", folder.display(), stage.folder().display()))?;
    if options.keep {
        eprintln!("logs and states are in {} and {}", folder.display(), stage.folder().display());
    } else {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        stage.clear()?;
    }
    print!("{}", report.render());
    if options.write_docs {
        page::write(&report)?;
    }
    conclude(options, &report.to_json(), report.has_wrong_answers(), &report.bars())
}

/// Everything that runs ends with this.
fn compare(options: &Options, stage: &Stage, folder: &Path) -> anyhow::Result<Report> {
    let peers: [Box<dyn Peer + '_>; 7] = [
        Box::new(Keyward(stage)),
        Box::new(BetterAuth(Store::Memory)),
        Box::new(BetterAuth(Store::Secondary)),
        Box::new(BetterAuth(Store::Postgres)),
        Box::new(Django),
        Box::new(RustyVault),
        Box::new(Nginx),
    ];
    let mut report = Report::new(options.seconds, options.keys, REVOKED);
    let installed = install(&peers, &mut report);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, measure(options, &installed, folder, &mut report))?;
    Ok(report)
}

/// Those that are there now. Any but Keyward can be done without; why one is missing is in the report.
fn install<'p>(peers: &'p [Box<dyn Peer + 'p>], report: &mut Report) -> Vec<&'p dyn Peer> {
    let mut journal = Journal::default();
    let mut installed = Vec::new();
    for peer in peers {
        let name = peer.name();
        let mut versions = Ok(Vec::new());
        journal.attempt(name, "it is not measured", || {
            versions = peer.install();
            versions.as_ref().map(drop).map_err(|error| anyhow::anyhow!("{error:#}"))
        });
        match versions {
            Ok(versions) => {
                report.sides.push(Side::new(peer.as_ref(), versions));
                installed.push(peer.as_ref());
            }
            Err(error) => report.missing.push((name, format!("{error:#}"))),
        }
    }
    installed
}

/// A side that runs, with the keys that checks draw from and those that will be revoked.
struct Playing {
    name: &'static str,
    running: Box<dyn Running>,
    checks: Rc<dyn Workload>,
    to_revoke: Vec<Claimed>,
}

async fn measure(
    options: &Options,
    peers: &[&dyn Peer],
    folder: &Path,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut playing = Vec::new();
    for peer in peers {
        let name = peer.name();
        eprintln!("starting {name}, with {} keys", options.keys + REVOKED);
        let own = folder.join(name.replace([',', ' '], "-"));
        std::fs::create_dir_all(&own).with_context(|| format!("cannot make {}", own.display()))?;
        match begin(*peer, &own, options.keys).await {
            Ok(side) => playing.push(side),
            Err(error) if name == keyward::NAME => return Err(error),
            Err(error) => {
                eprintln!("{name}: {error:#}");
                report.drop_side(name, format!("{error:#}"));
            }
        }
    }
    throughput(options, &playing, report).await?;
    tokio::time::sleep(SETTLE).await;
    for side in &playing {
        let processes = side.running.processes();
        let database = processes.database.map(memory::of_tree).transpose()?;
        report.side(side.name)?.memory = Some((memory::of_tree(processes.server)?, database));
    }
    revocations(&playing, report).await
}

/// Starts a side, makes its keys, and makes sure that it tells a good one from a bad one.
async fn begin(peer: &dyn Peer, folder: &Path, keys: usize) -> anyhow::Result<Playing> {
    let running = peer.start(folder).await.context("it did not start")?;
    let mut made = running.make_keys(keys + REVOKED).await.context("no keys")?;
    let to_revoke = made.split_off(keys);
    let verdicts = running.verdicts();
    let good = made.first().map(|key| key.token.clone()).context("no keys")?;
    for (token, expected) in
        [(spoilt(&good), verdicts.refused), (good, std::slice::from_ref(&verdicts.accepted))]
    {
        let (status, _) = ask(running.address(), &running.check(&token)).await?;
        if !expected.contains(&status) {
            bail!("it answered {status} where {expected:?} was expected");
        }
    }
    let requests = made.iter().map(|key| running.check(&key.token)).collect();
    let checks = Rotation::new(requests, verdicts.accepted);
    Ok(Playing { name: peer.name(), running, checks, to_revoke })
}

/// A token of the same length, wrong in its last character.
fn spoilt(token: &str) -> String {
    let mut characters: Vec<char> = token.chars().collect();
    if let Some(last) = characters.last_mut() {
        *last = if *last == '0' { '1' } else { '0' };
    }
    characters.into_iter().collect()
}

/// Checks of good keys, all sides in turn.
async fn throughput(options: &Options, playing: &[Playing], report: &mut Report) -> anyhow::Result<()> {
    for connections in &options.connections {
        for round in 0..=ROUNDS {
            eprintln!("checks at {connections} connections, round {round} of {ROUNDS}");
            for place in order(round, playing.len()) {
                let Some(side) = playing.get(place) else { continue };
                let checks = Rc::clone(&side.checks);
                let measured = drive(side.running.address(), *connections, length(options, round), checks)
                    .await
                    .with_context(|| side.name)?;
                if round > 0 {
                    report.side(side.name)?.add(*connections, &measured)?;
                }
            }
        }
    }
    Ok(())
}

/// Revocations of keys in use, all sides in turn.
async fn revocations(playing: &[Playing], report: &mut Report) -> anyhow::Result<()> {
    eprintln!("{REVOKED} revocations each");
    for number in 0..REVOKED {
        for side in playing {
            let Some(key) = side.to_revoke.get(number) else { continue };
            let bite = revocation::bite(side.running.as_ref(), key).await.with_context(|| side.name)?;
            report.side(side.name)?.bites.add(bite);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::spoilt;

    #[test]
    fn a_spoilt_token_is_another_of_the_same_length() {
        assert_eq!(spoilt("abc1"), "abc0");
        assert_eq!(spoilt("abc0"), "abc1");
    }
}
