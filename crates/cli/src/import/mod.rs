//! What is taken over from elsewhere: files in several formats are read here, on this machine, into what one call of the server imports.
//! A message names file, line, column and what would be right, never what stands there. Nothing in here speaks to the server but
//! `calls.rs`.

pub mod aws_csv;
pub mod calls;
pub mod env;
pub mod item;
pub mod json;
pub mod keys;
pub mod kinds;
pub mod naming;
pub mod nested;
pub mod report;
pub mod source;
pub mod tables;
pub mod tree;
pub mod vault_kv;
pub mod yaml;

use keyward_crypto::SecretText;
use keyward_domain::credential::Kind;

use source::Place;

/// One secret as a file has it.
pub struct Found {
    /// Where it stands.
    pub place: Place,
    /// The segments of its name, as they stand there.
    pub path: Vec<String>,
    /// What it is for, where the file says so.
    pub description: String,
    /// What it holds.
    pub held: Held,
}

/// What a secret holds.
pub enum Held {
    /// One text.
    Text(SecretText),
    /// The fields of a kind.
    Fields(Kind, Vec<(&'static str, SecretText)>),
    /// Nothing that could be imported, and nothing wrong: an empty text.
    Nothing(&'static str),
    /// What cannot be imported, and what would be right.
    Unfit(String),
}

impl Held {
    /// One text, or nothing where it is empty.
    pub fn of_text(text: SecretText) -> Self {
        if text.expose().is_empty() { Self::Nothing("it is empty") } else { Self::Text(text) }
    }
}
