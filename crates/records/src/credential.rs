//! What a version of a credential holds, and what calls of its provider are signed with: the records that are sealed under the ring of
//! the vault. Nothing here is shown or logged.

use crate::names;
use crate::record::{Codec, Record};
use keyward_crypto::{Domain, SecretText};
use keyward_domain::webhook::{OldSecret, SECRET_BYTES};
use keyward_domain::{CredentialId, Timestamp};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;

/// The fields of a version, by their names.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct SecretFields(BTreeMap<String, SecretText>);

impl SecretFields {
    /// Takes the fields over.
    pub const fn new(fields: BTreeMap<String, SecretText>) -> Self {
        Self(fields)
    }

    /// Each field's name and what it holds, in the names' order.
    pub fn expose(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|(name, text)| (name.as_str(), text.expose()))
    }

    /// Their names and the lengths of what they hold, in bytes.
    pub fn lengths(&self) -> impl Iterator<Item = (&str, usize)> + Clone {
        self.expose().map(|(name, text)| (name, text.len()))
    }
}

/// What a version of a credential holds: the record `j:{id}.{version}`.
#[derive(Serialize, Deserialize)]
pub struct CredentialValue {
    /// Whose.
    pub credential: CredentialId,
    /// Which version's.
    pub version: u32,
    /// What it holds.
    #[serde(serialize_with = "to_be_sealed")]
    pub fields: SecretFields,
}

/// For the plaintext of a sealed record alone, which is wiped.
fn to_be_sealed<S: Serializer>(fields: &SecretFields, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(fields.0.len()))?;
    for (name, text) in fields.expose() {
        map.serialize_entry(name, text)?;
    }
    map.end()
}

impl Record for CredentialValue {
    const DOMAIN: Domain = Domain::CredentialValue;
    // A parser of JSON would leave copies of what it unescapes behind.
    const CODEC: Codec = Codec::Binary;
    fn store_key(&self) -> String {
        names::credential_value(self.credential, self.version)
    }
}

/// What calls of a credential's provider are signed with: the record `j:{id}.provider`.
#[derive(Serialize, Deserialize)]
pub struct ProviderSecret {
    /// Whose.
    pub credential: CredentialId,
    /// The secret.
    pub secret: [u8; SECRET_BYTES],
    /// The one before, while that signs as well.
    pub old: Option<OldSecret>,
}

impl ProviderSecret {
    /// The secrets that sign at this moment, the newest first.
    pub fn secrets(&self, now: Timestamp) -> impl Iterator<Item = &[u8; SECRET_BYTES]> {
        let old = self.old.as_ref().filter(|old| now < old.until).map(|old| &old.secret);
        std::iter::once(&self.secret).chain(old)
    }
}

impl Record for ProviderSecret {
    const DOMAIN: Domain = Domain::CredentialValue;
    const CODEC: Codec = Codec::Binary;
    fn store_key(&self) -> String {
        names::credential_provider(self.credential)
    }
}
