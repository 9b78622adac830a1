//! A real `redis-server` on a free port of the loopback, in a folder of its own, that acknowledges no write before the disk has
//! it. Killed when dropped.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::eventually;
use crate::network::TestHost;

/// A running server.
pub struct RedisServer {
    address: SocketAddr,
    command: Command,
    child: Child,
}

impl RedisServer {
    /// Starts one that keeps its files in `folder`.
    ///
    /// # Panics
    /// Where there is no `redis-server`; `cargo xtask test` installs it.
    pub fn start(folder: &Path) -> Self {
        let durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
        Self::run(folder, Ipv4Addr::LOCALHOST, &durable, |command| command)
    }

    /// Starts one on a host of the test's, as its file of configuration and its file of users say.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn configured(folder: &Path, on: &TestHost, configuration: &Path, users: &Path) -> Self {
        let users = users.to_str().expect("a path that is text");
        let configuration = configuration.to_str().expect("a path that is text");
        Self::run(folder, on.address(), &[configuration, "--aclfile", users], |command| on.inside(&command))
    }

    fn run(
        folder: &Path,
        address: Ipv4Addr,
        arguments: &[&str],
        place: impl FnOnce(Command) -> Command,
    ) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut server = Command::new("redis-server");
        server.args(arguments).args(["--port", &port.to_string(), "--bind", &address.to_string(), "--dir"]);
        server.arg(folder);
        let mut command = place(server);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = spawn(&mut command);
        let server = Self { address: (address, port).into(), command, child };
        eventually("redis-server", || server.answers());
        server
    }

    /// Kills it where it stands, as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again in the same place, on the same files.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&mut self.command);
        eventually("redis-server", || self.answers());
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it is, as a URL.
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// The first line of what it answers a command of this user, in Redis' own protocol.
    pub fn answer_to(&self, user: &str, password: &str, command: &[&str]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        let mut ask = |words: &[&str]| {
            let sized = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
            let request = format!("*{}\r\n{}", words.len(), sized.collect::<String>());
            stream.write_all(request.as_bytes()).unwrap();
            let mut line = String::new();
            answers.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        assert_eq!(ask(&["AUTH", user, password]), "+OK", "as {user}");
        ask(command)
    }

    /// Whether it serves: one that still reads its file takes connections and answers `-LOADING`; one that has users wants to know which.
    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.address) else { return false };
        let mut answer = [0; 5];
        let answered = stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut answer).is_ok();
        answered && [*b"+PONG", *b"-NOAU"].contains(&answer)
    }
}

fn spawn(command: &mut Command) -> Child {
    command.spawn().expect("`redis-server` is needed: `cargo xtask test --only tools` installs it")
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
