//! A service under `keyward exec`, one whose files `keyward agent` keeps, and one that asks at the agent's socket go on through ten rotations
//! of their credential and through an outage of Keyward, with no secret in an argument.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keyward_e2e::relay::Relay;
use keyward_e2e::{Keyward, Request, Setup, Value, json};

const ROTATIONS: usize = 10;
/// How long Keyward is away, in seconds: `cargo xtask test --full` takes the two minutes that are promised.
const OUTAGE_VARIABLE: &str = "KEYWARD_E2E_OUTAGE_S";
const OUTAGE_S: u64 = 5;
const PATIENCE: Duration = Duration::from_secs(60);

fn outage() -> Duration {
    let given = std::env::var(OUTAGE_VARIABLE).ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(OUTAGE_S))
}

/// A Keyward behind a line that can be cut, and a service that may read one credential.
struct Place {
    keyward: Keyward,
    relay: Relay,
    credential: String,
    service: String,
}

impl Place {
    fn new() -> Self {
        let keyward = Setup::new().by_command().start();
        let relay = Relay::start([127, 0, 0, 1], keyward.address(), Duration::ZERO);
        let application = keyward.application("shop");
        let credential = keyward.credential(&application, "payments/db");
        let service = keyward.holder(&application, &["credentials:read@payments/*"]);
        std::fs::write(keyward.folder().join("token"), format!("{}\n", service.token)).unwrap();
        Self { keyward, relay, credential, service: service.id }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.keyward.folder().join(name)
    }

    /// The command, asking over the line.
    fn start(&self, arguments: &[&str]) -> Running {
        let mut command =
            self.keyward.command(&["--url", &format!("http://127.0.0.1:{}", self.relay.port())]);
        command.args(["--key-file", "token"]).args(arguments).current_dir(self.keyward.folder());
        let log = std::fs::File::create(self.file("command.log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Running { child: command.spawn().unwrap(), log: self.file("command.log") }
    }

    fn rotate(&self, value: &str) {
        let body = json!({ "value": { "value": value } });
        let route = format!("/v1/credentials/{}/versions", self.credential);
        self.keyward.as_root(Request::post(&route, &body)).expect(201);
    }
}

struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until `is` holds.
    #[track_caller]
    fn until(&mut self, what: &str, is: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is() {
            assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}; {}", self.log());
            assert!(self.child.try_wait().unwrap().is_none(), "{what}: it ended; {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn last_line(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default().lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_service_under_exec_goes_on() {
    let place = Place::new();
    let starts = place.file("starts");
    // What a service would do with it: here it writes down what it was started with.
    let script = "echo \"$DB_PASSWORD\" >> starts; env | grep -c KEYWARD_ > inherited; trap 'exit 7' TERM; while :; do sleep 0.05; done";
    let mut running = place.start(&["exec", "--map", "DB_PASSWORD=payments/db", "--", "sh", "-c", script]);
    running.until("the first start", || last_line(&starts) == "what it holds");
    for number in 1..=ROTATIONS {
        let value = format!("value {number}");
        place.rotate(&value);
        running.until(&value, || last_line(&starts) == value);
    }
    let count = || std::fs::read_to_string(&starts).unwrap().lines().count();
    assert_eq!(count(), ROTATIONS + 1, "started anew once for each");
    assert_eq!(last_line(&place.file("inherited")), "0", "where credentials come from is not its business");

    place.relay.cut();
    let begun = Instant::now();
    place.rotate("during the outage");
    while begun.elapsed() < outage() {
        assert!(running.child.try_wait().unwrap().is_none(), "it goes on: {}", running.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(count(), ROTATIONS + 1, "and is left alone");
    place.relay.mend();
    running.until("after the outage", || last_line(&starts) == "during the outage");

    let arguments = std::fs::read(format!("/proc/{}/cmdline", running.child.id())).unwrap();
    assert!(!String::from_utf8_lossy(&arguments).contains("during the outage"));
    assert!(!running.log().contains("value 3") && !running.log().contains("kw_live_"), "{}", running.log());
    running.signal("TERM");
    let status = running.child.wait().unwrap();
    assert_eq!(status.code(), Some(7), "it ends as its service does: {}", running.log());
}

#[test]
fn files_that_the_agent_keeps_are_whole_and_fresh() {
    let place = Place::new();
    let (file, heard) = (place.file("db"), place.file("heard"));
    std::fs::write(place.file("hear"), "#!/bin/sh\necho changed >> heard\n").unwrap();
    std::fs::set_permissions(place.file("hear"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut running = place.start(&["agent", "--file", "db=payments/db", "--on-change", "./hear"]);
    let holds = |value: &str| std::fs::read_to_string(&file).is_ok_and(|text| text == value);
    running.until("the first file", || holds("what it holds"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Whoever reads it at any time finds one of its versions, whole.
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                let text = std::fs::read_to_string(&file).expect("always there");
                assert!(
                    text == "what it holds" || text.starts_with("value ") && text.ends_with('.'),
                    "{text}"
                );
                reads += 1;
            }
            reads
        });
        for number in 1..=ROTATIONS {
            let value = format!("value {number}{}.", "x".repeat(4096));
            place.rotate(&value);
            running.until("a rotation", || holds(&value));
        }
        is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(reader.join().unwrap() > 100);
    });
    running.until("each change is told", || {
        std::fs::read_to_string(&heard).is_ok_and(|text| text.lines().count() == ROTATIONS + 1)
    });

    place.relay.cut();
    let begun = Instant::now();
    place.rotate("during the outage");
    while begun.elapsed() < outage() {
        assert!(std::fs::read_to_string(&file).unwrap().starts_with("value 10"), "the last good one");
        std::thread::sleep(Duration::from_millis(50));
    }
    place.relay.mend();
    running.until("after the outage", || holds("during the outage"));

    // Whoever may read it no longer, does not have it any more.
    place.keyward.as_root(keyward_e2e::admin::revoke(&place.service)).expect(200);
    running.until("after the revocation", || !file.exists());
    running.signal("TERM");
    assert_eq!(running.child.wait().unwrap().code(), Some(0), "{}", running.log());
}

/// What `curl` had at a socket.
struct Asked {
    status: u16,
    headers: String,
    body: String,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let found = |line: &str| line.split_once(": ").is_some_and(|(is, _)| is.eq_ignore_ascii_case(name));
        self.headers
            .lines()
            .find(|line| found(line))
            .and_then(|line| line.split_once(": "))
            .map(|(_, text)| text)
    }

    /// What the credential holds.
    fn value(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["value"]["value"].as_str().unwrap_or_default().to_owned()
    }
}

/// Asks at a socket, by a program that knows nothing of Keyward; `as_user` by another user's process.
fn curl(socket: &Path, target: &str, more: &[&str], as_user: Option<&str>) -> Asked {
    let mut command = match as_user {
        Some(user) => {
            let mut other = Command::new("setpriv");
            other.args(["--reuid", user, "--clear-groups", "curl"]);
            other
        }
        None => Command::new("curl"),
    };
    let asked = command
        .args(["-s", "-i", "--max-time", "60", "--unix-socket"])
        .arg(socket)
        .args(more)
        .arg(format!("http://agent{target}"))
        .output()
        .unwrap();
    let text = String::from_utf8(asked.stdout).unwrap();
    let (headers, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = headers.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Asked { status, headers: headers.replace('\r', ""), body: body.to_owned() }
}

const AT_SOCKET: &str = "/v1/credentials/value?name=payments/db";

#[test]
fn whoever_asks_at_the_agents_socket_goes_on() {
    let place = Place::new();
    let policy = place.keyward.policy("short leases", &json!({ "lease_s": 5, "outage_s": 600 }));
    let route = format!("/v1/credentials/{}", place.credential);
    place.keyward.as_root(Request::patch(&route, &json!({ "policy": policy }))).expect(200);
    let socket = place.file("run").join("agent.sock");
    let arguments = ["agent", "--socket", "run/agent.sock", "--serve", "payments/*"];
    let ask = |more: &[&str]| curl(&socket, AT_SOCKET, more, None);

    // What a killed one left behind is in nobody's way.
    let mut killed = place.start(&arguments);
    killed.until("the first socket", || ask(&[]).status == 200);
    drop(killed);
    assert!(socket.exists());
    let mut running = place.start(&arguments);
    running.until("the socket", || ask(&[]).status == 200);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(&place.file("run"))), (0o600, 0o700));

    // As Keyward itself answers.
    let token = std::fs::read_to_string(place.file("token")).unwrap();
    let theirs = place.keyward.send(Request::get(AT_SOCKET).bearer(token.trim())).expect(200);
    let first = ask(&[]);
    assert_eq!(first.body, theirs.text());
    assert_eq!(
        (first.header("etag"), first.header("cache-control")),
        (theirs.field("etag"), Some("no-store"))
    );
    assert!(first.header("age").is_some() && first.header("keyward-stale").is_none());
    let mut tag = first.header("etag").unwrap().to_owned();
    let unless = |tag: &str| format!("If-None-Match: {tag}");
    let same = ask(&["-H", &unless(&tag)]);
    assert_eq!((same.status, same.body.as_str()), (304, ""));

    for number in 1..=ROTATIONS {
        let value = format!("value {number}");
        let target = format!("{AT_SOCKET}&wait_s=30");
        let (header, begun) = (unless(&tag), Instant::now());
        let waits = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| curl(&socket, &target, &["-H", &header], None));
            std::thread::sleep(Duration::from_millis(100));
            place.rotate(&value);
            waiting.join().unwrap()
        });
        assert_eq!((waits.status, waits.value().as_str()), (200, value.as_str()), "{}", running.log());
        assert!(begun.elapsed() < Duration::from_secs(20), "it was told at once");
        tag = waits.header("etag").unwrap().to_owned();
    }

    // What nobody said may be asked for is not, nor anything else.
    for (target, more, status) in [
        ("/v1/credentials/value?name=other/db", &[] as &[&str], 403),
        ("/v1/credentials/value?name=payments/none", &[], 404),
        ("/v1/credentials/value", &[], 400),
        ("/v1/credentials/value?name=payments/db&version=1", &[], 400),
        ("/v1/credentials", &[], 404),
        (AT_SOCKET, &["-X", "POST"], 405),
        (AT_SOCKET, &["-H", &format!("X: {}", "x".repeat(20_000))], 431),
    ] {
        assert_eq!(curl(&socket, target, more, None).status, status, "{target}");
    }

    place.relay.cut();
    place.rotate("during the outage");
    running.until("the lease is over", || ask(&[]).header("keyward-stale") == Some("?1"));
    let begun = Instant::now();
    while begun.elapsed() < outage() {
        let (asked, now) = (Instant::now(), ask(&[]));
        assert_eq!((now.status, now.value().as_str()), (200, "value 10"), "the last good one");
        assert!(asked.elapsed() < Duration::from_secs(2), "nobody waits for who is away");
        std::thread::sleep(Duration::from_millis(50));
    }
    place.relay.mend();
    running.until("after the outage", || ask(&[]).value() == "during the outage");
    assert_eq!(ask(&[]).header("keyward-stale"), None);

    let log = running.log();
    assert!(!log.contains("value 3") && !log.contains("kw_live_"), "{log}");
    // Whoever may read it no longer, hands it out no more.
    place.keyward.as_root(keyward_e2e::admin::revoke(&place.service)).expect(200);
    running.until("after the revocation", || matches!(ask(&[]).status, 401 | 403));
    running.signal("TERM");
    assert_eq!(running.child.wait().unwrap().code(), Some(0), "{}", running.log());
    assert!(!socket.exists(), "the socket went with its agent");
}

#[test]
fn the_agents_socket_is_for_those_users_that_it_was_told() {
    // Another user's process can be started by root alone.
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    const NOBODY: &str = "65534";
    let place = Place::new();
    for path in [place.keyward.folder(), &place.file("open")] {
        std::fs::create_dir_all(path).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let socket = place.file("open").join("agent.sock");
    let arguments = ["agent", "--socket", "open/agent.sock", "--serve", "payments/db"];
    let mut closed = place.start(&arguments);
    closed.until("the socket", || curl(&socket, AT_SOCKET, &[], None).status == 200);
    assert_eq!(curl(&socket, AT_SOCKET, &[], Some(NOBODY)).status, 0, "it cannot connect");
    drop(closed);
    let mut open = place.start(&[arguments.as_slice(), &["--allow-uid", NOBODY]].concat());
    open.until("the socket", || curl(&socket, AT_SOCKET, &[], None).status == 200);
    assert_eq!(curl(&socket, AT_SOCKET, &[], Some(NOBODY)).status, 200);
    let refused = curl(&socket, AT_SOCKET, &[], Some("65533"));
    assert_eq!(refused.status, 403);
    assert!(!refused.body.contains("what it holds"));
}
