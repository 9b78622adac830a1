//! Routing: which key serves an application's slot, such as `payments-primary`. Whoever calls a partner looks the slot up and need not
//! know when its key rotates.

use crate::error::FieldError;
use crate::id::KeyId;
use crate::schema::{impl_schema, text};
use crate::text::is_plain_name;
use serde::{Deserialize, Serialize};

/// The most slots of one application.
pub const SLOTS_MAX: usize = 64;
/// The longest name of a slot, in bytes.
pub const SLOT_BYTES_MAX: usize = 64;

/// A slot's name, in the API's document.
pub enum Slot {}

impl_schema!(
    Slot,
    text("What a key is used for, such as `payments-primary`.", "^[a-z0-9][a-z0-9._-]*$")
        .min_length(Some(1))
        .max_length(Some(SLOT_BYTES_MAX))
);

/// One slot and the key that serves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Its name; each once in an application.
    pub slot: String,
    /// Which key.
    pub key: KeyId,
}

/// Checks a slot's name: 1 to [`SLOT_BYTES_MAX`] of `[a-z0-9._-]`, beginning with a letter or digit.
///
/// # Errors
/// A [`FieldError`] for `field`.
pub fn check_slot(field: &str, slot: &str) -> Result<(), FieldError> {
    if is_plain_name(slot, SLOT_BYTES_MAX) {
        Ok(())
    } else {
        Err(FieldError::new(field, "is no slot's name", "1 to 64 of `[a-z0-9._-]`, a letter or digit first"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_have_plain_names() {
        for good in ["payments-primary", "a", "0.b_c"] {
            assert!(check_slot("routes", good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a b", "a/b", &"a".repeat(65)] {
            assert!(check_slot("routes", bad).is_err(), "{bad}");
        }
    }
}
