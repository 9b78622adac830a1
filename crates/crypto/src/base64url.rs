//! Base64url without padding (RFC 4648 section 5), the one text form of 32-byte keys in rings and JWKs.
//! It allocates nothing for what it decodes: key material stays in buffers that are wiped.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// The text of a key, a thumbprint or a point.
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Exactly 32 bytes, or nothing: another length, padding, another alphabet and stray trailing bits are all refused.
pub(crate) fn decode_32(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    // The decoder wants room for whole groups of three bytes, hence a buffer longer than 32; what needs more is refused.
    let mut buffer = Zeroizing::new([0_u8; 36]);
    let decoded_bytes = URL_SAFE_NO_PAD.decode_slice(text, buffer.as_mut_slice()).ok()?;
    let decoded = buffer.get(..decoded_bytes)?;
    let mut key = Zeroizing::new([0_u8; 32]);
    if decoded.len() != key.len() {
        return None;
    }
    key.copy_from_slice(decoded);
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_text_of_32_bytes_decodes() {
        let text = encode(&[0xff; 32]);
        assert_eq!(decode_32(&text).as_deref(), Some(&[0xff; 32]));
        for bad in [
            "".to_owned(),
            encode(&[1; 31]),
            encode(&[1; 33]),
            encode(&[1; 64]),
            format!("{text}="),
            text.replace('_', "/"),
            // The last character carries two bits beyond byte 32; both must be zero.
            format!("{}9", &text[..42]),
            format!(" {}", &text[1..]),
        ] {
            assert!(decode_32(&bad).is_none(), "{bad:?} decoded");
        }
    }
}
