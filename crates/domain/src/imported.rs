//! Tokens that another system issued, and that partners keep: what Keyward knows of one is its digest, out of that system's own table.
//! Which texts can be such tokens, how their digests are written, and which are too easily guessed.

use crate::error::FieldError;
use crate::schema::impl_schema;
use crate::token;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Type as SchemaType};

/// The shortest token that can be imported, in bytes.
pub const LENGTH_MIN: usize = 16;
/// The longest token that can be imported, in bytes.
pub const LENGTH_MAX: usize = 512;
/// A token whose characters carry less than this, in bits, is weak: whoever gets hold of the table that its digest comes from guesses at it as
/// fast as a digest is computed, and a billion guesses a nanosecond find one of 80 in two weeks.
const WEAK_BITS: f64 = 80.0;

/// What a digest is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DigestAlgorithm)]
pub enum Algorithm {
    /// SHA-256 (FIPS 180-4) of the whole token.
    Sha256,
    /// SHA-512 (FIPS 180-4) of the whole token.
    Sha512,
}

impl Algorithm {
    /// All that are taken.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// What people call it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
        }
    }

    /// How long its digests are, in bytes.
    pub const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// The digest of a token: of a guessable one nearly as much as the token itself, so it is shown to nobody.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl Digest {
    /// A digest of as many bytes as its algorithm makes.
    pub const fn new(algorithm: Algorithm, bytes: Vec<u8>) -> Self {
        Self { algorithm, bytes }
    }

    /// What it was made with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its bytes behind the name of what made them and a colon: what is MACed in the place of a token. No token of Keyward starts so.
    pub fn secret(&self) -> Vec<u8> {
        [self.algorithm.as_str().as_bytes(), b":", &self.bytes].concat()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({}:…)", self.algorithm.as_str())
    }
}

impl FromStr for Digest {
    type Err = FieldError;

    /// Reads `sha256:` or `sha512:` and as many digits of hex as that has, in either case.
    fn from_str(text: &str) -> Result<Self, FieldError> {
        let parsed = text.split_once(':').and_then(|(name, digits)| {
            let algorithm = Algorithm::ALL.into_iter().find(|one| one.as_str() == name)?;
            let bytes = unhex(digits).filter(|bytes| bytes.len() == algorithm.length())?;
            Some(Self { algorithm, bytes })
        });
        parsed.ok_or_else(|| {
            FieldError::new(
                "digest",
                "is no digest of a token",
                "`sha256:` and 64 digits of hex, or `sha512:` and 128, of the token's bytes",
            )
        })
    }
}

/// As it is sent.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.algorithm.as_str())?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl_schema!(
    Digest,
    ObjectBuilder::new()
        .schema_type(SchemaType::String)
        .description(Some("The digest of a whole token, as another system keeps it."))
        .pattern(Some("^(sha256:[0-9a-fA-F]{64}|sha512:[0-9a-fA-F]{128})$"))
        .write_only(true)
);

/// What a key remembers of the token that it was imported with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Imported {
    /// What its digest was made with.
    pub algorithm: Algorithm,
    /// Whether whoever imported it found it easily guessed; null where they had the digest alone.
    #[serde(rename = "weak")]
    #[schema(required = true)]
    pub is_weak: Option<bool>,
}

/// Whether a text can be a token that another system issued: 16 to 512 visible ASCII characters without a comma, which would be two values of a
/// header, and nothing that looks like a token of Keyward, right or mistyped, whole or cut off.
pub fn is_importable(text: &str) -> bool {
    (LENGTH_MIN..=LENGTH_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b',')
        && !token::resembles(text)
}

/// Whether a text can be a token at all, of Keyward or imported; says nothing of whether it is one.
pub fn may_be_token(text: &str) -> bool {
    token::parse(text).is_ok() || is_importable(text)
}

/// Whether a token is easily guessed: its length times the Shannon entropy of its characters, the measure that scanners for secrets take,
/// comes to less than 80 bits. Words and names, repeated ones above all, fall far below what randomness of their length has.
pub fn is_weak(token: &str) -> bool {
    let mut counts = [0_u32; 256];
    for byte in token.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let length = f64::from(u32::try_from(token.len()).unwrap_or(u32::MAX));
    let bits = |count: u32| f64::from(count) * (length / f64::from(count)).log2();
    counts.into_iter().filter(|count| *count > 0).map(bits).sum::<f64>() < WEAK_BITS
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let bytes = pairs.iter().map(|[high, low]| Some((nibble(*high)? << 4) | nibble(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Environment;

    #[test]
    fn a_digest_is_read_and_written_as_text_and_debugged_as_nothing() {
        for (text, algorithm) in [
            (format!("sha256:{}", "0a".repeat(32)), Algorithm::Sha256),
            (format!("sha512:{}", "f9".repeat(64)), Algorithm::Sha512),
        ] {
            let digest: Digest = text.parse().expect("a digest");
            assert_eq!(digest.algorithm(), algorithm);
            assert_eq!(digest.to_string(), text);
            assert_eq!(text.to_uppercase().replacen("SHA", "sha", 1).parse::<Digest>(), Ok(digest.clone()));
            let shown = format!("{digest:?}");
            assert!(!shown.contains("0a0a") && !shown.contains("f9f9"), "{shown}");
            assert_eq!(digest.secret().len(), 7 + algorithm.length());
        }
        for bad in
            ["", "sha256", "sha256:", "sha256:0a", &format!("sha512:{}", "0a".repeat(32)), &"0a".repeat(32)]
        {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        assert!(format!("md5:{}", "0a".repeat(16)).parse::<Digest>().is_err());
        assert!(format!("sha256:{}é", "0a".repeat(31)).parse::<Digest>().is_err());
    }

    #[test]
    fn what_has_the_shape_of_our_tokens_is_never_imported() {
        let token = token::render("acme", Environment::Live, &[7; 16], 1, &[9; 32]);
        assert!(!is_importable(&token) && may_be_token(&token));
        let end = token.len();
        for slip in [
            format!("{}x", &token[..end - 1]),
            format!("{token}x"),
            token[..end - 1].to_owned(),
            token[..end - 8].to_owned(),
        ] {
            assert!(!is_importable(&slip) && !may_be_token(&slip), "{slip}");
        }
        // Those of others who write theirs alike have bodies of 24 and of about 100 characters.
        assert!(
            is_importable(&format!("sk_live_{}", "a".repeat(24)))
                && is_importable(&format!("sk_live_{}", "a".repeat(99)))
        );
        for fit in ["0123456789abcdef", "pk_live_51H8Zk2eZvKYlo2C", &"z".repeat(512), "eyJhbGciOi.J9-_~+/=="]
        {
            assert!(is_importable(fit) && may_be_token(fit), "{fit}");
        }
        for unfit in [
            "",
            "0123456789abcde",
            &"z".repeat(513),
            "has a space in its text",
            "two,values,of,a,header",
            "ünïcödé-tökens-are-none",
        ] {
            assert!(!may_be_token(unfit), "{unfit}");
        }
    }

    #[test]
    fn words_are_weak_and_randomness_is_not() {
        for weak in [
            "acme-partner-2019",
            "0000000000000000000000000000000000",
            "password12345678",
            "changeme-changeme-changeme",
        ] {
            assert!(is_weak(weak), "{weak}");
        }
        for strong in
            ["8f14e45fceea167a5a36dedd4bea2543", "pk_live_51H8Zk2eZvKYlo2C8uXq", "Zk9x2LmQ7vRt4NwYb6Hs1Pd8"]
        {
            assert!(!is_weak(strong), "{strong}");
        }
    }
}
