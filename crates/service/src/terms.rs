//! Which terms hold for a key: those of its own policy, else of its application's, else what holds where nobody chose.

use crate::service::Service;
use keyward_domain::Result;
use keyward_domain::key::Key;
use keyward_domain::policy::Terms;
use keyward_domain::ports::{Clock, Rng};
use keyward_ledger::KvWrite;
use keyward_records::{KvCount, KvRead};

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// The terms that hold for a key. Those of `keyward` never renew themselves: who administers is decided by people.
    pub(crate) async fn terms_of(&self, key: &Key) -> Result<Terms> {
        let reader = self.read();
        let policy = match key.policy {
            Some(policy) => Some(policy),
            None => reader.details(key.application).await?.and_then(|details| details.policy),
        };
        let chosen = match policy {
            Some(policy) => reader.policy(policy).await?.map(|policy| policy.terms),
            None => None,
        };
        let mut terms = chosen.unwrap_or(Terms::DEFAULT);
        terms.self_renewal &= !key.is_administrative();
        Ok(terms)
    }
}
