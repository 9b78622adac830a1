//! Delivery: follows the log, queues what webhooks want to hear of, and sends what is due. The log is the outbox: an event that is
//! announced lies in the commit that it tells of, so nothing is announced that did not happen, and nothing that happened is lost.
//!
//! A run takes what is due in a turn, sends it without one, and settles it in another: two runs at once share the work, and what a run
//! that died had taken is sent again. So a message comes at least once, always under the same id.

use crate::attempt::Attempt;
use crate::edit::require_living;
use crate::service::Service;
use crate::webhooks::written_by;
use keyward_crypto::Zeroizing;
use keyward_crypto::webhook::signature;
use keyward_domain::announcement::{Announcement, MessageId, Type};
use keyward_domain::delivery::{
    Attempted, DeathCause, Fault, Pending, Queue, Setback, Stakes, retry_after_s,
};
use keyward_domain::error::Blame;
use keyward_domain::event::{Action, Actor, ActorKind, Event, EventId, Outcome, Source, Target};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::webhook::{Targets, Webhook, check_url};
use keyward_domain::{ApplicationId, Code, Error, KeyId, Result, Timestamp, WebhookId};
use keyward_ledger::{Draft, KvWrite, Turn};
use keyward_records::projection::lists;
use keyward_records::{Delivery, Due, KeyUse, KvCount, KvRead};
use serde::Serialize;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// Batches of events that a run integrates first.
const INTEGRATE_ROUNDS: u32 = 8;
/// Announcements that one round queues at most.
const ANNOUNCED_MAX: usize = 128;
/// Queues that one round touches at most: all must be written while its turn is fresh.
const QUEUES_MAX: usize = 32;
/// Attempts under way at the same time.
const SENT_AT_ONCE: usize = 32;
/// How long a run begins new rounds, in milliseconds. With the time of one attempt it stays below what a request may take.
const RUN_MS_MAX: u64 = 10_000;
/// Rounds of one run at most.
const ROUNDS_MAX: u32 = 64;
/// What an endpoint answers that is gone for good (RFC 9110 section 15.5.11).
const GONE: u16 = 410;

/// One message on its way out: to a webhook, or to the provider of a credential.
pub struct Message<'m> {
    /// Where to.
    pub url: &'m str,
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: String,
    /// `webhook-signature`.
    pub signature: String,
    /// The body, JSON. That to a provider holds secrets.
    pub body: Zeroizing<Vec<u8>>,
    /// The longest body of an answer that is read, in bytes; nothing is read of one where it is 0.
    pub answer_bytes_max: usize,
}

/// What is read of an answer. That of a provider may hold a secret, so there is no `Debug`.
#[derive(Default)]
pub struct Answered {
    /// Its status.
    pub status: u16,
    /// Its field `Retry-After`, where it has one.
    pub retry_after: Option<String>,
    /// Its body, as far as it was asked for.
    pub body: Zeroizing<Vec<u8>>,
}

impl Answered {
    /// What an attempt came to that was answered at `now`.
    ///
    /// # Errors
    /// Where the status is none of 200 to 299.
    pub(crate) fn taken(self, now: Timestamp) -> Result<Self, Setback> {
        match self.status {
            200..=299 => Ok(self),
            status => Err(Setback {
                fault: Fault::Status(status),
                retry_after_s: self.retry_after.and_then(|field| retry_after_s(&field, now)),
            }),
        }
    }
}

/// Sends messages. It follows no redirect, reads no more of an answer than [`Answered`] has, and takes a bounded time.
#[allow(async_fn_in_trait, reason = "components are single-threaded; nothing here is sent between threads")]
pub trait Sender {
    /// The answer.
    ///
    /// # Errors
    /// Why there was none, or none that is as short as was asked for.
    async fn send(&self, message: &Message<'_>) -> Result<Answered, Fault>;
}

/// What a run did.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = DeliveryRun)]
pub struct DeliveryView {
    /// Announcements queued.
    queued: usize,
    /// Announcements delivered.
    delivered: usize,
    /// Attempts that failed.
    failed: usize,
    /// Whether there is more to do at once.
    more: bool,
}

/// What a test of a webhook came to.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTest)]
pub struct WebhookTestView {
    /// The id of the message that was sent.
    message: MessageId,
    /// Whether it was delivered.
    delivered: bool,
    /// The answer's status, where there was an answer.
    #[schema(required = true)]
    status: Option<u16>,
    /// What went wrong: `status`, `timeout`, `connection`, `name-unknown`, `tls`, `private-target` or `protocol`.
    #[schema(required = true)]
    fault: Option<&'static str>,
}

/// What a round has to send, and whether it did anything else.
struct Round {
    taken: Vec<(Webhook, Pending)>,
    queued: usize,
    moved: bool,
}

/// What the log has for queues: read before the turn in which it is written.
struct News {
    from: Option<EventId>,
    through: Option<EventId>,
    announcements: Vec<(WebhookId, Pending)>,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// One run, asked for by an admin; its event says so.
    ///
    /// # Errors
    /// A missing scope; where the store does not answer.
    pub async fn run_delivery(
        &self,
        attempt: &Attempt,
        sender: &impl Sender,
        targets: Targets,
    ) -> Result<DeliveryView> {
        attempt.caller.require(scope::MAINTENANCE_RUN)?;
        let draft = attempt.draft(Outcome::Done, None, None);
        self.commit(attempt, vec![draft], |_, _| Ok(())).await?;
        self.deliver(sender, targets).await
    }

    /// One run: queues what the log has, and sends what is due, for some seconds at most.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn deliver(&self, sender: &impl Sender, targets: Targets) -> Result<DeliveryView> {
        self.ledger.hold().await?;
        let started_ms = self.clock.monotonic_ms();
        let mut done = DeliveryView { more: true, ..DeliveryView::default() };
        for _ in 0..ROUNDS_MAX {
            if self.clock.monotonic_ms().saturating_sub(started_ms) >= RUN_MS_MAX {
                break;
            }
            let Round { taken, queued, moved } = self.round().await?;
            done.queued += queued;
            if taken.is_empty() {
                if moved {
                    continue;
                }
                done.more = false;
                break;
            }
            let sent = taken.iter().map(|(webhook, pending)| self.attempt(webhook, pending, sender, targets));
            let came_to = futures::future::join_all(sent).await;
            done.delivered += came_to.iter().filter(|came_to| matches!(came_to, Some(Ok(())))).count();
            done.failed += came_to.iter().filter(|came_to| matches!(came_to, Some(Err(_)))).count();
            self.settle_attempts(&taken, &came_to).await?;
            let gone = taken.iter().zip(&came_to).filter(|(_, came_to)| {
                matches!(came_to, Some(Err(Setback { fault: Fault::Status(GONE), .. })))
            });
            let gone: BTreeSet<WebhookId> = gone.map(|((webhook, _), _)| webhook.id).collect();
            for id in gone {
                self.disable_gone(id).await?;
            }
        }
        Ok(done)
    }

    /// Queues what is new, and takes what is due.
    async fn round(&self) -> Result<Round> {
        let known = self.read().delivery().await?.unwrap_or_default();
        let news = self.news(known.through).await?;
        let now = self.clock.now();
        let is_due = known.due.values().any(|Due(at)| *at <= now);
        let moved = news.through != news.from;
        if !moved && !is_due {
            return Ok(Round { taken: Vec::new(), queued: 0, moved: false });
        }
        let (turn, delivery) = self.ledger.delivery_turn().await?;
        let before = delivery.clone();
        match self.take(delivery, news, now).await {
            Ok((delivery, queues, round)) => {
                self.ledger.keep_delivery(delivery, &queues, turn).await?;
                Ok(Round { moved, ..round })
            }
            Err(error) => {
                // Its successor must not wait for a turn that is not used.
                let _ = self.ledger.keep_delivery(before, &[], turn).await;
                Err(error)
            }
        }
    }

    /// What the log has since the last event that was looked at: from the birth of the first webhook on.
    async fn news(&self, through: Option<EventId>) -> Result<News> {
        let nothing = News { from: through, through, announcements: Vec::new() };
        let from = match through {
            Some(through) => through,
            None => match self.first_webhook().await? {
                Some(birth) => birth,
                None => return Ok(nothing),
            },
        };
        self.ledger.integrate(INTEGRATE_ROUNDS).await?;
        let head = self.read().head().await?;
        let integrated = EventId { epoch: head.epoch, seq: head.size };
        if integrated <= from {
            return Ok(nothing);
        }
        let announced = |event: &Event| event.id <= integrated && Type::of(event).is_some();
        let (events, at) = self.events_after(from, ANNOUNCED_MAX, announced).await?;
        let mut at = at.min(integrated);
        let mut listeners: BTreeMap<ApplicationId, Vec<Webhook>> = BTreeMap::new();
        let mut known: BTreeMap<(ApplicationId, Option<KeyId>), Stakes> = BTreeMap::new();
        let mut announcements: Vec<(WebhookId, Pending)> = Vec::new();
        let mut touched: BTreeSet<WebhookId> = BTreeSet::new();
        for event in &events {
            let Some(kind) = Type::of(event) else { continue };
            let about = event.target.application.filter(|id| *id != ApplicationId::KEYWARD);
            let mut wanting: BTreeSet<WebhookId> = BTreeSet::new();
            for application in [ApplicationId::KEYWARD].into_iter().chain(about) {
                if let Entry::Vacant(place) = listeners.entry(application) {
                    place.insert(self.webhooks_of(application).await?);
                }
                let listening = listeners.get(&application).into_iter().flatten();
                let wanted = |hook: &&Webhook| hook.listened_at(event.id) && hook.events.wants(kind);
                wanting.extend(listening.filter(wanted).map(|hook| hook.id));
            }
            if touched.union(&wanting).count() > QUEUES_MAX && !touched.is_empty() {
                at = EventId { seq: event.id.seq.saturating_sub(1), ..event.id };
                break;
            }
            if wanting.is_empty() {
                continue;
            }
            // What belongs to no application is of concern to whoever administers all.
            let whose = (event.target.application.unwrap_or(ApplicationId::KEYWARD), event.target.key);
            let stakes = match known.entry(whose) {
                Entry::Occupied(place) => *place.get(),
                Entry::Vacant(place) => *place.insert(self.stakes(whose.0, whose.1).await?),
            };
            touched.extend(&wanting);
            let now = self.clock.now();
            announcements.extend(wanting.into_iter().map(|webhook| {
                let (application, key) = (event.target.application, event.target.key);
                let (event, since, due_at) = (event.id, now, now);
                (webhook, Pending { event, kind, application, key, stakes, since, attempts: 0, due_at })
            }));
        }
        Ok(News { from: through, through: Some(at), announcements })
    }

    /// The event that created the first webhook there ever was.
    async fn first_webhook(&self) -> Result<Option<EventId>> {
        let found = self.read().list_page(lists::WEBHOOKS, 0).await?;
        if let Some(first) = found.and_then(|page| page.entries.into_iter().next()) {
            return Ok(Some(first.event));
        }
        self.ledger.integrate(INTEGRATE_ROUNDS).await?;
        let found = self.read().list_page(lists::WEBHOOKS, 0).await?;
        Ok(found.and_then(|page| page.entries.into_iter().next()).map(|first| first.event))
    }

    /// What hangs on what is told of an application and one of its keys, as far as their records can be read.
    async fn stakes(&self, application: ApplicationId, key: Option<KeyId>) -> Result<Stakes> {
        let reader = self.read();
        let details = async { readable(reader.details(application).await) };
        let key = async {
            let Some(id) = key else { return Ok((None, None)) };
            let (key, used) = futures::join!(reader.key(id), reader.key_use(id));
            Ok::<_, Error>((readable(key)?, readable(used)?))
        };
        let (details, key) = futures::join!(details, key);
        let (key, used) = key?;
        let now = self.clock.now();
        let carried = |used: KeyUse| key.as_ref().map(|key| used.requests_per_day(key.created_at, now));
        Ok(Stakes {
            importance: details?.map(|details| details.importance).unwrap_or_default(),
            requests_per_day: used.and_then(carried).unwrap_or_default(),
            key_ends_at: key.as_ref().and_then(|key| key.expires_at),
        })
    }

    /// Puts the news into queues, and takes what is due out of those that are.
    async fn take(
        &self,
        mut delivery: Delivery,
        news: News,
        now: Timestamp,
    ) -> Result<(Delivery, Vec<Queue>, Round)> {
        let mut announcements = news.announcements;
        if delivery.through == news.from {
            delivery.through = news.through;
        } else {
            // Another run was faster.
            announcements.clear();
        }
        let mut ids: BTreeSet<WebhookId> = announcements.iter().map(|(webhook, _)| *webhook).collect();
        let mut due: Vec<(Timestamp, WebhookId)> =
            delivery.due.iter().filter(|(_, Due(at))| *at <= now).map(|(id, Due(at))| (*at, *id)).collect();
        // Who waits longest comes first: one that always has something due must not keep the others waiting.
        due.sort_unstable();
        for (_, id) in due {
            if ids.len() < QUEUES_MAX {
                ids.insert(id);
            }
        }
        let reader = self.read();
        let queues = futures::future::join_all(ids.iter().map(|id| reader.delivery_queue(*id)));
        let webhooks = futures::future::join_all(ids.iter().map(|id| reader.webhook(*id)));
        let (queues, webhooks) = futures::join!(queues, webhooks);
        let mut queues = queues.into_iter().collect::<Result<Vec<Queue>>>()?;
        let webhooks = webhooks.into_iter().collect::<Result<Vec<Option<Webhook>>>>()?;
        let queued = announcements.len();
        for (webhook, pending) in announcements {
            if let Some(queue) = queues.iter_mut().find(|queue| queue.webhook == webhook) {
                queue.push(pending, now);
            }
        }
        let mut taken: Vec<(Webhook, Pending)> = Vec::new();
        for (queue, webhook) in queues.iter_mut().zip(webhooks) {
            match webhook.filter(Webhook::is_open) {
                None => queue.close(now),
                Some(webhook) => {
                    let due = queue.take_due(now, SENT_AT_ONCE.saturating_sub(taken.len()));
                    taken.extend(due.into_iter().map(|pending| (webhook.clone(), pending)));
                }
            }
            delivery.note(queue);
        }
        Ok((delivery, queues, Round { taken, queued, moved: false }))
    }

    /// One attempt; nothing where the store did not say what there is to be sent.
    async fn attempt(
        &self,
        webhook: &Webhook,
        pending: &Pending,
        sender: &impl Sender,
        targets: Targets,
    ) -> Option<Attempted> {
        let event = self.readable_event(pending.event).await.ok()?;
        // Settled apart: a dead letter says so.
        let event = event?;
        let sent = self.send(webhook, pending.kind, &event, sender, targets).await;
        Some(sent.map_err(Setback::from).and_then(|answer| answer.taken(self.clock.now())).map(drop))
    }

    /// An event; none where it is gone or does not open.
    async fn readable_event(&self, id: EventId) -> Result<Option<Event>> {
        readable(self.read().event(id).await)
    }

    async fn send(
        &self,
        webhook: &Webhook,
        kind: Type,
        event: &Event,
        sender: &impl Sender,
        targets: Targets,
    ) -> Result<Answered, Fault> {
        // Looked at again: what was allowed when it was created may not be any more.
        if check_url("url", &webhook.url, targets).is_err() {
            return Err(Fault::PrivateTarget);
        }
        let redacted = event.redacted();
        let Ok(body) = serde_json::to_vec(&Announcement::new(kind, &redacted)) else {
            return Err(Fault::Protocol);
        };
        let (id, now) = (MessageId(event.id).to_string(), self.clock.now());
        let signatures: Vec<String> =
            webhook.secrets(now).map(|secret| signature(secret, &id, now.unix_s(), &body)).collect();
        let message = Message {
            url: &webhook.url,
            id,
            timestamp: now.unix_s().to_string(),
            signature: signatures.join(" "),
            body: Zeroizing::new(body),
            answer_bytes_max: 0,
        };
        sender.send(&message).await
    }

    /// Writes down what attempts came to.
    async fn settle_attempts(
        &self,
        taken: &[(Webhook, Pending)],
        came_to: &[Option<Attempted>],
    ) -> Result<()> {
        let (turn, delivery) = self.ledger.delivery_turn().await?;
        let before = delivery.clone();
        match self.settled(delivery, taken, came_to).await {
            Ok((delivery, queues)) => self.ledger.keep_delivery(delivery, &queues, turn).await,
            Err(error) => {
                let _ = self.ledger.keep_delivery(before, &[], turn).await;
                Err(error)
            }
        }
    }

    async fn settled(
        &self,
        mut delivery: Delivery,
        taken: &[(Webhook, Pending)],
        came_to: &[Option<Attempted>],
    ) -> Result<(Delivery, Vec<Queue>)> {
        let now = self.clock.now();
        let ids: BTreeSet<WebhookId> = taken.iter().map(|(webhook, _)| webhook.id).collect();
        let reader = self.read();
        let queues = futures::future::join_all(ids.iter().map(|id| reader.delivery_queue(*id))).await;
        let mut queues = queues.into_iter().collect::<Result<Vec<Queue>>>()?;
        for ((webhook, pending), came_to) in taken.iter().zip(came_to) {
            let Some(queue) = queues.iter_mut().find(|queue| queue.webhook == webhook.id) else { continue };
            match came_to {
                Some(came_to) => {
                    let count = match came_to {
                        Ok(()) => &mut delivery.delivered,
                        Err(_) => &mut delivery.failed,
                    };
                    *count = count.saturating_add(1);
                    queue.settle(pending, *came_to, now, u32::from_be_bytes(self.rng.bytes()));
                }
                // Looked at again: a store that was silent is no reason to give anything up.
                None if matches!(self.readable_event(pending.event).await, Ok(None)) => {
                    queue.give_up(pending.event, DeathCause::EventUnreadable, now);
                }
                None => {}
            }
        }
        for queue in &queues {
            delivery.note(queue);
        }
        Ok((delivery, queues))
    }

    /// Disables a webhook that answered that it is gone; what is still queued becomes dead letters in the next round.
    async fn disable_gone(&self, id: WebhookId) -> Result<()> {
        if !self.read().webhook(id).await?.is_some_and(|webhook| webhook.is_open()) {
            return Ok(());
        }
        let (turn, mut webhook) = self.ledger.turn_at::<Webhook>(id).await?;
        let (was_open, previous) = (webhook.is_open(), webhook.event);
        webhook.disabled = true;
        webhook.revision = turn.revision();
        let draft = Draft {
            action: Action::WebhookChanged,
            outcome: Outcome::Done,
            target: Target { application: Some(webhook.application), ..Target::webhook(Some(id)) },
            actor: Actor { kind: ActorKind::System, key: None, principal: None },
            source: Source::default(),
            request: None,
            reason: Some("it answered 410: gone".to_owned()),
            detail: vec!["disabled".to_owned()],
            previous: Some(previous),
        };
        self.ledger
            .commit(vec![draft], |tickets, writes| {
                written_by(&mut webhook, was_open, tickets.event(0));
                writes.change(&webhook, turn);
                Ok(())
            })
            .await?;
        Ok(())
    }

    /// Sends one message to a webhook, once and now, whatever it listens to; the answer says what became of it.
    ///
    /// # Errors
    /// A missing scope, no such webhook, a retired one; where the store does not answer.
    pub async fn test_webhook(
        &self,
        attempt: &Attempt,
        id: WebhookId,
        sender: &impl Sender,
        targets: Targets,
    ) -> Result<WebhookTestView> {
        let webhook = self.visible_webhook(attempt, scope::WEBHOOKS_WRITE, id).await?;
        require_living(&webhook)?;
        let draft = attempt.draft(Outcome::Done, None, Some(webhook.event));
        let event = self.commit(attempt, vec![draft], |tickets, _| Ok(tickets.event(0))).await?;
        let found = self.read().event(event).await?.ok_or_else(Error::store_unavailable)?;
        let sent = self.send(&webhook, Type::WebhookTested, &found, sender, targets).await;
        let (status, fault) = match sent {
            Ok(Answered { status: status @ 200..=299, .. }) => (Some(status), None),
            Ok(Answered { status, .. }) => (Some(status), Some(Fault::Status(status).as_str())),
            Err(fault) => (None, Some(fault.as_str())),
        };
        Ok(WebhookTestView { message: MessageId(event), delivered: fault.is_none(), status, fault })
    }

    /// Queues such a message instead, for whoever may not call out: the next run sends it, again where it fails, as any other. What it comes
    /// to is told by the webhook itself.
    ///
    /// # Errors
    /// A missing scope, no such webhook, one that is disabled or retired, a full queue; where the store does not answer.
    pub async fn queue_webhook_test(&self, attempt: &Attempt, id: WebhookId) -> Result<MessageId> {
        let webhook = self.visible_webhook(attempt, scope::WEBHOOKS_WRITE, id).await?;
        require_open(&webhook)?;
        let stakes = self.stakes(webhook.application, None).await?;
        let (turn, mut delivery, mut queue) = self.queue_turn(id).await?;
        if queue.is_full() {
            attempt.unused(delivery, turn);
            return Err(Error::new(
                Code::StateConflict,
                "as many announcements wait for the webhook as its queue holds; a test would push the oldest out",
            ));
        }
        let draft = attempt.draft(Outcome::Done, None, Some(webhook.event));
        let (kind, application) = (Type::WebhookTested, Some(webhook.application));
        self.commit(attempt, vec![draft], |tickets, writes| {
            let (event, now) = (tickets.event(0), self.clock.now());
            let (since, due_at) = (now, now);
            queue.push_to_try(
                Pending { event, kind, application, key: None, stakes, since, attempts: 0, due_at },
                now,
            );
            delivery.note(&queue);
            writes.delivery(delivery, Some(&queue), turn);
            Ok(MessageId(event))
        })
        .await
    }

    /// A turn at the queues, and this one as it stands.
    pub(crate) async fn queue_turn(&self, id: WebhookId) -> Result<(Turn, Delivery, Queue)> {
        let (turn, delivery) = self.ledger.delivery_turn().await?;
        match self.read().delivery_queue(id).await {
            Ok(queue) => Ok((turn, delivery, queue)),
            Err(error) => {
                let _ = self.ledger.keep_delivery(delivery, &[], turn).await;
                Err(error)
            }
        }
    }
}

/// Refuses what is told nothing for now, or for good.
pub(crate) fn require_open(webhook: &Webhook) -> Result<()> {
    require_living(webhook)?;
    match webhook.disabled {
        true => Err(Error::new(Code::StateConflict, "the webhook is disabled; enable it first")),
        false => Ok(()),
    }
}

/// A record; none where it does not open.
pub(crate) fn readable<T>(read: Result<Option<T>>) -> Result<Option<T>> {
    match read {
        Err(error) if error.code.blame() == Blame::Integrity => Ok(None),
        read => read,
    }
}
