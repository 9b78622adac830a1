//! Drives a workload over some connections for some time and measures each request.
//! Closed loop: a connection sends its next request when the answer to the last is there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::client::Connection;

/// The longest latency told apart from longer ones, in microseconds: a minute.
const LATENCY_MAX_US: u64 = 60_000_000;

/// Significant digits of a latency.
const LATENCY_DIGITS: u8 = 3;

/// A request must be answered within this, or the run is over: a host that hangs should not hang the bench.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What to send, and what to make of the answers.
pub trait Workload {
    /// The next request, whole; none when there is nothing left to send.
    fn next(&self) -> Option<Rc<[u8]>>;
    /// The status of every good answer.
    fn expected(&self) -> u16;
    /// Takes in the body of a good answer.
    fn answered(&self, _body: &[u8]) {}
}

/// What came of it. Measurements of the same thing add up.
#[derive(Clone)]
pub struct Measured {
    latency_us: Histogram<u64>,
    elapsed_s: f64,
    wrong: BTreeMap<u16, u64>,
}

impl Measured {
    /// Nothing yet.
    pub fn none() -> anyhow::Result<Self> {
        let latency_us =
            Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS).context("histogram bounds")?;
        Ok(Self { latency_us, elapsed_s: 0.0, wrong: BTreeMap::new() })
    }

    /// A made-up measurement: so many answers, each after so long.
    #[cfg(test)]
    pub fn made_up(requests: u64, latency_us: u64, elapsed_s: f64) -> Self {
        let mut measured = Self { elapsed_s, ..Self::none().unwrap() };
        measured.latency_us.record_n(latency_us, requests).unwrap();
        measured
    }

    /// Adds another measurement of the same thing, taken at another time.
    pub fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.merge(other)?;
        self.elapsed_s += other.elapsed_s;
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latency_us.add(&other.latency_us).context("two histograms do not add up")?;
        for (status, count) in &other.wrong {
            *self.wrong.entry(*status).or_default() += count;
        }
        Ok(())
    }

    /// Good answers.
    pub fn requests(&self) -> u64 {
        self.latency_us.len()
    }

    /// Good answers per second.
    pub fn per_second(&self) -> f64 {
        if self.elapsed_s > 0.0 { self.requests() as f64 / self.elapsed_s } else { 0.0 }
    }

    /// Half of the good answers were there within this, in milliseconds.
    pub fn p50_ms(&self) -> f64 {
        self.latency_us.value_at_quantile(0.50) as f64 / 1000.0
    }

    /// 99 of 100.
    pub fn p99_ms(&self) -> f64 {
        self.latency_us.value_at_quantile(0.99) as f64 / 1000.0
    }

    /// Answers of another status than expected, by status.
    pub fn wrong(&self) -> &BTreeMap<u16, u64> {
        &self.wrong
    }
}

/// Runs `workload` for `length`, or until it has nothing left.
pub async fn drive(
    to: SocketAddr,
    connections: usize,
    length: Duration,
    workload: Rc<dyn Workload>,
) -> anyhow::Result<Measured> {
    let start = Instant::now();
    let deadline = start + length;
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let workload = Rc::clone(&workload);
        tasks.spawn_local(async move { one_connection(to, deadline, workload.as_ref()).await });
    }
    let mut total = Measured::none()?;
    while let Some(done) = tasks.join_next().await {
        total.merge(&done.context("a connection's task ended early")??)?;
    }
    total.elapsed_s = start.elapsed().as_secs_f64();
    Ok(total)
}

async fn one_connection(
    to: SocketAddr,
    deadline: Instant,
    workload: &dyn Workload,
) -> anyhow::Result<Measured> {
    let mut connection = Connection::new(to);
    let mut measured = Measured::none()?;
    while Instant::now() < deadline {
        let Some(request) = workload.next() else { break };
        let sent = Instant::now();
        let answer = tokio::time::timeout(ANSWER_WITHIN, connection.exchange(&request))
            .await
            .with_context(|| format!("no answer within {} s", ANSWER_WITHIN.as_secs()))?
            .with_context(|| format!("the connection to {to} failed"))?;
        let took_us = u64::try_from(sent.elapsed().as_micros()).unwrap_or(LATENCY_MAX_US);
        if answer.status == workload.expected() {
            measured.latency_us.saturating_record(took_us.max(1));
            workload.answered(&answer.body);
        } else {
            *measured.wrong.entry(answer.status).or_default() += 1;
        }
    }
    Ok(measured)
}
