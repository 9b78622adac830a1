//! What is to be done from time to time, whoever asks for it: the scheduler, an admin, or a job of the platform. Every run is idempotent.

use crate::attempt::Attempt;
use crate::due::DueView;
use crate::service::Service;
use keyward_domain::Result;
use keyward_domain::event::{Action, Actor, ActorKind, Outcome, Source};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_ledger::{Draft, KvWrite, Progress};
use keyward_records::{KvCount, KvRead, StoredEvent};
use serde::Serialize;
use utoipa::ToSchema;

/// Batches of events that one run integrates at most: as many as a run of some seconds can.
const INTEGRATE_ROUNDS: u32 = 64;

/// How far a run came.
#[derive(Serialize, ToSchema)]
#[schema(as = Maintenance)]
pub struct MaintenanceView {
    /// Tickets that are in the tree and the lists.
    pub integrated: u64,
    /// Tickets taken.
    pub taken: u64,
    /// Events that were found beside the void of their ticket, and reported.
    pub late_events: usize,
    /// What was done of what was due for keys; nothing where the log waits for a gap.
    pub due: DueView,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// One run, asked for by an admin; its event says so.
    ///
    /// # Errors
    /// A missing scope; where the store does not answer.
    pub async fn run_maintenance(&self, attempt: &Attempt) -> Result<MaintenanceView> {
        attempt.caller.require(scope::MAINTENANCE_RUN)?;
        let draft = attempt.draft(Outcome::Done, None, None);
        self.commit(attempt, vec![draft], |_, _| Ok(())).await?;
        self.maintain().await
    }

    /// One run: extends the tree and the lists, reports events that came late, sees to what is due for keys, seals some records anew
    /// where a ring has rolled over, and signs the tree where nobody has.
    ///
    /// # Errors
    /// Where the store does not answer or the log is damaged.
    pub async fn maintain(&self) -> Result<MaintenanceView> {
        self.ledger.hold().await?;
        self.ledger.integrate(INTEGRATE_ROUNDS).await?;
        let late = self.ledger.late_events().await?;
        if !late.is_empty() {
            self.ledger.commit(late.iter().map(alarm).collect(), |_, _| Ok(())).await?;
        }
        // At once, since others may wait to see that it is reported.
        let Progress { size, taken } = self.ledger.integrate(INTEGRATE_ROUNDS).await?;
        let due = if size >= taken { self.see_to_what_is_due().await? } else { DueView::default() };
        self.reseal(false).await?;
        // Whoever integrated before this run may have had no key to sign with. Last, so that a damaged tree holds up nothing that is due.
        self.ledger.sign().await?;
        self.ledger.keep_maintained().await?;
        Ok(MaintenanceView { integrated: size, taken, late_events: late.len(), due })
    }
}

/// The alarm of an event that came late: it takes the event's place in the lists.
fn alarm(late: &StoredEvent) -> Draft {
    let event = &late.event;
    Draft {
        action: Action::EventLate,
        outcome: Outcome::Alarm,
        target: event.target,
        actor: Actor { kind: ActorKind::System, key: None, principal: None },
        source: Source::default(),
        request: event.request,
        reason: Some("the event came to light after its ticket had been voided".to_owned()),
        detail: [event.id.to_string(), event.action.as_str().to_owned()]
            .into_iter()
            .chain(event.detail.iter().cloned())
            .collect(),
        previous: event.previous,
    }
}
