//! The keys of the log: those that sign, as the operator hands them in, and those that verify, as C2SP signed-note writes them.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::Deserialize;

use super::{Checkpoint, ED25519, SIGNATURE_MARK, is_key_name, key_id};
use crate::digest::hex;
use crate::ring::{Ring, RingDocument, RingError, VersionDocument};
use crate::secret::SecretText;
use crate::tree::Hash;

/// The name of the variable, for errors.
const NAME: &str = "log_keys";

/// The longest origin in bytes. Ours: it is repeated in every signature line of every checkpoint.
pub const ORIGIN_BYTES_MAX: usize = 128;

/// The keys that sign checkpoints, and the log's name, out of a document like a ring's: `{"origin":"...","versions":[...]}`, the
/// keys being Ed25519 seeds (RFC 8032 section 5.1.5).
///
/// Every version signs, the active one first: a roll-over is a time of two signatures, in which whoever verifies may know
/// either key. A version is retired by leaving the document.
pub struct LogKeys {
    origin: String,
    keys: Vec<SigningKey>,
}

/// Why the log's keys were refused. The operator is to blame; no variant carries key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogKeysError {
    /// Not JSON, or JSON of another shape. The parser's own words are left out on purpose: they quote the input.
    #[error(
        "`{NAME}` is no document of log keys (line {line}, column {column}); expected \
         {{\"origin\":\"<name of the log>\",\"versions\":[...]}} with versions as in a key ring and no other field"
    )]
    Shape {
        /// Line of the input, from 1.
        line: usize,
        /// Column of the input, from 1; 0 where the fault is the end of a line.
        column: usize,
    },
    /// An origin that cannot name a log.
    #[error(
        "`{NAME}`: `origin` is no name of a log; expected 1 to {ORIGIN_BYTES_MAX} visible ASCII characters without space and \
         `+`, like `keyward.example.com/3f9c2a`"
    )]
    Origin,
    /// The versions are at fault.
    #[error(transparent)]
    Ring(#[from] RingError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    origin: String,
    versions: Vec<VersionDocument>,
}

impl LogKeys {
    /// Parses the variable `log_keys`.
    ///
    /// # Errors
    /// See [`LogKeysError`]; nothing of a document with a fault is used.
    pub fn parse(json: &str) -> Result<Self, LogKeysError> {
        let document: Document = serde_json::from_str(json)
            .map_err(|fault| LogKeysError::Shape { line: fault.line(), column: fault.column() })?;
        check_origin(&document.origin)?;
        let (active, others) = Ring::of(NAME, document.versions)?.into_entries();
        let entries = std::iter::once(&active).chain(&others);
        Ok(Self {
            origin: document.origin,
            keys: entries.map(|entry| SigningKey::from_bytes(entry.key.expose())).collect(),
        })
    }

    /// A new document of one active version, as `keyward init` makes it; `seed` is 32 fresh bytes from the operating system's
    /// random source, `created_at` is RFC 3339.
    ///
    /// # Errors
    /// [`LogKeysError::Origin`], or what [`RingDocument::generate`] finds.
    pub fn generate(seed: [u8; 32], origin: &str, created_at: &str) -> Result<SecretText, LogKeysError> {
        check_origin(origin)?;
        let ring = RingDocument::generate(seed, created_at)?;
        let origin = serde_json::Value::from(origin);
        Ok(SecretText::new(format!(r#"{{"origin":{origin},{}}}"#, ring.versions().expose())))
    }

    /// The origin line of an epoch's checkpoints, and the name of the keys that sign them.
    pub fn origin(&self, epoch: u32) -> String {
        format!("{}/{epoch}", self.origin)
    }

    /// A checkpoint of an epoch's log as a signed note, with a signature of each key.
    pub fn sign(&self, epoch: u32, size: u64, root: &Hash) -> String {
        let checkpoint = Checkpoint { origin: self.origin(epoch), size, root: *root };
        let text = checkpoint.text();
        let mut note = format!("{text}\n");
        for key in &self.keys {
            let id = key_id(&checkpoint.origin, key.verifying_key().as_bytes());
            let signature = [id.as_slice(), &key.sign(text.as_bytes()).to_bytes()].concat();
            note.push_str(&format!("{SIGNATURE_MARK}{} {}\n", checkpoint.origin, STANDARD.encode(signature)));
        }
        note
    }

    /// The public keys of an epoch's log, the active one first, as [`VerifierKey::parse`] reads them.
    pub fn verifier_keys(&self, epoch: u32) -> Vec<String> {
        let name = self.origin(epoch);
        let keys = self.keys.iter().map(SigningKey::verifying_key);
        keys.map(|key| VerifierKey { name: name.clone(), key }.to_string()).collect()
    }
}

fn check_origin(origin: &str) -> Result<(), LogKeysError> {
    let fits = (1..=ORIGIN_BYTES_MAX).contains(&origin.len())
        && origin.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+');
    if fits { Ok(()) } else { Err(LogKeysError::Origin) }
}

/// A public key and its name: `name+hash+key`, the hash being its id in 8 hexadecimal digits, the key base64 of `0x01` and its
/// 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    pub(super) name: String,
    pub(super) key: VerifyingKey,
}

/// Why a text is no verifier key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifierKeyError {
    /// Not of the form.
    #[error("not a verifier key; expected `<name>+<8 hexadecimal digits>+<base64>`, the name without spaces")]
    Shape,
    /// A key of another signature type.
    #[error("the key `{name}` has signature type `{found}`; expected `{ED25519}`, Ed25519")]
    Type {
        /// The key's name.
        name: String,
        /// The type's number.
        found: u8,
    },
    /// Not a point of the curve, or one under which anybody can sign.
    #[error("the key `{name}` is no sound Ed25519 key of 32 bytes")]
    Key {
        /// The key's name.
        name: String,
    },
    /// The id is not that of name and key: one of them was mistyped.
    #[error("the hash in the key `{name}` is `{found}`, but name and key have `{expected}`")]
    Id {
        /// The key's name.
        name: String,
        /// As written.
        found: String,
        /// As computed.
        expected: String,
    },
}

impl VerifierKey {
    /// Parses a verifier key.
    ///
    /// # Errors
    /// See [`VerifierKeyError`].
    pub fn parse(text: &str) -> Result<Self, VerifierKeyError> {
        let (name, rest) = text.split_once('+').ok_or(VerifierKeyError::Shape)?;
        let (found, encoded) = rest.split_once('+').ok_or(VerifierKeyError::Shape)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| VerifierKeyError::Shape)?;
        let is_id = found.len() == 8 && found.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_key_name(name) || !is_id {
            return Err(VerifierKeyError::Shape);
        }
        let name = name.to_owned();
        let public = match bytes.split_first() {
            Some((&ED25519, public)) => public,
            Some((&found, _)) => return Err(VerifierKeyError::Type { name, found }),
            None => return Err(VerifierKeyError::Shape),
        };
        let key = VerifyingKey::try_from(public).ok().filter(|key| !key.is_weak());
        let Some(key) = key else { return Err(VerifierKeyError::Key { name }) };
        let verifier = Self { name, key };
        let expected = hex(&verifier.id());
        if found != expected {
            return Err(VerifierKeyError::Id { name: verifier.name, found: found.to_owned(), expected });
        }
        Ok(verifier)
    }

    /// The key's name; a log's is its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same public key under another name, as a log's next epoch has it. `None` where no key may have that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Self> {
        is_key_name(name).then(|| Self { name: name.to_owned(), key: self.key })
    }

    /// What a signature line names the key by, beside its name.
    pub(super) fn id(&self) -> [u8; 4] {
        key_id(&self.name, self.key.as_bytes())
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519], self.key.as_bytes().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, hex(&self.id()), STANDARD.encode(key))
    }
}
