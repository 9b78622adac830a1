//! Which field of which credential goes where: `DB_PASSWORD=payments/db`, `/run/secrets/user=payments/db#username`.

use keyward_client::Credential;
use keyward_domain::credential;

use crate::failure::{Failure, Result};

/// A place and what goes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// Where it goes.
    pub to: String,
    /// The credential's name.
    pub credential: String,
    /// The field; the secret one of its kind where none is named.
    pub field: Option<String>,
}

impl Selector {
    /// Parses `PLACE=CREDENTIAL[#FIELD]`.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (to, what) = text.split_once('=').ok_or("expected PLACE=CREDENTIAL or PLACE=CREDENTIAL#FIELD")?;
        let (name, field) = what.split_once('#').map_or((what, None), |(name, field)| (name, Some(field)));
        credential::check_name("credential", name).map_err(|found| {
            format!("the credential's name {}; expected {}", found.reason, found.expected)
        })?;
        if to.is_empty() || field.is_some_and(str::is_empty) {
            return Err("expected PLACE=CREDENTIAL or PLACE=CREDENTIAL#FIELD".to_owned());
        }
        Ok(Self { to: to.to_owned(), credential: name.to_owned(), field: field.map(str::to_owned) })
    }

    /// The same where the place is the name of an environment variable.
    ///
    /// # Errors
    /// As [`Selector::parse`].
    pub fn for_environment(text: &str) -> Result<Self, String> {
        let selector = Self::parse(text)?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_name = selector.to.bytes().all(fits) && !selector.to.starts_with(|c: char| c.is_ascii_digit());
        match is_name {
            true => Ok(selector),
            false => Err("expected the name of an environment variable: A-Z, a-z, 0-9 and `_`".to_owned()),
        }
    }

    /// What it selects of a credential.
    ///
    /// # Errors
    /// The credential has no such field.
    pub fn of<'c>(&self, credential: &'c Credential) -> Result<&'c str> {
        let field = self.field.as_deref().unwrap_or_else(|| credential.main_field());
        credential.field(field).ok_or_else(|| {
            let names: Vec<String> = credential.fields().map(|name| format!("`{name}`")).collect();
            Failure::command_line(format!(
                "`{}` has no field `{field}`; it has {}",
                self.credential,
                names.join(", ")
            ))
        })
    }
}

/// The credentials that these name, each once.
pub fn names(selectors: &[Selector]) -> Vec<String> {
    let mut names: Vec<String> = selectors.iter().map(|one| one.credential.clone()).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_selector_is() {
        let parsed = Selector::for_environment("DB_USER=payments/db#username").unwrap();
        assert_eq!((parsed.to.as_str(), parsed.credential.as_str()), ("DB_USER", "payments/db"));
        assert_eq!(parsed.field.as_deref(), Some("username"));
        assert_eq!(Selector::parse("/run/key=tls").unwrap().field, None);
        for bad in ["", "A", "A=", "=db", "A=db#", "A=Db", "1A=db", "A-B=db", "A=db=x"] {
            assert!(Selector::for_environment(bad).is_err(), "{bad}");
        }
    }
}
