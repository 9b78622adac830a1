//! One version of a credential, as it was read.

use keyward_crypto::{SecretText, Zeroizing};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// One version of a credential. It has no `Debug`: what it holds is shown nowhere.
#[derive(Deserialize)]
pub struct Credential {
    id: String,
    name: String,
    kind: String,
    version: u32,
    revision: u64,
    lease_s: u32,
    outage_s: u32,
    value: BTreeMap<String, SecretText>,
    /// What it was read from.
    #[serde(skip)]
    json: Zeroizing<String>,
}

impl Credential {
    /// Reads an answer of Keyward's; none where it has another shape.
    pub(crate) fn parse(json: &str) -> Option<Self> {
        let credential: Self = serde_json::from_str(json).ok()?;
        Some(Self { json: Zeroizing::new(json.to_owned()), ..credential })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it was asked for by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of the version: another one holds something else.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// What a field holds; none where the credential's kind has no such field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.value.get(name).map(SecretText::expose)
    }

    /// The name of the field that is meant where none is named.
    pub fn main_field(&self) -> &'static str {
        match self.kind.as_str() {
            "basic" => "password",
            "oauth-client" => "client_secret",
            "certificate" => "private_key",
            _ => "value",
        }
    }

    /// The names of its fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.value.keys().map(String::as_str)
    }

    /// How long to go on with it before asking again.
    pub const fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_s as u64)
    }

    /// How long to go on with it while Keyward cannot be asked, counted from when Keyward last said that it holds.
    pub const fn outage(&self) -> Duration {
        Duration::from_secs(self.outage_s as u64)
    }

    /// The answer that it came with, as it came: the JSON of `GET /v1/credentials/value`. It holds the secret.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The tag of the answer that it came with.
    pub fn tag(&self) -> String {
        format!("\"{}\"", self.revision)
    }
}
