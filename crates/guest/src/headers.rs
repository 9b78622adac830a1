//! The fields of a request's head that Keyward reads, each fetched from the platform when it is first asked for: most requests need
//! three. Values are what the caller sent: never believed, never logged.

use spin_sdk::wasip3::http::types;
use std::cell::OnceCell;

/// The fields that anything here reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// A credential, by its scheme.
    Authorization,
    /// A credential, bare.
    ApiKey,
    /// The peer, as the runtime says after whatever the caller forged.
    ClientAddr,
    /// Whom a proxy speaks for.
    ForwardedFor,
    /// What the client calls itself.
    UserAgent,
    /// Names a request that may be repeated.
    IdempotencyKey,
    /// The revision that a change was made for.
    IfMatch,
    /// The revision that the client has already.
    IfNoneMatch,
    /// How long the body is said to be.
    ContentLength,
    /// What the body is said to be.
    ContentType,
    /// What the body is said to amount to (RFC 9530).
    ContentDigest,
    /// What a browser keeps for us.
    Cookie,
    /// Whose page sent a request (RFC 6454 section 7).
    Origin,
    /// How that page stands to us (W3C Fetch Metadata): a page cannot forge it.
    FetchSite,
    /// Which key a report of leaked tokens is signed with.
    GithubPublicKeyIdentifier,
    /// Its signature.
    GithubPublicKeySignature,
}

impl Field {
    /// How many there are.
    const COUNT: usize = 16;

    /// Its name, in lowercase.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorization => "authorization",
            Self::ApiKey => "x-api-key",
            Self::ClientAddr => "spin-client-addr",
            Self::ForwardedFor => "x-forwarded-for",
            Self::UserAgent => "user-agent",
            Self::IdempotencyKey => "idempotency-key",
            Self::IfMatch => "if-match",
            Self::IfNoneMatch => "if-none-match",
            Self::ContentLength => "content-length",
            Self::ContentType => "content-type",
            Self::ContentDigest => "content-digest",
            Self::Cookie => "cookie",
            Self::Origin => "origin",
            Self::GithubPublicKeyIdentifier => "github-public-key-identifier",
            Self::GithubPublicKeySignature => "github-public-key-signature",
            Self::FetchSite => "sec-fetch-site",
        }
    }
}

/// Where the fields are.
enum Source {
    /// At the platform.
    Wire(types::Headers),
    /// Given by whoever made the request: tests.
    Held(Vec<(String, Vec<u8>)>),
}

/// Header fields. Names compare without case; a name may stand several times.
pub struct Headers {
    source: Source,
    read: [OnceCell<Vec<Vec<u8>>>; Field::COUNT],
}

impl Headers {
    /// The fields of a request of the platform's.
    pub const fn wire(headers: types::Headers) -> Self {
        Self::of(Source::Wire(headers))
    }

    /// Fields made of plain data, in the order received.
    pub const fn held(fields: Vec<(String, Vec<u8>)>) -> Self {
        Self::of(Source::Held(fields))
    }

    const fn of(source: Source) -> Self {
        Self { source, read: [const { OnceCell::new() }; Field::COUNT] }
    }

    fn fetch(&self, field: Field) -> Vec<Vec<u8>> {
        match &self.source {
            Source::Wire(headers) => headers.get(field.name()),
            Source::Held(fields) => {
                let named = fields.iter().filter(|(have, _)| have.eq_ignore_ascii_case(field.name()));
                named.map(|(_, value)| value.clone()).collect()
            }
        }
    }

    /// Every value of `field`, in the order received.
    pub fn all(&self, field: Field) -> impl DoubleEndedIterator<Item = &[u8]> {
        let values = match self.read.get(field as usize) {
            Some(read) => read.get_or_init(|| self.fetch(field)).as_slice(),
            None => &[],
        };
        values.iter().map(Vec::as_slice)
    }

    /// The values of `field` as text; a value that is no UTF-8 reads as empty, which no rule takes for anything.
    pub fn texts(&self, field: Field) -> impl DoubleEndedIterator<Item = &str> {
        self.all(field).map(|value| std::str::from_utf8(value).unwrap_or_default())
    }

    /// The only value of `field`: `Ok(None)` where there is none, `Err` where there are several.
    ///
    /// # Errors
    /// [`Doubled`] where the name stands more than once.
    pub fn single(&self, field: Field) -> Result<Option<&[u8]>, Doubled> {
        let mut values = self.all(field);
        match (values.next(), values.next()) {
            (first, None) => Ok(first),
            (_, Some(_)) => Err(Doubled),
        }
    }
}

/// A field that may stand once stands several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubled;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_case_and_order_is_kept() {
        let headers = Headers::held(vec![
            ("Spin-Client-Addr".into(), b"forged".to_vec()),
            ("user-agent".into(), vec![0xff]),
            ("spin-client-addr".into(), b"real".to_vec()),
        ]);
        assert_eq!(headers.texts(Field::ClientAddr).collect::<Vec<_>>(), ["forged", "real"]);
        assert_eq!(headers.texts(Field::UserAgent).next(), Some(""));
        assert_eq!(headers.single(Field::ClientAddr), Err(Doubled));
        assert_eq!(headers.single(Field::IfMatch), Ok(None));
    }

    #[test]
    fn each_field_has_a_place() {
        assert_eq!(Field::GithubPublicKeySignature as usize + 1, Field::COUNT);
    }
}
