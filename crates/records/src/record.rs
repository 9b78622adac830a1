//! Typed records: what is sealed under which domain, at which store key.

use crate::names;
use keyward_crypto::{Domain, OpenError, SealError, Sealer};
use keyward_domain::application::{Application, Details, NameOwner};
use keyward_domain::claim::Claim;
use keyward_domain::event::{Event, EventId};
use keyward_domain::key::Key;
use keyward_domain::timestamp::millis;
use keyward_domain::{Code, Error, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Why a record could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordError {
    /// Sealed under a ring version that this process does not have: not "denied" but "later".
    RingVersionUnknown(u32),
    /// Written in a layout that this build does not know: likewise later, by a newer build.
    FormatUnknown(u8),
    /// It does not open, or is not what its key says.
    Damaged,
}

impl RecordError {
    /// The error for the outside; `what` names the kind of record.
    pub fn into_error(self, what: &str) -> Error {
        match self {
            Self::RingVersionUnknown(version) => Error::new(
                Code::RingVersionUnknown,
                format!(
                    "the record of {what} is sealed under ring version {version}, which this process does not have"
                ),
            ),
            Self::FormatUnknown(format) => Error::new(
                Code::RingVersionUnknown,
                format!("the record of {what} has format {format}, which this build does not know"),
            ),
            Self::Damaged => Error::damaged(what),
        }
    }

    /// Whether this process is merely behind, rather than the record being at fault.
    pub const fn is_unavailable(self) -> bool {
        !matches!(self, Self::Damaged)
    }
}

impl From<OpenError> for RecordError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::UnknownRingVersion(version) => Self::RingVersionUnknown(version),
            OpenError::UnknownFormat(format) => Self::FormatUnknown(format),
            _ => Self::Damaged,
        }
    }
}

/// A record that lies sealed in the store.
pub trait Record: Serialize + DeserializeOwned {
    /// Under which subkey it is sealed.
    const DOMAIN: Domain;
    /// Where it lies; part of what is authenticated, so that it opens nowhere else.
    fn store_key(&self) -> String;
}

/// Opens the value found at `store_key`.
///
/// # Errors
/// [`RecordError`] where it does not open, is of another shape, or belongs to another store key.
pub fn open<R: Record>(sealer: &Sealer, store_key: &str, value: &[u8]) -> Result<R, RecordError> {
    let plain = sealer.open(R::DOMAIN, store_key, value)?;
    let record: R = serde_json::from_slice(&plain).map_err(|_| RecordError::Damaged)?;
    if record.store_key() == store_key { Ok(record) } else { Err(RecordError::Damaged) }
}

/// Seals a record for its store key; `nonce` is fresh.
///
/// # Errors
/// [`SealError`] where the record is too large.
pub fn seal<R: Record>(sealer: &Sealer, record: &R, nonce: [u8; 12]) -> Result<Vec<u8>, SealError> {
    let plain = keyward_crypto::Zeroizing::new(serde_json::to_vec(record).unwrap_or_default());
    sealer.seal(R::DOMAIN, &record.store_key(), &plain, nonce)
}

impl Record for Key {
    const DOMAIN: Domain = Domain::Key;
    fn store_key(&self) -> String {
        names::key(self.id)
    }
}

impl Record for Application {
    const DOMAIN: Domain = Domain::Application;
    fn store_key(&self) -> String {
        names::application(self.id)
    }
}

impl Record for Details {
    const DOMAIN: Domain = Domain::ApplicationDetails;
    fn store_key(&self) -> String {
        names::details(self.id)
    }
}

impl Record for Claim {
    const DOMAIN: Domain = Domain::Claim;
    fn store_key(&self) -> String {
        names::claim(self.id)
    }
}

impl Record for Event {
    const DOMAIN: Domain = Domain::Event;
    fn store_key(&self) -> String {
        names::event(self.id)
    }
}

/// A [`NameOwner`] together with the store key that its name has.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRecord {
    /// Its store key, [`names::name_owner`].
    pub at: String,
    /// Who holds it.
    #[serde(flatten)]
    pub owner: NameOwner,
}

impl Record for NameRecord {
    const DOMAIN: Domain = Domain::ApplicationDetails;
    fn store_key(&self) -> String {
        self.at.clone()
    }
}

/// The void of a ticket for which no event was written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Void {
    /// Which ticket.
    pub id: EventId,
    /// When it was given up.
    #[serde(with = "millis")]
    pub at: Timestamp,
}

impl Record for Void {
    const DOMAIN: Domain = Domain::Void;
    fn store_key(&self) -> String {
        names::void(self.id)
    }
}

/// What an idempotent request came to: sealed under the ring *and* its Idempotency-Key, since it may hold a ticket or a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredOutcome {
    /// SHA-256 of the request's body in its canonical form, lowercase hex.
    pub request: String,
    /// Until when it may be had again.
    #[serde(with = "millis")]
    pub until: Timestamp,
    /// The result, as the use case gave it.
    pub result: String,
}
