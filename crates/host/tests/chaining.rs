//! Promise: components reach each other by `http://ID.spin.internal` and the world only where they are allowed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod common;

use std::io::{Read as _, Write as _};

use common::{Setup, manifest, probe};

fn chain_manifest(allowed: &str) -> String {
    let hidden = format!(
        r#"
[variables]
elsewhere = {{ default = "" }}
[[trigger.http]]
route = "/..."
component = "probe"
[[trigger.http]]
route = {{ private = true }}
component = "hidden"
[component.hidden]
source = "{}"
"#,
        probe().display()
    );
    manifest(&hidden, &format!("allowed_outbound_hosts = [{allowed}]"))
}

#[test]
fn a_private_component_is_reached_by_its_name_alone() {
    let host = Setup::new(chain_manifest("\"http://hidden.spin.internal\"")).start();
    let seen = host.ok("/fetch?url=http://hidden.spin.internal/a/headers?x=1");
    assert!(seen.starts_with("200 GET http://hidden.spin.internal/a/headers?x=1"), "{seen}");
    assert!(
        seen.contains("spin-client-addr: 0.0.0.0:0\n") && seen.contains("spin-path-info: /a/headers\n"),
        "{seen}"
    );
    let outside = host.request("GET", "/hello", "", b"");
    assert_eq!(outside.body, "hello", "the public component answers for every path");
    assert_eq!(host.ok("/fetch?url=http://hidden.spin.internal/trap"), "500 ", "a trap there is a 500 here");
}

#[test]
fn whatever_is_not_listed_is_denied() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\noutside");
        }
    });
    let outside = format!("/fetch?url=http://127.0.0.1:{port}/");
    for (allowed, path, expected) in [
        (String::new(), outside.clone(), "HttpRequestDenied"),
        ("\"{{ elsewhere }}\"".into(), outside.clone(), "HttpRequestDenied"),
        (format!("\"http://127.0.0.1:{}\"", port ^ 1), outside.clone(), "HttpRequestDenied"),
        (format!("\"http://127.0.0.1:{port}\""), outside.clone(), "200 outside"),
        (format!("\"http://127.0.0.1:{port}..{}\"", port + 1), outside.clone(), "200 outside"),
        ("\"http://127.0.0.0/8:*\"".into(), outside.clone(), "200 outside"),
        (String::new(), "/fetch?url=http://hidden.spin.internal/hello".into(), "HttpRequestDenied"),
        (
            "\"http://*.spin.internal\"".into(),
            "/fetch?url=http://hidden.spin.internal/hello".into(),
            "200 hello",
        ),
        (
            "\"http://*.spin.internal\"".into(),
            "/fetch?url=http://nobody.spin.internal/hello".into(),
            "DestinationNotFound",
        ),
        (String::new(), "/fetch?url=http://self.alt/hello".into(), "HttpRequestDenied"),
        ("\"http://self\"".into(), "/fetch?url=http://self.alt/hello".into(), "200 hello"),
    ] {
        let host = Setup::new(chain_manifest(&allowed)).start();
        let reply = host.get(&path);
        assert!(reply.body.contains(expected), "{allowed} {path}: {}", reply.body);
    }
}

#[test]
fn a_chain_of_calls_works_and_one_without_end_meets_a_bound() {
    let host = Setup::new(chain_manifest("\"http://*.spin.internal\", \"http://self\""))
        .args("--request-time-max-ms 8000")
        .start();
    let mut url = "http://self.alt/hello".to_owned();
    for _ in 0..5 {
        url = format!(
            "http://self.alt/fetch?url={}",
            url.replace('%', "%25").replace('?', "%3f").replace('=', "%3d")
        );
    }
    let reply =
        host.get(&format!("/fetch?url={}", url.replace('%', "%25").replace('?', "%3f").replace('=', "%3d")));
    assert!(reply.body.ends_with("hello"), "{}", reply.body);
    let endless = host.get("/again");
    assert!(endless.body.ends_with("ConnectionLimitReached"), "{}", endless.body);
    assert_eq!(host.ok("/hello"), "hello");
}
