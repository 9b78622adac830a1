//! Rotation of credentials by their providers: begun by an admin or by policy, gone on with step by step by whoever runs it, taken back.
//!
//! A run *takes* the step that is due, in a turn and with the event that says what the provider is handed; it *calls* without a turn, and
//! *settles* in another. Two runs at once share the work, and what a run that died had taken is called again a minute later, under the
//! same id. So a step comes at least once.

use crate::attempt::Attempt;
use crate::credential_due::{of, outlook};
use crate::credential_versions::{newly_destroyed, version_fact};
use crate::credentials::{CredentialView, moved_by};
use crate::delivery::{Answered, Sender};
use crate::due::draft;
use crate::edit::require_living;
use crate::providers::{Told, provider_of};
use crate::service::Service;
use crate::webhooks::FailureView;
use keyward_domain::credential::Credential;
use keyward_domain::credential_rotation::{Ended, Ending, Phase, Provider, PutOff, Rotation, Step};
use keyward_domain::delivery::{Fault, Setback};
use keyward_domain::event::{Action, EventId, Outcome, Target};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::text::check_reason;
use keyward_domain::webhook::{Targets, check_url};
use keyward_domain::{Code, CredentialId, Error, Result, Timestamp};
use keyward_ledger::{Draft, KvWrite, Turn};
use keyward_records::projection::lists;
use keyward_records::{CredentialValue, Due, KvCount, KvRead, Revised, RotationWalk, SecretFields};
use serde::Serialize;
use utoipa::ToSchema;

/// Batches of events that a run integrates first.
const INTEGRATE_ROUNDS: u32 = 8;
/// Rotations that are under way at the same time; others begin when one of these is over.
const OPEN_MAX: usize = 1024;
/// Calls under way at the same time.
const CALLED_AT_ONCE: usize = 8;
/// A rotation is looked at this long after it was looked at last, in seconds, though nothing of it is due: it may have been cancelled.
const LOOK_EVERY_S: i64 = 60;
/// How long a run begins new rounds, in milliseconds. With the time of one call it stays below what a request may take.
const RUN_MS_MAX: u64 = 10_000;
/// Rounds of one run at most.
const ROUNDS_MAX: u32 = 64;

/// A rotation that is under way.
#[derive(Serialize, ToSchema)]
#[schema(as = CredentialRotation)]
pub struct CredentialRotationView {
    /// The event that began it; its provider knows it by this.
    pub id: EventId,
    /// When it began.
    pub begun_at: Timestamp,
    /// Where it stands.
    pub phase: Phase,
    /// The version that was current when it began.
    pub before: u32,
    /// The version that takes its place; null until it was made.
    #[schema(required = true)]
    pub pending: Option<u32>,
    /// Calls of the provider for what is being done, the one under way included.
    pub attempts: u32,
    /// When the next is due.
    pub next_attempt_at: Timestamp,
    /// The last call that failed.
    #[schema(required = true)]
    pub last_failure: Option<FailureView>,
    /// Whether it can be taken back still.
    pub cancellable: bool,
}

impl CredentialRotationView {
    pub(crate) fn of(credential: &Credential, rotation: &Rotation, now: Timestamp) -> Self {
        Self {
            id: rotation.id,
            begun_at: rotation.begun_at,
            phase: rotation.phase(now),
            before: rotation.before,
            pending: rotation.pending,
            attempts: rotation.attempts,
            next_attempt_at: rotation.due_at,
            last_failure: rotation.failure.as_ref().map(FailureView::from),
            cancellable: credential.is_cancellable(),
        }
    }
}

/// A rotation that is over.
#[derive(Serialize, ToSchema)]
#[schema(as = EndedCredentialRotation)]
pub struct LastRotationView {
    /// The event that began it.
    pub id: EventId,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How.
    pub ending: Ending,
}

impl From<&Ended> for LastRotationView {
    fn from(ended: &Ended) -> Self {
        Self { id: ended.id, ended_at: ended.at, ending: ended.ending }
    }
}

/// What a run did.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = CredentialRotationRun)]
pub struct RotationRunView {
    /// Calls of providers that were answered as they should be.
    done: usize,
    /// Calls that failed.
    failed: usize,
    /// Rotations that are over.
    ended: usize,
    /// Whether there is more to do at once.
    more: bool,
}

/// What came of one look at a rotation.
#[derive(Default)]
struct Looked {
    /// Whether its provider was called, and whether that went well.
    called: Option<bool>,
    /// When it is to be looked at next; never where it is over.
    next: Option<Timestamp>,
}

/// What a call came to.
enum CameTo {
    /// The secret of the version to come.
    Made(SecretFields),
    Done,
    Failed(Setback),
}

/// What a call that ended is told as.
struct Settled {
    action: Action,
    outcome: Outcome,
    detail: Vec<String>,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Begins the rotation of a credential; its provider is called by the next run.
    ///
    /// # Errors
    /// No reason, a missing scope, no such credential, a retired one, one without a provider, one that is being rotated; where the store
    /// does not answer.
    pub async fn rotate_credential(
        &self,
        attempt: &Attempt,
        id: CredentialId,
        reason: &str,
    ) -> Result<CredentialView> {
        let known = self.visible_credential(attempt, scope::CREDENTIALS_WRITE, id).await?;
        check_reason("reason", reason)?;
        let now = self.clock.now();
        let decide = async |credential: &Credential| {
            require_living(credential)?;
            provider_of(credential)?;
            if credential.rotation.is_some() {
                return Err(Error::new(
                    Code::StateConflict,
                    "the credential is being rotated, or that is being taken back; wait for the end of it",
                ));
            }
            let mut rotating = credential.clone();
            rotating.begin_rotation(now);
            Ok(rotating)
        };
        let edit = self.edit(attempt, &known, decide).await?;
        let terms = self.terms_of(&edit.after).await?;
        let detail = outlook(&edit.after, &terms).into_iter().collect();
        self.commit_edit(attempt, edit, Some(reason.to_owned()), detail, |credential, _| {
            CredentialView::of(credential, &terms, now)
        })
        .await
    }

    /// Takes the rotation of a credential back: the version that was current when it began is current from then on, and its provider is
    /// told to take back what it did.
    ///
    /// # Errors
    /// No reason, a missing scope, no such credential, none that is being rotated, or the version before is being ended already; where
    /// the store does not answer.
    pub async fn cancel_credential_rotation(
        &self,
        attempt: &Attempt,
        id: CredentialId,
        reason: &str,
    ) -> Result<CredentialView> {
        let known = self.visible_credential(attempt, scope::CREDENTIALS_WRITE, id).await?;
        check_reason("reason", reason)?;
        let terms = self.terms_of(&known).await?;
        let now = self.clock.now();
        let decide = async |credential: &Credential| {
            require_living(credential)?;
            if !credential.is_cancellable() {
                let why = match credential.rotation.as_ref().map(|rotation| rotation.step) {
                    None => "the credential is not being rotated",
                    Some(Step::RollBack) => "the rotation is being taken back already",
                    Some(_) => {
                        "the version before is being ended at the third party; wait for the end of that"
                    }
                };
                return Err(Error::new(Code::StateConflict, why));
            }
            let mut cancelled = credential.clone();
            cancelled.cancel_rotation(terms.lease_s, now);
            Ok(cancelled)
        };
        let edit = self.edit(attempt, &known, decide).await?;
        if edit.after.current != edit.before.current {
            // Services have it already: they are told as when people go back.
            attempt.act(Action::CredentialRolledBack);
        }
        let rotation = edit.before.rotation.as_ref().map(rotation_fact);
        let mut detail: Vec<String> =
            rotation.into_iter().chain([version_fact(edit.after.current)]).collect();
        detail.extend(outlook(&edit.after, &terms));
        self.commit_edit(attempt, edit, Some(reason.to_owned()), detail, |credential, _| {
            CredentialView::of(credential, &terms, now)
        })
        .await
    }

    /// One run, asked for by an admin; its event says so.
    ///
    /// # Errors
    /// A missing scope; where the store does not answer or this process has no ring of the vault.
    pub async fn run_credential_rotations(
        &self,
        attempt: &Attempt,
        sender: &impl Sender,
        targets: Targets,
    ) -> Result<RotationRunView> {
        attempt.caller.require(scope::MAINTENANCE_RUN)?;
        let draft = attempt.draft(Outcome::Done, None, None);
        self.commit(attempt, vec![draft], |_, _| Ok(())).await?;
        self.go_on_with_rotations(sender, targets).await
    }

    /// One run: does the steps that are due, for some seconds at most.
    ///
    /// # Errors
    /// Where the store does not answer or this process has no ring of the vault.
    pub async fn go_on_with_rotations(
        &self,
        sender: &impl Sender,
        targets: Targets,
    ) -> Result<RotationRunView> {
        self.rings.vault()?;
        self.ledger.hold().await?;
        let started_ms = self.clock.monotonic_ms();
        let mut run = RotationRunView { more: true, ..RotationRunView::default() };
        for _ in 0..ROUNDS_MAX {
            if self.clock.monotonic_ms().saturating_sub(started_ms) >= RUN_MS_MAX {
                break;
            }
            if !self.rotation_round(&mut run, sender, targets).await? {
                run.more = false;
                break;
            }
        }
        Ok(run)
    }

    /// Looks at rotations that began and at those that are due; whether there were any.
    async fn rotation_round(
        &self,
        run: &mut RotationRunView,
        sender: &impl Sender,
        targets: Targets,
    ) -> Result<bool> {
        self.ledger.integrate(INTEGRATE_ROUNDS).await?;
        let mut walk = self.read().rotation_walk().await?;
        let now = self.clock.now();
        let room = OPEN_MAX.saturating_sub(walk.open.len());
        let begun = self.entries_from(lists::ROTATIONS, walk.at, room).await?;
        walk.at = walk.at.saturating_add(u64::try_from(begun.len()).unwrap_or(u64::MAX));
        for entry in &begun {
            let id: CredentialId = entry.id.parse().map_err(|_| Error::damaged("a list"))?;
            walk.open.insert(id, Due(now));
        }
        let mut due: Vec<(Timestamp, CredentialId)> =
            walk.open.iter().filter(|(_, Due(at))| *at <= now).map(|(id, Due(at))| (*at, *id)).collect();
        if due.is_empty() {
            return Ok(false);
        }
        // Who waits longest comes first: one that always has something due must not keep the others waiting.
        due.sort_unstable();
        due.truncate(CALLED_AT_ONCE);
        let looks = due.iter().map(async |(_, id)| (*id, self.look_at_rotation(*id, sender, targets).await));
        for (id, looked) in futures::future::join_all(looks).await {
            self.note(&mut walk, run, id, looked);
        }
        self.ledger.keep_rotation_walk(&walk).await?;
        Ok(true)
    }

    fn note(
        &self,
        walk: &mut RotationWalk,
        run: &mut RotationRunView,
        id: CredentialId,
        looked: Result<Looked>,
    ) {
        let again = self.clock.now().plus_s(LOOK_EVERY_S);
        // What failed here must not keep the others waiting; what does not open is for `audit verify` to name.
        let looked = looked.unwrap_or(Looked { called: None, next: Some(again) });
        match looked.called {
            Some(true) => run.done += 1,
            Some(false) => run.failed += 1,
            None => {}
        }
        match looked.next {
            Some(next) => {
                walk.open.insert(id, Due(next.min(again)));
            }
            None => {
                walk.open.remove(&id);
                run.ended += usize::from(looked.called.is_some());
            }
        }
    }

    /// Does what is due of one rotation.
    async fn look_at_rotation(
        &self,
        id: CredentialId,
        sender: &impl Sender,
        targets: Targets,
    ) -> Result<Looked> {
        let Some(credential) = self.read().credential(id).await? else { return Ok(Looked::default()) };
        let (Some(rotation), Some(provider)) = (&credential.rotation, &credential.provider) else {
            return Ok(Looked::default());
        };
        if self.clock.now() < rotation.due_at {
            return Ok(Looked { called: None, next: Some(rotation.due_at) });
        }
        let told = self.told(&credential, rotation).await?;
        let Some(tried) = self.take_step(&credential, rotation, &told).await? else {
            // Another run is faster.
            return Ok(Looked { called: None, next: Some(rotation.due_at.plus_s(LOOK_EVERY_S)) });
        };
        let came_to = self.call(&credential, provider, &tried, &told, sender, targets).await;
        let is_done = !matches!(came_to, CameTo::Failed(_));
        let next = self.settle_step(&credential, &tried, came_to).await?;
        Ok(Looked { called: Some(is_done), next })
    }

    /// Takes the step that is due, with the event that says what its provider is handed; nothing where it was taken meanwhile.
    async fn take_step(
        &self,
        known: &Credential,
        rotation: &Rotation,
        told: &Told,
    ) -> Result<Option<Rotation>> {
        let (turn, before) = self.ledger.turn_at::<Credential>(known.id).await?;
        let now = self.clock.now();
        let is_as_known = before.provider == known.provider
            && before.current == known.current
            && before.name == known.name
            && before.rotation.as_ref() == Some(rotation);
        if !is_as_known {
            self.pass(before, turn).await?;
            return Ok(None);
        }
        let mut taken = before.clone();
        taken.take_step(now);
        let tried = taken.rotation.clone();
        let mut call =
            Draft { previous: Some(before.event), ..draft(Action::CredentialProviderCalled, of(&before)) };
        call.detail = vec![rotation_fact(rotation), step_fact(rotation.step)];
        call.detail.extend(tried.as_ref().map(|tried| format!("attempt {}", tried.attempts)));
        call.detail.extend(told.versions(known, rotation).into_iter().map(version_fact));
        self.write_by_keyward(call, before, taken, turn, None).await?;
        Ok(tried)
    }

    /// Calls the provider.
    async fn call(
        &self,
        credential: &Credential,
        provider: &Provider,
        tried: &Rotation,
        told: &Told,
        sender: &impl Sender,
        targets: Targets,
    ) -> CameTo {
        let failed = |fault: Fault| CameTo::Failed(fault.into());
        // Looked at again: what was allowed when it was set may not be any more.
        if check_url("url", &provider.url, targets).is_err() {
            return failed(Fault::PrivateTarget);
        }
        if !told.is_enough_for(tried.step) {
            return failed(GONE);
        }
        let message = told.message(credential, provider, tried, self.clock.now());
        let answer = match sender.send(&message).await {
            Ok(answer) => answer.taken(self.clock.now()),
            Err(fault) => Err(fault.into()),
        };
        match answer {
            Err(setback) => CameTo::Failed(setback),
            Ok(Answered { body, .. }) if tried.step == Step::Create => {
                self.made(credential.kind, &body, told).map_or(failed(Fault::Protocol), CameTo::Made)
            }
            Ok(_) => CameTo::Done,
        }
    }

    /// Writes down what a call came to; when the rotation is to be looked at next, if it is not over.
    async fn settle_step(
        &self,
        known: &Credential,
        tried: &Rotation,
        came_to: CameTo,
    ) -> Result<Option<Timestamp>> {
        let terms = self.terms_of(known).await?;
        let (turn, before) = self.ledger.turn_at::<Credential>(known.id).await?;
        let now = self.clock.now();
        // One that took so long that another was made in its place may say that it is done, and no more.
        let is_late =
            |rotation: &Rotation| rotation.attempts != tried.attempts && matches!(came_to, CameTo::Failed(_));
        let is_meant = |rotation: &&Rotation| {
            (rotation.id, rotation.step) == (tried.id, tried.step) && !is_late(rotation)
        };
        if before.rotation.as_ref().filter(is_meant).is_none() {
            let next = before.rotation.as_ref().map(|rotation| rotation.due_at);
            self.pass(before, turn).await?;
            return Ok(next);
        }
        let mut after = before.clone();
        let mut value = None;
        let mut settled = match came_to {
            CameTo::Made(fields) => {
                let version = before.next_version();
                after.stage(version, now);
                value = Some(CredentialValue { credential: known.id, version, fields });
                Settled::done(Action::CredentialRotationAdvanced, vec![version_fact(version)])
            }
            CameTo::Done => {
                after.step_done(terms.lease_s, now);
                match tried.step {
                    Step::Test => {
                        Settled::done(Action::CredentialPromoted, vec![version_fact(after.current)])
                    }
                    Step::Finish => Settled::done(Action::CredentialRotationFinished, Vec::new()),
                    Step::RollBack => Settled::done(Action::CredentialRotationUndone, Vec::new()),
                    Step::Create | Step::Set => Settled::done(Action::CredentialRotationAdvanced, Vec::new()),
                }
            }
            CameTo::Failed(setback) => {
                let put_off = after.put_off(setback, now, u32::from_be_bytes(self.rng.bytes()));
                Settled::failed(put_off, tried, setback.fault)
            }
        };
        let mut facts = vec![rotation_fact(tried), step_fact(tried.step)];
        facts.append(&mut settled.detail);
        facts.extend(newly_destroyed(&before, &after).iter().map(|number| format!("destroyed {number}")));
        facts.extend(outlook(&after, &terms));
        let draft = Draft {
            outcome: settled.outcome,
            detail: facts,
            previous: Some(before.event),
            ..draft(settled.action, of(&before))
        };
        let next = after.rotation.as_ref().map(|rotation| rotation.due_at);
        self.write_by_keyward(draft, before, after, turn, value).await?;
        Ok(next)
    }

    /// A turn that turned out not to be needed is given back.
    async fn pass(&self, credential: Credential, turn: Turn) -> Result<()> {
        let draft = draft(Action::DuePassed, Target::default());
        self.write_by_keyward(draft, credential.clone(), credential, turn, None).await
    }

    /// Writes a change that Keyward makes by itself, with what a version holds that it adds, and the end of those that it destroys.
    async fn write_by_keyward(
        &self,
        draft: Draft,
        before: Credential,
        mut after: Credential,
        turn: Turn,
        value: Option<CredentialValue>,
    ) -> Result<()> {
        let destroyed = newly_destroyed(&before, &after);
        let committed = self.ledger.commit(vec![draft], |tickets, writes| {
            let event = tickets.event(0);
            after.written(turn.revision(), event);
            moved_by(&mut after, &before, event);
            writes.change(&after, turn);
            if let Some(value) = &value {
                writes.credential_value(value);
            }
            for number in destroyed {
                writes.credential_destroyed(after.id, number, event);
            }
            Ok(())
        });
        committed.await.map(|committed| committed.value)
    }
}

/// What a step comes to whose version was destroyed: the provider need not be asked.
const GONE: Fault = Fault::Status(410);

impl Settled {
    const fn done(action: Action, detail: Vec<String>) -> Self {
        Self { action, outcome: Outcome::Done, detail }
    }

    fn failed(put_off: PutOff, tried: &Rotation, fault: Fault) -> Self {
        let (action, outcome) = match (put_off, tried.step) {
            (PutOff::Later, _) => (Action::CredentialRotationDelayed, Outcome::Done),
            (PutOff::GivenUp, Step::RollBack) => (Action::CredentialRotationUndone, Outcome::Alarm),
            (PutOff::GivenUp, _) => (Action::CredentialRotationFailed, Outcome::Alarm),
        };
        let fact = match fault.status() {
            Some(status) => format!("status {status}"),
            None => fault.as_str().to_owned(),
        };
        Self { action, outcome, detail: vec![format!("attempt {}", tried.attempts), fact] }
    }
}

/// What an event says of the rotation that it belongs to.
fn rotation_fact(rotation: &Rotation) -> String {
    format!("rotation {}", rotation.id)
}

fn step_fact(step: Step) -> String {
    format!("step {step}")
}
