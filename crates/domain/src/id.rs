//! Stable ids: 16 random bytes, shown as `<kind>_<22 base62>`, named in the store as lowercase hex.

use crate::base62;
use crate::schema::{impl_schema, text};
use std::fmt;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnId {
    /// The prefix that the text should have had, with its underscore.
    pub prefix: &'static str,
}

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` followed by 22 characters of `0-9A-Za-z`", self.prefix)
    }
}

impl std::error::Error for NotAnId {}

/// Lowercase hex of `bytes`, as store keys carry it.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    push_hex(&mut out, bytes);
    out
}

/// Appends lowercase hex of `bytes` to `out`.
pub fn push_hex(out: &mut String, bytes: &[u8]) {
    let digit = |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble });
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(byte & 0x0f));
    }
}

macro_rules! id {
    ($(#[doc = $doc:literal])* $name:ident, $prefix:literal) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// What the text form starts with.
            pub const PREFIX: &'static str = $prefix;

            /// The id made of these 16 bytes; fresh ids are made of random ones.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Lowercase hex, as store keys carry it.
            pub fn hex(&self) -> String {
                hex(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = String::with_capacity(Self::PREFIX.len() + base62::WIDTH_16_BYTES);
                text.push_str(Self::PREFIX);
                base62::encode_into(&mut text, &self.0, base62::WIDTH_16_BYTES);
                f.write_str(&text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                text.strip_prefix(Self::PREFIX)
                    .filter(|digits| digits.len() == base62::WIDTH_16_BYTES)
                    .and_then(base62::decode::<16>)
                    .map(Self)
                    .ok_or(NotAnId { prefix: Self::PREFIX })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                // People read the text; a binary format takes the bytes.
                if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if !deserializer.is_human_readable() {
                    return serde::Deserialize::deserialize(deserializer).map(Self);
                }
                let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                text.parse().map_err(|e: NotAnId| serde::de::Error::custom(format!("expected {e}")))
            }
        }

        // The first digit of 16 bytes in base62 is at most 7.
        impl_schema!($name, text(concat!($($doc),*).trim(), concat!("^", $prefix, "[0-7][0-9A-Za-z]{21}$")));
    };
}

id!(
    /// A key: stable through all its versions.
    KeyId,
    "key_"
);
id!(
    /// An application: the partner, service or channel that keys belong to.
    ApplicationId,
    "app_"
);
id!(
    /// A claim: the first 16 bytes of the SHA-256 of its ticket, so that whoever holds the ticket can look at the claim.
    ClaimId,
    "clm_"
);
id!(
    /// The right to renew that a renewal token carries: the first 16 bytes of the token's SHA-256.
    RenewalId,
    "rnw_"
);
id!(
    /// A role: a named bundle of scopes of administration.
    RoleId,
    "rol_"
);
id!(
    /// A webhook: where an application's events are told, over HTTP.
    WebhookId,
    "whk_"
);
id!(
    /// A policy: how often keys rotate, and what becomes of those that do not.
    PolicyId,
    "pol_"
);
id!(
    /// A credential: a secret of a third party, kept in the vault.
    CredentialId,
    "crd_"
);
id!(
    /// One request, named in its answer, in its log lines and in its event.
    RequestId,
    "req_"
);

impl ApplicationId {
    /// The built-in application `keyward`, whose keys administer all others.
    pub const KEYWARD: Self = Self([0; 16]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_hex() {
        let id = KeyId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string().parse::<KeyId>(), Ok(id));
        assert_eq!(id.hex(), "ab".repeat(16));
        assert_eq!(ApplicationId::KEYWARD.to_string(), "app_0000000000000000000000");
    }

    #[test]
    fn another_kind_or_length_is_refused() {
        let id = KeyId::from_bytes([1; 16]).to_string();
        assert!(id.parse::<ApplicationId>().is_err());
        assert!(format!("{id}0").parse::<KeyId>().is_err());
        assert!("key_zzzzzzzzzzzzzzzzzzzzzz".parse::<KeyId>().is_err());
        let error = "".parse::<KeyId>().expect_err("no id");
        assert_eq!(error.to_string(), "`key_` followed by 22 characters of `0-9A-Za-z`");
    }
}
