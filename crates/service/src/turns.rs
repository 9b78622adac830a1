//! Turns at many records at once, for what one commit writes.

use crate::held::Held;
use crate::service::Service;
use keyward_domain::key::Key;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Error, KeyId, Result};
use keyward_ledger::{KvWrite, Turn};
use keyward_records::{KvCount, KvRead};

/// Keys that one commit writes at most, each in a turn of its own.
pub(crate) const KEYS_AT_ONCE: usize = 32;
/// How often turns are taken at most: others are waited for meanwhile, and one that died holds its successor up for 5 s.
const ROUNDS_MAX: u32 = 3;

/// What was taken, with the turn at it.
pub(crate) trait Taken {
    /// The turn, where one is needed.
    fn turn(&self) -> Option<&Turn>;

    /// The same, for another turn in its place.
    fn into_turn(self) -> Option<Turn>;
}

impl Taken for (Turn, Key) {
    fn turn(&self) -> Option<&Turn> {
        Some(&self.0)
    }

    fn into_turn(self) -> Option<Turn> {
        Some(self.0)
    }
}

impl Taken for Held {
    fn turn(&self) -> Option<&Turn> {
        match self {
            Self::InTurn(_, turn) => Some(turn),
            Self::Claim(_) | Self::Renewal(_) => None,
        }
    }

    fn into_turn(self) -> Option<Turn> {
        match self {
            Self::InTurn(_, turn) => Some(turn),
            Self::Claim(_) | Self::Renewal(_) => None,
        }
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// What `take` finds at each of these, in a turn of its own; those that grew old while another was waited for are taken again.
    ///
    /// What fails does not keep the others: were their turns left unused, their next writers would wait for them.
    pub(crate) async fn turns<W, T: Taken>(
        &self,
        wanted: impl IntoIterator<Item = W>,
        take: impl AsyncFn(&W, Option<Turn>) -> Result<Option<T>>,
    ) -> (Vec<T>, Option<Error>) {
        let (mut held, mut failed): (Vec<(W, T)>, _) = (Vec::new(), None);
        let mut wanted: Vec<(W, Option<Turn>)> = wanted.into_iter().map(|what| (what, None)).collect();
        for round in 1..=ROUNDS_MAX {
            let takes = wanted.into_iter().map(async |(what, old)| {
                let taken = take(&what, old).await;
                (what, taken)
            });
            for (what, taken) in futures::future::join_all(takes).await {
                match taken {
                    Ok(taken) => held.extend(taken.map(|taken| (what, taken))),
                    Err(error) => failed = Some(error),
                }
            }
            let is_stale = |(_, taken): &(W, T)| {
                round < ROUNDS_MAX && taken.turn().is_some_and(|turn| self.ledger.is_old(turn))
            };
            let (stale, fresh): (Vec<_>, Vec<_>) = held.into_iter().partition(is_stale);
            held = fresh;
            if stale.is_empty() {
                break;
            }
            wanted = stale.into_iter().map(|(what, taken)| (what, taken.into_turn())).collect();
        }
        (held.into_iter().map(|(_, taken)| taken).collect(), failed)
    }
    /// These keys as they stand, each in a turn of its own.
    pub(crate) async fn turns_at_keys(
        &self,
        ids: impl IntoIterator<Item = KeyId>,
    ) -> (Vec<(Turn, Key)>, Option<Error>) {
        let take = async |id: &KeyId, old| match old {
            None => self.ledger.turn_at::<Key>(*id).await.map(Some),
            Some(old) => self.ledger.turn_at_again(*id, old).await.map(Some),
        };
        self.turns(ids, take).await
    }
}
