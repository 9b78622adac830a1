//! djangorestframework-api-key under gunicorn, on SQLite: `bench/peers/django` has the application, and the versions in its requirements.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;

use anyhow::Context;
use serde_json::json;

use super::super::stage::free_address;
use super::super::workloads::{Claimed, request, request_with};
use super::peer::{
    Later, Make, Peer, Processes, Running, Server, Verdicts, Version, change, installed, sources, version_of,
};
use crate::{programs, steps};

const FOLDER: &str = "django";
const PACKAGES: [&str; 4] = ["djangorestframework-api-key", "djangorestframework", "Django", "gunicorn"];

/// Two processes for two cores. A thread each, since gunicorn's `sync` workers close the connection after every answer; more threads were
/// slower.
const WORKERS: [&str; 6] = ["--workers", "2", "--worker-class", "gthread", "--threads", "1"];

/// djangorestframework-api-key.
pub struct Django;

fn python() -> std::path::PathBuf {
    installed(FOLDER).join("bin/python")
}

/// Its database lies in the folder of the run.
fn on(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = steps::command(python());
    command.current_dir(sources(FOLDER)).args(arguments);
    // Bytecode beside the sources would be in the repository.
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("DATABASE", folder.join("db.sqlite3"));
    command
}

impl Peer for Django {
    fn name(&self) -> &'static str {
        "djangorestframework-api-key"
    }

    fn act(&self) -> &'static str {
        "a view behind `HasAPIKey`: one `SELECT` by prefix among keys that are not revoked, SHA-512, expiry; nothing is written"
    }

    fn terms(&self) -> &'static str {
        "gunicorn with two processes of one thread, connections kept open; SQLite in WAL over a connection that stays open; no middleware, no authenticator, JSON alone, `DEBUG` off."
    }

    fn install(&self) -> anyhow::Result<Vec<Version>> {
        programs::need(&[("python3", "python3")])?;
        std::fs::create_dir_all(installed(FOLDER))?;
        programs::python_packages(&installed(FOLDER), &sources(FOLDER).join("requirements.txt"))?;
        let mut versions = vec![("Python", version_of(steps::command(python()).arg("--version"))?)];
        for package in PACKAGES {
            let told = format!("import importlib.metadata as m; print(m.version('{package}'))");
            versions.push((package, version_of(steps::command(python()).args(["-c", &told]))?));
        }
        Ok(versions)
    }

    fn start<'a>(&'a self, folder: &'a Path) -> Later<'a, Box<dyn Running>> {
        Box::pin(async move {
            steps::must(on(folder, &["app.py", "migrate", "--verbosity", "0"]).stdin(Stdio::null()))
                .context("no tables")?;
            let address = free_address()?;
            let mut command = on(folder, &["-m", "gunicorn", "--bind", &address.to_string()]);
            command.args(WORKERS).args(["--keep-alive", "60", "--log-level", "warning", "app:application"]);
            let mut server = Server::start(command, folder, "gunicorn", "TERM")?;
            server.answers(address, &check("unknown.key"), 403).await?;
            Ok(Box::new(Serving { server, address }) as _)
        })
    }
}

struct Serving {
    server: Server,
    address: SocketAddr,
}

fn check(token: &str) -> Rc<[u8]> {
    request_with("GET", "/verify", Some(("Authorization", format!("Api-Key {token}"))), None)
}

impl Running for Serving {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn make_keys(&self, count: usize) -> Later<'_, Vec<Claimed>> {
        Box::pin(Make::keys(self.address, count, 201, ["/id", "/token"], |number| {
            request("POST", "/keys", None, Some(&json!({ "name": format!("bench {number}") })))
        }))
    }

    fn check(&self, token: &str) -> Rc<[u8]> {
        check(token)
    }

    fn verdicts(&self) -> Verdicts {
        Verdicts { accepted: 204, refused: &[403] }
    }

    fn revoke<'a>(&'a self, key: &'a Claimed) -> Later<'a, ()> {
        Box::pin(async move {
            let request = request("POST", "/revoke", None, Some(&json!({ "id": key.id })));
            change(self.address, &request, 204).await.map(drop)
        })
    }

    fn processes(&self) -> Processes {
        Processes { server: self.server.pid(), database: None }
    }
}
