//! What was seen of a log before: kept apart from it, so that a log that was cut, rolled back or made anew contradicts it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::note::{Checkpoint, NoteError, VerifierKey, open};
use keyward_crypto::tree::Hash;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What was seen of one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// The log's name, without an epoch.
    pub origin: String,
    /// The public keys that its last checkpoint was signed by, as C2SP signed-note writes them.
    pub keys: Vec<String>,
    /// The last head of each epoch, from the first on.
    pub epochs: Vec<Seen>,
}

/// The head of an epoch's log when it was seen last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Which epoch.
    pub epoch: u32,
    /// Leaves of its tree.
    pub size: u64,
    /// The root at that size.
    #[serde(with = "root")]
    pub root: Hash,
    /// Tickets taken by then.
    pub taken: u64,
    /// The checkpoint as it was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A root as checkpoints write it.
mod root {
    use super::{Engine, Hash, STANDARD};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(root: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(root))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes()).ok();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| serde::de::Error::custom("expected base64 of 32 bytes"))
    }
}

impl Witness {
    /// A witness that saw nothing yet.
    pub const fn new(origin: String) -> Self {
        Self { origin, keys: Vec::new(), epochs: Vec::new() }
    }

    /// What was seen of an epoch.
    pub fn of(&self, epoch: u32) -> Option<&Seen> {
        self.epochs.iter().find(|seen| seen.epoch == epoch)
    }

    /// Takes a head in the place of the one seen before. Never goes back: an older one, as where two ran at once, is passed over.
    pub fn see(&mut self, seen: Seen) {
        match self.epochs.iter_mut().find(|known| known.epoch == seen.epoch) {
            Some(known) if known.size <= seen.size => {
                let taken = known.taken.max(seen.taken);
                *known = Seen { taken, ..seen };
            }
            Some(_) => {}
            None => {
                self.epochs.push(seen);
                self.epochs.sort_by_key(|seen| seen.epoch);
            }
        }
    }

    /// Pins the keys among `known` that signed this note, so that the next one may be signed by any of them.
    pub fn pin(&mut self, note: &str, known: &[VerifierKey]) {
        let signed = known.iter().filter(|key| open(note, std::slice::from_ref(*key)).is_ok());
        let keys: Vec<String> = signed.map(ToString::to_string).collect();
        if !keys.is_empty() {
            self.keys = keys;
        }
    }
}

/// Keys under the names that they have for an epoch of this log.
pub fn keys_of(keys: &[VerifierKey], origin: &str, epoch: u32) -> Vec<VerifierKey> {
    let name = format!("{origin}/{epoch}");
    keys.iter().filter_map(|key| key.named(&name)).collect()
}

/// Why a checkpoint is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WitnessError {
    /// Its signature or its form.
    Note(NoteError),
    /// It is another log's.
    Origin {
        /// As the checkpoint has it.
        found: String,
        /// As it would be right.
        expected: String,
    },
}

impl fmt::Display for WitnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(error) => error.fmt(f),
            Self::Origin { found, expected } => {
                write!(f, "the checkpoint is of the log `{found}`; expected `{expected}`")
            }
        }
    }
}

impl std::error::Error for WitnessError {}

/// Opens a checkpoint of an epoch of a log.
///
/// # Errors
/// [`WitnessError`] where no known key signed it or it is another log's.
pub fn check_note(
    note: &str,
    keys: &[VerifierKey],
    origin: &str,
    epoch: u32,
) -> Result<Checkpoint, WitnessError> {
    let checkpoint = open(note, &keys_of(keys, origin, epoch)).map_err(WitnessError::Note)?;
    let expected = format!("{origin}/{epoch}");
    if checkpoint.origin == expected {
        Ok(checkpoint)
    } else {
        Err(WitnessError::Origin { found: checkpoint.origin, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(size: u64) -> Seen {
        Seen { epoch: 1, size, root: [1; 32], taken: size, note: None }
    }

    #[test]
    fn a_witness_never_goes_back() {
        let mut witness = Witness::new("keyward.example".to_owned());
        for (size, expected) in [(5, 5), (3, 5), (9, 9)] {
            witness.see(seen(size));
            assert_eq!(witness.of(1), Some(&seen(expected)));
        }
        let text = serde_json::to_string(&witness).unwrap();
        assert_eq!(serde_json::from_str::<Witness>(&text).unwrap(), witness);
    }
}
