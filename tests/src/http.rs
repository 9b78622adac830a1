//! HTTP/1.1 as bytes over TCP, so that a test decides what goes over the wire. It follows no redirect and repeats nothing.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// Longer than anything that answers at all.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// A request to be sent.
#[derive(Clone)]
pub struct Request {
    method: String,
    target: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// A request without fields or a body. Method and target go out as they are.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), fields: Vec::new(), body: None }
    }

    /// `GET`.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// `POST` of a JSON body.
    pub fn post(target: &str, body: &Value) -> Self {
        Self::new("POST", target).json(body)
    }

    /// `PATCH` of a JSON body.
    pub fn patch(target: &str, body: &Value) -> Self {
        Self::new("PATCH", target).json(body)
    }

    /// The same in another method.
    #[must_use]
    pub fn in_method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    /// One more field, as bytes.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// A bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.field("authorization", format!("Bearer {token}"))
    }

    /// A JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.field("content-type", "application/json").body(body.to_string())
    }

    /// A body of any bytes.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Method and target, for messages.
    pub fn line(&self) -> String {
        format!("{} {:.120}", self.method, self.target)
    }

    /// As it goes over the wire.
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\nhost: {host}\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        let body = self.body.as_deref().unwrap_or_default();
        if self.body.is_some() || !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
            bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        bytes
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Names in lower case, values as they came.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The only value of a field.
    ///
    /// # Panics
    /// Where it stands twice.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let first = values.next();
        assert!(values.next().is_none(), "`{name}` stands twice");
        first
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    /// The text at a JSON pointer.
    ///
    /// # Panics
    /// Where there is none.
    pub fn text_at(&self, pointer: &str) -> String {
        let found = self.json().pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        found.unwrap_or_else(|| panic!("no text at {pointer}: {}", self.text()))
    }

    /// The same answer, asserted to have this status.
    ///
    /// # Panics
    /// Where it has another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.fields, self.text());
        self
    }

    /// What a caller can tell one answer from another by: all but the request's id and the time.
    pub fn essence(&self) -> (u16, Vec<(String, String)>, String) {
        let varies = |name: &str| matches!(name, "keyward-request-id" | "date");
        let fields = self.fields.iter().filter(|(name, _)| !varies(name)).cloned().collect();
        let mut text = self.text();
        if let Some(id) = self.field("keyward-request-id") {
            text = text.replace(id, "req_");
        }
        (self.status, fields, text)
    }
}

/// A connection that is kept.
pub struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    /// Opens one.
    ///
    /// # Panics
    /// Where nobody listens.
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("the address answers")
    }

    /// The same; nothing where nobody listens.
    pub fn try_open(address: SocketAddr) -> Option<Self> {
        Some(Self::over(TcpStream::connect(address).ok()?, address))
    }

    /// Opens one from this address of our own.
    ///
    /// # Panics
    /// Where that is none of ours, or nobody listens.
    pub fn open_from(own: IpAddr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(own, 0).into()).expect("an address of this machine");
        socket.connect(&address.into()).expect("the address answers");
        Self::over(socket.into(), address)
    }

    fn over(stream: TcpStream, address: SocketAddr) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(READ_WITHIN)).unwrap();
        Self { stream: BufReader::new(stream), host: address.to_string() }
    }

    /// Sends bytes. A peer that has answered may have closed: errors are seen in the reply.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Sends a request and takes its answer.
    ///
    /// # Panics
    /// Where the connection ends without one.
    pub fn exchange(&mut self, request: &Request) -> Reply {
        self.try_exchange(request).unwrap_or_else(|| panic!("no answer to {}", request.line()))
    }

    /// The same; nothing where the connection ends before the answer does.
    pub fn try_exchange(&mut self, request: &Request) -> Option<Reply> {
        self.send(&request.bytes(&self.host.clone()));
        self.reply(request.method == "HEAD")
    }

    /// Takes one answer.
    pub fn reply(&mut self, is_to_head: bool) -> Option<Reply> {
        let mut line = Vec::new();
        let mut read_line = |stream: &mut BufReader<TcpStream>| {
            line.clear();
            match stream.read_until(b'\n', &mut line) {
                Ok(1..) => Some(String::from_utf8_lossy(&line).trim_end().to_owned()),
                _ => None,
            }
        };
        let status = read_line(&mut self.stream)?.split_whitespace().nth(1)?.parse().ok()?;
        let mut reply = Reply { status, ..Reply::default() };
        loop {
            let line = read_line(&mut self.stream)?;
            let Some((name, value)) = line.split_once(':') else { break };
            reply.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if is_to_head || matches!(status, 100..=199 | 204 | 304) {
            return Some(reply);
        }
        if reply.field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            loop {
                let bytes = usize::from_str_radix(&read_line(&mut self.stream)?, 16).ok()?;
                let mut chunk = vec![0; bytes + 2];
                self.stream.read_exact(&mut chunk).ok()?;
                reply.body.extend_from_slice(&chunk[..bytes]);
                if bytes == 0 {
                    return Some(reply);
                }
            }
        }
        match reply.field("content-length").map(str::parse::<usize>) {
            Some(bytes) => {
                reply.body = vec![0; bytes.ok()?];
                self.stream.read_exact(&mut reply.body).ok()?;
            }
            None => drop(self.stream.read_to_end(&mut reply.body).ok()?),
        }
        Some(reply)
    }
}
