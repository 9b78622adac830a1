//! A component that does on request whatever a test of the host wants to see done: the last part of the path
//! names the deed, the query its arguments. It misbehaves on purpose and belongs in no application.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::SinkExt as _;
use spin_sdk::http::body::{IncomingBodyExt as _, stream};
use spin_sdk::http::{BoxBody, Error, FullBody, Request, StatusCode, box_body};
use spin_sdk::key_value::Store;
use spin_sdk::{http_service, variables, wasip3};

use self::extras::wasi::keyvalue::{atomics, batch, store as bucket};

mod extras {
    #![allow(missing_docs, unsafe_code, clippy::all, reason = "generated from wit/")]
    spin_sdk::wit_bindgen::generate!({
        path: "wit",
        world: "extras",
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        generate_all,
    });

    pub(crate) struct Cron;
    export!(Cron);

    impl Guest for Cron {
        async fn handle_cron_event(metadata: Metadata) -> Result<(), Error> {
            super::tick(metadata.timestamp).await.map_err(Error::Other)
        }
    }
}

static REQUESTS: AtomicU32 = AtomicU32::new(0);

type Response = (StatusCode, spin_sdk::http::HeaderMap, BoxBody);

#[http_service]
async fn handle(request: Request) -> Result<Response, Error> {
    let uri = request.uri().clone();
    let deed = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    let query = Query::parse(uri.query().unwrap_or_default());
    match deed.as_str() {
        "stream" => return Ok((StatusCode::OK, Default::default(), streamed(&query))),
        "empty" => {
            return Ok((StatusCode::NO_CONTENT, Default::default(), box_body(FullBody::new(Bytes::new()))));
        }
        "refuse" => return Err(Error::other("guest text that nobody should see")),
        _ => {}
    }
    Ok(match act(&deed, &query, request).await {
        Ok(text) => (StatusCode::OK, Default::default(), box_body(FullBody::new(Bytes::from(text)))),
        Err(text) => {
            (StatusCode::UNPROCESSABLE_ENTITY, Default::default(), box_body(FullBody::new(Bytes::from(text))))
        }
    })
}

async fn act(deed: &str, query: &Query, request: Request) -> Result<String, String> {
    match deed {
        "hello" => Ok("hello".into()),
        "headers" => {
            let mut text = format!("{} {}\n", request.method(), request.uri());
            for (name, value) in request.headers() {
                text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
            }
            Ok(text)
        }
        "count" => Ok((REQUESTS.fetch_add(1, Ordering::Relaxed) + 1).to_string()),
        "trap" => trap(),
        "busy" => loop {
            std::hint::black_box(REQUESTS.load(Ordering::Relaxed));
        },
        "allocate" => {
            let bytes = query.number("mib") << 20;
            let mut block = vec![1_u8; usize::try_from(bytes).map_err(text)?];
            block.iter_mut().step_by(4096).for_each(|byte| *byte = 2);
            Ok(std::hint::black_box(block).len().to_string())
        }
        "body" => {
            let body = request.into_body().bytes().await.map_err(debug)?;
            Ok(body.len().to_string())
        }
        "sleep" => {
            spin_sdk::time::sleep(Duration::from_millis(query.number("ms"))).await;
            Ok("slept".into())
        }
        "spawn" => {
            let (delay, key) = (Duration::from_millis(query.number("ms")), query.text("key"));
            let store = open(query).await?;
            wasip3::spawn(async move {
                spin_sdk::time::sleep(delay).await;
                // Nobody is left to be told.
                let _ = store.set(&key, b"spawned").await;
            });
            Ok("spawned".into())
        }
        "print" => {
            println!("{}", query.text("text"));
            Ok(String::new())
        }
        "variable" => variables::get(query.text("name")).await.map_err(debug),
        "environment" => std::env::var(query.text("name")).map_err(text),
        "fetch" => fetch(&query.text("url")).await,
        "again" => fetch("http://self.alt/again").await,
        "clock" => {
            let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(text)?;
            let mono = wasip3::clocks::monotonic_clock::now();
            let std_mono = Instant::now();
            std::hint::black_box(std_mono);
            Ok(format!("{} {}", wall.as_millis(), mono / 1_000_000))
        }
        "random" => Ok(hex(&wasip3::random::random::get_random_bytes(16))),
        "reads" => {
            let store = open(query).await?;
            let keys: Vec<String> = (0..query.number("n")).map(|n| format!("k{n}")).collect();
            let found = futures::future::join_all(keys.iter().map(|key| store.get(key))).await;
            let found: Result<Vec<_>, _> = found.into_iter().collect();
            Ok(found.map_err(debug)?.iter().flatten().count().to_string())
        }
        "get" => shown(open(query).await?.get(query.text("key")).await.map_err(debug)?),
        "set" => done(open(query).await?.set(query.text("key"), query.text("value")).await),
        "delete" => done(open(query).await?.delete(query.text("key")).await),
        "exists" => {
            open(query).await?.exists(query.text("key")).await.map(|there| there.to_string()).map_err(debug)
        }
        "keys" => {
            let mut keys = open(query).await?.get_keys().await.collect().await.map_err(debug)?;
            keys.sort();
            Ok(keys.join(","))
        }
        other => in_bucket(other, query),
    }
}

fn in_bucket(deed: &str, query: &Query) -> Result<String, String> {
    let open = bucket::open(&query.store()).map_err(debug)?;
    let keys = || query.text("keys").split(',').map(str::to_owned).collect::<Vec<_>>();
    match deed {
        "b-get" => shown(open.get(&query.text("key")).map_err(debug)?),
        "b-set" => done(open.set(&query.text("key"), query.text("value").as_bytes())),
        "b-delete" => done(open.delete(&query.text("key"))),
        "b-exists" => open.exists(&query.text("key")).map(|there| there.to_string()).map_err(debug),
        "b-keys" => {
            let mut keys = open.list_keys(None).map_err(debug)?.keys;
            keys.sort();
            Ok(keys.join(","))
        }
        "increment" => {
            let delta = query.text("delta").parse().unwrap_or(1);
            atomics::increment(&open, &query.text("key"), delta).map(|sum| sum.to_string()).map_err(debug)
        }
        "get-many" => {
            let found = batch::get_many(&open, &keys()).map_err(debug)?;
            let pairs = found.into_iter().map(|(key, value)| Ok(format!("{key}={}", shown(value)?)));
            Ok(pairs.collect::<Result<Vec<_>, String>>()?.join(","))
        }
        "set-many" => {
            let value = query.text("value");
            let pairs: Vec<_> = keys().into_iter().map(|key| (key, value.clone().into_bytes())).collect();
            done(batch::set_many(&open, &pairs))
        }
        "delete-many" => done(batch::delete_many(&open, &keys())),
        "swap" => {
            let key = query.text("key");
            let cas = atomics::Cas::new(&open, &key).map_err(debug)?;
            cas.current().map_err(debug)?;
            if query.has("meddle") {
                open.set(&key, b"meddled").map_err(debug)?;
            }
            match atomics::swap(cas, query.text("value").as_bytes()) {
                Ok(()) => Ok("swapped".into()),
                Err(atomics::CasError::CasFailed(_)) => Ok("refused".into()),
                Err(atomics::CasError::StoreError(error)) => Err(debug(error)),
            }
        }
        other => Err(format!("the probe does not know `{other}`")),
    }
}

async fn fetch(url: &str) -> Result<String, String> {
    let response = spin_sdk::http::get(url).await.map_err(debug)?;
    let status = response.status().as_u16();
    let body = response.into_body().bytes().await.map_err(debug)?;
    Ok(format!("{status} {}", String::from_utf8_lossy(&body)))
}

fn streamed(query: &Query) -> BoxBody {
    let (chunks, gap) = (query.number("chunks"), Duration::from_millis(query.number("gap_ms")));
    let (mut tx, body) = stream::<Bytes>();
    wasip3::spawn(async move {
        for n in 0..chunks {
            if tx.send(format!("{n}\n").into()).await.is_err() {
                return;
            }
            spin_sdk::time::sleep(gap).await;
        }
    });
    box_body(body)
}

async fn tick(timestamp: u64) -> Result<(), String> {
    let store = Store::open("default").await.map_err(debug)?;
    if store.exists("cron.fail").await.map_err(debug)? {
        return Err("guest text that nobody should see".into());
    }
    store.set("cron.last", timestamp.to_string()).await.map_err(debug)?;
    let open = bucket::open("default").map_err(debug)?;
    atomics::increment(&open, "cron.ticks", 1).map_err(debug)?;
    // A fresh instance per tick counts to one.
    let instance_ticks = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
    store.set("cron.instance-ticks", instance_ticks.to_string()).await.map_err(debug)
}

#[allow(clippy::panic, reason = "the probe's deed is to trap")]
fn trap() -> ! {
    panic!("guest text that nobody should see")
}

async fn open(query: &Query) -> Result<Store, String> {
    Store::open(query.store()).await.map_err(debug)
}

fn shown(value: Option<Vec<u8>>) -> Result<String, String> {
    Ok(value.map_or("-".into(), |value| {
        String::from_utf8(value).unwrap_or_else(|e| format!("0x{}", hex(e.as_bytes())))
    }))
}

fn done<E: std::fmt::Debug>(outcome: Result<(), E>) -> Result<String, String> {
    outcome.map(|()| "ok".into()).map_err(debug)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(error: impl Display) -> String {
    error.to_string()
}

fn debug(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

struct Query(HashMap<String, String>);

impl Query {
    fn parse(query: &str) -> Self {
        Self(
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(k, v)| (k.to_owned(), decode(v)))
                .collect(),
        )
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn text(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_default()
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    fn store(&self) -> String {
        self.0.get("store").cloned().unwrap_or_else(|| "default".into())
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| {
            byte.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok())
        };
        match byte {
            b'%' => bytes.push(digit(rest.next()).unwrap_or(0) * 16 + digit(rest.next()).unwrap_or(0)),
            b'+' => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
