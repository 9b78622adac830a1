//! `keyward backup`: a copy of the store's file while Keyward runs, verified before it takes its name. The rings are not in it.

use std::path::PathBuf;

use crate::aside::Aside;
use crate::failure::Result;
use crate::progress::Progress;
use crate::table::{Card, Cell};
use crate::{Ending, Failure, Global, Terminal};
use clap::Args;
use keyward_domain::error::Blame;

use super::state::StateDir;
use super::store::{check_there, store_file};
use super::verify_store::{unfit, verify_store};

/// What is added to the name of a copy that does not verify.
const UNVERIFIED: &str = ".unverified";

/// `keyward backup`.
#[derive(Debug, Args)]
pub struct Options {
    /// Where `keyward init` put rings and store
    #[arg(long, value_name = "DIR", default_value = ".keyward")]
    state_dir: PathBuf,
    /// Spin's runtime configuration, where the store lies elsewhere
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
    /// Where the copy goes
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Take the place of a file that is there
    #[arg(long)]
    replace: bool,
}

/// Carries it out.
pub fn run(global: &Global, options: &Options, terminal: &Terminal) -> Result<Ending> {
    let state = StateDir::new(&options.state_dir);
    let rings = state.rings()?;
    let store = store_file(options.runtime_config_file.as_deref(), &state)?;
    check_there(&store)?;
    if !options.replace && options.to.symlink_metadata().is_ok() {
        let detail = format!("there is `{}`; nothing was changed", options.to.display());
        return Err(Failure::new(Blame::Conflict, "The backup has no place to go", detail)
            .advise("Name another file, or take its place with --replace."));
    }
    let aside = Aside::of(&options.to);
    let mut progress = Progress::new("Copying");
    store
        .copy_to(aside.path(), |done, all| {
            progress.at(u64::try_from(done).unwrap_or(0), u64::try_from(all).unwrap_or(0));
        })
        .map_err(|error| unfit(store.path(), &error))?;
    drop(progress);
    let verified = match verify_store(aside.path(), &rings) {
        Ok(verified) => verified,
        // Somebody may need it: better than none, but it takes no good one's place.
        Err(failure) => {
            let mut kept = options.to.clone().into_os_string();
            kept.push(UNVERIFIED);
            let kept = PathBuf::from(kept);
            aside.put_into(&kept)?;
            return Err(failure.advise(format!("The copy was kept as `{}`.", kept.display())));
        }
    };
    aside.put_into_place()?;

    let path = options.to.display().to_string();
    let size_bytes = std::fs::metadata(&options.to).map_or(0, |file| file.len());
    if global.json {
        let json = serde_json::json!({
            "backup": path,
            "size_bytes": size_bytes,
            "tickets": verified.tickets,
            "newest_event": verified.newest,
        });
        terminal.print(&crate::escape::shown_json(&json.to_string()))?;
    } else {
        let card = Card::new()
            .field("backup", Cell::new(path))
            .field("bytes", Cell::new(size_bytes.to_string()))
            .field("newest event", Cell::new(verified.newest.to_string()));
        terminal.print(&card.render(terminal.styles()))?;
    }
    terminal.note(&format!(
        "It holds the store alone. The rings are not in it, and it opens under no others: keep a copy of {} in another place.",
        crate::escape::shown(&state.variables().display().to_string())
    ));
    Ok(Ending::Done)
}
