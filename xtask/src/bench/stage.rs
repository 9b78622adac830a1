//! Sets a stage of the bench: a state directory of its own, a manifest with the bare components beside Keyward's, the host that runs
//! them, and keys to check. Takes everything away afterwards.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use toml::Table;

use super::client::Connection;
use super::load;
use super::workloads::{self, Claim, Claimed, Issue};
use crate::build;
use crate::steps;
use crate::up;

/// The first start compiles every component.
const START_WITHIN: Duration = Duration::from_secs(120);

/// Connections that issue and claim before anything is measured.
const SEED_CONNECTIONS: usize = 16;

/// Long enough for any number of keys that one would wait for.
const SEED_WITHIN: Duration = Duration::from_secs(600);

/// Variables that `keyward init` leaves in files.
const SECRET_VARIABLES: [&str; 6] =
    ["records_keyring", "audit_keyring", "peppers", "signing_keys", "vault_keyring", "log_keys"];

/// What runs beside the bare components.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cast {
    /// Keyward, as `spin.toml` has it.
    Keyward,
    /// Nothing: the bare components alone.
    Floor,
}

/// The folder of one run of the bench. Below the target directory, on the disk that the repository lies on: in a
/// temporary folder in memory a commit would cost nothing.
pub struct Stage {
    folder: PathBuf,
    cast: Cast,
}

/// What is told of a host while it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// Nothing: it runs as it would for anybody.
    Nothing,
    /// Its store calls, which costs a little. Nothing runs there that nobody asked for: a tick would be counted with whatever it falls
    /// into.
    Calls,
}

impl Stage {
    /// Makes the folder and, with Keyward, its secrets. `name` tells the stages of one run apart.
    pub fn set(cast: Cast, name: &str) -> anyhow::Result<Self> {
        let folder = steps::target_dir().join("bench").join(format!("{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let stage = Self { folder, cast };
        match cast {
            Cast::Keyward => up::init(&stage.state_dir())?,
            Cast::Floor => std::fs::create_dir_all(stage.state_dir())?,
        }
        Ok(stage)
    }

    /// Where everything of this run lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn state_dir(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// The token of the root key.
    pub fn root_token(&self) -> anyhow::Result<String> {
        let path = self.state_dir().join("root.key");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.trim().to_owned())
    }

    /// Starts the host on this stage.
    pub async fn start(&self, telling: Telling) -> anyhow::Result<Host> {
        let address = free_address()?;
        let control = if telling == Telling::Calls { Some(free_address()?) } else { None };
        let manifest_path = self.folder.join("spin.toml");
        std::fs::write(&manifest_path, manifest(self.cast, telling)?)
            .with_context(|| format!("cannot write {}", manifest_path.display()))?;
        let log_path = self.folder.join("host.log");
        let log = File::options().create(true).append(true).open(&log_path)?;
        let program = build::program_path("keyward-host");
        let mut command = steps::command(&program);
        command.arg("--from").arg(&manifest_path).arg("--state-dir").arg(self.state_dir());
        command.args(["--listen", &address.to_string()]);
        if let Some(control) = control {
            command.args(["--control", &control.to_string()]);
        }
        if self.cast == Cast::Keyward {
            for name in SECRET_VARIABLES {
                let path = self.state_dir().join("variables").join(format!("{name}.json"));
                command.arg("--variable").arg(format!("{name}=@{}", path.display()));
            }
            command.args(["--variable", &format!("public_url=http://{address}")]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let mut host = Host { child, address, control };
        host.wait_until_ready().await.context("the host did not start")?;
        Ok(host)
    }

    /// Fills the store with claimed keys of `application`, `due` of which are due for a successor, and with `events` after them; where the
    /// keys' ids and tokens are. The host must not run.
    pub fn load(&self, application: &str, keys: usize, due: usize, events: usize) -> anyhow::Result<PathBuf> {
        let tokens = self.folder.join("tokens");
        let mut command = steps::command(build::program_path("bench-loader"));
        command.arg("--state-dir").arg(self.state_dir()).args(["--application", application]);
        command.args(["--keys", &keys.to_string(), "--due", &due.to_string()]);
        command.args(["--events", &events.to_string()]).arg("--tokens").arg(&tokens);
        steps::must(command.stdin(Stdio::null()))?;
        Ok(tokens)
    }

    /// Removes the folder.
    pub fn clear(self) -> anyhow::Result<()> {
        std::fs::remove_dir_all(&self.folder)
            .with_context(|| format!("cannot remove {}", self.folder.display()))
    }
}

/// A running host; it ends with this value.
pub struct Host {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    control: Option<SocketAddr>,
}

impl Host {
    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            if ask(self.address, &workloads::request("GET", "/bench/hello", None, None))
                .await
                .is_ok_and(|(status, _)| status == 204)
            {
                return Ok(());
            }
            if start.elapsed() > START_WITHIN {
                bail!("no 204 from /bench/hello within {} s", START_WITHIN.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Forgets the store calls counted so far.
    pub async fn reset_calls(&self) -> anyhow::Result<()> {
        let control = self.control.context("the host was started without its control interface")?;
        let (status, _) = ask(control, &workloads::request("POST", "/calls/reset", None, None)).await?;
        if !(200..300).contains(&status) {
            bail!("POST /calls/reset answered {status}");
        }
        Ok(())
    }

    /// Store calls since then, as the host's control interface tells them.
    pub async fn calls(&self) -> anyhow::Result<Value> {
        let control = self.control.context("the host was started without its control interface")?;
        let (status, body) = ask(control, &workloads::request("GET", "/calls", None, None)).await?;
        if status != 200 {
            bail!("GET /calls answered {status}");
        }
        serde_json::from_slice(&body).context("GET /calls answered no JSON")
    }

    /// Makes an application.
    pub async fn application(&self, root: &str) -> anyhow::Result<String> {
        let body = json!({ "name": "bench" });
        let answer = self.post("/v1/applications", root, &body, 201).await?;
        workloads::text_at(&answer, "/id").context("POST /v1/applications answered no id")
    }

    /// A run of the work that is due from time to time; what it says that it did.
    pub async fn maintain(&self, root: &str) -> anyhow::Result<Value> {
        let answer = self.post("/v1/maintenance/run", root, &json!({}), 200).await?;
        serde_json::from_slice(&answer).context("POST /v1/maintenance/run answered no JSON")
    }

    async fn post(&self, target: &str, root: &str, body: &Value, expected: u16) -> anyhow::Result<Vec<u8>> {
        let request = workloads::request("POST", target, Some(root), Some(body));
        let (status, answer) = ask(self.address, &request).await?;
        if status != expected {
            bail!("POST {target} answered {status}");
        }
        Ok(answer)
    }

    /// Makes an application and `count` claimed keys of it.
    pub async fn seed(&self, root: &str, count: usize) -> anyhow::Result<(String, Vec<Claimed>)> {
        let application = self.application(root).await?;
        let keys = self.claimed(Issue::new(root, &application, count), count).await?;
        Ok((application, keys))
    }

    /// Issues and claims `count` keys.
    pub async fn claimed(&self, issue: Rc<Issue>, count: usize) -> anyhow::Result<Vec<Claimed>> {
        let issued = load::drive(self.address, SEED_CONNECTIONS, SEED_WITHIN, Rc::clone(&issue) as _).await?;
        let claim = Claim::new(issue.take_tickets());
        let claims = load::drive(self.address, SEED_CONNECTIONS, SEED_WITHIN, Rc::clone(&claim) as _).await?;
        let keys = claim.take_claimed();
        if keys.len() != count {
            bail!(
                "{} of {count} keys were issued (refused: {:?}) and {} claimed (refused: {:?})",
                issued.requests(),
                issued.wrong(),
                keys.len(),
                claims.wrong()
            );
        }
        Ok(keys)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nobody to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own: status and body of the answer.
pub async fn ask(address: SocketAddr, request: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
    let answer =
        tokio::time::timeout(Duration::from_secs(30), Connection::new(address).exchange(request)).await??;
    Ok((answer.status, answer.body))
}

/// An address on this machine that nobody listens on.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The manifest: `spin.toml` with whole paths, and the bare components' routes.
fn manifest(cast: Cast, telling: Telling) -> anyhow::Result<String> {
    let own = match cast {
        Cast::Keyward => {
            std::fs::read_to_string(steps::root().join("spin.toml")).context("cannot read spin.toml")?
        }
        Cast::Floor => {
            "spin_manifest_version = 2\n[application]\nname = \"bench\"\nversion = \"0.1.0\"\n".to_owned()
        }
    };
    let mut manifest: Table = own.parse().context("spin.toml is no TOML")?;
    let mut routes = Vec::new();
    let mut added = Table::new();
    for package in build::BENCH_COMPONENTS {
        let route = format!("/bench/{}", package.trim_start_matches("bench-"));
        let mut trigger = Table::new();
        trigger.insert("route".to_owned(), route.into());
        trigger.insert("component".to_owned(), package.into());
        routes.push(toml::Value::Table(trigger));
        let mut component = Table::new();
        component.insert("source".to_owned(), build::wasm_path(package).display().to_string().into());
        component.insert("allowed_outbound_hosts".to_owned(), toml::Value::Array(Vec::new()));
        component.insert("key_value_stores".to_owned(), toml::Value::Array(vec!["default".into()]));
        added.insert(package.to_owned(), component.into());
    }
    absolute_sources(&mut manifest, &steps::root());
    table(&mut manifest, "component")?.extend(added);
    if telling == Telling::Calls {
        table(&mut manifest, "trigger")?.remove("cron");
    }
    match table(&mut manifest, "trigger")?.entry("http").or_insert_with(|| toml::Value::Array(Vec::new())) {
        toml::Value::Array(http) => http.extend(routes),
        _ => bail!("spin.toml: `trigger.http` is no list of tables"),
    }
    toml::to_string(&manifest).context("the manifest cannot be written")
}

fn table<'a>(manifest: &'a mut Table, name: &str) -> anyhow::Result<&'a mut Table> {
    match manifest.entry(name).or_insert_with(|| toml::Value::Table(Table::new())) {
        toml::Value::Table(table) => Ok(table),
        _ => bail!("spin.toml: `{name}` is no table"),
    }
}

/// A manifest names its components' files from where it lies; a copy elsewhere needs them whole.
fn absolute_sources(manifest: &mut Table, root: &Path) {
    let Some(toml::Value::Table(components)) = manifest.get_mut("component") else { return };
    for (_, component) in components.iter_mut() {
        if let Some(toml::Value::String(source)) = component.get_mut("source") {
            *source = root.join(source.as_str()).display().to_string();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bench_runs_what_the_manifest_runs_and_the_bare_components() {
        for (cast, components, routes) in [(Cast::Keyward, 6, 20), (Cast::Floor, 2, 2)] {
            let manifest: Table = manifest(cast, Telling::Nothing).unwrap().parse().unwrap();
            let Some(toml::Value::Table(named)) = manifest.get("component") else { panic!("no components") };
            assert!(named.len() >= components);
            assert!(named.contains_key("bench-hello") && named.contains_key("bench-three-read"));
            for (name, component) in named {
                let source = component.get("source").and_then(toml::Value::as_str).unwrap();
                assert!(Path::new(source).is_absolute(), "{name}: {source}");
            }
            let http = manifest
                .get("trigger")
                .and_then(|trigger| trigger.get("http"))
                .and_then(toml::Value::as_array);
            assert!(http.unwrap().len() >= routes);
        }
    }

    #[test]
    fn where_calls_are_counted_nothing_runs_by_itself() {
        for (telling, ticks) in [(Telling::Nothing, true), (Telling::Calls, false)] {
            let manifest: Table = manifest(Cast::Keyward, telling).unwrap().parse().unwrap();
            let trigger = manifest.get("trigger").and_then(toml::Value::as_table).unwrap();
            assert_eq!(trigger.contains_key("cron"), ticks);
        }
    }
}
