//! `keyward agent`: keeps credentials in files beside services that read them there, each swapped at once and readable by its owner alone,
//! and hands them out at a Unix socket.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use clap::Args;
use keyward_client::Credential;
use keyward_domain::ApplicationId;
use keyward_domain::error::Blame;
use tokio::signal::unix::SignalKind;

use super::socket::{Names, Socket, Terms};
use super::watch::{News, read_all, watch};
use super::{Selector, client, failure, selector};
use crate::aside::{Aside, write_private};
use crate::escape::shown;
use crate::failure::{Ending, Failure, Result};
use crate::{Global, Terminal};

/// How often it is looked whether a credential that nobody answers for is over.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// `keyward agent`.
#[derive(Debug, Args)]
pub struct Options {
    /// A file and what it holds, such as `/run/secrets/db=payments/db` or `tls.key=edge/tls#private_key`; may repeat
    #[arg(long = "file", value_name = "FILE=CREDENTIAL[#FIELD]", value_parser = Selector::parse, required_unless_present = "socket")]
    files: Vec<Selector>,
    /// Whose credentials, for a key of the application `keyward`; a service need not name its own
    #[arg(long, value_name = "APP_ID")]
    app: Option<ApplicationId>,
    /// A Unix socket at which processes of this user read credentials by `GET /v1/credentials/value?name=...`, in a folder that nobody else
    /// writes to
    #[arg(long, value_name = "PATH", conflicts_with = "once")]
    socket: Option<PathBuf>,
    /// What may be read at the socket, such as `payments/db` or `payments/*`, beside what is in files; may repeat
    #[arg(long = "serve", value_name = "NAMES", value_parser = Names::parse, requires = "socket")]
    served: Vec<Names>,
    /// Another user whose processes may read at the socket, by number; may repeat
    #[arg(long = "allow-uid", value_name = "UID", requires = "socket")]
    users: Vec<u32>,
    /// A program that is run after files changed, such as one that has a server read them anew
    #[arg(long, value_name = "PROGRAM")]
    on_change: Option<PathBuf>,
    /// Write the files once, and end
    #[arg(long)]
    once: bool,
    /// The thumbprint of the key that answers must be signed with
    #[arg(long, value_name = "KID")]
    signer: Option<String>,
}

/// Carries it out; ends when it is told to. The files stay.
///
/// # Errors
/// The credentials cannot be had; a file cannot be written.
pub fn run(global: &Global, options: &Options, terminal: &Terminal) -> Result<Ending> {
    let client = Arc::new(client(global, options.app, options.signer.as_deref())?);
    let mut names = selector::names(&options.files);
    let mut served = options.served.clone();
    for name in &names {
        served.extend(Names::parse(name).ok());
    }
    names.extend(options.served.iter().filter_map(Names::one));
    names.sort();
    names.dedup();
    if options.socket.is_some() && served.is_empty() {
        return Err(Failure::command_line("--socket serves what --serve or --file names; there is neither"));
    }
    let known = read_all(&client, &names).map_err(|(name, error)| failure(Some(&name), &error))?;
    let mut agent = Agent { options, terminal, socket: None };
    for credential in &known {
        agent.write(credential)?;
    }
    if options.once {
        return Ok(Ending::Done);
    }
    if !options.files.is_empty() {
        agent.tell_of_change();
    }
    let stopped = stop_signal()?;
    let (tell, news) = channel();
    watch(&client, &known, &tell);
    if let Some(path) = options.socket.clone() {
        let terms = Terms { path, names: served, users: options.users.clone() };
        agent.socket = Some(Socket::open(terms, &client, &known, tell.clone())?);
    }
    terminal.note(&format!("{}, until told to stop.", agent.task()));
    loop {
        match news.recv_timeout(LOOK_EVERY) {
            Ok(news) => agent.hear(news)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new(Blame::Bug, "The agent ended", "nothing watches any more"));
            }
        }
        if stopped.try_recv().is_ok() {
            return Ok(Ending::Done);
        }
    }
}

struct Agent<'a> {
    options: &'a Options,
    terminal: &'a Terminal,
    socket: Option<Socket>,
}

impl Agent<'_> {
    /// What it does, for people.
    fn task(&self) -> String {
        let files = match self.options.files.len() {
            0 => None,
            1 => Some("1 file fresh".to_owned()),
            files => Some(format!("{files} files fresh")),
        };
        let socket = self.options.socket.as_ref().map(|path| shown(&path.display().to_string()));
        match (files, socket) {
            (Some(files), Some(socket)) => format!("Keeping {files} and serving {socket}"),
            (None, Some(socket)) => format!("Serving {socket}"),
            (files, None) => format!("Keeping {}", files.unwrap_or_default()),
        }
    }

    fn hear(&self, news: News) -> Result<()> {
        if let Some(socket) = &self.socket {
            socket.hear(&news);
        }
        match news {
            News::Changed(credential) => {
                self.write(&credential)?;
                let (name, version) = (shown(credential.name()), credential.version());
                self.terminal.note(&format!("`{name}` has version {version} now."));
                self.tell_of_change_to(credential.name());
            }
            News::Away(name, error) => {
                let (name, error) = (shown(&name), shown(&error.to_string()));
                self.terminal.warn(&format!("`{name}`: {error}; what was read of it is gone on with"));
            }
            News::Back(name) => {
                self.terminal.note(&format!("`{}`: Keyward answers again.", shown(&name)));
            }
            News::Lost(name, error) => {
                // The policy bounds for how long it may be gone on with, and a refusal ends that at once.
                let (told, error) = (shown(&name), shown(&error.to_string()));
                self.terminal.warn(&format!("`{told}` is lost: {error}; it is handed out no longer"));
                for selector in self.files_of(&name) {
                    let _ = std::fs::remove_file(&selector.to);
                }
                self.tell_of_change_to(&name);
            }
        }
        Ok(())
    }

    fn files_of<'n>(&self, name: &'n str) -> impl Iterator<Item = &Selector> + use<'_, 'n> {
        self.options.files.iter().filter(move |one| one.credential == name)
    }

    /// Writes the files of a credential, those that hold something else.
    fn write(&self, credential: &Credential) -> Result<()> {
        for selector in self.files_of(credential.name()) {
            let (path, text) = (Path::new(&selector.to), selector.of(credential)?);
            let aside = Aside::of(path);
            write_private(aside.path(), text)?;
            aside.put_into_place()?;
        }
        Ok(())
    }

    /// Runs the program that is to hear of changes, where a file has this credential.
    fn tell_of_change_to(&self, name: &str) {
        if self.files_of(name).next().is_some() {
            self.tell_of_change();
        }
    }

    /// Runs the program that is to hear of changes. What becomes of it is told and changes nothing.
    fn tell_of_change(&self) {
        let Some(program) = &self.options.on_change else { return };
        let shown = shown(&program.display().to_string());
        match Command::new(program).status() {
            Ok(status) if status.success() => {}
            Ok(status) => self.terminal.warn(&format!("{shown} ended with {status}")),
            Err(error) => self.terminal.warn(&format!("{shown} cannot be run: {error}")),
        }
    }
}

/// Hears of the signals that mean "stop".
fn stop_signal() -> Result<Receiver<()>> {
    let fault = |error: std::io::Error| Failure::system("signals", error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fault)?;
    let listen = |kind| {
        let _inside = runtime.enter();
        tokio::signal::unix::signal(kind).map_err(fault)
    };
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let (tell, stopped) = channel();
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        let _ = tell.send(());
    });
    Ok(stopped)
}
