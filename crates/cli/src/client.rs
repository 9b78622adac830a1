//! Calls over HTTP. A call whose answer was lost is made once more: reading repeats freely, what creates carries an
//! Idempotency-Key, revoking twice is revoking. No redirect is followed, and no credential is sent but where it was meant to go.

use std::path::Path;
use std::time::Duration;

use keyward_client::Base;
use keyward_crypto::{SecretText, Zeroizing};
use keyward_domain::error::{Blame, Code};
use ureq::http::{HeaderMap, HeaderValue, Method, Request, header};
use ureq::tls::{RootCerts, TlsConfig};

use crate::answers::Page;
use crate::arguments::{Global, Paging, URL_DEFAULT};
use crate::failure::{Failure, Result};
use crate::terminal::Terminal;

/// The longest answer that is read, in bytes: a page of 100 keys with 64 scopes of 128 bytes each is below 1 MB.
pub const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How long to wait for a connection, in seconds.
const CONNECT_S_MAX: u64 = 5;
/// How long one call may take in all, in seconds; the server itself gives up on its store after a few.
const CALL_S_MAX: u64 = 30;
/// How long to wait before a call whose outcome was not known is made again, in milliseconds.
const REPEAT_AFTER_MS: u64 = 300;
/// How long to wait where the server says that the call made before has not ended, in milliseconds: the second that it asks for.
const IN_FLIGHT_AFTER_MS: u64 = 1_000;
/// How often: the server gives a dead request up after 5 to 10 s.
const IN_FLIGHT_REPEATS_MAX: u32 = 15;
/// The most items that one page has.
const PAGE_ITEMS_MAX: u32 = 100;
/// The most pages in a row that bring no item: a filter that matches little examines many.
const EMPTY_PAGES_MAX: u32 = 10_000;

/// A server's URL; `named` says where it came from, since the text itself may hold what must not be shown.
///
/// # Errors
/// Not a plain `http` or `https` URL.
pub fn base_of(text: &str, named: &str) -> Result<Base> {
    Base::parse(text).map_err(|error| Failure::command_line(format!("{named} is {error}")))
}

/// A call to be made.
#[derive(Clone)]
pub struct Call {
    method: Method,
    route: String,
    query: Vec<(&'static str, String)>,
    body: Option<Zeroizing<String>>,
    idempotency_key: Option<String>,
    content_digest: Option<String>,
    unless: Option<String>,
}

impl Call {
    /// Reads `route`.
    pub fn get(route: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            route: route.into(),
            query: Vec::new(),
            body: None,
            idempotency_key: None,
            content_digest: None,
            unless: None,
        }
    }

    /// Sends `body` to `route`.
    ///
    /// # Errors
    /// The body is no JSON: a bug.
    pub fn post(route: impl Into<String>, body: &impl serde::Serialize) -> Result<Self> {
        let body = serde_json::to_string(body).map_err(|error| Failure::system("JSON", error))?;
        Ok(Self { method: Method::POST, body: Some(Zeroizing::new(body)), ..Self::get(route) })
    }

    /// Changes what is at `route` by `body`. Making it once more comes to the same.
    ///
    /// # Errors
    /// The body is no JSON: a bug.
    pub fn patch(route: impl Into<String>, body: &impl serde::Serialize) -> Result<Self> {
        Ok(Self { method: Method::PATCH, ..Self::post(route, body)? })
    }

    /// With this parameter in the query, if there is one.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// Unless what is there still has this tag, if there is one.
    #[must_use]
    pub fn unless(mut self, tag: Option<String>) -> Self {
        self.unless = tag;
        self
    }

    /// With a fresh Idempotency-Key.
    ///
    /// # Errors
    /// The machine has no randomness.
    pub fn creating(self) -> Result<Self> {
        fresh_idempotency_key().map(|key| self.creating_as(key))
    }

    /// With this Idempotency-Key.
    #[must_use]
    pub fn creating_as(mut self, key: String) -> Self {
        self.idempotency_key = Some(key);
        self
    }

    /// With the body's Content-Digest (RFC 9530), so that a signed answer is bound to this very request.
    #[must_use]
    pub fn digested(mut self) -> Self {
        self.content_digest =
            self.body.as_deref().map(|body| keyward_crypto::digest::content_digest(body.as_bytes()));
        self
    }

    /// Its URL at this server.
    fn url(&self, base: &Base) -> String {
        base.url(&self.route, self.query.iter().map(|(name, value)| (*name, value.as_str())))
    }

    /// Its method.
    pub fn method(&self) -> &str {
        self.method.as_str()
    }

    /// The body's Content-Digest, if it is sent.
    pub fn content_digest(&self) -> Option<&str> {
        self.content_digest.as_deref()
    }
}

/// 128 random bits in hexadecimal: the store's own bound on guessing an outcome sealed under such a key.
///
/// # Errors
/// The machine has no randomness.
pub fn fresh_idempotency_key() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::system("random bytes", error))?;
    Ok(keyward_crypto::digest::hex(&bytes))
}

/// An answer. No `Debug`: its body may hold a token.
pub struct Answer {
    /// Who was asked.
    pub base: String,
    /// The status.
    pub status: u16,
    headers: HeaderMap,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// The values of a header, joined as RFC 9110 allows.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> =
            self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// The request's id, as the server gave it.
    pub fn request_id(&self) -> Option<String> {
        self.header("keyward-request-id").filter(|id| !id.is_empty())
    }

    /// The body as text.
    ///
    /// # Errors
    /// It is none.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.body).map_err(|_| Failure::not_keyward(self, "its body is no text"))
    }

    /// The body as what the route answers with.
    ///
    /// # Errors
    /// It is something else.
    pub fn read<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T> {
        // The parser's own words quote the input, which may be a secret; where it stood says enough.
        serde_json::from_slice(&self.body).map_err(|fault| {
            let what =
                format!("its body is of another shape (line {}, column {})", fault.line(), fault.column());
            Failure::not_keyward(self, &what)
        })
    }
}

/// Whether an answer came, and if not, whether the call may have been heard.
enum Lost {
    /// It was never sent: nobody listens there.
    Unheard(Failure),
    /// It may have been heard.
    Unknown(Failure),
}

/// Calls one Keyward.
pub struct Client {
    agent: ureq::Agent,
    base: Base,
    credential: Option<SecretText>,
}

impl Client {
    /// A client that presents the key file's token, for the server that the arguments name.
    ///
    /// # Errors
    /// The key file, the URL or the certificates cannot be used.
    pub fn with_credential(global: &Global, terminal: &Terminal) -> Result<Self> {
        let mut client = Self::anonymous(global, None, terminal)?;
        client.credential = Some(crate::secret_source::credential(&global.key_file, terminal)?);
        Ok(client)
    }

    /// A client without a credential, for `base` or else the server that the arguments name.
    ///
    /// # Errors
    /// The URL or the certificates cannot be used.
    pub fn anonymous(global: &Global, base: Option<Base>, terminal: &Terminal) -> Result<Self> {
        let client = Self::public(global, base)?;
        if !client.base.is_https() && !client.base.is_loopback() {
            // Every call carries a secret, or its answer does.
            terminal.warn(&format!(
                "tokens and tickets travel to {} unencrypted",
                crate::escape::shown(client.base.host())
            ));
        }
        Ok(client)
    }

    /// A client without a credential, for what anybody may know.
    ///
    /// # Errors
    /// As [`Client::anonymous`].
    pub fn public(global: &Global, base: Option<Base>) -> Result<Self> {
        let base = match (base, &global.url) {
            (Some(base), _) => base,
            (None, Some(url)) => base_of(url, "--url or KEYWARD_URL")?,
            (None, None) => base_of(URL_DEFAULT, "the default")?,
        };
        let mut tls = TlsConfig::builder();
        if let Some(path) = &global.ca_cert {
            tls = tls.root_certs(trusted(path)?);
        }
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("keyward/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(CONNECT_S_MAX)))
            .timeout_global(Some(Duration::from_secs(CALL_S_MAX)))
            .tls_config(tls.build());
        if base.is_loopback() {
            // A proxy's loopback is another machine than ours.
            config = config.proxy(None);
        }
        Ok(Self { agent: config.build().new_agent(), base, credential: None })
    }

    /// A client for whatever answers at a URL, and the route that it names there.
    ///
    /// # Errors
    /// The URL or the certificates cannot be used.
    pub fn of_url(global: &Global, url: &str) -> Result<(Self, String)> {
        let (server, path) = base_of(url, "--probe")?.split();
        let route = if path.is_empty() { "/".to_owned() } else { path };
        let client = Self::public(global, Some(server))?;
        Ok((client, route))
    }

    /// What `work` does with this server while it presents `token`.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn presenting<T>(&self, token: &SecretText, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let credential = Some(SecretText::new(token.expose().to_owned()));
        work(&Self { agent: self.agent.clone(), base: self.base.clone(), credential })
    }

    /// The same server, asked without a credential.
    #[must_use]
    pub fn without_credential(self) -> Self {
        Self { credential: None, ..self }
    }

    /// The path of a route as this client writes it.
    pub fn path_of(&self, route: &str) -> String {
        format!("{}{route}", self.base.path())
    }

    /// The server that this client calls.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// Makes a call; where its answer was lost, or the server says that it does not know the outcome, once more, and again while the
    /// one before has not ended.
    ///
    /// # Errors
    /// The server cannot be reached, or its answer is no success.
    pub fn call(&self, call: &Call) -> Result<Answer> {
        match self.ask(call)? {
            answer if (200..300).contains(&answer.status) => Ok(answer),
            answer => Err(Failure::from_answer(&answer)),
        }
    }

    /// As [`Client::call`], whatever the answer's status.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub fn ask(&self, call: &Call) -> Result<Answer> {
        let first = self.once(call);
        let is_known = match &first {
            Ok(answer) => !says(answer, Code::OutcomeUnknown),
            Err(Lost::Unheard(_)) => true,
            Err(Lost::Unknown(_)) => false,
        };
        let last = if is_known {
            first
        } else {
            std::thread::sleep(Duration::from_millis(REPEAT_AFTER_MS));
            self.once(call)
        };
        let mut last = last;
        for _ in 0..IN_FLIGHT_REPEATS_MAX {
            match &last {
                Ok(answer) if says(answer, Code::IdempotencyInFlight) => {}
                _ => break,
            }
            std::thread::sleep(Duration::from_millis(IN_FLIGHT_AFTER_MS));
            last = self.once(call);
        }
        last.map_err(|(Lost::Unheard(failure) | Lost::Unknown(failure))| failure)
    }

    fn once(&self, call: &Call) -> Result<Answer, Lost> {
        let mut request = Request::builder().method(&call.method).uri(call.url(&self.base));
        request = request.header(header::ACCEPT, "application/json, application/problem+json");
        if let Some(token) = &self.credential {
            let text = Zeroizing::new(format!("Bearer {}", token.expose()));
            let mut value = HeaderValue::from_str(&text)
                .map_err(|_| Lost::Unheard(Failure::system("header", "not ASCII")))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(key) = &call.idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(digest) = &call.content_digest {
            request = request.header("Content-Digest", digest);
        }
        if let Some(tag) = &call.unless {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let unbuilt = |error| Lost::Unheard(Failure::system("request", error));
        let answered = match &call.body {
            Some(body) => {
                let request = request.header(header::CONTENT_TYPE, "application/json");
                self.agent.run(request.body(body.as_bytes()).map_err(unbuilt)?)
            }
            None => self.agent.run(request.body(()).map_err(unbuilt)?),
        };
        let (head, mut body) = answered.map_err(|error| self.lost(error))?.into_parts();
        let body =
            body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(|error| self.lost(error))?;
        Ok(Answer {
            base: self.base.to_string(),
            status: head.status.as_u16(),
            headers: head.headers,
            body: Zeroizing::new(body),
        })
    }

    fn lost(&self, error: ureq::Error) -> Lost {
        use ureq::{Error, Timeout};
        let is_unheard = match &error {
            Error::Io(io) => io.kind() == std::io::ErrorKind::ConnectionRefused,
            Error::Timeout(Timeout::Resolve | Timeout::Connect) => true,
            Error::HostNotFound | Error::ConnectionFailed | Error::Rustls(_) | Error::Tls(_) => true,
            _ => false,
        };
        let failure =
            Failure::new(Blame::Store, "Keyward cannot be reached", format!("{}: {error}", self.base));
        if is_unheard { Lost::Unheard(failure) } else { Lost::Unknown(failure) }
    }

    /// Follows a list's pages until `paging` is satisfied. What is left over stands behind `next_cursor`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn list(&self, paging: &Paging, call: impl Fn() -> Call) -> Result<Page> {
        let mut list = Page { items: Vec::new(), next_cursor: paging.cursor.clone() };
        let mut empty_pages = 0_u32;
        let mut wanted = paging.limit;
        loop {
            let asked = wanted.min(PAGE_ITEMS_MAX);
            let answer =
                self.call(&call().query("limit", Some(asked)).query("cursor", list.next_cursor.as_deref()))?;
            let page: Page = answer.read()?;
            let got = u32::try_from(page.items.len()).unwrap_or(u32::MAX);
            if got > asked {
                return Err(Failure::not_keyward(&answer, "its page is longer than was asked for"));
            }
            empty_pages = if got == 0 { empty_pages.saturating_add(1) } else { 0 };
            if page.next_cursor.is_some()
                && (page.next_cursor == list.next_cursor || empty_pages > EMPTY_PAGES_MAX)
            {
                return Err(Failure::not_keyward(&answer, "its list does not end"));
            }
            wanted = wanted.saturating_sub(got);
            list.items.extend(page.items);
            list.next_cursor = page.next_cursor;
            if wanted == 0 || list.next_cursor.is_none() {
                return Ok(list);
            }
        }
    }
}

/// Whether the answer is a problem of this code.
fn says(answer: &Answer, code: Code) -> bool {
    #[derive(serde::Deserialize)]
    struct Coded {
        code: String,
    }
    answer.status == code.status()
        && serde_json::from_slice::<Coded>(&answer.body).is_ok_and(|problem| problem.code == code.as_str())
}

/// The certificates of a PEM file.
fn trusted(path: &Path) -> Result<RootCerts> {
    const WHAT: &str = "file of certificates";
    let pem = std::fs::read(path).map_err(|error| Failure::file(WHAT, path, &error))?;
    keyward_client::trusted(&pem).ok_or_else(|| {
        let detail = format!("{} holds no certificate in PEM", path.display());
        Failure::new(Blame::Caller, format!("The {WHAT} cannot be used"), detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_encoded() {
        let base = base_of("https://example.com/keyward", "it").expect("a base");
        let call = Call::get("/v1/keys").query("cursor", Some("a+b/c=&d é")).query("limit", None::<u32>);
        assert_eq!(call.url(&base), "https://example.com/keyward/v1/keys?cursor=a%2Bb%2Fc%3D%26d%20%C3%A9");
    }
}
