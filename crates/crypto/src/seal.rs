//! Sealed records: AES-256-GCM under a subkey per ring version and domain, bound to the record's store key.
//! A sealed value opens only in the domain and under the store key for which it was sealed. Nonces come in as arguments;
//! nothing here counts them: a ring version seals at most 2^31 times, which the audit tickets know.

use std::sync::OnceLock;

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::array::Array;
use aes_gcm::{Aes256Gcm, KeyInit};
use zeroize::Zeroizing;

use crate::digest;
use crate::keyed::{self, MacKey};
use crate::ring::{Entry, Ring, UnknownRingVersion};
use crate::secret::SecretBytes;

/// The longest plaintext that is sealed, in bytes: 1 MiB. Far above any record, far below AES-GCM's 64 GiB; it bounds what a
/// forged record can make a validator allocate.
pub const PLAINTEXT_BYTES_MAX: usize = 1 << 20;

/// The first byte of every sealed value of this layout:
/// `format (1) | ring version (4, big-endian) | nonce (12) | ciphertext | tag (16)`.
pub const FORMAT: u8 = 1;

/// How much longer a sealed value is than its plaintext, in bytes.
pub const OVERHEAD_BYTES: usize = 1 + 4 + NONCE_BYTES + TAG_BYTES;

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// The HKDF salt of every subkey. RFC 5869 section 3.1 asks for no secret here; a constant of our own keeps a ring key that is
/// also used elsewhere from giving the same subkeys there.
const HKDF_SALT: &[u8] = b"keyward/v1/ring";

/// What a sealed value is. Each has subkeys of its own: a value of one domain does not open in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Domain {
    /// Who revoked a key, when and why (`k:{id}`, behind the plain byte).
    Tombstone,
    /// All of a key but its flag (`m:{id}`).
    Key,
    /// What validation must know of an application (`a:{app}`).
    Application,
    /// The rest of an application (`d:{app}`).
    ApplicationDetails,
    /// A claim (`q:{digest}`), or the right to renew (`z:{digest}`).
    Claim,
    /// The outcome of an idempotent request (`y:{digest}`).
    Outcome,
    /// An audit event (`e:{epoch}.{seq}`).
    Event,
    /// The personal part inside an audit event.
    EventPersonal,
    /// A void for a ticket never used (`v:{epoch}.{seq}`).
    Void,
    /// A projection of the log (`p:...`).
    Projection,
    /// A checkpoint of the tree (`cp:{size}`).
    Checkpoint,
    /// A batch of use (`u:{ticket}`).
    Usage,
    /// A role (`r:{id}`).
    Role,
    /// The key of a month's personal data (`s:{month}.{n}`).
    PersonalKey,
    /// A switch of the whole of Keyward (`o:...`).
    Control,
    /// A webhook (`h:{id}`).
    Webhook,
    /// A policy (`g:{id}`).
    Policy,
    /// A session of the dashboard, which lies at the browser and in no store.
    Session,
    /// A credential, without what it holds (`j:{id}`).
    Credential,
    /// What a version of a credential holds (`j:{id}.{version}`), under the ring of the vault.
    CredentialValue,
}

impl Domain {
    /// Every domain.
    pub const ALL: [Self; 20] = [
        Self::Tombstone,
        Self::Key,
        Self::Application,
        Self::ApplicationDetails,
        Self::Claim,
        Self::Outcome,
        Self::Event,
        Self::EventPersonal,
        Self::Void,
        Self::Projection,
        Self::Checkpoint,
        Self::Usage,
        Self::Role,
        Self::PersonalKey,
        Self::Control,
        Self::Webhook,
        Self::Policy,
        Self::Session,
        Self::Credential,
        Self::CredentialValue,
    ];

    /// The stable label that enters subkeys and additional data. Changing one makes every record of it unreadable.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tombstone => "keyward/v1/tombstone",
            Self::Key => "keyward/v1/key",
            Self::Application => "keyward/v1/application",
            Self::ApplicationDetails => "keyward/v1/application-details",
            Self::Claim => "keyward/v1/claim",
            Self::Outcome => "keyward/v1/outcome",
            Self::Event => "keyward/v1/event",
            Self::EventPersonal => "keyward/v1/event-personal",
            Self::Void => "keyward/v1/void",
            Self::Projection => "keyward/v1/projection",
            Self::Checkpoint => "keyward/v1/checkpoint",
            Self::Usage => "keyward/v1/usage",
            Self::Role => "keyward/v1/role",
            Self::PersonalKey => "keyward/v1/personal-key",
            Self::Control => "keyward/v1/control",
            Self::Webhook => "keyward/v1/webhook",
            Self::Policy => "keyward/v1/policy",
            Self::Session => "keyward/v1/session",
            Self::Credential => "keyward/v1/credential",
            Self::CredentialValue => "keyward/v1/credential-value",
        }
    }
}

/// Why something was not sealed. Our own bug, not the caller's: limits on input lie far below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// More than [`PLAINTEXT_BYTES_MAX`].
    #[error("a record of {bytes} bytes is too long to seal; at most {PLAINTEXT_BYTES_MAX}")]
    TooLong {
        /// The plaintext's length.
        bytes: usize,
    },
}

/// Why a sealed value did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Written in a layout that this build does not know: a newer Keyward wrote it. 503, never "denied".
    #[error("sealed in format `{0}`, which is unknown here; expected `{FORMAT}`")]
    UnknownFormat(u8),
    /// Sealed under a ring version that this process does not have. 503, never "denied".
    #[error("sealed under ring version `{0}`, which is unknown here")]
    UnknownRingVersion(u32),
    /// Too short or too long to be a sealed value: an integrity fault.
    #[error("not a sealed value")]
    Malformed,
    /// Changed, moved to another store key or domain, or sealed under another key: an integrity fault.
    #[error("a sealed value is not authentic")]
    NotAuthentic,
}

impl OpenError {
    /// Whether this process is merely behind (503), rather than the record being at fault (an integrity alarm).
    pub fn is_unavailable(self) -> bool {
        matches!(self, Self::UnknownFormat(_) | Self::UnknownRingVersion(_))
    }
}

/// One ring version: its key, and what was derived from it so far.
struct Version {
    version: u32,
    key: SecretBytes<32>,
    ciphers: [OnceLock<Box<Aes256Gcm>>; Domain::ALL.len()],
    digest_key: OnceLock<MacKey>,
}

impl Version {
    fn new(entry: Entry) -> Self {
        Self {
            version: entry.version,
            key: entry.key,
            ciphers: [const { OnceLock::new() }; Domain::ALL.len()],
            digest_key: OnceLock::new(),
        }
    }

    fn cipher(&self, domain: Domain) -> &Aes256Gcm {
        // Taken apart by a pattern, not an index: a domain without a slot does not compile.
        let [
            tombstone,
            key,
            application,
            details,
            claim,
            outcome,
            event,
            personal,
            void,
            projection,
            checkpoint,
            usage,
            role,
            personal_key,
            control,
            webhook,
            policy,
            session,
            credential,
            credential_value,
        ] = &self.ciphers;
        let slot = match domain {
            Domain::Tombstone => tombstone,
            Domain::Key => key,
            Domain::Application => application,
            Domain::ApplicationDetails => details,
            Domain::Claim => claim,
            Domain::Outcome => outcome,
            Domain::Event => event,
            Domain::EventPersonal => personal,
            Domain::Void => void,
            Domain::Projection => projection,
            Domain::Checkpoint => checkpoint,
            Domain::Usage => usage,
            Domain::Role => role,
            Domain::PersonalKey => personal_key,
            Domain::Control => control,
            Domain::Webhook => webhook,
            Domain::Policy => policy,
            Domain::Session => session,
            Domain::Credential => credential,
            Domain::CredentialValue => credential_value,
        };
        slot.get_or_init(|| Box::new(self.derive_cipher(domain, None)))
    }

    /// The subkey is HKDF-SHA-256 with salt `keyward/v1/ring` and info the domain's label. With an extra secret, the input
    /// keying material is the ring key followed by the secret (the first is always 32 bytes, so the border is clear) and the
    /// info ends in `/bound`.
    fn derive_cipher(&self, domain: Domain, extra: Option<&[u8]>) -> Aes256Gcm {
        let key = match extra {
            None => keyed::derive(HKDF_SALT, &[self.key.expose()], domain.label().as_bytes()),
            Some(extra) => keyed::derive(
                HKDF_SALT,
                &[self.key.expose(), extra],
                &[domain.label().as_bytes(), b"/bound"].concat(),
            ),
        };
        Aes256Gcm::new((&*key).into())
    }

    fn digest_key(&self) -> &MacKey {
        self.digest_key.get_or_init(|| {
            MacKey::new(&keyed::derive(HKDF_SALT, &[self.key.expose()], b"keyward/v1/keyed-digest"))
        })
    }
}

/// Seals and opens records under one ring. Subkeys and their key schedules are derived once and kept: make one per ring and
/// instance.
pub struct Sealer {
    ring_name: &'static str,
    active: Version,
    others: Vec<Version>,
}

impl Sealer {
    /// Takes a ring over. Nothing is derived yet.
    pub fn new(ring: Ring) -> Self {
        let ring_name = ring.name();
        let (active, others) = ring.into_entries();
        Self {
            ring_name,
            active: Version::new(active),
            others: others.into_iter().map(Version::new).collect(),
        }
    }

    /// The ring's name, for errors.
    pub fn ring_name(&self) -> &'static str {
        self.ring_name
    }

    /// The ring version that seals.
    pub fn active_version(&self) -> u32 {
        self.active.version
    }

    /// Every version that opens, the active one first.
    pub fn versions(&self) -> impl Iterator<Item = u32> + '_ {
        std::iter::once(&self.active).chain(&self.others).map(|known| known.version)
    }

    /// Seals `plaintext` under the active version for one domain and store key.
    ///
    /// `nonce` is 12 fresh random bytes, never used before under this ring.
    ///
    /// # Errors
    /// [`SealError::TooLong`].
    pub fn seal(
        &self,
        domain: Domain,
        store_key: &str,
        plaintext: &[u8],
        nonce: [u8; 12],
    ) -> Result<Vec<u8>, SealError> {
        seal_with(self.active.cipher(domain), self.active.version, domain, store_key, plaintext, nonce)
    }

    /// Opens what [`Sealer::seal`] gave for the same domain and store key, under whichever version sealed it.
    ///
    /// # Errors
    /// See [`OpenError`]; [`OpenError::is_unavailable`] tells 503 from an integrity fault.
    pub fn open(
        &self,
        domain: Domain,
        store_key: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let parts = Parts::split(sealed)?;
        let version = self.version(parts.version).ok_or(OpenError::UnknownRingVersion(parts.version))?;
        open_with(version.cipher(domain), domain, store_key, &parts)
    }

    /// As [`Sealer::seal`], under a subkey that also needs `extra`, such as the request's Idempotency-Key: who has the store
    /// and the ring but not `extra` cannot open it, as far as `extra` cannot be guessed. Nothing is kept.
    ///
    /// # Errors
    /// [`SealError::TooLong`].
    pub fn seal_bound(
        &self,
        domain: Domain,
        store_key: &str,
        extra: &[u8],
        plaintext: &[u8],
        nonce: [u8; 12],
    ) -> Result<Vec<u8>, SealError> {
        let cipher = self.active.derive_cipher(domain, Some(extra));
        seal_with(&cipher, self.active.version, domain, store_key, plaintext, nonce)
    }

    /// Opens what [`Sealer::seal_bound`] gave for the same domain, store key and `extra`.
    ///
    /// # Errors
    /// See [`OpenError`]; a wrong `extra` is [`OpenError::NotAuthentic`].
    pub fn open_bound(
        &self,
        domain: Domain,
        store_key: &str,
        extra: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let parts = Parts::split(sealed)?;
        let version = self.version(parts.version).ok_or(OpenError::UnknownRingVersion(parts.version))?;
        open_with(&version.derive_cipher(domain, Some(extra)), domain, store_key, &parts)
    }

    /// The ring version that sealed a value, without opening it: what re-sealing looks at.
    ///
    /// # Errors
    /// [`OpenError::Malformed`] and [`OpenError::UnknownFormat`].
    pub fn sealed_under(sealed: &[u8]) -> Result<u32, OpenError> {
        Parts::split(sealed).map(|parts| parts.version)
    }

    /// A keyed digest of a record's stored value under the active version: HMAC-SHA-256, under a subkey of its own, of the
    /// store key's length (big-endian u64), the store key and the value. Without the ring it tells nothing about the value.
    /// Keep [`Sealer::active_version`] beside it: verifying it later needs [`Sealer::keyed_digest_under`] that version.
    pub fn keyed_digest(&self, store_key: &str, value: &[u8]) -> [u8; 32] {
        keyed_digest(&self.active, store_key, value)
    }

    /// As [`Sealer::keyed_digest`], under a version of the past.
    ///
    /// # Errors
    /// [`UnknownRingVersion`].
    pub fn keyed_digest_under(
        &self,
        version: u32,
        store_key: &str,
        value: &[u8],
    ) -> Result<[u8; 32], UnknownRingVersion> {
        self.version(version)
            .map(|known| keyed_digest(known, store_key, value))
            .ok_or(UnknownRingVersion { ring: self.ring_name, version })
    }

    fn version(&self, version: u32) -> Option<&Version> {
        std::iter::once(&self.active).chain(&self.others).find(|known| known.version == version)
    }
}

fn keyed_digest(version: &Version, store_key: &str, value: &[u8]) -> [u8; 32] {
    let store_key = store_key.as_bytes();
    version.digest_key().mac(&[&digest::length_u64(store_key), store_key, value])
}

/// The additional data: the format byte, then the domain's label and the store key, each led by its length as a big-endian
/// u64, so that no two (domain, store key) share it. The ring version needs no place in it: it selects the key.
fn additional_data(domain: Domain, store_key: &str) -> Vec<u8> {
    let (label, store_key) = (domain.label().as_bytes(), store_key.as_bytes());
    [&[FORMAT], &digest::length_u64(label)[..], label, &digest::length_u64(store_key)[..], store_key].concat()
}

fn seal_with(
    cipher: &Aes256Gcm,
    version: u32,
    domain: Domain,
    store_key: &str,
    plaintext: &[u8],
    nonce: [u8; NONCE_BYTES],
) -> Result<Vec<u8>, SealError> {
    let too_long = SealError::TooLong { bytes: plaintext.len() };
    if plaintext.len() > PLAINTEXT_BYTES_MAX {
        return Err(too_long);
    }
    // One buffer of the final size: it is encrypted where it lies, so no copy of the plaintext stays behind.
    let mut sealed = Vec::with_capacity(plaintext.len().saturating_add(OVERHEAD_BYTES));
    sealed.push(FORMAT);
    sealed.extend_from_slice(&version.to_be_bytes());
    sealed.extend_from_slice(&nonce);
    let body_at = sealed.len();
    sealed.extend_from_slice(plaintext);
    let (_, body) = sealed.split_at_mut(body_at);
    let tag = cipher
        .encrypt_inout_detached(&Array(nonce), &additional_data(domain, store_key), body.into())
        // The cipher refuses nothing but lengths far above ours.
        .map_err(|_| too_long)?;
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// A sealed value taken apart, nothing of it believed yet.
struct Parts<'a> {
    version: u32,
    nonce: [u8; NONCE_BYTES],
    body: &'a [u8],
    tag: [u8; TAG_BYTES],
}

impl<'a> Parts<'a> {
    fn split(sealed: &'a [u8]) -> Result<Self, OpenError> {
        let (&format, rest) = sealed.split_first().ok_or(OpenError::Malformed)?;
        if format != FORMAT {
            return Err(OpenError::UnknownFormat(format));
        }
        let (&version, rest) = rest.split_first_chunk::<4>().ok_or(OpenError::Malformed)?;
        let (&nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::Malformed)?;
        let (body, &tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(OpenError::Malformed)?;
        if body.len() > PLAINTEXT_BYTES_MAX {
            return Err(OpenError::Malformed);
        }
        Ok(Self { version: u32::from_be_bytes(version), nonce, body, tag })
    }
}

fn open_with(
    cipher: &Aes256Gcm,
    domain: Domain,
    store_key: &str,
    parts: &Parts<'_>,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let mut body = Zeroizing::new(parts.body.to_vec());
    cipher
        .decrypt_inout_detached(
            &Array(parts.nonce),
            &additional_data(domain, store_key),
            body.as_mut_slice().into(),
            &Array(parts.tag),
        )
        .map_err(|_| OpenError::NotAuthentic)?;
    Ok(body)
}

#[cfg(test)]
mod tests;
