//! Keyward's own tokens in any text, under any application's prefix. Each has a checksum that is verified here, so what is found is one.

use std::ops::Range;

use aho_corasick::AhoCorasick;
use keyward_domain::key::Environment;
use keyward_domain::{KeyId, token};

use super::rule::Severity;
use crate::failure::{Failure, Result};

/// The longest prefix of a token, in characters.
const PREFIX_LENGTH_MAX: usize = 12;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It passes where its key does.
    Token,
    /// A key is renewed with it.
    Renewal,
    /// A key's version is claimed with it.
    Ticket,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Token, Self::Renewal, Self::Ticket];

    /// The id of the rule that finds it.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Token => "keyward-token",
            Self::Renewal => "keyward-renewal-token",
            Self::Ticket => "keyward-claim-ticket",
        }
    }

    /// What it is, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "Token of a Keyward key",
            Self::Renewal => "Renewal token of a Keyward key",
            Self::Ticket => "Claim ticket of Keyward",
        }
    }

    /// How bad it is.
    pub const fn severity(self) -> Severity {
        match self {
            Self::Token | Self::Renewal => Severity::Critical,
            // Over within minutes, or taken.
            Self::Ticket => Severity::High,
        }
    }
}

/// What a token says of itself, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is for.
    pub kind: Kind,
    /// Of keys for real traffic, or for tests.
    pub environment: Environment,
    /// Whose it is; none for a ticket, whose own number says nothing of the key.
    pub key: Option<KeyId>,
    /// Which of the key's versions.
    pub version: u16,
}

/// Where a token stands.
pub struct Hit {
    /// What it says of itself.
    pub token: Token,
    /// Its bytes.
    pub span: Range<usize>,
}

/// Looks for tokens.
pub struct Tokens {
    marks: AhoCorasick,
}

impl Tokens {
    /// What stands within every token: its environment between underscores.
    ///
    /// # Errors
    /// A bug.
    pub fn new() -> Result<Self> {
        let marks = [Environment::Live, Environment::Test].map(|one| format!("_{}_", one.as_str()));
        let marks = AhoCorasick::new(marks).map_err(|error| Failure::system("marks of tokens", error))?;
        Ok(Self { marks })
    }

    /// All that are in a text.
    pub fn find(&self, content: &[u8]) -> Vec<Hit> {
        self.marks.find_overlapping_iter(content).filter_map(|mark| at(content, mark.start())).collect()
    }
}

/// The token whose environment begins here. What stands before it may be glued to its prefix: the checksum says where it begins.
fn at(content: &[u8], mark: usize) -> Option<Hit> {
    let before = content.get(mark.saturating_sub(PREFIX_LENGTH_MAX)..mark)?;
    let is_of_prefix = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let longest = before.iter().rev().take_while(|byte| is_of_prefix(byte)).count();
    let after = content.get(mark..)?;
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let shape = token::LENGTH_MAX.saturating_sub(PREFIX_LENGTH_MAX);
    let end = mark.saturating_add(after.iter().take(shape).take_while(|byte| is_of_token(byte)).count());
    (2..=longest).rev().find_map(|length| {
        let span = mark.saturating_sub(length)..end;
        let parsed = token::parse(std::str::from_utf8(content.get(span.clone())?).ok()?).ok()?;
        let kind = match parsed.prefix {
            token::PREFIX_RENEWAL => Kind::Renewal,
            token::PREFIX_CLAIM => Kind::Ticket,
            _ => Kind::Token,
        };
        let key = (kind != Kind::Ticket).then(|| KeyId::from_bytes(parsed.id));
        Some(Hit {
            token: Token { kind, environment: parsed.environment, key, version: parsed.version },
            span,
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(content: &[u8]) -> Vec<(Kind, Range<usize>)> {
        Tokens::new().unwrap().find(content).into_iter().map(|hit| (hit.token.kind, hit.span)).collect()
    }

    fn minted(prefix: &str) -> String {
        token::render(prefix, Environment::Live, &[7; 16], 3, &[9; 32])
    }

    #[test]
    fn every_kind_under_any_prefix() {
        for (prefix, kind) in [
            ("kw", Kind::Token),
            ("acme", Kind::Token),
            ("abcdefghij12", Kind::Token),
            ("kwr", Kind::Renewal),
            ("kwc", Kind::Ticket),
        ] {
            let token = minted(prefix);
            for (before, after) in [
                ("", ""),
                ("x = \"", "\";"),
                ("https://h/claim#", "\n"),
                ("\u{fc}", "zzz"),
                ("TOKEN", "_x"),
                ("0_live_", ""),
                ("_test_live", ""),
            ] {
                let start = before.len();
                let text = format!("{before}{token}{after}");
                assert_eq!(
                    found(text.as_bytes()),
                    [(kind, start..start + token.len())],
                    "{prefix} after {before}"
                );
            }
        }
        let hits = Tokens::new().unwrap().find(minted("kwr").as_bytes());
        assert_eq!(hits[0].token.key, Some(KeyId::from_bytes([7; 16])));
        assert_eq!(hits[0].token.version, 3);
        assert_eq!(Tokens::new().unwrap().find(minted("kwc").as_bytes())[0].token.key, None);
    }

    #[test]
    fn a_wrong_checksum_is_none() {
        let token = minted("kw");
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            assert!(found(&bytes).is_empty(), "at {at}");
        }
        assert!(found(&token.as_bytes()[..80]).is_empty());
        assert!(found(token.replace("kw_", "KW_").as_bytes()).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_panics_and_nothing_is_made_up(content: Vec<u8>) {
            prop_assert!(found(&content).is_empty());
        }

        #[test]
        fn each_is_found_wherever_it_stands(before in "[ -~]{0,40}[^a-z0-9]", after in "[ -~]{0,40}", prefix in "[a-z0-9]{2,12}") {
            let token = minted(&prefix);
            let hits = found(format!("{before}{token}{after}").as_bytes());
            prop_assert!(hits.iter().any(|(_, span)| *span == (before.len()..before.len() + token.len())));
        }
    }
}
