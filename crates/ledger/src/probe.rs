//! The start-up probe: whether the store can carry Keyward. It must give unique tickets and write a batch whole.

use crate::batch::{Batch, KvWrite};
use crate::ledger::Ledger;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Code, Error, Result};
use keyward_records::{KvCount, KvRead, names};

/// How a store writes its counters down: the only mark by which a component can tell one kind from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// Eight bytes, little-endian: Spin's SQLite.
    Sqlite,
    /// Decimal digits: Redis and Valkey.
    Redis,
    /// Neither: a store whose batches are not atomic or whose tickets are not unique, or one that nobody has looked at.
    Other,
}

impl StoreKind {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Redis => "redis",
            Self::Other => "other",
        }
    }

    fn of(counter: &[u8]) -> Self {
        if counter.len() == 8 && !counter.iter().all(u8::is_ascii_digit) {
            Self::Sqlite
        } else if !counter.is_empty() && counter.iter().all(u8::is_ascii_digit) {
            Self::Redis
        } else {
            Self::Other
        }
    }
}

/// Batches under probe at the same time do not meet, up to this many.
const SLOTS: i64 = 16;

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'_, K, C, R> {
    /// Takes tickets, writes a batch, reads both back.
    ///
    /// # Errors
    /// [`Code::StoreUnsuitable`] names what the store does not do; [`Code::StoreUnavailable`] where it does not answer.
    pub async fn probe(&self) -> Result<StoreKind> {
        let unsuitable = |what: &str| Err(Error::new(Code::StoreUnsuitable, format!("the store {what}")));
        let counter = names::counter::PROBE;
        let first = self.kv.increment(counter, 1).await?;
        let second = self.kv.increment(counter, 1).await?;
        if second <= first {
            return unsuitable("does not give unique tickets; take SQLite or Redis");
        }
        let kind = StoreKind::of(&self.kv.get(counter).await?.unwrap_or_default());
        if kind == StoreKind::Other {
            return unsuitable(
                "is neither SQLite nor Redis: its batches may not be atomic or its tickets not unique",
            );
        }
        let slot = second % SLOTS;
        let names = [names::probe(slot, 'a'), names::probe(slot, 'b')];
        let mark = second.to_be_bytes().to_vec();
        self.kv
            .set_many(&Batch::new(names.iter().map(|name| (name.clone(), mark.clone())).collect()))
            .await?;
        for name in &names {
            // A later probe may have overwritten it meanwhile, an earlier one may not.
            match self.kv.get(name).await?.as_deref().and_then(|value| value.first_chunk::<8>()) {
                Some(found) if i64::from_be_bytes(*found) >= second => {}
                _ => return unsuitable("does not show what a batch wrote"),
            }
        }
        Ok(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_tell_the_kind() {
        assert_eq!(StoreKind::of(&7i64.to_le_bytes()), StoreKind::Sqlite);
        assert_eq!(StoreKind::of(b"7"), StoreKind::Redis);
        assert_eq!(StoreKind::of(b"12345678"), StoreKind::Redis);
        assert_eq!(StoreKind::of(b""), StoreKind::Other);
        assert_eq!(StoreKind::of(b"{\"n\":7}"), StoreKind::Other);
    }
}
