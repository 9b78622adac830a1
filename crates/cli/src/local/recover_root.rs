//! `keyward recover-root`: a new root key, made next to the store by whoever has the rings, where the old one is lost. The token goes
//! into a new file; no output shows it.

use std::path::PathBuf;

use crate::failure::Result;
use crate::secret_file::NewSecretFile;
use crate::table::{Card, Cell};
use crate::{Ending, Failure, Global, Terminal};
use clap::Args;
use keyward_domain::Code;
use keyward_domain::error::Blame;
use keyward_service::bootstrap::{self, RecoveredRoot};

use super::state::StateDir;
use super::store::LocalStore;

/// `keyward recover-root`.
#[derive(Debug, Args)]
pub struct Options {
    /// Where `keyward init` put the rings
    #[arg(long, value_name = "DIR", default_value = ".keyward")]
    state_dir: PathBuf,
    /// Spin's runtime configuration, where the store lies elsewhere
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
    /// The person or workload that the new root key stands for in the audit log
    #[arg(long, value_name = "NAME")]
    principal: String,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "the root key is lost")]
    reason: String,
    /// Revoke every other key that holds every scope of administration
    #[arg(long)]
    revoke_others: bool,
    /// Write the token into this new file [default: root.key in the state directory]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Carries it out.
pub fn run(global: &Global, options: &Options, terminal: &Terminal) -> Result<Ending> {
    let state = StateDir::new(&options.state_dir);
    let rings = state.rings()?;
    let path = options.out.clone().unwrap_or_else(|| state.root_key());
    if path.symlink_metadata().is_ok() {
        let detail = format!("there is `{}`; nothing was changed", path.display());
        return Err(Failure::new(Blame::Conflict, "The new root key has no place to go", detail)
            .advise("Move it away, or name another file with --out."));
    }
    let store = LocalStore::open_existing(options.runtime_config_file.as_deref(), &state)?;
    // Before the key exists: one that nobody can store is better not made.
    let file = NewSecretFile::create(&path)?;
    let recovered = store.run(&rings, async |service| {
        bootstrap::recover_root(service, &options.principal, &options.reason, options.revoke_others).await
    });
    let recovered = recovered.map_err(|(code, failure)| match code {
        Code::OutcomeUnknown => failure.advise(
            "Should it have been written, there is a root key now whose token nobody has: run it again, and revoke that one.",
        ),
        _ => failure,
    })?;
    file.fill(&recovered.token)?;
    report(global, &recovered, &path, terminal)
}

fn report(
    global: &Global,
    recovered: &RecoveredRoot,
    path: &std::path::Path,
    terminal: &Terminal,
) -> Result<Ending> {
    let path = path.display().to_string();
    if global.json {
        let json = serde_json::json!({
            "root_key": path,
            "key": recovered.key,
            "event": recovered.event,
            "revoked": recovered.revoked,
        });
        terminal.print(&crate::escape::shown_json(&json.to_string()))?;
        return Ok(Ending::Done);
    }
    let mut card = Card::new()
        .field("root key", Cell::new(path))
        .field("key", Cell::new(recovered.key.to_string()))
        .field("event", Cell::new(recovered.event.to_string()));
    for key in &recovered.revoked {
        card = card.field("revoked", Cell::new(key.to_string()));
    }
    terminal.print(&card.render(terminal.styles()))?;
    Ok(Ending::Done)
}
