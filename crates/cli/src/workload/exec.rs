//! `keyward exec`: starts a service with its credentials in its environment, and starts it anew, or signals it, when one is rotated.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use clap::{Args, ValueEnum};
use keyward_client::Credential;
use keyward_crypto::Zeroizing;
use keyward_domain::ApplicationId;
use keyward_domain::error::Blame;
use rustix::process::Signal;
use tokio::signal::unix::SignalKind;

use super::process::{LOOK_EVERY, Service, code_of, signal};
use super::watch::{News, read_all, watch};
use super::{Selector, client, failure, selector};
use crate::escape::shown;
use crate::failure::{Ending, Failure, Result};
use crate::{Global, Terminal};

/// `keyward exec`.
#[derive(Debug, Args)]
pub struct Options {
    /// An environment variable and what it holds, such as `DB_PASSWORD=payments/db` or `DB_USER=payments/db#username`; may repeat
    #[arg(long = "map", value_name = "NAME=CREDENTIAL[#FIELD]", value_parser = Selector::for_environment, required = true)]
    map: Vec<Selector>,
    /// Whose credentials, for a key of the application `keyward`; a service need not name its own
    #[arg(long, value_name = "APP_ID")]
    app: Option<ApplicationId>,
    /// What becomes of the service when one of its credentials is rotated
    #[arg(long, value_enum, default_value = "restart")]
    on_change: OnChange,
    /// The signal that it is sent with `--on-change signal`: HUP, INT, TERM, USR1 or USR2
    #[arg(long, value_name = "SIGNAL", default_value = "HUP", value_parser = signal)]
    signal: Signal,
    /// How long it may take to end before it is killed, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3600))]
    stop_grace_s: u64,
    /// End it where Keyward says no, or cannot be asked for longer than a credential's policy allows; without it that is only told
    #[arg(long)]
    stop_when_lost: bool,
    /// The thumbprint of the key that answers must be signed with
    #[arg(long, value_name = "KID")]
    signer: Option<String>,
    /// The service and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What becomes of a service whose credential is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnChange {
    /// It is ended, and started with the new one
    Restart,
    /// It is sent a signal; its environment stays as it was
    Signal,
    /// It is ended, and so is `keyward exec`: for a supervisor that starts both anew
    Exit,
}

/// What the command hears of.
enum Event {
    /// Of a credential.
    News(News),
    /// A signal that it was sent itself.
    Signal(Signal),
}

/// Carries it out; ends with the service, and with its exit code.
///
/// # Errors
/// The credentials cannot be had; the service cannot be started.
pub fn run(global: &Global, options: &Options, terminal: &Terminal) -> Result<Ending> {
    let client = Arc::new(client(global, options.app, options.signer.as_deref())?);
    let names = selector::names(&options.map);
    let mut known = read_all(&client, &names).map_err(|(name, error)| failure(Some(&name), &error))?;
    let service = Service::start(&options.command, &variables(&options.map, &known)?)?;
    let (tell, hear) = channel();
    let (tell_news, news) = channel();
    watch(&client, &known, &tell_news);
    let of_news = tell.clone();
    std::thread::spawn(move || {
        while let Ok(one) = news.recv()
            && of_news.send(Event::News(one)).is_ok()
        {}
    });
    forward_signals(move |signal| tell.send(Event::Signal(signal)).is_ok())?;
    Run { options, terminal, service }.until_it_ends(&hear, &mut known)
}

struct Run<'a> {
    options: &'a Options,
    terminal: &'a Terminal,
    service: Service,
}

impl Run<'_> {
    fn until_it_ends(mut self, hear: &Receiver<Event>, known: &mut [Arc<Credential>]) -> Result<Ending> {
        loop {
            if let Some(status) = self.service.ended()? {
                return Ok(Ending::OfService(code_of(status)));
            }
            match hear.recv_timeout(LOOK_EVERY) {
                Ok(Event::Signal(signal)) => self.service.signal(signal)?,
                Ok(Event::News(news)) => {
                    if let Some(ending) = self.hear(news, known)? {
                        return Ok(ending);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    fn hear(&mut self, news: News, known: &mut [Arc<Credential>]) -> Result<Option<Ending>> {
        match news {
            News::Changed(credential) => {
                let (name, version) = (shown(credential.name()), credential.version());
                self.terminal.note(&format!("`{name}` has version {version} now."));
                for kept in known.iter_mut().filter(|kept| kept.name() == credential.name()) {
                    *kept = Arc::clone(&credential);
                }
                self.change(known)
            }
            News::Away(name, error) => {
                self.terminal.warn(&format!(
                    "`{}`: {}; the service goes on",
                    shown(&name),
                    shown(&error.to_string())
                ));
                Ok(None)
            }
            News::Back(name) => {
                self.terminal.note(&format!("`{}`: Keyward answers again.", shown(&name)));
                Ok(None)
            }
            News::Lost(name, error) => {
                let told = format!("`{}` is lost: {}", shown(&name), shown(&error.to_string()));
                if !self.options.stop_when_lost {
                    self.terminal.warn(&format!("{told}; the service goes on with what it has"));
                    return Ok(None);
                }
                self.stop()?;
                let blame = if error.is_refusal() { Blame::Caller } else { Blame::Store };
                Err(Failure::new(blame, "The service was ended", told))
            }
        }
    }

    fn change(&mut self, known: &[Arc<Credential>]) -> Result<Option<Ending>> {
        match self.options.on_change {
            OnChange::Signal => self.service.signal(self.options.signal).map(|()| None),
            OnChange::Exit => self.stop().map(|status| Some(Ending::OfService(status))),
            OnChange::Restart => {
                self.stop()?;
                self.service = Service::start(&self.options.command, &variables(&self.options.map, known)?)?;
                Ok(None)
            }
        }
    }

    fn stop(&mut self) -> Result<u8> {
        self.service.stop(Duration::from_secs(self.options.stop_grace_s)).map(code_of)
    }
}

/// What the service is to find in its environment.
fn variables(map: &[Selector], known: &[Arc<Credential>]) -> Result<Vec<(String, Zeroizing<String>)>> {
    let mut variables = Vec::with_capacity(map.len());
    for selector in map {
        let credential = known.iter().find(|one| one.name() == selector.credential);
        let credential = credential.ok_or_else(|| Failure::system("credential", "was not read"))?;
        let text = selector.of(credential)?;
        if text.contains('\0') {
            let detail = format!("`{}` holds a NUL, which no environment variable can", selector.credential);
            return Err(Failure::command_line(detail));
        }
        variables.push((selector.to.clone(), Zeroizing::new(text.to_owned())));
    }
    Ok(variables)
}

/// Tells of each signal that a service may be sent, from a thread of its own.
fn forward_signals(tell: impl Fn(Signal) -> bool + Send + 'static) -> Result<()> {
    let fault = |error: std::io::Error| Failure::system("signals", error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fault)?;
    let listen = |kind| {
        let _inside = runtime.enter();
        tokio::signal::unix::signal(kind).map_err(fault)
    };
    let (mut hangup, mut interrupt, mut terminate) =
        (listen(SignalKind::hangup())?, listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let (mut first, mut second) =
        (listen(SignalKind::user_defined1())?, listen(SignalKind::user_defined2())?);
    // A terminal sends it to both already.
    let is_interrupted_itself = std::io::stdin().is_terminal();
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                let signal = tokio::select! {
                    _ = hangup.recv() => Signal::HUP,
                    _ = interrupt.recv() => Signal::INT,
                    _ = terminate.recv() => Signal::TERM,
                    _ = first.recv() => Signal::USR1,
                    _ = second.recv() => Signal::USR2,
                };
                let is_told_already = signal == Signal::INT && is_interrupted_itself;
                if !is_told_already && !tell(signal) {
                    return;
                }
            }
        });
    });
    Ok(())
}
