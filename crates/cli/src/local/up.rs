//! `keyward up`: runs Keyward from a state directory until it is told to stop. It hands the rings over as files: their text passes
//! through no argument and no environment.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failure::Result;
use crate::table::{Card, Cell};
use crate::{Ending, Failure, Global, Terminal};
use clap::{Args, ValueEnum};
use hyper::header;
use keyward_crypto::{SecretText, Zeroizing};
use keyward_domain::error::Blame;
use keyward_domain::ports::Clock;
use keyward_host::{BlockedNetworks, FileStore, HostConfig, LogConfig, LogFormat, Running, TlsFiles};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::rings::{RINGS, make_vault_keyring};
use super::start_failure;
use super::state::StateDir;
use super::store::RealClock;

/// The variable that says where people reach Keyward, as `spin.toml` names it.
const PUBLIC_URL: &str = "public_url";

/// The variable that names a witness, as `spin.toml` has it.
const WITNESS_STORE: &str = "witness_store";
/// What the witness in a file is called.
const WITNESS_LABEL: &str = "witness";
/// The components that write: each asks the witness before.
const WITNESSED: [&str; 8] =
    ["issuance", "revocation", "rotation", "audit", "delivery", "vault", "dashboard", "scheduler"];

/// The variable that allows webhooks and providers to lead to private addresses.
const PRIVATE_TARGETS: &str = "webhook_private_targets";
/// The variable by which whoever runs Keyward has the calls made that are due.
const MAINTENANCE_TOKEN: &str = "maintenance_token";
/// The routes that make them: of webhooks, and of the providers of credentials.
const OUTBOUND_ROUTES: [&str; 2] = ["/v1/delivery/run", "/v1/credentials/rotations/run"];
/// How often each of them is asked for.
const OUTBOUND_EVERY: Duration = Duration::from_secs(10);

/// A start from compiled components takes well under a second; whoever waits longer is told why.
const SILENT_START_MAX: Duration = Duration::from_secs(2);

/// `keyward up`.
#[derive(Debug, Args)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Where `keyward init` put rings, root key and store
    #[arg(long, value_name = "DIR", default_value = ".keyward")]
    state_dir: PathBuf,
    /// The application's manifest
    #[arg(long, short = 'f', value_name = "FILE", default_value = "spin.toml")]
    from: PathBuf,
    /// Spin's runtime configuration, where the store lies elsewhere
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
    /// A second store, on another disk and in no common backup: it remembers how far the audit log was, and where the store is
    /// behind it, administration is frozen. Made if absent
    #[arg(long, value_name = "FILE")]
    witness_file: Option<PathBuf>,
    /// The listener's certificate chain, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The listener's private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Where people reach Keyward: claims' links lead there [default: where it listens]
    #[arg(long, value_name = "URL", env = "KEYWARD_PUBLIC_URL")]
    public_url: Option<String>,
    /// Another variable of the manifest, NAME=VALUE or NAME=@FILE, such as `trusted_proxies=10.0.0.0/8`; may repeat
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// How the log on standard error looks
    #[arg(long, value_enum, default_value = "auto")]
    log_format: LogLook,
}

/// How the log looks.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogLook {
    /// For a person on a terminal, JSON lines otherwise
    Auto,
    /// For a person
    Human,
    /// JSON lines
    Json,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE or NAME=@FILE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Carries it out; returns when it was told to stop and has.
pub fn run(global: &Global, options: Options, terminal: &Terminal) -> Result<Ending> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::system("runtime", error))?;
    let ended = runtime.block_on(serve(global, options, terminal));
    // What is still blocked after a stop's bounds is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended
}

async fn serve(global: &Global, options: Options, terminal: &Terminal) -> Result<Ending> {
    // Before the start: a signal meanwhile is not lost.
    let mut signals = Signals::new()?;
    let state = StateDir::new(&options.state_dir);
    if make_vault_keyring(&state, &RealClock::default().now().to_string())? {
        terminal.note("Made the ring of the vault, which this state did not have: keep a copy of it with those of the others.");
    }
    let (mut config, token) = (config(options, &state)?, fresh_token()?);
    // Made anew at each start and kept by this process alone, unless somebody outside is to have it as well.
    let token = match config.variables.iter().find(|(name, _)| name == MAINTENANCE_TOKEN) {
        Some(_) => None,
        None => {
            config.variables.push((MAINTENANCE_TOKEN.to_owned(), token.expose().to_owned()));
            Some(token)
        }
    };
    let start = std::pin::pin!(keyward_host::start(config));
    let start = async {
        let mut start = start;
        if let Ok(started) = tokio::time::timeout(SILENT_START_MAX, &mut start).await {
            return started;
        }
        terminal.note("Compiling components: the first start takes longer.");
        start.await
    };
    let running = tokio::select! {
        started = start => started.map_err(|error| start_failure(&error))?,
        () = signals.next() => return Ok(Ending::Done),
    };
    announce(global, &running, &state, terminal)?;
    tokio::select! {
        () = signals.next() => {}
        () = call_out(&running, token) => {}
    }
    tokio::select! {
        () = running.shutdown() => Ok(Ending::Done),
        () = signals.next() => {
            Err(Failure::new(Blame::Caller, "Stopped at once", "a second signal came; requests in flight were cut"))
        }
    }
}

/// Has the calls made that are due, from time to time, for as long as the host runs. What fails is in the host's log, and tried again.
async fn call_out(running: &Running, token: Option<SecretText>) {
    let Some(token) = token else {
        // Whoever gave the token asks for it.
        return std::future::pending().await;
    };
    // Neither waits for the other: a webhook that does not answer must not hold a rotation up.
    futures::future::join_all(OUTBOUND_ROUTES.map(|route| ask_again_and_again(running, route, &token))).await;
}

async fn ask_again_and_again(running: &Running, route: &str, token: &SecretText) {
    loop {
        tokio::time::sleep(OUTBOUND_EVERY).await;
        let bearer = Zeroizing::new(format!("Bearer {}", token.expose()));
        let request = hyper::Request::post(route)
            .header(header::HOST, running.addr().to_string())
            .header(header::AUTHORIZATION, bearer.as_str())
            .body(bytes::Bytes::new());
        if let Ok(request) = request {
            running.ask(request).await;
        }
    }
}

/// 256 random bits, as hex.
fn fresh_token() -> Result<SecretText> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|error| Failure::system("randomness", error))?;
    Ok(SecretText::new(keyward_crypto::digest::hex(bytes.as_slice())))
}

fn config(options: Options, state: &StateDir) -> Result<HostConfig> {
    state.check_complete()?;
    let listen = with_port(options.listen)?;
    let tls = options.tls_cert.zip(options.tls_key).map(|(cert, key)| TlsFiles { cert, key });
    let mut variables: Vec<(String, String)> = RINGS
        .iter()
        .map(|ring| (ring.name.to_owned(), format!("@{}", state.variable(ring.name).display())))
        .collect();
    // What Spin's own environment variable says is respected: the host's precedence puts ours before it.
    let from_environment = std::env::var_os("SPIN_VARIABLE_PUBLIC_URL").is_some();
    let public_url = options.public_url.or_else(|| {
        (!from_environment).then(|| format!("{}://{}", scheme(tls.is_some()), reachable(listen)))
    });
    variables.extend(public_url.map(|url| (PUBLIC_URL.to_owned(), url.trim_end_matches('/').to_owned())));
    if options.witness_file.is_some() {
        variables.push((WITNESS_STORE.to_owned(), WITNESS_LABEL.to_owned()));
    }
    variables.retain(|(name, _)| options.variables.iter().all(|(given, _)| given != name));
    variables.extend(options.variables);

    let mut config = HostConfig::new(options.from);
    config.listen = listen;
    config.state_dir = state.path().to_owned();
    config.runtime_config = options.runtime_config_file;
    config.file_stores = options.witness_file.as_deref().map(witness_store).into_iter().collect();
    let given = variables.iter().find(|(name, _)| name == PRIVATE_TARGETS).map(|(_, value)| value.clone());
    let private_targets = given.or_else(|| std::env::var("SPIN_VARIABLE_WEBHOOK_PRIVATE_TARGETS").ok());
    if private_targets.is_none_or(|allowed| allowed.trim() != "true") {
        // A name that leads there passes the component's look at the URL, and nothing after this.
        config.blocked_networks = BlockedNetworks::private();
    }
    config.variables = variables;
    config.tls = tls;
    config.log = LogConfig {
        format: match options.log_format {
            LogLook::Auto => LogFormat::Auto,
            LogLook::Human => LogFormat::Human,
            LogLook::Json => LogFormat::Json,
        },
        ..LogConfig::default()
    };
    Ok(config)
}

/// The store that is a witness.
pub(super) fn witness_store(path: &Path) -> FileStore {
    FileStore {
        label: WITNESS_LABEL.to_owned(),
        path: path.to_owned(),
        components: WITNESSED.map(str::to_owned).to_vec(),
    }
}

const fn scheme(is_tls: bool) -> &'static str {
    if is_tls { "https" } else { "http" }
}

/// The address with a port in it: the public URL must name it before the host listens.
fn with_port(listen: SocketAddr) -> Result<SocketAddr> {
    if listen.port() != 0 {
        return Ok(listen);
    }
    std::net::TcpListener::bind(listen).and_then(|listener| listener.local_addr()).map_err(|error| {
        Failure::new(Blame::Caller, "The address cannot be used", format!("{listen}: {error}"))
    })
}

/// Where this machine reaches what listens on all of its addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

fn announce(global: &Global, running: &Running, state: &StateDir, terminal: &Terminal) -> Result<()> {
    let (url, root_key) = (running.url(), state.root_key().display().to_string());
    let dashboard = format!("{url}/dashboard");
    if global.json {
        let json = serde_json::json!({ "listening": url, "dashboard": dashboard, "root_key": root_key });
        return terminal.print(&crate::escape::shown_json(&json.to_string()));
    }
    let card = Card::new()
        .field("Keyward", Cell::new(url))
        .field("dashboard", Cell::new(dashboard))
        .field("root key", Cell::new(root_key));
    terminal.print(&card.render(terminal.styles()))
}

/// The two signals that mean "stop".
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self> {
        let of = |kind| signal(kind).map_err(|error| Failure::system("signals", error));
        Ok(Self { terminate: of(SignalKind::terminate())?, interrupt: of(SignalKind::interrupt())? })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_reached_by_the_loopback() {
        for (listen, expected) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("192.0.2.1:80", "192.0.2.1:80")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected);
        }
    }
}
