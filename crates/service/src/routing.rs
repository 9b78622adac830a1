//! The routing table of an application: for each slot the key that serves it, and its versions as they stand. It is made of the slots
//! in the application's record and of the keys' own records when it is read, so no rotation has to be written twice.

use crate::attempt::Attempt;
use crate::service::Service;
use crate::view::{RouteView, RoutingTableView};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::routing::Route;
use keyward_domain::scope::administration as scope;
use keyward_domain::{ApplicationId, Error, Result};
use keyward_ledger::KvWrite;
use keyward_records::{KvCount, KvRead};

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// The routing table and its tag; where it still has the tag `seen`, after waiting up to `wait_s` for another. `None` where it
    /// has not changed by then.
    ///
    /// # Errors
    /// A missing scope, no such application; where the store does not answer.
    pub async fn routing_table(
        &self,
        attempt: &Attempt,
        id: ApplicationId,
        seen: Option<u64>,
        wait_s: u32,
    ) -> Result<Option<(RoutingTableView, u64)>> {
        attempt.aim(Some(id), None);
        self.require_at(attempt, scope::KEYS_READ, id, "application").await?;
        self.changed(seen, wait_s, async || self.routes_of(id).await).await
    }

    async fn routes_of(&self, id: ApplicationId) -> Result<RoutingTableView> {
        let details = self.read().details(id).await?.ok_or_else(|| Error::not_found("application"))?;
        let routes = details.routes.iter().map(async |Route { slot, key }| {
            let key = self.read().key(*key).await?.ok_or_else(|| Error::damaged("a key"))?;
            // Without its use, which is no reason to tell anybody who waits for a change.
            Ok(RouteView::of(slot, &key, &self.ends(&key).await?, self.clock.now()))
        });
        let routes = futures::future::join_all(routes).await.into_iter().collect::<Result<_>>()?;
        Ok(RoutingTableView { application: id, routes })
    }
}
