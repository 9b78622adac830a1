//! What a peer is: something that checks API keys over HTTP and can be installed, started, given keys and told to revoke one, each through its
//! own interface. What is measured, and how, is decided elsewhere and is the same for all.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use super::super::load::{Workload, drive};
use super::super::stage::ask;
use super::super::workloads::{Claimed, text_at};
use crate::steps;

/// A server must answer within this after its start.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A server that was told to stop has this long before it is ended.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Connections over which keys are made.
const MAKING: usize = 4;

/// Long enough for a thousand keys of the slowest.
const MAKE_WITHIN: Duration = Duration::from_secs(300);

/// What comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = anyhow::Result<T>> + 'a>>;

/// A program or package that a peer runs on, and its version.
pub type Version = (&'static str, String);

/// Something that checks API keys.
pub trait Peer {
    /// Its name in every table.
    fn name(&self) -> &'static str;

    /// What one measured check does there.
    fn act(&self) -> &'static str;

    /// How it is run, and whom that favours.
    fn terms(&self) -> &'static str;

    /// Whether it is a bound to compare with, and no product that keeps keys.
    fn is_ceiling(&self) -> bool {
        false
    }

    /// Installs whatever is missing, and tells what is there.
    fn install(&self) -> anyhow::Result<Vec<Version>>;

    /// Starts it, with what it keeps in `folder`.
    fn start<'a>(&'a self, folder: &'a Path) -> Later<'a, Box<dyn Running>>;
}

/// A peer that runs; it ends with this value.
pub trait Running {
    /// Where checks go.
    fn address(&self) -> SocketAddr;

    /// Makes keys.
    fn make_keys(&self, count: usize) -> Later<'_, Vec<Claimed>>;

    /// The request that is measured.
    fn check(&self, token: &str) -> Rc<[u8]>;

    /// What such a request is answered with.
    fn verdicts(&self) -> Verdicts;

    /// Revokes a key; done when it is acknowledged.
    fn revoke<'a>(&'a self, key: &'a Claimed) -> Later<'a, ()>;

    /// Its processes, without their children.
    fn processes(&self) -> Processes;
}

/// Statuses of a check.
#[derive(Clone, Copy)]
pub struct Verdicts {
    /// The key is good.
    pub accepted: u16,
    /// It is unknown or revoked.
    pub refused: &'static [u16],
}

/// Processes, by what they are for.
pub struct Processes {
    /// What answers.
    pub server: u32,
    /// The database behind it, where that is a process of its own.
    pub database: Option<u32>,
}

/// A process that listens, with its children; all of them end with this value.
pub struct Server {
    child: Child,
    /// Which signal it takes for "stop now, and clean up".
    stop: &'static str,
}

impl Server {
    /// Starts `command`; what it says goes into `folder/NAME.log`.
    pub fn start(
        mut command: Command,
        folder: &Path,
        name: &str,
        stop: &'static str,
    ) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(folder.join(name).with_extension("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        Ok(Self { child, stop })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `request` is answered with `expected`.
    pub async fn answers(
        &mut self,
        address: SocketAddr,
        request: &[u8],
        expected: u16,
    ) -> anyhow::Result<()> {
        self.until("answers", async || {
            ask(address, request).await.is_ok_and(|(status, _)| status == expected)
        })
        .await
    }

    /// Waits until `is_ready`, as long as the process lives and not for ever.
    pub async fn until(&mut self, what: &str, mut is_ready: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        while !is_ready().await {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            if start.elapsed() > START_WITHIN {
                bail!("{} s after its start it never {what}", START_WITHIN.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Told to stop it ends its children, removes its shared memory and so on; one that does not listen is ended.
        // The shell's own `kill` is there where the program is not.
        let tell = format!("kill -s {} {}", self.stop, self.pid());
        let told = steps::command("sh").args(["-c", &tell]).status();
        let start = Instant::now();
        while told.is_ok() && start.elapsed() < STOP_WITHIN {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes keys by one request each and keeps what the answers tell.
pub struct Make<F> {
    request: F,
    left: Cell<usize>,
    expected: u16,
    /// Where id and token stand in an answer.
    at: [&'static str; 2],
    made: RefCell<Vec<Claimed>>,
}

impl<F: Fn(usize) -> Rc<[u8]> + 'static> Make<F> {
    /// Makes `count` keys, each by what `request` makes of its number.
    pub async fn keys(
        address: SocketAddr,
        count: usize,
        expected: u16,
        at: [&'static str; 2],
        request: F,
    ) -> anyhow::Result<Vec<Claimed>> {
        let make = Rc::new(Self { request, left: Cell::new(count), expected, at, made: RefCell::default() });
        let measured = drive(address, MAKING, MAKE_WITHIN, Rc::clone(&make) as _).await?;
        let made = make.made.take();
        if made.len() != count {
            bail!("{} of {count} keys were made (refused: {:?})", made.len(), measured.wrong());
        }
        Ok(made)
    }
}

impl<F: Fn(usize) -> Rc<[u8]>> Workload for Make<F> {
    fn next(&self) -> Option<Rc<[u8]>> {
        let left = self.left.get().checked_sub(1)?;
        self.left.set(left);
        Some((self.request)(left))
    }

    fn expected(&self) -> u16 {
        self.expected
    }

    fn answered(&self, body: &[u8]) {
        let [id, token] = self.at;
        if let (Some(id), Some(token)) = (text_at(body, id), text_at(body, token)) {
            self.made.borrow_mut().push(Claimed { id, token });
        }
    }
}

/// A request that changes something: an error unless it is answered with `expected`.
pub async fn change(address: SocketAddr, request: &[u8], expected: u16) -> anyhow::Result<Value> {
    let (status, body) = ask(address, request).await?;
    if status != expected {
        bail!("it answered {status}, not {expected}");
    }
    if body.is_empty() {
        Ok(Value::Null)
    } else {
        serde_json::from_slice(&body).context("it answered no JSON")
    }
}

/// Where a peer's own files lie in the repository.
pub fn sources(name: &str) -> PathBuf {
    steps::root().join("bench/peers").join(name)
}

/// Where a peer is installed.
pub fn installed(name: &str) -> PathBuf {
    steps::target_dir().join("peers").join(name)
}

/// A word that nobody guesses, for a key or a password.
pub fn random_word() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What a program says of itself when asked for its version: the last word of the first line, without what is no number.
pub fn version_of(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {program}"))?;
    // nginx says it on standard error.
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let said = String::from_utf8_lossy(&said);
    version_in(&said).with_context(|| format!("{program} tells no version"))
}

/// The first word that holds a number with a point in it, from that number on.
fn version_in(said: &str) -> Option<String> {
    said.split(|separator: char| separator.is_whitespace() || separator == '/').find_map(|word| {
        let number = word.trim_start_matches(|any: char| !any.is_ascii_digit());
        (number.contains('.')).then(|| number.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn a_version_is_found_in_what_a_program_says() {
        for (said, version) in [
            ("v20.20.2\n", "20.20.2"),
            ("nginx version: nginx/1.22.1", "1.22.1"),
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", "15.14"),
            ("Python 3.11.7", "3.11.7"),
        ] {
            assert_eq!(version_in(said).as_deref(), Some(version));
        }
        assert_eq!(version_in("no version here"), None);
    }
}
