//! Promise: HTTP/2 and HTTP/1.1, in the clear and under TLS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::Setup;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

type Body = Empty<bytes::Bytes>;

/// Two requests over one HTTP/2 connection; the version and body of the second.
async fn over_h2(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    url: String,
) -> (http::Version, String) {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Body>(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let ask = || http::Request::get(&url).body(Body::new()).unwrap();
    let first = sender.send_request(ask()).await.unwrap();
    assert_eq!(first.status(), 200);
    let second = sender.send_request(ask()).await.unwrap();
    let version = second.version();
    (version, String::from_utf8(second.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

fn certificate(dir: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    format!("--tls-cert {0}/cert.pem --tls-key {0}/key.pem", dir.display())
}

async fn dial(
    addr: std::net::SocketAddr,
    dir: &Path,
    alpn: &[&str],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("cert.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn h2_in_the_clear_by_prior_knowledge() {
    let host = Setup::plain().start();
    let url = format!("http://{}/headers", host.addr);
    let (version, text) = over_h2(TcpStream::connect(host.addr).await.unwrap(), url.clone()).await;
    assert_eq!(version, http::Version::HTTP_2);
    assert!(
        text.starts_with(&format!("GET {url}\n")) && text.contains(&format!("spin-full-url: {url}\n")),
        "{text}"
    );
}

#[tokio::test]
async fn both_versions_under_tls_by_alpn() {
    let dir = tempfile::tempdir().unwrap();
    let host = Setup::plain().args(&certificate(dir.path())).start();
    let stream = dial(host.addr, dir.path(), &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (_, text) = over_h2(stream, "https://localhost/headers".into()).await;
    assert!(text.contains("spin-full-url: https://localhost/headers\n"), "{text}");

    let stream = dial(host.addr, dir.path(), &["http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let ask = http::Request::get("/hello").header("host", "localhost").body(Body::new()).unwrap();
    assert_eq!(sender.send_request(ask).await.unwrap().status(), 200);

    // One that only connects holds nobody up.
    let _silent = TcpStream::connect(host.addr).await.unwrap();
    let stream = dial(host.addr, dir.path(), &["h2"]).await;
    over_h2(stream, "https://localhost/hello".into()).await;
}

#[test]
fn files_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let args = certificate(dir.path());
    std::fs::write(dir.path().join("key.pem"), "rubbish").unwrap();
    let (code, said) = Setup::plain().args(&args).fails();
    assert!(code == 1 && said.contains("key.pem") && said.contains("no private key"), "{said}");
    let (code, said) = Setup::plain().args("--tls-cert /nowhere.pem --tls-key /nowhere.pem").fails();
    assert!(code == 1 && said.contains("/nowhere.pem"), "{said}");
}
