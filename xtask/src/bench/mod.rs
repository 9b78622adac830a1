//! `cargo xtask bench`: the hot path against bare components on the same host, in interleaved rounds, then mutations.
//! Everything runs on this machine, the load generator included: ratios within one run are what counts.

mod client;
mod load;
mod memory;
mod pages;
mod peers;
mod replica;
mod report;
mod scale;
pub mod soak;
mod stage;
mod workloads;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use tokio::task::LocalSet;

use crate::build;
use crate::steps::Journal;
use load::{Measured, Workload, drive};
use report::{COMMITS_FROM, Report};
use scale::Scale;
use stage::{Cast, Host, Stage, Telling};
use workloads::{Claim, Claimed, Issue, Revoke};

/// Every case is measured this many times, in turn with the others: a slow minute of the machine then hits all alike.
const ROUNDS: u32 = 5;

/// Connections that commit beside the ones that authorize.
const COMMITTING: usize = 4;

/// Runs of each case for counting store calls.
const COUNTED: usize = 50;

/// Keys under limits: those of a few busy partners. A key that is seldom used moves its counters with nearly every request.
const LIMITED: usize = 16;

/// A rate and a quota that no run exceeds.
fn limits() -> Value {
    json!([
        { "name": "rate", "limit": 100_000_000, "window_s": 60 },
        { "name": "quota", "limit": 1_000_000_000_000_u64, "per": "month" },
    ])
}

/// How to measure.
#[derive(Args)]
pub struct Options {
    /// Seconds for each case at each number of connections
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Numbers of connections
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    connections: Vec<usize>,
    /// Keys that the checks draw from
    #[arg(long, default_value_t = 1000)]
    keys: usize,
    /// Keys of the store that is measured against one with a thousand; 0 leaves it out. A million takes some minutes to load
    #[arg(long, default_value_t = 1_000_000)]
    many: usize,
    /// The bare components alone
    #[arg(long)]
    floor: bool,
    /// Other products that check API keys instead, side by side with this one; installs them into target/peers
    #[arg(long, conflicts_with = "floor")]
    peers: bool,
    /// With --peers: write docs/peers.md and docs/peers.svg anew
    #[arg(long, requires = "peers")]
    write_docs: bool,
    /// Pages of the dashboard instead, on a store of 100,000 keys and a log of 1,000,000 events, which takes some minutes to load
    #[arg(long, conflicts_with_all = ["floor", "peers"])]
    pages: bool,
    /// Measure what was built before
    #[arg(long)]
    no_build: bool,
    /// Leave the state directory and the host's log where they are
    #[arg(long)]
    keep: bool,
    /// Write the figures to this file as well
    #[arg(long)]
    json: Option<PathBuf>,
}

/// `cargo xtask bench`.
pub fn run(options: Options) -> anyhow::Result<()> {
    if options.seconds == 0 || options.keys == 0 || options.connections.contains(&0) {
        bail!("--seconds, --keys and --connections are 1 or more");
    }
    if !options.no_build {
        let mut journal = Journal::default();
        if options.floor {
            build::native(&mut journal)?;
        } else {
            build::everything(&mut journal)?;
        }
        build::components(&mut journal, &build::BENCH_COMPONENTS)?;
    }
    if options.peers {
        return peers::run(&options);
    }

    if options.pages {
        return look_at_pages(&options);
    }

    let cast = if options.floor { Cast::Floor } else { Cast::Keyward };
    let stage = Stage::set(cast, "keys")?;
    let scale = if options.floor || options.many == 0 { None } else { Some(Scale::set(options.many)?) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measured = LocalSet::new().block_on(&runtime, measure(&options, &stage, scale.as_ref(), cast));
    // A failed run leaves the host's log to look at.
    let report =
        measured.with_context(|| format!("the host's log and state are in {}", stage.folder().display()))?;
    if options.keep {
        eprintln!("the host's log and state are in {}", stage.folder().display());
    } else {
        stage.clear()?;
        scale.map_or(Ok(()), Scale::clear)?;
    }
    print!("{}", report.render());
    conclude(&options, &report.to_json(), report.has_wrong_answers(), &report.bars())
}

/// Pages of the dashboard.
fn look_at_pages(options: &Options) -> anyhow::Result<()> {
    let stage = Stage::set(Cast::Keyward, "pages")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measured = runtime.block_on(pages::measure(&stage));
    let pages =
        measured.with_context(|| format!("the host's log and state are in {}", stage.folder().display()))?;
    if options.keep {
        eprintln!("the host's log and state are in {}", stage.folder().display());
    } else {
        stage.clear()?;
    }
    print!("{}", pages.render());
    conclude(options, &pages.to_json(), false, &pages.bars())
}

/// Writes the figures where they were asked for; an error where they say nothing, or where a bar was missed.
fn conclude(
    options: &Options,
    figures: &Value,
    has_wrong_answers: bool,
    bars: &[report::Bar],
) -> anyhow::Result<()> {
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(figures)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if has_wrong_answers {
        bail!("some answers were of another status than expected: the figures say nothing");
    }
    let missed = bars.iter().filter(|bar| bar.is_met() == Some(false)).count();
    if missed > 0 { bail!("{missed} bars missed") } else { Ok(()) }
}

async fn measure(
    options: &Options,
    stage: &Stage,
    scale: Option<&Scale>,
    cast: Cast,
) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let packages = build::BENCH_COMPONENTS.iter().chain(if cast == Cast::Keyward {
        build::COMPONENTS.as_slice()
    } else {
        &[]
    });
    for package in packages {
        report.sizes_bytes.push((package, build::wasm_size_bytes(package)?));
    }
    let host = stage.start(Telling::Nothing).await?;
    if cast == Cast::Floor {
        let cases = [("hello", workloads::hello()), ("three-read", workloads::three_read(&[])?)];
        checks(options, &host, &cases, &mut report).await?;
        return Ok(report);
    }

    eprintln!("seeding {} keys", options.keys);
    let root = stage.root_token()?;
    let (application, keys) = host.seed(&root, options.keys).await?;
    let limited = host.claimed(Issue::limited(&root, &application, LIMITED, limits()), LIMITED).await?;
    let cases = [
        ("hello", workloads::hello()),
        ("three-read", workloads::three_read(&keys)?),
        ("authorize", workloads::authorize(&keys)),
        ("authorize, limits", workloads::authorize(&limited)),
        ("verify", workloads::verify(&root, &keys)),
    ];
    checks(options, &host, &cases, &mut report).await?;
    beside_commits(options, &host, &root, &application, &keys, &mut report).await?;
    mutations(options, &host, &root, &application, &mut report).await?;
    drop(host);
    if let Err(error) = count_calls(stage, &root, &application, &keys, &mut report).await {
        report.missing.push(format!("store calls per request: {error:#}"));
    }
    match scale {
        Some(scale) => scale::measure(options, scale, &mut report).await?,
        None => {
            report.missing.push("many keys against a thousand, and a tick beside them: --many 0".to_owned())
        }
    }
    match replica::measure() {
        Ok(lag) => report.replica = Some(lag),
        Err(error) => report.missing.push(format!("revocation at a replica: {error:#}")),
    }
    Ok(report)
}

/// A round's share of the time for one case.
fn round_length(options: &Options) -> Duration {
    Duration::from_secs(options.seconds) / ROUNDS
}

/// The same for a round that is numbered: the one before the first only warms up.
fn length(options: &Options, round: u32) -> Duration {
    if round == 0 { round_length(options) / 4 } else { round_length(options) }
}

/// In which order a round takes `count` sides: every other one backwards, so that none is always the one after the same other.
fn order(round: u32, count: usize) -> Vec<usize> {
    let forwards = 0..count;
    if round.is_multiple_of(2) { forwards.collect() } else { forwards.rev().collect() }
}

/// The cases that change nothing, interleaved.
async fn checks(
    options: &Options,
    host: &Host,
    cases: &[(&'static str, Rc<dyn Workload>)],
    report: &mut Report,
) -> anyhow::Result<()> {
    for connections in &options.connections {
        for round in 0..=ROUNDS {
            eprintln!("checks at {connections} connections, round {round} of {ROUNDS}");
            for place in order(round, cases.len()) {
                let Some((name, workload)) = cases.get(place) else { continue };
                let measured =
                    drive(host.address, *connections, length(options, round), Rc::clone(workload)).await?;
                if round > 0 {
                    note(report, *connections, place, name, &measured)?;
                }
            }
        }
    }
    Ok(())
}

/// Authorize alone and beside connections that commit, in turn.
async fn beside_commits(
    options: &Options,
    host: &Host,
    root: &str,
    application: &str,
    keys: &[Claimed],
    report: &mut Report,
) -> anyhow::Result<()> {
    let authorize = workloads::authorize(keys);
    let length = round_length(options);
    for connections in &options.connections {
        for round in 1..=ROUNDS {
            eprintln!("beside commits at {connections} connections, round {round} of {ROUNDS}");
            let alone = drive(host.address, *connections, length, Rc::clone(&authorize)).await?;
            note(report, *connections, COMMITS_FROM, "authorize alone", &alone)?;
            let issue = Issue::new(root, application, usize::MAX);
            let (checked, committed) = tokio::try_join!(
                drive(host.address, *connections, length, Rc::clone(&authorize)),
                drive(host.address, COMMITTING, length, issue)
            )?;
            note(report, *connections, COMMITS_FROM + 1, "authorize + 4 commits", &checked)?;
            note(report, *connections, COMMITS_FROM + 2, "the 4 that commit", &committed)?;
        }
    }
    Ok(())
}

/// Issue for the whole time; claim and revoke what was issued, for as long or until none is left.
async fn mutations(
    options: &Options,
    host: &Host,
    root: &str,
    application: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    let length = Duration::from_secs(options.seconds);
    for connections in &options.connections {
        eprintln!("mutations at {connections} connections");
        let issue = Issue::new(root, application, usize::MAX);
        let issued = drive(host.address, *connections, length, Rc::clone(&issue) as _).await?;
        note(report, *connections, COMMITS_FROM + 3, "issue", &issued)?;
        let claim = Claim::new(issue.take_tickets());
        let claimed = drive(host.address, *connections, length, Rc::clone(&claim) as _).await?;
        note(report, *connections, COMMITS_FROM + 4, "claim", &claimed)?;
        let revoked =
            drive(host.address, *connections, length, Revoke::new(root, claim.take_claimed())).await?;
        note(report, *connections, COMMITS_FROM + 5, "revoke", &revoked)?;
    }
    Ok(())
}

fn note(
    report: &mut Report,
    connections: usize,
    place: usize,
    name: &'static str,
    measured: &Measured,
) -> anyhow::Result<()> {
    match report.rows.entry((connections, place, name)) {
        std::collections::btree_map::Entry::Occupied(mut row) => row.get_mut().add(measured),
        std::collections::btree_map::Entry::Vacant(row) => {
            row.insert(measured.clone());
            Ok(())
        }
    }
}

/// Store calls, on a host of its own with counting switched on, one connection, one case at a time.
async fn count_calls(
    stage: &Stage,
    root: &str,
    application: &str,
    keys: &[Claimed],
    report: &mut Report,
) -> anyhow::Result<()> {
    let host = stage.start(Telling::Calls).await?;
    let within = Duration::from_secs(60);
    let some: Vec<Claimed> = keys.iter().take(COUNTED).cloned().collect();
    let issue = Issue::new(root, application, COUNTED);
    count(&host, report, "issue", within, Rc::clone(&issue) as _).await?;
    let claim = Claim::new(issue.take_tickets());
    count(&host, report, "claim", within, Rc::clone(&claim) as _).await?;
    count(&host, report, "revoke", within, Revoke::new(root, claim.take_claimed())).await?;
    for (name, workload) in [
        ("three-read", workloads::three_read(&some)?),
        ("authorize", workloads::authorize(&some)),
        ("verify", workloads::verify(root, &some)),
    ] {
        count(&host, report, name, Duration::from_secs(1), workload).await?;
    }
    Ok(())
}

async fn count(
    host: &Host,
    report: &mut Report,
    name: &'static str,
    within: Duration,
    workload: Rc<dyn Workload>,
) -> anyhow::Result<()> {
    // What the case before left to be done after its answers belongs to it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    host.reset_calls().await?;
    let measured = drive(host.address, 1, within, workload).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let requests = measured.requests() + measured.wrong().values().sum::<u64>();
    let by_operation = by_operation(&host.calls().await?);
    let per_request =
        by_operation.into_iter().map(|(operation, calls)| (operation, calls as f64 / requests.max(1) as f64));
    report.calls.insert(name, per_request.collect());
    Ok(())
}

/// The host's counters, `{"stores": {LABEL: {OPERATION: COUNT}}}`, summed over stores.
fn by_operation(calls: &Value) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    let stores = calls.get("stores").and_then(Value::as_object);
    for counts in stores.into_iter().flat_map(|stores| stores.values()).filter_map(Value::as_object) {
        for (operation, count) in counts {
            *sums.entry(operation.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::by_operation;

    #[test]
    fn store_calls_are_summed_over_stores() {
        let calls = serde_json::json!({"total": 6, "stores": {"default": {"get": 3, "set_many": 1}, "usage": {"get": 2}}});
        let sums: Vec<(String, u64)> = by_operation(&calls).into_iter().collect();
        assert_eq!(sums, [("get".to_owned(), 5), ("set_many".to_owned(), 1)]);
    }
}
