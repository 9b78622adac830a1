//! Many keys revoked at once: those that one admin key issued, those with a tag, those issued in a span of time. One call ends up to
//! [`KILLS_MAX`] of them in one commit, with an event for each; its cursor leads on, and moves after the work. They wait for nobody's turn.

use crate::answer::Answer;
use crate::attempt::{Attempt, keep_outcome};
use crate::selection::{Asked, Course, Selected, Selection, tag_of};
use crate::service::Service;
use crate::view::{BulkRevocationView, RevokedKey};
use keyward_domain::error::FieldError;
use keyward_domain::event::{EventId, Outcome, Target};
use keyward_domain::key::{Environment, Key};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::standing::stands_revoked;
use keyward_domain::tag::Tag;
use keyward_domain::text::{self, check_reason};
use keyward_domain::{ApplicationId, Code, Error, KeyId, Result, Timestamp};
use keyward_ledger::KvWrite;
use keyward_records::{KvCount, KvRead, Tombstone};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most keys that one call revokes: a batch of twice as many records, far below what a commit has time for.
const KILLS_MAX: usize = 128;

/// Which keys, and why. All that is given must hold of a key.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BulkRevocationAsked, min_properties = 2)]
pub struct BulkRevocation {
    /// Issued with this key of `keyward`.
    #[serde(default)]
    pub actor: Option<KeyId>,
    /// With this tag.
    #[serde(default)]
    #[schema(value_type = Option<Tag>)]
    pub tag: Option<String>,
    /// Issued at this time or later.
    #[serde(default)]
    pub issued_since: Option<Timestamp>,
    /// Issued before this time.
    #[serde(default)]
    pub issued_until: Option<Timestamp>,
    /// Of this application.
    #[serde(default)]
    pub application: Option<ApplicationId>,
    /// Of this environment.
    #[serde(default)]
    pub environment: Option<Environment>,
    /// Why.
    #[schema(value_type = text::Reason)]
    pub reason: String,
    /// Only tells which would be revoked.
    #[serde(default)]
    pub dry_run: bool,
    /// Where the call before ended.
    #[serde(default)]
    #[schema(min_length = 1)]
    pub cursor: Option<String>,
}

impl Asked for BulkRevocation {
    const ROUTE: &'static str = "revocations.bulk";
    const SCOPE: &'static str = scope::KEYS_REVOKE;
    const KEYS_MAX: usize = KILLS_MAX;
    const ISSUES: bool = false;

    fn application(&self) -> Option<ApplicationId> {
        self.application
    }

    fn kills(&self) -> bool {
        true
    }

    fn is_dry(&self) -> bool {
        self.dry_run
    }

    fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    fn check(&self) -> Result<Selection> {
        let mut errors: Vec<FieldError> = Vec::new();
        errors.extend(check_reason("reason", &self.reason).err());
        let tag = tag_of(self.tag.as_deref(), &mut errors);
        let by_time = self.issued_since.is_some() || self.issued_until.is_some();
        if self.actor.is_none() && self.tag.is_none() && !by_time {
            errors.push(FieldError::new(
                "",
                "selects no keys",
                "at least one of `actor`, `tag`, `issued_since`, `issued_until`",
            ));
        }
        if !errors.is_empty() {
            return Err(errors.into());
        }
        Ok(Selection {
            actor: self.actor,
            tag,
            application: self.application,
            environment: self.environment,
            issued_since: self.issued_since,
            issued_until: self.issued_until,
            ..Selection::default()
        })
    }
}

/// The answer for these; `event` tells by which event a key died.
fn view(found: &Selected, dry_run: bool, event: impl Fn(usize) -> Option<EventId>) -> BulkRevocationView {
    let revoked = found.meant.iter().enumerate().map(|(index, key)| RevokedKey {
        id: key.id,
        application: key.application,
        event: event(index),
    });
    BulkRevocationView {
        dry_run,
        revoked: revoked.collect(),
        already_dead: found.already_dead,
        skipped: found.skipped.clone(),
        examined: found.examined,
        next_cursor: found.next_cursor.clone(),
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Revokes the keys that are asked for, as many as one call does; the cursor of its answer leads to the others. Those that the
    /// caller may not revoke are named beside them. Never revokes the key of the call itself.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, no such application, a bad cursor; where the store does not answer.
    pub async fn revoke_many(
        &self,
        attempt: &Attempt,
        asked: &BulkRevocation,
    ) -> Result<Answer<BulkRevocationView>> {
        let check = async |key: &Key| self.may_revoke(attempt, key).await;
        match self.course(attempt, asked, check).await? {
            Course::Replayed(text) => Ok(Answer::Replayed(text)),
            Course::Looked(found) => Ok(Answer::Fresh(view(&found, asked.dry_run, |_| None))),
            Course::Begun(found) => self.kill_all(attempt, &found, &asked.reason).await.map(Answer::Fresh),
        }
    }

    async fn may_revoke(&self, attempt: &Attempt, key: &Key) -> Result<()> {
        if attempt.caller.key() == Some(key.id) {
            return Err(Error::new(
                Code::Forbidden,
                "it is the key of this very call; to end it, revoke it by its id",
            ));
        }
        self.require_superset(attempt, key.application, &key.scopes, &key.roles).await
    }

    /// One commit: a tombstone and an event of its own for each.
    async fn kill_all(
        &self,
        attempt: &Attempt,
        found: &Selected,
        reason: &str,
    ) -> Result<BulkRevocationView> {
        let drafts = found.meant.iter().map(|key| {
            let mut draft = attempt.draft(Outcome::Done, Some(reason.to_owned()), Some(key.event));
            draft.target = Target { application: Some(key.application), ..Target::key(Some(key.id)) };
            draft.detail.push(stands_revoked());
            draft
        });
        let by = attempt.caller.actor.clone();
        let at = self.clock.now();
        let reservation = attempt.take_reservation();
        self.commit(attempt, drafts.collect(), |tickets, writes| {
            for (index, key) in found.meant.iter().enumerate() {
                let (reason, event) = (reason.to_owned(), tickets.event(index));
                let tombstone = Tombstone { key: key.id, at, by: by.clone(), reason, event };
                writes.for_event(index).tombstone(&tombstone, key.imported.is_some());
            }
            let view = view(found, false, |index| Some(tickets.event(index)));
            keep_outcome(reservation, &view, at, writes.for_event(0));
            Ok(view)
        })
        .await
    }
}
