//! Keyward in a process of its own, on a state directory of its own that `keyward init` made. Killed and removed when dropped.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use keyward_domain::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::http::{Connection, Reply, Request};
use crate::network::TestHost;
use crate::programs;
use crate::redis::RedisServer;

/// The variables that `keyward init` leaves in files.
pub const SECRET_VARIABLES: [&str; 6] =
    ["records_keyring", "audit_keyring", "peppers", "signing_keys", "vault_keyring", "log_keys"];
/// What claims' links start with, where a test does not ask for another.
pub const PUBLIC_URL: &str = "https://keys.example";
/// Where a store other than SQLite is configured, in the folder of a test.
const RUNTIME_CONFIG: &str = "runtime-config.toml";
/// Where a test's own manifest lies.
const MANIFEST: &str = "spin.toml";
/// The label of a witness.
const WITNESS: &str = "witness";
/// The file of a witness, in the folder of a test.
pub const WITNESS_FILE: &str = "witness.db";
/// Lines of the host's log that a failed test shows.
const LOG_LINES_SHOWN: usize = 40;

/// Which program runs Keyward.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    /// `keyward-host` with its test world.
    Host,
    /// `keyward up`, as people run it.
    Command,
}

/// A Keyward to be started.
#[derive(Clone)]
pub struct Setup {
    program: Program,
    is_on_redis: bool,
    is_ticking: bool,
    has_witness: bool,
    on_host: Option<Arc<TestHost>>,
    runtime_config: String,
    variables: Vec<(String, String)>,
}

impl Setup {
    /// On SQLite, in the host's test world: a virtual clock that flows, and the control interface.
    pub fn new() -> Self {
        Self {
            program: Program::Host,
            is_on_redis: false,
            is_ticking: false,
            has_witness: false,
            on_host: None,
            runtime_config: String::new(),
            variables: Vec::new(),
        }
    }

    /// On a Redis server of its own.
    #[must_use]
    pub fn on_redis(mut self) -> Self {
        self.is_on_redis = true;
        self
    }

    /// With the scheduler's clock running. Else it ticks by [`Keyward::tick`] alone, so that store calls are a test's own.
    #[must_use]
    pub fn ticking(mut self) -> Self {
        self.is_ticking = true;
        self
    }

    /// With a second store that remembers how far the log was: a label of the manifest, or a file where it runs by the command.
    #[must_use]
    pub fn with_witness(self) -> Self {
        Self { has_witness: true, ..self }
    }

    /// On a host that connects nobody to a private network, as docs/webhooks.md has it.
    #[must_use]
    pub fn without_private_networks(self) -> Self {
        self.configured("[outbound_networking]\nblock_networks = [\"private\"]\n")
    }

    /// With this in its runtime configuration.
    #[must_use]
    pub fn configured(mut self, text: &str) -> Self {
        self.runtime_config.push_str(text);
        self
    }

    /// By `keyward up`, without a test world.
    #[must_use]
    pub fn by_command(mut self) -> Self {
        self.program = Program::Command;
        self
    }

    /// On a host of the test's.
    #[must_use]
    pub fn on_host(self, host: &Arc<TestHost>) -> Self {
        Self { on_host: Some(Arc::clone(host)), ..self }
    }

    /// With another variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes the state and starts.
    ///
    /// # Panics
    /// Where either fails.
    pub fn start(self) -> Keyward {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let redis = self.is_on_redis.then(|| redis_for(folder.path()));
        let mut setup = self;
        if !setup.runtime_config.is_empty() {
            configure(folder.path(), &setup.runtime_config);
        }
        if setup.has_witness && matches!(setup.program, Program::Host) {
            witness_for(folder.path());
            setup = setup.variable("witness_store", WITNESS);
        }
        let stage = Stage { folder, setup };
        let mut init = Command::new(programs::program("keyward"));
        init.arg("init").arg("--state-dir").arg(stage.state()).args(stage.runtime_config());
        let output = init.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "keyward init: {}", String::from_utf8_lossy(&output.stderr));
        let root = std::fs::read_to_string(stage.state().join("root.key")).unwrap().trim().to_owned();
        let running = stage.run(0);
        Keyward { stage, running, redis, root, advanced_ms: Mutex::new(0), seen: Mutex::default() }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

/// A Redis server that keeps its files below `folder`, and the runtime configuration that leads to it.
fn redis_for(folder: &Path) -> RedisServer {
    let redis = RedisServer::start(&folder.join("redis"));
    let config = format!("[key_value_store.default]\ntype = \"redis\"\nurl = \"{}\"\n", redis.url());
    std::fs::write(folder.join(RUNTIME_CONFIG), config).unwrap();
    redis
}

/// A witness below `folder`, as docs/deploying.md has it: where it is kept, and a manifest whose components may open it.
fn witness_for(folder: &Path) {
    let path = folder.join(WITNESS_FILE);
    let config = format!("[key_value_store.{WITNESS}]\ntype = \"spin\"\npath = \"{}\"\n", path.display());
    configure(folder, &config);
    let labels = |labels: &str| format!("key_value_stores = [{labels}]");
    let manifest = std::fs::read_to_string(programs::manifest())
        .unwrap()
        .replace(&labels("\"default\""), &labels(&format!("\"default\", \"{WITNESS}\"")))
        .replace("source = \"target/", &format!("source = \"{}/", programs::target().display()));
    std::fs::write(folder.join(MANIFEST), manifest).unwrap();
}

/// Adds to the runtime configuration.
fn configure(folder: &Path, config: &str) {
    File::options()
        .create(true)
        .append(true)
        .open(folder.join(RUNTIME_CONFIG))
        .and_then(|mut file| file.write_all(config.as_bytes()))
        .unwrap();
}

/// The flag that leads to it, where there is one.
fn runtime_config(folder: &Path) -> Vec<PathBuf> {
    let path = folder.join(RUNTIME_CONFIG);
    if path.exists() { vec!["--runtime-config-file".into(), path] } else { Vec::new() }
}

/// What gives a program another time, out of Debian's package `faketime`; `cargo xtask test` installs it.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// One component on the host, without Keyward around it.
pub struct Bare {
    running: Running,
    // Dropped after the process that uses them.
    _redis: Option<RedisServer>,
    _folder: TempDir,
}

impl Bare {
    /// Starts the host with this component behind every route and a fresh store, on Redis or on SQLite.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(component: &Path, is_on_redis: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let redis = is_on_redis.then(|| redis_for(folder.path()));
        let manifest = format!(
            "spin_manifest_version = 2\n[application]\nname = \"bare\"\nversion = \"0.1.0\"\n\
             [[trigger.http]]\nroute = \"/...\"\ncomponent = \"bare\"\n\
             [component.bare]\nsource = \"{}\"\nkey_value_stores = [\"default\"]\n",
            component.display()
        );
        std::fs::write(folder.path().join("spin.toml"), manifest).unwrap();
        let mut host = Command::new(programs::program("keyward-host"));
        host.arg("--from").arg(folder.path().join("spin.toml"));
        host.arg("--state-dir").arg(folder.path().join("state")).args(["--listen", "127.0.0.1:0"]);
        host.arg("--cache-dir").arg(programs::compiled_components()).args(runtime_config(folder.path()));
        let running = Running::start(host, &folder.path().join("host.log"));
        Self { running, _redis: redis, _folder: folder }
    }

    /// A connection.
    pub fn connect(&self) -> Connection {
        Connection::open(self.running.address)
    }
}

/// What outlives a process: the folder, and how to start on it.
#[derive(Clone)]
struct Stage {
    folder: Arc<TempDir>,
    setup: Setup,
}

impl Stage {
    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn runtime_config(&self) -> Vec<PathBuf> {
        runtime_config(self.folder.path())
    }

    fn command(&self, advanced_ms: u64) -> Command {
        let state = self.state();
        let mut command = match self.setup.program {
            Program::Host => {
                let mut host = Command::new(programs::program("keyward-host"));
                for name in SECRET_VARIABLES {
                    let file = state.join("variables").join(format!("{name}.json"));
                    host.arg("--variable").arg(format!("{name}=@{}", file.display()));
                }
                // Later than whatever was written before, by this machine's clock or a moved one.
                let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
                let start_s = now_s + advanced_ms.div_ceil(1000) + 1;
                if !self.setup.variables.iter().any(|(name, _)| name == "public_url") {
                    host.args(["--variable", &format!("public_url={PUBLIC_URL}")]);
                }
                host.args(["--control", "127.0.0.1:0", "--virtual-clock", &start_s.to_string()]);
                host.args((!self.setup.is_ticking).then_some("--manual-cron"));
                host.arg("--cache-dir").arg(programs::compiled_components());
                host
            }
            Program::Command => {
                std::fs::create_dir_all(programs::compiled_components()).unwrap();
                let cache = state.join("cache");
                if !cache.exists() {
                    std::os::unix::fs::symlink(programs::compiled_components(), cache).unwrap();
                }
                let mut keyward = Command::new(programs::program("keyward"));
                keyward.args(["--json", "up"]);
                if self.setup.has_witness {
                    keyward.arg("--witness-file").arg(self.folder.path().join(WITNESS_FILE));
                }
                keyward
            }
        };
        let own = self.folder.path().join(MANIFEST);
        let manifest = if own.exists() { own } else { programs::manifest() };
        command.arg("--from").arg(manifest).arg("--state-dir").arg(state);
        let address = self.setup.on_host.as_ref().map_or(Ipv4Addr::LOCALHOST, |host| host.address());
        command.arg("--listen").arg(format!("{address}:0")).args(self.runtime_config());
        for (name, value) in &self.setup.variables {
            command.args(["--variable", &format!("{name}={value}")]);
        }
        match &self.setup.on_host {
            Some(host) => host.inside(&command),
            None => command,
        }
    }

    fn run(&self, advanced_ms: u64) -> Running {
        Running::start(self.command(advanced_ms), &self.log_path())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("host.log")
    }
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    control: Option<SocketAddr>,
    child: Child,
}

impl Running {
    /// Starts a host and takes the line with its addresses.
    pub(crate) fn start(mut command: Command, log_path: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log_path).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("it did not start: {line}{}", std::fs::read_to_string(log_path).unwrap());
        };
        let address = |name: &str| -> Option<SocketAddr> {
            let url = ready.get(name)?.as_str()?;
            url.split_once("://")?.1.parse().ok()
        };
        Self { address: address("listening").unwrap(), control: address("control"), child }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGKILL; it may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A second process on the store of a Keyward.
pub struct Twin(Running);

impl Twin {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }
}

/// A running Keyward.
pub struct Keyward {
    running: Running,
    // Dropped after the process that uses it.
    redis: Option<RedisServer>,
    stage: Stage,
    root: String,
    advanced_ms: Mutex<u64>,
    seen: Mutex<Vec<(String, Reply)>>,
}

impl Keyward {
    /// On SQLite in the test world: what most tests want.
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// Another process on the same state; stores that take several processes alone can carry it.
    pub fn beside(&self) -> Self {
        let (stage, advanced_ms) = (self.stage.clone(), *self.advanced_ms.lock().unwrap());
        let running = stage.run(advanced_ms);
        let root = self.root.clone();
        Self {
            stage,
            running,
            redis: None,
            root,
            advanced_ms: Mutex::new(advanced_ms),
            seen: Mutex::default(),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.running.address)
    }

    pub(crate) fn control_address(&self) -> SocketAddr {
        self.running.control.expect("started in the test world")
    }

    pub(crate) fn advanced_ms(&self) -> &Mutex<u64> {
        &self.advanced_ms
    }

    /// The token of the root key.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The folder that `keyward init` made.
    pub fn state_dir(&self) -> PathBuf {
        self.stage.state()
    }

    /// A folder that vanishes with this Keyward.
    pub fn folder(&self) -> &Path {
        self.stage.folder.path()
    }

    /// What the host has logged, over all of its starts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.stage.log_path()).unwrap()).into_owned()
    }

    /// The Redis server below, if there is one.
    pub fn redis(&self) -> Option<&RedisServer> {
        self.redis.as_ref()
    }

    /// The same, to stop and start it while others ask.
    pub fn take_redis(&mut self) -> Option<RedisServer> {
        self.redis.take()
    }

    /// The same, to stop and start it.
    pub fn redis_mut(&mut self) -> Option<&mut RedisServer> {
        self.redis.as_mut()
    }

    /// A connection.
    pub fn connect(&self) -> Connection {
        Connection::open(self.running.address)
    }

    /// Sends a request on a connection of its own.
    pub fn send(&self, request: Request) -> Reply {
        let reply = self.connect().exchange(&request);
        self.seen.lock().unwrap().push((request.line(), reply.clone()));
        reply
    }

    /// The same as root.
    pub fn as_root(&self, request: Request) -> Reply {
        self.send(request.bearer(&self.root))
    }

    /// Every answer that [`Keyward::send`] has had so far, with its request's line.
    pub fn seen(&self) -> Vec<(String, Reply)> {
        self.seen.lock().unwrap().clone()
    }

    /// Another process on the same store; killed when dropped.
    pub fn twin(&self) -> Twin {
        Twin(self.stage.run(*self.advanced_ms.lock().unwrap()))
    }

    /// Kills it where it stands.
    ///
    /// # Panics
    /// Where `kill` cannot be run.
    pub fn kill(&self) {
        let pid = self.running.child.id().to_string();
        assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    }

    /// Kills it where it stands and waits until nothing of it is left.
    pub fn end(&mut self) {
        self.kill();
        let _ = self.running.child.wait();
    }

    /// A command that works on the state itself, next to the store.
    pub fn local_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs::program("keyward"));
        command.args(arguments).arg("--state-dir").arg(self.state_dir()).args(self.stage.runtime_config());
        command.stdin(Stdio::null());
        command
    }

    /// Waits for its end, which somebody brought about, and starts it again on the same state.
    pub fn restart_after_end(&mut self) {
        let _ = self.running.child.wait();
        let advanced_ms = *self.advanced_ms.lock().unwrap();
        self.running = self.stage.run(advanced_ms);
    }

    /// The same command, at the time that the guests have: what it is answered is signed by their clock.
    pub fn command_at_its_time(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        let now_s = i64::try_from(self.now_ms() / 1000).unwrap();
        let text = Timestamp::from_unix_ms(now_s * 1000).to_string();
        // `@2027-01-31 08:00:00`: begins there, and goes on from there.
        let start = text.replace('T', " ");
        command.env("TZ", "UTC").env("LD_PRELOAD", FAKETIME).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command.env("FAKETIME", format!("@{}", &start[..19]));
        command
    }

    /// The `keyward` command against this Keyward, as root, with a home of its own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs::program("keyward"));
        command.args(arguments).env("KEYWARD_URL", self.url()).stdin(Stdio::null());
        command.env("KEYWARD_KEY_FILE", self.state_dir().join("root.key"));
        command
    }
}

impl Drop for Keyward {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = lines.len().saturating_sub(LOG_LINES_SHOWN);
            eprintln!("the end of the host's log:\n{}", lines[shown..].join("\n"));
        }
    }
}
