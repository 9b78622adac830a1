//! A finding: what was found where, and what may be told of it. The secret itself leaves only for the server that is asked about it.

use std::path::PathBuf;
use std::sync::Arc;

use keyward_crypto::{Zeroizing, digest};

use super::label::Label;
use super::own::Token;
use super::rule::About;
use super::scanner::{Found, Place};

/// How many characters of a secret are shown, and of what length on: of a short one too much would be told.
const SHOWN_CHARACTERS: usize = 4;
const SHOWN_OF_BYTES_MIN: usize = 24;
/// Hexadecimal digits of a fingerprint. 20 bits tell two secrets of one rule and file apart but for one pair in a million, and are of no
/// use to whoever has a report alone and tries passwords.
const FINGERPRINT_DIGITS: usize = 5;

/// The first commit that has something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: String,
    /// When it was written, by its author, in RFC 3339.
    pub at: String,
}

/// Whether a key passes, as its server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Whether the token passes.
    pub is_alive: bool,
    /// The key's state, or the version's where that is dead alone; `unknown` where the server has no such key.
    pub state: String,
    /// Whose the key is, and what people call it.
    pub key: Option<(String, String)>,
}

/// What was found. It has no `Debug`: it holds the secret.
pub struct Finding {
    /// The rule.
    pub about: Arc<About>,
    /// What stands before it as its name.
    pub label: Option<Label>,
    /// The path below what was scanned, as it may be shown.
    pub path: String,
    /// The file and the secret's bytes in it, where it is in the tree and they are as found.
    pub file: Option<(PathBuf, std::ops::Range<usize>)>,
    /// Where it stands.
    pub place: Place,
    /// The first commit that has it; none where it was found in the tree alone.
    pub commit: Option<Commit>,
    /// Whether it is in the tree.
    pub is_in_tree: bool,
    /// What it says of itself, where it is Keyward's.
    pub token: Option<Token>,
    /// What its server says of it, where that was asked.
    pub life: Option<Life>,
    /// The credential that it was kept as.
    pub kept_as: Option<String>,
    /// Whether it is dead, or gone from where it was.
    pub is_settled: bool,
    /// Tells this secret from others of the rule and path.
    pub fingerprint: String,
    /// Tells this rule and secret from all others. It is told to nobody.
    pub identity: [u8; 32],
    /// What was found.
    pub secret: Zeroizing<Vec<u8>>,
}

impl Life {
    /// No key of this server's.
    pub fn unknown() -> Self {
        Self { is_alive: false, state: "unknown".to_owned(), key: None }
    }

    /// Whether it never passes again.
    pub fn is_over(&self) -> bool {
        !self.is_alive
            && matches!(self.state.as_str(), "revoked" | "expired" | "version retired" | "version revoked")
    }
}

impl Finding {
    /// What was found in the file or blob of this path.
    pub fn new(found: Found, path: &str) -> Self {
        let rule = found.about.id.as_bytes();
        let mut fingerprint = digest::hex(&of(&[rule, path.as_bytes(), &found.secret]));
        fingerprint.truncate(FINGERPRINT_DIGITS);
        Self {
            identity: of(&[rule, &found.secret]),
            about: found.about,
            label: found.label,
            path: without(path, &found.secret),
            file: None,
            place: found.place,
            commit: None,
            is_in_tree: false,
            token: found.token,
            life: None,
            kept_as: None,
            is_settled: false,
            fingerprint,
            secret: found.secret,
        }
    }

    /// What is shown in the place of the secret.
    pub fn redacted(&self) -> String {
        let shown = match self.secret.len() {
            // What a token says of itself is shown instead.
            _ if self.token.is_some() => String::new(),
            length if length < SHOWN_OF_BYTES_MIN => String::new(),
            _ => {
                let start = self.secret.get(..SHOWN_CHARACTERS).unwrap_or_default();
                String::from_utf8_lossy(start).into_owned()
            }
        };
        format!("{shown}…")
    }

    /// What the order of a report goes by.
    pub fn order(&self) -> (&str, Place, &str, &str) {
        let commit = self.commit.as_ref().map_or("", |commit| commit.id.as_str());
        (&self.path, self.place, &self.about.id, commit)
    }
}

fn of(parts: &[&[u8]]) -> [u8; 32] {
    let mut told = Zeroizing::new(Vec::new());
    for part in parts {
        told.extend_from_slice(part);
        told.push(0);
    }
    digest::sha256(&told)
}

/// A path without the secret, should it stand in that as well.
fn without(path: &str, secret: &[u8]) -> String {
    match std::str::from_utf8(secret) {
        Ok(secret) if !secret.is_empty() => path.replace(secret, "…"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::rule::Severity;

    fn finding(path: &str, secret: &str) -> Finding {
        let about = About { id: "r".to_owned(), name: "R".to_owned(), severity: Severity::High };
        let found = Found {
            about: Arc::new(about),
            token: None,
            label: None,
            place: Place { line: 1, column: 1, end_line: 1, end_column: 9 },
            span: None,
            secret: Zeroizing::new(secret.as_bytes().to_vec()),
        };
        Finding::new(found, path)
    }

    #[test]
    fn little_is_shown_of_a_long_secret_and_nothing_of_a_short_one() {
        assert_eq!(finding("a", "hunter2hunter2").redacted(), "…");
        assert_eq!(finding("a", &format!("abcd{}", "e".repeat(20))).redacted(), "abcd…");
        assert_eq!(finding("keys/hunter22.txt", "hunter22").path, "keys/….txt");
    }

    #[test]
    fn a_fingerprint_is_of_rule_path_and_secret() {
        let one = finding("a", "secret one").fingerprint;
        assert_eq!(one.len(), 5);
        assert_eq!(one, finding("a", "secret one").fingerprint);
        assert_ne!(one, finding("b", "secret one").fingerprint);
        assert_ne!(one, finding("a", "secret two").fingerprint);
    }
}
