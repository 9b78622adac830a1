//! Which terms hold for a key or a credential: those of its own policy, else of its application's, else what holds where nobody chose.

use crate::service::Service;
use keyward_domain::credential::Credential;
use keyward_domain::key::Key;
use keyward_domain::policy::{OnBreach, OnLeak, Policy, Terms};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{ApplicationId, Error, PolicyId, Result};
use keyward_ledger::KvWrite;
use keyward_records::{KvCount, KvRead};
use std::collections::BTreeMap;

/// What terms hold for.
pub(crate) trait Governed {
    /// Whose it is.
    fn application(&self) -> ApplicationId;

    /// The policy that it was given; where there is none, its application's holds.
    fn policy(&self) -> Option<PolicyId>;
}

impl Governed for Key {
    fn application(&self) -> ApplicationId {
        self.application
    }

    fn policy(&self) -> Option<PolicyId> {
        self.policy
    }
}

impl Governed for Credential {
    fn application(&self) -> ApplicationId {
        self.application
    }

    fn policy(&self) -> Option<PolicyId> {
        self.policy
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// The terms that hold for one of them.
    pub(crate) async fn terms_of<T: Governed>(&self, one: &T) -> Result<Terms> {
        let terms = self.terms_of_each(std::slice::from_ref(one)).await?;
        Ok(terms.into_iter().next().unwrap_or(Terms::DEFAULT))
    }

    /// The terms that hold for each of these, in their order: each application and each policy is read once.
    pub(crate) async fn terms_of_each<T: Governed>(&self, all: &[T]) -> Result<Vec<Terms>> {
        let reader = self.read();
        let mut of_applications: BTreeMap<ApplicationId, Option<PolicyId>> =
            all.iter().filter(|one| one.policy().is_none()).map(|one| (one.application(), None)).collect();
        let reads = of_applications.iter_mut().map(async |(id, policy)| {
            *policy = reader.details(*id).await?.and_then(|details| details.policy);
            Ok::<_, Error>(())
        });
        futures::future::try_join_all(reads).await?;
        let chosen = |one: &T| one.policy().or_else(|| of_applications.get(&one.application()).copied()?);
        let mut policies: BTreeMap<PolicyId, Option<Policy>> =
            all.iter().filter_map(chosen).map(|id| (id, None)).collect();
        let reads = policies.iter_mut().map(async |(id, policy)| {
            *policy = reader.policy(*id).await?;
            Ok::<_, Error>(())
        });
        futures::future::try_join_all(reads).await?;
        let policy = |one: &T| policies.get(&chosen(one)?)?.as_ref();
        Ok(all.iter().map(|one| holding(one.application(), policy(one))).collect())
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
