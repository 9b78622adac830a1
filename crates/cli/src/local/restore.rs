//! `keyward restore`: a backup in the store's place. It is verified before anything is touched, and what was there is kept aside.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::aside::Aside;
use crate::failure::Result;
use crate::progress::Progress;
use crate::table::{Card, Cell};
use crate::{Ending, Failure, Global, Terminal};
use clap::Args;
use keyward_domain::error::Blame;
use keyward_domain::ports::Clock;
use keyward_host::{StoreFile, StoreFileError};

use super::state::StateDir;
use super::store::{RealClock, store_file};
use super::verify_store::{unfit, verify_store};

/// `keyward restore`.
#[derive(Debug, Args)]
pub struct Options {
    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Where the rings are that it was written with, and where the store goes
    #[arg(long, value_name = "DIR", default_value = ".keyward")]
    state_dir: PathBuf,
    /// Spin's runtime configuration, where the store lies elsewhere
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
    /// Take the place of a store that is there; it is kept beside the new one
    #[arg(long)]
    replace: bool,
    /// Though its log is not what it should be, or these are other rings
    #[arg(long)]
    force_unverified: bool,
}

/// Carries it out.
pub fn run(global: &Global, options: &Options, terminal: &Terminal) -> Result<Ending> {
    let state = StateDir::new(&options.state_dir);
    let rings = state.rings()?;
    let into = store_file(options.runtime_config_file.as_deref(), &state)?;
    let is_there = into.path().symlink_metadata().is_ok();
    if is_there && same_file(&options.from, into.path()) {
        return Err(Failure::command_line("--from is the store itself"));
    }
    let from = StoreFile::at(&options.from);
    let checked = verify_store(&options.from, &rings);
    if options.force_unverified {
        from.check().map_err(|error| unfit(&options.from, &error))?;
    } else {
        checked?;
    }
    if is_there && !options.replace {
        let detail = format!("there is `{}`; nothing was changed", into.path().display());
        return Err(Failure::new(Blame::Conflict, "There is a store already", detail)
            .advise("Take its place with --replace: it is kept beside the new one."));
    }
    // One that is damaged cannot be folded: it is moved aside with all that lies beside it.
    if is_there && matches!(into.fold(), Err(StoreFileError::InUse)) {
        return Err(unfit(into.path(), &StoreFileError::InUse).advise("Stop Keyward first."));
    }
    let aside = Aside::of(into.path());
    let mut progress = Progress::new("Copying");
    from.copy_to(aside.path(), |done, all| {
        progress.at(u64::try_from(done).unwrap_or(0), u64::try_from(all).unwrap_or(0));
    })
    .map_err(|error| unfit(&options.from, &error))?;
    drop(progress);
    let kept = if is_there { Some(keep(&into)?) } else { None };
    aside.put_into_place()?;
    let verified = match verify_store(into.path(), &rings) {
        Err(failure) if options.force_unverified => {
            terminal.warn("it was restored, and does not verify:");
            terminal.fail(&failure);
            None
        }
        verified => Some(verified?),
    };

    let shown = |path: &Path| path.display().to_string();
    if global.json {
        let json = serde_json::json!({
            "store": shown(into.path()),
            "kept": kept.as_deref().map(shown),
            "tickets": verified.as_ref().map(|verified| verified.tickets),
            "newest_event": verified.as_ref().map(|verified| verified.newest),
        });
        terminal.print(&crate::escape::shown_json(&json.to_string()))?;
    } else {
        let mut card = Card::new()
            .field("store", Cell::new(shown(into.path())))
            .field("newest event", Cell::or_dash(verified.map(|verified| verified.newest.to_string())));
        if let Some(kept) = &kept {
            card = card.field("old store", Cell::new(shown(kept)));
        }
        terminal.print(&card.render(terminal.styles()))?;
    }
    terminal.note(
        "All is as it was at that event: a key that was revoked later lives again. Revoke anew what the old log has after it.",
    );
    Ok(Ending::Done)
}

fn same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Moves a store aside, with what SQLite has beside it; gives where it is now.
fn keep(store: &StoreFile) -> Result<PathBuf> {
    let now = RealClock::default().now().to_string();
    let mut suffix = OsString::from(".replaced-");
    suffix.push(now.chars().filter(char::is_ascii_alphanumeric).collect::<String>());
    let mut kept = store.path().as_os_str().to_owned();
    kept.push(&suffix);
    let kept = StoreFile::at(kept);
    let moves = std::iter::once((store.path().to_owned(), kept.path().to_owned()))
        .chain(store.companions().into_iter().zip(kept.companions()));
    for (from, to) in moves {
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::file("old store", &from, &error));
            }
            _ => {}
        }
    }
    Ok(kept.path().to_owned())
}
