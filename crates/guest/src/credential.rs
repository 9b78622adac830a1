//! The credential of a request: one token, in one header. Anywhere else it is refused, since URLs end up in logs.
//! The text of a credential goes from here into a secret type, never into a log line or an error.

use crate::headers::{Doubled, Field, Headers};
use crate::query::{Query, decode};
use keyward_crypto::SecretText;
use keyward_domain::{Code, Error, Result, imported, token};

/// The credential presented in `headers`; `None` where there is none, or only one of a scheme that is not ours.
///
/// A text that cannot be a token (too long, not ASCII) comes back as an empty secret: presented, and never valid.
///
/// # Errors
/// [`Code::MisplacedCredential`] where there are two credentials, or where the path or the query holds a token.
pub fn presented(headers: &Headers, path: &str, query: &Query) -> Result<Option<SecretText>> {
    if query.holds_token() || path_holds_token(path) {
        return Err(misplaced(
            "the URL holds a token, and URLs are logged on the way: revoke it; send tokens in a header",
        ));
    }
    let doubled = |Doubled| misplaced("a credential stands in the headers more than once");
    let bearer = headers.single(Field::Authorization).map_err(doubled)?.and_then(bearer);
    let api_key = headers.single(Field::ApiKey).map_err(doubled)?.map(<[u8]>::trim_ascii);
    let text = match (bearer, api_key) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(misplaced("there are two credentials, `Authorization` and `X-API-Key`; send one"));
        }
        (Some(text), None) | (None, Some(text)) => text,
    };
    if text.contains(&b',') {
        return Err(misplaced("the header holds several values; send one credential"));
    }
    let text = match std::str::from_utf8(text) {
        Ok(text) if text.len() <= imported::LENGTH_MAX => text,
        _ => "",
    };
    Ok(Some(SecretText::new(text.to_owned())))
}

/// What follows the scheme `Bearer` (RFC 9110 section 11.4: without case, then spaces).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let (scheme, rest) = value.split_at(value.iter().position(|b| *b == b' ').unwrap_or(value.len()));
    scheme.eq_ignore_ascii_case(b"bearer").then(|| rest.trim_ascii())
}

fn path_holds_token(path: &str) -> bool {
    path.split('/').any(|segment| {
        token::parse(segment).is_ok()
            || (segment.contains('%')
                && decode(segment, false).is_some_and(|text| token::parse(&text).is_ok()))
    })
}

fn misplaced(detail: &str) -> Error {
    Error::new(Code::MisplacedCredential, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_domain::key::Environment;

    fn sample(prefix: &str) -> String {
        token::render(prefix, Environment::Live, &[7; 16], 1, &[9; 32])
    }

    fn present(fields: &[(&str, &str)], path: &str, query: &str) -> Result<Option<String>> {
        let fields = fields.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
        presented(&Headers::held(fields), path, &Query::parse(query).expect(query))
            .map(|found| found.map(|secret| secret.expose().to_owned()))
    }

    #[test]
    fn one_credential_in_one_header() {
        let token = sample("kw");
        let bearer = format!("Bearer {token}");
        for fields in [
            [("Authorization", bearer.as_str())],
            [("authorization", &bearer.replace("Bearer ", "bEARER   "))],
            [("X-API-Key", &token)],
            [("x-api-key", &format!(" {token} "))],
        ] {
            assert_eq!(present(&fields, "/", ""), Ok(Some(token.clone())));
        }
        assert_eq!(present(&[], "/", "a=b"), Ok(None));
        let basic = [("Authorization", "Basic a2V5")];
        assert_eq!(present(&basic, "/", ""), Ok(None), "another scheme is none of ours");
        assert_eq!(present(&[basic[0], ("X-API-Key", &token)], "/", ""), Ok(Some(token)));
    }

    #[test]
    fn two_credentials_are_refused() {
        let token = sample("kw");
        let bearer = format!("Bearer {token}");
        let two = format!("{token}, {token}");
        let cases: [&[(&str, &str)]; 6] = [
            &[("authorization", &bearer), ("Authorization", &bearer)],
            &[("authorization", &bearer), ("authorization", "Basic a2V5")],
            &[("x-api-key", &token), ("x-api-key", "")],
            &[("authorization", &bearer), ("x-api-key", &token)],
            &[("x-api-key", &two)],
            &[("authorization", &format!("Bearer {token},{bearer}"))],
        ];
        for fields in cases {
            let error = present(fields, "/", "").expect_err("two");
            assert_eq!(error.code, Code::MisplacedCredential);
            assert!(!error.detail.contains(&token));
        }
    }

    #[test]
    fn a_token_in_the_url_is_refused_wherever_it_stands() {
        for prefix in ["kw", "kwc", "acme1"] {
            let token = sample(prefix);
            let escaped = token.replacen('w', "%77", 1).replacen('m', "%6D", 1);
            for (path, query) in [
                ("/", format!("key={token}")),
                ("/", format!("a=1&anything={escaped}")),
                ("/", token.clone()),
                (&*format!("/v1/authorize/{token}"), String::new()),
                (&*format!("/v1/authorize/{escaped}/x"), String::new()),
            ] {
                let error = present(&[], path, &query).expect_err("in the URL");
                assert_eq!(error.code, Code::MisplacedCredential, "{path}?{query}");
                assert!(!error.detail.contains(&token));
            }
        }
        let mistyped = format!("{}x", sample("kw"));
        assert_eq!(present(&[], "/", &format!("q={mistyped}")), Ok(None));
    }

    #[test]
    fn what_cannot_be_a_token_is_presented_but_never_valid() {
        let long = "x".repeat(1 << 20);
        for value in ["", long.as_str(), "\u{e9}".repeat(60).as_str(), "Bearer"] {
            let found = present(&[("x-api-key", value)], "/", "").expect("bounded").expect("presented");
            assert!(found.len() <= imported::LENGTH_MAX && !imported::may_be_token(&found));
        }
        assert_eq!(present(&[("authorization", "Bearer")], "/", ""), Ok(Some(String::new())));
    }
}
