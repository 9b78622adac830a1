//! The two keyed primitives that everything else here is made of: HKDF-SHA-256 subkeys and HMAC-SHA-256.
//! One place, so that the published vectors run over exactly what is used.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// HMAC-SHA-256 (RFC 2104) with its key already absorbed: cloning one saves two of the four block computations.
#[derive(Clone)]
pub(crate) struct MacKey(Hmac<Sha256>);

impl MacKey {
    /// Absorbs a key of 32 bytes.
    ///
    /// HMAC pads a key shorter than SHA-256's block of 64 bytes with zeros; padding it here lets the constructor that
    /// cannot fail be used.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let mut block = Zeroizing::new([0_u8; 64]);
        for (to, from) in block.iter_mut().zip(key) {
            *to = *from;
        }
        Self(Hmac::<Sha256>::new((&*block).into()))
    }

    /// The MAC of the parts, one after the other. Framing them is the caller's work.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// HKDF-SHA-256 (RFC 5869), 32 bytes long: extract from `secrets`, one after the other, under `salt`, expand with `info`.
#[allow(
    clippy::expect_used,
    reason = "expand refuses only lengths above 255 * 32 bytes; the length here is 32"
)]
pub(crate) fn derive(salt: &[u8], secrets: &[&[u8]], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut extract = hkdf::HkdfExtract::<Sha256>::new(Some(salt));
    for secret in secrets {
        extract.input_ikm(secret);
    }
    let (_, expand): (_, Hkdf<Sha256>) = extract.finalize();
    let mut key = Zeroizing::new([0_u8; 32]);
    expand.expand(info, key.as_mut_slice()).expect("32 bytes are within what HKDF-SHA-256 can give");
    key
}
