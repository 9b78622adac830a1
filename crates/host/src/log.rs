//! The host's log: lines for a person on a terminal, JSON lines otherwise, written by a thread of their own
//! so that a slow reader of stderr never slows a request. No secret may be handed to it; guest text goes in
//! escaped and bounded.

use std::fmt::Write as _;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

/// Lines waiting to be written; more are dropped and counted.
const QUEUE_LINES_MAX: usize = 4_096;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person when stderr is a terminal, JSON otherwise.
    #[default]
    Auto,
    /// `LEVEL [component] message`.
    Human,
    /// One JSON object per line: `ts` (RFC 3339), `level`, `component`, `stream`, `message`.
    Json,
}

/// What is written, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogConfig {
    /// The look of a line.
    pub format: LogFormat,
    /// Only warnings and errors of the host; no guest output.
    pub quiet: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Info,
    Warn,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

enum Message {
    Line(String),
    Flush(std::sync::mpsc::Sender<()>),
}

/// A handle to the log; clones share the writer.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    tx: SyncSender<Message>,
    json: bool,
    quiet: bool,
    dropped: Arc<AtomicU64>,
}

impl Log {
    /// Starts the writer.
    pub fn start(config: LogConfig) -> Self {
        let json = match config.format {
            LogFormat::Human => false,
            LogFormat::Json => true,
            LogFormat::Auto => !std::io::IsTerminal::is_terminal(&std::io::stderr()),
        };
        let (tx, rx) = sync_channel(QUEUE_LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let seen = dropped.clone();
        // Without the thread lines are dropped; the host itself still works.
        let _ = std::thread::Builder::new().name("log".into()).spawn(move || write_lines(&rx, &seen, json));
        Self { inner: Arc::new(Inner { tx, json, quiet: config.quiet, dropped }) }
    }

    pub(crate) fn info(&self, message: &str) {
        if !self.inner.quiet {
            self.line(Level::Info, None, None, message);
        }
    }

    pub(crate) fn warn(&self, component: Option<&str>, message: &str) {
        self.line(Level::Warn, component, None, message);
    }

    pub(crate) fn error(&self, component: Option<&str>, message: &str) {
        self.line(Level::Error, component, None, message);
    }

    fn guest(&self, component: &str, stream: &'static str, text: &str) {
        if !self.inner.quiet {
            self.line(Level::Info, Some(component), Some(stream), text);
        }
    }

    fn line(&self, level: Level, component: Option<&str>, stream: Option<&str>, message: &str) {
        let text = render(self.inner.json, level, component, stream, message);
        match self.inner.tx.try_send(Message::Line(text)) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.inner.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until everything logged so far is written, at most one second.
    pub fn flush(&self) {
        let (tx, rx) = std::sync::mpsc::channel();
        if self.inner.tx.send(Message::Flush(tx)).is_ok() {
            let _ = rx.recv_timeout(std::time::Duration::from_secs(1));
        }
    }
}

fn write_lines(rx: &Receiver<Message>, dropped: &AtomicU64, json: bool) {
    let stderr = std::io::stderr();
    while let Ok(message) = rx.recv() {
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let text =
                render(json, Level::Warn, None, None, &format!("{lost} log lines dropped: stderr is slow"));
            let _ = stderr.lock().write_all(text.as_bytes());
        }
        match message {
            // Nobody is left to be told when stderr is gone.
            Message::Line(text) => drop(stderr.lock().write_all(text.as_bytes())),
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

fn render(json: bool, level: Level, component: Option<&str>, stream: Option<&str>, message: &str) -> String {
    let message = escape(message);
    let mut out = String::with_capacity(message.len() + 96);
    if json {
        let mut fields = serde_json::Map::new();
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        fields.insert("ts".into(), now.into());
        fields.insert("level".into(), level.name().into());
        if let Some(component) = component {
            fields.insert("component".into(), component.into());
        }
        if let Some(stream) = stream {
            fields.insert("stream".into(), stream.into());
        }
        fields.insert("message".into(), message.into());
        let _ = writeln!(out, "{}", serde_json::Value::Object(fields));
    } else {
        let _ = match component {
            Some(component) => writeln!(out, "{:<5} [{component}] {message}", level.name()),
            None => writeln!(out, "{:<5} {message}", level.name()),
        };
    }
    out
}

/// Control characters (C0, DEL, C1) and the marks that reorder text as `\u{..}`, so that no line can move a
/// terminal's cursor or pretend to be another line.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let reorders =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (c.is_control() && c != '\t') || reorders {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// One of a guest's output streams, cut into log lines.
#[derive(Clone)]
pub(crate) struct GuestOutput {
    log: Log,
    component: Arc<str>,
    stream: &'static str,
    line_bytes_max: usize,
}

impl GuestOutput {
    pub(crate) fn new(log: Log, component: Arc<str>, stream: &'static str, line_bytes_max: usize) -> Self {
        Self { log, component, stream, line_bytes_max }
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(LineWriter { output: self.clone(), line: Vec::new(), cut: false })
    }
}

struct LineWriter {
    output: GuestOutput,
    line: Vec<u8>,
    cut: bool,
}

impl LineWriter {
    fn emit(&mut self) {
        let mut text = String::from_utf8_lossy(&self.line).into_owned();
        if self.cut {
            text.push_str(" [cut]");
        }
        self.output.log.guest(&self.output.component, self.output.stream, &text);
        self.line.clear();
        self.cut = false;
    }
}

impl AsyncWrite for LineWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        for &byte in data {
            if byte == b'\n' {
                self.emit();
            } else if self.line.len() < self.output.line_bytes_max {
                self.line.push(byte);
            } else {
                self.cut = true;
            }
        }
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        if !self.line.is_empty() || self.cut {
            self.emit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_reordering_characters_are_escaped_in_both_looks() {
        for json in [true, false] {
            let line = render(json, Level::Info, Some("c"), Some("stdout"), "a\u{1b}[31mb\rc\u{202e}d\u{9b}");
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            assert!(!line.trim_end().contains(['\u{1b}', '\r', '\u{202e}', '\u{9b}']), "{line:?}");
        }
    }
}
