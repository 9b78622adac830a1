//! How a credential is rotated at the third party by its provider: four steps, after AWS Secrets Manager's rotation functions. No I/O:
//! what a call of the provider came to is told to it, with the time and with randomness for the jitter.
//!
//! INVARIANT: a version that the provider did not test is never the current one, and the version before is the provider's to end only
//! once nobody goes on with it.

use crate::credential::{Credential, Version};
use crate::delivery::{Failure, Fault, HOLD_S_MAX, Setback, wait_ms};
use crate::event::EventId;
use crate::timestamp::{Timestamp, millis};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// When a failed call is followed by the next, in seconds. Up to a tenth is added. Shorter than that of webhooks: a secret that is half
/// rotated is nothing to keep for days.
pub const SCHEDULE_S: [i64; 6] = [5, 30, 120, 600, 1_800, 3_600];
/// Calls of one step in all: within two hours, where the provider asks for no more time.
pub const ATTEMPTS_MAX: u32 = 7;
/// How long a call may be under way, in seconds: nobody hears of one after that, and another is made in its place.
pub const IN_FLIGHT_S: i64 = 60;
/// What is added to the lease before the version before is ended, in seconds: whoever read it just before it was replaced counts the
/// lease from the answer.
pub const READ_IN_FLIGHT_S: i64 = 30;
/// After a rotation that did not come to its end, when policy begins the next one, in seconds: a day.
pub const AGAIN_AFTER_S: i64 = 24 * 3600;

/// Whom Keyward calls in order to rotate a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Where its hook is.
    pub url: String,
    /// Since when it is that one.
    #[serde(with = "millis")]
    pub since: Timestamp,
}

/// What the provider is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// To make a new secret, or to have Keyward make one.
    Create,
    /// To have the third party accept it, beside the one before.
    Set,
    /// To try it.
    Test,
    /// To have the third party accept the one before no longer.
    Finish,
    /// To take back whatever the steps before did.
    RollBack,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 5] = [Self::Create, Self::Set, Self::Test, Self::Finish, Self::RollBack];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Set => "set",
            Self::Test => "test",
            Self::Finish => "finish",
            Self::RollBack => "roll_back",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A rotation that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The event that began it: also what the provider knows it by.
    pub id: EventId,
    /// When that was.
    #[serde(with = "millis")]
    pub begun_at: Timestamp,
    /// What is to be done next.
    pub step: Step,
    /// The version that was current when it began.
    pub before: u32,
    /// The version that is to take its place, once it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<u32>,
    /// Calls of this step so far, the one under way included.
    #[serde(default)]
    pub attempts: u32,
    /// When the next is due.
    #[serde(with = "millis")]
    pub due_at: Timestamp,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// While it is rolled back, as what it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_as: Option<Ending>,
}

/// How a rotation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = CredentialRotationEnding)]
pub enum Ending {
    /// The new version is current, and the third party accepts the one before no longer.
    Done,
    /// The new version is current, but the provider did not say that the one before was ended.
    Unfinished,
    /// It was given up, and the version before is current still.
    Failed,
    /// It was taken back by an administrator, and the version before is current still.
    Cancelled,
}

impl Ending {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unfinished => "unfinished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A rotation that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which.
    pub id: EventId,
    /// When it ended.
    #[serde(with = "millis")]
    pub at: Timestamp,
    /// How.
    pub ending: Ending,
}

/// Where a rotation stands, as people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = CredentialRotationPhase)]
pub enum Phase {
    /// The new version is being made.
    Creating,
    /// The third party is being told of it.
    Setting,
    /// It is being tried.
    Testing,
    /// It is current, and who read the one before may still go on with that.
    Waiting,
    /// The one before is being ended at the third party.
    Finishing,
    /// What was done is being taken back.
    RollingBack,
}

/// What became of a rotation when a call of its provider failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOff {
    /// The step is tried again.
    Later,
    /// It is given up.
    GivenUp,
}

impl Rotation {
    /// Where it stands at `now`.
    pub fn phase(&self, now: Timestamp) -> Phase {
        match self.step {
            Step::Create => Phase::Creating,
            Step::Set => Phase::Setting,
            Step::Test => Phase::Testing,
            Step::Finish if self.attempts == 0 && now < self.due_at => Phase::Waiting,
            Step::Finish => Phase::Finishing,
            Step::RollBack => Phase::RollingBack,
        }
    }

    /// Whether it has a use for what a version holds.
    pub fn needs(&self, number: u32) -> bool {
        number == self.before || self.pending == Some(number)
    }

    fn go_to(&mut self, step: Step, due_at: Timestamp) {
        (self.step, self.attempts, self.due_at) = (step, 0, due_at);
    }
}

/// Whether a call that failed so is not worth repeating: 410 (Gone) and 422 (Unprocessable Content) are how a provider says "no".
const fn is_final(fault: Fault) -> bool {
    matches!(fault, Fault::Status(410 | 422))
}

impl Credential {
    /// Whether a version waits for its test: nobody is handed what it holds but the provider.
    pub fn is_pending(&self, number: u32) -> bool {
        number != self.current
            && self.rotation.as_ref().is_some_and(|rotation| rotation.pending == Some(number))
    }

    /// Whether another version may become the current one by hand: no rotation is about to do so, or has just done so.
    pub fn is_settled(&self) -> bool {
        self.rotation.as_ref().is_none_or(|rotation| rotation.step == Step::RollBack)
    }

    /// A rotation begins; its id is the event that says so, and is put in its place when that is known.
    pub fn begin_rotation(&mut self, at: Timestamp) {
        self.rotation = Some(Rotation {
            id: self.event,
            begun_at: at,
            step: Step::Create,
            before: self.current,
            pending: None,
            attempts: 0,
            due_at: at,
            failure: None,
            ends_as: None,
        });
    }

    /// The step that is due is about to be done: counted, and tried again where nothing is heard of it.
    pub fn take_step(&mut self, now: Timestamp) {
        if let Some(rotation) = &mut self.rotation {
            rotation.attempts = rotation.attempts.saturating_add(1);
            rotation.due_at = now.plus_s(IN_FLIGHT_S);
        }
    }

    /// The new version was made; gives the numbers of those that are destroyed for it, as [`Credential::write`] does.
    pub fn stage(&mut self, number: u32, at: Timestamp) -> Vec<u32> {
        self.versions.push(Version { number, written_at: at, event: self.event, destroyed_at: None });
        if let Some(rotation) = &mut self.rotation {
            rotation.pending = Some(number);
            rotation.go_to(Step::Set, at);
        }
        self.make_room(at)
    }

    /// The step that was taken is done; `lease_s` is for how long whoever read the version before goes on with it. That of
    /// [`Step::Create`] is done by [`Credential::stage`].
    pub fn step_done(&mut self, lease_s: u32, now: Timestamp) {
        let Some(rotation) = &mut self.rotation else { return };
        match (rotation.step, rotation.pending) {
            (Step::Create, _) => {}
            (Step::Set, _) => rotation.go_to(Step::Test, now),
            (Step::Test, Some(pending)) => {
                self.current = pending;
                rotation.go_to(Step::Finish, now.plus_s(i64::from(lease_s) + READ_IN_FLIGHT_S));
            }
            (Step::Test, None) => rotation.go_to(Step::Create, now),
            (Step::Finish, _) => self.end_rotation(Ending::Done, now),
            (Step::RollBack, _) => self.end_roll_back(now),
        }
    }

    /// The call that was made failed. `random` is for the jitter.
    pub fn put_off(&mut self, setback: Setback, now: Timestamp, random: u32) -> PutOff {
        let Some(rotation) = &mut self.rotation else { return PutOff::Later };
        rotation.failure = Some(Failure { at: now, fault: setback.fault });
        match wait_ms(&SCHEDULE_S, rotation.attempts, random).filter(|_| !is_final(setback.fault)) {
            Some(wait_ms) => {
                let at = Timestamp::from_unix_ms(now.unix_ms().saturating_add(wait_ms));
                let asked = setback.retry_after_s.map(|wait_s| now.plus_s(i64::from(wait_s.min(HOLD_S_MAX))));
                rotation.due_at = asked.map_or(at, |asked| asked.max(at));
                PutOff::Later
            }
            None => {
                match rotation.step {
                    Step::Create | Step::Set | Step::Test => self.roll_back_from(Ending::Failed, now),
                    Step::Finish => self.end_rotation(Ending::Unfinished, now),
                    Step::RollBack => self.end_roll_back(now),
                }
                PutOff::GivenUp
            }
        }
    }

    /// Whether a rotation can be taken back: the version before has not been given up at the third party.
    pub fn is_cancellable(&self) -> bool {
        self.rotation.as_ref().is_some_and(|rotation| match rotation.step {
            Step::Create | Step::Set | Step::Test => true,
            Step::Finish => rotation.attempts == 0,
            Step::RollBack => false,
        })
    }

    /// A rotation is taken back: the version before is current, at once, and the provider is told when nobody goes on with the other.
    pub fn cancel_rotation(&mut self, lease_s: u32, now: Timestamp) {
        let Some(rotation) = &self.rotation else { return };
        let told_at = match rotation.step {
            Step::Finish => now.plus_s(i64::from(lease_s) + READ_IN_FLIGHT_S),
            _ => now,
        };
        self.roll_back_from(Ending::Cancelled, told_at);
    }

    fn roll_back_from(&mut self, ending: Ending, told_at: Timestamp) {
        if let Some(rotation) = &mut self.rotation {
            self.current = rotation.before;
            rotation.ends_as = Some(ending);
            rotation.go_to(Step::RollBack, told_at);
        }
    }

    fn end_roll_back(&mut self, now: Timestamp) {
        let Some(rotation) = &self.rotation else { return };
        let (pending, ending) = (rotation.pending, rotation.ends_as.unwrap_or(Ending::Failed));
        if let Some(pending) = pending {
            self.destroy(pending, now);
        }
        self.end_rotation(ending, now);
    }

    fn end_rotation(&mut self, ending: Ending, now: Timestamp) {
        if let Some(rotation) = self.rotation.take() {
            self.last_rotation = Some(Ended { id: rotation.id, at: now, ending });
        }
    }

    /// Before when policy begins no rotation: one that did not come to its end is not tried again at once.
    pub fn not_again_before(&self) -> Option<Timestamp> {
        self.last_rotation
            .filter(|ended| ended.ending != Ending::Done)
            .map(|ended| ended.at.plus_s(AGAIN_AFTER_S))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::VERSIONS_MAX;
    use crate::credential::tests::credential;

    const LEASE_S: u32 = 300;

    fn rotating() -> (Credential, Timestamp) {
        let mut credential = credential();
        let now = credential.created_at;
        credential.write(1, now);
        credential.begin_rotation(now);
        (credential, now)
    }

    fn step(credential: &Credential) -> Option<(Step, u32)> {
        credential.rotation.as_ref().map(|rotation| (rotation.step, rotation.attempts))
    }

    fn ended(credential: &Credential) -> Option<Ending> {
        credential.last_rotation.map(|ended| ended.ending)
    }

    #[test]
    fn the_new_version_is_current_once_it_was_tested_and_the_old_one_ended_when_nobody_goes_on_with_it() {
        let (mut credential, now) = rotating();
        credential.take_step(now);
        assert_eq!(step(&credential), Some((Step::Create, 1)));
        credential.stage(2, now);
        assert!(credential.is_pending(2) && credential.current == 1);
        credential.step_done(LEASE_S, now);
        assert!(step(&credential) == Some((Step::Test, 0)) && credential.current == 1);
        credential.step_done(LEASE_S, now);
        assert!(!credential.is_pending(2) && credential.current == 2);
        let rotation = credential.rotation.as_ref().expect("it goes on");
        assert_eq!(rotation.phase(now), Phase::Waiting);
        assert_eq!(rotation.due_at, now.plus_s(330));
        assert_eq!(rotation.phase(now.plus_s(330)), Phase::Finishing);
        credential.step_done(LEASE_S, now.plus_s(330));
        assert_eq!((step(&credential), ended(&credential)), (None, Some(Ending::Done)));
        assert_eq!(credential.not_again_before(), None);
        assert!(credential.versions.iter().all(|version| version.destroyed_at.is_none()), "both are kept");
    }

    #[test]
    fn a_step_is_tried_so_often_and_then_all_is_rolled_back() {
        let (mut credential, now) = rotating();
        credential.stage(2, now);
        let mut waits = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            credential.take_step(now);
            assert_eq!(credential.rotation.as_ref().map(|rotation| rotation.due_at), Some(now.plus_s(60)));
            if credential.put_off(Fault::Status(500).into(), now, 0) == PutOff::Later {
                let due_at = credential.rotation.as_ref().map(|rotation| rotation.due_at);
                waits.push(due_at.map_or(0, |at| at.unix_s() - now.unix_s()));
            }
        }
        assert_eq!(waits, SCHEDULE_S);
        assert_eq!(step(&credential), Some((Step::RollBack, 0)));
        assert!(credential.is_pending(2), "nobody reads it while it is taken back");
        credential.take_step(now);
        credential.step_done(LEASE_S, now);
        assert_eq!((credential.current, ended(&credential)), (1, Some(Ending::Failed)));
        assert!(credential.version(2).is_some_and(|version| version.destroyed_at.is_some()));
        assert_eq!(credential.not_again_before(), Some(now.plus_s(AGAIN_AFTER_S)));
        assert_eq!(credential.next_version(), 3, "no number is given twice");
    }

    #[test]
    fn a_provider_that_says_no_is_not_asked_again_and_one_that_asks_for_time_is_given_it() {
        for status in [410, 422] {
            let (mut credential, now) = rotating();
            credential.take_step(now);
            assert_eq!(credential.put_off(Fault::Status(status).into(), now, 0), PutOff::GivenUp);
        }
        let (mut credential, now) = rotating();
        credential.take_step(now);
        let asked = Setback { fault: Fault::Status(503), retry_after_s: Some(900) };
        assert_eq!(credential.put_off(asked, now, 0), PutOff::Later);
        assert_eq!(credential.rotation.as_ref().map(|rotation| rotation.due_at), Some(now.plus_s(900)));
    }

    #[test]
    fn the_end_of_the_old_version_that_fails_leaves_the_new_one_current() {
        let (mut credential, now) = rotating();
        credential.stage(2, now);
        credential.step_done(LEASE_S, now);
        credential.step_done(LEASE_S, now);
        for _ in 0..ATTEMPTS_MAX {
            credential.take_step(now);
            credential.put_off(Fault::Timeout.into(), now, 0);
        }
        assert_eq!((credential.current, ended(&credential)), (2, Some(Ending::Unfinished)));
    }

    #[test]
    fn what_is_cancelled_goes_back_at_once_until_the_old_version_is_being_ended() {
        let (mut credential, now) = rotating();
        credential.stage(2, now);
        credential.step_done(LEASE_S, now);
        credential.step_done(LEASE_S, now);
        assert!(credential.is_cancellable() && !credential.is_settled());
        let mut taken = credential.clone();
        taken.take_step(now);
        assert!(!taken.is_cancellable());
        credential.cancel_rotation(LEASE_S, now);
        assert!(credential.current == 1 && credential.is_pending(2) && credential.is_settled());
        assert_eq!(credential.rotation.as_ref().map(|rotation| rotation.due_at), Some(now.plus_s(330)));
        credential.step_done(LEASE_S, now);
        assert_eq!(ended(&credential), Some(Ending::Cancelled));
    }

    #[test]
    fn no_version_that_is_needed_makes_room_for_another() {
        let (mut credential, now) = rotating();
        credential.rotation = None;
        for number in 2..=16 {
            credential.write(number, now);
        }
        credential.current = 1;
        credential.begin_rotation(now);
        assert_eq!(credential.stage(17, now), [2]);
        let living = credential.versions.iter().filter(|version| version.destroyed_at.is_none());
        assert_eq!(living.count(), VERSIONS_MAX);
        assert!(credential.version(1).is_some_and(|version| version.destroyed_at.is_none()));
    }
}
