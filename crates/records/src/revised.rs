//! Records with an id of their own that change in turns: each counts its writes and names the event that wrote it.

use crate::names;
use crate::record::Record;
use keyward_domain::credential::Credential;
use keyward_domain::event::EventId;
use keyward_domain::key::Key;
use keyward_domain::policy::Policy;
use keyward_domain::role::Role;
use keyward_domain::webhook::Webhook;
use keyward_domain::{CredentialId, KeyId, PolicyId, RoleId, WebhookId};

/// A record of state that changes in turns, under its id.
pub trait Revised: Record {
    /// Its id.
    type Id: Copy;
    /// What people call it, without an article.
    const KIND: &'static str;

    /// Where the record with this id lies.
    fn store_key_of(id: Self::Id) -> String;

    /// Its id.
    fn id(&self) -> Self::Id;

    /// Counts its writes: 1 at birth.
    fn revision(&self) -> u64;

    /// The event that wrote it.
    fn event(&self) -> EventId;

    /// It is written once more: as this revision, by this event.
    fn written(&mut self, revision: u64, event: EventId);
}

/// A record that has its id, its revision and its event in fields of these names.
macro_rules! revised {
    ($record:ty, $id:ty, $kind:literal, $store_key:path) => {
        impl Revised for $record {
            type Id = $id;
            const KIND: &'static str = $kind;

            fn store_key_of(id: $id) -> String {
                $store_key(id)
            }

            fn id(&self) -> $id {
                self.id
            }

            fn revision(&self) -> u64 {
                self.revision
            }

            fn event(&self) -> EventId {
                self.event
            }

            fn written(&mut self, revision: u64, event: EventId) {
                (self.revision, self.event) = (revision, event);
            }
        }
    };
}

revised!(Key, KeyId, "key", names::key);
revised!(Role, RoleId, "role", names::role);
revised!(Policy, PolicyId, "policy", names::policy);
revised!(Webhook, WebhookId, "webhook", names::webhook);
revised!(Credential, CredentialId, "credential", names::credential);
