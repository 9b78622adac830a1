//! The form that a page posts (`application/x-www-form-urlencoded`, WHATWG URL section 5.1): bounded, UTF-8. Any of its values may be a
//! secret, so all are wiped when dropped, and none is repeated in an error.

use crate::query::decode;
use keyward_crypto::SecretText;
use keyward_domain::{Code, Error, Result};

/// The most fields: a page of keys to choose from, and what else a form has.
const FIELDS_MAX: usize = 256;

/// The fields of a form; none by default.
#[derive(Default)]
pub struct Form(Vec<(String, SecretText)>);

/// Whether a `Content-Type` says that it is one.
pub(crate) fn is_form(content_type: &[u8]) -> bool {
    let essence = content_type.split(|b| *b == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

impl Form {
    /// Parses what a browser posts.
    ///
    /// # Errors
    /// [`Code::InvalidBody`] for what does not decode or has too many fields.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let wrong = |detail: &str| Error::new(Code::InvalidBody, detail);
        let text = std::str::from_utf8(body).map_err(|_| wrong("the form is not UTF-8"))?;
        let mut fields = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if fields.len() == FIELDS_MAX {
                return Err(wrong("the form has more than 256 fields"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value, true).map(SecretText::new);
            match (decode(name, true), value) {
                (Some(name), Some(value)) => fields.push((name, value)),
                _ => return Err(wrong("the form is not percent-encoded UTF-8")),
            }
        }
        Ok(Self(fields))
    }

    /// Every value of `name`, in the order received.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(have, _)| have == name).map(|(_, value)| value.expose())
    }

    /// The first value of `name`, without the spaces around it; empty where there is none.
    pub fn text<'a>(&'a self, name: &'a str) -> &'a str {
        self.all(name).next().unwrap_or_default().trim()
    }

    /// The same; none where it is empty.
    pub fn given<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// The first value of `name` as a secret of its own.
    pub fn secret(&self, name: &str) -> Option<SecretText> {
        self.given(name).map(|text| SecretText::new(text.to_owned()))
    }

    /// Whether `name` stands there, as a box that is ticked does.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(have, _)| have == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_decode_in_order() {
        let form = Form::parse(b"scope=a%3Ab&scope=c+d&empty=&bare&x=+a%0d%0a").expect("a form");
        assert_eq!(form.all("scope").collect::<Vec<_>>(), ["a:b", "c d"]);
        assert_eq!((form.text("x"), form.given("empty"), form.given("absent")), ("a", None, None));
        assert!(form.has("bare") && !form.has("absent"));
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let many = vec!["a=1"; FIELDS_MAX + 1].join("&");
        for bad in [&b"a=%zz"[..], b"a=\xff", b"a=%ff", many.as_bytes()] {
            assert_eq!(Form::parse(bad).map(|_| ()).map_err(|e| e.code), Err(Code::InvalidBody));
        }
        assert!(is_form(b"Application/X-WWW-Form-URLencoded; charset=UTF-8") && !is_form(b"text/plain"));
    }
}
