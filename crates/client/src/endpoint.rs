//! Where Keyward answers: its URL, and whom to trust there.

use std::fmt;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts};

/// Where Keyward answers: scheme, authority and the path that its routes are appended to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    origin: String,
    host: String,
    path: String,
    is_https: bool,
}

/// A text is no URL that a Keyward can be called at. The text itself may hold what must not be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no URL of the form `http[s]://host[:port][/path]`")]
pub struct NotABase;

impl Base {
    /// Parses a URL.
    ///
    /// # Errors
    /// [`NotABase`].
    pub fn parse(text: &str) -> Result<Self, NotABase> {
        let uri: Uri = text.parse().map_err(|_| NotABase)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(NotABase);
        };
        // A name and password would be a secret in an argument; a query belongs to no base.
        let is_plain = !authority.as_str().contains('@') && uri.query().is_none() && !text.contains('#');
        if !is_plain || !matches!(scheme, "http" | "https") {
            return Err(NotABase);
        }
        Ok(Self {
            origin: format!("{scheme}://{authority}"),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            path: uri.path().trim_end_matches('/').to_owned(),
            is_https: scheme == "https",
        })
    }

    /// The URL of a route with this query, as it stands in a request.
    pub fn url<'q>(&self, route: &str, query: impl IntoIterator<Item = (&'q str, &'q str)>) -> String {
        let mut url = format!("{self}{route}");
        let mut separator = '?';
        for (name, value) in query {
            url.push(separator);
            separator = '&';
            url.push_str(name);
            url.push('=');
            push_encoded(&mut url, value);
        }
        url
    }

    /// The same server, and the path that the URL named there.
    #[must_use]
    pub fn split(self) -> (Self, String) {
        let path = self.path.clone();
        (Self { path: String::new(), ..self }, path)
    }

    /// The path before every route.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether what travels there is encrypted.
    pub const fn is_https(&self) -> bool {
        self.is_https
    }

    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

/// Appends a query's value: all but RFC 3986's unreserved characters as `%XX`.
fn push_encoded(url: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// The certificates of a PEM text, to be trusted instead of the public authorities; none where it holds none.
pub fn trusted(pem: &[u8]) -> Option<RootCerts> {
    let certificates: Vec<Certificate<'static>> = ureq::tls::parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    (!certificates.is_empty()).then(|| RootCerts::new_with_certs(&certificates))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "tests may fail loudly")]

    use super::*;

    #[test]
    fn bases() {
        let table = [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000", true),
            ("https://keys.example/", "https://keys.example", false),
            ("https://example.com/keyward/", "https://example.com/keyward", false),
            ("http://[::1]:3000", "http://[::1]:3000", true),
            ("http://localhost", "http://localhost", true),
        ];
        for (text, expected, is_loopback) in table {
            let base = Base::parse(text).expect("a base");
            assert_eq!((base.to_string().as_str(), base.is_loopback()), (expected, is_loopback), "{text}");
        }
        for text in [
            "",
            "keys.example",
            "ftp://x",
            "http://",
            "http://a:b@c",
            "http://x?y=1",
            "http://x/#y",
            "http://x y",
        ] {
            assert!(Base::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_query_is_encoded() {
        let base = Base::parse("https://example.com/keyward").expect("a base");
        assert_eq!(
            base.url("/v1/keys", [("cursor", "a+b/c=&d é")]),
            "https://example.com/keyward/v1/keys?cursor=a%2Bb%2Fc%3D%26d%20%C3%A9"
        );
        assert_eq!(base.url("/v1/keys", []), "https://example.com/keyward/v1/keys");
    }
}
