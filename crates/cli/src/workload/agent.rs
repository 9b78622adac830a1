//! `keyward agent`: keeps credentials in files beside services that read them there, each swapped at once and readable by its owner alone.

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
    #[arg(long = "file", value_name = "FILE=CREDENTIAL[#FIELD]", value_parser = Selector::parse, required = true)]
    files: Vec<Selector>,
    /// Whose credentials, for a key of the application `keyward`; a service need not name its own
    #[arg(long, value_name = "APP_ID")]
    app: Option<ApplicationId>,
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
    let names = selector::names(&options.files);
    let known = read_all(&client, &names).map_err(|(name, error)| failure(Some(&name), &error))?;
    let agent = Agent { options, terminal };
    for credential in &known {
        agent.write(credential)?;
    }
    if options.once {
        return Ok(Ending::Done);
    }
    agent.tell_of_change();
    terminal.note(&format!("Keeping {} fresh, until told to stop.", counted(options.files.len())));
    let stopped = stop_signal()?;
    let (tell, news) = channel();
    watch(&client, &known, &tell);
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

fn counted(files: usize) -> String {
    if files == 1 { "1 file".to_owned() } else { format!("{files} files") }
}

struct Agent<'a> {
    options: &'a Options,
    terminal: &'a Terminal,
}

impl Agent<'_> {
    fn hear(&self, news: News) -> Result<()> {
        match news {
            News::Changed(credential) => {
                self.write(&credential)?;
                let (name, version) = (shown(credential.name()), credential.version());
                self.terminal.note(&format!("`{name}` has version {version} now."));
                self.tell_of_change();
            }
            News::Away(name, error) => {
                let (name, error) = (shown(&name), shown(&error.to_string()));
                self.terminal.warn(&format!("`{name}`: {error}; its files stay as they are"));
            }
            News::Back(name) => {
                self.terminal.note(&format!("`{}`: Keyward answers again.", shown(&name)));
            }
            News::Lost(name, error) => {
                // The policy bounds for how long it may be gone on with, and a refusal ends that at once.
                let (told, error) = (shown(&name), shown(&error.to_string()));
                self.terminal.warn(&format!("`{told}` is lost: {error}; its files are removed"));
                for selector in self.options.files.iter().filter(|one| one.credential == name) {
                    let _ = std::fs::remove_file(&selector.to);
                }
                self.tell_of_change();
            }
        }
        Ok(())
    }

    /// Writes the files of a credential, those that hold something else.
    fn write(&self, credential: &Credential) -> Result<()> {
        for selector in self.options.files.iter().filter(|one| one.credential == credential.name()) {
            let (path, text) = (Path::new(&selector.to), selector.of(credential)?);
            let aside = Aside::of(path);
            write_private(aside.path(), text)?;
            aside.put_into_place()?;
        }
        Ok(())
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
