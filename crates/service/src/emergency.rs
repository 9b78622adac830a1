//! The switch that an emergency throws: while issuing is frozen nobody issues a key, takes a claim or has one made anew. Validation,
//! revocation and reading go on.

use crate::attempt::Attempt;
use crate::service::Service;
use crate::view::EmergencyView;
use keyward_domain::event::Outcome;
use keyward_domain::issuing::{Issuing, State};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::text::check_reason;
use keyward_domain::{Code, Error, Result};
use keyward_ledger::KvWrite;
use keyward_records::{KvCount, KvRead};

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// How issuing stands, since when, by whom and why.
    ///
    /// # Errors
    /// A missing scope; where the store does not answer.
    pub async fn emergency(&self, attempt: &Attempt) -> Result<EmergencyView> {
        attempt.caller.require(scope::EMERGENCY_READ)?;
        Ok(EmergencyView::of(self.read().issuing().await?.as_ref()))
    }

    /// Freezes issuing. Where it is frozen already it stays frozen since then, and the call is in the log like every other.
    ///
    /// # Errors
    /// No reason, a missing scope; where the store does not answer.
    pub async fn freeze_issuing(&self, attempt: &Attempt, reason: &str) -> Result<EmergencyView> {
        self.set_issuing(attempt, State::Frozen, reason).await
    }

    /// Opens issuing again: the only way out of a freeze, for whoever holds every scope as well.
    ///
    /// # Errors
    /// As [`Service::freeze_issuing`].
    pub async fn thaw_issuing(&self, attempt: &Attempt, reason: &str) -> Result<EmergencyView> {
        self.set_issuing(attempt, State::Open, reason).await
    }

    async fn set_issuing(&self, attempt: &Attempt, state: State, reason: &str) -> Result<EmergencyView> {
        attempt.caller.require(scope::EMERGENCY_FREEZE)?;
        check_reason("reason", reason)?;
        let (turn, found) = self.ledger.issuing_turn().await?;
        let draft =
            attempt.draft(Outcome::Done, Some(reason.to_owned()), found.as_ref().map(|found| found.event));
        let by = draft.actor.clone();
        let at = self.clock.now();
        self.commit(attempt, vec![draft], |tickets, writes| {
            let mut issuing = found.filter(|found| found.state == state).unwrap_or_else(|| Issuing {
                state,
                at,
                by,
                reason: reason.to_owned(),
                event: tickets.event(0),
                revision: 0,
            });
            issuing.revision = turn.revision();
            writes.issuing(&issuing, turn);
            Ok(EmergencyView::of(Some(&issuing)))
        })
        .await
    }

    /// Refuses while issuing is frozen. Why it is frozen is told to administrators alone.
    pub(crate) async fn require_issuing(&self, attempt: &Attempt) -> Result<()> {
        match self.read().issuing().await? {
            Some(Issuing { state: State::Frozen, at, reason, .. }) => {
                let detail = if attempt.caller.is_admin() {
                    format!("issuing is frozen since {at}: {reason}; it goes on once it is thawed")
                } else {
                    format!("issuing is frozen since {at}; the claim stays open until its time is over")
                };
                Err(Error::new(Code::IssuingFrozen, detail))
            }
            _ => Ok(()),
        }
    }
}
