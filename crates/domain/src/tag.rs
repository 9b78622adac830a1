//! Tags: words by which keys are found together, such as a team's or a vendor's name. Any character may stand in one.

use crate::error::FieldError;
use crate::schema::{impl_schema, text};

/// The most tags of one key.
pub const TAGS_MAX: usize = 16;
/// The longest tag, in characters of its one spelling.
pub const TAG_CHARS_MAX: usize = 64;

/// A tag, in the API's document.
pub enum Tag {}

impl_schema!(
    Tag,
    text(
        "A word by which keys are found together: 1 to 64 characters. Case and width of white space make no difference.",
        r"\S",
    )
    .min_length(Some(1))
);

const EXPECTED: &str = "1 to 64 characters of text";

/// A tag in its one spelling: lower case, one blank between words, so that whoever looks for `Acme` finds `acme` as well.
///
/// # Errors
/// A [`FieldError`] for `field`.
pub fn parse(field: impl Into<String>, text: &str) -> Result<String, FieldError> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let tag = words.join(" ").to_lowercase();
    match tag.chars().count() {
        0 => Err(FieldError::new(field, "is empty", EXPECTED)),
        1..=TAG_CHARS_MAX => Ok(tag),
        count => Err(FieldError::new(field, format!("has {count} characters"), EXPECTED)),
    }
}

/// The tags of a request's `field`, in the order given.
///
/// # Errors
/// One [`FieldError`] for each that is no tag or stands twice, or one for too many of them.
pub fn parse_all(field: &str, texts: &[String]) -> Result<Vec<String>, Vec<FieldError>> {
    if texts.len() > TAGS_MAX {
        return Err(vec![FieldError::new(field, format!("has {} entries", texts.len()), "at most 16 tags")]);
    }
    let (mut tags, mut errors) = (Vec::with_capacity(texts.len()), Vec::new());
    for (index, text) in texts.iter().enumerate() {
        let field = format!("{field}[{index}]");
        match parse(field.clone(), text) {
            Ok(tag) if tags.contains(&tag) => {
                errors.push(FieldError::new(field, "stands twice", "each tag once, whatever its case"));
            }
            Ok(tag) => tags.push(tag),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(tags) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_tag_has_one_spelling() {
        for text in ["acme corp", "Acme  Corp", "\tACME\u{a0}corp\r\n"] {
            assert_eq!(parse("tag", text).as_deref(), Ok("acme corp"), "{text:?}");
        }
        for text in ["İstanbul", "ΑΣ", "ǅ", "<b>\u{1b}[31m"] {
            let tag = parse("tag", text).expect(text);
            assert_eq!(parse("tag", &tag), Ok(tag), "spelt once more it is the same");
        }
    }

    #[test]
    fn tags_are_bounded_and_each_stands_once() {
        let longest = "ä".repeat(TAG_CHARS_MAX);
        assert_eq!(parse_all("tags", &texts(&["b", &longest, "a"])), Ok(texts(&["b", &longest, "a"])));
        let bad = ["a", "", " \n", &"x".repeat(TAG_CHARS_MAX + 1), "A "];
        let errors = parse_all("tags", &texts(&bad)).expect_err("four are wrong");
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["tags[1]", "tags[2]", "tags[3]", "tags[4]"]);
        assert_eq!(
            parse_all("tags", &vec!["a".to_owned(); TAGS_MAX + 1]).map_err(|errors| errors.len()),
            Err(1)
        );
    }
}
