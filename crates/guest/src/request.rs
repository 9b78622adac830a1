//! A request as it came in: head parsed, body read on demand and bounded. What a caller can forge is marked as such; nothing of a
//! request outlives it.

use crate::body::{self, BODY_BYTES_MAX};
use crate::credential;
use crate::form::{self, Form};
use crate::headers::{Field, Headers};
use crate::query::Query;
use keyward_crypto::{SecretText, Zeroizing};
use keyward_domain::event::Source;
use keyward_domain::network::{self, NetworkRule};
use keyward_domain::text::{USER_AGENT_BYTES_MAX, cut};
use keyward_domain::{Code, Error, RequestId, Result};
use serde::de::DeserializeOwned;
use spin_sdk::wasip3::http::types;
use spin_sdk::wasip3::wit_bindgen::StreamResult;
use std::cell::{OnceCell, RefCell};
use std::net::IpAddr;

/// The longest Idempotency-Key, in characters.
const IDEMPOTENCY_KEY_CHARACTERS_MAX: usize = 255;
/// Read from the body at once, in bytes.
const CHUNK_BYTES: usize = 16 * 1024;

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Reads the headers alone.
    Head,
    /// Creates or acts.
    Post,
    /// Replaces; no route takes it so far.
    Put,
    /// Changes.
    Patch,
    /// Deletes; no route takes it so far.
    Delete,
    /// Asks what a route takes.
    Options,
    /// Any other.
    Other,
}

impl Method {
    /// As it stands in a request line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => "other",
        }
    }
}

impl From<types::Method> for Method {
    fn from(method: types::Method) -> Self {
        match method {
            types::Method::Get => Self::Get,
            types::Method::Head => Self::Head,
            types::Method::Post => Self::Post,
            types::Method::Put => Self::Put,
            types::Method::Patch => Self::Patch,
            types::Method::Delete => Self::Delete,
            types::Method::Options => Self::Options,
            types::Method::Connect | types::Method::Trace | types::Method::Other(_) => Self::Other,
        }
    }
}

/// Where the body is.
enum Body {
    /// Not read yet.
    Wire(types::Request),
    /// Given by whoever made the request: tests.
    Held(Vec<u8>),
    /// Read.
    Taken,
}

/// A request.
pub struct Incoming {
    id: RequestId,
    method: OnceCell<Method>,
    target: String,
    /// Where the path ends in `target`.
    path_bytes: usize,
    headers: Headers,
    query: OnceCell<Result<Query>>,
    body: RefCell<Body>,
}

impl Incoming {
    /// Takes over the head of a request from the platform; the body stays where it is until asked for.
    pub fn receive(request: types::Request) -> Self {
        let target = request.get_path_with_query().unwrap_or_default();
        let headers = Headers::wire(request.get_headers());
        Self::assemble(crate::random::request_id(), OnceCell::new(), target, headers, Body::Wire(request))
    }

    /// A request made of plain data, as tests do.
    pub fn from_parts(
        id: RequestId,
        method: Method,
        target: &str,
        fields: Vec<(String, Vec<u8>)>,
        body: Vec<u8>,
    ) -> Self {
        Self::assemble(id, method.into(), target.to_owned(), Headers::held(fields), Body::Held(body))
    }

    fn assemble(
        id: RequestId,
        method: OnceCell<Method>,
        target: String,
        headers: Headers,
        body: Body,
    ) -> Self {
        let path_bytes = target.find('?').unwrap_or(target.len());
        Self { id, method, target, path_bytes, headers, query: OnceCell::new(), body: RefCell::new(body) }
    }

    /// A fresh id, named in the answer, in log lines and in events.
    pub const fn id(&self) -> RequestId {
        self.id
    }

    /// The method, asked of the platform when it is first wanted: the hot path takes every one.
    pub fn method(&self) -> Method {
        *self.method.get_or_init(|| match &*self.body.borrow() {
            Body::Wire(request) => request.get_method().into(),
            Body::Held(_) | Body::Taken => Method::Other,
        })
    }

    /// The host and port that the request names. Whoever sends it chooses them: nothing is built of it.
    fn authority(&self) -> Option<String> {
        match &*self.body.borrow() {
            Body::Wire(request) => request.get_authority(),
            Body::Held(_) | Body::Taken => None,
        }
    }

    /// The path, as received: not decoded.
    pub fn path(&self) -> &str {
        self.target.get(..self.path_bytes).unwrap_or_default()
    }

    /// Path and query, as received.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The header fields.
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The query.
    ///
    /// # Errors
    /// As [`Query::parse`].
    pub fn query(&self) -> Result<&Query> {
        self.query
            .get_or_init(|| match self.target.get(self.path_bytes.saturating_add(1)..) {
                Some(query) => Query::parse(query),
                None => Ok(Query::default()),
            })
            .as_ref()
            .map_err(Clone::clone)
    }

    /// The credential that the request presents; `None` where there is none.
    ///
    /// # Errors
    /// As [`credential::presented`] and [`Query::parse`].
    pub fn credential(&self) -> Result<Option<SecretText>> {
        credential::presented(&self.headers, self.path(), self.query()?)
    }

    /// Whether a credential was presented, right or not: decides how a 401 is told.
    pub fn presents_credential(&self) -> bool {
        !matches!(self.credential(), Ok(None))
    }

    /// The client's address, or "no address". The runtime's own field stands after what a caller may have forged.
    pub fn client_address(&self, trusted_proxies: &NetworkRule) -> Option<IpAddr> {
        let peer = self.headers.texts(Field::ClientAddr).next_back().and_then(network::peer_address);
        if trusted_proxies.is_empty() {
            return peer;
        }
        network::client_address(peer, self.headers.texts(Field::ForwardedFor), trusted_proxies)
    }

    /// What the client calls itself, cut to a bound. Control characters stay: whoever shows it escapes it.
    pub fn user_agent(&self) -> Option<String> {
        let value = self.headers.all(Field::UserAgent).next()?;
        Some(cut(&String::from_utf8_lossy(value), USER_AGENT_BYTES_MAX).to_owned())
    }

    /// From where the request comes, as events name it.
    pub fn source(&self, trusted_proxies: &NetworkRule) -> Source {
        Source {
            client_addr: self.client_address(trusted_proxies).map(|address| address.to_string()),
            user_agent: self.user_agent(),
        }
    }

    /// The Idempotency-Key, if there is one.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`] unless it stands once and has 1 to 255 visible ASCII characters.
    pub fn idempotency_key(&self) -> Result<Option<SecretText>> {
        const EXPECTED: &str = "one value of 1 to 255 visible ASCII characters";
        let wrong = |reason| Error::parameter("Idempotency-Key", reason, EXPECTED);
        let Some(value) =
            self.headers.single(Field::IdempotencyKey).map_err(|_| wrong("stands more than once"))?
        else {
            return Ok(None);
        };
        let fits = (1..=IDEMPOTENCY_KEY_CHARACTERS_MAX).contains(&value.len());
        match std::str::from_utf8(value) {
            Ok(text) if fits && value.iter().all(u8::is_ascii_graphic) => {
                Ok(Some(SecretText::new(text.to_owned())))
            }
            _ => Err(wrong("is not valid")),
        }
    }

    /// The revision that `If-Match` asks for; `None` where it asks for none or for any (`*`).
    ///
    /// # Errors
    /// [`Code::InvalidParameter`] where it is no `"<revision>"`.
    pub fn if_match(&self) -> Result<Option<u64>> {
        const EXPECTED: &str = "one `ETag` of this thing, such as `\"3\"`, or `*`";
        let wrong = |reason| Error::parameter("If-Match", reason, EXPECTED);
        let Some(value) = self.headers.single(Field::IfMatch).map_err(|_| wrong("stands more than once"))?
        else {
            return Ok(None);
        };
        match std::str::from_utf8(value).map(str::trim) {
            Ok("*") => Ok(None),
            // Comparison is strong (RFC 9110 section 13.1.1), and no tag of ours is weak.
            Ok(text) if text.starts_with("W/") => Err(wrong("is a weak tag")),
            Ok(text) if text.contains(',') => Err(wrong("names several tags")),
            Ok(text) => revision_of(text).map(Some).ok_or_else(|| wrong("is not valid")),
            Err(_) => Err(wrong("is not valid")),
        }
    }

    /// The tag that the client has already; none where it has none that could be ours: then it is answered in full.
    pub fn if_none_match(&self) -> Option<u64> {
        let value = self.headers.single(Field::IfNoneMatch).ok()??;
        let text = std::str::from_utf8(value).ok()?.trim();
        revision_of(text.strip_prefix("W/").unwrap_or(text))
    }

    /// The body, at most [`BODY_BYTES_MAX`]; reading stops there. It can be had once.
    ///
    /// # Errors
    /// [`Code::BodyTooLarge`], or [`Code::InvalidBody`] where it breaks off.
    pub async fn body(&self) -> Result<Zeroizing<Vec<u8>>> {
        self.body_of(BODY_BYTES_MAX).await
    }

    /// The same, at most `bytes_max`, as it was sent.
    ///
    /// # Errors
    /// As [`Incoming::body`].
    pub async fn body_of(&self, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>> {
        let announced =
            self.headers.texts(Field::ContentLength).next().and_then(|text| text.parse::<usize>().ok());
        if announced.is_some_and(|bytes| bytes > bytes_max) {
            return Err(body::too_large(bytes_max));
        }
        // Once the body is handed over the platform tells no method any more.
        self.method();
        let body = self.body.replace(Body::Taken);
        match body {
            Body::Wire(request) => read(request, bytes_max).await,
            Body::Held(bytes) if bytes.len() > bytes_max => Err(body::too_large(bytes_max)),
            Body::Held(bytes) => Ok(Zeroizing::new(bytes)),
            Body::Taken => Err(Error::internal("a body was asked for twice")),
        }
    }

    /// The body as the strict JSON object that a route takes: `T` denies unknown fields.
    ///
    /// # Errors
    /// [`Code::UnsupportedMediaType`], those of [`Incoming::body`], and those of the JSON itself.
    pub async fn json<T: DeserializeOwned>(&self) -> Result<T> {
        self.check_media_type()?;
        body::parse_json(&self.body().await?)
    }

    /// The same for a route that takes larger bodies: at most `bytes_max`.
    ///
    /// # Errors
    /// As [`Incoming::json`].
    pub async fn json_of<T: DeserializeOwned>(&self, bytes_max: usize) -> Result<T> {
        self.check_media_type()?;
        body::parse_json(&self.body_of(bytes_max).await?)
    }

    /// The body as a form that a page posts.
    ///
    /// # Errors
    /// [`Code::UnsupportedMediaType`], those of [`Incoming::body`], and those of the form itself.
    pub async fn form(&self) -> Result<Form> {
        match self.headers.single(Field::ContentType) {
            Ok(Some(value)) if form::is_form(value) => Form::parse(&self.body().await?),
            _ => Err(Error::new(Code::UnsupportedMediaType, "the body must be a form as browsers post it")),
        }
    }

    /// The value of the cookie of this name (RFC 6265 section 4.2); none where it is absent or stands more than once.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let all = self.headers.texts(Field::Cookie).flat_map(|field| field.split(';'));
        let mut named = all.filter_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
        named.next().filter(|_| named.next().is_none())
    }

    /// Whether a browser says that a link of another site led here: then it left cookies out that are for our own pages alone.
    pub fn comes_from_elsewhere(&self) -> bool {
        matches!(self.headers.single(Field::FetchSite), Ok(Some(b"cross-site" | b"same-site")))
    }

    /// Whether a browser says that a page of another site sent this. What is no browser, or one from before 2023, is not heard of here:
    /// a token in the form is asked for as well.
    pub fn is_cross_site(&self) -> bool {
        match (self.headers.single(Field::FetchSite), self.headers.single(Field::Origin)) {
            (Ok(Some(site)), _) => !matches!(site, b"same-origin" | b"none"),
            (Ok(None), Ok(Some(origin))) => {
                let origin = std::str::from_utf8(origin).unwrap_or_default();
                let host = origin.split_once("://").map(|(_, host)| host);
                host.is_none() || host != self.authority().as_deref()
            }
            (Ok(None), Ok(None)) => false,
            (Err(_), _) | (_, Err(_)) => true,
        }
    }

    /// For routes that take `{}` or nothing. Where there is no body, no media type is asked for.
    ///
    /// # Errors
    /// As [`Incoming::json`].
    pub async fn nothing(&self) -> Result<()> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        let body = self.body().await?;
        if body.is_empty() {
            return Ok(());
        }
        self.check_media_type()?;
        body::parse_json(&body).map(|Nothing {}| ())
    }

    fn check_media_type(&self) -> Result<()> {
        match self.headers.single(Field::ContentType) {
            Ok(Some(value)) if body::is_json(value) => Ok(()),
            _ => Err(Error::new(
                Code::UnsupportedMediaType,
                "the body's `Content-Type` must be `application/json`, in UTF-8",
            )),
        }
    }
}

/// The revision that a tag of ours names. Tags compare by their text, so no other spelling of the number is one.
fn revision_of(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    digits.parse().ok().filter(|revision: &u64| revision.to_string() == digits)
}

async fn read(request: types::Request, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>> {
    // Nothing is told to the sender: an early end of reading is enough for it.
    let (_handled, handled) = spin_sdk::wasip3::wit_future::new(|| Ok(()));
    let (mut stream, trailers) = types::Request::consume_body(request, handled);
    let mut bytes = Zeroizing::new(Vec::new());
    loop {
        let (status, chunk) = stream.read(Vec::with_capacity(CHUNK_BYTES)).await;
        let chunk = Zeroizing::new(chunk);
        if bytes.len().saturating_add(chunk.len()) > bytes_max {
            return Err(body::too_large(bytes_max));
        }
        // Grown by hand, so that no unwiped copy of a secret stays behind.
        if bytes.capacity().saturating_sub(bytes.len()) < chunk.len() {
            let mut grown = Zeroizing::new(Vec::with_capacity(bytes_max));
            grown.extend_from_slice(&bytes);
            bytes = grown;
        }
        bytes.extend_from_slice(&chunk);
        match status {
            StreamResult::Complete(_) => {}
            StreamResult::Dropped | StreamResult::Cancelled => break,
        }
    }
    match trailers.await {
        Ok(_) => Ok(bytes),
        Err(_) => Err(Error::new(Code::InvalidBody, "the body broke off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Incoming {
        let fields = fields.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect();
        Incoming::from_parts(RequestId::from_bytes([1; 16]), method, target, fields, body.to_vec())
    }

    fn with(fields: &[(&str, &str)]) -> Incoming {
        request(Method::Get, "/", fields, b"")
    }

    #[test]
    fn target_is_split_and_read_lazily() {
        let incoming = request(Method::Get, "/v1/a%2Fb?x=%zz", &[], b"");
        assert_eq!(incoming.path(), "/v1/a%2Fb");
        assert_eq!(incoming.query().map_err(|e| e.code), Err(Code::InvalidParameter));
    }

    #[test]
    fn a_forged_client_address_is_not_believed() {
        let forged = [
            ("spin-client-addr", "192.0.2.1:1"),
            ("x-forwarded-for", "192.0.2.2"),
            ("spin-client-addr", "[::ffff:203.0.113.5]:4711"),
        ];
        let incoming = with(&forged);
        assert_eq!(incoming.client_address(&NetworkRule::default()), "203.0.113.5".parse().ok());
        let proxies = NetworkRule::parse("trusted_proxies", &["203.0.113.0/24"]).expect("networks");
        assert_eq!(incoming.client_address(&proxies), "192.0.2.2".parse().ok());
        assert_eq!(with(&[("spin-client-addr", "0.0.0.0:0")]).client_address(&NetworkRule::default()), None);
        assert_eq!(with(&[]).client_address(&NetworkRule::default()), None);
    }

    #[test]
    fn user_agents_are_cut_not_cleaned() {
        let long = format!("\u{1b}[31m{}", "é".repeat(300));
        let agent = with(&[("user-agent", &long)]).user_agent().expect("there");
        assert!(agent.starts_with("\u{1b}[31m") && agent.len() <= USER_AGENT_BYTES_MAX);
        assert_eq!(with(&[]).user_agent(), None);
    }

    #[test]
    fn preconditions_and_idempotency_keys() {
        let text =
            |i: Incoming| i.idempotency_key().map(|k| k.map(|k| k.expose().to_owned())).map_err(|e| e.code);
        assert_eq!(text(with(&[("Idempotency-Key", "a-1")])), Ok(Some("a-1".to_owned())));
        assert_eq!(text(with(&[])), Ok(None));
        let long = "x".repeat(256);
        for bad in ["", "a b", "é", &long] {
            assert_eq!(text(with(&[("idempotency-key", bad)])), Err(Code::InvalidParameter), "{bad}");
        }
        assert_eq!(
            text(with(&[("idempotency-key", "a"), ("idempotency-key", "b")])),
            Err(Code::InvalidParameter)
        );
        assert_eq!(with(&[("if-match", "\"7\"")]).if_match(), Ok(Some(7)));
        assert_eq!(with(&[("if-match", "*")]).if_match(), Ok(None));
        for bad in ["7", "W/\"7\"", "\"x\"", "\"\"", "\"+7\"", "\"07\"", "\"1\", \"2\""] {
            assert_eq!(
                with(&[("if-match", bad)]).if_match().map_err(|e| e.code),
                Err(Code::InvalidParameter),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_tag_that_the_client_has_is_ours_or_none() {
        for (tag, revision) in
            [("\"7\"", Some(7)), ("W/\"7\"", Some(7)), ("\"+7\"", None), ("\"07\"", None), ("*", None)]
        {
            assert_eq!(with(&[("if-none-match", tag)]).if_none_match(), revision, "{tag}");
        }
        assert_eq!(with(&[("if-none-match", "\"7\""), ("if-none-match", "\"8\"")]).if_none_match(), None);
    }

    /// Requests made of plain data never wait.
    fn now<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => panic!("waits"),
        }
    }

    #[test]
    fn bodies_are_bounded_and_of_one_media_type() {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        let post = |fields: &[(&str, &str)], body: &[u8]| {
            let request = request(Method::Post, "/", fields, body);
            now(request.json::<Nothing>()).map(|_| ()).map_err(|e| e.code)
        };
        let json = ("content-type", "application/json");
        assert_eq!(post(&[json], b"{}"), Ok(()));
        assert_eq!(post(&[], b"{}"), Err(Code::UnsupportedMediaType));
        assert_eq!(post(&[json, json], b"{}"), Err(Code::UnsupportedMediaType));
        assert_eq!(post(&[json], b""), Err(Code::InvalidBody));
        assert_eq!(post(&[json], &vec![b' '; BODY_BYTES_MAX + 1]), Err(Code::BodyTooLarge));
        assert_eq!(post(&[json, ("content-length", "65537")], b"{}"), Err(Code::BodyTooLarge));
        let nothing = |fields: &[(&str, &str)], body: &[u8]| {
            now(request(Method::Post, "/", fields, body).nothing()).map_err(|e| e.code)
        };
        assert_eq!((nothing(&[], b""), nothing(&[json], b"{}")), (Ok(()), Ok(())));
        assert_eq!(nothing(&[], b"{}"), Err(Code::UnsupportedMediaType));
        assert_eq!(nothing(&[json], b"3"), Err(Code::InvalidBody));
        assert_eq!(nothing(&[json], b"{\"a\":1}"), Err(Code::InvalidField));
        let incoming = request(Method::Post, "/", &[json], b"{}");
        assert!(now(incoming.body()).is_ok());
        assert_eq!(now(incoming.body()).map_err(|e| e.code).err(), Some(Code::Internal));
    }
}
