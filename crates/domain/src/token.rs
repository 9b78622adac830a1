//! The text that a caller presents: `<prefix>_<env>_<id 22><version 2><secret 43><check 6>`.
//!
//! One word to a double click and one regular expression to a secret scanner. A mistyped token fails its CRC before anything is read.

use crate::base62::{self, WIDTH_16_BYTES, WIDTH_32_BYTES};
use crate::key::Environment;
use std::fmt;

/// The prefix of keys whose application chose none.
pub const PREFIX_DEFAULT: &str = "kw";
/// The prefix of renewal tokens.
pub const PREFIX_RENEWAL: &str = "kwr";
/// The prefix of claim tickets.
pub const PREFIX_CLAIM: &str = "kwc";
/// The highest version that two base62 characters hold.
pub const VERSION_MAX: u16 = 62 * 62 - 1;
/// The longest token in bytes: a prefix of 12, `_live_`, and 73 characters.
pub const LENGTH_MAX: usize = 12 + 6 + BODY_LENGTH;

const VERSION_WIDTH: usize = 2;
const CHECK_WIDTH: usize = 6;
/// So many characters more or fewer than the body of a token has are a slip; another system's token that looks so is refused at its import.
const NEAR_MISS: usize = 8;
const BODY_LENGTH: usize = WIDTH_16_BYTES + VERSION_WIDTH + WIDTH_32_BYTES + CHECK_WIDTH;
/// CRC-32 as in zip and Ethernet (ISO-HDLC in the RevEng catalogue).
pub(crate) const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// What a well-formed token says of itself. The secret stays in the text: only the MAC over the whole of it is ever compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// The whole token. Secret.
    pub text: &'a str,
    /// What stands before the environment.
    pub prefix: &'a str,
    /// Which environment the token claims.
    pub environment: Environment,
    /// The 16 bytes of the id.
    pub id: [u8; 16],
    /// The version.
    pub version: u16,
}

/// Why a text is not a token; says nothing of the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Not the shape `<prefix>_<live|test>_<73 characters>`.
    Shape,
    /// A field is not base62 or overflows.
    Field,
    /// The check does not match: most likely mistyped or cut.
    Check,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shape => "the shape is not `<prefix>_<live|test>_<73 characters of 0-9A-Za-z>`",
            Self::Field => "a field is not base62 or is out of range",
            Self::Check => "the checksum does not match: mistyped or cut off",
        })
    }
}

impl std::error::Error for Malformed {}

/// Whether `prefix` may lead tokens: 2 to 12 of `[a-z0-9]`.
pub fn is_prefix(prefix: &str) -> bool {
    (2..=12).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Whether a text looks like a token, though one that is mistyped, cut off or run into something: what stands before the body is right, and
/// the body is about as long as that of one.
pub fn resembles(text: &str) -> bool {
    let mut parts = text.splitn(3, '_');
    let (Some(prefix), Some(environment), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    is_prefix(prefix)
        && Environment::from_text(environment).is_some()
        && body.len().abs_diff(BODY_LENGTH) <= NEAR_MISS
        && body.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Parses a token without reading anything else.
///
/// # Errors
/// [`Malformed`] says which rule the text breaks.
pub fn parse(text: &str) -> Result<Parsed<'_>, Malformed> {
    if text.len() > LENGTH_MAX {
        return Err(Malformed::Shape);
    }
    let mut parts = text.splitn(3, '_');
    let (Some(prefix), Some(environment), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Malformed::Shape);
    };
    let environment = Environment::from_text(environment).ok_or(Malformed::Shape)?;
    if !is_prefix(prefix) || body.len() != BODY_LENGTH || !body.is_ascii() {
        return Err(Malformed::Shape);
    }
    let (id, rest) = body.split_at(WIDTH_16_BYTES);
    let (version, rest) = rest.split_at(VERSION_WIDTH);
    let (secret, check) = rest.split_at(WIDTH_32_BYTES);
    let id = base62::decode::<16>(id).ok_or(Malformed::Field)?;
    let version = u16::from_be_bytes(base62::decode::<2>(version).ok_or(Malformed::Field)?);
    base62::decode::<32>(secret).ok_or(Malformed::Field)?;
    let check = base62::decode::<4>(check).ok_or(Malformed::Field)?;
    let covered = text.get(..text.len() - CHECK_WIDTH).ok_or(Malformed::Shape)?;
    if version == 0 {
        return Err(Malformed::Field);
    }
    if u32::from_be_bytes(check) != CRC.checksum(covered.as_bytes()) {
        return Err(Malformed::Check);
    }
    Ok(Parsed { text, prefix, environment, id, version })
}

/// The text of a token with this fresh `secret`. The caller wraps it into a secret type at once.
///
/// `version` is 1 to [`VERSION_MAX`]; `prefix` satisfies [`is_prefix`].
pub fn render(
    prefix: &str,
    environment: Environment,
    id: &[u8; 16],
    version: u16,
    secret: &[u8; 32],
) -> String {
    let mut text = String::with_capacity(LENGTH_MAX);
    text.push_str(prefix);
    text.push('_');
    text.push_str(environment.as_str());
    text.push('_');
    base62::encode_into(&mut text, id, WIDTH_16_BYTES);
    base62::encode_into(&mut text, &version.to_be_bytes(), VERSION_WIDTH);
    base62::encode_into(&mut text, secret, WIDTH_32_BYTES);
    let check = CRC.checksum(text.as_bytes());
    base62::encode_into(&mut text, &check.to_be_bytes(), CHECK_WIDTH);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> String {
        render("kw", Environment::Live, &[7; 16], 1, &[9; 32])
    }

    #[test]
    fn a_token_is_one_word_and_parses() {
        let text = sample();
        assert_eq!(text.len(), 2 + 6 + 73);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
        let Ok(parsed) = parse(&text) else { panic!("it parses") };
        assert_eq!(
            (parsed.prefix, parsed.environment, parsed.id, parsed.version),
            ("kw", Environment::Live, [7; 16], 1)
        );
    }

    #[test]
    fn the_longest_token_is_as_long_as_is_said() {
        let longest = render("abcdefghij12", Environment::Test, &[255; 16], VERSION_MAX, &[255; 32]);
        assert_eq!(longest.len(), LENGTH_MAX);
        assert!(parse(&longest).is_ok_and(|parsed| parsed.version == 3843));
        assert!(parse(&format!("{longest}0")).is_err());
        for (prefix, fits) in [
            ("a", false),
            ("a0", true),
            ("abcdefghij12", true),
            ("abcdefghij123", false),
            ("aB", false),
            ("a_", false),
        ] {
            assert_eq!(is_prefix(prefix), fits, "{prefix}");
        }
    }

    #[test]
    fn each_fault_is_refused() {
        let good = sample();
        let table: &[(&str, String, Malformed)] = &[
            ("empty", String::new(), Malformed::Shape),
            ("no environment", good.replacen("_live_", "_", 1), Malformed::Shape),
            ("other environment", good.replacen("live", "prod", 1), Malformed::Shape),
            ("upper-case prefix", good.replacen("kw", "KW", 1), Malformed::Shape),
            ("one character of prefix", good.replacen("kw", "k", 1), Malformed::Shape),
            ("cut", good.get(..good.len() - 1).expect("ascii").to_owned(), Malformed::Shape),
            ("longer", format!("{good}0"), Malformed::Shape),
            ("trailing space", format!("{good} "), Malformed::Shape),
            ("another prefix of the same check", good.replacen("kw", "kx", 1), Malformed::Check),
            ("other environment, same check", good.replacen("live", "test", 1), Malformed::Check),
            ("a hyphen inside", format!("kw_live_-{}", good.get(9..).expect("ascii")), Malformed::Field),
            (
                "id overflows",
                format!("kw_live_zzzzzzzzzzzzzzzzzzzzzz{}", good.get(30..).expect("ascii")),
                Malformed::Field,
            ),
            ("version 0", render("kw", Environment::Live, &[7; 16], 0, &[9; 32]), Malformed::Field),
            ("NUL", good.replacen("kw", "k\0", 1), Malformed::Shape),
            ("not ASCII", format!("kw_live_é{}", good.get(10..).expect("ascii")), Malformed::Shape),
        ];
        for (name, text, expected) in table {
            assert_eq!(parse(text).err(), Some(*expected), "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_rendered_parses(id: [u8; 16], version in 1..=VERSION_MAX, secret: [u8; 32], live: bool, prefix in "[a-z0-9]{2,12}") {
            let environment = if live { Environment::Live } else { Environment::Test };
            let text = render(&prefix, environment, &id, version, &secret);
            let parsed = parse(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!((parsed.id, parsed.version, parsed.environment), (id, version, environment));
            prop_assert_eq!(parsed.prefix, prefix);
        }

        #[test]
        fn one_changed_character_is_noticed(at in 0usize..81, to in "[0-9A-Za-z_]") {
            let good = sample();
            let mut bytes = good.clone().into_bytes();
            bytes[at] = to.as_bytes()[0];
            let text = String::from_utf8(bytes).expect("ascii");
            prop_assert_eq!(parse(&text).is_ok(), text == good);
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,120}") {
            let _ = parse(&text);
        }
    }
}
