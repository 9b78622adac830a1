//! A credential: a secret of a third party that services fetch instead of carrying it along, the record `j:{id}`. Named, in versions;
//! what the versions hold lies elsewhere, under a ring of its own.

use crate::credential_due::Reminded;
use crate::credential_rotation::{Ended, Provider, Rotation};
use crate::error::FieldError;
use crate::event::EventId;
use crate::id::{ApplicationId, CredentialId, PolicyId};
use crate::schema::{impl_schema, text};
use crate::timestamp::{Timestamp, millis};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The longest name of a credential, in bytes: with it a scope that is narrowed to one application and one name stays within
/// [`crate::scope::SCOPE_BYTES_MAX`].
pub const NAME_BYTES_MAX: usize = 80;
/// The most bytes that the fields of one version hold together: 64 KiB.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// The longest body that writes what credentials hold, in bytes: JSON may need six for each of a value's.
pub const BODY_BYTES_MAX: usize = 6 * VALUE_BYTES_MAX + 16 * 1024;
/// Credentials that one call imports, in one commit.
pub const IMPORTED_AT_ONCE_MAX: usize = 32;
/// Versions of one credential that hold a value at the same time. With the next one the oldest is destroyed.
pub const VERSIONS_MAX: usize = 16;
/// How long before its end a credential is told to be about to end, in seconds: thirty days, since a third party is to be asked for
/// another.
pub const EXPIRING_S: i64 = 30 * 24 * 3600;
/// How long whoever read a value may go on with it before asking again, in seconds, where no policy says otherwise: five minutes.
pub const LEASE_S_DEFAULT: u32 = 300;
/// How long whoever read a value may go on with it while Keyward cannot be asked, in seconds, where no policy says otherwise: an hour.
pub const OUTAGE_S_DEFAULT: u32 = 3600;

const NAME_GRAMMAR: &str = "segments of `[a-z0-9._-]` joined by `/`, each beginning with a letter or digit, at most 80 bytes, not \
                            beginning with `app_`";

/// What a name of one application begins with in a scope, so that no credential's name does.
const APPLICATION_PREFIX: &str = ApplicationId::PREFIX;

/// The name of a credential, in the API's document.
pub enum CredentialName {}

impl_schema!(
    CredentialName,
    text(
        "The name of a credential, as a path: unique within its application. At most 80 bytes.",
        "^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$",
    )
    .max_length(Some(NAME_BYTES_MAX))
);

/// Checks the name of a credential.
///
/// # Errors
/// A [`FieldError`] for `field`.
pub fn check_name(field: &'static str, name: &str) -> Result<(), FieldError> {
    let reason = match name {
        "" => "is empty",
        _ if name.len() > NAME_BYTES_MAX => "is too long",
        _ if !is_name(name) => "is no path of plain segments",
        _ => return Ok(()),
    };
    Err(FieldError::new(field, reason, NAME_GRAMMAR))
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    let segment = |segment: &str| {
        segment.bytes().all(plain)
            && segment.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    !text.starts_with(APPLICATION_PREFIX) && text.split('/').all(segment)
}

/// Whether a text says which names are meant: one name, all below one (`payments/*`), or all (`*`).
pub(crate) fn is_name_pattern(text: &str) -> bool {
    match text.strip_suffix('*') {
        None => is_name(text),
        Some("") => true,
        Some(stem) => stem.strip_suffix('/').is_some_and(is_name),
    }
}

/// What kind of secret it is: which fields its versions have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = CredentialKind)]
pub enum Kind {
    /// A key that is sent along: `value`.
    ApiKey,
    /// A name and a password: `username`, `password`.
    Basic,
    /// An OAuth 2.0 client: `client_id`, `client_secret`, and if need be `token_url`.
    OauthClient,
    /// An X.509 certificate and its key, in PEM: `certificate`, `private_key`.
    Certificate,
    /// Any other text: `value`.
    Opaque,
}

/// One field of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether it may be left out.
    pub is_optional: bool,
}

const fn needed(name: &'static str) -> Field {
    Field { name, is_optional: false }
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::ApiKey, Self::Basic, Self::OauthClient, Self::Certificate, Self::Opaque];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api-key",
            Self::Basic => "basic",
            Self::OauthClient => "oauth-client",
            Self::Certificate => "certificate",
            Self::Opaque => "opaque",
        }
    }

    /// The fields that its versions have.
    pub const fn fields(self) -> &'static [Field] {
        match self {
            Self::ApiKey | Self::Opaque => const { &[needed("value")] },
            Self::Basic => const { &[needed("username"), needed("password")] },
            Self::OauthClient => {
                const {
                    &[
                        needed("client_id"),
                        needed("client_secret"),
                        Field { name: "token_url", is_optional: true },
                    ]
                }
            }
            Self::Certificate => const { &[needed("certificate"), needed("private_key")] },
        }
    }

    /// The field that is meant where none is named.
    pub const fn main_field(self) -> &'static str {
        match self {
            Self::ApiKey | Self::Opaque => "value",
            Self::Basic => "password",
            Self::OauthClient => "client_secret",
            Self::Certificate => "private_key",
        }
    }

    /// What is wrong with the fields of a version, by their names and lengths in bytes; nothing of what they hold is looked at.
    pub fn check<'a>(self, given: impl Iterator<Item = (&'a str, usize)> + Clone) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let expected = || {
            let names: Vec<String> = self
                .fields()
                .iter()
                .map(|field| match field.is_optional {
                    true => format!("`{}` if need be", field.name),
                    false => format!("`{}`", field.name),
                })
                .collect();
            format!("for a credential of kind `{}`: {}", self.as_str(), names.join(", "))
        };
        for (name, bytes) in given.clone() {
            if !self.fields().iter().any(|field| field.name == name) {
                errors.push(FieldError::new("value", "has a field that this kind has not", expected()));
            } else if bytes == 0 {
                errors.push(FieldError::new(format!("value.{name}"), "is empty", "the secret's text"));
            }
        }
        for field in self.fields().iter().filter(|field| !field.is_optional) {
            if !given.clone().any(|(name, _)| name == field.name) {
                errors.push(FieldError::new(format!("value.{}", field.name), "is missing", expected()));
            }
        }
        let bytes: usize = given.map(|(_, bytes)| bytes).sum();
        if bytes > VALUE_BYTES_MAX {
            errors.push(FieldError::new(
                "value",
                format!("has {bytes} bytes"),
                format!("at most {VALUE_BYTES_MAX} bytes in all of its fields"),
            ));
        }
        errors
    }
}

impl std::str::FromStr for Kind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// One version of a credential, without what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Counts from 1, never given twice.
    pub number: u32,
    /// When it was written.
    #[serde(with = "millis")]
    pub written_at: Timestamp,
    /// The event that wrote it.
    pub event: EventId,
    /// Since when its value is destroyed, for good.
    #[serde(default, with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub destroyed_at: Option<Timestamp>,
}

/// All of a credential but what its versions hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Its id.
    pub id: CredentialId,
    /// Whose services fetch it.
    pub application: ApplicationId,
    /// Unique among the credentials of its application that are not retired.
    pub name: String,
    /// What kind of secret it is.
    pub kind: Kind,
    /// What it is for, in words; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whom to ask about it; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Words by which it is found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// When the third party ends it, where that is known. It is read all the same: only the third party can say whether it still works.
    #[serde(default, with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The policy that says how often it is to be rotated and for how long it may be gone on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyId>,
    /// Its versions, oldest first; of those that were destroyed the latest alone.
    pub versions: Vec<Version>,
    /// The version that is read where none is named.
    pub current: u32,
    /// When it was created.
    #[serde(with = "millis")]
    pub created_at: Timestamp,
    /// Who rotates it at the third party, where somebody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// The rotation that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// The rotation that ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotation: Option<Ended>,
    /// What was told of it that comes by time.
    #[serde(default)]
    pub reminded: Reminded,
    /// When it was given up: from then on none of its versions holds anything.
    #[serde(default, with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Timestamp>,
    /// Counts the writes of this record: 1 at birth.
    pub revision: u64,
    /// The revision since which whoever reads it is handed the same; this one where that is 0.
    #[serde(default)]
    pub same_since: u64,
    /// The event that wrote this record.
    pub event: EventId,
}

impl Credential {
    /// Whether whoever read it at a revision would be handed the same now: steps of a rotation wake nobody who waits for another version.
    pub fn reads_as_at(&self, revision: u64) -> bool {
        let since = if self.same_since == 0 { self.revision } else { self.same_since };
        (since..=self.revision).contains(&revision)
    }

    /// One of its versions.
    pub fn version(&self, number: u32) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// The number that the next version has.
    pub fn next_version(&self) -> u32 {
        self.versions.last().map_or(1, |version| version.number.saturating_add(1))
    }

    /// The version that is read where none is named.
    pub fn current(&self) -> Option<&Version> {
        self.version(self.current)
    }

    /// A version is written and becomes the current one, and gives the numbers of those that are destroyed for it: the oldest beyond
    /// [`VERSIONS_MAX`].
    pub fn write(&mut self, number: u32, at: Timestamp) -> Vec<u32> {
        self.versions.push(Version { number, written_at: at, event: self.event, destroyed_at: None });
        self.current = number;
        self.make_room(at)
    }

    /// The oldest versions beyond [`VERSIONS_MAX`] are destroyed, but for the current one and those that a rotation needs: which.
    pub(crate) fn make_room(&mut self, at: Timestamp) -> Vec<u32> {
        let living = self.versions.iter().filter(|version| version.destroyed_at.is_none());
        let living: Vec<u32> = living.map(|version| version.number).collect();
        let excess = living.len().saturating_sub(VERSIONS_MAX);
        let is_needed = |number: &u32| {
            *number == self.current || self.rotation.as_ref().is_some_and(|rotation| rotation.needs(*number))
        };
        let doomed: Vec<u32> = living.into_iter().filter(|number| !is_needed(number)).take(excess).collect();
        for number in &doomed {
            self.destroy(*number, at);
        }
        self.forget_destroyed();
        doomed
    }

    /// It is given up, for good, and its provider has nothing more to do with it. What its versions hold is destroyed apart.
    pub fn retire(&mut self, at: Timestamp) {
        self.retired_at = Some(self.retired_at.unwrap_or(at));
        (self.provider, self.rotation) = (None, None);
    }

    /// The value of a version is destroyed.
    pub fn destroy(&mut self, number: u32, at: Timestamp) {
        for version in self.versions.iter_mut().filter(|version| version.number == number) {
            version.destroyed_at = Some(version.destroyed_at.unwrap_or(at));
        }
    }

    /// Of destroyed versions only so many stay on record as living ones may: the log has them all.
    fn forget_destroyed(&mut self) {
        let dead = self.versions.iter().filter(|version| version.destroyed_at.is_some()).count();
        let mut excess = dead.saturating_sub(VERSIONS_MAX);
        self.versions.retain(|version| {
            let goes = excess > 0 && version.destroyed_at.is_some();
            excess -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn credential() -> Credential {
        let at = Timestamp::from_unix_ms(1_795_515_095_042);
        Credential {
            id: CredentialId::from_bytes([1; 16]),
            application: ApplicationId::from_bytes([2; 16]),
            name: "payments/db".into(),
            kind: Kind::Basic,
            description: String::new(),
            owner: String::new(),
            tags: Vec::new(),
            expires_at: None,
            policy: None,
            versions: Vec::new(),
            current: 0,
            created_at: at,
            provider: None,
            rotation: None,
            last_rotation: None,
            reminded: Reminded::default(),
            retired_at: None,
            revision: 1,
            same_since: 0,
            event: EventId { epoch: 1, seq: 1 },
        }
    }

    #[test]
    fn names_are_paths_that_no_scope_takes_for_an_application() {
        for good in ["db", "payments/db", "a.b/c_d/e-f", "0", &"x".repeat(80)] {
            assert_eq!(check_name("name", good), Ok(()), "`{good}`");
        }
        let too_long = "x".repeat(81);
        for bad in [
            "", "/", "a/", "/a", "a//b", "a/../b", ".", "..", "-a", "A", "a b", "ä", "app_x", "a*", "*",
            &too_long,
        ] {
            assert!(check_name("name", bad).is_err(), "`{bad}`");
        }
        for good in ["*", "payments/*", "payments/db", "a/b/*"] {
            assert!(is_name_pattern(good), "`{good}`");
        }
        for bad in ["", "/*", "pay*", "payments/**", "*/db", "app_x/*", "a/*/b"] {
            assert!(!is_name_pattern(bad), "`{bad}`");
        }
    }

    #[test]
    fn each_kind_has_its_fields_and_no_others() {
        let check = |kind: Kind, given: &[(&str, usize)]| -> Vec<String> {
            kind.check(given.iter().copied()).into_iter().map(|error| error.field).collect()
        };
        let none: [&str; 0] = [];
        assert_eq!(check(Kind::ApiKey, &[("value", 3)]), none);
        assert_eq!(check(Kind::Basic, &[("username", 1), ("password", 1)]), none);
        assert_eq!(check(Kind::OauthClient, &[("client_id", 1), ("client_secret", 1)]), none);
        assert_eq!(
            check(Kind::OauthClient, &[("client_id", 1), ("client_secret", 1), ("token_url", 9)]),
            none
        );
        assert_eq!(check(Kind::Certificate, &[("certificate", 1)]), ["value.private_key"]);
        assert_eq!(check(Kind::Opaque, &[("value", 0)]), ["value.value"]);
        assert_eq!(check(Kind::Opaque, &[("value", 1), ("hush", 1)]), ["value"]);
        assert_eq!(check(Kind::Opaque, &[("value", VALUE_BYTES_MAX)]), none);
        assert_eq!(check(Kind::Opaque, &[("value", VALUE_BYTES_MAX + 1)]), ["value"]);
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).expect("a word"), kind.as_str());
            assert!(kind.fields().iter().any(|field| field.name == kind.main_field()));
        }
    }

    #[test]
    fn it_reads_the_same_since_what_is_handed_out_changed() {
        let mut credential = credential();
        credential.revision = 7;
        assert!(credential.reads_as_at(7) && !credential.reads_as_at(6) && !credential.reads_as_at(8));
        credential.same_since = 5;
        let same: Vec<u64> = (0..10).filter(|revision| credential.reads_as_at(*revision)).collect();
        assert_eq!(same, [5, 6, 7]);
    }

    #[test]
    fn with_the_seventeenth_version_the_oldest_is_destroyed() {
        let mut credential = credential();
        let at = credential.created_at;
        for number in 1..=16 {
            assert_eq!(credential.next_version(), number);
            assert!(credential.write(number, at).is_empty());
        }
        assert_eq!(credential.write(17, at), [1]);
        assert_eq!(credential.current, 17);
        assert!(credential.version(1).is_some_and(|version| version.destroyed_at.is_some()));
        credential.destroy(5, at);
        assert!(credential.write(18, at).is_empty(), "one is destroyed already");
        for number in 19..=60 {
            credential.write(number, at);
        }
        assert_eq!(credential.versions.len(), 2 * VERSIONS_MAX);
        assert_eq!(credential.next_version(), 61);
    }
}
