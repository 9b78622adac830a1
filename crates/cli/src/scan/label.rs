//! What a secret is called where it was found: the name of the variable or member that it stands behind. Out of that come the names of a
//! credential and of an environment variable.

use std::ops::Range;
use std::sync::OnceLock;

use regex::bytes::Regex;

use super::rule::line_of;
use crate::import::naming;

/// A name that something is assigned to directly, at the end of what stands before it: `password = "`, `"password": "`, `api_key => '`; not
/// the user in a URL.
const DIRECT: &str = r#"(?:^|[^A-Za-z0-9_./@:-])([A-Za-z_][A-Za-z0-9_.-]*)["']?\s*(?:=>|:=|[:=])\s*["'`]?$"#;
/// A name at the beginning of a line whose value has more in it than the secret: `DB_URL=postgres://shop:`.
const AROUND: &str =
    r#"^\s*(?:(?:export|let|const|var|-)\s+)?["']?([A-Za-z_][A-Za-z0-9_.-]*)["']?\s*(?:=>|:=|[:=])"#;
/// The longest label: what comes of it is a part of a credential's name.
const LABEL_CHARACTERS_MAX: usize = 40;

/// A name of letters, digits, `.`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(String);

impl Label {
    /// What a secret at this place is called, if anything is.
    pub fn of(content: &[u8], span: &Range<usize>) -> Option<Self> {
        static PATTERNS: OnceLock<Option<(Regex, Regex)>> = OnceLock::new();
        let patterns = PATTERNS.get_or_init(|| Some((Regex::new(DIRECT).ok()?, Regex::new(AROUND).ok()?)));
        let (direct, around) = patterns.as_ref()?;
        let line = line_of(content, span);
        let before = content.get(..span.start)?;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
        let before = line.get(..span.start.saturating_sub(start))?;
        // Of a line without an end only what stands near.
        let near = before.get(before.len().saturating_sub(256)..)?;
        let name = |pattern: &Regex, text: &[u8]| {
            let name = pattern.captures(text)?.get(1)?.as_bytes().to_vec();
            String::from_utf8(name).ok()
        };
        match name(direct, near) {
            Some(name) => Some(Self::new(&name)),
            None => Some(Self::new(&format!("{}_password", name(around, before)?))),
        }
    }

    /// The label of this name, or of how it begins.
    pub fn new(name: &str) -> Self {
        Self(name.chars().take(LABEL_CHARACTERS_MAX).collect())
    }

    /// The same with a number behind it.
    #[must_use]
    pub fn numbered(&self, number: usize) -> Self {
        Self(format!("{}_{number}", self.0))
    }

    /// The name of a credential below this prefix, as an import gives it.
    ///
    /// # Errors
    /// What would be right.
    pub fn credential(&self, prefix: &str) -> Result<String, String> {
        naming::name(prefix, std::slice::from_ref(&self.0))
    }

    /// The name of an environment variable.
    pub fn variable(&self) -> String {
        let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let name: String = self.0.chars().map(fit).collect();
        if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_secret_is_called() {
        for (line, expected) in [
            ("DB_PASSWORD=SECRET", Some("DB_PASSWORD")),
            ("  \"apiKey\": \"SECRET\",", Some("apiKey")),
            ("client = Client(user='x', api_key='SECRET')", Some("api_key")),
            ("export DB_URL=postgres://shop:SECRET@db/shop", Some("DB_URL_password")),
            ("spring.datasource.password: SECRET", Some("spring.datasource.password")),
            ("secret => 'SECRET'", Some("secret")),
            ("SECRET", None),
            ("see SECRET", None),
        ] {
            let content = format!("first=1\r\n{line}\r\nlast=2\r\n");
            let start = content.find("SECRET").unwrap();
            let label = Label::of(content.as_bytes(), &(start..start + 6));
            assert_eq!(label.map(|label| label.0).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn names_that_come_of_it() {
        let label = Label::new("2nd.DB-password");
        assert_eq!(label.variable(), "_2ND_DB_PASSWORD");
        assert_eq!(label.numbered(2).credential("shop/").unwrap(), "shop/2nd.db-password_2");
        assert!(label.credential("Shop/").is_err());
        assert_eq!(Label::new(&"a".repeat(90)).0.len(), 40);
    }
}
