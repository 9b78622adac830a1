//! The latest refusals of requests with a right secret: what people look at while something goes wrong. It says which key and why, and
//! neither where a request came from nor what it presented.

use crate::attempt::Attempt;
use crate::service::Service;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::refusal::RefusalCode;
use keyward_domain::scope::administration as scope;
use keyward_domain::scope::{Reach, Scope};
use keyward_domain::{ApplicationId, KeyId, Result, Timestamp};
use keyward_ledger::KvWrite;
use keyward_records::{KvCount, KvRead, UsageRefusal, minute_of};
use serde::Serialize;
use std::cell::Cell;
use std::cmp::Reverse;
use utoipa::ToSchema;

/// The most refusals that are told.
const REFUSALS_MAX: usize = 256;
/// How often what validators kept is folded for whoever waits, in milliseconds.
const FOLD_EVERY_MS: u64 = 1_000;

/// Which refusals.
#[derive(Debug, Clone, Copy, Default)]
pub struct RefusalFilter {
    /// Those of the keys of one application.
    pub application: Option<ApplicationId>,
    /// Those from the minute on that this lies in.
    pub since: Option<Timestamp>,
}

/// Refusals of requests with a right secret.
#[derive(Serialize, ToSchema)]
#[schema(as = Refusals)]
pub struct RefusalsView {
    /// Newest first.
    #[schema(max_items = 256)]
    pub items: Vec<RefusalView>,
}

/// Refusals of a minute that are alike.
#[derive(Serialize, ToSchema)]
#[schema(as = Refusal)]
pub struct RefusalView {
    /// In which minute: its beginning.
    pub at: Timestamp,
    /// Whose key.
    pub application: ApplicationId,
    /// Which key.
    pub key: KeyId,
    /// Which of its versions.
    pub version: u16,
    /// Why.
    pub code: RefusalCode,
    /// The first scope that was asked for and that the key lacks.
    #[schema(required = true, value_type = Option<Scope>)]
    pub missing_scope: Option<String>,
    /// How many there were.
    #[schema(minimum = 1)]
    pub count: u64,
}

impl RefusalView {
    fn of(refusal: UsageRefusal) -> Self {
        Self {
            at: Timestamp::from_unix_ms(0).plus_s(refusal.minute.saturating_mul(60)),
            application: refusal.application,
            key: refusal.key,
            version: refusal.version,
            code: refusal.code,
            missing_scope: refusal.missing_scope,
            count: refusal.count,
        }
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// The latest refusals that the caller may see, and their tag; where that is still the tag `seen`, after waiting up to `wait_s` for
    /// others. `None` where there are no others by then. What was kept in `usage` is folded meanwhile.
    ///
    /// # Errors
    /// A missing scope, no such application; where a store does not answer.
    pub async fn refusals(
        &self,
        attempt: &Attempt,
        filter: &RefusalFilter,
        usage: &K,
        seen: Option<u64>,
        wait_s: u32,
    ) -> Result<Option<(RefusalsView, u64)>> {
        let rings = match filter.application {
            Some(application) => {
                attempt.aim(Some(application), None);
                self.require_at(attempt, scope::KEYS_READ, application, "application").await?;
                vec![Some(application)]
            }
            None => {
                attempt.caller.require_somewhere(scope::KEYS_READ)?;
                match attempt.caller.reach(scope::KEYS_READ) {
                    Reach::Everywhere => vec![None],
                    Reach::Some(applications) => applications.into_iter().map(Some).collect(),
                    Reach::Nowhere => Vec::new(),
                }
            }
        };
        let since = filter.since.map(minute_of);
        let folded_ms: Cell<Option<u64>> = Cell::new(None);
        self.changed(seen, wait_s, async || {
            let now_ms = self.clock.monotonic_ms();
            if folded_ms.get().is_none_or(|at| now_ms.saturating_sub(at) >= FOLD_EVERY_MS) {
                folded_ms.set(Some(now_ms));
                self.fold_use(usage).await?;
            }
            self.latest_refusals(&rings, since).await
        })
        .await
    }

    /// The latest of these applications' refusals, or of all.
    async fn latest_refusals(
        &self,
        rings: &[Option<ApplicationId>],
        since: Option<i64>,
    ) -> Result<RefusalsView> {
        let reader = self.read();
        let found = rings.iter().map(|application| reader.refusals(*application));
        let found = futures::future::try_join_all(found).await?;
        let mut latest: Vec<UsageRefusal> = found.into_iter().flat_map(|refusals| refusals.latest).collect();
        latest.retain(|refusal| since.is_none_or(|since| refusal.minute >= since));
        latest.sort_by_key(|refusal| Reverse(refusal.minute));
        latest.truncate(REFUSALS_MAX);
        Ok(RefusalsView { items: latest.into_iter().map(RefusalView::of).collect() })
    }
}
