//! Promise: requests reach the component that Spin's route rules name, with Spin's headers after the caller's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod common;

use common::{Setup, manifest};

const TRIGGERS: &str = r#"
[[trigger.http]]
route = "/"
component = "probe"
[[trigger.http]]
route = "/users/:user_id/headers"
component = "probe"
[[trigger.http]]
route = "/files/..."
component = "probe"
[[trigger.http]]
route = "/files/exact/headers"
component = "probe"
[[trigger.http]]
route = "/robots.txt"
static_response = { status_code = 410, headers = { x-kind = "static" }, body = "gone" }
"#;

#[test]
fn each_path_finds_its_route_and_brings_its_headers() {
    let host = Setup::new(manifest(TRIGGERS, "")).start();
    for (path, route, prefix, info) in [
        ("/users/42/headers", "/users/:user_id/headers", "/users/:user_id/headers", ""),
        ("/files/a/headers", "/files/...", "/files", "/a/headers"),
        ("/files/exact/headers", "/files/exact/headers", "/files/exact/headers", ""),
    ] {
        let text = host.ok(&format!("{path}?q=1"));
        let all = |name: &str| {
            let start = format!("{name}: ");
            text.lines().filter_map(|line| line.strip_prefix(&start)).map(str::to_owned).collect::<Vec<_>>()
        };
        let url = format!("http://{}{path}?q=1", host.addr);
        assert_eq!(text.lines().next().unwrap(), format!("GET {url}"));
        assert_eq!(all("spin-full-url"), [url]);
        assert_eq!(all("spin-matched-route"), [route]);
        assert_eq!(all("spin-raw-component-route"), [route]);
        assert_eq!(all("spin-component-route"), [prefix]);
        assert_eq!(all("spin-path-info"), [info]);
        assert_eq!(all("spin-base-path"), ["/"]);
        assert!(all("spin-client-addr")[0].starts_with("127.0.0.1:"));
        let id = if route.contains(":user_id") { vec!["42".to_owned()] } else { vec![] };
        assert_eq!(all("spin-path-match-user-id"), id);
    }
    for path in ["/other", "/users/42", "/file", "/.well-known/spin/other"] {
        assert_eq!(host.get(path).status, 404, "{path}");
    }
    let fixed = host.get("/robots.txt");
    assert_eq!((fixed.status, fixed.header("x-kind"), fixed.body.as_str()), (410, Some("static"), "gone"));
    assert_eq!(host.ok("/.well-known/spin/health"), "OK");
}

#[test]
fn what_a_caller_forges_comes_before_what_the_host_says() {
    let host = Setup::plain().start();
    let forged = "spin-client-addr: 6.6.6.6:6\r\nspin-path-info: /forged\r\nconnection: keep-alive\r\n";
    let text = host.request("GET", "/a/headers", forged, b"").body;
    let of = |name: &str| {
        text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect::<Vec<_>>()
    };
    let addresses = of("spin-client-addr: ");
    assert_eq!(addresses.len(), 2, "{text}");
    assert_eq!(addresses[0], "spin-client-addr: 6.6.6.6:6");
    assert!(addresses[1].starts_with("spin-client-addr: 127.0.0.1:"));
    assert_eq!(of("spin-path-info: "), ["spin-path-info: /forged", "spin-path-info: /a/headers"]);
    assert_eq!(of("connection"), Vec::<String>::new());
}

#[test]
fn requests_without_one_clear_authority_or_with_bytes_that_are_no_text_are_refused() {
    let host = Setup::plain().start();
    for (head, status) in [
        ("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n".as_bytes(), 200),
        (b"GET /hello HTTP/1.1\r\n\r\n", 400),
        (b"GET http://a/hello HTTP/1.1\r\nhost: b\r\n\r\n", 400),
        (b"GET http://a/hello HTTP/1.1\r\nhost: a\r\n\r\n", 200),
        (b"GET /hello HTTP/1.1\r\nhost: a\r\nx: \xff\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nhost: probe.spin.internal\r\n\r\n", 400),
        (b"GET /hello HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n", 200),
    ] {
        let mut wire = host.connect();
        wire.send(head);
        assert_eq!(wire.reply().unwrap().status, status, "{}", String::from_utf8_lossy(head));
    }
}
