//! Rotation by an admin: a successor is offered, the overlap ended, the offer taken back. Taking the claim is `claims`', and what a
//! holder does by itself `renewals`'.

use crate::answer::Answer;
use crate::attempt::Attempt;
use crate::fresh_claim::IssuedKey;
use crate::service::{REPLAY_S, Service};
use crate::view::KeyView;
use keyward_domain::due::outlook;
use keyward_domain::error::FieldError;
use keyward_domain::event::{Action, Outcome, Target};
use keyward_domain::key::Key;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::rotation::{GRACE_S_MAX, Mode, Phase};
use keyward_domain::scope::administration as scope;
use keyward_domain::text::{self, check_reason};
use keyward_domain::{Code, Error, KeyId, Result};
use keyward_ledger::{Draft, KvWrite, Turn};
use keyward_records::{KvCount, KvRead};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use utoipa::ToSchema;

/// How a key is to be rotated.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// Why.
    #[schema(value_type = text::Reason)]
    pub reason: String,
    /// Whether it is time, or a secret may be in the wrong hands; `scheduled` where it is absent.
    #[serde(default)]
    pub mode: Mode,
    /// How long the version in use goes on once its successor was claimed, in seconds; what the key's policy says where it is absent.
    /// None in an incident.
    #[serde(default)]
    #[schema(maximum = 7_776_000)]
    pub grace_s: Option<u32>,
    /// The version to rotate away from: where the key has another by then, nothing is done. Whatever is newest where it is absent.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 3843)]
    pub version: Option<u16>,
}

impl RotateKey {
    /// What is wrong with it.
    pub(crate) fn mistakes(&self) -> Vec<FieldError> {
        let mut errors: Vec<FieldError> = Vec::new();
        errors.extend(check_reason("reason", &self.reason).err());
        match self.grace_s {
            Some(_) if self.mode == Mode::Incident => errors.push(FieldError::new(
                "grace_s",
                "is given",
                "no grace: in an incident every version so far dies at once",
            )),
            Some(grace_s) if grace_s > GRACE_S_MAX => {
                errors.push(FieldError::new("grace_s", "is more than ninety days", "0 to 7776000 seconds"));
            }
            _ => {}
        }
        errors
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Offers a successor of the version in use, with a claim for it. In an incident every version so far dies first, at once.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, no such key, one that is dead or not to be rotated now, the last root, frozen issuing; where
    /// the store does not answer.
    pub async fn rotate_key(
        &self,
        attempt: &Attempt,
        id: KeyId,
        asked: &RotateKey,
    ) -> Result<Answer<IssuedKey>> {
        let known = self.visible_key(attempt, scope::KEYS_ROTATE, id).await?;
        self.require_superset(attempt, known.application, &known.scopes, &known.roles).await?;
        let mistakes = asked.mistakes();
        if !mistakes.is_empty() {
            return Err(mistakes.into());
        }
        // Before its state is looked at: a repeated request has the answer that it had, whatever happened since.
        if let Some(text) = self.begin(attempt, "keys.rotate", &(id, asked), REPLAY_S).await? {
            return Ok(Answer::Replayed(text));
        }
        self.check_rotation(attempt, &known, asked).await?;
        if asked.mode == Mode::Incident {
            self.kill_versions(attempt, std::slice::from_ref(&known), &asked.reason).await?;
        }
        let (turn, mut key) = match self.key_turn_once(attempt, id).await? {
            ControlFlow::Continue(taken) => taken,
            ControlFlow::Break(text) => return Ok(Answer::Replayed(text)),
        };
        let offered = match self.check_rotation(attempt, &key, asked).await {
            Ok(()) => self.offer(&mut key, asked.mode, asked.grace_s).await,
            Err(error) => Err(error),
        };
        let (version, dying) = match offered {
            Ok(offered) => offered,
            Err(error) => {
                attempt.unused(key, turn);
                return Err(error);
            }
        };
        let claim = self.fresh_claim(&mut key, version, self.clock.now());
        let mut draft = attempt.draft(Outcome::Done, Some(asked.reason.clone()), Some(key.event));
        draft.detail = vec![asked.mode.as_str().to_owned(), format!("version {version}")];
        self.commit_claim(attempt, draft, key, turn, claim, &dying).await.map(Answer::Fresh)
    }

    /// Makes the offer in the key's record: the version offered, and those that die with it. Without a grace it is the one of the key's
    /// policy; an incident has none.
    pub(crate) async fn offer(
        &self,
        key: &mut Key,
        mode: Mode,
        grace_s: Option<u32>,
    ) -> Result<(u16, Vec<u16>)> {
        let (grace_s, dying) = match mode {
            Mode::Scheduled => match grace_s {
                Some(grace_s) => (grace_s, Vec::new()),
                None => (self.terms_of(key).await?.grace_s, Vec::new()),
            },
            // Whoever has the token may have the renewal token as well.
            Mode::Incident => {
                key.rotation.renewal = None;
                (0, self.mortal_versions(key).await?)
            }
        };
        let version = key
            .offer_successor(mode, grace_s, self.clock.now())
            .ok_or_else(|| Error::internal("a key's versions are used up"))?;
        Ok((version, dying))
    }

    /// The versions that an incident ends and that are not dead yet, one that is only offered included.
    pub(crate) async fn mortal_versions(&self, key: &Key) -> Result<Vec<u16>> {
        let dead = self.read().killed_versions(key).await?;
        let offered = key.claim.as_ref().map(|claim| claim.version);
        let all = key.versions.iter().map(|version| version.number).chain(offered);
        Ok(all.filter(|number| !dead.contains(number)).collect())
    }

    /// Whether an incident rotation was done to a key already and only its claim is not taken: every version that was claimed is dead.
    pub(crate) async fn is_left_with_an_offer(&self, key: &Key) -> Result<bool> {
        match &key.rotation.offer {
            Some(offer) if offer.mode == Mode::Incident => {
                let mortal = self.mortal_versions(key).await?;
                Ok(mortal.iter().all(|version| *version == offer.version))
            }
            _ => Ok(false),
        }
    }

    /// Ends every version of these keys at once, before anybody waits for a turn at one of them; an event for each tells of it.
    pub(crate) async fn kill_versions(&self, attempt: &Attempt, keys: &[Key], reason: &str) -> Result<()> {
        let mut dying: Vec<(&Key, Vec<u16>)> = Vec::new();
        for key in keys {
            dying.push((key, self.mortal_versions(key).await?));
        }
        dying.retain(|(_, versions)| !versions.is_empty());
        if dying.is_empty() {
            return Ok(());
        }
        let rotation = attempt.action();
        attempt.act(Action::VersionsKilled);
        let drafts = dying.iter().map(|(key, versions)| Draft {
            target: Target { application: Some(key.application), ..Target::key(Some(key.id)) },
            detail: versions.iter().map(|version| format!("version {version}")).collect(),
            ..attempt.draft(Outcome::Done, Some(reason.to_owned()), Some(key.event))
        });
        self.commit(attempt, drafts.collect(), |tickets, writes| {
            for (index, (key, versions)) in dying.iter().enumerate() {
                for version in versions {
                    writes.for_event(index).version_kill(key.id, *version, tickets.event(index));
                }
            }
            Ok(())
        })
        .await?;
        attempt.act(rotation);
        Ok(())
    }

    pub(crate) async fn check_rotation(&self, attempt: &Attempt, key: &Key, asked: &RotateKey) -> Result<()> {
        self.require_superset(attempt, key.application, &key.scopes, &key.roles).await?;
        self.require_grants(attempt, key.application, key.scopes.iter())?;
        self.require_issuing(attempt).await?;
        self.require_alive(key).await?;
        let now = self.clock.now();
        let newest = match key.newest() {
            _ if key.expired(now) => return Err(conflict("the key has expired; issue a new one")),
            None => {
                return Err(conflict(
                    "the key was never claimed; ask for a new claim for its first version with `/claims`",
                ));
            }
            Some(newest) => newest.number,
        };
        match asked.version {
            Some(version) if version != newest => {
                return Err(conflict(format!(
                    "the newest version of the key is {newest}, not {version}: it was rotated already"
                )));
            }
            _ => {}
        }
        if key.next_version().is_none() {
            return Err(conflict("the key has had as many versions as a token can name; issue a new key"));
        }
        if asked.mode == Mode::Incident {
            return self.keep_a_root_beside(key, None).await;
        }
        match key.phase(now) {
            Phase::Stable => Ok(()),
            Phase::Offered => Err(conflict(
                "a successor is offered already; ask for a new claim for it with `/claims`, or cancel it first",
            )),
            Phase::Overlapping => Err(conflict(
                "the version before the newest is still in its grace; wait for its end, or end it with `/rotation/finish`",
            )),
        }
    }

    /// Ends the overlap: every version but the newest dies.
    ///
    /// # Errors
    /// No reason, a missing scope, no such key, one that is dead or in no overlap; where the store does not answer.
    pub async fn finish_rotation(&self, attempt: &Attempt, id: KeyId, reason: &str) -> Result<KeyView> {
        let check = |key: &Key| match key.phase(self.clock.now()) {
            Phase::Overlapping => Ok(()),
            Phase::Offered => Err(conflict("the successor is not claimed yet: there is no overlap to end")),
            Phase::Stable => Err(conflict("the key has one version: there is no overlap to end")),
        };
        let (turn, mut key) = self.turn_in_rotation(attempt, id, reason, check).await?;
        let now = self.clock.now();
        let newest = key.newest().map(|newest| newest.number);
        let dying: Vec<u16> = key
            .versions
            .iter()
            .map(|version| version.number)
            .filter(|number| Some(*number) != newest)
            .collect();
        key.rotation.overlap_ends_at = key.rotation.overlap_ends_at.map(|end| end.min(now));
        self.commit_rotation(attempt, key, turn, reason, dying).await
    }

    /// Takes the offer of a successor back.
    ///
    /// # Errors
    /// No reason, a missing scope, no such key, one that is dead, no offer, one that was claimed, one of an incident; where the store
    /// does not answer.
    pub async fn cancel_rotation(&self, attempt: &Attempt, id: KeyId, reason: &str) -> Result<KeyView> {
        let check = |key: &Key| match (key.phase(self.clock.now()), &key.rotation.offer) {
            (Phase::Offered, Some(offer)) if offer.mode == Mode::Incident => Err(conflict(
                "every version before it is dead: the successor of an incident cannot be taken back; revoke the key if nobody is to have it",
            )),
            (Phase::Offered, _) => Ok(()),
            (Phase::Overlapping, _) => Err(conflict(
                "the successor was claimed already: finish the rotation with `/rotation/finish`",
            )),
            (Phase::Stable, _) => Err(conflict("no successor is offered")),
        };
        let (turn, mut key) = self.turn_in_rotation(attempt, id, reason, check).await?;
        (key.rotation.offer, key.claim) = (None, None);
        self.commit_rotation(attempt, key, turn, reason, Vec::new()).await
    }

    async fn turn_in_rotation(
        &self,
        attempt: &Attempt,
        id: KeyId,
        reason: &str,
        check: impl Fn(&Key) -> Result<()>,
    ) -> Result<(Turn, Key)> {
        let known = self.visible_key(attempt, scope::KEYS_ROTATE, id).await?;
        self.require_superset(attempt, known.application, &known.scopes, &known.roles).await?;
        check_reason("reason", reason)?;
        self.require_alive(&known).await?;
        check(&known)?;
        let (turn, key) = self.ledger.turn_at::<Key>(id).await?;
        let still = match self.require_superset(attempt, key.application, &key.scopes, &key.roles).await {
            Ok(()) => check(&key),
            Err(error) => Err(error),
        };
        match still {
            Ok(()) => Ok((turn, key)),
            Err(error) => {
                attempt.unused(key, turn);
                Err(error)
            }
        }
    }

    async fn commit_rotation(
        &self,
        attempt: &Attempt,
        mut key: Key,
        turn: Turn,
        reason: &str,
        dying: Vec<u16>,
    ) -> Result<KeyView> {
        let mut draft = attempt.draft(Outcome::Done, Some(reason.to_owned()), Some(key.event));
        draft.detail = dying.iter().map(|version| format!("version {version}")).collect();
        let terms = self.terms_of(&key).await?;
        draft.detail.extend(outlook(&key, &terms, self.clock.now()));
        key.revision = turn.revision();
        let mut beside = self.beside(&key).await?;
        beside.versions_killed.extend_from_slice(&dying);
        self.commit(attempt, vec![draft], |tickets, writes| {
            key.event = tickets.event(0);
            writes.change(&key, turn);
            for version in &dying {
                writes.version_kill(key.id, *version, key.event);
            }
            Ok(self.view_of(&key, &beside, &terms))
        })
        .await
    }
}

pub(crate) fn conflict(detail: impl Into<String>) -> Error {
    Error::new(Code::StateConflict, detail)
}
