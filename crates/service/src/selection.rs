//! Which of many keys are meant, for what is done to many at once: where they are looked for, page after page behind the caller's cursor,
//! and which of them the caller may not touch; and the course of such a call up to what it does. It changes nothing.

use crate::attempt::Attempt;
use crate::list::{Cursor, INTEGRATE_ROUNDS, Order, Page};
use crate::service::{REPLAY_S, Service};
use crate::view::SkippedKey;
use keyward_crypto::SecretText;
use keyward_domain::error::FieldError;
use keyward_domain::event::{Action, Event, Outcome};
use keyward_domain::key::{Environment, Key};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::standing::Standing;
use keyward_domain::{ApplicationId, Error, KeyId, Result, Timestamp, tag};
use keyward_ledger::KvWrite;
use keyward_records::projection::lists;
use keyward_records::{Flag, KvCount, KvRead, names};
use serde::Serialize;

/// The most keys that one call looks at where none of them is meant.
const EXAMINED_MAX: usize = 1024;
/// Keys looked at at the same time.
const READS_AT_ONCE: usize = 32;

/// Which keys are meant: those of which all holds that is given.
#[derive(Default)]
pub(crate) struct Selection {
    /// Issued with this key of `keyward`.
    pub(crate) actor: Option<KeyId>,
    /// With this tag, in its one spelling.
    pub(crate) tag: Option<String>,
    pub(crate) application: Option<ApplicationId>,
    pub(crate) environment: Option<Environment>,
    /// Standing so, now.
    pub(crate) standing: Option<Standing>,
    pub(crate) issued_since: Option<Timestamp>,
    pub(crate) issued_until: Option<Timestamp>,
    /// Whose newest version was claimed before this time.
    pub(crate) claimed_until: Option<Timestamp>,
}

/// What is asked for many keys at once.
pub(crate) trait Asked: Serialize {
    /// By which an Idempotency-Key is kept apart from those of other routes.
    const ROUTE: &'static str;
    /// What the caller needs for each of them.
    const SCOPE: &'static str;
    /// The most keys that one call does it to.
    const KEYS_MAX: usize;
    /// Whether it makes something that could be claimed.
    const ISSUES: bool;

    /// Which are meant, and whether the rest of it can be done.
    fn check(&self) -> Result<Selection>;

    /// Whose alone.
    fn application(&self) -> Option<ApplicationId>;

    /// Whether keys or versions of them die.
    fn kills(&self) -> bool;

    /// Whether it only looks.
    fn is_dry(&self) -> bool;

    /// Where the call before ended.
    fn cursor(&self) -> Option<&str>;
}

/// How far a call came before it does anything.
pub(crate) enum Course {
    /// It was made before: what it came to then.
    Replayed(SecretText),
    /// It only looks, or there is nothing to do.
    Looked(Selected),
    /// It is to be done to these.
    Begun(Selected),
}

/// A tag as a caller wrote it in its one spelling; what is wrong with it goes to the other mistakes.
pub(crate) fn tag_of(text: Option<&str>, errors: &mut Vec<FieldError>) -> Option<String> {
    text.and_then(|text| tag::parse("tag", text).map_err(|error| errors.push(error)).ok())
}

/// Where keys are looked for: a list that has all that are meant.
enum Source {
    /// A list of keys.
    Keys(String),
    /// What an admin key did, by its issues.
    Deeds(KeyId),
    /// The registers, by standing: those of one application, or of all.
    Registers(Option<[ApplicationId; 1]>, Standing),
}

impl Selection {
    /// A list that has every key that is meant, and few others.
    fn source(&self) -> Source {
        match (self.actor, &self.tag, self.standing, self.application) {
            (Some(actor), ..) => Source::Deeds(actor),
            (None, Some(tag), _, application) => Source::Keys(lists::keys_tagged(application, tag)),
            (None, None, Some(standing), application) => {
                Source::Registers(application.map(|application| [application]), standing)
            }
            (None, None, None, Some(application)) => Source::Keys(lists::keys_of(application)),
            (None, None, None, None) => Source::Keys(lists::KEYS.to_owned()),
        }
    }

    /// Whether a key is meant, as far as its record says.
    fn matches(&self, key: &Key) -> bool {
        let claimed_at = key.newest().map(|newest| newest.claimed_at);
        self.tag.as_ref().is_none_or(|tag| key.tags.contains(tag))
            && self.application.is_none_or(|id| key.application == id)
            && self.environment.is_none_or(|environment| key.environment == environment)
            && self.issued_since.is_none_or(|since| key.created_at >= since)
            && self.issued_until.is_none_or(|until| key.created_at < until)
            && self.claimed_until.is_none_or(|until| claimed_at.is_some_and(|at| at < until))
    }
}

/// What became of one candidate.
enum Fate {
    /// It is not meant.
    Spared,
    /// It is dead already.
    Dead,
    /// It is meant.
    Meant(Box<Key>),
    /// It is meant, and something speaks against it.
    Skipped(SkippedKey),
}

/// What one call found.
#[derive(Default)]
pub(crate) struct Selected {
    /// Keys that are meant, and against which nothing speaks.
    pub(crate) meant: Vec<Key>,
    pub(crate) skipped: Vec<SkippedKey>,
    pub(crate) already_dead: usize,
    pub(crate) examined: usize,
    pub(crate) next_cursor: Option<String>,
}

impl Selected {
    fn take(&mut self, fate: Fate) {
        self.examined += 1;
        match fate {
            Fate::Spared => {}
            Fate::Dead => self.already_dead += 1,
            // A list may lead to a key twice.
            Fate::Meant(key) if self.meant.iter().any(|other| other.id == key.id) => {}
            Fate::Meant(key) => self.meant.push(*key),
            Fate::Skipped(key) => self.skipped.push(key),
        }
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// The course of a call for many keys up to what it does: whether the caller may, whether it was made before, which keys are meant.
    /// `check` says what speaks against one; where some are to die, the last root is spared.
    pub(crate) async fn course<A: Asked>(
        &self,
        attempt: &Attempt,
        asked: &A,
        check: impl AsyncFn(&Key) -> Result<()>,
    ) -> Result<Course> {
        self.require_for_many(attempt, A::SCOPE, asked.application()).await?;
        let selection = asked.check()?;
        if let Some(application) = asked.application() {
            self.read().application(application).await?.ok_or_else(|| Error::not_found("application"))?;
        }
        // Looked for before the keys are: those to which it was done under this Idempotency-Key stand otherwise by now.
        if !asked.is_dry()
            && let Some(text) = self.replayed(attempt, A::ROUTE, asked, REPLAY_S).await?
        {
            return Ok(Course::Replayed(text));
        }
        if A::ISSUES {
            self.require_issuing(attempt).await?;
        }
        let mut found = self.select(&selection, asked.cursor(), A::KEYS_MAX, check).await?;
        if asked.kills() {
            self.spare_a_root_of(&mut found).await?;
        }
        if asked.is_dry() || found.meant.is_empty() {
            return Ok(Course::Looked(found));
        }
        Ok(match self.begin(attempt, A::ROUTE, asked, REPLAY_S).await? {
            Some(text) => Course::Replayed(text),
            None => Course::Begun(found),
        })
    }

    /// Passes where the caller holds `pattern` for all that a selection may lead to.
    async fn require_for_many(
        &self,
        attempt: &Attempt,
        pattern: &'static str,
        application: Option<ApplicationId>,
    ) -> Result<()> {
        match application {
            Some(application) => {
                attempt.aim(Some(application), None);
                self.require_at(attempt, pattern, application, "application").await
            }
            None => attempt.caller.require(pattern).map_err(|mut error| {
                error.detail.push_str("; name one of your applications in `application`");
                error
            }),
        }
    }

    /// Looks through candidates, newest first, a page of `limit` after the other, up to one on which some are meant; `check` says what
    /// speaks against a key that is.
    async fn select(
        &self,
        selection: &Selection,
        cursor: Option<&str>,
        limit: usize,
        check: impl AsyncFn(&Key) -> Result<()>,
    ) -> Result<Selected> {
        let source = selection.source();
        let mut page = Page::as_it_is(limit);
        match (cursor, &source) {
            (Some(cursor), _) => {
                let unfit = |_| {
                    Error::field("cursor", "is not valid", "the `next_cursor` of the call before this one")
                };
                page = page.next(cursor).map_err(unfit)?;
            }
            // Registers have no tail beside them: what was just done is to be in them, as far as that can be.
            (None, Source::Registers(..)) => drop(self.ledger.integrate(INTEGRATE_ROUNDS).await),
            (None, Source::Keys(_) | Source::Deeds(_)) => {}
        }
        let mut found = Selected::default();
        loop {
            let (ids, next_cursor) = self.candidates(&source, selection, &page).await?;
            for some in ids.chunks(READS_AT_ONCE) {
                let fates = some.iter().map(|id| self.fate(selection, *id, &check));
                for fate in futures::future::join_all(fates).await {
                    found.take(fate?);
                }
            }
            found.next_cursor = next_cursor;
            match &found.next_cursor {
                // A page without any is one that examined all that a page may.
                Some(cursor)
                    if found.meant.is_empty() && !ids.is_empty() && found.examined < EXAMINED_MAX =>
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
        selection: &Selection,
        page: &Page,
    ) -> Result<(Vec<KeyId>, Option<String>)> {
        match source {
            Source::Keys(list) => self.things(list, page).await,
            Source::Registers(of, standing) => {
                let of = of.as_ref().map(<[_; 1]>::as_slice);
                let (ids, next) = self.keys_by_standing(of, Some(*standing), Order::Newest, page).await?;
                Ok((ids, next.map(Cursor::to_text)))
            }
            Source::Deeds(actor) => {
                let of = selection.application;
                let issued = |event: &Event| {
                    matches!(event.action, Action::KeyIssued | Action::KeyImported)
                        && event.outcome == Outcome::Done
                        && of.is_none_or(|application| event.target.application == Some(application))
                };
                let list = lists::events_by(*actor);
                let (events, next_cursor) = self.events(Some(&list), page, issued).await?;
                Ok((events.into_iter().filter_map(|event| event.target.key).collect(), next_cursor))
            }
        }
    }

    async fn fate(
        &self,
        selection: &Selection,
        id: KeyId,
        check: impl AsyncFn(&Key) -> Result<()>,
    ) -> Result<Fate> {
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
        let is_dead = !matches!(Flag::of(flag?.as_deref()), Flag::Live) || killed?;
        if let Some(standing) = selection.standing {
            let terms = self.terms_of(&key).await?;
            if Standing::of(&key, &terms, is_dead, self.clock.now()) != standing {
                return Ok(Fate::Spared);
            }
        }
        if is_dead {
            return Ok(Fate::Dead);
        }
        match check(&key).await {
            Ok(()) => Ok(Fate::Meant(Box::new(key))),
            Err(error) => SkippedKey::because(id, error).map(Fate::Skipped),
        }
    }

    /// Spares the last root, where those that were found are to die: each must leave one beside it and those before it.
    async fn spare_a_root_of(&self, found: &mut Selected) -> Result<()> {
        let mut dying: Vec<Key> = Vec::new();
        for key in std::mem::take(&mut found.meant) {
            match self.keep_a_root_without(&key, &dying).await {
                Ok(()) => dying.push(key),
                Err(error) => found.skipped.push(SkippedKey::because(key.id, error)?),
            }
        }
        found.meant = dying;
        Ok(())
    }
}

impl SkippedKey {
    /// A key and what speaks against what is to be done to it; an error of the store speaks against no key.
    pub(crate) fn because(id: KeyId, error: Error) -> Result<Self> {
        Ok(Self::told(id, error.of_one()?))
    }

    /// The same, whatever kept it from being done.
    pub(crate) fn told(id: KeyId, error: Error) -> Self {
        let Error { code, detail, missing_scope, .. } = error;
        Self { id, code: code.as_str(), detail, missing_scope }
    }
}
