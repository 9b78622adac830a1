//! A record whose turn was taken and that stays as it is: written all the same, so that nobody waits for the turn.

use keyward_domain::application::{Application, Details};
use keyward_domain::claim::Claim;
use keyward_domain::credential::Credential;
use keyward_domain::event::EventId;
use keyward_domain::issuing::Issuing;
use keyward_domain::key::Key;
use keyward_domain::policy::Policy;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::renewal::Renewal;
use keyward_domain::role::Role;
use keyward_domain::webhook::Webhook;
use keyward_ledger::{KvWrite, Turn, Writes};
use keyward_records::{Delivery, KvCount, KvRead, NameRecord, Revised};

/// A record as it is stored, and the turn at it where one is needed.
pub(crate) enum Held {
    InTurn(InTurn, Turn),
    /// Nobody changes a claim, so nobody takes turns at it.
    Claim(Box<Claim>),
    /// Nor a renewal.
    Renewal(Box<Renewal>),
}

/// A record that is written in turns, as it is stored.
pub(crate) enum InTurn {
    Issuing(Issuing),
    Role(Box<Role>),
    Webhook(Box<Webhook>),
    /// Kept beside the log: written where its turn stays unused, never sealed anew.
    Delivery(Box<Delivery>),
    Policy(Box<Policy>),
    Credential(Box<Credential>),
    Application(Box<(Application, Details)>),
    Key(Box<Key>),
    Name(NameRecord),
}

macro_rules! from_record {
    ($record:ty, $held:expr) => {
        impl From<$record> for InTurn {
            fn from(record: $record) -> Self {
                $held(record.into())
            }
        }
    };
}

from_record!(Issuing, Self::Issuing);
from_record!(Role, Self::Role);
from_record!(Webhook, Self::Webhook);
from_record!(Delivery, Self::Delivery);
from_record!(Policy, Self::Policy);
from_record!(Credential, Self::Credential);
from_record!((Application, Details), Self::Application);
from_record!(Key, Self::Key);
from_record!(NameRecord, Self::Name);

impl Held {
    /// A record in its turn.
    pub(crate) fn in_turn(record: impl Into<InTurn>, turn: Turn) -> Self {
        Self::InTurn(record.into(), turn)
    }

    /// Records that it is.
    pub(crate) const fn records(&self) -> u64 {
        match self {
            Self::InTurn(InTurn::Application(_), _) => 2,
            _ => 1,
        }
    }

    /// The event that wrote it, where it says so.
    pub(crate) fn event(&self) -> Option<EventId> {
        match self {
            Self::InTurn(record, _) => record.event(),
            Self::Claim(_) | Self::Renewal(_) => None,
        }
    }

    /// Writes it unchanged but for its revision and the event that wrote it.
    pub(crate) fn write<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
        self,
        event: EventId,
        writes: &mut Writes<'_, K, C, R>,
    ) {
        match self {
            Self::InTurn(record, turn) => record.write(turn, event, writes),
            Self::Claim(claim) => writes.claim(&claim),
            Self::Renewal(renewal) => writes.renewal(&renewal),
        }
    }
}

impl InTurn {
    fn event(&self) -> Option<EventId> {
        match self {
            Self::Key(key) => Some(key.event),
            Self::Application(records) => Some(records.0.event),
            Self::Role(role) => Some(role.event),
            Self::Policy(policy) => Some(policy.event),
            Self::Credential(credential) => Some(credential.event),
            Self::Webhook(webhook) => Some(webhook.event),
            Self::Delivery(_) | Self::Issuing(_) | Self::Name(_) => None,
        }
    }

    fn write<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
        self,
        turn: Turn,
        event: EventId,
        writes: &mut Writes<'_, K, C, R>,
    ) {
        match self {
            Self::Issuing(mut issuing) => {
                issuing.revision = turn.revision();
                writes.issuing(&issuing, turn);
            }
            Self::Role(role) => write_again(*role, turn, event, writes),
            Self::Webhook(webhook) => write_again(*webhook, turn, event, writes),
            Self::Delivery(delivery) => writes.delivery(*delivery, None, turn),
            Self::Policy(policy) => write_again(*policy, turn, event, writes),
            Self::Credential(credential) => write_again(*credential, turn, event, writes),
            Self::Application(records) => {
                let (mut application, mut details) = *records;
                (application.revision, application.event) = (turn.revision(), event);
                details.revision = turn.revision();
                writes.application(&application, &details, turn);
            }
            Self::Key(key) => write_again(*key, turn, event, writes),
            Self::Name(mut name) => {
                name.owner.revision = turn.revision();
                writes.name(&name, turn);
            }
        }
    }
}

fn write_again<T: Revised, K: KvRead + KvCount + KvWrite, C: Clock, R: Rng>(
    mut record: T,
    turn: Turn,
    event: EventId,
    writes: &mut Writes<'_, K, C, R>,
) {
    record.written(turn.revision(), event);
    writes.change(&record, turn);
}
