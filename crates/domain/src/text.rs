//! Bounds on what people write: names, reasons, contacts. Any character is stored; whoever shows it escapes it.

use crate::error::FieldError;
use crate::schema::{impl_schema, text};
use utoipa::openapi::{ObjectBuilder, Type};

/// The longest name of an application, a key or a principal, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 128;
/// The longest reason, in bytes of UTF-8.
pub const REASON_BYTES_MAX: usize = 1024;
/// The longest user agent that an event keeps, in bytes; longer ones are cut.
pub const USER_AGENT_BYTES_MAX: usize = 256;

/// A name, in the API's document.
pub enum Name {}

impl_schema!(
    Name,
    text("What people call something. At most 128 bytes of UTF-8, and not only white space.", r"\S")
        .min_length(Some(1))
        .max_length(Some(NAME_BYTES_MAX))
);

/// A reason, in the API's document.
pub enum Reason {}

impl_schema!(
    Reason,
    text("Why, in words. At most 1024 bytes of UTF-8, and not only white space.", r"\S")
        .min_length(Some(1))
        .max_length(Some(REASON_BYTES_MAX))
);

/// A description, in the API's document.
pub enum Description {}

impl_schema!(
    Description,
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("What something is for, in words. At most 1024 bytes of UTF-8."))
        .max_length(Some(REASON_BYTES_MAX))
);

/// Checks a name: 1 to [`NAME_BYTES_MAX`] bytes, not only white space.
///
/// # Errors
/// A [`FieldError`] for `field`.
pub fn check_name(field: &'static str, name: &str) -> Result<(), FieldError> {
    if name.trim().is_empty() {
        Err(FieldError::new(field, "is empty", "1 to 128 bytes of text"))
    } else if name.len() > NAME_BYTES_MAX {
        Err(FieldError::new(field, format!("has {} bytes", name.len()), "1 to 128 bytes of text"))
    } else {
        Ok(())
    }
}

/// Checks a reason: 1 to [`REASON_BYTES_MAX`] bytes.
///
/// # Errors
/// A [`FieldError`] for `field`.
pub fn check_reason(field: &'static str, reason: &str) -> Result<(), FieldError> {
    if reason.trim().is_empty() {
        Err(FieldError::new(field, "is empty", "1 to 1024 bytes of text that say why"))
    } else if reason.len() > REASON_BYTES_MAX {
        Err(FieldError::new(field, format!("has {} bytes", reason.len()), "1 to 1024 bytes of text"))
    } else {
        Ok(())
    }
}

/// Checks a description: at most [`REASON_BYTES_MAX`] bytes; there may be none.
///
/// # Errors
/// A [`FieldError`] for `field`.
pub fn check_description(field: &'static str, description: &str) -> Result<(), FieldError> {
    if description.len() > REASON_BYTES_MAX {
        let found = format!("has {} bytes", description.len());
        return Err(FieldError::new(field, found, "at most 1024 bytes of text"));
    }
    Ok(())
}

/// `text` cut to at most `bytes_max` bytes at a character's edge.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let mut end = bytes_max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Whether a text is a name that programs use as well: 1 to `bytes_max` of `[a-z0-9._-]`, beginning with a letter or digit.
pub(crate) fn is_plain_name(text: &str, bytes_max: usize) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    (1..=bytes_max).contains(&text.len())
        && text.bytes().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_not_censored() {
        assert!(check_name("name", "").is_err());
        assert!(check_name("name", " \t").is_err());
        assert!(check_name("name", &"x".repeat(129)).is_err());
        assert!(check_name("name", "a\r\nSet-Cookie: x\u{1b}[31m<script>").is_ok());
    }

    #[test]
    fn cutting_keeps_characters_whole() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }

    #[test]
    fn each_bound_is_the_last_length_that_is_taken() {
        let of = |bytes: usize| "x".repeat(bytes);
        assert!(check_name("name", &of(128)).is_ok() && check_name("name", &of(129)).is_err());
        assert!(check_reason("reason", &of(1024)).is_ok() && check_reason("reason", &of(1025)).is_err());
        assert!(check_reason("reason", " ").is_err(), "why is not left out");
        let described = |bytes| check_description("description", &of(bytes)).is_ok();
        assert_eq!([described(0), described(1024), described(1025)], [true, true, false]);
    }

    #[test]
    fn cutting_where_nothing_fits_leaves_nothing() {
        assert_eq!(cut("é", 1), "");
        assert_eq!(cut("é", 0), "");
        assert_eq!(cut("aéb", 9), "aéb");
    }
}
