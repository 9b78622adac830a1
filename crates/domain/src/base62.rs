//! Fixed-width base62: big-endian, alphabet `0-9A-Za-z`, left-padded with `0`, overflow refused.
//!
//! One number has exactly one text of a given width, so a token has exactly one spelling.

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Characters that hold 16 bytes: `ceil(128 / log2(62))`.
pub const WIDTH_16_BYTES: usize = 22;
/// Characters that hold 32 bytes: `ceil(256 / log2(62))`.
pub const WIDTH_32_BYTES: usize = 43;

/// Digits that one division of [`encode_into`] gives and one step of [`decode`] takes: `62^5 < 2^32`.
const DIGITS_AT_ONCE: usize = 5;
/// `62^5`.
const DIVISOR: u64 = 62u64.pow(5);

/// Appends the big-endian number `bytes` (at most 32) to `out` in `width` characters.
///
/// The number must fit `width` characters; what does not fit is cut at the top (callers use the widths above, which always fit).
/// Five characters at a time: every answer of the hot path names three ids.
pub fn encode_into(out: &mut String, bytes: &[u8], width: usize) {
    let mut limbs = [0u32; 8];
    let used = bytes.len().div_ceil(4);
    for (limb, chunk) in limbs.iter_mut().take(used).rev().zip(bytes.rchunks(4)) {
        *limb = chunk.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte));
    }
    let mut digits = [b'0'; 48];
    let (mut places, mut left) = (digits.iter_mut().rev(), width.min(48));
    while left > 0 {
        let mut remainder = 0u64;
        for limb in limbs.iter_mut().take(used) {
            let value = (remainder << 32) | u64::from(*limb);
            *limb = u32::try_from(value / DIVISOR).unwrap_or(0);
            remainder = value % DIVISOR;
        }
        for place in places.by_ref().take(left.min(DIGITS_AT_ONCE)) {
            *place =
                usize::try_from(remainder % 62).ok().and_then(|at| ALPHABET.get(at)).copied().unwrap_or(b'0');
            remainder /= 62;
        }
        left = left.saturating_sub(DIGITS_AT_ONCE);
    }
    out.extend(digits.iter().skip(48usize.saturating_sub(width)).map(|digit| char::from(*digit)));
    // The number may have been a secret.
    limbs.fill(0);
    digits.fill(0);
}

/// The big-endian number that `text` spells, in `N` bytes (at most 32); `None` for a character outside the alphabet or a number
/// too large. Five characters at a time, and no product wider than 64 bits, which Wasm has no instruction for: every token of every request comes
/// through here.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut limbs = [0u32; 8];
    let used = N.div_ceil(4);
    for step in text.as_bytes().chunks(DIGITS_AT_ONCE) {
        let (mut carry, mut scale) = (0u64, 1u64);
        for character in step {
            carry = carry * 62 + u64::from(digit(*character)?);
            scale *= 62;
        }
        for limb in limbs.iter_mut().take(used).rev() {
            let product = u64::from(*limb) * scale + carry;
            *limb = u32::try_from(product & u64::from(u32::MAX)).ok()?;
            carry = product >> 32;
        }
        if carry != 0 {
            return None;
        }
    }
    let mut bytes = [0u8; 32];
    for (place, limb) in bytes.chunks_exact_mut(4).zip(limbs) {
        place.copy_from_slice(&limb.to_be_bytes());
    }
    let used_bytes = used.checked_mul(4)?;
    let (over, number) = bytes.get(..used_bytes)?.split_at_checked(used_bytes.checked_sub(N)?)?;
    if over.iter().any(|byte| *byte != 0) { None } else { number.try_into().ok() }
}

/// The value of each character of the alphabet, and [`NO_DIGIT`] of every other byte.
const DIGITS: [u8; 256] = digits();
const NO_DIGIT: u8 = u8::MAX;

#[allow(clippy::indexing_slicing, reason = "a constant: an index beyond the table would not compile")]
const fn digits() -> [u8; 256] {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        digits[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    digits
}

/// The value of one character of the alphabet.
#[inline]
fn digit(character: u8) -> Option<u8> {
    DIGITS.get(usize::from(character)).copied().filter(|value| *value != NO_DIGIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(bytes: &[u8], width: usize) -> String {
        let mut out = String::new();
        encode_into(&mut out, bytes, width);
        out
    }

    #[test]
    fn known_spellings() {
        assert_eq!(encode(&[0], 2), "00");
        assert_eq!(encode(&[61], 2), "0z");
        assert_eq!(encode(&[62], 2), "10");
        assert_eq!(encode(&[0xff; 16], WIDTH_16_BYTES), "7n42DGM5Tflk9n8mt7Fhc7");
        assert_eq!(decode::<16>("7n42DGM5Tflk9n8mt7Fhc7"), Some([0xff; 16]));
    }

    #[test]
    fn overflow_and_alphabet_are_refused() {
        assert_eq!(decode::<16>("7n42DGM5Tflk9n8mt7Fhc8"), None);
        assert_eq!(decode::<16>("zzzzzzzzzzzzzzzzzzzzzz"), None);
        assert_eq!(decode::<1>("-"), None);
        assert_eq!(decode::<1>("é"), None);
    }

    proptest! {
        #[test]
        fn every_number_comes_back(bytes: [u8; 32]) {
            let text = encode(&bytes, WIDTH_32_BYTES);
            prop_assert_eq!(text.len(), WIDTH_32_BYTES);
            prop_assert_eq!(decode::<32>(&text), Some(bytes));
        }

        #[test]
        fn every_accepted_text_is_the_one_spelling(text in "[0-9A-Za-z]{22}") {
            if let Some(bytes) = decode::<16>(&text) {
                prop_assert_eq!(encode(&bytes, WIDTH_16_BYTES), text);
            }
        }
    }
}
