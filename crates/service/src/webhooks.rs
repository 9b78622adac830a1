//! Webhooks: create, look, list, change, rotate their secrets, retire. What is sent to them is in `delivery.rs`.

use crate::answer::{Answer, Body};
use crate::attempt::{Attempt, keep_outcome};
use crate::edit::{Editable, check_revision, given, require_living};
use crate::list::{List, Page};
use crate::service::{REPLAY_S, Service};
use keyward_crypto::{SecretText, webhook as signing};
use keyward_domain::announcement::Filter;
use keyward_domain::application::NameHolder;
use keyward_domain::delivery::{Circuit, Failure, Queue};
use keyward_domain::error::FieldError;
use keyward_domain::event::{EventId, Outcome};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::scope::{Reach, Scope};
use keyward_domain::text::{Description, check_description, check_reason};
use keyward_domain::webhook::{
    OLD_SECRET_S, OldSecret, SECRET_PREFIX, Targets, Url, WEBHOOKS_MAX, Webhook, check_url,
};
use keyward_domain::{ApplicationId, Code, Error, Result, Timestamp, WebhookId};
use keyward_ledger::KvWrite;
use keyward_records::projection::lists;
use keyward_records::{KvCount, KvRead};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Webhooks read at the same time.
const READS_AT_ONCE: usize = 32;

/// What a webhook is made of.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Whose events it tells. With the built-in application `keyward` it tells of all applications, and of what belongs to none.
    pub application: ApplicationId,
    /// Where it leads.
    #[schema(value_type = Url)]
    pub url: String,
    /// What it is for, in words.
    #[serde(default)]
    #[schema(value_type = Description)]
    pub description: String,
    /// Which types it tells of.
    #[schema(value_type = Filter)]
    pub events: Vec<String>,
}

/// What changes; what is absent stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
pub struct WebhookChange {
    /// Where it leads.
    #[serde(default)]
    #[schema(value_type = Option<Url>)]
    pub url: Option<String>,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = Option<Description>)]
    pub description: Option<String>,
    /// Which types it tells of, all of them.
    #[serde(default)]
    #[schema(value_type = Option<Filter>)]
    pub events: Option<Vec<String>>,
    /// Whether nothing is sent for now. What happens meanwhile is not told later.
    #[serde(default)]
    pub disabled: Option<bool>,
}

impl NewWebhook {
    fn check(&self, targets: Targets) -> Result<Filter> {
        let mut errors: Vec<FieldError> = Vec::new();
        errors.extend(check_url("url", &self.url, targets).err());
        errors.extend(check_description("description", &self.description).err());
        match Filter::parse("events", &self.events) {
            Ok(filter) if errors.is_empty() => return Ok(filter),
            Ok(_) => {}
            Err(found) => errors.extend(found),
        }
        Err(errors.into())
    }
}

impl WebhookChange {
    fn names(&self) -> Vec<String> {
        given([
            ("url", self.url.is_some()),
            ("description", self.description.is_some()),
            ("events", self.events.is_some()),
            ("disabled", self.disabled.is_some()),
        ])
    }

    /// The webhook as it is after the change, but for revision and event, and for what follows from its switch.
    fn apply(&self, webhook: &Webhook, targets: Targets) -> Result<Webhook> {
        let mut errors: Vec<FieldError> = Vec::new();
        let mut changed = webhook.clone();
        if self.names().is_empty() {
            errors.push(FieldError::new(
                "",
                "changes nothing",
                "at least one of `url`, `description`, `events`, `disabled`",
            ));
        }
        if let Some(url) = &self.url {
            errors.extend(check_url("url", url, targets).err());
            changed.url.clone_from(url);
        }
        if let Some(description) = &self.description {
            errors.extend(check_description("description", description).err());
            changed.description.clone_from(description);
        }
        if let Some(events) = &self.events {
            match Filter::parse("events", events) {
                Ok(filter) => changed.events = filter,
                Err(found) => errors.extend(found),
            }
        }
        changed.disabled = self.disabled.unwrap_or(changed.disabled);
        if errors.is_empty() { Ok(changed) } else { Err(errors.into()) }
    }
}

/// How a webhook stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = WebhookState)]
pub enum WebhookState {
    /// It is told.
    Active,
    /// It was switched off: what it would be told is lost to it.
    Disabled,
    /// It was given up, for good.
    Retired,
}

/// A webhook. Its secret is shown once, when it is made.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookView {
    /// Its id.
    pub id: WebhookId,
    /// The application that it belongs to.
    pub application: ApplicationId,
    /// Where it leads.
    pub url: String,
    /// What it is for.
    pub description: String,
    /// What it listens for.
    pub events: Filter,
    /// Whether it is told anything.
    pub state: WebhookState,
    /// When it came to be.
    pub created_at: Timestamp,
    /// Since when it is given up; null while it is not.
    #[schema(required = true)]
    pub retired_at: Option<Timestamp>,
    /// Until when the secret that was replaced signs as well.
    #[schema(required = true)]
    pub old_secret_until: Option<Timestamp>,
    /// How delivery to it goes.
    pub delivery: QueueView,
    /// Also its ETag.
    pub revision: u64,
    /// The event that wrote it.
    pub event: EventId,
}

/// How delivery to a webhook goes.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub struct QueueView {
    /// Whether attempts are let through: all (`closed`), none (`open`), or one to see whether it is delivered (`half-open`).
    pub circuit: Circuit,
    /// Attempts that failed in a row.
    pub failures: u32,
    /// Announcements that are to be delivered.
    pub pending: usize,
    /// When the next attempt is due.
    #[schema(required = true)]
    pub next_attempt_at: Option<Timestamp>,
    /// Announcements delivered.
    pub delivered: u64,
    /// When something was delivered last.
    #[schema(required = true)]
    pub last_success_at: Option<Timestamp>,
    /// The last attempt that failed.
    #[schema(required = true)]
    pub last_failure: Option<FailureView>,
    /// Announcements that could not be delivered.
    pub dead_letters: usize,
    /// Of these, what is too long ago to be kept: the log still has the events.
    pub forgotten: u64,
}

/// An attempt that failed.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookFailure)]
pub struct FailureView {
    /// When.
    pub at: Timestamp,
    /// `status`, `timeout`, `connection`, `name-unknown`, `tls`, `private-target` or `protocol`.
    pub fault: &'static str,
    /// The answer's status, where there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub status: Option<u16>,
}

impl From<&Failure> for FailureView {
    fn from(failure: &Failure) -> Self {
        Self { at: failure.at, fault: failure.fault.as_str(), status: failure.fault.status() }
    }
}

impl WebhookView {
    pub(crate) fn of(webhook: &Webhook, queue: &Queue, now: Timestamp) -> Self {
        Self {
            id: webhook.id,
            application: webhook.application,
            url: webhook.url.clone(),
            description: webhook.description.clone(),
            events: webhook.events.clone(),
            state: match webhook.retired_at {
                Some(_) => WebhookState::Retired,
                None if webhook.disabled => WebhookState::Disabled,
                None => WebhookState::Active,
            },
            created_at: webhook.created_at,
            retired_at: webhook.retired_at,
            old_secret_until: webhook.old_secret.as_ref().map(|old| old.until).filter(|until| now < *until),
            delivery: QueueView {
                circuit: queue.health.circuit(now),
                failures: queue.health.failures,
                pending: queue.pending.len(),
                next_attempt_at: queue.next_due(),
                delivered: queue.health.delivered,
                last_success_at: queue.health.success_at,
                last_failure: queue.health.failure.as_ref().map(FailureView::from),
                dead_letters: queue.dead.len(),
                forgotten: queue.forgotten,
            },
            revision: webhook.revision,
            event: webhook.event,
        }
    }
}

/// A webhook with a secret that was just made.
pub struct WebhookWithSecret {
    webhook: WebhookView,
    secret: SecretText,
}

/// A [`WebhookWithSecret`] on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookWithSecret)]
pub struct WebhookWithSecretBody<'a> {
    webhook: &'a WebhookView,
    /// What deliveries are signed with, as libraries of Standard Webhooks take it. Shown here and never again.
    #[schema(pattern = "^whsec_[A-Za-z0-9+/]{43}=$")]
    secret: &'a str,
}

impl WebhookWithSecret {
    fn of(webhook: &Webhook, queue: &Queue, now: Timestamp) -> Self {
        Self {
            webhook: WebhookView::of(webhook, queue, now),
            secret: signing::secret_text(SECRET_PREFIX, &webhook.secret),
        }
    }
}

impl Body for WebhookWithSecret {
    fn to_json(&self) -> SecretText {
        WebhookWithSecretBody { webhook: &self.webhook, secret: self.secret.expose() }.to_json()
    }
}

impl Editable for Webhook {
    fn retired_at(&self) -> Option<Timestamp> {
        self.retired_at
    }

    fn unique_name(&self) -> Option<(NameHolder, &str)> {
        None
    }

    fn follow(&mut self, before: &Self, event: EventId) {
        written_by(self, before.is_open(), event);
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Creates a webhook. Its secret is in the answer, and in no other.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, no such application, one with as many webhooks as it may have; where the store does not answer.
    pub async fn create_webhook(
        &self,
        attempt: &Attempt,
        new: NewWebhook,
        targets: Targets,
    ) -> Result<Answer<WebhookWithSecret>> {
        let application = new.application;
        attempt.aim(Some(application), None);
        if application == ApplicationId::KEYWARD {
            // Told of all applications: that takes more than a scope that is narrowed to the built-in one.
            attempt.caller.require(scope::WEBHOOKS_WRITE)?;
        } else {
            self.require_at(attempt, scope::WEBHOOKS_WRITE, application, "application").await?;
        }
        let events = new.check(targets)?;
        if let Some(text) = self.begin(attempt, "webhooks.create", &new, REPLAY_S).await? {
            return Ok(Answer::Replayed(text));
        }
        if self.read().application(application).await?.is_none() {
            return Err(Error::not_found("application"));
        }
        let living = self.webhooks_of(application).await?.iter().filter(|w| w.retired_at.is_none()).count();
        if living >= WEBHOOKS_MAX {
            return Err(Error::new(
                Code::StateConflict,
                format!("the application has {living} webhooks, as many as it may have; retire one first"),
            ));
        }
        let id = WebhookId::from_bytes(self.rng.bytes());
        // Only now: the event of a refusal names no webhook that never was.
        attempt.aim_at_webhook(application, id);
        let now = self.clock.now();
        let birth = EventId { epoch: 0, seq: 0 };
        let mut webhook = Webhook {
            id,
            application,
            url: new.url,
            description: new.description,
            events,
            secret: self.rng.bytes(),
            old_secret: None,
            disabled: false,
            created_at: now,
            retired_at: None,
            since: birth,
            until: None,
            revision: 1,
            event: birth,
        };
        let reservation = attempt.take_reservation();
        let draft = attempt.draft(Outcome::Done, None, None);
        let made = self
            .commit(attempt, vec![draft], |tickets, writes| {
                (webhook.since, webhook.event) = (tickets.event(0), tickets.event(0));
                writes.new_webhook(&webhook);
                let made = WebhookWithSecret::of(&webhook, &Queue::new(id), now);
                keep_outcome(reservation, &made, now, writes);
                Ok(made)
            })
            .await?;
        Ok(Answer::Fresh(made))
    }

    /// One webhook.
    ///
    /// # Errors
    /// A missing scope, no such webhook; where the store does not answer.
    pub async fn webhook(&self, attempt: &Attempt, id: WebhookId) -> Result<WebhookView> {
        let webhook = self.visible_webhook(attempt, scope::WEBHOOKS_READ, id).await?;
        self.webhook_view(&webhook).await
    }

    async fn webhook_view(&self, webhook: &Webhook) -> Result<WebhookView> {
        let queue = self.read().delivery_queue(webhook.id).await?;
        Ok(WebhookView::of(webhook, &queue, self.clock.now()))
    }

    /// A webhook that the caller may see by this scope.
    pub(crate) async fn visible_webhook(
        &self,
        attempt: &Attempt,
        pattern: &'static str,
        id: WebhookId,
    ) -> Result<Webhook> {
        attempt.caller.require_somewhere(pattern)?;
        let webhook = self.read().webhook(id).await?.ok_or_else(|| Error::not_found("webhook"))?;
        attempt.aim_at_webhook(webhook.application, id);
        match reaches(&attempt.caller.reach(pattern), webhook.application) {
            true => Ok(webhook),
            false => Err(Error::hidden("webhook", missing(pattern, webhook.application))),
        }
    }

    /// The webhooks, newest first, retired ones included: those of one application, or all.
    ///
    /// # Errors
    /// A missing scope, a bad cursor; where the store does not answer.
    pub async fn webhooks(
        &self,
        attempt: &Attempt,
        application: Option<ApplicationId>,
        page: &Page,
    ) -> Result<List<WebhookView>> {
        let list = match application {
            None | Some(ApplicationId::KEYWARD) => {
                attempt.caller.require(scope::WEBHOOKS_READ)?;
                application.map_or_else(|| lists::WEBHOOKS.to_owned(), lists::webhooks_of)
            }
            Some(application) => {
                self.require_at(attempt, scope::WEBHOOKS_READ, application, "application").await?;
                lists::webhooks_of(application)
            }
        };
        let (ids, next_cursor) = self.things::<WebhookId>(&list, page).await?;
        let reader = self.read();
        let found = futures::future::join_all(ids.into_iter().map(|id| reader.webhook(id))).await;
        let found = found.into_iter().filter_map(Result::transpose).collect::<Result<Vec<Webhook>>>()?;
        let views = futures::future::join_all(found.iter().map(|webhook| self.webhook_view(webhook))).await;
        Ok(List { items: views.into_iter().collect::<Result<_>>()?, next_cursor })
    }

    /// All webhooks of one application, newest first, retired ones included.
    pub(crate) async fn webhooks_of(&self, application: ApplicationId) -> Result<Vec<Webhook>> {
        let (list, mut page) = (lists::webhooks_of(application), Page::LONGEST);
        let mut webhooks = Vec::new();
        loop {
            let (ids, next) = self.things::<WebhookId>(&list, &page).await?;
            for ids in ids.chunks(READS_AT_ONCE) {
                let reader = self.read();
                let found = futures::future::join_all(ids.iter().map(|id| reader.webhook(*id))).await;
                for webhook in found {
                    webhooks.extend(webhook?);
                }
            }
            match next {
                Some(cursor) => page = page.next(&cursor)?,
                None => return Ok(webhooks),
            }
        }
    }

    /// Changes a webhook; `if_match` is the revision that the caller saw.
    ///
    /// # Errors
    /// Invalid fields, a missing scope, no such webhook, a retired one, another revision; where the store does not answer.
    pub async fn change_webhook(
        &self,
        attempt: &Attempt,
        id: WebhookId,
        change: WebhookChange,
        if_match: Option<u64>,
        targets: Targets,
    ) -> Result<WebhookView> {
        let known = self.visible_webhook(attempt, scope::WEBHOOKS_WRITE, id).await?;
        let decide = async |webhook: &Webhook| {
            let changed = change.apply(webhook, targets)?;
            check_revision(if_match, webhook.revision)?;
            require_living(webhook)?;
            Ok(changed)
        };
        let edit = self.edit(attempt, &known, decide).await?;
        let queue = self.read().delivery_queue(id).await?;
        let now = self.clock.now();
        let names = change.names();
        self.commit_edit(attempt, edit, None, names, |webhook, _| WebhookView::of(webhook, &queue, now)).await
    }

    /// Gives a webhook another secret. The one before signs as well for a day, so that whoever listens can change over.
    ///
    /// # Errors
    /// A missing scope, no such webhook, a retired one; where the store does not answer.
    pub async fn rotate_webhook_secret(
        &self,
        attempt: &Attempt,
        id: WebhookId,
    ) -> Result<Answer<WebhookWithSecret>> {
        let known = self.visible_webhook(attempt, scope::WEBHOOKS_WRITE, id).await?;
        if let Some(text) = self.begin(attempt, "webhooks.rotate-secret", &id, REPLAY_S).await? {
            return Ok(Answer::Replayed(text));
        }
        let now = self.clock.now();
        let secret = self.rng.bytes();
        let decide = async |webhook: &Webhook| {
            require_living(webhook)?;
            let old_secret = Some(OldSecret { secret: webhook.secret, until: now.plus_s(OLD_SECRET_S) });
            Ok(Webhook { secret, old_secret, ..webhook.clone() })
        };
        let edit = self.edit(attempt, &known, decide).await?;
        // Somebody with the same Idempotency-Key may have been faster while the turn was waited for.
        if let Some(text) = self.begin_again(attempt).await? {
            return Ok(Answer::Replayed(text));
        }
        let queue = self.read().delivery_queue(id).await?;
        let reservation = attempt.take_reservation();
        let made = self
            .commit_edit(attempt, edit, None, Vec::new(), |webhook, writes| {
                let made = WebhookWithSecret::of(webhook, &queue, now);
                keep_outcome(reservation, &made, now, writes);
                made
            })
            .await?;
        Ok(Answer::Fresh(made))
    }

    /// Retires a webhook, for good: nothing is sent to it any more, and what was still to be told becomes dead letters. One that is
    /// retired stays as it is.
    ///
    /// # Errors
    /// No reason, a missing scope, no such webhook; where the store does not answer.
    pub async fn retire_webhook(
        &self,
        attempt: &Attempt,
        id: WebhookId,
        reason: &str,
    ) -> Result<WebhookView> {
        let known = self.visible_webhook(attempt, scope::WEBHOOKS_WRITE, id).await?;
        check_reason("reason", reason)?;
        if known.retired_at.is_some() {
            return self.webhook_view(&known).await;
        }
        let now = self.clock.now();
        let decide = async |webhook: &Webhook| {
            require_living(webhook)?;
            Ok(Webhook { retired_at: Some(now), old_secret: None, ..webhook.clone() })
        };
        let edit = self.edit(attempt, &known, decide).await?;
        let queue = self.read().delivery_queue(id).await?;
        self.commit_edit(attempt, edit, Some(reason.to_owned()), Vec::new(), |webhook, _| {
            WebhookView::of(webhook, &queue, now)
        })
        .await
    }
}

/// The event that writes a webhook, and from or to which it listens where the event opens or closes it.
pub(crate) fn written_by(webhook: &mut Webhook, was_open: bool, event: EventId) {
    webhook.event = event;
    match (was_open, webhook.is_open()) {
        (false, true) => (webhook.since, webhook.until) = (event, None),
        (true, false) => webhook.until = Some(event),
        _ => {}
    }
}

/// Whether a scope that is held there reaches the webhooks of an application. Those of the built-in one tell of all others.
pub(crate) fn reaches(reach: &Reach, application: ApplicationId) -> bool {
    match reach {
        Reach::Everywhere => true,
        Reach::Some(some) => application != ApplicationId::KEYWARD && some.contains(&application),
        Reach::Nowhere => false,
    }
}

/// The scope that would reach them.
fn missing(pattern: &'static str, application: ApplicationId) -> Scope {
    match application {
        ApplicationId::KEYWARD => Scope::fixed(pattern),
        application => Scope::fixed(pattern).at(application),
    }
}
