//! Many keys revoked at once: those that one admin key issued, those with a tag, those issued in a span of time. One call ends up to
//! [`KILLS_MAX`] of them in one commit, with an event for each; its cursor leads on, and moves after the work. They wait for nobody's turn.

use crate::answer::Answer;
use crate::attempt::{Attempt, idempotent_request, keep_outcome};
use crate::list::Page;
use crate::service::{REPLAY_S, Service};
use crate::view::{BulkRevocationView, RevokedKey, SkippedKey};
use keyward_domain::error::{Blame, FieldError};
use keyward_domain::event::{Action, Event, EventId, Outcome, Target};
use keyward_domain::key::{Environment, Key};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::standing::stands_revoked;
use keyward_domain::tag::Tag;
use keyward_domain::text::{self, check_reason};
use keyward_domain::{ApplicationId, Code, Error, KeyId, Result, Timestamp, tag};
use keyward_ledger::KvWrite;
use keyward_records::projection::lists;
use keyward_records::{Flag, KvCount, KvRead, Tombstone, names};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// By which an Idempotency-Key is kept apart from those of other routes.
const ROUTE: &str = "revocations.bulk";
/// The most keys that one call revokes: a batch of twice as many records, far below what a commit has time for.
const KILLS_MAX: usize = 128;
/// The most keys that one call looks at where none of them is to be revoked.
const EXAMINED_MAX: usize = 1024;
/// Keys looked at at the same time.
const READS_AT_ONCE: usize = 32;

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

/// A checked [`BulkRevocation`], but for its reason.
struct Selection<'a> {
    asked: &'a BulkRevocation,
    /// In its one spelling.
    tag: Option<String>,
}

impl BulkRevocation {
    fn check(&self) -> Result<Selection<'_>> {
        let mut errors: Vec<FieldError> = Vec::new();
        errors.extend(check_reason("reason", &self.reason).err());
        let tag = self.tag.as_deref().map(|text| tag::parse("tag", text)).transpose();
        let tag = tag.unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        let by_time = self.issued_since.is_some() || self.issued_until.is_some();
        if self.actor.is_none() && self.tag.is_none() && !by_time {
            errors.push(FieldError::new(
                "",
                "selects no keys",
                "at least one of `actor`, `tag`, `issued_since`, `issued_until`",
            ));
        }
        if errors.is_empty() { Ok(Selection { asked: self, tag }) } else { Err(errors.into()) }
    }
}

/// Where keys are looked for: a list that has all that are meant.
enum Source {
    /// A list of keys.
    Keys(String),
    /// What an admin key did, by its issues.
    Deeds(KeyId),
}

impl Selection<'_> {
    /// A list that has every key asked for, and few others.
    fn source(&self) -> Source {
        match (self.asked.actor, &self.tag, self.asked.application) {
            (Some(actor), ..) => Source::Deeds(actor),
            (None, Some(tag), application) => Source::Keys(lists::keys_tagged(application, tag)),
            (None, None, Some(application)) => Source::Keys(lists::keys_of(application)),
            (None, None, None) => Source::Keys(lists::KEYS.to_owned()),
        }
    }

    /// Whether a key is meant, as far as its record says.
    fn matches(&self, key: &Key) -> bool {
        self.tag.as_ref().is_none_or(|tag| key.tags.contains(tag))
            && self.asked.application.is_none_or(|id| key.application == id)
            && self.asked.environment.is_none_or(|environment| key.environment == environment)
            && self.asked.issued_since.is_none_or(|since| key.created_at >= since)
            && self.asked.issued_until.is_none_or(|until| key.created_at < until)
    }
}

/// What became of one candidate.
enum Fate {
    /// It is not meant.
    Spared,
    /// It is dead already.
    Dead,
    /// It is to be revoked.
    Doomed(Box<Key>),
    /// It is meant, and this caller may not revoke it.
    Skipped(SkippedKey),
}

/// What one call found.
#[derive(Default)]
struct Found {
    doomed: Vec<Key>,
    skipped: Vec<SkippedKey>,
    already_dead: usize,
    examined: usize,
    next_cursor: Option<String>,
}

impl Found {
    fn take(&mut self, fate: Fate) {
        self.examined += 1;
        match fate {
            Fate::Spared => {}
            Fate::Dead => self.already_dead += 1,
            // A list may lead to a key twice.
            Fate::Doomed(key) if self.doomed.iter().any(|other| other.id == key.id) => {}
            Fate::Doomed(key) => self.doomed.push(*key),
            Fate::Skipped(key) => self.skipped.push(key),
        }
    }

    /// The answer; `event` tells by which event a key died.
    fn view(&self, dry_run: bool, event: impl Fn(usize) -> Option<EventId>) -> BulkRevocationView {
        let revoked = self.doomed.iter().enumerate().map(|(index, key)| RevokedKey {
            id: key.id,
            application: key.application,
            event: event(index),
        });
        BulkRevocationView {
            dry_run,
            revoked: revoked.collect(),
            already_dead: self.already_dead,
            skipped: self.skipped.clone(),
            examined: self.examined,
            next_cursor: self.next_cursor.clone(),
        }
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
        match asked.application {
            Some(application) => {
                attempt.aim(Some(application), None);
                self.require_at(attempt, scope::KEYS_REVOKE, application, "application").await?;
            }
            None => attempt.caller.require(scope::KEYS_REVOKE).map_err(|mut error| {
                error.detail.push_str("; name one of your applications in `application`");
                error
            })?,
        }
        let selection = asked.check()?;
        if let Some(application) = asked.application {
            self.read().application(application).await?.ok_or_else(|| Error::not_found("application"))?;
        }
        // Looked for before the keys are: what was revoked under this Idempotency-Key is found dead.
        if !asked.dry_run
            && let Some(request) = idempotent_request(&attempt.caller, ROUTE, asked, REPLAY_S)
            && let Some(replay) = self.ledger.peek(&request).await?
        {
            return Ok(Answer::Replayed(attempt.replay(replay)));
        }
        let mut found = self.find_doomed(attempt, &selection).await?;
        self.keep_a_root_of(&mut found).await?;
        if asked.dry_run || found.doomed.is_empty() {
            return Ok(Answer::Fresh(found.view(asked.dry_run, |_| None)));
        }
        if let Some(text) = self.begin(attempt, ROUTE, asked, REPLAY_S).await? {
            return Ok(Answer::Replayed(text));
        }
        self.kill_all(attempt, &found, &asked.reason).await.map(Answer::Fresh)
    }

    /// Looks through candidates, newest first, up to a page on which some are to be revoked.
    async fn find_doomed(&self, attempt: &Attempt, selection: &Selection<'_>) -> Result<Found> {
        let source = selection.source();
        let mut page = Page::as_it_is(KILLS_MAX);
        if let Some(cursor) = &selection.asked.cursor {
            let unfit =
                |_| Error::field("cursor", "is not valid", "the `next_cursor` of the call before this one");
            page = page.next(cursor).map_err(unfit)?;
        }
        let mut found = Found::default();
        loop {
            let (ids, next_cursor) = self.candidates(&source, selection, &page).await?;
            for some in ids.chunks(READS_AT_ONCE) {
                let fates = some.iter().map(|id| self.fate(attempt, selection, *id));
                for fate in futures::future::join_all(fates).await {
                    found.take(fate?);
                }
            }
            found.next_cursor = next_cursor;
            match &found.next_cursor {
                // A page without any is one that examined all that a page may.
                Some(cursor)
                    if found.doomed.is_empty() && !ids.is_empty() && found.examined < EXAMINED_MAX =>
                {
                    page = page.next(cursor)?;
                }
                _ => return Ok(found),
            }
        }
    }

    async fn candidates(
        &self,
        source: &Source,
        selection: &Selection<'_>,
        page: &Page,
    ) -> Result<(Vec<KeyId>, Option<String>)> {
        match source {
            Source::Keys(list) => self.things(list, page).await,
            Source::Deeds(actor) => {
                let of = selection.asked.application;
                let issued = |event: &Event| {
                    event.action == Action::KeyIssued
                        && event.outcome == Outcome::Done
                        && of.is_none_or(|application| event.target.application == Some(application))
                };
                let list = lists::events_by(*actor);
                let (events, next_cursor) = self.events(Some(&list), page, issued).await?;
                Ok((events.into_iter().filter_map(|event| event.target.key).collect(), next_cursor))
            }
        }
    }

    async fn fate(&self, attempt: &Attempt, selection: &Selection<'_>, id: KeyId) -> Result<Fate> {
        let key = match self.read().key(id).await {
            Ok(Some(key)) if selection.matches(&key) => key,
            Ok(_) => return Ok(Fate::Spared),
            // Where it does not open it lets nobody pass; whether it is meant cannot be told, so whoever calls is.
            Err(error) => return SkippedKey::because(id, error).map(Fate::Skipped),
        };
        let (flag_key, reader) = (names::flag(id), self.read());
        let (flag, killed) =
            futures::join!(self.kv.get(&flag_key), reader.generation_killed(key.application, key.generation));
        // A tombstone that does not open is a tombstone.
        if !matches!(Flag::of(flag?.as_deref()), Flag::Live) || killed? {
            return Ok(Fate::Dead);
        }
        match self.may_revoke(attempt, &key).await {
            Ok(()) => Ok(Fate::Doomed(Box::new(key))),
            Err(error) => SkippedKey::because(id, error).map(Fate::Skipped),
        }
    }

    /// Spares the last root, as every revocation does: of those to be revoked, each must leave one beside it and those before it.
    async fn keep_a_root_of(&self, found: &mut Found) -> Result<()> {
        let mut doomed: Vec<Key> = Vec::new();
        for key in std::mem::take(&mut found.doomed) {
            match self.keep_a_root_without(&key, &doomed).await {
                Ok(()) => doomed.push(key),
                Err(error) => found.skipped.push(SkippedKey::because(key.id, error)?),
            }
        }
        found.doomed = doomed;
        Ok(())
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
    async fn kill_all(&self, attempt: &Attempt, found: &Found, reason: &str) -> Result<BulkRevocationView> {
        let drafts = found.doomed.iter().map(|key| {
            let mut draft = attempt.draft(Outcome::Done, Some(reason.to_owned()), Some(key.event));
            draft.target = Target { application: Some(key.application), ..Target::key(Some(key.id)) };
            draft.detail.push(stands_revoked());
            draft
        });
        let by = attempt.caller.actor.clone();
        let at = self.clock.now();
        let reservation = attempt.take_reservation();
        self.commit(attempt, drafts.collect(), |tickets, writes| {
            for (index, key) in found.doomed.iter().enumerate() {
                let (reason, event) = (reason.to_owned(), tickets.event(index));
                let tombstone = Tombstone { key: key.id, at, by: by.clone(), reason, event };
                writes.for_event(index).tombstone(&tombstone);
            }
            let view = found.view(false, |index| Some(tickets.event(index)));
            keep_outcome(reservation, &view, at, writes.for_event(0));
            Ok(view)
        })
        .await
    }
}

impl SkippedKey {
    /// A key and what speaks against its revocation; an error of the store speaks against no key.
    fn because(id: KeyId, error: Error) -> Result<Self> {
        match error.code.blame() {
            Blame::Caller | Blame::Conflict | Blame::Integrity => Ok(Self {
                id,
                code: error.code.as_str(),
                detail: error.detail,
                missing_scope: error.missing_scope,
            }),
            Blame::Store | Blame::Bug => Err(error),
        }
    }
}
