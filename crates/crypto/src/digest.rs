//! Digests without a key: SHA-256, framed lookup digests, RFC 6962 leaves and nodes, RFC 9530 content digests.
//! Nothing here protects a guessable value; what is short or personal needs `Sealer::keyed_digest`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// SHA-256 (FIPS 180-4) of `bytes`.
#[inline(never)]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-512 (FIPS 180-4) of `bytes`.
#[inline(never)]
pub fn sha512(bytes: &[u8]) -> [u8; 64] {
    Sha512::digest(bytes).into()
}

/// A lookup digest: SHA-256 over a label and parts, each led by its length as a big-endian u64, so that no two
/// different (label, parts) share an input.
///
/// It is deliberately *unkeyed*: it names a store key (`q:{digest of ticket}`, `y:{digest}`), which must stay the same
/// when a ring rolls. Hence every part must either carry at least 128 bits of randomness (a ticket) or be no secret.
/// The label keeps uses apart; take one like `keyward/v1/claim-ticket`.
pub fn framed(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for field in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
        hash.update(length_u64(field));
        hash.update(field);
    }
    hash.finalize().into()
}

/// Whether two digests are the same; takes the same time wherever they differ.
pub fn equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.ct_eq(other).into()
}

/// The hash of a Merkle tree's leaf, RFC 6962 section 2.1: `SHA-256(0x00 || entry)`.
pub fn leaf_hash(entry: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([0x00]);
    hash.update(entry);
    hash.finalize().into()
}

/// The hash of a Merkle tree's inner node, RFC 6962 section 2.1: `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([0x01]);
    hash.update(left);
    hash.update(right);
    hash.finalize().into()
}

/// The value of a `Content-Digest` field for `body` (RFC 9530 section 2): `sha-256=:<base64>:`.
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(sha256(body)))
}

/// Lowercase hexadecimal, as store keys want it.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0x0f])
        .filter_map(|nibble| DIGITS.get(usize::from(nibble)))
        .collect()
}

/// The 32 bytes of 64 digits of lowercase hex; `None` where the text is something else.
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes: Vec<u8> =
        pairs.iter().map(|[high, low]| Some((nibble(*high)? << 4) | nibble(*low)?)).collect::<Option<_>>()?;
    if rest.is_empty() { bytes.try_into().ok() } else { None }
}

/// A field's length as framing writes it. A `usize` always fits: the widest target has 64 bits.
pub(crate) fn length_u64(field: &[u8]) -> [u8; 8] {
    (field.len() as u64).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values() {
        // RFC 6962 section 2.1: the hash of an empty tree is SHA-256 of nothing; FIPS 180-4's own value.
        assert_eq!(hex(&sha256(b"")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        // FIPS 180-4's own value for SHA-512 of "abc".
        assert!(
            hex(&sha512(b"abc"))
                .starts_with("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a")
        );
        // The empty leaf, as the Certificate Transparency test data has it: SHA-256(0x00).
        assert_eq!(hex(&leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        // Certificate Transparency's reference tree of the two leaves "" and 0x00.
        assert_eq!(
            hex(&node_hash(&leaf_hash(b""), &leaf_hash(&[0x00]))),
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
        );
        // RFC 9530 appendix D: the SHA-256 content digest of {"hello": "world"} and a line feed.
        assert_eq!(
            content_digest(b"{\"hello\": \"world\"}\n"),
            "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
        );
    }

    #[test]
    fn framing_leaves_no_two_ways_to_read_an_input() {
        let digests = [
            framed("a", &[]),
            framed("a", &[b""]),
            framed("a", &[b"", b""]),
            framed("ab", &[b"c"]),
            framed("a", &[b"bc"]),
            framed("a", &[b"b", b"c"]),
            framed("a", &[b"c", b"b"]),
        ];
        for (at, digest) in digests.iter().enumerate() {
            assert!(!digests[at + 1..].contains(digest), "digest {at} repeats");
        }
    }

    #[test]
    fn hex_is_lowercase_and_padded() {
        assert_eq!(hex(&[0x00, 0x0a, 0xff, 0x10]), "000aff10");
        assert_eq!(unhex(&hex(&sha256(b"a"))), Some(sha256(b"a")));
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &"0".repeat(66), &"A".repeat(64)] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
