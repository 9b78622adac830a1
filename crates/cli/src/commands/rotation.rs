//! `keyward key rotate|rotate-many|finish-rotation|cancel-rotation`.

use keyward_crypto::SecretText;
use keyward_domain::Code;
use serde::Serialize;
use serde_json::{Value, json};

use super::Run;
use super::bulk::{Deed, selection};
use super::key::card;
use super::renew::now;
use crate::answers::{Issued, Key, ManyKeys, RotatedClaim, RotatedKey, SkippedKey};
use crate::arguments::{KeyRevoke, KeyRotate, KeyRotateMany};
use crate::client::{Answer, Call};
use crate::failure::{Ending, Result};
use crate::secret_file::NewSecretFile;
use crate::table::{Cell, Table};
use crate::terminal::Tone;

/// Rotates many keys.
struct Rotating {
    out: Option<NewSecretFile>,
    is_incident: bool,
    /// When what is rotated away from was claimed at the latest.
    found_at: Option<String>,
}

/// A claim as it is put into a file.
#[derive(Serialize)]
struct ClaimLine<'a> {
    key: &'a str,
    application: &'a str,
    name: &'a str,
    version: u16,
    url: &'a str,
    ticket: &'a str,
    expires_at: &'a str,
}

impl Deed for Rotating {
    type Key = RotatedKey;
    const ROUTE: &'static str = "/v1/rotations/bulk";
    const HEADINGS: &'static [&'static str] =
        &["KEY", "NAME", "APPLICATION", "VERSION", "STATE", "CLAIM LINK", "WHY NOT"];
    const DONE: &'static str = "rotated";
    const PROGRESS: &'static str = "Keys rotated:";
    const NOTHING: &'static str = "Nothing was rotated.";

    fn question(&self, keys: &str) -> String {
        if self.is_incident {
            format!("End every version of {keys} at once, and offer successors?")
        } else {
            format!("Offer successors for {keys}?")
        }
    }

    fn take(&mut self, page: &ManyKeys<RotatedKey>, is_done: bool, table: &mut Table) -> Result<()> {
        for key in &page.keys {
            if let (Some(out), Some(claim)) = (&mut self.out, &key.claim) {
                out.add(&line(key, claim))?;
            }
            let link = key.claim.as_ref().filter(|_| self.out.is_none()).map(|claim| &claim.url);
            table.row([
                Cell::new(&key.id),
                Cell::new(&key.name),
                Cell::new(&key.application),
                Cell::new(key.version.to_string()),
                Cell::toned(if is_done { Self::DONE } else { "meant" }, Tone::Good),
                Cell::or_dash(link),
                Cell::or_dash(None::<&str>),
            ]);
        }
        for key in &page.skipped {
            let dash = || Cell::or_dash(None::<&str>);
            let state = Cell::toned("skipped", Tone::Warning);
            table.row([Cell::new(&key.id), dash(), dash(), dash(), state, dash(), Cell::new(&key.detail)]);
        }
        Ok(())
    }

    fn shown(&self, answer: &Answer) -> Result<String> {
        if self.out.is_none() {
            return answer.text().map(str::to_owned);
        }
        // What went to the file goes nowhere else.
        let mut told: Value = answer.read()?;
        let rotated = told.get_mut("rotated").and_then(Value::as_array_mut);
        for claim in rotated.into_iter().flatten().filter_map(|key| key.get_mut("claim")) {
            *claim = Value::Null;
        }
        Ok(told.to_string())
    }

    fn advice(&self) -> String {
        let again = "goes on where this one stopped";
        match &self.found_at {
            Some(at) if self.is_incident => format!("the same command with `--claimed-until {at}` {again}"),
            _ => format!("the same command {again}"),
        }
    }

    fn fails_at(&self, skipped: &SkippedKey) -> bool {
        // What is not to be rotated now stays so whoever asks.
        skipped.code != Code::StateConflict.as_str()
    }

    fn failure(&self, keys: &str) -> (&'static str, String) {
        ("Keys stay as they are", format!("{keys} that the selection means cannot be rotated with this key"))
    }
}

/// A claim as one line of JSON.
fn line(key: &RotatedKey, RotatedClaim { ticket, url, expires_at }: &RotatedClaim) -> SecretText {
    let RotatedKey { id, application, name, version, .. } = key;
    let line = ClaimLine { key: id, application, name, version: *version, url, ticket, expires_at };
    SecretText::new(serde_json::to_string(&line).unwrap_or_default())
}

impl Run<'_> {
    pub(super) fn rotate_key(&self, options: &KeyRotate) -> Result<Ending> {
        let mut body = json!({ "reason": options.reason });
        if let Some(members) = body.as_object_mut() {
            if options.incident {
                members.insert("mode".to_owned(), json!("incident"));
            }
            if let Some(grace_s) = options.grace {
                members.insert("grace_s".to_owned(), json!(grace_s));
            }
            if let Some(version) = options.version {
                members.insert("version".to_owned(), json!(version));
            }
        }
        let call = Call::post(format!("/v1/keys/{}/rotate", options.id), &body)?.creating()?;
        let answer = self.client()?.call(&call)?;
        let issued: Issued = answer.read()?;
        self.show_issued(&answer, &issued)
    }

    pub(super) fn rotate_keys(&self, options: &KeyRotateMany) -> Result<Ending> {
        let mut asked = selection(&options.which, &options.reason);
        let mut give = |name: &str, value: Value| drop(asked.insert(name.to_owned(), value));
        if let Some(standing) = &options.standing {
            give("standing", json!(standing));
        }
        if let Some(grace_s) = options.grace {
            give("grace_s", json!(grace_s));
        }
        if options.incident {
            give("mode", json!("incident"));
        }
        if let Some(time) = &options.claimed_until {
            give("claimed_until", json!(time));
        }
        let begun = || now().map(|at| at.to_string());
        let out = options.out.as_deref().filter(|_| !options.asking.dry_run);
        let mut deed = Rotating {
            // Before anything is done: claims that cannot be written would be lost.
            out: out.map(NewSecretFile::create).transpose()?,
            is_incident: options.incident,
            found_at: options.claimed_until.clone().or_else(begun),
        };
        let ended = self.for_many(&mut deed, &asked, &options.asking);
        if !self.global.json && !options.asking.dry_run {
            self.terminal.note(
                "Hand each link to the holder of its key alone: whoever opens it first gets the token, once.",
            );
        }
        ended
    }

    /// Ends a rotation one way or the other: `finish` or `cancel`.
    pub(super) fn end_rotation(&self, options: &KeyRevoke, how: &str) -> Result<Ending> {
        let route = format!("/v1/keys/{}/rotation/{how}", options.id);
        let answer = self.client()?.call(&Call::post(route, &json!({ "reason": options.reason }))?)?;
        self.show(&answer, || Ok(card(&answer.read::<Key>()?).render(self.terminal.styles())))
    }
}
