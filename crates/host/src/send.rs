//! Requests that guests send: to hosts they are allowed, to other components (`http://ID.spin.internal`), to
//! their own application. Everything else is denied before a name is resolved, and what leads into a blocked network after that.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::connect::{self, Bounds};
use crate::guest::{ComponentConfig, Environment};
use crate::http::body::Held;
use crate::outbound::chained_component;

/// How one instance sends requests.
pub(crate) struct Outbound {
    pub(crate) env: Arc<Environment>,
    pub(crate) config: Arc<ComponentConfig>,
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(Response<WasiBody>, Io), Error>;

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let (env, config) = (self.env.clone(), self.config.clone());
        Box::new(async move { send(&env, &config, request, options).await })
    }
}

async fn send(
    env: &Arc<Environment>,
    config: &ComponentConfig,
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Sent {
    let host = request.uri().host().unwrap_or_default();
    let to_self = matches!(host, "" | "self.alt");
    let allowed = if to_self { config.allowed.allow_self() } else { config.allowed.allow(request.uri()) };
    if !allowed {
        let scheme = request.uri().scheme_str().unwrap_or("http");
        let authority = request.uri().authority().map_or("self", |authority| authority.as_str());
        let message = format!(
            "a request to {scheme}://{authority} was denied; to allow it, add it to allowed_outbound_hosts"
        );
        env.log.warn(Some(&config.id), &message);
        return Err(Error::HttpRequestDenied);
    }
    if to_self || chained_component(request.uri()).is_some() {
        let permit =
            Arc::new(env.chained.clone().try_acquire_owned().map_err(|_| Error::ConnectionLimitReached)?);
        let app = env.app.get().and_then(std::sync::Weak::upgrade).ok_or(Error::DestinationUnavailable)?;
        let response = if to_self {
            app.answer_self(request, permit.clone()).await
        } else {
            app.answer_chained(request, permit.clone()).await?
        };
        let done: Io = Box::new(std::future::ready(Ok(())));
        return Ok((response.map(|body| Held::new(body, permit).boxed_unsync()), done));
    }
    let permit =
        Arc::new(env.outbound.clone().try_acquire_owned().map_err(|_| Error::ConnectionLimitReached)?);
    let bounded = |asked: Option<Duration>| asked.unwrap_or(Duration::MAX).min(env.limits.outbound_time_max);
    let asked = options.unwrap_or_default();
    let bounds = Bounds {
        connect: bounded(asked.connect_timeout),
        first_byte: bounded(asked.first_byte_timeout),
        between_bytes: bounded(asked.between_bytes_timeout),
    };
    let authority = request.uri().authority().cloned();
    let response =
        connect::send(request, &env.networking, &config.id, bounds).await.inspect_err(|error| {
            if matches!(error, Error::DestinationIpProhibited) {
                let authority = authority.as_ref().map_or("", |authority| authority.as_str());
                let message = format!("a request to {authority} was denied: it leads into a blocked network");
                env.log.warn(Some(&config.id), &message);
            }
        })?;
    let done: Io = Box::new(std::future::ready(Ok(())));
    Ok((response.map(|body| Held::new(body, permit).boxed_unsync()), done))
}
