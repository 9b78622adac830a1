//! Projections: what is computed from the log, so that lists need not scan it. They could be thrown away.
//!
//! A list is append-only, in pages, in the order of the log; whoever reads it goes from its end.

use crate::names;
use crate::record::Record;
use keyward_crypto::Domain;
use keyward_crypto::tree::{Edge, Hash};
use keyward_domain::Timestamp;
use keyward_domain::event::EventId;
use keyward_domain::timestamp::millis;
use serde::{Deserialize, Serialize};

/// How many voids are watched for events that come late.
pub const VOIDS_WATCHED_MAX: usize = 64;
/// Entries in one page of a list.
pub const PAGE_ENTRIES: u64 = 256;

/// How far the projections are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The epoch that they read.
    pub epoch: u32,
    /// Tickets of this epoch that are in them, leaves of its tree; the next to come is `size + 1`.
    pub size: u64,
    /// The tree's root at this size.
    #[serde(with = "hash")]
    pub root: Hash,
    /// A ticket without event, and when it was first seen missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// Tickets that were voided last, at most [`VOIDS_WATCHED_MAX`]: an event beside one of them came late.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub voids: Vec<u64>,
}

/// A ticket for which there is neither event nor void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Which ticket.
    pub seq: u64,
    /// When it was first seen missing.
    #[serde(with = "millis")]
    pub since: Timestamp,
    /// Tickets taken by then: any of these that is still missing has been missing since then.
    pub taken: u64,
}

impl Head {
    /// Where the projections stand before the first event of an epoch.
    pub fn start(epoch: u32) -> Self {
        Self { epoch, size: 0, root: Edge::empty().root(), gap: None, voids: Vec::new() }
    }

    /// The next ticket to come.
    pub const fn next(&self) -> EventId {
        EventId { epoch: self.epoch, seq: self.size + 1 }
    }
}

impl Record for Head {
    const DOMAIN: Domain = Domain::Projection;
    fn store_key(&self) -> String {
        names::HEAD.to_owned()
    }
}

/// The head of one list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListHead {
    /// Which list.
    pub list: String,
    /// Entries in it.
    pub count: u64,
    /// The last event that was considered for it: appending is idempotent.
    pub through: EventId,
}

impl Record for ListHead {
    const DOMAIN: Domain = Domain::Projection;
    fn store_key(&self) -> String {
        names::list(&self.list)
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListPage {
    /// Which list.
    pub list: String,
    /// Which page, from 0.
    pub page: u64,
    /// Its entries, in the order of the log.
    pub entries: Vec<Entry>,
}

impl Record for ListPage {
    const DOMAIN: Domain = Domain::Projection;
    fn store_key(&self) -> String {
        names::list_page(&self.list, self.page)
    }
}

/// One entry: the event that put it there and, where the list is of things, whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The event.
    pub event: EventId,
    /// The id of the thing; empty in lists of events.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
}

/// A hash as lowercase hex.
pub(crate) mod hash {
    use keyward_crypto::digest::hex;
    use keyward_crypto::tree::Hash;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&hex(hash))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        keyward_crypto::digest::unhex(&text)
            .ok_or_else(|| serde::de::Error::custom("expected 64 digits of hex"))
    }
}

/// The names of the lists.
pub mod lists {
    use keyward_crypto::digest;
    use keyward_domain::event::Action;
    use keyward_domain::{ApplicationId, CredentialId, KeyId};

    /// All applications.
    pub const APPLICATIONS: &str = "apps";

    /// All roles.
    pub const ROLES: &str = "roles";

    /// All webhooks.
    pub const WEBHOOKS: &str = "hooks";

    /// The webhooks of one application.
    pub fn webhooks_of(application: ApplicationId) -> String {
        format!("hooks:{}", application.hex())
    }
    /// All policies.
    pub const POLICIES: &str = "policies";

    /// All credentials.
    pub const CREDENTIALS: &str = "creds";

    /// The credentials of one application.
    pub fn credentials_of(application: ApplicationId) -> String {
        format!("creds:{}", application.hex())
    }

    /// The credentials whose rotation began, each time it did.
    pub const ROTATIONS: &str = "rotations";

    /// All keys.
    pub const KEYS: &str = "keys";

    /// The keys of one application.
    pub fn keys_of(application: ApplicationId) -> String {
        format!("keys:{}", application.hex())
    }

    /// The keys that were ever given a tag: those of one application, or all. The tag is in its one spelling.
    pub fn keys_tagged(application: Option<ApplicationId>, tag: &str) -> String {
        let whose = application.as_ref().map_or(&[][..], |id| id.as_bytes());
        format!("tag:{}", digest::hex(&digest::framed("keyward/tag", &[whose, tag.as_bytes()])))
    }

    /// The keys and credentials that are due for something in a minute, counted from 1970.
    pub fn due(minute: i64) -> String {
        format!("due:{minute}")
    }

    /// The same in an hour, counted from 1970: where nothing is due in an hour, nobody goes through its minutes.
    pub fn due_in_hour(hour: i64) -> String {
        format!("due:h{hour}")
    }

    /// The events about one application and its keys.
    pub fn events_of_application(application: ApplicationId) -> String {
        format!("ev:app:{}", application.hex())
    }

    /// The events about one key.
    pub fn events_of_key(key: KeyId) -> String {
        format!("ev:key:{}", key.hex())
    }

    /// The events about one credential.
    pub fn events_of_credential(credential: CredentialId) -> String {
        format!("ev:crd:{}", credential.hex())
    }

    /// The events that one key caused.
    pub fn events_by(actor: KeyId) -> String {
        format!("ev:by:{}", actor.hex())
    }

    /// The events of one action.
    pub fn events_of_action(action: Action) -> String {
        format!("ev:do:{}", action.as_str())
    }
}
