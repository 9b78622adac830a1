//! Tokens that are wrong in one way each. No promise of its own.

use keyward_domain::key::Environment;
use keyward_domain::token::{self, Parsed};

/// What a token says of itself; what is wrong with one that is none would be told with its text, which is secret.
fn parts(text: &str) -> Parsed<'_> {
    token::parse(text).unwrap_or_else(|malformed| panic!("no token: {malformed}"))
}

/// Well-formed, of a key that was never issued.
pub fn unknown(n: usize) -> String {
    let mut id = [0xa5; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    token::render("kw", Environment::Live, &id, 1, &[7; 32])
}

/// The same key and version with another secret.
pub fn wrong_secret(text: &str) -> String {
    let parsed = parts(text);
    token::render(parsed.prefix, parsed.environment, &parsed.id, parsed.version, &[9; 32])
}

/// One character off: the checksum does not match.
pub fn mistyped(text: &str) -> String {
    let at = text.len() - 10;
    let other = if &text[at..=at] == "0" { "1" } else { "0" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}
