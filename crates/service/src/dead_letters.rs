//! Dead letters: what could not be delivered to webhooks, listed by what hangs on it, tried anew, or given up.

use crate::attempt::Attempt;
use crate::delivery::require_open;
use crate::list::{List, Page};
use crate::service::Service;
use crate::webhooks::reaches;
use keyward_domain::announcement::{MessageId, Type};
use keyward_domain::application::Importance;
use keyward_domain::delivery::{DeadLetter, DeathCause, Queue, impact};
use keyward_domain::event::{EventId, Outcome};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::text::{Reason, check_reason};
use keyward_domain::webhook::Webhook;
use keyward_domain::{ApplicationId, Error, KeyId, Result, Timestamp, WebhookId};
use keyward_ledger::KvWrite;
use keyward_records::{KvCount, KvRead};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use utoipa::ToSchema;

/// Webhooks whose dead letters one list looks at.
const QUEUES_MAX: usize = 128;
/// Records read at the same time.
const READS_AT_ONCE: usize = 32;
/// Messages that the event of a drop names; it always says how many there were.
const NAMED_MAX: usize = 64;

/// Which dead letters.
#[derive(Default)]
pub struct DeadLetterFilter {
    /// Those of one webhook.
    pub webhook: Option<WebhookId>,
    /// Those of the webhooks of one application.
    pub application: Option<ApplicationId>,
}

/// Which dead letters of a webhook to try anew.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// One message; without it, as many as its queue has room for.
    #[serde(default)]
    pub message: Option<MessageId>,
}

/// Which dead letters of a webhook to give up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DropRequest {
    /// One message; without it, all.
    #[serde(default)]
    pub message: Option<MessageId>,
    /// Why.
    #[schema(value_type = Reason)]
    pub reason: String,
}

/// An announcement that could not be delivered.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub struct DeadLetterView {
    /// `webhook-id` of each attempt.
    pub message: MessageId,
    /// The webhook.
    pub webhook: WebhookId,
    /// The event that was announced.
    pub event: EventId,
    /// What was announced.
    #[serde(rename = "type")]
    pub kind: Type,
    /// Whom it is about.
    #[schema(required = true)]
    pub application: Option<ApplicationId>,
    /// The key that it is about.
    #[schema(required = true)]
    pub key: Option<KeyId>,
    /// How much hangs on it, from 0 to 100: it grows with the three that follow.
    #[schema(maximum = 100)]
    pub impact: u32,
    /// How many requests the key carried in a day when this was announced, on average; 0 where it had not been used for a week.
    pub requests_per_day: u64,
    /// When the key ends, as it was known then.
    #[schema(required = true)]
    pub key_ends_at: Option<Timestamp>,
    /// How important the application was then.
    pub importance: Importance,
    /// Attempts that were made.
    pub attempts: u32,
    /// When it was announced, or tried anew.
    pub announced_at: Timestamp,
    /// When it was given up.
    pub died_at: Timestamp,
    /// Why it was given up.
    pub why: DeathCause,
}

/// What became of a webhook's dead letters.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLettersLeft)]
pub struct DeadLettersView {
    /// Dead letters that were tried anew or given up.
    pub moved: usize,
    /// Dead letters that are left.
    pub left: usize,
}

impl DeadLetterView {
    fn of(webhook: WebhookId, letter: &DeadLetter, now: Timestamp) -> Self {
        let stakes = &letter.pending.stakes;
        Self {
            message: MessageId(letter.pending.event),
            webhook,
            event: letter.pending.event,
            kind: letter.pending.kind,
            application: letter.pending.application,
            key: letter.pending.key,
            impact: impact(stakes, now),
            requests_per_day: stakes.requests_per_day,
            key_ends_at: stakes.key_ends_at,
            importance: stakes.importance,
            attempts: letter.pending.attempts,
            announced_at: letter.pending.since,
            died_at: letter.at,
            why: letter.why,
        }
    }
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// What could not be delivered to webhooks that the caller may see: what most hangs on first, then the newest.
    ///
    /// # Errors
    /// A missing scope, a bad cursor, no such webhook; where the store does not answer.
    pub async fn dead_letters(
        &self,
        attempt: &Attempt,
        filter: &DeadLetterFilter,
        page: &Page,
    ) -> Result<List<DeadLetterView>> {
        attempt.caller.require_somewhere(scope::WEBHOOKS_READ)?;
        match filter.application {
            None => {}
            Some(ApplicationId::KEYWARD) => attempt.caller.require(scope::WEBHOOKS_READ)?,
            Some(application) => {
                self.require_at(attempt, scope::WEBHOOKS_READ, application, "application").await?;
            }
        }
        let mut webhooks = match filter.webhook {
            Some(id) => vec![self.visible_webhook(attempt, scope::WEBHOOKS_READ, id).await?],
            None => self.webhooks_with_dead_letters(attempt).await?,
        };
        webhooks.retain(|webhook| filter.application.is_none_or(|id| webhook.application == id));
        // What is beyond is seen once these are dealt with.
        webhooks.truncate(QUEUES_MAX);
        let (reader, now) = (self.read(), self.clock.now());
        let mut letters = Vec::new();
        for webhooks in webhooks.chunks(READS_AT_ONCE) {
            let queues = webhooks.iter().map(|webhook| reader.delivery_queue(webhook.id));
            let queues: Vec<Queue> =
                futures::future::join_all(queues).await.into_iter().collect::<Result<_>>()?;
            for (webhook, queue) in webhooks.iter().zip(&queues) {
                let view = |letter| DeadLetterView::of(webhook.id, letter, now);
                letters.extend(queue.dead.iter().map(view));
            }
        }
        letters.sort_by_key(|letter| Reverse((letter.impact, letter.died_at, letter.event, letter.webhook)));
        let (items, next_cursor) = page.of(letters);
        Ok(List { items, next_cursor })
    }

    /// The webhooks that have dead letters and that the caller may see.
    async fn webhooks_with_dead_letters(&self, attempt: &Attempt) -> Result<Vec<Webhook>> {
        let reach = attempt.caller.reach(scope::WEBHOOKS_READ);
        let ids: Vec<WebhookId> =
            self.read().delivery().await?.unwrap_or_default().dead.into_keys().collect();
        let mut webhooks = Vec::new();
        for ids in ids.chunks(READS_AT_ONCE) {
            let reader = self.read();
            for webhook in futures::future::join_all(ids.iter().map(|id| reader.webhook(*id))).await {
                webhooks.extend(webhook?.filter(|webhook| reaches(&reach, webhook.application)));
            }
        }
        Ok(webhooks)
    }

    /// Tries dead letters of a webhook anew, as if they were new.
    ///
    /// # Errors
    /// A missing scope, no such webhook or message, a webhook that is disabled or retired; where the store does not answer.
    pub async fn replay_dead_letters(
        &self,
        attempt: &Attempt,
        id: WebhookId,
        asked: &ReplayRequest,
    ) -> Result<DeadLettersView> {
        let webhook = self.visible_webhook(attempt, scope::WEBHOOKS_WRITE, id).await?;
        require_open(&webhook)?;
        let now = self.clock.now();
        self.move_dead_letters(attempt, &webhook, asked.message, None, |queue, message| {
            let replayed = queue.replay(message, now);
            (replayed, vec![format!("{replayed} dead letters")])
        })
        .await
    }

    /// Gives dead letters of a webhook up, for good.
    ///
    /// # Errors
    /// No reason, a missing scope, no such webhook or message; where the store does not answer.
    pub async fn drop_dead_letters(
        &self,
        attempt: &Attempt,
        id: WebhookId,
        asked: &DropRequest,
    ) -> Result<DeadLettersView> {
        let webhook = self.visible_webhook(attempt, scope::WEBHOOKS_WRITE, id).await?;
        check_reason("reason", &asked.reason)?;
        let reason = Some(asked.reason.clone());
        self.move_dead_letters(attempt, &webhook, asked.message, reason, |queue, message| {
            let dropped = queue.drop_dead(message);
            let named = dropped.iter().take(NAMED_MAX).map(|event| MessageId(*event).to_string());
            let detail = std::iter::once(format!("{} dead letters", dropped.len())).chain(named).collect();
            (dropped.len(), detail)
        })
        .await
    }

    async fn move_dead_letters(
        &self,
        attempt: &Attempt,
        webhook: &Webhook,
        message: Option<MessageId>,
        reason: Option<String>,
        change: impl Fn(&mut Queue, Option<EventId>) -> (usize, Vec<String>),
    ) -> Result<DeadLettersView> {
        let event = message.map(|MessageId(event)| event);
        let has_it = |queue: &Queue| {
            event.is_none_or(|event| queue.dead.iter().any(|letter| letter.pending.event == event))
        };
        let no_such = || Error::not_found("dead letter");
        if !has_it(&self.read().delivery_queue(webhook.id).await?) {
            return Err(no_such());
        }
        let (turn, mut delivery, mut queue) = self.queue_turn(webhook.id).await?;
        if !has_it(&queue) {
            attempt.unused(delivery, turn);
            return Err(no_such());
        }
        let (moved, detail) = change(&mut queue, event);
        delivery.note(&queue);
        let mut draft = attempt.draft(Outcome::Done, reason, Some(webhook.event));
        draft.detail = detail;
        self.commit(attempt, vec![draft], |_, writes| {
            writes.delivery(delivery, Some(&queue), turn);
            Ok(DeadLettersView { moved, left: queue.dead.len() })
        })
        .await
    }
}
