//! Watches credentials: a thread for each waits at Keyward for its next version and tells of it.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use keyward_client::{Client, Credential, Error, Standing};

/// How long one question waits for another version: the longest that Keyward takes.
const WAIT: Duration = Duration::from_secs(30);
/// How long to wait after a question that came to nothing: at first, and at most.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What is told of a credential.
pub enum News {
    /// Another version of it is the current one.
    Changed(Arc<Credential>),
    /// Keyward does not answer; what is kept is gone on with.
    Away(String, Error),
    /// It answers again.
    Back(String),
    /// It said no, or has not answered for longer than what is kept may be gone on with.
    Lost(String, Error),
}

/// Reads credentials for the first time, all of them.
///
/// # Errors
/// The name of one that cannot be had, and why.
pub fn read_all(client: &Client, names: &[String]) -> Result<Vec<Arc<Credential>>, (String, Error)> {
    names.iter().map(|name| client.credential(name).map_err(|error| (name.clone(), error))).collect()
}

/// Watches these from now on; `tell` hears of them until it is gone.
pub fn watch(client: &Arc<Client>, known: &[Arc<Credential>], tell: &Sender<News>) {
    for credential in known {
        let watcher = Watcher {
            client: Arc::clone(client),
            name: credential.name().to_owned(),
            version: credential.version(),
            tell: tell.clone(),
        };
        thread::spawn(move || watcher.run());
    }
}

struct Watcher {
    client: Arc<Client>,
    name: String,
    version: u32,
    tell: Sender<News>,
}

impl Watcher {
    /// Ends with whoever listens.
    fn run(mut self) {
        let (mut pause, mut is_away, mut is_lost) = (PAUSE_FIRST, false, false);
        loop {
            let asked = Instant::now();
            let told = match self.client.refresh(&self.name, WAIT) {
                Ok(credential) => {
                    let changed = is_lost || credential.version() != self.version;
                    self.version = credential.version();
                    pause = PAUSE_FIRST;
                    let was_away = std::mem::take(&mut is_away);
                    is_lost = false;
                    match (changed, was_away) {
                        (true, _) => self.tell.send(News::Changed(credential)),
                        (false, true) => self.tell.send(News::Back(self.name.clone())),
                        (false, false) => Ok(()),
                    }
                }
                Err(error) => {
                    let over = error.is_refusal()
                        || matches!(self.client.kept(&self.name), None | Some((_, _, Standing::Over)));
                    let news = match (over && !is_lost, is_away) {
                        (true, _) => Some(News::Lost(self.name.clone(), error)),
                        (false, false) if !is_lost => Some(News::Away(self.name.clone(), error)),
                        _ => None,
                    };
                    (is_away, is_lost) = (true, is_lost || over);
                    let told = news.map_or(Ok(()), |news| self.tell.send(news));
                    thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                    told
                }
            };
            if told.is_err() {
                return;
            }
            // A server that does not wait is not asked without end.
            thread::sleep(PAUSE_FIRST.saturating_sub(asked.elapsed()));
        }
    }
}
