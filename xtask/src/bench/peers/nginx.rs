//! nginx with a table of keys in its memory: no product that keeps keys, but what a check costs at the least. `bench/peers/nginx` has its
//! configuration.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use anyhow::{Context, bail};

use super::super::stage::free_address;
use super::super::workloads::{Claimed, request};
use super::peer::{
    Later, Peer, Processes, Running, Server, Verdicts, Version, random_word, sources, version_of,
};
use crate::{programs, steps};

/// nginx with a `map`.
pub struct Nginx;

impl Peer for Nginx {
    fn name(&self) -> &'static str {
        "nginx, map"
    }

    fn act(&self) -> &'static str {
        "one look-up of the whole `Authorization` header in a hash table in memory"
    }

    fn terms(&self) -> &'static str {
        "The ceiling, not a product: tokens stand in a file in the clear, with neither scopes nor expiry nor a record of anything. A process for each core, no access log, connections kept open. The only revocation is to write the file anew and reload; its acknowledgement is the end of `nginx -s reload`, which only hands a signal on."
    }

    fn is_ceiling(&self) -> bool {
        true
    }

    fn install(&self) -> anyhow::Result<Vec<Version>> {
        programs::need(&[("nginx", "nginx")])?;
        Ok(vec![("nginx", version_of(steps::command(program()).arg("-v"))?)])
    }

    fn start<'a>(&'a self, folder: &'a Path) -> Later<'a, Box<dyn Running>> {
        Box::pin(async move {
            let address = free_address()?;
            std::fs::copy(sources("nginx").join("nginx.conf"), folder.join("nginx.conf"))?;
            std::fs::write(folder.join("listen.conf"), format!("listen {address};\n"))?;
            std::fs::write(folder.join("keys.map"), "")?;
            let mut server = Server::start(nginx(folder), folder, "nginx", "TERM")?;
            server.answers(address, &check("unknown"), 401).await?;
            Ok(Box::new(Serving { server, address, folder: folder.to_owned(), tokens: RefCell::default() })
                as _)
        })
    }
}

/// Where Debian puts it: in no ordinary user's path.
fn program() -> PathBuf {
    ["/usr/sbin/nginx", "/usr/local/sbin/nginx"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .unwrap_or_else(|| "nginx".into())
}

fn nginx(folder: &Path) -> Command {
    let mut command = steps::command(program());
    command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(folder);
    command
}

struct Serving {
    server: Server,
    address: SocketAddr,
    folder: PathBuf,
    tokens: RefCell<Vec<String>>,
}

fn check(token: &str) -> Rc<[u8]> {
    request("GET", "/", Some(token), None)
}

impl Serving {
    /// Has it read the keys anew.
    async fn reload(&self) -> anyhow::Result<()> {
        let lines: Vec<String> =
            self.tokens.borrow().iter().map(|token| format!("\"Bearer {token}\" 1;\n")).collect();
        std::fs::write(self.folder.join("keys.map"), lines.concat())?;
        let mut reload = nginx(&self.folder);
        reload.args(["-s", "reload"]).stdin(Stdio::null());
        // On a thread of its own: whoever polls meanwhile goes on.
        let done = tokio::task::spawn_blocking(move || reload.output()).await??;
        if !done.status.success() {
            bail!("{}", String::from_utf8_lossy(&done.stderr));
        }
        Ok(())
    }
}

impl Running for Serving {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn make_keys(&self, count: usize) -> Later<'_, Vec<Claimed>> {
        Box::pin(async move {
            let mut made = Vec::new();
            for _ in 0..count {
                let token = random_word()?;
                made.push(Claimed { id: token.clone(), token });
            }
            self.tokens.borrow_mut().extend(made.iter().map(|key| key.token.clone()));
            self.reload().await?;
            // Until the processes that know them have taken over.
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            Ok(made)
        })
    }

    fn check(&self, token: &str) -> Rc<[u8]> {
        check(token)
    }

    fn verdicts(&self) -> Verdicts {
        Verdicts { accepted: 204, refused: &[401] }
    }

    fn revoke<'a>(&'a self, key: &'a Claimed) -> Later<'a, ()> {
        Box::pin(async move {
            self.tokens.borrow_mut().retain(|token| *token != key.token);
            self.reload().await.context("nginx -s reload")
        })
    }

    fn processes(&self) -> Processes {
        Processes { server: self.server.pid(), database: None }
    }
}
