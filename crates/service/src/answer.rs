//! What a use case answers: its result, or the JSON text of the result it gave before under the same Idempotency-Key.

use keyward_crypto::SecretText;
use serde::Serialize;

/// A result that has a JSON text. The text may hold a secret, so it is one.
pub trait Body {
    /// The JSON text.
    fn to_json(&self) -> SecretText;
}

impl<T: Serialize> Body for T {
    fn to_json(&self) -> SecretText {
        SecretText::new(serde_json::to_string(self).unwrap_or_default())
    }
}

/// A fresh result or a replayed one.
pub enum Answer<T> {
    /// It was done now.
    Fresh(T),
    /// It was done before; this is the text of the result then.
    Replayed(SecretText),
}

impl<T: Body> Answer<T> {
    /// The JSON text.
    pub fn to_json(&self) -> SecretText {
        match self {
            Self::Fresh(result) => result.to_json(),
            Self::Replayed(text) => SecretText::new(text.expose().to_owned()),
        }
    }

    /// Whether it was done before.
    pub const fn is_replayed(&self) -> bool {
        matches!(self, Self::Replayed(_))
    }
}
