//! `keyward audit witness --listen`: keeps looking at a log, and tells whoever asks what it has seen. It holds no secret of the log, and
//! what it serves is signed by the log itself.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::arguments::AuditWitness;
use crate::commands::audit_witness::Watch;
use crate::failure::Result;
use crate::table::{Card, Cell};
use crate::{Ending, Failure, Global, Terminal};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use keyward_auditor::Witness;
use keyward_domain::error::Blame;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::up::Signals;

/// Connections that are served at the same time; others wait.
const CONNECTIONS_MAX: usize = 256;
/// How long a connection may take for the head of a request.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// What was seen, as it is served.
type Shared = Arc<RwLock<Witness>>;

/// Carries it out; returns when it was told to stop.
pub fn run(global: &Global, options: &AuditWitness, terminal: &Terminal) -> Result<Ending> {
    let Some(listen) = options.listen else {
        return Err(Failure::command_line("--listen says where to serve"));
    };
    let mut watch = Watch::start(global, options, terminal)?;
    let shared: Shared = Arc::new(RwLock::new(watch.witness().clone()));
    let seen = shared.clone();
    let interval = Duration::from_secs(options.interval.unsigned_abs());
    std::thread::spawn(move || {
        let terminal = Terminal::default();
        loop {
            match watch.look() {
                Ok(()) => {
                    watch.witness().clone_into(&mut seen.write().unwrap_or_else(PoisonError::into_inner))
                }
                // What was seen stands, and is served; whoever looks after the log is told.
                Err(failure) => terminal.fail(&failure),
            }
            std::thread::sleep(interval);
        }
    });
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::system("runtime", error))?;
    let ended = runtime.block_on(serve(global, listen, &shared, terminal));
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended
}

async fn serve(global: &Global, listen: SocketAddr, shared: &Shared, terminal: &Terminal) -> Result<Ending> {
    let mut signals = Signals::new()?;
    let unfit = |error: std::io::Error| {
        Failure::new(Blame::Caller, "The address cannot be used", format!("{listen}: {error}"))
    };
    let listener = TcpListener::bind(listen).await.map_err(unfit)?;
    let address = listener.local_addr().map_err(unfit)?;
    announce(global, address, shared, terminal)?;
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = signals.next() => return Ok(Ending::Done),
        };
        let (Ok((stream, _)), Ok(permit)) = (accepted, connections.clone().acquire_owned().await) else {
            // Too many open files, for instance: it may pass.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            converse(stream, &shared).await;
            drop(permit);
        });
    }
}

fn announce(global: &Global, address: SocketAddr, shared: &Shared, terminal: &Terminal) -> Result<()> {
    let origin = shared.read().unwrap_or_else(PoisonError::into_inner).origin.clone();
    let url = format!("http://{address}");
    if global.json {
        let json = serde_json::json!({ "listening": url, "origin": origin });
        return terminal.print(&crate::escape::shown_json(&json.to_string()));
    }
    let card = Card::new().field("witness", Cell::new(url)).field("of the log", Cell::new(origin));
    terminal.print(&card.render(terminal.styles()))
}

async fn converse(stream: TcpStream, shared: &Shared) {
    let service =
        service_fn(async |request: Request<Incoming>| Ok::<_, Infallible>(answer(&request, shared)));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that broke is its caller's affair.
    let _ = connection.await;
}

fn answer(request: &Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return response(StatusCode::METHOD_NOT_ALLOWED, "expected GET\n", (ALLOW, "GET, HEAD"));
    }
    if request.uri().path() != "/checkpoint" {
        return text(StatusCode::NOT_FOUND, "expected /checkpoint?origin=\n");
    }
    let witness = shared.read().unwrap_or_else(PoisonError::into_inner);
    match note(&witness, request.uri().query().unwrap_or_default()) {
        Some(note) => text(StatusCode::OK, note),
        None => text(StatusCode::NOT_FOUND, "no checkpoint of that log was seen\n"),
    }
}

/// The checkpoint that a query asks for: of one epoch's log, or the newest of all.
fn note<'w>(witness: &'w Witness, query: &str) -> Option<&'w str> {
    let encoded = query.split('&').find_map(|pair| pair.strip_prefix("origin="))?;
    let origin = percent_encoding::percent_decode_str(encoded).decode_utf8().ok()?;
    let seen = if origin == witness.origin {
        witness.epochs.last()?
    } else {
        let epoch = origin.strip_prefix(&witness.origin)?.strip_prefix('/')?;
        witness.epochs.iter().find(|seen| seen.epoch.to_string() == epoch)?
    };
    seen.note.as_deref()
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    response(status, body, (CACHE_CONTROL, "no-store"))
}

fn response(
    status: StatusCode,
    body: &str,
    (name, value): (HeaderName, &'static str),
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
    let plain = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use keyward_auditor::Seen;

    use super::*;

    #[test]
    fn a_log_is_asked_for_by_its_name() {
        let seen = |epoch: u32| Seen {
            epoch,
            size: 1,
            root: [0; 32],
            taken: 1,
            note: Some(format!("note {epoch}")),
        };
        let witness = Witness { origin: "a/b".to_owned(), keys: Vec::new(), epochs: vec![seen(1), seen(2)] };
        for (query, expected) in [
            ("origin=a/b", Some("note 2")),
            ("x=y&origin=a%2Fb%2F1", Some("note 1")),
            ("origin=a/b/3", None),
            ("origin=a/bc", None),
            ("", None),
        ] {
            assert_eq!(note(&witness, query), expected, "{query}");
        }
    }
}
