//! `keyward init`: key rings, the store's first commit and the root key, all of them or none. It never writes over a state, and
//! shows no secret: it says where they lie.

use std::path::PathBuf;

use crate::aside::write_private;
use crate::failure::Result;
use crate::table::{Card, Cell};
use crate::{Ending, Failure, Global, Terminal};
use clap::Args;
use keyward_crypto::digest::hex;
use keyward_crypto::note::LogKeys;
use keyward_crypto::{RingDocument, SecretText, Zeroizing};
use keyward_domain::Code;
use keyward_domain::error::Blame;
use keyward_domain::ports::Clock;
use keyward_service::bootstrap;

use super::rings::{LOG_KEYS, RINGS, random};
use super::state::{StateDir, environment_line, rings};
use super::store::{LocalStore, RealClock};

/// `keyward init`.
#[derive(Debug, Args)]
pub struct Options {
    /// Where rings, root key and store are to lie
    #[arg(long, value_name = "DIR", default_value = ".keyward")]
    state_dir: PathBuf,
    /// The application's manifest, for the command that starts Spin
    #[arg(long, short = 'f', value_name = "FILE", default_value = "spin.toml")]
    from: PathBuf,
    /// Spin's runtime configuration, where the store is to lie elsewhere
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
    /// The person or workload that the root key stands for in the audit log
    #[arg(long, default_value = "root")]
    principal: String,
}

/// Carries it out.
pub fn run(global: &Global, options: &Options, terminal: &Terminal) -> Result<Ending> {
    let state = StateDir::new(&options.state_dir);
    let mut staging = state.stage()?;
    let layout = staging.layout();

    let created_at = RealClock::default().now().to_string();
    let documents = RINGS
        .iter()
        .map(|ring| Ok((ring.name, document(ring.name, &created_at)?)))
        .collect::<Result<Vec<_>>>()?;
    let mut environment = Zeroizing::new(String::with_capacity(4096));
    for (name, document) in &documents {
        write_private(&layout.variable(name), document.expose())?;
        environment.push_str(&environment_line(name, document));
    }
    write_private(&layout.environment(), &environment)?;

    let store = LocalStore::open(options.runtime_config_file.as_deref(), &layout)?;
    let committed = first_commit(store, &documents, &options.principal);
    let is_elsewhere = options.runtime_config_file.is_some();
    let may_be_written = matches!(&committed, Ok(_) | Err((Code::OutcomeUnknown, _)));
    if is_elsewhere && may_be_written {
        // That store outlives a failure; from here on it must not lose its rings.
        staging.keep();
    }
    let kept = |failure: Failure| {
        if !(is_elsewhere && may_be_written) {
            return failure;
        }
        let folder = layout.path().display();
        failure.advise(format!(
            "The rings were kept in {folder}: should the store have been written, it needs them."
        ))
    };
    let token = committed.map_err(|(_, failure)| kept(failure))?;
    let line = Zeroizing::new(format!("{}\n", token.expose()));
    write_private(&layout.root_key(), &line).map_err(kept)?;
    drop((line, token));
    staging.put_into_place().map_err(kept)?;
    report(global, options, &state, terminal)
}

/// A new variable's document: a ring of one version, or the log's keys under a name that no other log has.
fn document(name: &str, created_at: &str) -> Result<SecretText> {
    let key = random::<32>()?;
    if name == LOG_KEYS {
        let origin = format!("keyward.invalid/{}", hex(&*random::<8>()?));
        return LogKeys::generate(*key, &origin, created_at)
            .map_err(|error| Failure::system("new keys of the log", error));
    }
    let document =
        RingDocument::generate(*key, created_at).map_err(|error| Failure::system("new rings", error))?;
    Ok(document.to_json())
}

/// Writes the built-in application and its root key through the ledger; gives the root token, or how the store ended.
fn first_commit(
    store: LocalStore,
    documents: &[(&'static str, SecretText)],
    principal: &str,
) -> Result<SecretText, (Code, Failure)> {
    let document = |name: &'static str| {
        let found = documents.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, text)| SecretText::new(text.expose().to_owned()))
            .ok_or_else(|| Failure::system("new rings", name))
    };
    let rings = rings(document).map_err(|failure| (Code::Internal, failure))?;
    store.run(&rings, async |service| bootstrap::initialise(service, principal).await).map_err(
        |(code, failure)| {
            // Nobody has written with these rings before, so what they do not open is another's.
            let foreign = "it was initialised with other rings; nothing was changed";
            match code {
                Code::RecordDamaged => (code, Failure::new(Blame::Conflict, "The store is in use", foreign)),
                _ => (code, failure),
            }
        },
    )
}

fn report(global: &Global, options: &Options, state: &StateDir, terminal: &Terminal) -> Result<Ending> {
    let shown = |path: PathBuf| path.display().to_string();
    let mut spin = format!(
        "(set -a; . {}; spin up --build --from {} --state-dir {}",
        quoted(&sourced(state)),
        quoted(&shown(options.from.clone())),
        quoted(&shown(state.path().to_owned())),
    );
    if let Some(file) = &options.runtime_config_file {
        spin.push_str(&format!(" --runtime-config-file {}", quoted(&shown(file.clone()))));
    }
    spin.push(')');
    if global.json {
        let json = serde_json::json!({
            "state_dir": shown(state.path().to_owned()),
            "root_key": shown(state.root_key()),
            "variables": shown(state.variables()),
            "environment": shown(state.environment()),
            "spin": spin,
        });
        terminal.print(&crate::escape::shown_json(&json.to_string()))?;
        return Ok(Ending::Done);
    }
    let mut up = format!("keyward up --from {}", quoted(&shown(options.from.clone())));
    up.push_str(&format!(" --state-dir {}", quoted(&shown(state.path().to_owned()))));
    if let Some(file) = &options.runtime_config_file {
        up.push_str(&format!(" --runtime-config-file {}", quoted(&shown(file.clone()))));
    }
    let card = Card::new()
        .field("root key", Cell::new(shown(state.root_key())))
        .field("rings", Cell::new(shown(state.variables())))
        .field("run it", Cell::new(up))
        .field("with Spin", Cell::new(spin));
    terminal.print(&card.render(terminal.styles()))?;
    terminal.note(
        "Keep a copy of the rings where the store's copies are not: without them the store cannot be read.",
    );
    Ok(Ending::Done)
}

/// The environment file as `.` finds it: with a slash, or else a shell searches PATH.
fn sourced(state: &StateDir) -> String {
    let path = state.environment().display().to_string();
    if path.contains('/') { path } else { format!("./{path}") }
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-' | b'+' | b'@' | b'%')
    };
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        for (word, expected) in [
            (".keyward", ".keyward"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
        assert_eq!(sourced(&StateDir::new(".keyward".as_ref())), ".keyward/variables.env");
        assert_eq!(sourced(&StateDir::new("".as_ref())), "./variables.env");
    }
}
