//! Key rings: versioned 32-byte keys as an operator hands them in, as JSON.
//! A ring that is not exactly right is refused as a whole, with an error that says what would be right and never shows
//! key material. A ring cannot be changed here: it is what the operator's variable says.

mod change;

use std::fmt;

use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::base64url;
use crate::secret::{SecretBytes, SecretText};

pub use change::{ChangingRing, RingChangeError};

/// What a version of a ring may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Seals, MACs or signs what is new, and opens what is old. Exactly one version of a ring is active.
    Active,
    /// Opens (or verifies) only: before it becomes active everywhere, or after another one did.
    DecryptOnly,
}

/// Why a ring was refused. The operator is to blame; no variant carries key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// Not JSON, or JSON of another shape. The parser's own words are left out on purpose: they quote the input.
    #[error(
        "ring `{ring}` is no ring document (line {line}, column {column}); expected \
         {{\"versions\":[{{\"v\":1,\"key\":\"<base64url of 32 bytes>\",\"state\":\"active|decrypt-only\",\
         \"created_at\":\"<RFC 3339>\"}}]}} with no other field"
    )]
    Shape {
        /// The ring's name.
        ring: &'static str,
        /// Line of the input, from 1.
        line: usize,
        /// Column of the input, from 1; 0 where the fault is the end of a line.
        column: usize,
    },
    /// A version number of 0.
    #[error("ring `{ring}`: version `0` is not allowed; versions count from 1")]
    VersionZero {
        /// The ring's name.
        ring: &'static str,
    },
    /// Two entries with one number.
    #[error("ring `{ring}`: version `{version}` appears twice; give every version its own number")]
    VersionRepeated {
        /// The ring's name.
        ring: &'static str,
        /// The number that repeats.
        version: u32,
    },
    /// The key is not 32 bytes in base64url without padding.
    #[error(
        "ring `{ring}`, version `{version}`: `key` is not 32 bytes in base64url; expected 43 characters of \
         `A-Z a-z 0-9 - _`, without padding"
    )]
    KeyText {
        /// The ring's name.
        ring: &'static str,
        /// The version at fault.
        version: u32,
    },
    /// The key is all zeros, as a forgotten placeholder is.
    #[error("ring `{ring}`, version `{version}`: `key` is all zeros; expected 32 random bytes")]
    KeyZero {
        /// The ring's name.
        ring: &'static str,
        /// The version at fault.
        version: u32,
    },
    /// Two versions with one key: replacing one by the other would replace nothing.
    #[error(
        "ring `{ring}`: versions `{first}` and `{second}` have the same key; expected a new random key for each"
    )]
    KeyRepeated {
        /// The ring's name.
        ring: &'static str,
        /// The version that came first in the document.
        first: u32,
        /// The version that repeats its key.
        second: u32,
    },
    /// `created_at` is not RFC 3339.
    #[error(
        "ring `{ring}`, version `{version}`: `created_at` is no time; expected RFC 3339, like `2026-01-31T08:00:00Z`"
    )]
    CreatedAt {
        /// The ring's name.
        ring: &'static str,
        /// The version at fault.
        version: u32,
    },
    /// None or several versions are active.
    #[error("ring `{ring}`: `{active}` versions are active; expected exactly one, the others `decrypt-only`")]
    NotOneActive {
        /// The ring's name.
        ring: &'static str,
        /// How many are.
        active: usize,
    },
}

/// A ring was asked for a version that it does not hold: this process is behind, or the version was dropped too early.
/// To a caller that is 503 and never "denied".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ring `{ring}` has no version `{version}`")]
pub struct UnknownRingVersion {
    /// The ring's name.
    pub ring: &'static str,
    /// The version asked for.
    pub version: u32,
}

/// One version of a ring.
pub(crate) struct Entry {
    pub(crate) version: u32,
    pub(crate) key: SecretBytes<32>,
    state: State,
    created_at: String,
}

/// A parsed ring: exactly one active version, every version's key 32 bytes and different.
pub struct Ring {
    name: &'static str,
    active: Entry,
    others: Vec<Entry>,
}

impl Ring {
    /// Parses a ring document; `name` (the variable's name, such as `records_keyring`) is only for errors.
    ///
    /// # Errors
    /// See [`RingError`]; nothing of a ring with a fault is used.
    pub fn parse(name: &'static str, json: &str) -> Result<Self, RingError> {
        let document: Document = serde_json::from_str(json).map_err(|fault| RingError::Shape {
            ring: name,
            line: fault.line(),
            column: fault.column(),
        })?;
        Self::of(name, document.versions)
    }

    /// A ring out of the versions of a document, which may say more than a ring does.
    ///
    /// # Errors
    /// See [`RingError`]; never its `Shape`.
    pub(crate) fn of(name: &'static str, versions: Vec<VersionDocument>) -> Result<Self, RingError> {
        let mut entries: Vec<Entry> = Vec::with_capacity(versions.len());
        for VersionDocument { v: version, key, state, created_at } in versions {
            if version == 0 {
                return Err(RingError::VersionZero { ring: name });
            }
            if entries.iter().any(|entry| entry.version == version) {
                return Err(RingError::VersionRepeated { ring: name, version });
            }
            let key =
                base64url::decode_32(key.0.expose()).ok_or(RingError::KeyText { ring: name, version })?;
            check_key(name, version, &key, entries.iter())?;
            check_created_at(name, version, &created_at)?;
            entries.push(Entry { version, key: SecretBytes::new(*key), state, created_at });
        }
        let (mut active, others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.state == State::Active);
        match (active.pop(), active.len()) {
            (Some(active), 0) => Ok(Self { name, active, others }),
            (None, _) => Err(RingError::NotOneActive { ring: name, active: 0 }),
            (Some(_), more) => Err(RingError::NotOneActive { ring: name, active: more.saturating_add(1) }),
        }
    }

    /// The name given to [`Ring::parse`].
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The version that seals, MACs or signs.
    pub fn active_version(&self) -> u32 {
        self.active.version
    }

    /// Every version and its state, the active one first.
    pub fn versions(&self) -> impl Iterator<Item = (u32, State)> + '_ {
        self.entries().map(|entry| (entry.version, entry.state))
    }

    /// When a version was made, as the document says it (RFC 3339).
    pub fn created_at(&self, version: u32) -> Option<&str> {
        self.entries().find(|entry| entry.version == version).map(|entry| entry.created_at.as_str())
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        std::iter::once(&self.active).chain(&self.others)
    }

    /// The active version and the others, for what is built from a ring.
    pub(crate) fn into_entries(self) -> (Entry, Vec<Entry>) {
        (self.active, self.others)
    }
}

/// Passes for a key that is no placeholder and no other version's.
fn check_key<'a>(
    ring: &'static str,
    version: u32,
    key: &[u8; 32],
    mut others: impl Iterator<Item = &'a Entry>,
) -> Result<(), RingError> {
    if bool::from(key.ct_eq(&[0; 32])) {
        return Err(RingError::KeyZero { ring, version });
    }
    match others.find(|entry| bool::from(entry.key.expose().ct_eq(key))) {
        Some(first) => Err(RingError::KeyRepeated { ring, first: first.version, second: version }),
        None => Ok(()),
    }
}

fn check_created_at(ring: &'static str, version: u32, created_at: &str) -> Result<(), RingError> {
    if is_rfc3339(created_at) { Ok(()) } else { Err(RingError::CreatedAt { ring, version }) }
}

/// Names the ring and its active version, never a key.
impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("name", &self.name)
            .field("active", &self.active.version)
            .finish_non_exhaustive()
    }
}

/// A ring as JSON, the form in which a variable carries it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    versions: Vec<VersionDocument>,
}

/// A version as JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionDocument {
    v: u32,
    key: KeyText,
    state: State,
    created_at: String,
}

/// The text of a key, wiped when dropped.
struct KeyText(SecretText);

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(SecretText::new(text)))
    }
}

/// A new ring of one active version, as `keyward init` makes it. It leaves only through [`RingDocument::to_json`], as a
/// secret.
pub struct RingDocument(Entry);

impl RingDocument {
    /// Version 1, active, with `key`: 32 fresh bytes from the operating system's random source.
    ///
    /// # Errors
    /// [`RingError::KeyZero`] when the random source gave nothing but zeros, [`RingError::CreatedAt`] when `created_at` is
    /// not RFC 3339.
    pub fn generate(key: [u8; 32], created_at: &str) -> Result<Self, RingError> {
        let (name, version, key) = ("new ring", 1, SecretBytes::new(key));
        check_key(name, version, key.expose(), std::iter::empty())?;
        check_created_at(name, version, created_at)?;
        Ok(Self(Entry { version, key, state: State::Active, created_at: created_at.to_owned() }))
    }

    /// The document that [`Ring::parse`] reads, in one line.
    pub fn to_json(&self) -> SecretText {
        SecretText::new(format!("{{{}}}", self.versions().expose()))
    }

    /// The member `versions` of a document, in one line.
    pub(crate) fn versions(&self) -> SecretText {
        versions_json(std::iter::once(&self.0))
    }
}

/// The member `versions` of a document, in one line.
fn versions_json<'a>(entries: impl Iterator<Item = &'a Entry>) -> SecretText {
    let mut versions = Zeroizing::new(String::new());
    for Entry { version, key, state, created_at } in entries {
        let key = SecretText::new(base64url::encode(key.expose()));
        let state = match state {
            State::Active => "active",
            State::DecryptOnly => "decrypt-only",
        };
        // None of the texts needs escaping: they are base64url, fixed words, and RFC 3339's characters.
        let entry = Zeroizing::new(format!(
            r#"{{"v":{version},"key":"{}","state":"{state}","created_at":"{created_at}"}}"#,
            key.expose()
        ));
        // Made anew with each: a buffer that grows leaves copies behind.
        let separator = if versions.is_empty() { "" } else { "," };
        versions = Zeroizing::new(format!("{}{separator}{}", *versions, *entry));
    }
    SecretText::new(format!(r#""versions":[{}]"#, *versions))
}

/// Whether a text has the shape of RFC 3339's `date-time` with plausible digits. The calendar is not checked: nothing is
/// computed from it.
fn is_rfc3339(text: &str) -> bool {
    let Some((head, tail)) = text.as_bytes().split_first_chunk::<19>() else { return false };
    let head_fits = head.iter().zip(b"0000-00-00T00:00:00").all(|(have, want)| match want {
        b'0' => have.is_ascii_digit(),
        other => have == other,
    });
    let zone = match tail.split_first() {
        Some((b'.', fraction)) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 || digits > 9 {
                return false;
            }
            fraction.get(digits..).unwrap_or_default()
        }
        _ => tail,
    };
    let zone_fits = match zone {
        b"Z" => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit()),
        _ => false,
    };
    head_fits && zone_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: &str = "records_keyring";

    fn version(v: u32, fill: u8, state: &str) -> String {
        let key = base64url::encode(&[fill; 32]);
        format!(r#"{{"v":{v},"key":"{key}","state":"{state}","created_at":"2026-01-31T08:00:00Z"}}"#)
    }

    fn ring(versions: &[String]) -> String {
        format!(r#"{{"versions":[{}]}}"#, versions.join(","))
    }

    #[test]
    fn a_good_ring_parses_in_any_order_of_versions() {
        let ring = Ring::parse(
            RING,
            &ring(&[
                version(7, 1, "decrypt-only"),
                version(2, 2, "active"),
                version(u32::MAX, 3, "decrypt-only"),
            ]),
        )
        .unwrap();
        assert_eq!(ring.name(), RING);
        assert_eq!(ring.active_version(), 2);
        assert_eq!(
            ring.versions().collect::<Vec<_>>(),
            [(2, State::Active), (7, State::DecryptOnly), (u32::MAX, State::DecryptOnly)]
        );
        assert_eq!(ring.created_at(7), Some("2026-01-31T08:00:00Z"));
        assert_eq!(ring.created_at(1), None);
        assert_eq!(format!("{ring:?}"), r#"Ring { name: "records_keyring", active: 2, .. }"#);
    }

    #[test]
    fn every_fault_is_named() {
        let one = version(1, 9, "active");
        let key = base64url::encode(&[9; 32]);
        let shape = |json: &str| match Ring::parse(RING, json) {
            Err(RingError::Shape { .. }) => (),
            other => panic!("{json} gave {other:?}"),
        };
        for json in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"versions":{}}"#,
            &format!("{}x", ring(std::slice::from_ref(&one))),
            &ring(&[one.replace("}", r#","note":"x"}"#)]),
            &ring(std::slice::from_ref(&one)).replace("]}", r#"],"more":1}"#),
            &ring(&[one.replace("active", "retired")]),
            &ring(&[one.replace("\"v\":1", "\"v\":-1")]),
            &ring(&[one.replace("\"v\":1", "\"v\":4294967296")]),
            &ring(&[one.replace("\"v\":1", "\"v\":\"1\"")]),
            &ring(&[one.replace("\"v\":1,", "")]),
            &ring(&[one.replace("\"v\":1", "\"v\":1,\"v\":1")]),
        ] {
            shape(json);
        }
        let table = [
            (ring(&[]), RingError::NotOneActive { ring: RING, active: 0 }),
            (ring(&[version(1, 1, "decrypt-only")]), RingError::NotOneActive { ring: RING, active: 0 }),
            (
                ring(&[version(1, 1, "active"), version(2, 2, "active")]),
                RingError::NotOneActive { ring: RING, active: 2 },
            ),
            (ring(&[version(0, 1, "active")]), RingError::VersionZero { ring: RING }),
            (
                ring(&[version(3, 1, "active"), version(3, 2, "decrypt-only")]),
                RingError::VersionRepeated { ring: RING, version: 3 },
            ),
            (
                ring(&[version(3, 1, "active"), version(4, 1, "decrypt-only")]),
                RingError::KeyRepeated { ring: RING, first: 3, second: 4 },
            ),
            (ring(&[version(1, 0, "active")]), RingError::KeyZero { ring: RING, version: 1 }),
            (ring(&[one.replace(&key, &key[1..])]), RingError::KeyText { ring: RING, version: 1 }),
            (ring(&[one.replace(&key, &format!("{key}="))]), RingError::KeyText { ring: RING, version: 1 }),
            (ring(&[one.replace("08:00:00Z", "08:00:00")]), RingError::CreatedAt { ring: RING, version: 1 }),
        ];
        for (json, want) in table {
            assert_eq!(Ring::parse(RING, &json).err(), Some(want), "{json}");
        }
    }

    #[test]
    fn no_error_shows_a_key() {
        let key = base64url::encode(&[0x5a; 32]);
        let part = &key[..12];
        for json in [
            // The key where a number, a state or a time belongs: a parser's own message would quote it.
            format!(r#"{{"versions":[{{"v":"{key}","key":"{key}","state":"active","created_at":"x"}}]}}"#),
            format!(r#"{{"versions":[{{"v":1,"key":"{key}","state":"{key}","created_at":"x"}}]}}"#),
            format!(r#"{{"versions":[{{"v":1,"key":"{key}","state":"active","created_at":"{key}"}}]}}"#),
            format!(r#"{{"versions":[{{"v":1,"key":"{key}=","state":"active","created_at":"x"}}]}}"#),
            format!(r#"{{"versions":[{{"{key}":1}}]}}"#),
            format!(r#""{key}""#),
            key.clone(),
        ] {
            let error = Ring::parse(RING, &json).err().unwrap();
            assert!(!error.to_string().contains(part), "{error}");
            assert!(!format!("{error:?}").contains(part), "{error:?}");
            assert!(error.to_string().contains(RING));
        }
    }

    #[test]
    fn a_generated_document_parses() {
        let json = RingDocument::generate([3; 32], "2026-11-24T10:00:00.5+01:00").unwrap().to_json();
        let ring = Ring::parse(RING, json.expose()).unwrap();
        assert_eq!(ring.versions().collect::<Vec<_>>(), [(1, State::Active)]);
        assert_eq!(ring.into_entries().0.key.expose(), &[3; 32]);
        assert!(RingDocument::generate([0; 32], "2026-11-24T10:00:00Z").is_err());
        assert!(RingDocument::generate([3; 32], "yesterday").is_err());
    }

    #[test]
    fn rfc3339_shape() {
        for good in ["2026-01-31T08:00:00Z", "2026-01-31T08:00:00.123456789Z", "2026-01-31T08:00:00-05:30"] {
            assert!(is_rfc3339(good), "{good}");
        }
        for bad in [
            "",
            "2026-01-31",
            "2026-01-31 08:00:00Z",
            "2026-01-31T08:00:00.Z",
            "2026-01-31T08:00:00+0100",
            "2026-01-31T08:00:00Z\"",
        ] {
            assert!(!is_rfc3339(bad), "{bad}");
        }
    }
}
