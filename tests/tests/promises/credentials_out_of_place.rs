//! A credential stands in one header, once. In the URL it is refused and leaves no trace; hostile bytes are refused within bounds.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::Duration;

use keyward_e2e::admin::authorize;
use keyward_e2e::{Connection, Keyward, Request};

#[test]
fn a_token_in_the_url_is_refused_and_never_logged() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let issued = keyward.issue(&application, &["orders:read"]);
    let holder = keyward.holder(&application, &["orders:read"]);
    let escaped: String = holder.token.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let once_escaped = holder.token.replacen('w', "%77", 1);
    for secret in [&holder.token, &issued.ticket, &escaped, &once_escaped] {
        for target in [
            format!("/v1/authorize?key={secret}"),
            format!("/v1/authorize?scope=orders:read&a=b&{secret}"),
            format!("/v1/authorize/{secret}"),
            format!("/v1/keys?application={application}&token={secret}"),
            format!("/v1/applications?{secret}=1"),
            format!("/v1/audit/events?key={secret}"),
            format!("/v1/claims/{secret}"),
        ] {
            let reply = keyward.as_root(Request::get(&target));
            let expected = if target.starts_with("/v1/claims/") { 404 } else { 400 };
            assert!(matches!(reply.status, 400) || reply.status == expected, "{target}: {}", reply.status);
            let shown = format!("{:?} {}", reply.fields, reply.text());
            assert!(!shown.contains(&holder.token) && !shown.contains(&issued.ticket), "{target}: {shown}");
        }
        keyward.send(Request::get(&format!("/v1/authorize?key={secret}"))).expect(400);
    }
    let left = format!("{}{:?}", keyward.log(), keyward.events(""));
    for secret in [&holder.token, &issued.ticket, &escaped] {
        assert!(!left.contains(secret.as_str()), "a secret was logged");
    }
    assert_eq!(keyward.authorizes(&holder.token), 204);
}

#[test]
fn hostile_credentials_are_refused_within_bounds() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let token = keyward.holder(&application, &["orders:read"]).token;
    let at = |name: &str, value: &[u8]| Request::get("/v1/authorize").field(name, value);
    let bearer = |value: &str| format!("Bearer {value}");
    let cases: Vec<(&str, Request)> = vec![
        ("NUL", at("authorization", format!("Bearer {token}\0").as_bytes())),
        ("NUL inside", at("authorization", b"Bearer kw_live_\0\0\0")),
        ("Unicode", at("authorization", bearer("kw_live_\u{fc}\u{1f511}").as_bytes())),
        ("look-alike letters", at("authorization", bearer(&token.replace('w', "\u{2c9f}")).as_bytes())),
        ("no UTF-8", at("authorization", b"Bearer kw_live_\xff\xfe")),
        ("ESC", at("authorization", b"Bearer \x1b[31m")),
        ("a mebibyte", at("authorization", bearer(&"x".repeat(1 << 20)).as_bytes())),
        ("a mebibyte as API key", at("x-api-key", &vec![b'9'; 1 << 20])),
        ("60 KiB", at("authorization", bearer(&"x".repeat(60 << 10)).as_bytes())),
        ("doubled", authorize(&token, "").bearer(&token)),
        ("doubled with another scheme", authorize(&token, "").field("authorization", "Basic a2V5")),
        ("two headers", authorize(&token, "").field("x-api-key", &token)),
        ("a list", at("authorization", format!("{}, {}", bearer(&token), bearer(&token)).as_bytes())),
        ("another scheme", at("authorization", format!("Basic {token}").as_bytes())),
        ("no scheme", at("authorization", token.as_bytes())),
        ("nothing after the scheme", at("authorization", b"Bearer ")),
        ("padding", at("authorization", bearer(&format!("{token}=")).as_bytes())),
    ];
    for (name, request) in &cases {
        // A head beyond the host's bound may be answered before it was read to its end; then there may be no answer to read.
        let reply = keyward.connect().try_exchange(request).unwrap_or_default();
        let bounded = matches!(reply.status, 400 | 401 | 413 | 431);
        let cut = reply.status == 0 && name.starts_with("a mebibyte");
        assert!(bounded || cut, "{name}: {}", reply.status);
        assert!(reply.body.len() < 4096, "{name}");
    }
    assert_eq!(keyward.authorizes(&token), 204, "and it still answers");
    // Padding around a token is what HTTP allows, and no fault.
    keyward.send(at("authorization", format!("Bearer   {token} ").as_bytes())).expect(204);
    let log = keyward.log();
    assert!(!log.contains(&token) && !log.contains('\u{1b}') && !log.contains("trap"), "{log}");
}

#[test]
fn a_mebibyte_of_body_is_refused_early() {
    let keyward = Keyward::start();
    for target in ["/v1/claims", "/v1/revocations", "/v1/keys", "/v1/keys/verify"] {
        let body = format!("{{\"ticket\":\"{}\"}}", "x".repeat(1 << 20));
        let request = Request::new("POST", target).field("content-type", "application/json").body(body);
        let reply = Connection::open(keyward.address())
            .try_exchange(&request.bearer(keyward.root()))
            .expect("an answer before the end of the body");
        assert_eq!(reply.status, 413, "{target}");
        assert_eq!(reply.json()["code"], "body-too-large", "{target}");
    }
    // An endless head is cut off.
    let mut stream = TcpStream::connect(keyward.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let line = format!("x: {}\r\n", "y".repeat(8000));
    let _ = std::io::Write::write_all(&mut stream, b"GET /healthz HTTP/1.1\r\nhost: a\r\n");
    for _ in 0..64 {
        if std::io::Write::write_all(&mut stream, line.as_bytes()).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let status = String::from_utf8_lossy(&answer).split_whitespace().nth(1).map(str::to_owned);
    assert!(status.is_none_or(|status| status.starts_with('4')), "{:?}", String::from_utf8_lossy(&answer));
    keyward.send(Request::get("/healthz")).expect(200);
}
