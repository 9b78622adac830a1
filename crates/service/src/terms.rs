//! Which terms hold for a key: those of its own policy, else of its application's, else what holds where nobody chose.

use crate::service::Service;
use keyward_domain::key::Key;
use keyward_domain::policy::{OnBreach, OnLeak, Policy, Terms};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{ApplicationId, Error, PolicyId, Result};
use keyward_ledger::KvWrite;
use keyward_records::{KvCount, KvRead};
use std::collections::BTreeMap;

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// The terms that hold for a key.
    pub(crate) async fn terms_of(&self, key: &Key) -> Result<Terms> {
        let terms = self.terms_of_each(std::slice::from_ref(key)).await?;
        Ok(terms.into_iter().next().unwrap_or(Terms::DEFAULT))
    }

    /// The terms that hold for each of these keys, in their order: each application and each policy is read once.
    pub(crate) async fn terms_of_each(&self, keys: &[Key]) -> Result<Vec<Terms>> {
        let reader = self.read();
        let mut of_applications: BTreeMap<ApplicationId, Option<PolicyId>> =
            keys.iter().filter(|key| key.policy.is_none()).map(|key| (key.application, None)).collect();
        let reads = of_applications.iter_mut().map(async |(id, policy)| {
            *policy = reader.details(*id).await?.and_then(|details| details.policy);
            Ok::<_, Error>(())
        });
        futures::future::try_join_all(reads).await?;
        let chosen = |key: &Key| key.policy.or_else(|| of_applications.get(&key.application).copied()?);
        let mut policies: BTreeMap<PolicyId, Option<Policy>> =
            keys.iter().filter_map(chosen).map(|id| (id, None)).collect();
        let reads = policies.iter_mut().map(async |(id, policy)| {
            *policy = reader.policy(*id).await?;
            Ok::<_, Error>(())
        });
        futures::future::try_join_all(reads).await?;
        let policy = |key: &Key| policies.get(&chosen(key)?)?.as_ref();
        Ok(keys.iter().map(|key| holding(key.application, policy(key))).collect())
    }
}

/// What holds for the keys of an application under a policy, or where nobody chose one. Keys of `keyward` neither renew themselves nor
/// end, or go on after a leak, by a policy: who administers is decided by people, and not by whoever may write policies.
pub(crate) fn holding(application: ApplicationId, policy: Option<&Policy>) -> Terms {
    let mut terms = policy.map_or(Terms::DEFAULT, |policy| policy.terms.clone());
    if application == ApplicationId::KEYWARD {
        (terms.self_renewal, terms.on_breach, terms.on_leak) = (false, OnBreach::Warn, OnLeak::Revoke);
    }
    terms
}
