//! Traces of requests by OpenTelemetry, where the environment says where to send them, as Spin does: `OTEL_EXPORTER_OTLP_ENDPOINT` and the other
//! variables of the OTLP exporter. A span names the route of the manifest, never the path or the query that was asked for: what stands there by
//! mistake may be a secret.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

use crate::connect::{self, Bounds, Networking};
use crate::error::StartError;

/// Either of them switches traces on.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// `true` switches them off all the same.
const DISABLED: &str = "OTEL_SDK_DISABLED";
/// How they are sent; what is set here must be what this host speaks.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const PROTOCOL: &str = "http/protobuf";
/// What the service is called where this is not set: as the application.
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

/// A collector that does not answer holds nobody up but the thread that exports.
const BOUNDS: Bounds = Bounds {
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(10),
    between_bytes: Duration::from_secs(10),
};

/// Whoever makes spans; nothing where nobody wants them.
pub(crate) struct Traces(Option<Exporting>);

struct Exporting {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

impl Traces {
    /// As the environment has it. `application` is what the service is called unless the environment says otherwise.
    pub(crate) fn start(
        application: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, StartError> {
        let set = |name: &&str| variable(name).is_some_and(|value| !value.is_empty());
        let is_disabled = variable(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let Some(endpoint) = ENDPOINTS.iter().find(|name| set(name)).filter(|_| !is_disabled) else {
            return Ok(Self(None));
        };
        let fault = |name: &str, reason: String| StartError::Variable { name: name.to_owned(), reason };
        if let Some(name) = PROTOCOLS.iter().find(|name| set(name))
            && variable(name).is_some_and(|value| value != PROTOCOL)
        {
            return Err(fault(name, format!("is not `{PROTOCOL}`, the protocol that this host speaks")));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector { runtime: Handle::current() })
            .build()
            // The address may hold a password: it is in no message.
            .map_err(|_| {
                fault(endpoint, "is not the URL of a collector, such as `http://127.0.0.1:4318`".to_owned())
            })?;
        let mut resource = Resource::builder();
        if !set(&SERVICE_NAME) {
            resource = resource.with_service_name(application.to_owned());
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
        Ok(Self(Some(Exporting { provider, tracer, propagator: TraceContextPropagator::new() })))
    }

    /// The span of a request from a connection, below the caller's own where `traceparent` names one.
    pub(crate) fn request(&self, method: &Method, fields: &HeaderMap) -> RequestSpan<'_> {
        RequestSpan(self.0.as_ref().map(|exporting| {
            let parent = exporting.propagator.extract_with_context(&Context::new(), &HeaderExtractor(fields));
            // A method is the caller's text, too.
            let method = if is_known(method) { method.as_str() } else { "_OTHER" }.to_owned();
            let span = exporting
                .tracer
                .span_builder(method.clone())
                .with_kind(SpanKind::Server)
                .with_attributes([KeyValue::new("http.request.method", method.clone())])
                .start_with_context(&exporting.tracer, &parent);
            Traced { tracer: &exporting.tracer, method, context: parent.with_span(span) }
        }))
    }

    /// Sends what has not been sent. It waits for the collector.
    pub(crate) fn flush(&self) {
        if let Some(Exporting { provider, .. }) = &self.0 {
            // Whoever stops cannot do more about it.
            let _ = provider.shutdown();
        }
    }
}

/// The methods of RFC 9110 and RFC 5789, as the semantic conventions name them.
fn is_known(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ]
    .contains(method)
}

/// The span of one request; it ends with this value.
pub(crate) struct RequestSpan<'a>(Option<Traced<'a>>);

struct Traced<'a> {
    tracer: &'a SdkTracer,
    method: String,
    context: Context,
}

impl RequestSpan<'_> {
    /// The route of the manifest that it took.
    pub(crate) fn routed(&self, route: &str) {
        if let Some(Traced { method, context, .. }) = &self.0 {
            let span = context.span();
            span.update_name(format!("{method} {route}"));
            span.set_attribute(KeyValue::new("http.route", route.to_owned()));
        }
    }

    /// Runs `work` in a span of its own, that of a component.
    pub(crate) async fn component<T>(&self, id: &str, work: impl Future<Output = T>) -> T {
        let span = self.0.as_ref().map(|Traced { tracer, context, .. }| {
            tracer
                .span_builder(format!("execute_wasm_component {id}"))
                .with_kind(SpanKind::Internal)
                .with_attributes([KeyValue::new("component_id", id.to_owned())])
                .start_with_context(*tracer, context)
        });
        let done = work.await;
        if let Some(mut span) = span {
            span.end();
        }
        done
    }

    /// What it was answered.
    pub(crate) fn answered(self, status: StatusCode) {
        if let Some(Traced { context, .. }) = self.0 {
            let span = context.span();
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
            if status.is_server_error() {
                span.set_status(Status::error(""));
            }
            span.end();
        }
    }
}

/// Sends to the collector as components send, on the host's own runtime: the exporter has a thread that is on none.
#[derive(Debug)]
struct Collector {
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = request.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync());
        let sent = self.runtime.spawn(async move {
            let answer = connect::send(request, &Networking::default(), "", BOUNDS).await?;
            let (head, body) = answer.into_parts();
            Ok::<_, wasmtime_wasi_http::Error>(Response::from_parts(head, body.collect().await?.to_bytes()))
        });
        Ok(sent.await?.map_err(|error| error.to_string())?)
    }
}
