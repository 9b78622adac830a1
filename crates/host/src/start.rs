//! From a configuration to a running host, and back down.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::uri::Scheme;
use http_body_util::{BodyExt as _, Full};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use wasmtime::component::{Component as Wasm, Linker};
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::{ProxyHandler, ProxyPre};

use crate::app::{App, Destination};
use crate::artifact::load_or_compile;
use crate::bindings::cron::CronPre;
use crate::connect::Networking;
use crate::cron::{CronComponent, parse_schedule};
use crate::engine;
use crate::error::StartError;
use crate::guest::{ComponentConfig, Environment, GuestState};
use crate::http::server;
use crate::http::tls::{TlsFiles, acceptor};
use crate::http::worker::Handler;
use crate::limits::Limits;
use crate::log::{Log, LogConfig};
use crate::manifest::{Answer, Component, Manifest};
use crate::networks::BlockedNetworks;
use crate::outbound::AllowedHosts;
use crate::route::Router;
use crate::store::config::{networking, open_stores};
use crate::traces::Traces;
use crate::variables::Values;
use crate::world::clock::Clock;
use crate::world::{World, WorldConfig, control};

/// What to run, and how. No `Debug`: variables may be secrets.
pub struct HostConfig {
    /// The application's `spin.toml`.
    pub manifest: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where stores and the cache of compiled components lie. Made if absent, mode 0700.
    pub state_dir: PathBuf,
    /// `runtime-config.toml`, if there is one.
    pub runtime_config: Option<PathBuf>,
    /// Further stores.
    pub file_stores: Vec<FileStore>,
    /// Networks that no component is connected to, beside those of the runtime configuration.
    pub blocked_networks: BlockedNetworks,
    /// Variables given by hand: name and value, or name and `@` with the path of a file.
    pub variables: Vec<(String, String)>,
    /// Certificate and key; without them the listener speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Every bound.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Where compiled components are kept; `cache` in the state directory unless named.
    pub cache_dir: Option<PathBuf>,
    /// Whether `/tmp/perf-PID.map` is written, by which `perf` names the guests' functions.
    pub perf_map: bool,
    /// The test world, if this start is to have one.
    pub world: Option<WorldConfig>,
}

impl HostConfig {
    /// The application at `manifest` on 127.0.0.1:3000 with its state in `.spin` beside the manifest, as
    /// `spin up` has it.
    pub fn new(manifest: impl Into<PathBuf>) -> Self {
        let manifest = manifest.into();
        let state_dir = manifest.parent().unwrap_or(Path::new(".")).join(".spin");
        Self {
            manifest,
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            state_dir,
            runtime_config: None,
            file_stores: Vec::new(),
            blocked_networks: BlockedNetworks::default(),
            variables: Vec::new(),
            tls: None,
            limits: Limits::default(),
            log: LogConfig::default(),
            cache_dir: None,
            perf_map: false,
            world: None,
        }
    }
}

/// A store in an SQLite file that neither the manifest nor the runtime configuration has.
#[derive(Debug, Clone)]
pub struct FileStore {
    /// What components call it.
    pub label: String,
    /// Its file; made if absent.
    pub path: PathBuf,
    /// The components that may open it, by their ids.
    pub components: Vec<String>,
}

/// A host that runs. Dropping it stops it without waiting; [`Running::shutdown`] waits.
pub struct Running {
    addr: SocketAddr,
    scheme: &'static str,
    control: Option<SocketAddr>,
    app: Arc<App>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts the application and returns once it listens.
///
/// # Errors
/// [`StartError`], sorted by who can mend it.
pub async fn start(config: HostConfig) -> Result<Running, StartError> {
    let mut manifest = Manifest::load(&config.manifest)?;
    for store in &config.file_stores {
        manifest.admit(store).map_err(|reason| StartError::manifest(&config.manifest, reason))?;
    }
    let fault = |reason: String| StartError::manifest(&config.manifest, reason);
    let values = Values::resolve(&manifest, &config.variables, |name| std::env::var(name).ok())?;
    let tls = config.tls.as_ref().map(acceptor).transpose()?;
    make_private(&config.state_dir)?;
    let log = Log::start(config.log);
    let world = config.world.as_ref().map(|world| Arc::new(World::new(world)));
    let stores = open_stores(
        config.runtime_config.as_deref(),
        &config.file_stores,
        &config.state_dir,
        &config.limits,
        world.as_ref(),
    )?;
    for (id, component) in &manifest.components {
        for label in &component.key_value_stores {
            if stores.get(label).is_none() {
                return Err(StartError::store(
                    label,
                    format!(
                        "component `{id}` may open it, but no `[key_value_store.{label}]` in the runtime configuration says where it is kept"
                    ),
                ));
            }
        }
    }
    let (stop, stopping) = watch::channel(false);
    let Networking { blocked, client_tls } = networking(config.runtime_config.as_deref(), world.is_some())?;
    let env = Arc::new(Environment {
        engine: engine::build(&config.limits, config.perf_map)?,
        log,
        traces: Traces::start(&manifest.name, |name| std::env::var(name).ok())?,
        stores,
        networking: Networking { blocked: config.blocked_networks.and(blocked), client_tls },
        clock: world.as_ref().map_or_else(|| Arc::new(Clock::real()), |world| world.clock.clone()),
        world,
        outbound: Arc::new(Semaphore::new(config.limits.outbound_in_flight_max)),
        chained: Arc::new(Semaphore::new(config.limits.chained_in_flight_max)),
        app: OnceLock::new(),
        live: Arc::new(AtomicUsize::new(0)),
        stopping: stopping.clone(),
        limits: config.limits,
    });

    let cache_dir = config.cache_dir.unwrap_or_else(|| config.state_dir.join("cache"));
    let linker =
        engine::linker(&env.engine, env.clock.is_virtual()).map_err(|e| StartError::Engine(e.to_string()))?;
    let mut loader = Loader { env: env.clone(), linker, cache_dir, loaded: HashMap::new() };
    let mut answers = Vec::new();
    let mut handlers = HashMap::new();
    for trigger in manifest.http.iter() {
        if let Answer::Component(id) = &trigger.answer
            && !handlers.contains_key(id)
        {
            handlers.insert(id.clone(), loader.http(id, &manifest, &values).await?);
        }
    }
    let mut cron = Vec::new();
    for trigger in &manifest.cron {
        let schedule =
            parse_schedule(&trigger.expression).map_err(|e| fault(format!("[[trigger.cron]] {e}")))?;
        let (config, pre) = loader.cron(&trigger.component, &manifest, &values).await?;
        let running = Arc::new(Semaphore::new(env.limits.cron_overlap_max));
        cron.push(CronComponent { config, pre, schedule, running });
    }
    let routes: Vec<_> =
        manifest.http.iter().enumerate().filter_map(|(n, t)| Some((n, t.route.clone()?))).collect();
    let router = Router::new(routes.iter().map(|(n, route)| (*n, route.as_str()))).map_err(fault)?;
    for trigger in manifest.http {
        answers.push(match trigger.answer {
            Answer::Component(id) => Destination::Component(id),
            Answer::Static(fixed) => Destination::Static(fixed),
        });
    }
    let in_flight = Arc::new(Semaphore::new(env.limits.requests_in_flight_max));
    let app = Arc::new(App {
        name: manifest.name,
        version: manifest.version,
        router,
        answers,
        handlers,
        cron,
        env,
        in_flight,
    });
    let _ = app.env.app.set(Arc::downgrade(&app));

    let (listener, addr) = listen(config.listen).await?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut tasks = vec![tokio::spawn(server::serve(listener, tls, app.clone(), stopping.clone()))];
    let mut control_addr = None;
    if let (Some(world), Some(world_config)) = (&app.env.world, &config.world) {
        let (listener, addr) = listen(world_config.control).await?;
        control_addr = Some(addr);
        tasks.push(tokio::spawn(control::serve(listener, app.clone(), world.clone(), stopping.clone())));
        app.env.log.warn(None, "this is a test world: its control interface is open");
    }
    if app.env.world.as_ref().is_none_or(|world| !world.manual_cron) {
        tasks.extend(crate::cron::start(&app, &stopping));
    }
    app.env.log.info(&format!("{} listens on {scheme}://{addr}", app.name));
    Ok(Running { addr, scheme, control: control_addr, app, stop, tasks })
}

impl Running {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }

    /// Where the test world's control interface listens, if there is one.
    pub fn control_addr(&self) -> Option<SocketAddr> {
        self.control
    }

    /// The labels of its stores.
    pub fn stores(&self) -> Vec<&str> {
        self.app.env.stores.labels().collect()
    }

    /// Sends the application a request as one that comes from this machine, without the network; the answer's status. It answers within
    /// the bound of every request.
    pub async fn ask(&self, request: http::Request<bytes::Bytes>) -> http::StatusCode {
        let scheme = if self.scheme == "https" { Scheme::HTTPS } else { Scheme::HTTP };
        let request = request.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync());
        let client = SocketAddr::from(([127, 0, 0, 1], 0));
        self.app.answer::<WasiBody>(request, scheme, client).await.status()
    }

    /// Stops: accepts nothing more, lets requests and then spawned guest tasks finish, each within
    /// [`Limits::stop_time_max`], and closes the stores.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        for task in self.tasks.drain(..) {
            let _ =
                tokio::time::timeout(self.app.env.limits.stop_time_max + Duration::from_secs(1), task).await;
        }
        let deadline = tokio::time::Instant::now() + self.app.env.limits.stop_time_max;
        while self.app.env.live.load(Ordering::Acquire) > 0 {
            if tokio::time::Instant::now() > deadline {
                self.app.env.log.warn(None, "guests were cut: the stop's time bound is met");
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let app = self.app.clone();
        // The writer finishes what is queued: file work, off the runtime's threads.
        let closed = move || {
            app.env.stores.close();
            app.env.traces.flush();
        };
        let _ = tokio::task::spawn_blocking(closed).await;
        self.app.env.log.info("stopped");
        self.app.env.log.flush();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

async fn listen(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let fault = |e: std::io::Error| StartError::system(format!("listen on {addr}"), e);
    let listener = TcpListener::bind(addr).await.map_err(fault)?;
    let addr = listener.local_addr().map_err(fault)?;
    Ok((listener, addr))
}

fn make_private(dir: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| StartError::system(format!("make the state directory `{}`", dir.display()), e))
}

/// Turns components of the manifest into what their triggers need; each file is compiled once.
struct Loader {
    env: Arc<Environment>,
    linker: Linker<GuestState>,
    cache_dir: PathBuf,
    loaded: HashMap<PathBuf, Wasm>,
}

impl Loader {
    async fn http(
        &mut self,
        id: &str,
        manifest: &Manifest,
        values: &Values,
    ) -> Result<ProxyHandler<Handler>, StartError> {
        let (config, wasm) = self.load(id, manifest, values).await?;
        let pre = self.pre(id, &wasm)?;
        let pre = match wasmtime_wasi_http::p3::bindings::ServicePre::new(pre.clone()) {
            Ok(pre) => ProxyPre::P3(pre),
            Err(_) => ProxyPre::P2(wasmtime_wasi_http::p2::bindings::ProxyPre::new(pre).map_err(|_| {
                StartError::component(id, "exports neither `wasi:http/handler@0.3.0` (SDK 7) nor `wasi:http/incoming-handler@0.2`, which an HTTP trigger calls")
            })?),
        };
        Ok(ProxyHandler::new(Handler { env: self.env.clone(), config, pre }))
    }

    async fn cron(
        &mut self,
        id: &str,
        manifest: &Manifest,
        values: &Values,
    ) -> Result<(Arc<ComponentConfig>, CronPre<GuestState>), StartError> {
        let (config, wasm) = self.load(id, manifest, values).await?;
        let pre = CronPre::new(self.pre(id, &wasm)?).map_err(|_| {
            StartError::component(
                id,
                "does not export `handle-cron-event` of `spin:cron@3.0.0`, which a cron trigger calls",
            )
        })?;
        Ok((config, pre))
    }

    fn pre(&self, id: &str, wasm: &Wasm) -> Result<wasmtime::component::InstancePre<GuestState>, StartError> {
        self.linker.instantiate_pre(wasm).map_err(|e| {
            StartError::component(id, format!("imports what this host does not have: {}", e.root_cause()))
        })
    }

    async fn load(
        &mut self,
        id: &str,
        manifest: &Manifest,
        values: &Values,
    ) -> Result<(Arc<ComponentConfig>, Wasm), StartError> {
        let fault = |reason: String| StartError::component(id, reason);
        let component = manifest.components.get(id).ok_or_else(|| fault("is not declared".into()))?;
        let config = configure(id, component, values).map_err(fault)?;
        if let Some(wasm) = self.loaded.get(&component.source) {
            return Ok((config, wasm.clone()));
        }
        let source = component.source.clone();
        let bytes = std::fs::read(&source)
            .map_err(|e| fault(format!("`{}` cannot be read: {e}; is it built?", source.display())))?;
        let (engine, cache_dir) = (self.env.engine.clone(), self.cache_dir.clone());
        let wasm = tokio::task::spawn_blocking(move || load_or_compile(&engine, Some(&cache_dir), &bytes))
            .await
            .map_err(|e| fault(e.to_string()))?
            .map_err(|e| {
                fault(format!("`{}` is no component this host can run: {}", source.display(), e.root_cause()))
            })?;
        self.loaded.insert(component.source.clone(), wasm.clone());
        Ok((config, wasm))
    }
}

fn configure(id: &str, component: &Component, values: &Values) -> Result<Arc<ComponentConfig>, String> {
    let hosts = component
        .allowed_outbound_hosts
        .iter()
        .map(|host| values.fill(host))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(ComponentConfig {
        id: id.into(),
        labels: component.key_value_stores.clone(),
        variables: values.of_component(&component.variables)?,
        allowed: AllowedHosts::parse(hosts.iter().map(String::as_str))?,
        environment: component.environment.clone(),
    }))
}
