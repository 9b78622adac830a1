//! Promise: where the environment names a collector, each request is a trace there, below the caller's own, and nothing that the caller wrote
//! into the URL is in it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use common::{Setup, manifest};

const TRIGGERS: &str = "[[trigger.http]]\nroute = \"/users/:id/headers\"\ncomponent = \"probe\"";
/// Of the caller (W3C Trace Context, section 3.2).
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const EXPORTED_WITHIN: Duration = Duration::from_secs(10);

/// A collector: what it was sent, head and body.
fn collector() -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let answer =
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
            reader.into_inner().write_all(answer).unwrap();
            if sender.send((head, body)).is_err() {
                return;
            }
        }
    });
    (endpoint, receiver)
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_request_is_a_trace_below_the_callers_own() {
    let (endpoint, sent) = collector();
    let host = Setup::new(manifest(TRIGGERS, ""))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .start();
    let fields = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n");
    assert_eq!(
        host.request("GET", "/users/kw_live_secret/headers?token=kw_live_secret", &fields, b"").status,
        200
    );
    let (head, body) = sent.recv_timeout(EXPORTED_WITHIN).expect("a trace");
    assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/x-protobuf"), "{head}");
    let holds = |wanted: &[u8]| body.windows(wanted.len()).any(|window| window == wanted);
    for wanted in
        ["GET /users/:id/headers", "execute_wasm_component probe", "http.response.status_code", "test"]
    {
        assert!(holds(wanted.as_bytes()), "{wanted}");
    }
    assert!(holds(&hex(TRACE)) && holds(&hex(PARENT)), "the caller's trace, and its span as the parent");
    assert!(!holds(b"kw_live_secret"), "nothing of the URL");
}

#[test]
fn what_does_not_fit_is_told_at_the_start() {
    let (endpoint, _) = collector();
    let refused = |name: &str, value: &str| {
        Setup::new(manifest(TRIGGERS, ""))
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
            .env(name, value)
            .fails()
            .1
    };
    let error = refused("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    assert!(error.contains("`OTEL_EXPORTER_OTLP_PROTOCOL`: is not `http/protobuf`"), "{error}");
    let error = refused("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "no url");
    assert!(error.contains("`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`: is not the URL of a collector"), "{error}");
}

#[test]
fn a_collector_that_is_gone_holds_nobody_up() {
    let host = Setup::new(manifest(TRIGGERS, ""))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .start();
    for _ in 0..50 {
        assert_eq!(host.get("/users/1/headers").status, 200);
    }
}
