//! The log as people look at it: a page of events by whom, on what, when; or one event.

use crate::attempt::Attempt;
use crate::list::{List, Page};
use crate::service::Service;
use keyward_domain::error::BAD_CREDENTIALS_MAX;
use keyward_domain::event::{Action, Actor, ActorKind, Event, EventId, Outcome, Source, Target};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::Scope;
use keyward_domain::scope::administration as scope;
use keyward_domain::text::{self, check_reason};
use keyward_domain::timestamp::{Month, NotAMonth};
use keyward_domain::{ApplicationId, CredentialId, Error, KeyId, RequestId, Result, Timestamp};
use keyward_ledger::{Draft, KvWrite};
use keyward_records::projection::lists;
use keyward_records::{KvCount, KvRead, PersonalKey, PersonalKeyState, names};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// Which events; what is absent restricts nothing.
#[derive(Default)]
pub struct EventFilter {
    /// About this application or its keys.
    pub application: Option<ApplicationId>,
    /// About this key.
    pub key: Option<KeyId>,
    /// About this credential.
    pub credential: Option<CredentialId>,
    /// Caused with this key.
    pub actor: Option<KeyId>,
    /// Of this action.
    pub action: Option<Action>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

impl EventFilter {
    fn matches(&self, event: &Event) -> bool {
        self.application.is_none_or(|id| event.target.application == Some(id))
            && self.key.is_none_or(|id| event.target.key == Some(id))
            && self.credential.is_none_or(|id| event.target.credential == Some(id))
            && self.actor.is_none_or(|id| event.actor.key == Some(id))
            && self.action.is_none_or(|action| event.action == action)
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
    }

    /// The projected list that has the fewest events beside those asked for.
    fn list(&self) -> Option<String> {
        self.key
            .map(lists::events_of_key)
            .or_else(|| self.credential.map(lists::events_of_credential))
            .or_else(|| self.actor.map(lists::events_by))
            .or_else(|| self.application.map(lists::events_of_application))
            .or_else(|| self.action.map(lists::events_of_action))
    }
}

/// What is to be shredded.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShredRequest {
    /// The first month that stays: `2026-01`.
    #[schema(value_type = Month)]
    pub before: String,
    /// Why.
    #[schema(value_type = text::Reason)]
    pub reason: String,
}

/// What was shredded.
#[derive(Serialize, ToSchema)]
#[schema(as = Shredded)]
pub struct ShredView {
    /// The months whose personal data is gone.
    pub months: Vec<Month>,
    /// The event that says so.
    pub event: EventId,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Events, newest first. Whoever may see some applications' events only, must name one of them.
    ///
    /// # Errors
    /// A missing scope; where the store does not answer.
    pub async fn audit_events(
        &self,
        attempt: &Attempt,
        filter: &EventFilter,
        page: &Page,
    ) -> Result<List<Event>> {
        self.may_see(attempt, filter).await?;
        let list = filter.list();
        let (items, next_cursor) = self.events(list.as_deref(), page, |event| filter.matches(event)).await?;
        Ok(List { items, next_cursor })
    }

    /// Events after `after`, oldest first, up to the first ticket whose event is still to come, so that whoever goes on from `next_cursor`
    /// misses none.
    ///
    /// # Errors
    /// As [`Service::audit_events`].
    pub async fn audit_events_after(
        &self,
        attempt: &Attempt,
        filter: &EventFilter,
        after: EventId,
        limit: usize,
    ) -> Result<List<Event>> {
        self.may_see(attempt, filter).await?;
        let (items, last) = self.events_after(after, limit, |event| filter.matches(event)).await?;
        Ok(List { items, next_cursor: Some(last.to_string()) })
    }

    async fn may_see(&self, attempt: &Attempt, filter: &EventFilter) -> Result<()> {
        match filter.application {
            Some(application) => {
                attempt.aim(Some(application), None);
                self.require_at(attempt, scope::AUDIT_READ, application, "application").await
            }
            None => attempt.caller.require(scope::AUDIT_READ).map_err(|mut error| {
                error.detail.push_str("; name one of your applications with `?application=`");
                error
            }),
        }
    }

    /// Destroys what is personal in the events of all months before `before`: their keys are overwritten, the events stay, and read
    /// [`keyward_records::SHREDDED`].
    ///
    /// # Errors
    /// A missing scope, no reason, a month that is not over; where the store does not answer.
    pub async fn shred(&self, attempt: &Attempt, before: &str, reason: &str) -> Result<ShredView> {
        attempt.caller.require(scope::AUDIT_SHRED)?;
        check_reason("reason", reason)?;
        let before: Month =
            before.parse().map_err(|e: NotAMonth| Error::field("before", "is no month", e.to_string()))?;
        if before > Month::of(self.clock.now()) {
            return Err(Error::field(
                "before",
                "is a month to come",
                "at most the current month: only months that are over are shredded",
            ));
        }
        let keys = self.keys_before(before).await?;
        let months: BTreeSet<Month> = keys.iter().map(|key| key.month).collect();
        let mut draft = attempt.draft(Outcome::Done, Some(reason.to_owned()), None);
        draft.detail = months.iter().map(ToString::to_string).collect();
        self.commit(attempt, vec![draft], |tickets, writes| {
            let event = tickets.event(0);
            for mut key in keys {
                key.state = PersonalKeyState::Shredded(event);
                writes.personal_key(&key);
            }
            Ok(ShredView { months: months.into_iter().collect(), event })
        })
        .await
    }

    /// The keys of personal data of all months before `before` that are still kept.
    async fn keys_before(&self, before: Month) -> Result<Vec<PersonalKey>> {
        let mut keys = Vec::new();
        let mut month = self.first_month().await?;
        while month < before {
            keys.extend(self.kept_keys(month).await?);
            month = month.next();
        }
        Ok(keys)
    }

    /// The keys of one month's personal data that are still kept.
    pub(crate) async fn kept_keys(&self, month: Month) -> Result<Vec<PersonalKey>> {
        let numbers = self.kv.increment(&names::counter::personal_keys(month), 0).await?;
        let numbers = 1..=u32::try_from(numbers).map_err(|_| Error::damaged("a counter of months' keys"))?;
        let reader = self.read();
        let mut keys = Vec::new();
        for key in futures::future::join_all(numbers.map(|n| reader.personal_key(month, n))).await {
            keys.extend(key?.filter(|key| key.kept().is_some()));
        }
        Ok(keys)
    }

    /// The month of the oldest event.
    async fn first_month(&self) -> Result<Month> {
        let (first, _) = self.events_after(EventId { epoch: 1, seq: 0 }, 1, |_| true).await?;
        Ok(Month::of(first.first().map_or_else(|| self.clock.now(), |event| event.at)))
    }

    /// One event.
    ///
    /// # Errors
    /// A missing scope, no such event; where the store does not answer.
    pub async fn audit_event(&self, attempt: &Attempt, id: EventId) -> Result<Event> {
        attempt.caller.require_somewhere(scope::AUDIT_READ)?;
        let event = self.read().event(id).await?.ok_or_else(|| Error::not_found("event"))?;
        attempt.aim(event.target.application, event.target.key);
        match event.target.application {
            Some(application) => attempt.caller.require_at(scope::AUDIT_READ, application, "event")?,
            None => attempt
                .caller
                .require(scope::AUDIT_READ)
                .map_err(|_| Error::hidden("event", Scope::fixed(scope::AUDIT_READ)))?,
        }
        Ok(event)
    }

    /// How many calls of one source and minute (minutes since 1970) [`Self::record_anonymous`] has counted so far.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn recorded_anonymous(&self, source: &str, minute: i64) -> Result<i64> {
        Ok(self.kv.increment(&anonymous_counter(source, minute), 0).await?)
    }

    /// Counts `count` calls that were refused for want of a credential, of one source in one minute (minutes since 1970), and gives
    /// the number so far. Whoever counts first writes the one event of that source and minute, and whoever counts beyond
    /// [`BAD_CREDENTIALS_MAX`] the one alarm; the counter has the number.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn record_anonymous(
        &self,
        source: &str,
        minute: i64,
        count: i64,
        request: RequestId,
    ) -> Result<i64> {
        let total = self.kv.increment(&anonymous_counter(source, minute), count).await?;
        let bound = i64::from(BAD_CREDENTIALS_MAX);
        let is_first = total == count;
        let is_too_many = total > bound && total.saturating_sub(count) <= bound;
        let draft = |action, outcome| Draft {
            action,
            outcome,
            target: Target::default(),
            actor: Actor { kind: ActorKind::Anonymous, key: None, principal: None },
            source: Source { client_addr: Some(source.to_owned()), user_agent: None },
            request: Some(request),
            reason: Some("unauthenticated".to_owned()),
            detail: vec![format!("minute {minute}")],
            previous: None,
        };
        let refused = is_first.then(|| draft(Action::AnonymousRefused, Outcome::Refused));
        let locked_out = is_too_many.then(|| draft(Action::AnonymousLockedOut, Outcome::Alarm));
        let drafts: Vec<Draft> = refused.into_iter().chain(locked_out).collect();
        if drafts.is_empty() {
            return Ok(total);
        }
        self.ledger.commit(drafts, |_, _| Ok(total)).await.map(|committed| committed.value)
    }
}

fn anonymous_counter(source: &str, minute: i64) -> String {
    let digest = keyward_crypto::digest::framed("keyward/anonymous", &[source.as_bytes()]);
    names::counter::anonymous(minute, &digest)
}
