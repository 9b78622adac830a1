//! What a running server says of its rings, beside their files: its versions, what it counted under each, and sealing anew there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::answers::{Resealing, ResealingWholePass, Ring, RingVersion, Rings, VaultResealing, VaultRing};
use crate::client::{Answer, Call, Client};
use crate::context::resolve;
use crate::failure::Result;
use crate::progress::Progress;
use crate::table::{Card, Cell};
use crate::{Ending, Failure, Global, Terminal};
use keyward_domain::Timestamp;
use keyward_domain::error::Blame;
use serde_json::{Value, json};

/// Whole passes after which a server that still finds old records has company that seals them.
const PASSES_MAX: u32 = 5;
/// Between two steps while the log waits for a gap: each step is an event.
const WAITING_PAUSE: Duration = Duration::from_secs(1);

/// The ring of the vault, which is counted when somebody asks.
const VAULT: &str = "vault_keyring";

/// What a server says of its rings.
pub struct Figures {
    answer: Answer,
    rings: Rings,
}

impl Figures {
    /// The figures of the server that `--url` or `--context` names; `None` where neither does: the context in use may belong to
    /// another installation than these files.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn asked(global: &Global, terminal: &Terminal) -> Result<Option<Self>> {
        let Some(client) = server(global, terminal)? else { return Ok(None) };
        Self::told_by(&client).map(Some)
    }

    fn told_by(client: &Client) -> Result<Self> {
        let answer = client.call(&Call::get("/v1/rings"))?;
        let rings = answer.read()?;
        Ok(Self { answer, rings })
    }

    /// The same with what lies under the vault's ring, counted now.
    ///
    /// # Errors
    /// As [`Figures::asked`].
    pub fn asked_with_vault(global: &Global, terminal: &Terminal) -> Result<Option<Self>> {
        let Some(client) = server(global, terminal)? else { return Ok(None) };
        let mut figures = Self::told_by(&client)?;
        let mut progress = Progress::new("Counting what credentials hold");
        let mut all: Option<Ring> = None;
        let mut cursor: Option<String> = None;
        loop {
            let step = client.call(&Call::get("/v1/credentials/ring").query("cursor", cursor.as_deref()))?;
            let VaultRing { ring, next_cursor } = step.read()?;
            if next_cursor.is_some() && next_cursor == cursor {
                return Err(Failure::not_keyward(&step, "its cursor does not move"));
            }
            let all = match &mut all {
                Some(all) => {
                    all.add(ring);
                    all
                }
                None => all.insert(ring),
            };
            progress.so_far(all.versions.iter().filter_map(|version| version.records).sum());
            cursor = next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        figures.rings.rings.extend(all);
        Ok(Some(figures))
    }

    /// As the server says it.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn json(&self) -> Result<Value> {
        self.answer.read()
    }

    fn version(&self, ring: &str, version: u32) -> Option<&RingVersion> {
        let ring = self.rings.rings.iter().find(|known| known.name == ring)?;
        ring.versions.iter().find(|known| known.version == version)
    }

    /// The two cells that stand beside a version of a ring's file.
    pub fn of(&self, ring: &str, version: u32) -> [Cell; 2] {
        let Some(known) = self.version(ring, version) else {
            return [Cell::or_dash(None::<&str>), Cell::or_dash(None::<&str>)];
        };
        let counted = [(known.records, "records"), (known.tombstones, "tombstones"), (known.keys, "keys")];
        let counted: Vec<String> =
            counted.iter().filter_map(|(count, what)| Some(format!("{} {what}", (*count)?))).collect();
        let used = (!counted.is_empty()).then(|| counted.join(", "));
        [Cell::state(&known.state), Cell::or_dash(used)]
    }

    /// How many records, or living keys, still need a version of a ring whose file was changed last at `changed_at` and makes
    /// `active` the active version.
    ///
    /// # Errors
    /// No whole pass that counts: it began before that change, or the server has another active version.
    pub fn remaining(&self, ring: &str, version: u32, active: u32, changed_at: SystemTime) -> Result<u64> {
        let known = self.rings.rings.iter().find(|known| known.name == ring);
        let no = |why: String| {
            Err(Failure::new(
                Blame::Conflict,
                "The version may be in use",
                format!("{why}; nothing was changed"),
            )
            .advise("Start every process anew with the ring, then `keyward ring reseal`, then retire.")
            .advise("--force-unverified drops it all the same."))
        };
        let Some(known) = known else {
            return no(format!("the server counts nothing of `{ring}`"));
        };
        if known.active != active {
            return no(format!(
                "version `{}` of `{ring}` is active at the server, and `{active}` here",
                known.active
            ));
        }
        if ring == VAULT {
            return Ok(self.version(ring, version).and_then(|found| found.records).unwrap_or_default());
        }
        let last = self.rings.resealing.last.as_ref();
        let Some(last) = last.filter(|last| began_after(last, changed_at)) else {
            return no(format!("no whole pass over the records began after `{ring}` was changed last"));
        };
        if ring == "records_keyring" && last.active != active {
            return no(format!("the last whole pass sealed under version `{}`", last.active));
        }
        let found = self.version(ring, version);
        match found.map_or((Some(0), None), |found| (found.records, found.keys)) {
            (Some(count), _) | (None, Some(count)) => Ok(count),
            (None, None) => no(format!("the server counts nothing of `{ring}`")),
        }
    }
}

impl Ring {
    /// What another step found, beside what those before it did.
    fn add(&mut self, step: Self) {
        for more in step.versions {
            match self.versions.iter_mut().find(|known| known.version == more.version) {
                Some(known) => {
                    let sum = known.records.unwrap_or_default() + more.records.unwrap_or_default();
                    known.records = Some(sum);
                }
                None => self.versions.push(more),
            }
        }
    }
}

/// A client of the server that `--url` or `--context` names; `None` where neither does.
fn server(global: &Global, terminal: &Terminal) -> Result<Option<Client>> {
    if global.url.is_none() && global.context.is_none() {
        return Ok(None);
    }
    Client::with_credential(&resolved(global)?, terminal).map(Some)
}

/// With what the context says, as every command that asks a server.
fn resolved(global: &Global) -> Result<Global> {
    let mut global = global.clone();
    resolve(&mut global)?;
    Ok(global)
}

fn began_after(pass: &ResealingWholePass, changed_at: SystemTime) -> bool {
    let changed_ms = changed_at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let begun_ms = Timestamp::parse(&pass.begun_at).and_then(|at| u128::try_from(at.unix_ms()).ok());
    begun_ms.is_some_and(|begun_ms| begun_ms > changed_ms)
}

/// `keyward ring reseal`: steps until a pass that began now found everything under the active version.
///
/// # Errors
/// The server does not answer or refuses; what it finds old stays old.
pub fn run(global: &Global, terminal: &Terminal) -> Result<Ending> {
    let client = Client::with_credential(&resolved(global)?, terminal)?;
    let step = |anew: bool| client.call(&Call::post("/v1/rings/reseal", &json!({ "anew": anew }))?);
    let mut progress = Progress::new("Sealing anew");
    let mut answer = step(true)?;
    let mut begun_before = None;
    let (mut passes, mut resealed) = (0, 0);
    loop {
        let Resealing { settled, pass, last } = answer.read()?;
        if pass.as_ref().is_some_and(|pass| pass.waiting) {
            std::thread::sleep(WAITING_PAUSE);
        }
        match (pass, last) {
            (Some(pass), Some(last)) if last.records > 0 => progress.at(pass.records, last.records),
            (Some(pass), _) => progress.so_far(pass.records),
            (None, Some(last)) if begun_before.as_ref() != Some(&last.begun_at) => {
                passes += 1;
                resealed += last.resealed;
                if settled {
                    drop(progress);
                    return show(global, terminal, &answer, &last, resealed);
                }
                if last.outdated == 0 {
                    return Err(is_behind());
                }
                if last.resealed == 0 || passes >= PASSES_MAX {
                    return Err(left_over(&last));
                }
                begun_before = Some(last.begun_at);
            }
            _ => return Err(is_behind()),
        }
        answer = step(false)?;
    }
}

/// `keyward ring reseal --vault`: one pass over what credentials hold.
///
/// # Errors
/// The server does not answer or refuses; some of it does not open.
pub fn run_vault(global: &Global, terminal: &Terminal) -> Result<Ending> {
    let client = Client::with_credential(&resolved(global)?, terminal)?;
    let mut progress = Progress::new("Sealing anew");
    let (mut cursor, mut values, mut resealed, mut unreadable) = (None::<String>, 0, 0, 0);
    loop {
        let answer = client.call(&Call::post("/v1/credentials/reseal", &json!({ "cursor": cursor }))?)?;
        let step: VaultResealing = answer.read()?;
        values += step.values;
        resealed += step.resealed;
        unreadable += step.unreadable;
        progress.so_far(values);
        cursor = step.next_cursor;
        if cursor.is_some() {
            continue;
        }
        drop(progress);
        if global.json {
            let told = json!({ "active": step.active, "values": values, "resealed": resealed, "unreadable": unreadable });
            terminal.print(&told.to_string())?;
        } else {
            let card = Card::new()
                .field("active version", Cell::new(step.active.to_string()))
                .field("values", Cell::new(values.to_string()))
                .field("sealed anew", Cell::new(resealed.to_string()));
            terminal.print(&card.render(terminal.styles()))?;
        }
        if unreadable > 0 {
            let detail = format!(
                "{unreadable} values do not open, or lie under a version that the server does not have"
            );
            return Err(Failure::new(Blame::Integrity, "Not everything was sealed anew", detail));
        }
        return Ok(Ending::Done);
    }
}

fn is_behind() -> Failure {
    let detail = "no pass goes on: others seal under a newer version than this server";
    Failure::new(Blame::Conflict, "Nothing was sealed anew", detail)
        .advise("Start this server anew with the ring as its file has it.")
}

fn left_over(last: &ResealingWholePass) -> Failure {
    let detail = format!("{} records are still under another version than `{}`", last.outdated, last.active);
    Failure::new(Blame::Conflict, "Not everything was sealed anew", detail)
        .advise("A process that was not started anew seals under the old version, or this server lacks a version: `keyward ring status` with --url tells.")
}

fn show(
    global: &Global,
    terminal: &Terminal,
    answer: &Answer,
    last: &ResealingWholePass,
    resealed: u64,
) -> Result<Ending> {
    if global.json {
        terminal.print(&crate::escape::shown_json(answer.text()?))?;
    } else {
        let card = Card::new()
            .field("active version", Cell::new(last.active.to_string()))
            .field("records", Cell::new(last.records.to_string()))
            .field("sealed anew", Cell::new(resealed.to_string()))
            .field("pass began", Cell::new(&last.begun_at));
        terminal.print(&card.render(terminal.styles()))?;
    }
    if last.damaged > 0 {
        terminal
            .warn(&format!("records that do not open: {}; `keyward audit verify` names them", last.damaged));
    }
    Ok(Ending::Done)
}
