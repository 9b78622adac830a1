//! A server that answers one case's calls from its data, in order, and notes every call that is not the expected one. It signs as
//! Keyward does, or wrongly where the case says so.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keyward_crypto::digest::content_digest;
use keyward_crypto::sign::{ResponseToSign, SigningKeys};
use serde::Deserialize;

use crate::case::Words;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The request's line without the HTTP version.
    to: String,
    /// Headers that it must have; `*` takes any value, `` none at all.
    #[serde(default)]
    with: BTreeMap<String, String>,
    /// The body that it must have.
    #[serde(default)]
    sent: String,
    /// Whether it must be the call before once more, Idempotency-Key and body included.
    #[serde(default)]
    again: bool,
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    lost: bool,
    sign: Option<Sign>,
}

fn ok() -> u16 {
    200
}

/// How an answer is signed.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Sign {
    Right,
    OtherKey,
    OtherBody,
    OtherPath,
    Expired,
}

/// What Keyward signs with in these tests.
pub fn signing_keys() -> SigningKeys {
    ring(7)
}

fn ring(fill: u8) -> SigningKeys {
    let document = keyward_crypto::RingDocument::generate([fill; 32], "2026-01-31T08:00:00Z").unwrap();
    SigningKeys::parse("signing_keys", document.to_json().expose()).unwrap()
}

pub struct Stub {
    listener: TcpListener,
    url: String,
}

pub struct Served {
    pub output: Output,
    pub faults: Vec<String>,
}

#[derive(PartialEq, Eq)]
struct Request {
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Stub {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        Self { listener, url }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers while `client` runs.
    pub fn serve(&self, answers: &[Answer], words: &Words, client: impl FnOnce() -> Output + Send) -> Served {
        std::thread::scope(|scope| {
            let client = scope.spawn(client);
            let (mut faults, mut answers) = (Vec::new(), answers.iter());
            let mut before = None;
            let started = Instant::now();
            // Accepts while the command runs, and once more for what it sent last.
            while !client.is_finished() {
                assert!(started.elapsed() < Duration::from_secs(60), "the command hangs");
                match self.listener.accept() {
                    Ok((stream, _)) => before = connection(stream, &mut answers, words, before, &mut faults),
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
            faults.extend(answers.map(|answer| format!("was never asked `{}`", answer.to)));
            Served { output: client.join().unwrap(), faults }
        })
    }
}

/// Answers on one connection until the other side closes it; gives the last request.
fn connection<'a>(
    stream: TcpStream,
    answers: &mut impl Iterator<Item = &'a Answer>,
    words: &Words,
    mut before: Option<Request>,
    faults: &mut Vec<String>,
) -> Option<Request> {
    stream.set_nonblocking(false).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(request) = read(&mut reader) {
        let Some(answer) = answers.next() else {
            faults.push(format!("was asked `{}` too much", request.line));
            return Some(request);
        };
        check(answer, &request, before.as_ref(), words, faults);
        if answer.lost {
            return Some(request);
        }
        stream.write_all(&render(answer, &request, words)).unwrap();
        before = Some(request);
    }
    before
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let line = line.trim_end().strip_suffix(" HTTP/1.1").unwrap().to_owned();
    Some(Request { line, headers, body: String::from_utf8(body).unwrap() })
}

fn check(
    answer: &Answer,
    request: &Request,
    before: Option<&Request>,
    words: &Words,
    faults: &mut Vec<String>,
) {
    let mut compare = |what: &str, seen: &str, expected: &str| {
        if seen != expected {
            faults.push(format!("the {what} of `{}` was `{seen}`, expected `{expected}`", answer.to));
        }
    };
    compare("line", &request.line, &words.fill(&answer.to));
    compare("body", &request.body, &words.fill(&answer.sent));
    if answer.again {
        compare("repetition", if before == Some(request) { "as before" } else { "another" }, "as before");
    }
    for (name, expected) in &answer.with {
        let seen = request.headers.get(name).map_or("", String::as_str);
        let expected = words.fill(expected);
        match expected.as_str() {
            "*" if !seen.is_empty() => (),
            "{body digest}" => compare(name, seen, &content_digest(request.body.as_bytes())),
            expected => compare(name, seen, expected),
        }
    }
}

fn render(answer: &Answer, request: &Request, words: &Words) -> Vec<u8> {
    let body = words.fill(&answer.body);
    let mut headers = BTreeMap::from([
        ("content-type".to_owned(), "application/json".to_owned()),
        ("content-length".to_owned(), body.len().to_string()),
        ("keyward-request-id".to_owned(), "req_0000000000000000000009".to_owned()),
    ]);
    if answer.status >= 400 {
        headers.insert("content-type".to_owned(), "application/problem+json".to_owned());
    }
    if let Some(sign) = answer.sign {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let (created, expires) =
            if sign == Sign::Expired { (now - 600, now - 300) } else { (now, now + 300) };
        let (method, target) = request.line.split_once(' ').unwrap();
        let path = target.split(['?', ' ']).next().unwrap();
        let digest = content_digest(body.as_bytes());
        let signed = if sign == Sign::OtherKey { ring(8) } else { signing_keys() }
            .sign_response(&ResponseToSign {
                method,
                path: if sign == Sign::OtherPath { "/v1/other" } else { path },
                request_content_digest: request.headers.get("content-digest").map(String::as_str),
                status: answer.status,
                content_digest: if sign == Sign::OtherBody { "sha-256=:AA==:" } else { &digest },
                created,
                expires,
            })
            .unwrap();
        headers.insert("content-digest".to_owned(), digest);
        headers.insert("signature-input".to_owned(), signed.signature_input);
        headers.insert("signature".to_owned(), signed.signature);
    }
    headers.extend(answer.headers.iter().map(|(name, value)| (name.clone(), words.fill(value))));
    let mut head = format!("HTTP/1.1 {} Recorded\r\n", answer.status);
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{head}\r\n{body}").into_bytes()
}
