//! What the tests of the host share: the probe, built once; a host in a process of its own; HTTP/1.1 spoken
//! byte by byte, so that a test decides what goes over the wire.
#![allow(dead_code, reason = "each test file uses its part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub const HOST: &str = env!("CARGO_BIN_EXE_keyward-host");

/// The probe's Wasm file; built at the first call of a test process.
pub fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        // TARGET/release/keyward-host
        let target = Path::new(HOST).ancestors().nth(2).unwrap();
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--profile",
                "wasm",
                "--target",
                "wasm32-wasip2",
                "-p",
                "probe",
                "--target-dir",
            ])
            .arg(target)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .status();
        assert!(built.unwrap().success(), "the probe does not build");
        target.join("wasm32-wasip2/wasm/probe.wasm")
    })
}

/// Compiled components, shared by all tests of one build.
fn cache() -> PathBuf {
    Path::new(HOST).ancestors().nth(2).unwrap().join("test-components")
}

/// A manifest around the probe: `triggers` and what `[component.probe]` gets beyond its source.
pub fn manifest(head: &str, component: &str) -> String {
    let probe = probe().display();
    format!(
        "spin_manifest_version = 2\n[application]\nname = \"test\"\n{head}\n[component.probe]\nsource = \"{probe}\"\n{component}\n"
    )
}

/// The manifest that most tests use: every path goes to the probe, which may open `default`.
pub fn plain_manifest() -> String {
    manifest("[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"", "key_value_stores = [\"default\"]")
}

/// A host under test. Killed when dropped.
pub struct Host {
    pub addr: SocketAddr,
    pub control: Option<SocketAddr>,
    pub dir: PathBuf,
    child: Child,
    log: std::thread::JoinHandle<String>,
    _temporary: Option<tempfile::TempDir>,
}

/// A host to be started.
pub struct Setup {
    manifest: String,
    runtime_config: Option<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    dir: Option<PathBuf>,
    cached: bool,
}

impl Setup {
    pub fn new(manifest: impl Into<String>) -> Self {
        Self {
            manifest: manifest.into(),
            runtime_config: None,
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
            cached: true,
        }
    }

    pub fn plain() -> Self {
        Self::new(plain_manifest())
    }

    /// Command-line arguments, parted by spaces.
    pub fn args(mut self, args: &str) -> Self {
        self.args.extend(args.split_whitespace().map(str::to_owned));
        self
    }

    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    pub fn runtime_config(mut self, text: impl Into<String>) -> Self {
        self.runtime_config = Some(text.into());
        self
    }

    /// Keeps its files here instead of in a directory that vanishes.
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Compiled components in the state directory, as in ordinary use.
    pub fn own_cache(mut self) -> Self {
        self.cached = false;
        self
    }

    fn command(&self, dir: &Path) -> Command {
        std::fs::write(dir.join("spin.toml"), &self.manifest).unwrap();
        let mut command = Command::new(HOST);
        command.arg("-f").arg(dir.join("spin.toml")).arg("--state-dir").arg(dir.join("state"));
        command.args(["--listen", "127.0.0.1:0"]);
        if self.cached {
            command.arg("--cache-dir").arg(cache());
        }
        if let Some(text) = &self.runtime_config {
            std::fs::write(dir.join("runtime-config.toml"), text).unwrap();
            command.arg("--runtime-config-file").arg(dir.join("runtime-config.toml"));
        }
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn place(&self) -> (PathBuf, Option<tempfile::TempDir>) {
        match &self.dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let temporary = tempfile::tempdir().unwrap();
                (temporary.path().to_owned(), Some(temporary))
            }
        }
    }

    pub fn start(self) -> Host {
        let (dir, temporary) = self.place();
        let mut child = self.command(&dir).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let _ = child.wait();
            panic!("the host did not start: {}", log.join().unwrap());
        }
        let address = |name: &str| {
            let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
            let url = ready.get(name)?.as_str()?.to_owned();
            Some(url.split_once("://").unwrap().1.parse().unwrap())
        };
        Host {
            addr: address("listening").unwrap(),
            control: address("control"),
            dir,
            child,
            log,
            _temporary: temporary,
        }
    }

    /// A start that must fail: its exit code and what it said.
    pub fn fails(self) -> (i32, String) {
        let (dir, _temporary) = self.place();
        let output = self.command(&dir).output().unwrap();
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

impl Host {
    /// `GET path` on a connection of its own.
    pub fn get(&self, path: &str) -> Reply {
        request(self.addr, "GET", path, "", b"")
    }

    pub fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        request(self.addr, method, path, headers, body)
    }

    /// The body of a `GET` that must succeed.
    pub fn ok(&self, path: &str) -> String {
        let reply = self.get(path);
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        reply.body
    }

    pub fn connect(&self) -> Wire {
        Wire::connect(self.addr)
    }

    /// A control request with a JSON body, or none; its JSON answer.
    pub fn control(&self, method: &str, path: &str, body: &str) -> serde_json::Value {
        let reply = request(self.control.unwrap(), method, path, "", body.as_bytes());
        assert_eq!(reply.status, 200, "{method} {path}: {}", reply.body);
        serde_json::from_str(&reply.body).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end: exit code (-1 after a signal) and the log.
    pub fn wait(mut self) -> (i32, String) {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let log = std::mem::replace(&mut self.log, std::thread::spawn(String::new));
        (code, log.join().unwrap())
    }

    /// Stops it in good order; the log.
    pub fn stop(self) -> String {
        self.signal("-TERM");
        let (code, log) = self.wait();
        assert_eq!(code, 0, "{log}");
        log
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

pub fn request(addr: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
    let mut wire = Wire::connect(addr);
    let length = if body.is_empty() && method == "GET" {
        String::new()
    } else {
        format!("content-length: {}\r\n", body.len())
    };
    wire.send(format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\n{headers}{length}\r\n").as_bytes());
    wire.send(body);
    wire.reply().expect("the connection ended without an answer")
}

/// A connection, byte by byte.
pub struct Wire(BufReader<TcpStream>);

impl Wire {
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(BufReader::new(stream))
    }

    /// Errors are not looked at: a peer that has answered may have closed.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.get_mut().write_all(bytes);
    }

    pub fn get(&mut self, path: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes());
        self.reply().expect("the connection ended without an answer")
    }

    /// One answer; nothing if the connection ends before it.
    pub fn reply(&mut self) -> Option<Reply> {
        let mut line = String::new();
        if self.0.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let status = line.split_whitespace().nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.0.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let find = |name: &str| headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let mut body = Vec::new();
        if find("transfer-encoding") == Some("chunked") {
            loop {
                line.clear();
                self.0.read_line(&mut line).ok()?;
                let size = usize::from_str_radix(line.trim(), 16).ok()?;
                let mut chunk = vec![0; size + 2];
                self.0.read_exact(&mut chunk).ok()?;
                body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = find("content-length") {
            body.resize(length.parse().ok()?, 0);
            self.0.read_exact(&mut body).ok()?;
        }
        Some(Reply { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Whether anything comes within `limit`.
    pub fn has_answer_within(&mut self, limit: Duration) -> bool {
        self.0.get_ref().set_read_timeout(Some(limit)).unwrap();
        let came = self.0.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        self.0.get_ref().set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        came
    }
}

/// Waits until `done`, at most ten seconds.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{what} did not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A Redis server of the test's own. Killed when dropped.
pub struct RedisServer {
    pub port: u16,
    child: Child,
}

impl RedisServer {
    pub fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_at(port)
    }

    pub fn start_at(port: u16) -> Self {
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is needed");
        let server = Self { port, child };
        eventually("redis-server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
