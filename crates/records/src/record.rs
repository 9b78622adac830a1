//! Typed records: what is sealed under which domain, at which store key.

use crate::names;
use keyward_crypto::{Domain, OpenError, SealError, Sealer};
use keyward_domain::application::{Application, Details, NameOwner};
use keyward_domain::claim::Claim;
use keyward_domain::credential::Credential;
use keyward_domain::event::EventId;
use keyward_domain::issuing::Issuing;
use keyward_domain::key::Key;
use keyward_domain::policy::Policy;
use keyward_domain::renewal::Renewal;
use keyward_domain::role::Role;
use keyward_domain::session::Session;
use keyward_domain::timestamp::millis;
use keyward_domain::webhook::Webhook;
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

/// How the plaintext of a record is written, behind the byte that is its schema's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// JSON: names its fields, and can gain some without a new schema.
    Json,
    /// Postcard: for what every validation opens, where each byte costs a decryption.
    Binary,
}

// Always inlined, where the codec is a constant: a record's other codec must not stay in the components.
impl Codec {
    #[inline(always)]
    fn encode<R: Serialize>(self, schema: u8, record: &R) -> keyward_crypto::Zeroizing<Vec<u8>> {
        let mut plain = keyward_crypto::Zeroizing::new(vec![schema]);
        // Neither fails for plain data.
        match self {
            Self::Json => serde_json::to_writer(&mut *plain, record).unwrap_or_default(),
            Self::Binary => {
                *plain = postcard::to_extend(record, std::mem::take(&mut *plain)).unwrap_or_default();
            }
        }
        plain
    }

    #[inline(always)]
    fn decode<R: DeserializeOwned>(self, body: &[u8]) -> Result<R, RecordError> {
        match self {
            Self::Json => serde_json::from_slice(body).map_err(|_| RecordError::Damaged),
            Self::Binary => postcard::from_bytes(body).map_err(|_| RecordError::Damaged),
        }
    }
}

/// A record that lies sealed in the store.
pub trait Record: Serialize + DeserializeOwned {
    /// Under which subkey it is sealed.
    const DOMAIN: Domain;
    /// How its plaintext is written.
    const CODEC: Codec = Codec::Json;
    /// The number of the schema in which it is written. A change that an older build could misread takes the next.
    const SCHEMA: u8 = 1;
    /// Where it lies; part of what is authenticated, so that it opens nowhere else.
    fn store_key(&self) -> String;

    /// Turns the body of a schema of the past into one of the current schema, in which the record is written whenever it is written
    /// next.
    ///
    /// # Errors
    /// [`RecordError::FormatUnknown`] where it is none of the past's: a newer build wrote it.
    fn upgrade(schema: u8, _body: &[u8]) -> Result<keyward_crypto::Zeroizing<Vec<u8>>, RecordError> {
        Err(RecordError::FormatUnknown(schema))
    }
}

/// Opens the value found at `store_key`.
///
/// # Errors
/// [`RecordError`] where it does not open, is of another shape, or belongs to another store key.
pub fn open<R: Record>(sealer: &Sealer, store_key: &str, value: &[u8]) -> Result<R, RecordError> {
    let plain = sealer.open(R::DOMAIN, store_key, value)?;
    let (&schema, body) = plain.split_first().ok_or(RecordError::Damaged)?;
    let upgraded;
    let body = if schema == R::SCHEMA {
        body
    } else {
        upgraded = R::upgrade(schema, body)?;
        &upgraded
    };
    let record: R = R::CODEC.decode(body)?;
    if record.store_key() == store_key { Ok(record) } else { Err(RecordError::Damaged) }
}

/// Seals a record for its store key; `nonce` is fresh.
///
/// # Errors
/// [`SealError`] where the record is too large.
pub fn seal<R: Record>(sealer: &Sealer, record: &R, nonce: [u8; 12]) -> Result<Vec<u8>, SealError> {
    sealer.seal(R::DOMAIN, &record.store_key(), &R::CODEC.encode(R::SCHEMA, record), nonce)
}

impl Record for Key {
    const DOMAIN: Domain = Domain::Key;
    const CODEC: Codec = Codec::Binary;
    const SCHEMA: u8 = 5;

    fn store_key(&self) -> String {
        names::key(self.id)
    }

    fn upgrade(schema: u8, body: &[u8]) -> Result<keyward_crypto::Zeroizing<Vec<u8>>, RecordError> {
        // What each schema added lies at the end, and nothing of it is one zero byte: an empty list, a number, or none.
        let added: &[u8] = match schema {
            // Tags and roles; then policy and rotation; then limits; then where it was imported.
            1 => &[0; 2 + 6 + 1 + 1],
            2 => &[0; 6 + 1 + 1],
            3 => &[0; 1 + 1],
            4 => &[0; 1],
            _ => return Err(RecordError::FormatUnknown(schema)),
        };
        Ok(keyward_crypto::Zeroizing::new([body, added].concat()))
    }
}

impl Record for Application {
    const DOMAIN: Domain = Domain::Application;
    const CODEC: Codec = Codec::Binary;
    const SCHEMA: u8 = 2;

    fn store_key(&self) -> String {
        names::application(self.id)
    }

    fn upgrade(schema: u8, body: &[u8]) -> Result<keyward_crypto::Zeroizing<Vec<u8>>, RecordError> {
        match schema {
            // Without limits.
            1 => Ok(keyward_crypto::Zeroizing::new([body, &[0]].concat())),
            _ => Err(RecordError::FormatUnknown(schema)),
        }
    }
}

impl Record for Details {
    const DOMAIN: Domain = Domain::ApplicationDetails;
    fn store_key(&self) -> String {
        names::details(self.id)
    }
}

impl Record for Role {
    const DOMAIN: Domain = Domain::Role;
    // Read by validation as well, where a second parser of JSON would weigh more than all of it.
    const CODEC: Codec = Codec::Binary;
    fn store_key(&self) -> String {
        names::role(self.id)
    }
}

impl Record for Claim {
    const DOMAIN: Domain = Domain::Claim;
    fn store_key(&self) -> String {
        names::claim(self.id)
    }
}

impl Record for Renewal {
    const DOMAIN: Domain = Domain::Claim;
    fn store_key(&self) -> String {
        names::renewal(self.id)
    }
}

impl Record for Policy {
    const DOMAIN: Domain = Domain::Policy;
    fn store_key(&self) -> String {
        names::policy(self.id)
    }
}

impl Record for Credential {
    const DOMAIN: Domain = Domain::Credential;
    fn store_key(&self) -> String {
        names::credential(self.id)
    }
}

impl Record for Issuing {
    const DOMAIN: Domain = Domain::Control;
    fn store_key(&self) -> String {
        names::ISSUING.to_owned()
    }
}

impl Record for Session {
    const DOMAIN: Domain = Domain::Session;
    const CODEC: Codec = Codec::Binary;
    fn store_key(&self) -> String {
        names::SESSION_COOKIE.to_owned()
    }
}

impl Record for Webhook {
    const DOMAIN: Domain = Domain::Webhook;
    fn store_key(&self) -> String {
        names::webhook(self.id)
    }
}

/// A [`NameOwner`] together with the store key that its name has.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRecord {
    /// Its store key: [`names::application_name`], [`names::role_name`], [`names::policy_name`] or [`names::credential_name`].
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
    /// Since when it was missed.
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
    /// The event that it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_crypto::{Ring, RingDocument};
    use keyward_domain::application::Status;
    use keyward_domain::imported::{Algorithm, Imported};
    use keyward_domain::key::{Environment, OpenClaim, Rules, Version};
    use keyward_domain::limit::{Limit, OnOutage, Window};
    use keyward_domain::network::NetworkRule;
    use keyward_domain::rotation::{Mode, Offer, Rotation};
    use keyward_domain::scope::ScopeSet;
    use keyward_domain::{ApplicationId, ClaimId, KeyId, PolicyId, RenewalId, RoleId};

    fn sealer() -> Sealer {
        let document = RingDocument::generate([7; 32], "2026-01-31T08:00:00Z").unwrap();
        Sealer::new(Ring::parse("records_keyring", document.to_json().expose()).unwrap())
    }

    fn key() -> Key {
        let at = Timestamp::from_unix_ms(1_795_515_095_042);
        Key {
            id: KeyId::from_bytes([1; 16]),
            application: ApplicationId::from_bytes([2; 16]),
            generation: 3,
            prefix: "acme".into(),
            environment: Environment::Test,
            name: "order \u{1b}[31m channel".into(),
            principal: Some("Zoë".into()),
            scopes: ScopeSet::parse("scopes", &["orders:read", "a:*"]).unwrap(),
            rules: Rules {
                network: NetworkRule::parse("network", &["10.0.0.0/8", "2001:db8::/32"]).unwrap(),
            },
            expires_at: Some(at.plus_s(60)),
            disabled: true,
            created_at: at,
            versions: vec![Version { number: 1, pepper: 2, mac: [9; 32], claimed_at: at }],
            claim: Some(OpenClaim { id: ClaimId::from_bytes([4; 16]), version: 2, expires_at: at }),
            revision: 5,
            event: EventId { epoch: 1, seq: 77 },
            tags: vec!["acme".into()],
            roles: vec![RoleId::from_bytes([8; 16])],
            policy: Some(PolicyId::from_bytes([6; 16])),
            rotation: Rotation {
                offer: Some(Offer { version: 2, mode: Mode::Incident, grace_s: 60, at }),
                overlap_ends_at: Some(at.plus_s(30)),
                version_offered: 2,
                renewal: Some(RenewalId::from_bytes([5; 16])),
                looked_at: Some(at),
            },
            limits: vec![
                Limit {
                    name: "burst".into(),
                    amount: 10,
                    window: Window::Seconds(1),
                    on_outage: OnOutage::Pass,
                },
                Limit { name: "quota".into(), amount: 9, window: Window::Month, on_outage: OnOutage::Refuse },
            ],
            imported: Some(Imported { algorithm: Algorithm::Sha512, is_weak: Some(true) }),
        }
    }

    /// The same key as the first schema knew it.
    fn bare() -> Key {
        Key {
            principal: None,
            rules: Rules::default(),
            expires_at: None,
            claim: None,
            tags: Vec::new(),
            roles: Vec::new(),
            policy: None,
            rotation: Rotation::default(),
            limits: Vec::new(),
            imported: None,
            ..key()
        }
    }

    #[test]
    fn a_key_comes_back_whole_and_small() {
        let (sealer, key) = (sealer(), key());
        let sealed = seal(&sealer, &key, [0; 12]).unwrap();
        assert!(open::<Key>(&sealer, &key.store_key(), &sealed).is_ok_and(|found| found == key));
        let bare = bare();
        let sealed = seal(&sealer, &bare, [0; 12]).unwrap();
        assert!(open::<Key>(&sealer, &bare.store_key(), &sealed).is_ok_and(|found| found == bare));
        assert!(sealed.len() < 220, "{} bytes on the hot path", sealed.len());
    }

    #[test]
    fn a_key_of_an_earlier_schema_is_read() {
        let (sealer, bare) = (sealer(), bare());
        for (schema, added_since) in [(1, 10), (2, 8), (3, 2), (4, 1)] {
            let mut plain = Key::CODEC.encode(schema, &bare);
            let length = plain.len() - added_since;
            plain.truncate(length);
            let sealed = sealer.seal(Key::DOMAIN, &bare.store_key(), &plain, [0; 12]).unwrap();
            assert!(open::<Key>(&sealer, &bare.store_key(), &sealed).is_ok_and(|found| found == bare));
        }
    }

    #[test]
    fn an_application_without_limits_is_read() {
        let event = EventId { epoch: 1, seq: 7 };
        let id = ApplicationId::from_bytes([3; 16]);
        let application =
            Application { id, status: Status::Active, generation: 1, revision: 4, event, limits: Vec::new() };
        let mut plain = Application::CODEC.encode(1, &application);
        let length = plain.len() - 1;
        plain.truncate(length);
        let sealer = sealer();
        let sealed = sealer.seal(Application::DOMAIN, &application.store_key(), &plain, [0; 12]).unwrap();
        assert!(
            open::<Application>(&sealer, &application.store_key(), &sealed)
                .is_ok_and(|found| found == application)
        );
    }

    #[test]
    fn what_another_build_wrote_is_later_not_denied() {
        let (sealer, key) = (sealer(), key());
        let mut plain = Key::CODEC.encode(Key::SCHEMA, &key);
        plain[0] = 9;
        let sealed = sealer.seal(Key::DOMAIN, &key.store_key(), &plain, [0; 12]).unwrap();
        assert_eq!(
            open::<Key>(&sealer, &key.store_key(), &sealed).err(),
            Some(RecordError::FormatUnknown(9))
        );
        let sealed = sealer.seal(Key::DOMAIN, &key.store_key(), &plain[..20], [0; 12]).unwrap();
        assert!(open::<Key>(&sealer, &key.store_key(), &sealed).is_err());
    }
}
