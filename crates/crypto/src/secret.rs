//! Types for what must not be seen: secret text and secret bytes, wiped when dropped.
//! They have no `Debug`, `Display`, `Serialize` or `Clone`; reading one is an explicit `expose()`.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret text (a token, a ticket, a ring document), wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretText(String);

impl SecretText {
    /// Takes the text over. Copies made before stay with whoever made them.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that has to send, hash or parse it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Reading one out of a request is no danger; writing one into an answer is, so there is no `Serialize`.
impl<'de> serde::Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// `N` secret bytes, wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretBytes<const N: usize>([u8; N]);

impl<const N: usize> SecretBytes<N> {
    /// Takes the bytes over; the caller's array is a copy and stays the caller's to wipe.
    pub fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// The bytes themselves, for the one place that has to compute with them.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `zeroize` tests that a drop wipes; here it is asserted that these types ask for it.
    fn wiped_on_drop<T: ZeroizeOnDrop>() {}

    #[test]
    fn secrets_are_readable_only_through_expose_and_wiped() {
        wiped_on_drop::<SecretText>();
        wiped_on_drop::<SecretBytes<32>>();
        assert_eq!(SecretText::new("s".to_owned()).expose(), "s");
        assert_eq!(SecretBytes::new([7; 4]).expose(), &[7; 4]);
        let mut text = SecretText::new("s".to_owned());
        text.zeroize();
        assert_eq!(text.expose(), "");
    }
}
