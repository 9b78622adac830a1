//! A service under `keyward exec`, and one whose files `keyward agent` keeps, go on through ten rotations of their credential and through an
//! outage of Keyward, with no secret in an argument.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keyward_e2e::relay::Relay;
use keyward_e2e::{Keyward, Request, Setup, json};

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
