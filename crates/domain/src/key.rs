//! A key: one stable id whose versions are its secrets. What validation reads of it, and the rules of its life.

use crate::event::EventId;
use crate::id::{ApplicationId, ClaimId, KeyId, PolicyId, RoleId};
use crate::imported::Imported;
use crate::limit::Limit;
use crate::network::NetworkRule;
use crate::rotation::Rotation;
use crate::scope::ScopeSet;
use crate::timestamp::{Timestamp, millis};
use crate::token;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The longest life that may be asked for, in seconds: ten years.
pub const EXPIRES_IN_S_MAX: i64 = 10 * 365 * 24 * 3600;

/// The version that a key starts with: the one that its first claim mints, or the token that it was imported with.
pub const FIRST_VERSION: u16 = 1;

/// Which world a key works in; a `test` key never passes for a `live` one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Real traffic.
    Live,
    /// Tests and sandboxes.
    Test,
}

impl Environment {
    /// `live` or `test`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }

    /// Reads `live` or `test`.
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "live" => Some(Self::Live),
            "test" => Some(Self::Test),
            _ => None,
        }
    }
}

/// One secret of a key, as it is stored: a MAC, never the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// 1 for the first.
    pub number: u16,
    /// Which pepper the MAC is made with.
    pub pepper: u32,
    /// HMAC-SHA-256 of the whole token; of an imported one, of its digest.
    pub mac: [u8; 32],
    /// When it was minted, in the hands of whoever claimed it.
    #[serde(with = "millis")]
    pub claimed_at: Timestamp,
}

/// A right to have a version minted, not yet used.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenClaim {
    /// Which claim.
    pub id: ClaimId,
    /// The version that it mints.
    pub version: u16,
    /// Until when.
    #[serde(with = "millis")]
    pub expires_at: Timestamp,
}

/// Restrictions beyond scopes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Rules {
    /// From which networks the key may be used; none means from anywhere.
    pub network: NetworkRule,
}

/// All of a key but its flag: the record `m:{id}`, which every validation opens and reads. It lies in a binary format without
/// field names: fields are added at its end, together with a new schema number in `records`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// Whom it belongs to.
    pub application: ApplicationId,
    /// The generation of the application's keys that it was issued in.
    pub generation: u32,
    /// What its tokens start with.
    pub prefix: String,
    /// Live or test.
    pub environment: Environment,
    /// What people call it.
    pub name: String,
    /// The person or workload that events name; set for keys of the built-in application.
    pub principal: Option<String>,
    /// What it may do.
    pub scopes: ScopeSet,
    /// What restricts it beyond scopes.
    pub rules: Rules,
    /// The hard end of its life.
    #[serde(with = "millis::option")]
    pub expires_at: Option<Timestamp>,
    /// Switched off for now.
    pub disabled: bool,
    /// When it was issued.
    #[serde(with = "millis")]
    pub created_at: Timestamp,
    /// The secrets, oldest first: at most two are alive, and those before the newest only until [`Rotation::overlap_ends_at`].
    pub versions: Vec<Version>,
    /// The claim that waits to be taken.
    pub claim: Option<OpenClaim>,
    /// Counts the writes of this record: 1 at birth.
    pub revision: u64,
    /// The event that wrote this record.
    pub event: EventId,
    /// Words by which keys are found together, such as a team's or a vendor's name.
    pub tags: Vec<String>,
    /// Bundles of scopes that it holds beside its own; for keys of the built-in application.
    pub roles: Vec<RoleId>,
    /// The policy that it was given; where there is none, its application's holds.
    pub policy: Option<PolicyId>,
    /// Where it stands between its versions.
    pub rotation: Rotation,
    /// How much it may use in a window of time.
    pub limits: Vec<Limit>,
    /// Set where its first version is a token that another system issued.
    pub imported: Option<Imported>,
}

impl Key {
    /// A key as it is born: it may do nothing yet, and has no secret.
    pub fn new(id: KeyId, application: ApplicationId, now: Timestamp) -> Self {
        Self {
            id,
            application,
            generation: 1,
            prefix: token::PREFIX_DEFAULT.to_owned(),
            environment: Environment::Live,
            name: String::new(),
            principal: None,
            scopes: ScopeSet::default(),
            rules: Rules::default(),
            expires_at: None,
            disabled: false,
            created_at: now,
            versions: Vec::new(),
            claim: None,
            revision: 1,
            event: EventId { epoch: 0, seq: 0 },
            tags: Vec::new(),
            roles: Vec::new(),
            policy: None,
            rotation: Rotation::default(),
            limits: Vec::new(),
            imported: None,
        }
    }

    /// The live version of this number.
    pub fn version(&self, number: u16) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// Whether its life has ended by itself at `now`.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }

    /// Whether it administers Keyward itself.
    pub fn is_administrative(&self) -> bool {
        self.application == ApplicationId::KEYWARD
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::tests::{NOW, key, minted};

    #[test]
    fn a_life_ends_at_its_end() {
        let key = key(Some(60));
        assert!(!key.expired(NOW.plus_s(59)) && key.expired(NOW.plus_s(60)) && key.expired(NOW.plus_s(61)));
        assert!(!Key { expires_at: None, ..key }.expired(Timestamp::from_unix_ms(i64::MAX)));
    }

    #[test]
    fn a_version_is_found_by_its_number() {
        let mut key = key(None);
        assert!(key.version(1).is_none());
        key.versions = vec![minted(3, 0), minted(4, 0)];
        let number = |number| key.version(number).map(|version| version.number);
        assert_eq!([number(3), number(4), number(5)], [Some(3), Some(4), None]);
    }

    #[test]
    fn only_keys_of_keyward_administer_it() {
        let key = key(None);
        assert!(!key.is_administrative());
        assert!(Key { application: ApplicationId::KEYWARD, ..key }.is_administrative());
    }

    #[test]
    fn an_environment_is_shown_as_it_is_parsed() {
        for environment in [Environment::Live, Environment::Test] {
            assert_eq!(Environment::from_text(environment.as_str()), Some(environment));
            assert_eq!(serde_json::to_value(environment).unwrap(), environment.as_str());
        }
        assert_eq!(Environment::from_text("Live"), None);
    }
}
