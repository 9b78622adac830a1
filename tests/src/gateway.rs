//! A gateway as `docs/gateways` configures it: the real program on the real files, on ports of this test's own. And what stands
//! around it: a service that tells what reached it, and a stand-in for Keyward that says whatever a test wants.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::{Connection, Reply, Request, eventually, programs};

/// The ports that the examples are written with: where the gateway listens, where some have a way of their own to Keyward, where
/// Keyward and the service are.
const PUBLIC: &str = "8080";
const INNER: &str = "8081";
const KEYWARD: &str = "3000";
const SERVICE: &str = "9000";

/// One of the configurations of `docs/gateways`.
pub struct Example {
    /// The program that runs it.
    pub program: &'static str,
    /// Its arguments, in a folder that holds the files.
    pub arguments: &'static [&'static str],
    /// The files.
    pub files: &'static [&'static str],
}

/// A running gateway, ended when dropped.
pub struct Gateway {
    address: SocketAddr,
    child: Child,
    log: PathBuf,
}

impl Example {
    /// Starts it between Keyward and a service, with its files below `folder`. It is up when it refuses who brings no key.
    ///
    /// # Panics
    /// Where it is not installed, or does not come up.
    pub fn start(&self, folder: &Path, keyward: SocketAddr, service: SocketAddr) -> Gateway {
        let folder = folder.join(self.program);
        std::fs::create_dir_all(&folder).unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = free();
        let ports = [(PUBLIC, address), (INNER, free()), (KEYWARD, keyward), (SERVICE, service)];
        for file in self.files {
            let text = std::fs::read_to_string(programs::root().join("docs/gateways").join(file)).unwrap();
            let text = ports.iter().fold(text, |text, (written, real)| {
                assert_eq!(real.ip().to_string(), "127.0.0.1");
                text.replace(written, &real.port().to_string())
            });
            std::fs::write(folder.join(file), text).unwrap();
        }
        let log = folder.join("log");
        let output = File::create(&log).unwrap();
        let child = Command::new(programs::installed(self.program))
            .args(self.arguments)
            .current_dir(&folder)
            // Where Caddy keeps what it remembers.
            .env("XDG_CONFIG_HOME", &folder)
            .env("XDG_DATA_HOME", &folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("no `{}` ({error}): `cargo xtask test --only tools` installs it", self.program)
            });
        let mut gateway = Gateway { address, child, log };
        eventually(self.program, || {
            assert!(gateway.child.try_wait().unwrap().is_none(), "it ended at once");
            TcpStream::connect(address).is_ok() && gateway.ask(&Request::get("/orders/")).status == 401
        });
        gateway
    }
}

impl Gateway {
    /// Asks, as a caller on this machine.
    pub fn ask(&self, request: &Request) -> Reply {
        Connection::open(self.address).exchange(request)
    }

    /// Asks, as a caller at another address of the loopback network.
    pub fn ask_from(&self, caller: IpAddr, request: &Request) -> Reply {
        Connection::open_from(caller, self.address).exchange(request)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the gateway's log:\n{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
        // nginx's master passes a polite end on to its workers; a killed one would leave them behind.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
            let _ = self.child.wait();
        }
    }
}

/// What came in: the head as it was, and what it says.
struct Asked {
    target: String,
    fields: Vec<(String, String)>,
    text: String,
}

impl Asked {
    /// Reads one request; nothing where the peer goes away first.
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut asked = Self { target: String::new(), fields: Vec::new(), text: String::new() };
        loop {
            let start = asked.text.len();
            reader.read_line(&mut asked.text).ok().filter(|bytes| *bytes > 0)?;
            let line = asked.text[start..].trim_end();
            match line.split_once(':') {
                _ if start == 0 => asked.target = line.split(' ').nth(1)?.to_owned(),
                Some((name, value)) => {
                    asked.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
                None => break,
            }
        }
        let length = asked.field("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        asked.text.push_str(&String::from_utf8_lossy(&body));
        Some(asked)
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// Serves one request per connection, each on a thread, for as long as the test runs.
fn serve(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                if let Some(asked) = Asked::read(&stream) {
                    answer(&asked, &mut stream);
                }
            });
        }
    });
    address
}

fn respond(stream: &mut TcpStream, status: u16, fields: &str, body: &str) {
    let mut head = format!("HTTP/1.1 {status} Said\r\nConnection: close\r\n{fields}");
    if status != 204 {
        let _ = write!(head, "Content-Length: {}\r\n", body.len());
    }
    let _ = stream.write_all(format!("{head}\r\n{body}").as_bytes());
}

/// The service behind a gateway. It answers with the request as it came, and with the status that ends the path, if one does;
/// `/orders/hangup` it does not answer.
pub struct Service {
    address: SocketAddr,
    reached: Arc<AtomicUsize>,
}

impl Service {
    /// Starts one.
    pub fn start() -> Self {
        let reached = Arc::new(AtomicUsize::new(0));
        let counter = reached.clone();
        let address = serve(move |asked, stream| {
            counter.fetch_add(1, Ordering::SeqCst);
            match asked.target.rsplit('/').next() {
                Some("hangup") => {}
                end => {
                    let status = end.and_then(|end| end.parse().ok()).filter(|status| *status >= 200);
                    respond(stream, status.unwrap_or(200), "", &asked.text);
                }
            }
        });
        Self { address, reached }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have reached it.
    pub fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

/// Starts a stand-in for Keyward that says what the key in `X-API-Key` wants: a status (`204` as a yes of Keyward's, the others with
/// `Retry-After: 7` and a challenge), or `silent`, `hangup`, `nonsense`. Without a key, 401.
pub fn stand_in() -> SocketAddr {
    serve(|asked, stream| match asked.field("x-api-key").unwrap_or("401") {
        // Longer than any gateway may wait.
        "silent" => std::thread::sleep(Duration::from_secs(5)),
        "hangup" => {}
        "nonsense" => drop(stream.write_all(b"nonsense\r\n\r\n")),
        "204" => {
            // As Keyward says yes: below its path in the one way that Envoy takes.
            let status = if asked.target.starts_with("/v1/authorize?") { 204 } else { 200 };
            respond(stream, status, "Keyward-Key-Id: key_1\r\nCache-Control: no-store\r\n", "");
        }
        status => {
            let fields = "Retry-After: 7\r\nWWW-Authenticate: Bearer realm=\"stand-in\"\r\nCache-Control: no-store\r\n";
            respond(stream, status.parse().unwrap(), fields, "");
        }
    })
}
