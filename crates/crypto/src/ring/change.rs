//! A ring's document as its operator changes it: a version goes in, becomes active, is retired. What else the document says stays
//! as it is. A number is given once: the newest version cannot be retired, so that the next one's number is new.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Entry, Ring, RingError, State, VersionDocument, check_created_at, check_key, versions_json};
use crate::secret::{SecretBytes, SecretText};

/// Why a ring was left as it is. No variant carries key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingChangeError {
    /// There is no such version.
    #[error("ring `{ring}` has no version `{version}`; it has {known}")]
    Unknown {
        /// The ring's name.
        ring: &'static str,
        /// The version asked for.
        version: u32,
        /// Those that there are.
        known: String,
    },
    /// It is the active one, which no ring can be without.
    #[error("version `{version}` of ring `{ring}` is active; make another one active first")]
    Active {
        /// The ring's name.
        ring: &'static str,
        /// The version asked for.
        version: u32,
    },
    /// It is the newest one: what it sealed would seem damaged, instead of unknown, under a later version of its number.
    #[error(
        "version `{version}` is the newest of ring `{ring}`, and its number must not be given twice; add another one first"
    )]
    Newest {
        /// The ring's name.
        ring: &'static str,
        /// The version asked for.
        version: u32,
    },
    /// There is no number above the newest one's.
    #[error("ring `{ring}` has no number left for another version")]
    Full {
        /// The ring's name.
        ring: &'static str,
    },
    /// The new version is at fault.
    #[error(transparent)]
    Version(#[from] RingError),
}

/// A ring with the document that it came in. It leaves only through [`ChangingRing::to_json`], as a secret.
pub struct ChangingRing {
    ring: Ring,
    /// What the document says beside the versions, such as the origin of a log's keys; nothing secret.
    others: Map<String, Value>,
}

/// A document with versions, whatever else it says.
#[derive(Deserialize)]
struct Document {
    versions: Vec<VersionDocument>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl ChangingRing {
    /// Parses a document; `name` is only for errors. Members beside `versions` are not looked at.
    ///
    /// # Errors
    /// As [`Ring::parse`].
    pub fn parse(name: &'static str, json: &str) -> Result<Self, RingError> {
        let document: Document = serde_json::from_str(json).map_err(|fault| RingError::Shape {
            ring: name,
            line: fault.line(),
            column: fault.column(),
        })?;
        Ok(Self { ring: Ring::of(name, document.versions)?, others: document.others })
    }

    /// The ring as it is now.
    pub const fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Adds a *decrypt-only* version with `key`, 32 fresh bytes from the operating system's random source; gives its number.
    ///
    /// # Errors
    /// [`RingChangeError::Full`]; [`RingChangeError::Version`] for a key that is all zeros or another version's, or a
    /// `created_at` that is not RFC 3339.
    pub fn add(&mut self, key: SecretBytes<32>, created_at: &str) -> Result<u32, RingChangeError> {
        let ring = self.ring.name;
        let version = self.newest().checked_add(1).ok_or(RingChangeError::Full { ring })?;
        check_key(ring, version, key.expose(), self.ring.entries())?;
        check_created_at(ring, version, created_at)?;
        let created_at = created_at.to_owned();
        self.ring.others.push(Entry { version, key, state: State::DecryptOnly, created_at });
        Ok(version)
    }

    /// Makes a version *active*, and the one that was *decrypt-only*.
    ///
    /// # Errors
    /// [`RingChangeError::Unknown`].
    pub fn activate(&mut self, version: u32) -> Result<(), RingChangeError> {
        if version == self.ring.active.version {
            return Ok(());
        }
        let unknown = self.unknown(version);
        let entry = self.ring.others.iter_mut().find(|entry| entry.version == version).ok_or(unknown)?;
        std::mem::swap(entry, &mut self.ring.active);
        (entry.state, self.ring.active.state) = (State::DecryptOnly, State::Active);
        Ok(())
    }

    /// Drops a version: what is sealed under it never opens again.
    ///
    /// # Errors
    /// [`RingChangeError::Unknown`], [`RingChangeError::Active`], [`RingChangeError::Newest`].
    pub fn retire(&mut self, version: u32) -> Result<(), RingChangeError> {
        let ring = self.ring.name;
        if version == self.ring.active.version {
            return Err(RingChangeError::Active { ring, version });
        }
        let place = self.ring.others.iter().position(|entry| entry.version == version);
        let place = place.ok_or_else(|| self.unknown(version))?;
        if version == self.newest() {
            return Err(RingChangeError::Newest { ring, version });
        }
        self.ring.others.remove(place);
        Ok(())
    }

    /// The document in one line, versions by their numbers.
    pub fn to_json(&self) -> SecretText {
        let mut entries: Vec<&Entry> = self.ring.entries().collect();
        entries.sort_by_key(|entry| entry.version);
        let mut members = String::new();
        for (name, value) in &self.others {
            members.push_str(&format!("{}:{value},", Value::from(name.as_str())));
        }
        let versions = versions_json(entries.into_iter());
        SecretText::new(format!("{{{members}{}}}", versions.expose()))
    }

    fn newest(&self) -> u32 {
        self.ring.entries().map(|entry| entry.version).max().unwrap_or(0)
    }

    fn unknown(&self, version: u32) -> RingChangeError {
        let mut known: Vec<u32> = self.ring.entries().map(|entry| entry.version).collect();
        known.sort_unstable();
        let known: Vec<String> = known.iter().map(u32::to_string).collect();
        RingChangeError::Unknown { ring: self.ring.name, version, known: known.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::RingDocument;

    const NAME: &str = "records_keyring";
    const CREATED_AT: &str = "2026-01-31T08:00:00Z";

    fn fresh() -> ChangingRing {
        let document = RingDocument::generate([1; 32], CREATED_AT).unwrap().to_json();
        ChangingRing::parse(NAME, document.expose()).unwrap()
    }

    fn key(fill: u8) -> SecretBytes<32> {
        SecretBytes::new([fill; 32])
    }

    fn states(changing: &ChangingRing) -> Vec<(u32, State)> {
        let parsed = Ring::parse(NAME, changing.to_json().expose()).unwrap();
        let mut states: Vec<_> = parsed.versions().collect();
        states.sort_by_key(|(version, _)| *version);
        states
    }

    #[test]
    fn the_life_of_a_version() {
        use State::{Active, DecryptOnly};
        let mut ring = fresh();
        assert_eq!(ring.add(key(2), "2026-02-28T08:00:00Z"), Ok(2));
        assert_eq!(states(&ring), [(1, Active), (2, DecryptOnly)]);
        ring.activate(2).unwrap();
        ring.activate(2).unwrap();
        assert_eq!(states(&ring), [(1, DecryptOnly), (2, Active)]);
        ring.activate(1).unwrap();
        assert_eq!(states(&ring), [(1, Active), (2, DecryptOnly)]);
        ring.activate(2).unwrap();
        ring.retire(1).unwrap();
        assert_eq!(states(&ring), [(2, Active)]);
        let parsed = Ring::parse(NAME, ring.to_json().expose()).unwrap();
        assert_eq!(parsed.created_at(2), Some("2026-02-28T08:00:00Z"));
        assert_eq!(parsed.into_entries().0.key.expose(), &[2; 32]);
    }

    #[test]
    fn no_number_is_given_twice() {
        let mut ring = fresh();
        ring.add(key(2), CREATED_AT).unwrap();
        assert_eq!(ring.retire(2), Err(RingChangeError::Newest { ring: NAME, version: 2 }));
        ring.add(key(3), CREATED_AT).unwrap();
        ring.retire(2).unwrap();
        assert_eq!(ring.add(key(2), CREATED_AT), Ok(4));
        let last = ring.to_json().expose().replace(r#""v":4"#, r#""v":4294967295"#);
        let mut full = ChangingRing::parse(NAME, &last).unwrap();
        assert_eq!(full.add(key(9), CREATED_AT), Err(RingChangeError::Full { ring: NAME }));
    }

    #[test]
    fn what_must_not_be_is_refused_and_changes_nothing() {
        let mut ring = fresh();
        ring.add(key(2), CREATED_AT).unwrap();
        let before = ring.to_json();
        let unknown = RingChangeError::Unknown { ring: NAME, version: 7, known: "1, 2".to_owned() };
        assert_eq!(ring.activate(7), Err(unknown.clone()));
        assert_eq!(ring.retire(7), Err(unknown));
        assert_eq!(ring.retire(1), Err(RingChangeError::Active { ring: NAME, version: 1 }));
        let faults = [
            (0, CREATED_AT, RingError::KeyZero { ring: NAME, version: 3 }),
            (2, CREATED_AT, RingError::KeyRepeated { ring: NAME, first: 2, second: 3 }),
            (3, "yesterday", RingError::CreatedAt { ring: NAME, version: 3 }),
        ];
        for (fill, created_at, fault) in faults {
            assert_eq!(ring.add(key(fill), created_at), Err(fault.into()));
        }
        assert_eq!(ring.to_json().expose(), before.expose());
    }

    #[test]
    fn what_else_a_document_says_stays() {
        let document = crate::note::LogKeys::generate([1; 32], "keyward.example/\"", CREATED_AT).unwrap();
        let mut ring = ChangingRing::parse("log_keys", document.expose()).unwrap();
        ring.add(key(2), CREATED_AT).unwrap();
        let changed = crate::note::LogKeys::parse(ring.to_json().expose()).unwrap();
        assert_eq!(changed.origin(1), "keyward.example/\"/1");
        assert_eq!(changed.verifier_keys(1).len(), 2);
    }
}
