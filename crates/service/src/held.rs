//! A record whose turn was taken and that stays as it is: written all the same, so that nobody waits for the turn.

use keyward_domain::application::{Application, Details};
use keyward_domain::claim::Claim;
use keyward_domain::event::EventId;
use keyward_domain::issuing::Issuing;
use keyward_domain::key::Key;
use keyward_domain::policy::Policy;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::renewal::Renewal;
use keyward_domain::role::Role;
use keyward_domain::webhook::Webhook;
use keyward_ledger::{KvWrite, Turn, Writes};
use keyward_records::{Delivery, KvCount, KvRead, NameRecord};

/// A record as it is stored, and the turn at it.
pub(crate) enum Held {
    Issuing(Issuing, Turn),
    Role(Box<Role>, Turn),
    Webhook(Box<Webhook>, Turn),
    /// Kept beside the log: written where its turn stays unused, never sealed anew.
    Delivery(Box<Delivery>, Turn),
    Policy(Box<Policy>, Turn),
    Application(Box<(Application, Details)>, Turn),
    Key(Box<Key>, Turn),
    Name(NameRecord, Turn),
    /// Nobody changes a claim, so nobody takes turns at it.
    Claim(Box<Claim>),
    /// Nor a renewal.
    Renewal(Box<Renewal>),
}

impl Held {
    /// The turn, where one is needed.
    pub(crate) const fn turn(&self) -> Option<&Turn> {
        match self {
            Self::Issuing(_, turn)
            | Self::Role(_, turn)
            | Self::Webhook(_, turn)
            | Self::Delivery(_, turn)
            | Self::Policy(_, turn)
            | Self::Application(_, turn)
            | Self::Key(_, turn)
            | Self::Name(_, turn) => Some(turn),
            Self::Claim(_) | Self::Renewal(_) => None,
        }
    }

    /// The same, for another turn in its place.
    pub(crate) fn into_turn(self) -> Option<Turn> {
        match self {
            Self::Issuing(_, turn)
            | Self::Role(_, turn)
            | Self::Webhook(_, turn)
            | Self::Delivery(_, turn)
            | Self::Policy(_, turn)
            | Self::Application(_, turn)
            | Self::Key(_, turn)
            | Self::Name(_, turn) => Some(turn),
            Self::Claim(_) | Self::Renewal(_) => None,
        }
    }

    /// Records that it is.
    pub(crate) const fn records(&self) -> u64 {
        match self {
            Self::Application(..) => 2,
            _ => 1,
        }
    }

    /// The event that wrote it, where it says so.
    pub(crate) fn event(&self) -> Option<EventId> {
        match self {
            Self::Key(key, _) => Some(key.event),
            Self::Application(records, _) => Some(records.0.event),
            Self::Role(role, _) => Some(role.event),
            Self::Policy(policy, _) => Some(policy.event),
            Self::Webhook(webhook, _) => Some(webhook.event),
            Self::Delivery(..) | Self::Issuing(..) | Self::Name(..) | Self::Claim(_) | Self::Renewal(_) => {
                None
            }
        }
    }

    /// Writes it unchanged but for its revision and the event that wrote it.
    pub(crate) fn write<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
        self,
        event: EventId,
        writes: &mut Writes<'_, K, C, R>,
    ) {
        match self {
            Self::Issuing(mut issuing, turn) => {
                issuing.revision = turn.revision();
                writes.issuing(&issuing, turn);
            }
            Self::Role(mut role, turn) => {
                (role.revision, role.event) = (turn.revision(), event);
                writes.role(&role, turn);
            }
            Self::Webhook(mut webhook, turn) => {
                (webhook.revision, webhook.event) = (turn.revision(), event);
                writes.webhook(&webhook, turn);
            }
            Self::Delivery(delivery, turn) => writes.delivery(*delivery, None, turn),
            Self::Policy(mut policy, turn) => {
                (policy.revision, policy.event) = (turn.revision(), event);
                writes.policy(&policy, turn);
            }
            Self::Application(records, turn) => {
                let (mut application, mut details) = *records;
                (application.revision, application.event) = (turn.revision(), event);
                details.revision = turn.revision();
                writes.application(&application, &details, turn);
            }
            Self::Key(mut key, turn) => {
                (key.revision, key.event) = (turn.revision(), event);
                writes.key(&key, turn);
            }
            Self::Name(mut name, turn) => {
                name.owner.revision = turn.revision();
                writes.name(&name, turn);
            }
            Self::Claim(claim) => writes.claim(&claim),
            Self::Renewal(renewal) => writes.renewal(&renewal),
        }
    }
}
