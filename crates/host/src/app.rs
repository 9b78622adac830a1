//! The application: its routes, its components ready to run, and how one request is answered. It owns no
//! connection and no listener.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use http::header::{self, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::handler::{InstantiationError, ProxyHandler, TrapOrPanicError};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::cron::CronComponent;
use crate::guest::Environment;
use crate::http::body::{Bounded, Held, Permit, empty, full};
use crate::http::worker::{Handler, reason};
use crate::manifest::StaticResponse;
use crate::outbound::chained_component;
use crate::route::{RouteMatch, Router, WELL_KNOWN};
use crate::traces::RequestSpan;

/// Whose address a chained request shows, as in Spin.
const CHAINED_CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
/// Whose address a request of the application to itself shows.
const SELF_CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// An application that runs.
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) router: Router,
    /// By the place of its trigger in the manifest.
    pub(crate) answers: Vec<Destination>,
    pub(crate) handlers: HashMap<String, ProxyHandler<Handler>>,
    pub(crate) cron: Vec<CronComponent>,
    pub(crate) env: Arc<Environment>,
    pub(crate) in_flight: Arc<Semaphore>,
}

/// Where a route leads.
pub(crate) enum Destination {
    Component(String),
    Static(StaticResponse),
}

impl App {
    /// Answers a request from a connection.
    pub(crate) async fn answer<B>(
        &self,
        request: Request<B>,
        scheme: Scheme,
        client: SocketAddr,
    ) -> Response<WasiBody>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
        Error: From<B::Error>,
    {
        let span = self.env.traces.request(request.method(), request.headers());
        let response = self.answer_within(&span, request, scheme, client).await;
        span.answered(response.status());
        response
    }

    async fn answer_within<B>(
        &self,
        span: &RequestSpan<'_>,
        mut request: Request<B>,
        scheme: Scheme,
        client: SocketAddr,
    ) -> Response<WasiBody>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
        Error: From<B::Error>,
    {
        // Only the connection's own end has a use for it.
        request.headers_mut().remove(header::CONNECTION);
        // A caller from outside cannot pretend to be a chained component.
        if request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).is_some_and(is_internal) {
            request.headers_mut().remove(header::HOST);
        }
        if let Some(name) = request.uri().path().strip_prefix(WELL_KNOWN) {
            return self.well_known(name);
        }
        let Ok(permit) = self.in_flight.clone().try_acquire_owned().map(Arc::new) else { return busy() };
        let Some(found) = self.router.find(request.uri().path()) else {
            return status(StatusCode::NOT_FOUND);
        };
        span.routed(found.route());
        let old = request.version() == Version::HTTP_10;
        let mut response = match self.answers.get(found.trigger) {
            Some(Destination::Component(id)) => {
                if let Err(refusal) = complete_uri(&mut request, scheme) {
                    return status(refusal);
                }
                span.component(id, self.run(id, request, &found, client, permit.clone())).await
            }
            Some(Destination::Static(fixed)) => respond(fixed),
            None => status(StatusCode::NOT_FOUND),
        };
        if old && response.body().size_hint().exact().is_none() {
            // HTTP/1.0 knows such a body's end by the connection's alone.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|body| Held::new(body, permit).boxed_unsync())
    }

    /// Answers a request that a guest sent to `http://ID.spin.internal`.
    pub(crate) async fn answer_chained(
        &self,
        request: Request<WasiBody>,
        permit: Permit,
    ) -> Result<Response<WasiBody>, Error> {
        let id = chained_component(request.uri()).unwrap_or_default().to_owned();
        if !self.handlers.contains_key(&id) {
            let message = format!(
                "a request to http://{id}.spin.internal found no component of this name with an HTTP trigger"
            );
            self.env.log.warn(None, &message);
            return Err(Error::DestinationNotFound);
        }
        let found = RouteMatch::chained(request.uri().path());
        Ok(Box::pin(self.run(&id, request, &found, CHAINED_CLIENT, permit)).await)
    }

    /// Answers a request that a guest sent to its own application.
    pub(crate) async fn answer_self(
        &self,
        mut request: Request<WasiBody>,
        permit: Permit,
    ) -> Response<WasiBody> {
        let Some(found) = self.router.find(request.uri().path()) else {
            return status(StatusCode::NOT_FOUND);
        };
        match self.answers.get(found.trigger) {
            Some(Destination::Component(id)) => {
                if request.uri().host().is_none_or(str::is_empty) {
                    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
                    let uri = Uri::builder()
                        .scheme(Scheme::HTTP)
                        .authority("localhost")
                        .path_and_query(path)
                        .build();
                    let Ok(uri) = uri else { return status(StatusCode::BAD_REQUEST) };
                    *request.uri_mut() = uri;
                }
                Box::pin(self.run(id, request, &found, SELF_CLIENT, permit)).await
            }
            Some(Destination::Static(fixed)) => respond(fixed),
            None => status(StatusCode::NOT_FOUND),
        }
    }

    async fn run<B>(
        &self,
        id: &str,
        mut request: Request<B>,
        found: &RouteMatch,
        client: SocketAddr,
        permit: Permit,
    ) -> Response<WasiBody>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + Unpin + 'static,
        Error: From<B::Error>,
    {
        let limits = &self.env.limits;
        let Some(handler) = self.handlers.get(id) else { return status(StatusCode::NOT_FOUND) };
        if request.body().size_hint().lower() > limits.request_body_bytes_max {
            return status(StatusCode::PAYLOAD_TOO_LARGE);
        }
        // Guests are handed text; Spin answers such a request with 500.
        if request.headers().values().any(|value| std::str::from_utf8(value.as_bytes()).is_err()) {
            return status(StatusCode::BAD_REQUEST);
        }
        let full_url = request.uri().to_string();
        found.append_headers(request.headers_mut(), &full_url, client);
        let exceeded = Arc::new(AtomicBool::new(false));
        let request = request
            .map(|body| Bounded::new(body, limits.request_body_bytes_max, exceeded.clone()).boxed_unsync());
        let begin = Instant::now();
        let outcome = tokio::time::timeout(limits.request_time_max, handler.handle(permit, request)).await;
        match outcome {
            Ok(Ok(response)) => response,
            Ok(Err(_)) if exceeded.load(Ordering::Relaxed) => status(StatusCode::PAYLOAD_TOO_LARGE),
            // On a loaded machine the end of the instance may be noticed before the timer.
            Ok(Err(error)) if begin.elapsed() < limits.request_time_max => self.failed(id, &error),
            Ok(Err(_)) | Err(_) => {
                self.env.log.warn(Some(id), "a request was given up: the time bound is met");
                status(StatusCode::GATEWAY_TIMEOUT)
            }
        }
    }

    /// The answer when a guest gave none. What the guest said about it stays unsaid.
    fn failed(&self, id: &str, error: &wasmtime::Error) -> Response<WasiBody> {
        if let Some(failed) = error.downcast_ref::<InstantiationError<Permit>>() {
            if failed.error.is::<wasmtime::PoolConcurrencyLimitError>() {
                return busy();
            }
            self.env.log.error(Some(id), &format!("no instance could be made: {}", reason(&failed.error)));
        } else if !error.is::<TrapOrPanicError>() {
            // A trap is logged where its instance ends.
            self.env
                .log
                .error(Some(id), "the component answered a request with an error instead of a response");
        }
        status(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn well_known(&self, name: &str) -> Response<WasiBody> {
        match name {
            "health" => Response::new(full("OK")),
            "info" => {
                let info = serde_json::json!({ "name": self.name, "version": self.version });
                let mut response = Response::new(full(info.to_string()));
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            _ => status(StatusCode::NOT_FOUND),
        }
    }
}

fn is_internal(host: &str) -> bool {
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    host.ends_with(".spin.internal")
}

fn status(code: StatusCode) -> Response<WasiBody> {
    let mut response = Response::new(empty());
    *response.status_mut() = code;
    response
}

fn busy() -> Response<WasiBody> {
    let mut response = status(StatusCode::SERVICE_UNAVAILABLE);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn respond(fixed: &StaticResponse) -> Response<WasiBody> {
    let mut response = Response::new(if fixed.body.is_empty() { empty() } else { full(fixed.body.clone()) });
    *response.status_mut() = fixed.status;
    for (name, value) in &fixed.headers {
        response.headers_mut().append(name, value.clone());
    }
    response
}

/// Gives the request's URI the scheme it came by and the authority it named, in its URI or its `Host`. Naming
/// none, or two different ones, is refused.
fn complete_uri<B>(request: &mut Request<B>, scheme: Scheme) -> Result<(), StatusCode> {
    let bad = || StatusCode::BAD_REQUEST;
    let from_header = match request.headers().get(header::HOST) {
        None => None,
        Some(host) => Some(Authority::try_from(host.as_bytes()).map_err(|_| bad())?),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.authority = match (from_header, parts.authority.take()) {
        (None, None) => return Err(bad()),
        (Some(one), Some(other)) if one != other => return Err(bad()),
        (Some(authority), _) | (None, Some(authority)) => Some(authority),
    };
    parts.scheme = Some(scheme);
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    }
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| bad())?;
    Ok(())
}
