//! What is found in one text: Keyward's tokens first, then what the rules say; one finding for a place, without what was allowed.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use keyward_crypto::Zeroizing;

use super::allowed::Allowed;
use super::label::Label;
use super::own::{Kind, Token, Tokens};
use super::rule::{About, Rules, line_of};
use crate::failure::Result;

/// What a line says on which nothing is to be found.
const ALLOW: &[u8] = b"keyward:allow";
/// So much of a file is looked at to tell whether it is text, in bytes: as much as git looks at.
const TEXT_BYTES: usize = 8_000;

/// Where something stands in its text. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line of the first character.
    pub line: usize,
    /// Its column.
    pub column: usize,
    /// The line of the last character.
    pub end_line: usize,
    /// The column behind it.
    pub end_column: usize,
}

/// What was found in a text. It has no `Debug`: it holds the secret.
pub struct Found {
    /// The rule.
    pub about: Arc<About>,
    /// What it says of itself, where it is Keyward's.
    pub token: Option<Token>,
    /// What stands before it as its name.
    pub label: Option<Label>,
    /// Where it stands.
    pub place: Place,
    /// Its bytes in the file; none where the file is written in another encoding than the secret is.
    pub span: Option<Range<usize>>,
    /// What was found.
    pub secret: Zeroizing<Vec<u8>>,
}

/// Looks through texts. Threads may share one.
pub struct Scanner {
    tokens: Tokens,
    own: [Arc<About>; Kind::ALL.len()],
    rules: Option<Rules>,
    allowed: Allowed,
}

/// A text as it can be searched.
struct Text<'a> {
    bytes: Cow<'a, [u8]>,
    is_as_written: bool,
}

impl Scanner {
    /// One by these rules; Keyward's tokens are always looked for.
    ///
    /// # Errors
    /// A bug.
    pub fn new(rules: Option<Rules>, allowed: Allowed) -> Result<Self> {
        let own = Kind::ALL.map(|kind| {
            let (id, name) = (kind.rule().to_owned(), kind.name().to_owned());
            Arc::new(About { id, name, severity: kind.severity() })
        });
        Ok(Self { tokens: Tokens::new()?, own, rules, allowed })
    }

    /// Every rule there is, Keyward's first.
    pub fn rules(&self) -> impl Iterator<Item = &About> {
        self.own.iter().map(|about| &**about).chain(self.rules.iter().flat_map(Rules::all))
    }

    /// Whether a file of this path is looked at.
    pub fn wants(&self, path: &str) -> bool {
        !self.allowed.whole(path)
    }

    /// What is found in a file, in the order in which it stands there; none where the file is no text.
    pub fn scan(&self, path: &str, content: &[u8]) -> Option<Vec<Found>> {
        let text = readable(content)?;
        let bytes = &*text.bytes;
        let own = self.tokens.find(bytes).into_iter().filter_map(|hit| {
            let about = self.own.iter().find(|about| about.id == hit.token.kind.rule())?;
            Some((Arc::clone(about), Some(hit.token), hit.span))
        });
        let others = self.rules.iter().flat_map(|rules| rules.find(path, bytes));
        let mut others: Vec<_> = others.map(|hit| (hit.about, None, hit.span)).collect();
        // Of two that found the same the one that says more of it; a stable sort, so of two alike the first of the set.
        others.sort_by_key(|(about, _, span)| (std::cmp::Reverse(about.severity), span.start));
        let mut kept: Vec<(Arc<About>, Option<Token>, Range<usize>)> = Vec::new();
        for hit in own.chain(others) {
            let is_new = kept.iter().all(|(_, _, span)| span.end <= hit.2.start || hit.2.end <= span.start);
            if is_new && !self.allowed.finding(&hit.0.id, path) && !is_allowed_there(bytes, &hit.2) {
                kept.push(hit);
            }
        }
        kept.sort_by_key(|(_, _, span)| span.start);
        let mut places = Places::new(bytes);
        let found = kept.into_iter().filter_map(|(about, token, span)| {
            Some(Found {
                about,
                label: Label::of(bytes, &span),
                token,
                place: places.of(&span)?,
                secret: Zeroizing::new(bytes.get(span.clone())?.to_vec()),
                span: text.is_as_written.then_some(span),
            })
        });
        Some(found.collect())
    }
}

/// Whether the line on which something begins says that it may stand there.
fn is_allowed_there(content: &[u8], span: &Range<usize>) -> bool {
    line_of(content, span).windows(ALLOW.len()).any(|part| part == ALLOW)
}

/// A file as text: bytes in whatever encoding contains ASCII, or UTF-16 where a byte order mark says so. None where it is neither.
fn readable(content: &[u8]) -> Option<Text<'_>> {
    let decoded = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = rest.chunks_exact(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok()).map(unit);
        let text: String =
            char::decode_utf16(units).map(|one| one.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        Text { bytes: Cow::Owned(text.into_bytes()), is_as_written: false }
    };
    match content {
        [0xff, 0xfe, rest @ ..] => Some(decoded(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => Some(decoded(rest, u16::from_be_bytes)),
        _ if content.iter().take(TEXT_BYTES).any(|byte| *byte == 0) => None,
        _ => Some(Text { bytes: Cow::Borrowed(content), is_as_written: true }),
    }
}

/// Finds lines and columns of spans that are asked for in their order.
struct Places<'a> {
    content: &'a [u8],
    at: usize,
    line: usize,
    line_start: usize,
}

impl<'a> Places<'a> {
    fn new(content: &'a [u8]) -> Self {
        Self { content, at: 0, line: 1, line_start: 0 }
    }

    fn of(&mut self, span: &Range<usize>) -> Option<Place> {
        let (line, column) = self.go_to(span.start)?;
        let (end_line, end_column) = self.go_to(span.end)?;
        Some(Place { line, column, end_line, end_column })
    }

    fn go_to(&mut self, offset: usize) -> Option<(usize, usize)> {
        for (index, byte) in self.content.get(self.at..offset)?.iter().enumerate() {
            if *byte == b'\n' {
                self.line = self.line.saturating_add(1);
                self.line_start = self.at.saturating_add(index).saturating_add(1);
            }
        }
        self.at = offset;
        let before = self.content.get(self.line_start..offset)?;
        // The bytes that begin a character in UTF-8; all of them in an encoding of single bytes, but for a few.
        let characters = before.iter().filter(|byte| !(0x80..0xc0).contains(*byte)).count();
        Some((self.line, characters.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use keyward_domain::key::Environment;
    use keyward_domain::token;

    use super::*;

    fn scanner(allowed: &str) -> Scanner {
        let rules = Rules::load(&[] as &[&std::path::Path]).unwrap();
        Scanner::new(Some(rules), Allowed::parse(allowed).unwrap()).unwrap()
    }

    fn token(secret: u8) -> String {
        token::render("kw", Environment::Live, &[7; 16], 1, &[secret; 32])
    }

    /// Rules, lines, columns and what was found.
    fn found(scanner: &Scanner, path: &str, content: &[u8]) -> Option<Vec<(String, usize, usize, String)>> {
        let of = |found: Found| {
            let text = String::from_utf8_lossy(&found.secret).into_owned();
            (found.about.id.clone(), found.place.line, found.place.column, text)
        };
        Some(scanner.scan(path, content)?.into_iter().map(of).collect())
    }

    #[test]
    fn lines_and_columns() {
        let (one, two) = (token(1), token(2));
        let text = format!("first\r\n\u{e4}\u{f6} = '{one}'\r\n\r\n{two}{one}");
        let all = found(&scanner(""), "a", text.as_bytes()).unwrap();
        let rule = || "keyward-token".to_owned();
        assert_eq!(
            all,
            [(rule(), 2, 7, one.clone()), (rule(), 4, 1, two.clone()), (rule(), 4, 82, one.clone())]
        );
        let latin1 = [b"\xe4\xf6 ".as_slice(), one.as_bytes()].concat();
        assert_eq!(found(&scanner(""), "a", &latin1).unwrap(), [(rule(), 1, 4, one)]);
    }

    #[test]
    fn one_finding_for_a_place() {
        // What a rule for anything that stands behind `api_key` finds as well.
        let text = format!("api_key = \"{}\"", token(1));
        let all = found(&scanner(""), "a.toml", text.as_bytes()).unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0].0, "keyward-token");
    }

    #[test]
    fn what_is_allowed_is_not_told() {
        let text = format!("a = '{}' # keyward:allow: of a test\nb = '{}'\n", token(1), token(2));
        let all = found(&scanner(""), "a", text.as_bytes()).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].1, 2);
        let scanner = scanner("keyward-token fixtures/\n* *.lock\n");
        assert!(found(&scanner, "tests/fixtures/a", text.as_bytes()).unwrap().is_empty());
        assert_eq!(found(&scanner, "fixture/a", text.as_bytes()).unwrap().len(), 1);
        assert!(!scanner.wants("sub/Cargo.lock") && scanner.wants("tests/fixtures/a"));
    }

    #[test]
    fn encodings() {
        let text = format!("x {}\n", token(1));
        for (mark, unit) in
            [([0xff, 0xfe], u16::to_le_bytes as fn(u16) -> [u8; 2]), ([0xfe, 0xff], u16::to_be_bytes)]
        {
            let mut bytes = mark.to_vec();
            bytes.extend(text.encode_utf16().flat_map(unit));
            let hits = scanner("").scan("a", &bytes).unwrap();
            assert_eq!((hits.len(), hits[0].span.clone(), hits[0].place.column), (1, None, 3));
        }
        assert!(scanner("").scan("a", &[text.as_bytes(), b"\0"].concat()).is_none(), "no text");
        assert_eq!(scanner("").scan("a", b"").unwrap().len(), 0);
    }
}
