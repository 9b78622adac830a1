//! better-auth with its plugin for API keys, on Node: `bench/peers/better-auth` has the server, and the versions in its lock file. They are the
//! plugin's newest, and the newest better-auth that what the plugin pins can be installed with.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use anyhow::Context;
use serde_json::{Value, json};

use super::super::stage::free_address;
use super::super::workloads::{Claimed, request, request_with};
use super::peer::{
    Later, Make, Peer, Processes, Running, Server, Verdicts, Version, change, installed, sources, version_of,
};
use super::postgres::{self, Postgres};
use crate::{programs, steps};

const FOLDER: &str = "better-auth";
const PACKAGES: [&str; 2] = ["better-auth", "@better-auth/api-key"];

/// What is run there.
const SERVER: &str = "server.mjs";

/// Processes on PostgreSQL: one for each of two cores. With one alone it was no faster.
const PROCESSES: &str = "2";

/// Where it keeps keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Its adapter for tables in memory.
    Memory,
    /// Its secondary storage, a map in memory.
    Secondary,
    /// PostgreSQL.
    Postgres,
}

/// better-auth on one of its stores.
pub struct BetterAuth(pub Store);

impl Store {
    fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Secondary => "secondary",
            Self::Postgres => "postgres",
        }
    }
}

impl Peer for BetterAuth {
    fn name(&self) -> &'static str {
        match self.0 {
            Store::Memory => "better-auth, memory",
            Store::Secondary => "better-auth, secondary storage",
            Store::Postgres => "better-auth, PostgreSQL",
        }
    }

    fn act(&self) -> &'static str {
        match self.0 {
            Store::Memory => {
                "`auth.api.verifyApiKey` behind `node:http`: hash the key, find its row, check expiry and quota, write `lastRequest` and then `updatedAt`"
            }
            Store::Secondary => "the same; its record is read, read again and written once, as JSON text",
            Store::Postgres => "the same: one `SELECT` and two `UPDATE`s, each a transaction of its own",
        }
    }

    fn terms(&self) -> &'static str {
        match self.0 {
            Store::Memory => {
                "Its rate limit, ten requests a day for each key unless told, is off on all three. One process, since nothing is shared. Its adapter goes through all rows for each of the three calls, which at a thousand keys is not what costs: with 20 it was about as fast. Its makers mean it for development. Nothing survives a restart."
            }
            Store::Secondary => {
                "What its documentation names for fast look-ups, at its best: a map in the process where one would have Redis behind a network. One process; nothing survives a restart."
            }
            Store::Postgres => {
                "Two processes (`node:cluster`; one alone was no faster, on half of the memory), each with `pg`'s default pool; PostgreSQL with its defaults on the same disk, on loopback, so that every `UPDATE` waits for the disk as it would in service. Keyward's checks write nothing they wait for."
            }
        }
    }

    fn install(&self) -> anyhow::Result<Vec<Version>> {
        let folder = installed(FOLDER);
        programs::npm_packages(&sources(FOLDER), &folder)?;
        std::fs::copy(sources(FOLDER).join(SERVER), folder.join(SERVER))
            .with_context(|| format!("cannot copy {SERVER} to {}", folder.display()))?;
        let mut versions = vec![("Node", version_of(steps::command("node").arg("--version"))?)];
        for package in PACKAGES {
            let path = folder.join("node_modules").join(package).join("package.json");
            let told: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
            let version =
                told.get("version").and_then(Value::as_str).context("a package without a version")?;
            versions.push((package, version.to_owned()));
        }
        if self.0 == Store::Postgres {
            versions.push(postgres::install()?);
        }
        Ok(versions)
    }

    fn start<'a>(&'a self, folder: &'a Path) -> Later<'a, Box<dyn Running>> {
        Box::pin(async move {
            let address = free_address()?;
            let mut command = steps::command("node");
            command.current_dir(installed(FOLDER)).arg(SERVER);
            command.env("NODE_ENV", "production").env("STORE", self.0.word());
            command.env("PORT", address.port().to_string());
            let database =
                if self.0 == Store::Postgres { Some(Postgres::start(folder).await?) } else { None };
            if let Some(database) = &database {
                command.env("PGHOST", database.address.ip().to_string());
                command.env("PGPORT", database.address.port().to_string());
                command.env("PGUSER", "postgres").env("PGDATABASE", "postgres");
                command.env("PGPASSWORD", &database.password).env("PROCESSES", PROCESSES);
            }
            let mut server = Server::start(command, folder, "node", "TERM")?;
            server.answers(address, &check("unknown"), 401).await?;
            let owner = change(address, &request("POST", "/owner", None, Some(&json!({}))), 201).await?;
            let owner = owner.get("id").and_then(Value::as_str).context("a user without an id")?.to_owned();
            Ok(Box::new(Serving { server, database, address, owner }) as _)
        })
    }
}

struct Serving {
    // In this order: the server goes before its database does.
    server: Server,
    database: Option<Postgres>,
    address: SocketAddr,
    /// The user whose keys they are.
    owner: String,
}

fn check(token: &str) -> Rc<[u8]> {
    request_with("GET", "/verify", Some(("x-api-key", token.to_owned())), None)
}

impl Running for Serving {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn make_keys(&self, count: usize) -> Later<'_, Vec<Claimed>> {
        let owner = self.owner.clone();
        Box::pin(Make::keys(self.address, count, 201, ["/id", "/token"], move |number| {
            let body = json!({ "owner": owner, "name": format!("bench {number}") });
            request("POST", "/keys", None, Some(&body))
        }))
    }

    fn check(&self, token: &str) -> Rc<[u8]> {
        check(token)
    }

    fn verdicts(&self) -> Verdicts {
        Verdicts { accepted: 204, refused: &[401] }
    }

    fn revoke<'a>(&'a self, key: &'a Claimed) -> Later<'a, ()> {
        Box::pin(async move {
            let body = json!({ "owner": self.owner, "id": key.id });
            change(self.address, &request("POST", "/revoke", None, Some(&body)), 204).await.map(drop)
        })
    }

    fn processes(&self) -> Processes {
        Processes { server: self.server.pid(), database: self.database.as_ref().map(Postgres::pid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_pinned_to_the_byte_and_to_no_registry() {
        let lock = std::fs::read_to_string(sources(FOLDER).join("package-lock.json")).unwrap();
        let lock: Value = serde_json::from_str(&lock).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
            assert!(package["integrity"].is_string(), "{name} has no digest");
            assert!(package["resolved"].is_null(), "{name} names where it was fetched");
        }
    }
}
