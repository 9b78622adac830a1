//! The query of a request's target: percent-decoded, bounded, in the order received. Values are never logged or repeated in errors.

use keyward_domain::scope::SCOPES_MAX;
use keyward_domain::{Code, Error, Result, Timestamp, token};

/// The longest query, in bytes as received.
pub const QUERY_BYTES_MAX: usize = 8 * 1024;
/// The most parameters: as many scopes as a key can have, and what else a route takes.
pub const PARAMETERS_MAX: usize = SCOPES_MAX + 8;

/// The parameters of a query.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses `a=1&b=2`, as browsers write it: `+` is a space, the rest percent-encoded UTF-8.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`] for a query that is too long, has too many parameters or does not decode.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |detail: &str| Err(Error::new(Code::InvalidParameter, detail));
        if text.len() > QUERY_BYTES_MAX {
            return wrong("the query is longer than 8192 bytes");
        }
        let mut parameters = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if parameters.len() == PARAMETERS_MAX {
                return wrong(&format!("the query has more than {PARAMETERS_MAX} parameters"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(name, true), decode(value, true)) {
                (Some(name), Some(value)) => parameters.push((name, value)),
                _ => return wrong("the query is not percent-encoded UTF-8"),
            }
        }
        Ok(Self(parameters))
    }

    /// Every value of `name`, in the order received.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// The only value of `name`, if there is one.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`] where it stands more than once.
    pub fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Error::parameter(name, "stands more than once", "one value")),
        }
    }

    /// The only value of `name` parsed; `expected` says in an error what would be right.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`] where it does not parse or stands more than once.
    pub fn parsed<T: std::str::FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>> {
        match self.one(name)? {
            None => Ok(None),
            Some(text) => {
                text.parse().map(Some).map_err(|_| Error::parameter(name, "is not valid", expected))
            }
        }
    }

    /// The only value of `name` as a time.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`] where it is none or stands more than once.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        let parsed = Timestamp::parse(text).map(Some);
        let expected = "a time such as `2026-01-31T08:00:00Z`";
        parsed.ok_or_else(|| Error::parameter(name, "is not valid", expected))
    }

    /// Refuses every parameter but these, so that a mistyped filter is not silently no filter.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`] that names the first other one, where its name is fit to be shown.
    pub fn only(&self, names: &[&str]) -> Result<()> {
        match self.0.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let known = match names {
                    [] => "no parameters".to_owned(),
                    names => format!("one of {}", crate::body::quoted(names)),
                };
                Err(Error::parameter(crate::body::shown_name(name), "is no parameter of this route", &known))
            }
        }
    }

    /// Whether a name or a value is a well-formed token or ticket.
    pub(crate) fn holds_token(&self) -> bool {
        self.0.iter().any(|(name, value)| token::parse(name).is_ok() || token::parse(value).is_ok())
    }
}

/// Percent-decoding (RFC 3986 section 2.1); `plus` reads `+` as a space. `None` for a broken escape or what is no UTF-8.
pub(crate) fn decode(text: &str, plus: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (nibble(rest.next()?)?, nibble(rest.next()?)?);
                (high << 4) | low
            }
            b'+' if plus => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).expect(text)
    }

    #[test]
    fn parameters_decode_in_order() {
        let query = query("scope=a%3Ab&&scope=c+d&empty=&bare&%C3%A9=1&x=a=b");
        assert_eq!(query.all("scope").collect::<Vec<_>>(), ["a:b", "c d"]);
        assert_eq!(query.one("empty"), Ok(Some("")));
        assert_eq!(query.one("bare"), Ok(Some("")));
        assert_eq!(query.one("é"), Ok(Some("1")));
        assert_eq!(query.one("x"), Ok(Some("a=b")));
        assert_eq!(query.one("absent"), Ok(None));
        assert_eq!(query.one("scope").map_err(|e| e.code), Err(Code::InvalidParameter));
    }

    #[test]
    fn bad_encoding_and_excess_are_refused() {
        let long = format!("a={}", "x".repeat(QUERY_BYTES_MAX));
        let many = vec!["a=1"; PARAMETERS_MAX + 1].join("&");
        for bad in ["a=%", "a=%4", "a=%zz", "a=%ff", "%c3=1", "a=%C3%28", &long, &many] {
            assert_eq!(Query::parse(bad).map_err(|e| e.code), Err(Code::InvalidParameter), "{bad:.20}");
        }
        assert!(Query::parse(&vec!["a=1"; PARAMETERS_MAX].join("&")).is_ok());
    }

    #[test]
    fn other_parameters_are_named_unless_they_may_be_secret() {
        assert!(query("limit=1").only(&["limit"]).is_ok());
        let error = query("limti=1").only(&["limit", "cursor"]).expect_err("mistyped");
        assert_eq!(error.detail, "`limti` is no parameter of this route; expected one of `limit`, `cursor`");
        let error = query("%1b[31m=1").only(&[]).expect_err("hostile");
        assert!(!error.detail.contains('\u{1b}'), "{}", error.detail);
    }
}
