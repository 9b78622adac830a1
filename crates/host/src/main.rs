//! `keyward-host`: runs a Spin application in the foreground. When it is ready it prints one line of JSON to
//! stdout, `{"listening":"http://127.0.0.1:3000"}`, in the test world with `"control":"http://127.0.0.1:4000"`
//! too; everything else goes to stderr. Exits 0 after SIGINT or SIGTERM, 1 when it could not start.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use keyward_host::{HostConfig, Limits, LogConfig, LogFormat, TlsFiles, WorldConfig, start};
use tokio::signal::unix::{SignalKind, signal};

/// Runs a Spin application from its spin.toml.
#[derive(Parser)]
#[command(version, args_override_self = true)]
struct Args {
    /// The application's manifest.
    #[arg(short = 'f', long = "from", default_value = "spin.toml")]
    manifest: PathBuf,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Where stores and compiled components are kept; `.spin` beside the manifest unless named.
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// Says where stores other than `default` are kept.
    #[arg(long)]
    runtime_config_file: Option<PathBuf>,
    /// A variable: NAME=VALUE, or NAME=@FILE. Repeatable.
    #[arg(long = "variable", value_parser = parse_variable)]
    variables: Vec<(String, String)>,
    /// The listener's certificate chain, in PEM.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The listener's private key, in PEM.
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Where compiled components are kept; `cache` in the state directory unless named.
    #[arg(long)]
    cache_dir: Option<PathBuf>,
    /// Writes `/tmp/perf-PID.map`, by which `perf` names the guests' functions.
    #[arg(long)]
    perf_map: bool,
    /// Only warnings and errors of the host; no output of guests.
    #[arg(long)]
    quiet: bool,
    /// The log as JSON lines even on a terminal.
    #[arg(long)]
    log_json: bool,
    #[command(flatten)]
    bounds: Bounds,
    #[command(flatten)]
    world: World,
}

/// Bounds that differ from machine to machine; the others are the library's.
#[derive(clap::Args)]
struct Bounds {
    /// Connections open at once.
    #[arg(long)]
    connections_max: Option<usize>,
    /// Requests in flight; above it callers get 503.
    #[arg(long)]
    requests_in_flight_max: Option<usize>,
    /// Milliseconds a guest may take to answer.
    #[arg(long)]
    request_time_max_ms: Option<u64>,
    /// Milliseconds a client may take to send a request's head.
    #[arg(long)]
    request_head_time_max_ms: Option<u64>,
    /// Bytes of a request's body.
    #[arg(long)]
    request_body_bytes_max: Option<u64>,
    /// Instances alive at once; when none is free callers get 503.
    #[arg(long)]
    instances_max: Option<u32>,
    /// Bytes of one guest's memory.
    #[arg(long)]
    guest_memory_bytes_max: Option<usize>,
    /// Milliseconds one store call may take.
    #[arg(long)]
    store_time_max_ms: Option<u64>,
    /// Milliseconds a stop waits.
    #[arg(long)]
    stop_time_max_ms: Option<u64>,
}

/// The test world; `--control` switches it on.
#[derive(clap::Args)]
struct World {
    /// Opens the test world's control interface here. Never where others can reach it.
    #[arg(long)]
    control: Option<SocketAddr>,
    /// Starts the guests' clock at this Unix second; `POST /clock/advance` moves it.
    #[arg(long, requires = "control")]
    virtual_clock: Option<u64>,
    /// The virtual clock moves on order alone.
    #[arg(long, requires = "virtual_clock")]
    frozen: bool,
    /// Makes the guests' randomness repeat.
    #[arg(long, requires = "control")]
    seed: Option<u64>,
    /// Cron triggers fire by `POST /cron/tick` alone.
    #[arg(long, requires = "control")]
    manual_cron: bool,
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    // The text may hold a secret: it is not repeated.
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE or NAME=@FILE is needed")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Args {
    fn into_config(self) -> HostConfig {
        let mut config = HostConfig::new(self.manifest);
        config.listen = self.listen;
        if let Some(dir) = self.state_dir {
            config.state_dir = dir;
        }
        config.runtime_config = self.runtime_config_file;
        config.variables = self.variables;
        config.tls = self.tls_cert.zip(self.tls_key).map(|(cert, key)| TlsFiles { cert, key });
        config.cache_dir = self.cache_dir;
        config.perf_map = self.perf_map;
        config.log = LogConfig {
            format: if self.log_json { LogFormat::Json } else { LogFormat::Auto },
            quiet: self.quiet,
        };
        config.limits = self.bounds.apply(Limits::default());
        let world = self.world;
        config.world = world.control.map(|control| WorldConfig {
            control,
            virtual_clock_s: world.virtual_clock,
            frozen: world.frozen,
            seed: world.seed,
            manual_cron: world.manual_cron,
        });
        config
    }
}

impl Bounds {
    fn apply(&self, mut limits: Limits) -> Limits {
        let ms = |given: Option<u64>, default: Duration| given.map_or(default, Duration::from_millis);
        limits.connections_max = self.connections_max.unwrap_or(limits.connections_max);
        limits.requests_in_flight_max = self.requests_in_flight_max.unwrap_or(limits.requests_in_flight_max);
        limits.request_time_max = ms(self.request_time_max_ms, limits.request_time_max);
        limits.request_head_time_max = ms(self.request_head_time_max_ms, limits.request_head_time_max);
        limits.request_body_bytes_max = self.request_body_bytes_max.unwrap_or(limits.request_body_bytes_max);
        limits.instances_max = self.instances_max.unwrap_or(limits.instances_max);
        limits.guest_memory_bytes_max = self.guest_memory_bytes_max.unwrap_or(limits.guest_memory_bytes_max);
        limits.store_time_max = ms(self.store_time_max_ms, limits.store_time_max);
        limits.stop_time_max = ms(self.stop_time_max_ms, limits.stop_time_max);
        limits
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no runtime: {error}")),
    };
    let code = runtime.block_on(run(args.into_config()));
    // What is still blocked after a stop's bounds is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

async fn run(config: HostConfig) -> ExitCode {
    // Before the start: a signal meanwhile is not lost.
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else { return fail("signals cannot be handled") };
    let running = tokio::select! {
        started = start(config) => match started {
            Ok(running) => running,
            Err(error) => return fail(&error.to_string()),
        },
        _ = terminate.recv() => return ExitCode::SUCCESS,
        _ = interrupt.recv() => return ExitCode::SUCCESS,
    };
    let mut ready = serde_json::Map::from_iter([("listening".to_owned(), running.url().into())]);
    if let Some(control) = running.control_addr() {
        ready.insert("control".into(), format!("http://{control}").into());
    }
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{}", serde_json::Value::Object(ready)).and_then(|()| stdout.flush());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.shutdown().await;
    ExitCode::SUCCESS
}

fn fail(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {message}");
    ExitCode::FAILURE
}
