//! How long a revoked key still passes. Some connections check it without a pause; while they do, it is revoked; what counts is what they are
//! answered after the acknowledgement.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::task::JoinSet;

use super::super::client::Connection;
use super::super::workloads::Claimed;
use super::peer::{Running, Verdicts};

/// Connections that check: more than any peer has processes, so that one that has not heard of it yet is met.
const CHECKING: usize = 4;

/// Checks that pass before the key is revoked: by then all connections are open.
const BEFORE: u64 = 32;

/// So many refusals in a row end a connection's part: with fewer, another process could still accept.
const REFUSALS: u32 = 5;

/// So many failures in a row are one too many.
const FAILURES: u32 = 3;

/// A key that passes for so long after its revocation is taken to pass for ever.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// What came of one revocation.
#[derive(Clone, Copy)]
pub struct Bite {
    /// From the acknowledgement to the first refusal after which no connection was accepted any more; none where it never came.
    pub after: Option<Duration>,
    /// Checks that were sent after the acknowledgement, and accepted.
    pub accepted: u64,
}

/// What one connection saw.
struct Seen {
    refused_at: Option<Instant>,
    accepted: u64,
}

/// Shared by the connections of one revocation.
struct Watch {
    to: SocketAddr,
    check: Rc<[u8]>,
    verdicts: Verdicts,
    acknowledged_at: Cell<Option<Instant>>,
    /// Checks that were accepted before the acknowledgement.
    accepted_before: Cell<u64>,
}

/// Revokes `key` and watches.
pub async fn bite(running: &dyn Running, key: &Claimed) -> anyhow::Result<Bite> {
    let watch = Rc::new(Watch {
        to: running.address(),
        check: running.check(&key.token),
        verdicts: running.verdicts(),
        acknowledged_at: Cell::new(None),
        accepted_before: Cell::new(0),
    });
    let mut connections = JoinSet::new();
    for _ in 0..CHECKING {
        let watch = Rc::clone(&watch);
        connections.spawn_local(async move { watch.check().await });
    }
    let start = Instant::now();
    while watch.accepted_before.get() < BEFORE {
        // A connection that is through by now met refusals alone, or failed.
        if let Some(seen) = connections.try_join_next() {
            seen.context("a connection's task ended early")??;
            bail!("the key was refused before its revocation");
        }
        if start.elapsed() > GIVE_UP_AFTER {
            bail!("the key did not pass before its revocation");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.revoke(key).await.context("the revocation failed")?;
    let acknowledged_at = Instant::now();
    watch.acknowledged_at.set(Some(acknowledged_at));

    let mut bite = Bite { after: Some(Duration::ZERO), accepted: 0 };
    while let Some(seen) = connections.join_next().await {
        let seen = seen.context("a connection's task ended early")??;
        bite.accepted += seen.accepted;
        let after = seen.refused_at.map(|at| at.saturating_duration_since(acknowledged_at));
        bite.after = bite.after.zip(after).map(|(latest, after)| latest.max(after));
    }
    Ok(bite)
}

impl Watch {
    async fn check(&self) -> anyhow::Result<Seen> {
        let mut connection = Connection::new(self.to);
        let mut seen = Seen { refused_at: None, accepted: 0 };
        let (mut refusals, mut failures) = (0, 0);
        while refusals < REFUSALS {
            let sent_at = Instant::now();
            let acknowledged_at = self.acknowledged_at.get();
            if acknowledged_at.is_some_and(|at| sent_at.duration_since(at) > GIVE_UP_AFTER) {
                return Ok(Seen { refused_at: None, ..seen });
            }
            let answer = match connection.exchange(&self.check).await {
                Ok(answer) => answer,
                // A process that gives way to its successor closes its connections: one asks again, as any client does.
                Err(_) if failures < FAILURES => {
                    failures += 1;
                    continue;
                }
                Err(error) => return Err(error).context("a check failed"),
            };
            failures = 0;
            if self.verdicts.refused.contains(&answer.status) {
                seen.refused_at.get_or_insert_with(Instant::now);
                refusals += 1;
            } else if answer.status == self.verdicts.accepted {
                seen.refused_at = None;
                refusals = 0;
                match acknowledged_at {
                    Some(_) => seen.accepted += 1,
                    None => self.accepted_before.set(self.accepted_before.get() + 1),
                }
            } else {
                bail!("a check was answered {}", answer.status);
            }
        }
        Ok(seen)
    }
}

/// Several revocations at one peer.
#[derive(Default)]
pub struct Bites(Vec<Bite>);

impl Bites {
    /// Adds one.
    pub fn add(&mut self, bite: Bite) {
        self.0.push(bite);
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Those that never bit.
    pub fn never(&self) -> usize {
        self.0.iter().filter(|bite| bite.after.is_none()).count()
    }

    /// Checks that were sent after an acknowledgement and accepted.
    pub fn accepted(&self) -> u64 {
        self.0.iter().map(|bite| bite.accepted).sum()
    }

    /// Of those that bit: half did within this, in milliseconds, and all within that.
    pub fn p50_and_max_ms(&self) -> Option<(f64, f64)> {
        let mut after: Vec<Duration> = self.0.iter().filter_map(|bite| bite.after).collect();
        after.sort();
        let middle = after.get(after.len().checked_sub(1)? / 2)?;
        Some((middle.as_secs_f64() * 1000.0, after.last()?.as_secs_f64() * 1000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_bites_is_told_apart() {
        let mut bites = Bites::default();
        assert_eq!(bites.p50_and_max_ms(), None);
        for (after_ms, accepted) in [(Some(3), 1), (None, 900), (Some(1), 0), (Some(2), 0)] {
            bites.add(Bite { after: after_ms.map(Duration::from_millis), accepted });
        }
        assert_eq!((bites.count(), bites.never(), bites.accepted()), (4, 1, 901));
        assert_eq!(bites.p50_and_max_ms(), Some((2.0, 3.0)));
    }
}
