//! `keyward audit new-epoch`: takes a store that was rolled back into use again, next to it and with nobody at it. What the exported
//! log says was revoked is revoked again first.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::arguments::AuditNewEpoch;
use crate::failure::Result;
use crate::table::{Card, Cell};
use crate::{Ending, Failure, Global, Terminal};
use keyward_domain::error::Blame;
use keyward_domain::event::Event;
use keyward_ledger::Witness;
use keyward_service::{Behind, EpochView, Exported};

use super::state::StateDir;
use super::store::LocalStore;
use super::up::witness_store;

/// Carries it out.
///
/// # Errors
/// Whatever kept it from its work; then it is run again.
pub fn run(global: &Global, options: &AuditNewEpoch, terminal: &Terminal) -> Result<Ending> {
    let state = StateDir::new(&options.state_dir);
    let rings = state.rings()?;
    let exported = read(&options.log)?;
    let config = options.runtime_config_file.as_deref();
    let store = LocalStore::open_existing(config, &state)?;
    let witness = match (&options.witness_store, &options.witness_file) {
        (Some(label), _) => Some(store.second(label, config, &state)?),
        (None, Some(path)) => Some(store.further(&witness_store(path), &state)?),
        (None, None) => None,
    };
    let done = store.run(&rings, async |service| {
        let behind = service.behind(&exported).await?;
        if !options.yes && !agreed(&behind, terminal) {
            return Ok(None);
        }
        let seen = match &witness {
            None => None,
            Some(witness) => match service.ledger().ask_witness(witness).await {
                Witness::Saw(seen) => Some(seen),
                Witness::None => None,
                Witness::Silent => return Err(keyward_domain::Error::store_unavailable()),
            },
        };
        let opened = service.open_epoch(&exported, seen, &options.reason).await?;
        // Signed for and remembered now rather than by the first tick: the store may be lost again before.
        service.ledger().integrate(u32::MAX).await?;
        if let Some(witness) = &witness {
            service.ledger().tell_witness(witness).await?;
        }
        Ok(Some(opened))
    });
    if let Some(witness) = witness {
        witness.close();
    }
    let opened = done.map_err(|(_, failure)| failure.advise("Run it again: it goes on where it stopped."))?;
    match opened {
        Some(opened) => report(global, &opened, terminal),
        None => {
            terminal.note("Nothing was changed.");
            Err(Failure::new(Blame::Caller, "No epoch was opened", "it was not confirmed; --yes does so"))
        }
    }
}

/// What an exported log says, line by line.
fn read(path: &Path) -> Result<Exported> {
    const WHAT: &str = "exported log";
    let fault = |error| Failure::file(WHAT, path, &error);
    let mut exported = Exported::default();
    for (number, line) in BufReader::new(File::open(path).map_err(fault)?).lines().enumerate() {
        let line = line.map_err(fault)?;
        if line.trim().is_empty() {
            continue;
        }
        let event: Event = serde_json::from_str(&line).map_err(|_| {
            let place = format!("line {} of `{}` is no event", number + 1, path.display());
            Failure::new(Blame::Caller, format!("The {WHAT} cannot be used"), place).advise(
                "Take what `keyward audit export --format jsonl` wrote: one event of the API in each line.",
            )
        })?;
        if exported.newest().is_some_and(|newest| event.id <= newest) {
            let place = format!("line {} of `{}` is out of order", number + 1, path.display());
            return Err(Failure::new(Blame::Caller, format!("The {WHAT} cannot be used"), place)
                .advise("Events come in the order of the log, oldest first."));
        }
        exported.note(event);
    }
    Ok(exported)
}

/// Shows what is about to be done, and asks.
fn agreed(behind: &Behind, terminal: &Terminal) -> bool {
    let Behind { epoch, taken, exported, revocations, suspensions } = behind;
    let exported = exported.map_or_else(|| "nothing".to_owned(), |newest| newest.to_string());
    terminal.note(&format!(
        "The store is in epoch {epoch} and has taken {taken} tickets; the exported log goes up to {exported}.\n\
         {revocations} revocations and {suspensions} suspensions will be made again. Whatever else was done since is lost: keys \
         issued, edits, claims.\nNothing may run on the store meanwhile."
    ));
    terminal.can_ask() && terminal.confirm("Open a new epoch?").unwrap_or(false)
}

fn report(global: &Global, opened: &EpochView, terminal: &Terminal) -> Result<Ending> {
    if global.json {
        let json = serde_json::to_string(opened).map_err(|error| Failure::system("JSON", error))?;
        terminal.print(&crate::escape::shown_json(&json))?;
        return Ok(Ending::Done);
    }
    let card = Card::new()
        .field("epoch", Cell::new(opened.epoch.to_string()))
        .field("event", Cell::new(opened.event.to_string()))
        .field("closed", Cell::new(format!("epoch {} at {} entries", opened.closed, opened.size)))
        .field("root", Cell::new(&opened.root))
        .field("revoked again", Cell::new(opened.revocations.to_string()))
        .field("suspended again", Cell::new(opened.suspensions.to_string()));
    terminal.print(&card.render(terminal.styles()))?;
    Ok(Ending::Done)
}
