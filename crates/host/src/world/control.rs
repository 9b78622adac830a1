//! The control interface of the test world: JSON over HTTP/1.1, for tests in another process. Whoever reaches
//! it rules the host, so it exists only where it was asked for.
//!
//! | request | does |
//! |---|---|
//! | `GET /clock` | `{"mode","unix_ms","mono_ms"}` |
//! | `POST /clock/advance {"ms"}` | moves both clocks on |
//! | `POST /clock/set-wall {"unix_ms"}` | sets the wall clock, back if need be |
//! | `POST /faults [rule, ...]`, `GET /faults`, `DELETE /faults` | adds to, shows, withdraws the plan |
//! | `GET /calls?trace=1`, `POST /calls/reset` | counts of store calls, on demand the latest one by one |
//! | `POST /cron/tick {"component"?}` | runs one tick of each matching trigger to its end |
//! | `GET /kv/LABEL/keys?prefix=` | keys, past the plan and the counts |
//! | `GET`, `PUT`, `DELETE /kv/LABEL/entries/KEY` | one value's raw bytes, likewise |

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::World;
use super::faults::Rule;
use crate::app::App;
use crate::cron::Tick;
use crate::store::StoreError;

/// Bytes of one control request's body.
const BODY_BYTES_MAX: usize = 32 << 20;
/// The component that raw access names; it is counted nowhere.
const CONTROL: &str = "control";

pub(crate) async fn serve(
    listener: TcpListener,
    app: Arc<App>,
    world: Arc<World>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        let (app, world) = (app.clone(), world.clone());
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let (app, world) = (app.clone(), world.clone());
                async move { Ok::<_, Infallible>(answer(&app, &world, request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

enum Refusal {
    NotFound,
    Bad(String),
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

enum Answer {
    Json(Value),
    Raw(Vec<u8>),
}

async fn answer(app: &App, world: &World, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await.map(|body| body.to_bytes()) else {
        return respond(StatusCode::BAD_REQUEST, &json!({ "error": "the body could not be read" }));
    };
    let path: Vec<String> = parts.uri.path().split('/').skip(1).map(decode).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let query = parts.uri.query().unwrap_or_default();
    match act(app, world, &parts.method, &path, query, body).await {
        Ok(Answer::Json(value)) => respond(StatusCode::OK, &value),
        Ok(Answer::Raw(bytes)) => Response::new(Full::new(bytes.into())),
        Err(Refusal::NotFound) => {
            respond(StatusCode::NOT_FOUND, &json!({ "error": "there is nothing here" }))
        }
        Err(Refusal::Bad(reason)) => respond(StatusCode::BAD_REQUEST, &json!({ "error": reason })),
        Err(Refusal::Store(error)) => respond(StatusCode::BAD_GATEWAY, &json!({ "error": error.0 })),
    }
}

async fn act(
    app: &App,
    world: &World,
    method: &Method,
    path: &[&str],
    query: &str,
    body: Bytes,
) -> Result<Answer, Refusal> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Advance {
        ms: u64,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct SetWall {
        unix_ms: u64,
    }
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct TickOf {
        component: Option<String>,
    }
    let done = || Ok(Answer::Json(json!({ "ok": true })));
    let moved = |moved: bool| {
        if moved {
            clock(world)
        } else {
            Err(Refusal::Bad("the clock is the machine's; start with --virtual-clock".into()))
        }
    };
    match (method.as_str(), path) {
        ("GET", ["clock"]) => clock(world),
        ("POST", ["clock", "advance"]) => {
            moved(world.clock.advance(Duration::from_millis(parse::<Advance>(&body)?.ms)))
        }
        ("POST", ["clock", "set-wall"]) => moved(world.clock.set_wall(parse::<SetWall>(&body)?.unix_ms)),
        ("POST", ["faults"]) => {
            world.faults.add(parse::<Vec<Rule>>(&body)?);
            done()
        }
        ("GET", ["faults"]) => Ok(Answer::Json(json!(world.faults.rules()))),
        ("DELETE", ["faults"]) => {
            world.faults.clear();
            done()
        }
        ("GET", ["calls"]) => Ok(Answer::Json(world.faults.calls(parameter(query, "trace").is_some()))),
        ("POST", ["calls", "reset"]) => {
            world.faults.reset_calls();
            done()
        }
        ("POST", ["cron", "tick"]) => {
            let of = if body.is_empty() { TickOf::default() } else { parse::<TickOf>(&body)? };
            tick(app, of.component.as_deref()).await
        }
        (_, ["kv", label, rest @ ..]) => {
            let store = app.env.stores.get(label).ok_or(Refusal::NotFound)?.untouched();
            match (method.as_str(), rest) {
                ("GET", ["keys"]) => {
                    let prefix = parameter(query, "prefix").unwrap_or_default();
                    let (mut keys, mut after) = (Vec::new(), None);
                    loop {
                        let (page, cursor) = store.keys(CONTROL, &prefix, after).await?;
                        keys.extend(page);
                        after = cursor;
                        if after.is_none() {
                            break;
                        }
                    }
                    Ok(Answer::Json(json!({ "keys": keys })))
                }
                ("GET", ["entries", key]) => {
                    store.get(CONTROL, key).await?.map(Answer::Raw).ok_or(Refusal::NotFound)
                }
                ("PUT", ["entries", key]) => {
                    store.set(CONTROL, key, &body).await?;
                    done()
                }
                ("DELETE", ["entries", key]) => {
                    store.delete(CONTROL, key).await?;
                    done()
                }
                _ => Err(Refusal::NotFound),
            }
        }
        _ => Err(Refusal::NotFound),
    }
}

fn clock(world: &World) -> Result<Answer, Refusal> {
    let reading = world.clock.read();
    Ok(Answer::Json(json!({ "mode": reading.mode, "unix_ms": reading.unix_ms, "mono_ms": reading.mono_ms })))
}

async fn tick(app: &App, component: Option<&str>) -> Result<Answer, Refusal> {
    let mut ticks = Vec::new();
    for trigger in &app.cron {
        if component.is_none_or(|wanted| wanted == &*trigger.config.id) {
            let ok = trigger.tick(&app.env).await == Tick::Done;
            ticks.push(json!({ "component": &*trigger.config.id, "ok": ok }));
        }
    }
    if ticks.is_empty() { Err(Refusal::NotFound) } else { Ok(Answer::Json(json!({ "ticks": ticks }))) }
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|e| Refusal::Bad(e.to_string()))
}

fn parameter(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| decode(value))
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn respond(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(value.to_string().into()));
    *response.status_mut() = status;
    response
}
