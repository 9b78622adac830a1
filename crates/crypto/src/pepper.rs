//! Peppers: how the secret part of a token is stored and compared.
//! What is stored is HMAC-SHA-256 of the whole token under a pepper; a token carries 256 random bits, so no slow hash is
//! needed. Of a token that another system issued it is that of its digest: it may be guessable, and without the pepper no guess can be
//! tried. Neither tokens nor peppers appear in any error.

use std::hint::black_box;

use subtle::ConstantTimeEq;

use crate::keyed::MacKey;
use crate::ring::{Ring, RingError};

/// The name of the ring of peppers, as its variable is called.
const RING_NAME: &str = "peppers";

/// A record names a pepper that this process does not have: 503 to a caller, never "denied".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no pepper of version `{version}`")]
pub struct UnknownPepper {
    /// The version asked for.
    pub version: u32,
}

/// The peppers, each already absorbed into its HMAC.
pub struct Peppers {
    active: (u32, MacKey),
    others: Vec<(u32, MacKey)>,
}

impl Peppers {
    /// Parses a ring document of peppers; *active* stores new tokens, *decrypt-only* verifies old ones.
    ///
    /// # Errors
    /// As [`Ring::parse`], under the name `peppers`.
    pub fn parse(json: &str) -> Result<Self, RingError> {
        let (active, others) = Ring::parse(RING_NAME, json)?.into_entries();
        Ok(Self {
            active: (active.version, MacKey::new(active.key.expose())),
            others: others.iter().map(|entry| (entry.version, MacKey::new(entry.key.expose()))).collect(),
        })
    }

    /// The version under which new tokens are stored. A key whose version has another pepper is due for rotation.
    pub fn active(&self) -> u32 {
        self.active.0
    }

    /// Every version, the active one first.
    pub fn versions(&self) -> impl Iterator<Item = u32> + '_ {
        std::iter::once(&self.active).chain(&self.others).map(|(version, _)| *version)
    }

    /// What is stored of a token: HMAC-SHA-256 of its whole text under one pepper.
    ///
    /// # Errors
    /// [`UnknownPepper`] when the ring lacks that version.
    pub fn mac(&self, version: u32, token: &[u8]) -> Result<[u8; 32], UnknownPepper> {
        std::iter::once(&self.active)
            .chain(&self.others)
            .find(|(have, _)| *have == version)
            .map(|(_, key)| key.mac(&[token]))
            .ok_or(UnknownPepper { version })
    }

    /// Whether `token` is the one whose MAC was stored; the comparison takes the same time wherever they differ.
    ///
    /// # Errors
    /// [`UnknownPepper`] when the ring lacks that version.
    pub fn verify(&self, version: u32, token: &[u8], expected: &[u8; 32]) -> Result<bool, UnknownPepper> {
        Ok(self.mac(version, token)?.ct_eq(expected).into())
    }

    /// The id of the key that a token with this digest is imported as: the first 16 bytes of a MAC of its own, so that the token finds its
    /// key, and an id tells nobody without the pepper anything of a token.
    ///
    /// # Errors
    /// [`UnknownPepper`] when the ring lacks that version.
    pub fn imported_id(&self, version: u32, digest: &[u8]) -> Result<[u8; 16], UnknownPepper> {
        let mac = self.mac(version, &[b"keyward/imported-id:", digest].concat())?;
        Ok(*mac.first_chunk().unwrap_or(&[0; 16]))
    }

    /// The same work as [`Peppers::verify`] for a token whose id is unknown; always `false`. It keeps "no such key" from
    /// answering faster than "wrong secret".
    pub fn verify_dummy(&self, token: &[u8]) -> bool {
        let mac = self.active.1.mac(&[token]);
        // `black_box` keeps the optimiser from noticing that nobody needs the result.
        black_box(bool::from(mac.ct_eq(black_box(&[0; 32])))) & black_box(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base64url;

    fn peppers() -> Peppers {
        let version = |v: u32, state: &str| {
            let key = base64url::encode(&[u8::try_from(v).unwrap(); 32]);
            format!(r#"{{"v":{v},"key":"{key}","state":"{state}","created_at":"2026-01-31T08:00:00Z"}}"#)
        };
        Peppers::parse(&format!(
            r#"{{"versions":[{},{}]}}"#,
            version(1, "decrypt-only"),
            version(2, "active")
        ))
        .unwrap()
    }

    #[test]
    fn a_token_verifies_under_its_own_pepper_only() {
        let peppers = peppers();
        assert_eq!(peppers.active(), 2);
        assert_eq!(peppers.versions().collect::<Vec<_>>(), [2, 1]);
        let mac = peppers.mac(1, b"kw_live_x").unwrap();
        assert_eq!(peppers.verify(1, b"kw_live_x", &mac), Ok(true));
        assert_eq!(peppers.verify(2, b"kw_live_x", &mac), Ok(false));
        assert_eq!(peppers.verify(1, b"kw_live_y", &mac), Ok(false));
        assert_eq!(peppers.verify(1, b"kw_live_", &mac), Ok(false));
        for bit in 0..256 {
            let mut other = mac;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(peppers.verify(1, b"kw_live_x", &other), Ok(false), "bit {bit}");
        }
        assert_eq!(peppers.mac(3, b"kw_live_x"), Err(UnknownPepper { version: 3 }));
        assert_eq!(peppers.verify(3, b"kw_live_x", &mac), Err(UnknownPepper { version: 3 }));
    }

    #[test]
    fn the_id_of_an_imported_token_needs_the_pepper_and_is_none_of_its_macs() {
        let peppers = peppers();
        let id = peppers.imported_id(1, b"sha256:a").unwrap();
        assert_eq!(peppers.imported_id(1, b"sha256:a"), Ok(id));
        assert_ne!(peppers.imported_id(2, b"sha256:a"), Ok(id));
        assert_ne!(peppers.imported_id(1, b"sha512:a"), Ok(id));
        assert_ne!(peppers.mac(1, b"sha256:a").unwrap().first_chunk(), Some(&id));
        assert_eq!(peppers.imported_id(3, b"sha256:a"), Err(UnknownPepper { version: 3 }));
    }

    #[test]
    fn the_dummy_never_verifies() {
        assert!(!peppers().verify_dummy(b"kw_live_x"));
    }

    #[test]
    fn a_bad_ring_of_peppers_says_so() {
        let error = Peppers::parse("{}").err().unwrap();
        assert!(error.to_string().contains("`peppers`"));
    }
}
