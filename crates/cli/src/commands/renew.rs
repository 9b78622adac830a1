//! `keyward renew`: a key's holder renews it by itself. The token file is swapped at once, and only after the new token was accepted
//! where it is used.
//!
//! It may be killed anywhere and run again. Before anything is asked for, the Idempotency-Key of the renewal lies beside the renewal
//! file; the answer is written there before it is used. So no answer is lost, and no renewal token is presented twice by its owner.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyward_crypto::{SecretText, Zeroizing};
use keyward_domain::error::Blame;
use keyward_domain::token;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Run;
use crate::answers::{Claimed, ClaimedKey, SelfKey};
use crate::arguments::Renew;
use crate::aside::{replace_private, write_private};
use crate::client::{Call, Client, fresh_idempotency_key};
use crate::failure::{Ending, Failure, Result};
use crate::secret_source;
use crate::signed;
use crate::table::{Card, Cell};

const ROUTE: &str = "/v1/self/renew";
const SELF_ROUTE: &str = "/v1/self";
/// How often the gateway is asked about the new token, and how long it is waited between two, in milliseconds: a gateway's replica of
/// the store may be behind for a moment.
const PROBES: u32 = 10;
const PROBE_AFTER_MS: u64 = 500;

/// A renewal under way, as it lies beside the renewal file. Secret.
#[derive(Serialize, Deserialize)]
struct Pending {
    idempotency_key: String,
    /// The server's answer, once it came and was authentic.
    answer: Option<String>,
}

#[derive(Serialize)]
struct Ask<'a> {
    renewal_token: &'a str,
}

impl Run<'_> {
    pub(super) fn renew(&self, options: &Renew) -> Result<Ending> {
        let pending_path = beside(&options.renewal_file, ".pending");
        let _lock = lock(&beside(&options.renewal_file, ".lock"))?;
        let client = Client::anonymous(self.global, None, self.terminal)?;
        let pending = match Pending::read(&pending_path)? {
            Some(pending) => pending,
            None => {
                let token = read_token(&options.token_file, "token")?;
                if !options.force
                    && let Some(due_at) = self.not_due(&client, &token)?
                {
                    return self.tell_not_due(&due_at);
                }
                let pending = Pending { idempotency_key: fresh_idempotency_key()?, answer: None };
                pending.keep(&pending_path)?;
                pending
            }
        };
        let pending = self.ask(&client, pending, options, &pending_path)?;
        let text = pending.answer.as_deref().unwrap_or_default();
        let (key, token, renewal) = read_answer(text)?;
        if let Some(url) = &options.probe {
            probe(self, url, &token)?;
        }
        replace_private(&options.token_file, &line(&token))?;
        if let Some(renewal) = &renewal {
            replace_private(&options.renewal_file, &line(renewal))?;
        }
        std::fs::remove_file(&pending_path).map_err(|error| Failure::file("file", &pending_path, &error))?;
        self.tell_renewed(&key, options)
    }

    /// When a token's successor is due, where that is not yet.
    fn not_due(&self, client: &Client, token: &SecretText) -> Result<Option<String>> {
        let answer = client.presenting(token, |client| client.call(&Call::get(SELF_ROUTE)))?;
        let key: SelfKey = answer.read()?;
        if let Some(rotate_by) = &key.rotate_by {
            return Err(Failure::new(
                Blame::Conflict,
                "The token file is behind",
                format!(
                    "a successor of its token was claimed elsewhere, and it passes until {rotate_by} alone"
                ),
            )
            .advise(
                "Put the successor's token and renewal token into the two files, or have the key rotated.",
            ));
        }
        if !key.self_renewal {
            return Err(Failure::new(
                Blame::Conflict,
                "The key does not renew itself",
                "its policy does not allow it, or an admin or an alarm stopped it; ask for a claim",
            ));
        }
        let is_due = |due_at: &str| {
            keyward_domain::Timestamp::parse(due_at)
                .is_some_and(|due_at| now().is_none_or(|now| now >= due_at))
        };
        Ok(match key.due_at {
            _ if key.rotation == "offered" => None,
            Some(due_at) if is_due(&due_at) => None,
            Some(due_at) => Some(due_at),
            None => Some("never, by its policy".to_owned()),
        })
    }

    /// Has the renewal's answer, out of the file where it came before.
    fn ask(&self, client: &Client, pending: Pending, options: &Renew, path: &Path) -> Result<Pending> {
        if pending.answer.is_some() {
            return Ok(pending);
        }
        let renewal = read_token(&options.renewal_file, "renewal token")?;
        let call = Call::post(ROUTE, &Ask { renewal_token: renewal.expose() })?
            .creating_as(pending.idempotency_key.clone());
        let answer = match signed::ask(client, call, ROUTE, options.signer.as_deref()) {
            Ok(answer) => answer,
            Err(failure) if matches!(failure.blame(), Some(Blame::Caller | Blame::Conflict)) => {
                // Refused: nothing was minted, so there is nothing to go on with.
                let _ = std::fs::remove_file(path);
                return Err(failure);
            }
            Err(failure) => return Err(failure.advise("Run it again: it goes on where it was.")),
        };
        let kept = Pending { answer: Some(answer.text()?.to_owned()), ..pending };
        kept.keep(path)?;
        Ok(kept)
    }

    fn tell_not_due(&self, due_at: &str) -> Result<Ending> {
        if self.global.json {
            self.terminal.print(&json!({ "renewed": false, "due_at": due_at }).to_string())?;
        } else {
            self.terminal
                .note(&format!("Nothing to do: the next version is due {}.", crate::escape::shown(due_at)));
        }
        Ok(Ending::Done)
    }

    fn tell_renewed(&self, key: &ClaimedKey, options: &Renew) -> Result<Ending> {
        if self.global.json {
            let told = json!({ "renewed": true, "key": key.id, "version": key.version, "others_end_at": key.others_end_at });
            self.terminal.print(&told.to_string())?;
        } else {
            let card = Card::new()
                .field("key", Cell::new(&key.id))
                .field("version", Cell::new(key.version.to_string()))
                .field("token in", Cell::new(options.token_file.display().to_string()))
                .field("old token until", Cell::or_dash(key.others_end_at.as_deref()));
            self.terminal.print(&card.render(self.terminal.styles()))?;
        }
        Ok(Ending::Done)
    }
}

impl Pending {
    fn read(path: &Path) -> Result<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::file("renewal under way", path, &error)),
        };
        // The parser's own words quote the input, which is a secret.
        serde_json::from_str(&text).map(Some).map_err(|_| {
            let detail = format!("{} is not what `keyward renew` wrote", path.display());
            Failure::new(Blame::Caller, "The renewal under way cannot be used", detail)
        })
    }

    fn keep(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string(self).map_err(|error| Failure::system("JSON", error))?;
        let text = Zeroizing::new(text);
        if path.exists() { replace_private(path, &text) } else { write_private(path, &text) }
    }
}

/// Waits until nobody else renews with this file.
fn lock(path: &Path) -> Result<File> {
    let fault = |error: std::io::Error| Failure::file("lock", path, &error);
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(fault)?;
    file.lock().map_err(fault)?;
    Ok(file)
}

fn read_token(path: &Path, what: &str) -> Result<SecretText> {
    let text = secret_source::read(Some(path), what, "")?;
    match token::parse(text.expose()) {
        Ok(_) => Ok(text),
        Err(fault) => {
            let detail = format!("{} holds none: {fault}", path.display());
            Err(Failure::new(Blame::Caller, format!("The {what} cannot be used"), detail))
        }
    }
}

fn read_answer(text: &str) -> Result<(ClaimedKey, SecretText, Option<SecretText>)> {
    let unfit = || Failure::new(Blame::Store, "The answer is not Keyward's", "it is of another shape");
    let Claimed { key, token, renewal_token } = serde_json::from_str(text).map_err(|_| unfit())?;
    let key = serde_json::from_str(key.get()).map_err(|_| unfit())?;
    Ok((key, SecretText::new(token), renewal_token.map(SecretText::new)))
}

/// Asks the client's own gateway whether it accepts the new token.
fn probe(run: &Run<'_>, url: &str, token: &SecretText) -> Result<()> {
    let (client, route) = Client::of_url(run.global, url)?;
    let mut last = None;
    for attempt in 0..PROBES {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(PROBE_AFTER_MS));
        }
        match client.presenting(token, |client| client.ask(&Call::get(route.clone()))) {
            Ok(answer) if (200..300).contains(&answer.status) => return Ok(()),
            Ok(answer) => last = Some(format!("it answered {}", answer.status)),
            Err(failure) => last = Some(failure.detail().to_owned()),
        }
    }
    let detail = format!("{} did not accept the new token: {}", client.base(), last.unwrap_or_default());
    Err(Failure::new(Blame::Store, "The probe failed", detail)
        .advise("The old token stays in its file, and passes for its grace. Run it again: the new one is kept until then."))
}

/// The time by this machine's clock; none before 1970.
pub(super) fn now() -> Option<keyward_domain::Timestamp> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(keyward_domain::Timestamp::from_unix_ms)
}

fn line(secret: &SecretText) -> Zeroizing<String> {
    Zeroizing::new(format!("{}\n", secret.expose()))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}
