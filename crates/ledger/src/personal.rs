//! The key under which this month's personal data is sealed: known to the instance, found in the store, or made for the commit that
//! needs it.

use crate::batch::KvWrite;
use crate::ledger::Ledger;
use keyward_crypto::SecretBytes;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::timestamp::Month;
use keyward_domain::{Error, Result};
use keyward_records::{KvCount, KvRead, MonthKey, names};
use std::rc::Rc;

/// Keys of one month that are looked for: more there are only where so many writers met, or died, at its beginning.
const KEYS_LOOKED_FOR: u32 = 8;

/// A month's key, and whether it has yet to be written.
pub(crate) struct CommitKey {
    pub(crate) key: MonthKey,
    pub(crate) fresh: bool,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'_, K, C, R> {
    /// The key for what is personal in a commit of now.
    pub(crate) async fn commit_key(&self) -> Result<CommitKey> {
        let month = Month::of(self.clock.now());
        if let Some(key) = self.rings.month.get(month) {
            return Ok(CommitKey { key, fresh: false });
        }
        // The first is nearly always there: one read.
        if let Some(key) = self.stored_key(month, 1..=1).await? {
            return Ok(CommitKey { key, fresh: false });
        }
        // Each writer at a month's beginning makes a key with a number of its own; all later ones find one of them.
        let number = self.kv.increment(&names::counter::personal_keys(month), 1).await?;
        let number = u32::try_from(number).map_err(|_| Error::damaged("a counter of months' keys"))?;
        if number > 1
            && let Some(key) = self.stored_key(month, 1..=number.min(KEYS_LOOKED_FOR)).await?
        {
            return Ok(CommitKey { key, fresh: false });
        }
        let key = Rc::new(SecretBytes::new(self.rng.bytes()));
        Ok(CommitKey { key: MonthKey { month, number, key }, fresh: true })
    }

    async fn stored_key(&self, month: Month, numbers: impl Iterator<Item = u32>) -> Result<Option<MonthKey>> {
        let reader = self.read();
        let reads = numbers.map(|number| reader.personal_key(month, number));
        for found in futures::future::join_all(reads).await {
            if let Some(key) = found?.and_then(|record| record.kept()) {
                self.rings.month.keep(key.clone());
                return Ok(Some(key));
            }
        }
        Ok(None)
    }
}
