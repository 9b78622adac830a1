//! RustyVault, whose tokens are looked up and revoked over Vault's API. The version is pinned here; what it stands on, by the lock file that its
//! package carries.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::rc::Rc;

use anyhow::Context;
use serde_json::{Value, json};

use super::super::stage::free_address;
use super::super::workloads::{Claimed, request, request_with};
use super::peer::{Later, Make, Peer, Processes, Running, Server, Verdicts, Version, change, installed};
use crate::steps;

const FOLDER: &str = "rusty_vault";
const VERSION: &str = "0.2.1";

/// It is compiled, with OpenSSL's headers (`libssl-dev`) at hand; longer than this is not waited.
const BUILD_WITHIN: &str = "15m";

/// RustyVault.
pub struct RustyVault;

impl Peer for RustyVault {
    fn name(&self) -> &'static str {
        "RustyVault"
    }

    fn act(&self) -> &'static str {
        "`GET /v1/auth/token/lookup-self`: two reads of the token's file, each opened with AES-GCM; the token's data as JSON"
    }

    fn terms(&self) -> &'static str {
        "One process with a thread for each core, its file storage, unsealed, no TLS. The act is the nearest that it has: it says that a token lives and which policies it has, not whether it may do what is asked for."
    }

    fn install(&self) -> anyhow::Result<Vec<Version>> {
        if !program().exists() {
            let folder = installed(FOLDER);
            let built = folder.join("build");
            let mut build = steps::command("timeout");
            build.arg(BUILD_WITHIN).arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            build.args(["install", "rusty_vault", "--version", VERSION, "--locked", "--quiet"]);
            build.arg("--root").arg(&folder).arg("--target-dir").arg(&built);
            steps::must(build.stdin(Stdio::null()))
                .with_context(|| format!("it does not build within {BUILD_WITHIN}"))?;
            // Gigabytes that nobody needs any more.
            std::fs::remove_dir_all(built)?;
        }
        Ok(vec![("RustyVault", VERSION.to_owned())])
    }

    fn start<'a>(&'a self, folder: &'a Path) -> Later<'a, Box<dyn Running>> {
        Box::pin(async move {
            let address = free_address()?;
            let config = folder.join("config.json");
            let settings = json!({
                "storage": { "file": { "path": folder.join("data") } },
                "listener": { "tcp": { "address": address.to_string(), "tls_disable": true } },
                "log_level": "error",
                "work_dir": folder,
            });
            std::fs::write(&config, settings.to_string())?;
            let mut command = steps::command(program());
            command.current_dir(folder).args(["server", "--config"]).arg(&config);
            let mut server = Server::start(command, folder, "rvault", "TERM")?;
            server.answers(address, &request("GET", "/v1/sys/init", None, None), 200).await?;
            let shares = json!({ "secret_shares": 1, "secret_threshold": 1 });
            let begun = change(address, &request("PUT", "/v1/sys/init", None, Some(&shares)), 200).await?;
            let told = |pointer| begun.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            let root = told("/root_token").context("it tells no root token")?;
            let key = json!({ "key": told("/keys/0").context("it tells no key")? });
            change(address, &request("PUT", "/v1/sys/unseal", None, Some(&key)), 200).await?;
            Ok(Box::new(Serving { server, address, root }) as _)
        })
    }
}

fn program() -> PathBuf {
    installed(FOLDER).join("bin/rvault")
}

struct Serving {
    server: Server,
    address: SocketAddr,
    root: String,
}

/// Vault takes the token in a header of its own.
fn vault(method: &str, path: &str, token: &str, body: Option<&Value>) -> Rc<[u8]> {
    request_with(method, &format!("/v1/auth/token/{path}"), Some(("X-Vault-Token", token.to_owned())), body)
}

impl Running for Serving {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn make_keys(&self, count: usize) -> Later<'_, Vec<Claimed>> {
        let root = self.root.clone();
        const TOKEN: &str = "/auth/client_token";
        Box::pin(Make::keys(self.address, count, 200, [TOKEN, TOKEN], move |number| {
            let body =
                json!({ "policies": ["default"], "display_name": format!("bench{number}"), "ttl": "1h" });
            vault("POST", "create", &root, Some(&body))
        }))
    }

    fn check(&self, token: &str) -> Rc<[u8]> {
        vault("GET", "lookup-self", token, None)
    }

    fn verdicts(&self) -> Verdicts {
        // 404 where the token went between the two reads.
        Verdicts { accepted: 200, refused: &[403, 404] }
    }

    fn revoke<'a>(&'a self, key: &'a Claimed) -> Later<'a, ()> {
        Box::pin(async move {
            let request = vault("POST", &format!("revoke/{}", key.token), &self.root, Some(&json!({})));
            change(self.address, &request, 204).await.map(drop)
        })
    }

    fn processes(&self) -> Processes {
        Processes { server: self.server.pid(), database: None }
    }
}
