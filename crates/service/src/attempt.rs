//! One attempt of one caller: what it tries on which target, and what must be given back where it is refused.

use crate::answer::Body;
use crate::caller::Caller;
use crate::held::{Held, InTurn};
use crate::service::Service;
use keyward_crypto::SecretText;
use keyward_domain::error::Blame;
use keyward_domain::event::{Action, EventId, Outcome, Target};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{
    ApplicationId, CredentialId, Error, KeyId, PolicyId, Result, RoleId, Timestamp, WebhookId,
};
use keyward_ledger::{Begun, Draft, IdempotentRequest, KvWrite, Receipt, Replay, Reservation, Turn, Writes};
use keyward_records::{KvCount, KvRead};
use std::cell::{Cell, RefCell};

/// One attempt.
pub struct Attempt {
    pub(crate) caller: Caller,
    action: Cell<Action>,
    target: Cell<Target>,
    reads: bool,
    reservation: RefCell<Option<Reservation>>,
    unused: RefCell<Vec<Held>>,
    receipt: Cell<Option<Receipt>>,
}

impl Attempt {
    /// An attempt to change something.
    pub const fn to_change(caller: Caller, action: Action, target: Target) -> Self {
        Self::new(caller, action, target, false)
    }

    /// An attempt to look at something; in the log only where a scope is missing.
    pub const fn to_read(caller: Caller, action: Action, target: Target) -> Self {
        Self::new(caller, action, target, true)
    }

    const fn new(caller: Caller, action: Action, target: Target, reads: bool) -> Self {
        Self {
            caller,
            action: Cell::new(action),
            target: Cell::new(target),
            reads,
            reservation: RefCell::new(None),
            unused: RefCell::new(Vec::new()),
            receipt: Cell::new(None),
        }
    }

    /// Who calls.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What it tries.
    pub const fn action(&self) -> Action {
        self.action.get()
    }

    /// Whether it only looks.
    pub const fn reads(&self) -> bool {
        self.reads
    }

    /// The receipt of the last commit that the attempt made, if it made one.
    pub const fn receipt(&self) -> Option<Receipt> {
        self.receipt.get()
    }

    pub(crate) fn keep_receipt(&self, receipt: Receipt) {
        self.receipt.set(Some(receipt));
    }

    /// What was done before is given again, with the receipt that it had.
    pub(crate) fn replay(&self, Replay { result, receipt }: Replay) -> SecretText {
        self.receipt.set(receipt);
        SecretText::new(result.into())
    }

    /// The attempt turned out to be about this.
    pub(crate) fn aim(&self, application: Option<ApplicationId>, key: Option<KeyId>) {
        self.target.set(Target { application, ..Target::key(key) });
    }

    /// The attempt turned out to be about this role.
    pub(crate) fn aim_at_role(&self, id: RoleId) {
        self.target.set(Target::role(Some(id)));
    }

    /// The attempt turned out to be about this webhook.
    pub(crate) fn aim_at_webhook(&self, application: ApplicationId, id: WebhookId) {
        self.target.set(Target { application: Some(application), ..Target::webhook(Some(id)) });
    }

    /// The attempt turned out to be about this policy.
    pub(crate) fn aim_at_policy(&self, id: PolicyId) {
        self.target.set(Target::policy(Some(id)));
    }

    /// The attempt turned out to be about this credential.
    pub(crate) fn aim_at_credential(&self, application: ApplicationId, id: CredentialId) {
        self.target.set(Target { application: Some(application), ..Target::credential(Some(id)) });
    }

    pub(crate) fn act(&self, action: Action) {
        self.action.set(action);
    }

    pub(crate) fn draft(&self, outcome: Outcome, reason: Option<String>, previous: Option<EventId>) -> Draft {
        Draft {
            action: self.action.get(),
            outcome,
            target: self.target.get(),
            actor: self.caller.actor.clone(),
            source: self.caller.source.clone(),
            request: Some(self.caller.request),
            reason,
            detail: Vec::new(),
            previous,
        }
    }

    /// A record whose turn the attempt took stays as it is: it is written so where the attempt is refused.
    pub(crate) fn unused(&self, record: impl Into<InTurn>, turn: Turn) {
        self.unused.borrow_mut().push(Held::in_turn(record, turn));
    }

    /// The reservation of an idempotent attempt, for its commit.
    pub(crate) fn take_reservation(&self) -> Option<Reservation> {
        self.reservation.borrow_mut().take()
    }

    pub(crate) fn put_reservation(&self, reservation: Reservation) {
        *self.reservation.borrow_mut() = Some(reservation);
    }

    /// Takes up what the ledger began: the result where there is one already.
    fn begun(&self, begun: Begun) -> Option<SecretText> {
        match begun {
            Begun::Replay(replay) => Some(self.replay(replay)),
            Begun::Fresh(reservation) => {
                self.put_reservation(reservation);
                None
            }
        }
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Begins an idempotent attempt: the result where there is one already. Without an Idempotency-Key there is none.
    pub(crate) async fn begin(
        &self,
        attempt: &Attempt,
        route: &'static str,
        body: &impl serde::Serialize,
        lifetime_s: i64,
    ) -> Result<Option<SecretText>> {
        let Some(request) = idempotent_request(&attempt.caller, route, body, lifetime_s) else {
            return Ok(None);
        };
        Ok(attempt.begun(self.ledger.begin(&request).await?))
    }

    /// The result of an idempotent attempt that ended before; begins none.
    pub(crate) async fn replayed(
        &self,
        attempt: &Attempt,
        route: &'static str,
        body: &impl serde::Serialize,
        lifetime_s: i64,
    ) -> Result<Option<SecretText>> {
        let Some(request) = idempotent_request(&attempt.caller, route, body, lifetime_s) else {
            return Ok(None);
        };
        let replay = self.ledger.peek(&request).await?;
        Ok(replay.map(|replay| attempt.replay(replay)))
    }

    /// Looks after the reservation of an idempotent attempt that waited for another turn: the result where somebody else
    /// was faster meanwhile.
    pub(crate) async fn begin_again(&self, attempt: &Attempt) -> Result<Option<SecretText>> {
        let Some(reservation) = attempt.take_reservation() else { return Ok(None) };
        Ok(attempt.begun(self.ledger.begin_again(reservation).await?))
    }

    /// Ends an attempt: a refusal becomes an event, and what it held is given back in the same commit.
    ///
    /// # Errors
    /// That of the attempt; or, where its refusal could not be recorded, that of the store.
    pub async fn settle<T>(&self, attempt: &Attempt, result: Result<T>) -> Result<T> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let refused = matches!(error.code.blame(), Blame::Caller | Blame::Conflict);
        let unused = std::mem::take(&mut *attempt.unused.borrow_mut());
        let recorded = attempt.caller.is_known() && (!attempt.reads || error.missing_scope.is_some());
        if refused && (recorded || !unused.is_empty()) {
            self.record_refusal(attempt, &error, unused).await?;
        }
        Err(error)
    }

    async fn record_refusal(&self, attempt: &Attempt, error: &Error, unused: Vec<Held>) -> Result<()> {
        let previous = unused.iter().find_map(Held::event);
        let mut draft = attempt.draft(Outcome::Refused, Some(error.code.as_str().to_owned()), previous);
        draft.detail.extend(error.missing_scope.iter().map(ToString::to_string));
        draft.detail.extend(error.fields.iter().map(|field| field.field.clone()));
        let reservation = attempt.take_reservation();
        self.commit(attempt, vec![draft], |tickets, writes| {
            for unused in unused {
                unused.write(tickets.event(0), writes);
            }
            if let Some(reservation) = reservation {
                reservation.release(writes);
            }
            Ok(())
        })
        .await
    }
}

/// Puts the result of an idempotent attempt into its commit; without a reservation there is nothing to keep.
pub(crate) fn keep_outcome<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
    reservation: Option<Reservation>,
    result: &impl Body,
    now: Timestamp,
    writes: &mut Writes<'_, K, C, R>,
) {
    if let Some(reservation) = reservation {
        reservation.fulfil(result.to_json().expose().to_owned(), now, writes);
    }
}

/// The request under the caller's Idempotency-Key, if it came with one.
fn idempotent_request(
    caller: &Caller,
    route: &'static str,
    body: &impl serde::Serialize,
    lifetime_s: i64,
) -> Option<IdempotentRequest> {
    let key = caller.idempotency_key.as_ref()?;
    let who = caller.actor.key.map(|key| key.as_bytes().to_vec()).unwrap_or_default();
    let body = keyward_crypto::Zeroizing::new(serde_json::to_vec(body).unwrap_or_default());
    let key = SecretText::new(key.expose().to_owned());
    Some(IdempotentRequest::new(&who, route, key, &body, lifetime_s))
}
