//! Signed checkpoints of the audit log: C2SP tlog-checkpoint in C2SP signed-note, by Ed25519 keys of the log's own.
//! Each epoch is a log of its own, whose origin and key name are `{origin}/{epoch}`: no checkpoint of one can pass for one of
//! another. It signs what it is given; that it is consistent with what was signed before is the caller's to know.

mod keys;
mod open;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::digest::sha256;
use crate::tree::Hash;

pub use keys::{LogKeys, LogKeysError, ORIGIN_BYTES_MAX, VerifierKey, VerifierKeyError};
pub use open::{NOTE_BYTES_MAX, NoteError, SIGNATURES_MAX, open};

/// Signature type `0x01` of C2SP signed-note: Ed25519 over the note's text.
const ED25519: u8 = 0x01;

/// What a signature line begins with: an em dash and a space.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// The head of a log: what a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name. Whoever opens a checkpoint compares it with the name of the log that was asked.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root at that size, see [`crate::tree::Edge::root`].
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed: three lines.
    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }
}

/// Whether a text may name a key: not empty, no Unicode space, no plus, and nothing that a note may not have.
fn is_key_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|char: char| char.is_whitespace() || char < ' ' || char == '+')
}

/// The first four bytes of `SHA-256(name || 0x0A || 0x01 || public key)`.
fn key_id(name: &str, public: &[u8; 32]) -> [u8; 4] {
    let [a, b, c, d, ..] = sha256(&[name.as_bytes(), &[b'\n', ED25519], public].concat());
    [a, b, c, d]
}

#[cfg(test)]
mod tests;
