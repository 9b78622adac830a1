//! The listener: accepts connections within their bounds and hands each request to the application. HTTP/1.1
//! and HTTP/2, with TLS or without.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Scheme;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;

use crate::app::App;
use crate::limits::Limits;

/// Streams of one HTTP/2 connection at once; nginx has 128, Envoy 100.
const H2_STREAMS_MAX: u32 = 128;
/// How long to wait after `accept` failed, as when file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the host stops, then lets connections finish within the stop's bound.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Arc<App>,
    mut stopping: watch::Receiver<bool>,
) {
    let limits = app.env.limits.clone();
    let builder = Arc::new(connection_builder(&limits));
    let connections = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    loop {
        // The kernel's backlog holds who comes when all places are taken.
        let accepted = async {
            let permit = connections.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        let (Ok(permit), Ok((stream, client))) = (permit, accepted) else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // A body written after the head would otherwise wait for the peer's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let connection = Connection { app: app.clone(), builder: builder.clone(), client, tls: tls.clone() };
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            connection.serve(stream, watcher).await;
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.stop_time_max, graceful.shutdown()).await.is_err() {
        app.env.log.warn(None, "connections were cut: the stop's time bound is met");
    }
}

fn connection_builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request_head_time_max)
        // Hyper's floor is 8,192.
        .max_buf_size(limits.request_head_bytes_max.max(8_192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.request_head_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(H2_STREAMS_MAX)
        .keep_alive_interval(limits.request_head_time_max)
        .keep_alive_timeout(limits.request_head_time_max);
    builder
}

struct Connection {
    app: Arc<App>,
    builder: Arc<Builder<TokioExecutor>>,
    client: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Connection {
    async fn serve(self, stream: TcpStream, watcher: hyper_util::server::graceful::Watcher) {
        let limits = &self.app.env.limits;
        let (head_time, stall_time) = (limits.request_head_time_max, limits.write_stall_time_max);
        match &self.tls {
            None => self.run(Patience::new(stream, head_time, stall_time), Scheme::HTTP, watcher).await,
            Some(tls) => {
                // A peer that cannot do TLS is its own affair: nothing is logged.
                if let Ok(Ok(stream)) = tokio::time::timeout(head_time, tls.accept(stream)).await {
                    self.run(Patience::new(stream, head_time, stall_time), Scheme::HTTPS, watcher).await;
                }
            }
        }
    }

    async fn run<S>(
        &self,
        stream: Patience<S>,
        scheme: Scheme,
        watcher: hyper_util::server::graceful::Watcher,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let app = self.app.clone();
        let client = self.client;
        let service = service_fn(move |request| {
            let (app, scheme) = (app.clone(), scheme.clone());
            async move { Ok::<_, Infallible>(app.answer(request, scheme, client).await) }
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        // Whatever ends a connection early is the peer's doing, or was logged where it happened.
        let _ = watcher.watch(connection.into_owned()).await;
    }
}

/// A stream that waits for its peer only so long: for the first byte, and for room to write.
struct Patience<S> {
    stream: S,
    first_byte: Option<Pin<Box<Sleep>>>,
    stall_time: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patience<S> {
    fn new(stream: S, head_time: Duration, stall_time: Duration) -> Self {
        Self { stream, first_byte: Some(Box::pin(tokio::time::sleep(head_time))), stall_time, stalled: None }
    }

    fn watch_write<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let stall_time = self.stall_time;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall_time)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patience<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if outcome.is_ready() {
            self.first_byte = None;
        } else if let Some(first_byte) = &mut self.first_byte
            && first_byte.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patience<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, data);
        self.watch_write(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.watch_write(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch_write(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch_write(cx, outcome)
    }
}
