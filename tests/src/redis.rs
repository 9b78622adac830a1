//! A real `redis-server` on a free port of the loopback, in a folder of its own, that acknowledges no write before the disk has
//! it. Killed when dropped.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::eventually;

/// A running server.
pub struct RedisServer {
    port: u16,
    folder: PathBuf,
    child: Child,
}

impl RedisServer {
    /// Starts one that keeps its files in `folder`.
    ///
    /// # Panics
    /// Where there is no `redis-server`; `cargo xtask test` installs it.
    pub fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { port, folder: folder.to_owned(), child: Self::run(port, folder) }
    }

    fn run(port: u16, folder: &Path) -> Child {
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`redis-server` is needed: `cargo xtask test --only tools` installs it");
        eventually("redis-server", || answers(port));
        child
    }

    /// Kills it where it stands, as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again in the same place, on the same files.
    pub fn restart(&mut self) {
        self.kill();
        self.child = Self::run(self.port, &self.folder);
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }
}

/// Whether it serves: one that still reads its file takes connections and answers `-LOADING`.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut answer = [0; 5];
    stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"+PONG"
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
