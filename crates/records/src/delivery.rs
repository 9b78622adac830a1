//! How far delivery to webhooks is: up to which event the log was followed, which queues are due when, and the queues.
//!
//! It is bookkeeping beside the log, like a projection: thrown away, what is in the log could be told again from any place on.

use crate::names;
use crate::record::Record;
use keyward_crypto::Domain;
use keyward_domain::delivery::Queue;
use keyward_domain::event::EventId;
use keyward_domain::timestamp::millis;
use keyward_domain::{Timestamp, WebhookId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How far delivery is. Whoever writes this or a queue does so in a turn at this.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Delivery {
    /// The last event that was looked at; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<EventId>,
    /// The queues that are not empty, and when each is to be looked at next.
    #[serde(default)]
    pub due: BTreeMap<WebhookId, Due>,
    /// The queues with dead letters, and how many.
    #[serde(default)]
    pub dead: BTreeMap<WebhookId, usize>,
    /// The queues whose circuit is open, or lets a probe through.
    #[serde(default)]
    pub open: BTreeSet<WebhookId>,
    /// Attempts that were taken, of all queues there ever were.
    #[serde(default)]
    pub delivered: u64,
    /// Attempts that were not.
    #[serde(default)]
    pub failed: u64,
    /// Counts the writes of this record.
    pub revision: u64,
}

/// When a queue is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Due(#[serde(with = "millis")] pub Timestamp);

impl Delivery {
    /// Notes how a queue is from now on.
    pub fn note(&mut self, queue: &Queue) {
        match queue.next_due() {
            Some(at) => self.due.insert(queue.webhook, Due(at)),
            None => self.due.remove(&queue.webhook),
        };
        match queue.dead.len() {
            0 => self.dead.remove(&queue.webhook),
            count => self.dead.insert(queue.webhook, count),
        };
        match queue.health.probe_at {
            Some(_) => self.open.insert(queue.webhook),
            None => self.open.remove(&queue.webhook),
        };
    }
}

impl Record for Delivery {
    const DOMAIN: Domain = Domain::Projection;
    fn store_key(&self) -> String {
        names::DELIVERY.to_owned()
    }
}

impl Record for Queue {
    const DOMAIN: Domain = Domain::Projection;
    fn store_key(&self) -> String {
        names::delivery_queue(self.webhook)
    }
}
