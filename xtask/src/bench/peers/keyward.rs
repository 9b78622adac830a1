//! Keyward itself, as every other bench runs it: `spin.toml` on its own host, SQLite below it.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use anyhow::Context;
use serde_json::json;

use super::super::stage::{Host, Stage, Telling};
use super::super::workloads::{AUTHORIZE, Claimed, request};
use super::peer::{Later, Peer, Processes, Running, Verdicts, Version, change};
use crate::steps;

/// What the others are compared with.
pub const NAME: &str = "Keyward";

/// Keyward on a stage of the bench.
pub struct Keyward<'s>(pub &'s Stage);

impl Peer for Keyward<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn act(&self) -> &'static str {
        "`GET /v1/authorize?scope=...`: three reads in parallel, open the sealed record, HMAC, generation, expiry, network rule, scope, limits (these keys have none); use is counted after the answer and written in batches"
    }

    fn terms(&self) -> &'static str {
        "Its own host with the components as they ship, WebAssembly on one process with a thread for each core; SQLite in WAL on disk. It checks a scope, which no other side is asked to."
    }

    fn install(&self) -> anyhow::Result<Vec<Version>> {
        let output = steps::command("git").args(["rev-parse", "--short", "HEAD"]).output()?;
        let commit = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let version = env!("CARGO_PKG_VERSION");
        let told = if commit.is_empty() { version.to_owned() } else { format!("{version}, commit {commit}") };
        Ok(vec![(NAME, told)])
    }

    fn start<'a>(&'a self, _folder: &'a Path) -> Later<'a, Box<dyn Running>> {
        Box::pin(async move {
            let host = self.0.start(Telling::Nothing).await?;
            Ok(Box::new(Serving { host, root: self.0.root_token()? }) as _)
        })
    }
}

struct Serving {
    host: Host,
    root: String,
}

impl Running for Serving {
    fn address(&self) -> SocketAddr {
        self.host.address
    }

    fn make_keys(&self, count: usize) -> Later<'_, Vec<Claimed>> {
        Box::pin(async move { Ok(self.host.seed(&self.root, count).await?.1) })
    }

    fn check(&self, token: &str) -> Rc<[u8]> {
        request("GET", AUTHORIZE, Some(token), None)
    }

    fn verdicts(&self) -> Verdicts {
        Verdicts { accepted: 204, refused: &[401] }
    }

    fn revoke<'a>(&'a self, key: &'a Claimed) -> Later<'a, ()> {
        Box::pin(async move {
            let target = format!("/v1/keys/{}/revoke", key.id);
            let request = request("POST", &target, Some(&self.root), Some(&json!({ "reason": "bench" })));
            change(self.host.address, &request, 200).await.map(drop).context("POST /v1/keys/{id}/revoke")
        })
    }

    fn processes(&self) -> Processes {
        Processes { server: self.host.pid(), database: None }
    }
}
