//! The client: asks, believes only what is signed, keeps what it read.

use crate::endpoint::{Base, trusted};
use crate::lease::{Kept, Standing};
use crate::{Credential, Error};
use keyward_crypto::sign::{PublishedKeys, ReceivedResponse, VerifyError, verify_response};
use keyward_crypto::{SecretText, Zeroizing};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use ureq::http::{HeaderMap, HeaderValue, Request, header};
use ureq::tls::TlsConfig;

const VALUE_ROUTE: &str = "/v1/credentials/value";
const JWKS_ROUTE: &str = "/.well-known/keyward/jwks.json";
/// The longest answer that is read, in bytes: JSON may need six for each of the 64 KiB that a credential holds.
const ANSWER_BYTES_MAX: u64 = 512 * 1024;
/// How long to wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a call may take, beside the time that it is asked to wait.
const CALL_MAX: Duration = Duration::from_secs(15);
/// The longest wait that Keyward takes, in seconds.
const WAIT_S_MAX: u64 = 30;
/// The longest token, in bytes.
const TOKEN_BYTES_MAX: u64 = 4096;

/// Where the token of the service comes from.
pub enum Token {
    /// The token itself.
    Text(SecretText),
    /// A file that holds it, read anew for each call.
    File(PathBuf),
}

impl Token {
    /// A file that holds it.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    fn read(&self) -> Result<SecretText, Error> {
        use std::io::Read;
        let path = match self {
            Self::Text(token) => return Ok(SecretText::new(token.expose().to_owned())),
            Self::File(path) => path,
        };
        let unread = |what: &dyn std::fmt::Display| {
            Error::Misused(format!("the token's file {} cannot be used: {what}", path.display()))
        };
        let file = std::fs::File::open(path).map_err(|error| unread(&error))?;
        let mut text = Zeroizing::new(String::with_capacity(256));
        file.take(TOKEN_BYTES_MAX).read_to_string(&mut text).map_err(|error| unread(&error))?;
        match text.trim() {
            "" => Err(unread(&"it is empty")),
            token => Ok(SecretText::new(token.to_owned())),
        }
    }
}

/// What a client is made of.
pub struct Builder {
    url: String,
    token: Option<Token>,
    application: Option<String>,
    ca_cert: Option<PathBuf>,
    signer: Option<String>,
    user_agent: String,
}

impl Builder {
    /// The token of the service. It must be given.
    #[must_use]
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// Whose credentials are read, for a key of the application `keyward`; a service reads its own application's.
    #[must_use]
    pub fn application(mut self, id: Option<String>) -> Self {
        self.application = id;
        self
    }

    /// A PEM file of certificates to trust instead of the public authorities.
    #[must_use]
    pub fn ca_cert(mut self, path: Option<PathBuf>) -> Self {
        self.ca_cert = path;
        self
    }

    /// The thumbprint of the key that answers must be signed with; any that Keyward publishes where none is given.
    #[must_use]
    pub fn signer(mut self, kid: Option<String>) -> Self {
        self.signer = kid;
        self
    }

    /// What the client calls itself.
    #[must_use]
    pub fn user_agent(mut self, text: impl Into<String>) -> Self {
        self.user_agent = text.into();
        self
    }

    /// The client. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Misused`].
    pub fn build(self) -> Result<Client, Error> {
        let base = Base::parse(&self.url).map_err(|error| Error::Misused(format!("the URL is {error}")))?;
        let token = self.token.ok_or_else(|| Error::Misused("no token was given".to_owned()))?;
        let mut tls = TlsConfig::builder();
        if let Some(path) = &self.ca_cert {
            tls = tls.root_certs(certificates(path)?);
        }
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(self.user_agent)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_global(Some(CALL_MAX + Duration::from_secs(WAIT_S_MAX)))
            .tls_config(tls.build());
        if base.is_loopback() {
            // A proxy's loopback is another machine than ours.
            config = config.proxy(None);
        }
        Ok(Client {
            agent: config.build().new_agent(),
            base,
            token,
            application: self.application,
            signer: self.signer,
            published: Mutex::default(),
            kept: Mutex::default(),
        })
    }
}

fn certificates(path: &Path) -> Result<ureq::tls::RootCerts, Error> {
    let unfit = |what: &dyn std::fmt::Display| {
        Error::Misused(format!("the certificates in {} cannot be used: {what}", path.display()))
    };
    let pem = std::fs::read(path).map_err(|error| unfit(&error))?;
    trusted(&pem).ok_or_else(|| unfit(&"there are none in PEM"))
}

/// Reads credentials, and keeps each for its lease. Threads may share one.
pub struct Client {
    agent: ureq::Agent,
    base: Base,
    token: Token,
    application: Option<String>,
    signer: Option<String>,
    published: Mutex<Option<Arc<PublishedKeys>>>,
    kept: Mutex<BTreeMap<String, Kept>>,
}

/// What came of a question.
enum Found {
    /// What is kept still holds.
    Unchanged,
    /// This version.
    Read(Arc<Credential>),
}

/// A problem as RFC 9457 writes it. Every member may be missing: a proxy may have answered.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Problem {
    code: Option<String>,
    title: Option<String>,
    detail: Option<String>,
}

impl Client {
    /// A client of the Keyward at this URL.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder {
            url: url.into(),
            token: None,
            application: None,
            ca_cert: None,
            signer: None,
            user_agent: concat!("keyward-client/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// A credential by its name: out of memory while its lease runs, else asked for. While Keyward cannot be asked, the one that is kept
    /// is gone on with for as long as its policy allows.
    ///
    /// # Errors
    /// Those of Keyward; while it cannot be asked, only where none is kept or it may not be gone on with any more.
    pub fn credential(&self, name: &str) -> Result<Arc<Credential>, Error> {
        if let Some((credential, _, Standing::Fresh)) = self.kept(name) {
            return Ok(credential);
        }
        // What may be gone on with is still kept after a question that came to nothing.
        self.refresh(name, Duration::ZERO)
            .or_else(|error| self.kept(name).map(|(credential, ..)| credential).ok_or(error))
    }

    /// What is kept of a credential, without asking: how long ago Keyward last said that it holds, and how it stands.
    pub fn kept(&self, name: &str) -> Option<(Arc<Credential>, Duration, Standing)> {
        let now = Instant::now();
        let kept = self.lock().get(name).cloned()?;
        Some((Arc::clone(&kept.credential), kept.age(now), kept.standing(now)))
    }

    /// The same, asked for now, whether the lease runs or not; where it is still the one that is kept, after waiting up to `wait` for
    /// another, at most 30 s.
    ///
    /// # Errors
    /// Those of Keyward; also while it cannot be asked, whatever is kept.
    pub fn refresh(&self, name: &str, wait: Duration) -> Result<Arc<Credential>, Error> {
        let asked = Instant::now();
        let kept = self.lock().get(name).cloned();
        let found = self.ask(name, kept.as_ref().map(|kept| &*kept.credential), wait);
        let mut all = self.lock();
        match (found, all.get_mut(name)) {
            (Ok(Found::Read(credential)), _) => {
                all.insert(name.to_owned(), Kept::new(Arc::clone(&credential), asked));
                Ok(credential)
            }
            (Ok(Found::Unchanged), Some(kept)) => {
                kept.confirm(asked);
                Ok(Arc::clone(&kept.credential))
            }
            (Ok(Found::Unchanged), None) => Err(Error::Unavailable("it answered about nothing".to_owned())),
            (Err(error), kept) => {
                // What is refused is not gone on with; what is over is not kept for longer.
                let is_over = kept.is_some_and(|kept| kept.standing(Instant::now()) == Standing::Over);
                if error.is_refusal() || is_over {
                    all.remove(name);
                }
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        // Whoever panicked with it left whole entries.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, name: &str, kept: Option<&Credential>, wait: Duration) -> Result<Found, Error> {
        let wait_s = kept.map_or(0, |_| wait.as_secs().min(WAIT_S_MAX)).to_string();
        let mut query = vec![("name", name)];
        query.extend(self.application.as_deref().map(|id| ("application", id)));
        query.extend((wait_s != "0").then_some(("wait_s", wait_s.as_str())));
        let mut request = Request::get(self.base.url(VALUE_ROUTE, query))
            .header(header::ACCEPT, "application/json, application/problem+json");
        if let Some(kept) = kept {
            request = request.header(header::IF_NONE_MATCH, kept.tag());
        }
        let token = self.token.read()?;
        let bearer = Zeroizing::new(format!("Bearer {}", token.expose()));
        let mut value = HeaderValue::from_str(&bearer)
            .map_err(|_| Error::Misused("the token is not one line of ASCII".to_owned()))?;
        value.set_sensitive(true);
        let (status, headers, body) = self.send(request.header(header::AUTHORIZATION, value))?;
        match status {
            200 => self.believe(&headers, &body).and_then(|()| {
                std::str::from_utf8(&body)
                    .ok()
                    .and_then(Credential::parse)
                    .map(|credential| Found::Read(Arc::new(credential)))
                    .ok_or_else(|| Error::Unavailable("it answered in another shape".to_owned()))
            }),
            304 if kept.is_some() => Ok(Found::Unchanged),
            _ => Err(refusal(status, &body)),
        }
    }

    fn send(
        &self,
        request: ureq::http::request::Builder,
    ) -> Result<(u16, HeaderMap, Zeroizing<Vec<u8>>), Error> {
        let lost = |error: ureq::Error| Error::Unavailable(format!("{}: {error}", self.base));
        let request = request.body(()).map_err(|error| Error::Misused(error.to_string()))?;
        let (head, mut body) = self.agent.run(request).map_err(lost)?.into_parts();
        let body = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(lost)?;
        Ok((head.status.as_u16(), head.headers, Zeroizing::new(body)))
    }

    /// Passes where an answer is signed by Keyward, for this route.
    fn believe(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Error> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let path = format!("{}{VALUE_ROUTE}", self.base.path());
        let received = ReceivedResponse {
            method: "GET",
            path: &path,
            request_content_digest: None,
            status: 200,
            body,
            content_digest: header("content-digest"),
            signature_input: header("signature-input"),
            signature: header("signature"),
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let known = self.published.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = match known {
            Some(known) => known,
            None => self.published_keys()?,
        };
        let verified = match verify_response(&known, &received, now) {
            // Signed by a key that came later, perhaps.
            Err(VerifyError::UnknownKey { .. }) => {
                let fresh = self.published_keys()?;
                verify_response(&fresh, &received, now)
            }
            verified => verified,
        };
        let verified = verified.map_err(|error| Error::NotAuthentic(error.to_string()))?;
        match &self.signer {
            Some(signer) if *signer != verified.kid => Err(Error::NotAuthentic(format!(
                "signed by the key `{}`, not the expected one",
                verified.kid
            ))),
            _ => Ok(()),
        }
    }

    fn published_keys(&self) -> Result<Arc<PublishedKeys>, Error> {
        let (status, _, body) = self.send(Request::get(self.base.url(JWKS_ROUTE, [])))?;
        if status != 200 {
            return Err(refusal(status, &body));
        }
        let text = std::str::from_utf8(&body).unwrap_or_default();
        let keys = PublishedKeys::parse(text).map_err(|error| Error::NotAuthentic(error.to_string()))?;
        let keys = Arc::new(keys);
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&keys));
        Ok(keys)
    }
}

/// What an answer that is none says: refused for good, or to be asked for again later.
fn refusal(status: u16, body: &[u8]) -> Error {
    let Problem { code, title, detail } = serde_json::from_slice(body).unwrap_or_default();
    let detail = detail.or(title).unwrap_or_else(|| format!("it answered with status {status}"));
    match (status, code) {
        // Without a problem of Keyward's own, whoever answered stands before it.
        (400..=499, Some(code)) if status != 429 => Error::Refused { code, detail },
        _ => Error::Unavailable(detail),
    }
}
