//! One keep-alive connection of the load generator: HTTP/1.1, one request at a time, bytes made beforehand.
//! It reads exactly one answer for each request, whole; anything it does not understand is an error, never a guess.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More headers than any answer of ours has.
const HEADERS_MAX: usize = 64;

/// An answer larger than this is a mistake: claims and lists stay well below.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A connection that is opened when first used and again after the other side closed it.
pub struct Connection {
    to: SocketAddr,
    stream: Option<TcpStream>,
    received: Vec<u8>,
}

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body, chunks put together.
    pub body: Vec<u8>,
    /// Cookies that it sets, as they are sent back: names and values.
    pub cookies: Vec<String>,
}

/// An answer taken from the front of what was received, and how many bytes it took.
struct Taken {
    answer: Answer,
    length: usize,
    closes: bool,
}

impl Connection {
    /// A connection to come.
    pub fn new(to: SocketAddr) -> Self {
        Self { to, stream: None, received: Vec::with_capacity(16 * 1024) }
    }

    /// Sends `request` and waits for its answer.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        let exchanged = self.exchange_once(request).await;
        if exchanged.is_err() {
            self.stream = None;
            self.received.clear();
        }
        exchanged
    }

    async fn exchange_once(&mut self, request: &[u8]) -> io::Result<Answer> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.to).await?;
                stream.set_nodelay(true)?;
                self.stream.insert(stream)
            }
        };
        stream.write_all(request).await?;
        loop {
            if let Some(taken) = take(&self.received)? {
                self.received.drain(..taken.length);
                if taken.closes {
                    self.stream = None;
                    self.received.clear();
                }
                return Ok(taken.answer);
            }
            if self.received.len() > ANSWER_BYTES_MAX {
                return Err(bad("an answer of more than 4 MiB"));
            }
            if stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The first answer in `received`, once it is whole.
fn take(received: &[u8]) -> io::Result<Option<Taken>> {
    if received.is_empty() {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_length) =
        head.parse(received).map_err(|error| bad(&error.to_string()))?
    else {
        return Ok(None);
    };
    let status = head.code.ok_or_else(|| bad("no status"))?;
    let mut body_length = None;
    let (mut is_chunked, mut closes) = (false, false);
    let mut cookies = Vec::new();
    for header in head.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).map_err(|_| bad("content-length"))?;
            body_length = Some(text.trim().parse::<usize>().map_err(|_| bad("content-length"))?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            is_chunked = header.value.eq_ignore_ascii_case(b"chunked");
        } else if header.name.eq_ignore_ascii_case("connection") {
            closes = header.value.eq_ignore_ascii_case(b"close");
        } else if header.name.eq_ignore_ascii_case("set-cookie") {
            let text = std::str::from_utf8(header.value).map_err(|_| bad("set-cookie"))?;
            cookies.push(text.split(';').next().unwrap_or_default().to_owned());
        }
    }
    let rest = received.get(head_length..).unwrap_or_default();
    let (body, length) = if matches!(status, 100..=199 | 204 | 304) {
        (Vec::new(), 0)
    } else if is_chunked {
        match unchunk(rest)? {
            Some(whole) => whole,
            None => return Ok(None),
        }
    } else {
        let length = body_length.ok_or_else(|| bad("neither content-length nor chunks"))?;
        match rest.get(..length) {
            Some(body) => (body.to_vec(), length),
            None => return Ok(None),
        }
    };
    Ok(Some(Taken { answer: Answer { status, body, cookies }, length: head_length + length, closes }))
}

/// A chunked body (RFC 9112, section 7.1), without trailers: its content, and the bytes that it took.
fn unchunk(rest: &[u8]) -> io::Result<Option<(Vec<u8>, usize)>> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let ahead = rest.get(at..).unwrap_or_default();
        let parsed = httparse::parse_chunk_size(ahead).map_err(|_| bad("a chunk without a size"))?;
        let httparse::Status::Complete((size_line, size)) = parsed else { return Ok(None) };
        let size = usize::try_from(size).map_err(|_| bad("a chunk too large"))?;
        let end = at.saturating_add(size_line).saturating_add(size);
        let (Some(content), Some(after)) =
            (rest.get(at + size_line..end), rest.get(end..end.saturating_add(2)))
        else {
            return Ok(None);
        };
        if after != b"\r\n" {
            return Err(bad("a chunk without its end"));
        }
        body.extend_from_slice(content);
        at = end + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the answer is not understood: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> (u16, String, usize) {
        let taken = take(text.as_bytes()).unwrap().expect("whole");
        (taken.answer.status, String::from_utf8(taken.answer.body).unwrap(), taken.length)
    }

    #[test]
    fn an_answer_is_taken_exactly() {
        let next = "HTTP/1.1 204 No";
        for (answer, status, body) in [
            ("HTTP/1.1 204 No Content\r\nkeyward-scopes: a\r\n\r\n", 204, ""),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, "abc"),
            (
                "HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n",
                201,
                "abc0123456789",
            ),
        ] {
            assert_eq!(whole(&format!("{answer}{next}")), (status, body.to_owned(), answer.len()));
            for cut in 1..answer.len() {
                let part = take(&answer.as_bytes()[..cut]).unwrap();
                assert!(part.is_none(), "taken after {cut} bytes of {answer:?}");
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        assert!(take(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(take(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc").is_err());
        assert!(take(b"nonsense\r\n\r\n").is_err());
    }
}
