//! Sends messages through the platform. No redirect is followed; nothing of an answer is read but its status, how long to wait, and as
//! much of its body as was asked for; and each attempt takes a bounded time. What a name leads to is for the runtime to look at: it may be told which networks nobody is to be
//! sent to.

use keyward_crypto::Zeroizing;
use keyward_domain::delivery::Fault;
use keyward_domain::ports::Clock;
use keyward_guest::WasiClock;
use keyward_service::{Answered, Message, Sender};
use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{
    ErrorCode, Fields, Method, Request, RequestOptions, Response as HttpResponse, Scheme, Trailers,
};
use spin_sdk::wasip3::wit_bindgen::StreamResult;
use spin_sdk::wasip3::{wit_future, wit_stream};

const NS_PER_MS: u64 = 1_000_000;
/// How long a connection may take, in milliseconds.
const CONNECT_MS_MAX: u64 = 5_000;
/// How long an answer may take once there is a connection, in milliseconds.
const ANSWER_MS_MAX: u64 = 10_000;
/// How long an attempt may take in all, in milliseconds, where the platform keeps no time of its own.
const ATTEMPT_MS_MAX: u64 = 16_000;
/// How much of an answer is read at a time, in bytes.
const CHUNK_BYTES: usize = 16 * 1024;
/// What Keyward calls itself.
const USER_AGENT: &str = concat!("Keyward/", env!("CARGO_PKG_VERSION"));

/// The platform's way out.
pub struct WasiSender;

impl Sender for WasiSender {
    async fn send(&self, message: &Message<'_>) -> Result<Answered, Fault> {
        let exchange = std::pin::pin!(exchange(message));
        let patience = std::pin::pin!(WasiClock.sleep_ms(ATTEMPT_MS_MAX));
        match futures::future::select(exchange, patience).await {
            futures::future::Either::Left((answered, _)) => answered,
            futures::future::Either::Right(((), _)) => Err(Fault::Timeout),
        }
    }
}

async fn exchange(message: &Message<'_>) -> Result<Answered, Fault> {
    let answer = ask(message).await.map_err(|error| fault(&error))?;
    let retry_after = answer.get_headers().get("retry-after").into_iter().next();
    Ok(Answered {
        status: answer.get_status_code(),
        retry_after: retry_after.and_then(|field| String::from_utf8(field).ok()),
        body: match message.answer_bytes_max {
            0 => Zeroizing::default(),
            bytes_max => body(answer, bytes_max).await?,
        },
    })
}

async fn ask(message: &Message<'_>) -> Result<HttpResponse, ErrorCode> {
    let text = |value: &str| value.as_bytes().to_vec();
    let fields = [
        ("content-type", text("application/json")),
        ("content-length", text(&message.body.len().to_string())),
        ("user-agent", text(USER_AGENT)),
        ("webhook-id", text(&message.id)),
        ("webhook-timestamp", text(&message.timestamp)),
        ("webhook-signature", text(&message.signature)),
    ];
    let fields: Vec<(String, Vec<u8>)> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let fields = Fields::from_list(&fields).map_err(|_| ErrorCode::HttpProtocolError)?;
    let (mut writer, body) = wit_stream::new::<u8>();
    let (trailers, trailers_reader) = wit_future::new(|| Ok::<Option<Trailers>, ErrorCode>(None));
    let (request, _sent) = Request::new(fields, Some(body), trailers_reader, Some(options()));
    address(&request, message.url).ok_or(ErrorCode::HttpRequestUriInvalid)?;
    let write = async {
        // Whoever answers early or hangs up has read enough.
        let _ = writer.write_all(message.body.to_vec()).await;
        drop(writer);
        drop(trailers);
    };
    let (answer, ()) = futures::join!(client::send(request), write);
    answer
}

/// The body of an answer. One that is longer than was asked for is none.
async fn body(answer: HttpResponse, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, Fault> {
    // Nothing is told to the sender: an early end of reading is enough for it.
    let (_handled, handled) = wit_future::new(|| Ok(()));
    let (mut stream, trailers) = HttpResponse::consume_body(answer, handled);
    // As long as it may become, so that no unwiped copy of a secret stays behind where it grows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max));
    loop {
        let (status, chunk) = stream.read(Vec::with_capacity(CHUNK_BYTES)).await;
        let chunk = Zeroizing::new(chunk);
        if bytes.len().saturating_add(chunk.len()) > bytes_max {
            return Err(Fault::Protocol);
        }
        bytes.extend_from_slice(&chunk);
        match status {
            StreamResult::Complete(_) => {}
            StreamResult::Dropped | StreamResult::Cancelled => break,
        }
    }
    match trailers.await {
        Ok(_) => Ok(bytes),
        Err(error) => Err(fault(&error)),
    }
}

fn options() -> RequestOptions {
    let options = RequestOptions::new();
    // A platform that keeps none of these is bounded by the attempt's own time.
    let _ = options.set_connect_timeout(Some(CONNECT_MS_MAX * NS_PER_MS));
    let _ = options.set_first_byte_timeout(Some(ANSWER_MS_MAX * NS_PER_MS));
    let _ = options.set_between_bytes_timeout(Some(ANSWER_MS_MAX * NS_PER_MS));
    options
}

/// Says where a request goes; nothing where the URL is none that a webhook may have.
fn address(request: &Request, url: &str) -> Option<()> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    request.set_method(&Method::Post).ok()?;
    request.set_scheme(Some(&scheme)).ok()?;
    request.set_authority(Some(authority)).ok()?;
    request.set_path_with_query(Some(&path)).ok()
}

/// What kept an answer away. The platform's own text may name more than is anybody's business, so only its kind is kept.
fn fault(error: &ErrorCode) -> Fault {
    match error {
        ErrorCode::DnsTimeout | ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => Fault::NameUnknown,
        ErrorCode::DestinationIpProhibited | ErrorCode::HttpRequestDenied => Fault::PrivateTarget,
        ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => Fault::Timeout,
        ErrorCode::TlsProtocolError | ErrorCode::TlsCertificateError | ErrorCode::TlsAlertReceived(_) => {
            Fault::Tls
        }
        ErrorCode::DestinationUnavailable
        | ErrorCode::DestinationIpUnroutable
        | ErrorCode::ConnectionRefused
        | ErrorCode::ConnectionTerminated
        | ErrorCode::ConnectionLimitReached
        | ErrorCode::HttpResponseIncomplete => Fault::Connection,
        _ => Fault::Protocol,
    }
}
