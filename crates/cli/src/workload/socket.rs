//! The agent's socket: services on this machine read credentials at it as they would at Keyward, in plain HTTP/1.1 over a Unix socket.
//! Answers come out of memory, through rotations and outages; who asks is known by the process's user, and which names may be asked for
//! by the command line. It hands out what Keyward signed, and the answer itself is not signed.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use keyward_client::{Client, Credential, Error as Unread, Standing};
use keyward_domain::error::{Blame, Code};
use keyward_domain::problem::{MEDIA_TYPE, Problem};
use keyward_domain::scope::{Scope, administration};
use keyward_domain::{Error, RequestId};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch as changes};

use super::watch::{News, watch};
use crate::aside::Aside;
use crate::failure::{Failure, Result};

/// What is served.
const ROUTE: &str = "/v1/credentials/value";
/// Connections at the same time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// The longest head of a request, in bytes: the smallest buffer that hyper takes is half of it.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a request's head may take.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// How long one connection may take in all: one request, whose answer may wait for Keyward's.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(90);
/// The longest wait for another version, in seconds: as Keyward's.
const WAIT_S_MAX: u64 = 30;
/// Credentials that are watched, each by a thread. Beyond them a lease says when one is asked for again.
const WATCHED_MAX: usize = 256;

type Answer = Response<Full<Bytes>>;

/// What names may be asked for: `payments/db`, `payments/*`, `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(Scope);

impl Names {
    /// Parses one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scope = Scope::parse(&format!("{}@{text}", administration::CREDENTIALS_READ));
        scope.ok().filter(Scope::is_grant).map(Self).ok_or_else(|| {
            "expected a credential's name, such as `payments/db`, or all below one, such as `payments/*`"
                .to_owned()
        })
    }

    /// The name, where it is one.
    pub fn one(&self) -> Option<String> {
        let text = self.0.to_string();
        let (_, names) = text.split_once('@')?;
        (!names.ends_with('*')).then(|| names.to_owned())
    }

    fn allow(&self, name: &str) -> bool {
        self.0.covers(&Scope::fixed(administration::CREDENTIALS_READ).named(name))
    }
}

/// A socket that is served; it is gone with this.
pub struct Socket {
    path: PathBuf,
    desk: Arc<Desk>,
}

/// What is served at a socket, and to whom.
pub struct Terms {
    /// Where it is.
    pub path: PathBuf,
    /// Which names.
    pub names: Vec<Names>,
    /// Users beside our own whose processes are served.
    pub users: Vec<u32>,
}

impl Socket {
    /// Opens a socket and serves it from a thread of its own. `known` are watched already; whatever else is asked for is from then on,
    /// and its news told to `tell`.
    ///
    /// # Errors
    /// The place is not safe or not free.
    pub fn open(
        terms: Terms,
        client: &Arc<Client>,
        known: &[Arc<Credential>],
        tell: Sender<News>,
    ) -> Result<Self> {
        let Terms { path, names, users } = terms;
        let mode = if users.is_empty() { 0o600 } else { 0o666 };
        let listener = listen(&path, mode)?;
        let watched = known.iter().map(|credential| (credential.name().to_owned(), None)).collect();
        let desk = Arc::new(Desk {
            client: Arc::clone(client),
            names,
            users,
            us: rustix::process::geteuid().as_raw(),
            watched: Mutex::new(watched),
            tell: Mutex::new(tell),
            changed: changes::Sender::new(()),
        });
        // From here on the file is gone again where anything fails.
        let socket = Self { path, desk };
        let fault = |error: std::io::Error| Failure::system("socket", error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(CONNECTIONS_MAX)
            .build()
            .map_err(fault)?;
        let listener = {
            let _inside = runtime.enter();
            listener.set_nonblocking(true).and_then(|()| UnixListener::from_std(listener)).map_err(fault)?
        };
        let desk = Arc::clone(&socket.desk);
        std::thread::spawn(move || runtime.block_on(desk.serve(listener)));
        Ok(socket)
    }

    /// Hears what is told of a credential.
    pub fn hear(&self, news: &News) {
        let (name, away) = match news {
            News::Changed(credential) => (credential.name(), None),
            News::Back(name) => (name.as_str(), None),
            // What Keyward refused is asked for anew, and refused by itself.
            News::Lost(name, error) if error.is_refusal() => (name.as_str(), None),
            News::Away(name, error) | News::Lost(name, error) => (name.as_str(), Some(error.clone())),
        };
        if let Some(known) = self.desk.watched().get_mut(name) {
            *known = away;
        }
        self.desk.changed.send_replace(());
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Makes the socket's file: nobody else can put another in its place, and it has its mode before it has its name.
fn listen(path: &Path, mode: u32) -> Result<std::os::unix::net::UnixListener> {
    let unfit = |what: String| Failure::new(Blame::Caller, "The socket cannot be made", what);
    let fault = |error: std::io::Error| Failure::file("socket", path, &error);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.exists() {
        DirBuilder::new().mode(0o700).create(folder).map_err(fault)?;
    }
    let found = std::fs::metadata(folder).map_err(fault)?;
    let us = rustix::process::geteuid().as_raw();
    if ![us, 0].contains(&found.uid()) || found.permissions().mode() & 0o022 != 0 {
        let detail = format!(
            "others may write to {}, and could put a socket of theirs there; expected a folder that its owner alone writes to",
            folder.display()
        );
        return Err(unfit(detail));
    }
    if let Ok(before) = path.symlink_metadata() {
        if !before.file_type().is_socket() {
            return Err(unfit(format!("{} is there, and is no socket", path.display())));
        }
        if Probe::connect(path).is_ok() {
            return Err(unfit(format!("{} is served by another process", path.display())));
        }
    }
    let aside = Aside::of(path);
    let listener = std::os::unix::net::UnixListener::bind(aside.path()).map_err(fault)?;
    std::fs::set_permissions(aside.path(), Permissions::from_mode(mode)).map_err(fault)?;
    aside.put_into_place()?;
    Ok(listener)
}

/// Answers at a socket.
struct Desk {
    client: Arc<Client>,
    names: Vec<Names>,
    users: Vec<u32>,
    us: u32,
    /// Credentials that are watched, and why Keyward does not answer about one.
    watched: Mutex<BTreeMap<String, Option<Unread>>>,
    tell: Mutex<Sender<News>>,
    changed: changes::Sender<()>,
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    name: String,
    wait: Duration,
    tag: Option<String>,
}

/// A credential as it is handed out.
struct Held {
    credential: Arc<Credential>,
    /// How long ago Keyward last said that it holds.
    age: Duration,
    /// Whether its lease is over while Keyward cannot be asked.
    is_stale: bool,
}

impl Desk {
    async fn serve(self: Arc<Self>, listener: UnixListener) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        while let Ok(place) = Arc::clone(&room).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let desk = Arc::clone(&self);
                    tokio::spawn(async move {
                        let _ = tokio::time::timeout(CONNECTION_TIME_MAX, desk.connection(stream)).await;
                        drop(place);
                    });
                }
                // Out of files, say: not asked without end.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: UnixStream) {
        let user = stream.peer_cred().map(|peer| peer.uid()).ok();
        let is_let_in = user.is_some_and(|user| user == self.us || self.users.contains(&user));
        let service = hyper::service::service_fn(move |request| {
            let desk = Arc::clone(&self);
            async move {
                let answered = match is_let_in {
                    true => desk.answer(&request).await,
                    false => {
                        Err(Error::new(Code::Forbidden, "the agent does not serve this user's processes"))
                    }
                };
                Ok::<_, std::convert::Infallible>(answered.unwrap_or_else(|error| problem(&error)))
            }
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            // A connection to a socket costs next to nothing, and one that idles takes a place.
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer<B>(self: &Arc<Self>, request: &Request<B>) -> Result<Answer, Error> {
        if request.uri().path() != ROUTE {
            return Err(Error::new(Code::NotFound, format!("the agent serves `{ROUTE}` alone")));
        }
        if request.method() != Method::GET {
            return Err(Error::new(Code::MethodNotAllowed, "expected GET"));
        }
        let tag = request.headers().get(header::IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
        let question = question(request.uri().query().unwrap_or_default(), tag)?;
        if !self.names.iter().any(|names| names.allow(&question.name)) {
            return Err(Error::new(Code::Forbidden, "the agent was not told to serve this name (`--serve`)"));
        }
        let deadline = tokio::time::Instant::now() + question.wait;
        // Before it is read: a change after that is not missed.
        let mut changed = self.changed.subscribe();
        loop {
            let held = self.read(&question.name).await?;
            let is_same = question.tag.as_deref() == Some(&held.credential.tag());
            if !is_same || tokio::time::timeout_at(deadline, changed.changed()).await.is_err() {
                return answer(&held, is_same);
            }
        }
    }

    /// A credential: out of memory where it is watched, so that nobody waits for a Keyward that is away.
    async fn read(self: &Arc<Self>, name: &str) -> Result<Held, Error> {
        let watched = self.watched().get(name).cloned();
        if let Some(away) = watched {
            match (self.client.kept(name), away) {
                (Some((credential, age, standing)), away) if standing != Standing::Over => {
                    // While Keyward answers it tells at once of whatever changes, however short the lease.
                    let is_stale = away.is_some() && standing == Standing::Due;
                    return Ok(Held { credential, age, is_stale });
                }
                (_, Some(away)) => return Err(refusal(&away)),
                (_, None) => {}
            }
        }
        let (client, asked) = (Arc::clone(&self.client), name.to_owned());
        let read = tokio::task::spawn_blocking(move || ask(&client, &asked)).await;
        let held = match read {
            Ok(read) => read.map_err(|error| refusal(&error))?,
            Err(_) => return Err(Error::internal("a thread of the agent ended")),
        };
        self.watch(&held.credential);
        Ok(held)
    }

    /// Has a credential watched that nobody watches.
    fn watch(&self, credential: &Arc<Credential>) {
        let mut watched = self.watched();
        if watched.len() < WATCHED_MAX && !watched.contains_key(credential.name()) {
            watched.insert(credential.name().to_owned(), None);
            let tell = self.tell.lock().unwrap_or_else(PoisonError::into_inner);
            watch(&self.client, std::slice::from_ref(credential), &tell);
        }
    }

    fn watched(&self) -> MutexGuard<'_, BTreeMap<String, Option<Unread>>> {
        // Whoever panicked with it left whole entries.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A credential that nobody watches, by its lease.
fn ask(client: &Client, name: &str) -> Result<Held, Unread> {
    if let Some((credential, age, Standing::Fresh)) = client.kept(name) {
        return Ok(Held { credential, age, is_stale: false });
    }
    match client.refresh(name, Duration::ZERO) {
        Ok(credential) => Ok(Held { credential, age: Duration::ZERO, is_stale: false }),
        // What may be gone on with is still kept.
        Err(error) => {
            let kept = client.kept(name);
            kept.map(|(credential, age, _)| Held { credential, age, is_stale: true }).ok_or(error)
        }
    }
}

/// What a query and a header ask for.
fn question(query: &str, tag: Option<&str>) -> Result<Question, Error> {
    let unfit = |name: &str, reason: &str, expected: &str| {
        let detail = format!("`{name}` {reason}; expected {expected}");
        Error::new(Code::InvalidParameter, detail)
    };
    let (mut name, mut wait_s) = (None, None);
    for (parameter, text) in query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
    {
        let text = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
        let place = match parameter {
            "name" => &mut name,
            "wait_s" => &mut wait_s,
            _ => {
                return Err(unfit(
                    "query",
                    "has a parameter that the agent does not know",
                    "`name` and `wait_s`",
                ));
            }
        };
        if place.replace(text.into_owned()).is_some() {
            return Err(unfit("query", "has a parameter twice", "each once"));
        }
    }
    let name = name.ok_or_else(|| unfit("name", "is missing", "a credential's name"))?;
    let wait_s = match wait_s {
        None => 0,
        Some(text) => text
            .parse()
            .ok()
            .filter(|seconds| *seconds <= WAIT_S_MAX)
            .ok_or_else(|| unfit("wait_s", "is no number of seconds", "at most 30"))?,
    };
    if wait_s > 0 && tag.is_none() {
        return Err(unfit(
            "wait_s",
            "stands alone",
            "If-None-Match with the tag of the version that is there",
        ));
    }
    Ok(Question { name, wait: Duration::from_secs(wait_s), tag: tag.map(str::to_owned) })
}

/// What Keyward, or its silence, said no with.
fn refusal(error: &Unread) -> Error {
    match error {
        Unread::Refused { code, detail } => {
            Error::new(code.parse().unwrap_or(Code::Forbidden), detail.clone())
        }
        Unread::Unavailable(detail) => Error::new(Code::StoreUnavailable, detail.clone()),
        Unread::Misused(detail) => Error::new(Code::Misconfigured, detail.clone()),
        Unread::NotAuthentic(detail) => {
            Error::new(Code::StoreUnavailable, format!("the answer is not authentic: {detail}"))
        }
    }
}

fn answer(held: &Held, is_same: bool) -> Result<Answer, Error> {
    let status = if is_same { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let mut answer = Response::builder()
        .status(status)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::ETAG, held.credential.tag())
        // RFC 9111: how long ago Keyward last said that it holds, in seconds.
        .header(header::AGE, held.age.as_secs());
    if held.is_stale {
        answer = answer.header("keyward-stale", "?1");
    }
    let body = match is_same {
        true => Bytes::new(),
        false => {
            answer = answer.header(header::CONTENT_TYPE, "application/json");
            Bytes::copy_from_slice(held.credential.json().as_bytes())
        }
    };
    answer.body(Full::new(body)).map_err(|_| Error::internal("an answer cannot be made"))
}

fn problem(error: &Error) -> Answer {
    let mut id = [0; 16];
    // Without one the id names nothing, and the problem is told all the same.
    let _ = getrandom::fill(&mut id);
    let body = serde_json::to_vec(&Problem::of(error, RequestId::from_bytes(id))).unwrap_or_default();
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() =
        StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_names_are_served() {
        let below = Names::parse("payments/*").unwrap();
        assert!(below.allow("payments/db") && !below.allow("payments") && !below.allow("pay/db"));
        assert_eq!(below.one(), None);
        assert_eq!(Names::parse("payments/db").unwrap().one().as_deref(), Some("payments/db"));
        assert!(Names::parse("*").unwrap().allow("anything"));
        for bad in
            ["", "Payments", "a*", "app_0000000000000000000002", "app_0000000000000000000002/db", "a@b"]
        {
            assert!(Names::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_asked() {
        let asked = question("name=payments%2Fdb&wait_s=30", Some("\"7\"")).unwrap();
        assert_eq!(
            (asked.name.as_str(), asked.wait, asked.tag.as_deref()),
            ("payments/db", Duration::from_secs(30), Some("\"7\""))
        );
        assert_eq!(question("name=a", None).unwrap().wait, Duration::ZERO);
        for bad in [
            "",
            "name=a&name=b",
            "name=a&version=2",
            "name=a&wait_s=31",
            "name=a&wait_s=-1",
            "name=a&wait_s=5",
        ] {
            assert_eq!(question(bad, None).unwrap_err().code, Code::InvalidParameter, "{bad}");
        }
    }

    #[test]
    fn a_socket_is_put_where_nobody_else_can_and_replaces_its_own_leftover_alone() {
        let folder = std::env::temp_dir().join(format!("keyward-socket-{}", std::process::id()));
        let path = folder.join("agent.sock");
        let first = listen(&path, 0o600).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(listen(&path, 0o600).is_err(), "somebody serves there");
        drop(first);
        drop(listen(&path, 0o666).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        assert!(listen(&path, 0o600).is_err(), "no socket");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        std::fs::set_permissions(&folder, Permissions::from_mode(0o770)).unwrap();
        assert!(listen(&folder.join("other"), 0o600).is_err(), "others may write there");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
