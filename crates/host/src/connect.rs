//! Requests over the network: a name is resolved, the addresses that are blocked are left out, and one of the others is connected to.
//! No step takes longer than its bound. Nothing here follows a redirect or keeps a connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, timeout};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::client_tls::ClientTls;
use crate::networks::BlockedNetworks;

/// What the runtime configuration says of the network.
#[derive(Default)]
pub(crate) struct Networking {
    /// Networks that no component is connected to.
    pub(crate) blocked: BlockedNetworks,
    /// Whom components trust.
    pub(crate) client_tls: ClientTls,
}

/// How long each step may take.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Name, connection and TLS.
    pub(crate) connect: Duration,
    /// The answer's head.
    pub(crate) first_byte: Duration,
    /// Between two pieces of its body.
    pub(crate) between_bytes: Duration,
}

/// Sends a request of a component to where its URI leads.
pub(crate) async fn send(
    mut request: Request<WasiBody>,
    networking: &Networking,
    component: &str,
    bounds: Bounds,
) -> Result<Response<WasiBody>, Error> {
    let (host, port, is_tls) = destination(request.uri())?;
    let connected = timeout(bounds.connect, connect(&host, port, is_tls, networking, component)).await;
    let stream = connected.map_err(|_| Error::ConnectionTimeout)??;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let connection = Task(tokio::spawn(async move {
        // What goes wrong is told by the request or by its answer's body.
        let _ = connection.await;
    }));
    // Scheme and authority are for proxies; the guest's request has its `Host`.
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    let answer = timeout(bounds.first_byte, sender.send_request(request)).await;
    let answer = answer.map_err(|_| Error::ConnectionReadTimeout)?.map_err(broken)?;
    Ok(answer.map(|body| {
        Paced {
            inner: body,
            between: bounds.between_bytes,
            deadline: Box::pin(tokio::time::sleep(bounds.between_bytes)),
            _connection: connection,
        }
        .boxed_unsync()
    }))
}

/// A connection that ended before it should is told apart from one over which something else than HTTP came.
fn broken(error: hyper::Error) -> Error {
    let is_io = std::error::Error::source(&error).is_some_and(|source| source.is::<std::io::Error>());
    if is_io || error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        Error::ConnectionTerminated
    } else {
        Error::Hyper(error)
    }
}

fn destination(uri: &Uri) -> Result<(String, u16, bool), Error> {
    let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
    let host = uri.host().ok_or(Error::HttpRequestUriInvalid)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    Ok((host.to_owned(), port, is_tls))
}

/// A stream of bytes, plain or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(
    host: &str,
    port: u16,
    is_tls: bool,
    networking: &Networking,
    component: &str,
) -> Result<Box<dyn Stream>, Error> {
    let unknown = |_| Error::DnsError { rcode: None, info_code: None };
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(unknown)?;
    let allowed = networking.blocked.allowed(addresses);
    if allowed.is_empty() {
        return Err(Error::DestinationIpProhibited);
    }
    // The very addresses that were looked at: a name that is resolved anew may lead elsewhere.
    let stream = TcpStream::connect(allowed.as_slice()).await.map_err(Error::Connect)?;
    // What cannot be set costs some milliseconds, no more.
    let _ = stream.set_nodelay(true);
    if !is_tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let config = networking
        .client_tls
        .config(component, host, port)
        .map_err(|error| Error::Tls(std::io::Error::other(error)))?;
    let connector = tokio_rustls::TlsConnector::from(config);
    Ok(Box::new(connector.connect(name, stream).await.map_err(Error::Tls)?))
}

/// A task that ends with whoever holds it.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A body whose pieces must not keep one waiting for too long; its connection ends with it.
struct Paced {
    inner: hyper::body::Incoming,
    between: Duration,
    deadline: Pin<Box<Sleep>>,
    _connection: Task,
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                let next = Instant::now() + self.between;
                self.deadline.as_mut().reset(next);
                Poll::Ready(frame.map(|frame| frame.map_err(broken)))
            }
            Poll::Pending if self.deadline.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
