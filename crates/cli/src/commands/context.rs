//! `keyward context`: looks after the file of contexts. It asks nobody over the network and reads no key.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::arguments::{ContextAdd, ContextCommand, Global};
use crate::client::base_of;
use crate::context::{Context, Contexts, Origin, resolve, url_of};
use crate::escape::shown_json;
use crate::failure::{Ending, Failure, Result};
use crate::table::{Card, Cell, Table};
use crate::terminal::Terminal;

/// Carries it out.
///
/// # Errors
/// The file of contexts cannot be used; a name that is taken or not there; nothing to add.
pub fn run(global: &Global, command: &ContextCommand, terminal: &Terminal) -> Result<Ending> {
    match command {
        ContextCommand::Add(options) => add(global, options, terminal)?,
        ContextCommand::Use(which) => {
            let mut contexts = Contexts::load()?;
            contexts.get(&which.name)?;
            contexts.current = Some(which.name.clone());
            contexts.save()?;
        }
        ContextCommand::List => list(global, terminal)?,
        ContextCommand::Show => show(global, terminal)?,
        ContextCommand::Remove(which) => {
            let mut contexts = Contexts::load()?;
            contexts.get(&which.name)?;
            contexts.all.remove(&which.name);
            contexts.current = contexts.current.filter(|current| *current != which.name);
            contexts.save()?;
        }
    }
    Ok(Ending::Done)
}

fn add(global: &Global, options: &ContextAdd, terminal: &Terminal) -> Result<()> {
    let said = global.origins;
    let name = &options.which.name;
    let Some(url) = &global.url else {
        return Err(Failure::command_line("a context needs a URL: --url or KEYWARD_URL"));
    };
    let url = base_of(url, "--url or KEYWARD_URL")?.to_string();
    let key_file = (said.key_file != Origin::Default).then(|| kept(&global.key_file)).transpose()?;
    let ca_cert = global.ca_cert.as_deref().map(kept).transpose()?;
    let mut contexts = Contexts::load()?;
    if contexts.all.contains_key(name) && !options.replace {
        return Err(Failure::command_line(format!("there is a context `{name}`; --replace takes its place")));
    }
    contexts.all.insert(name.clone(), Context { url, key_file, ca_cert });
    contexts.save()?;
    if contexts.current.is_none() {
        terminal.note(&format!("`keyward context use {name}` makes it the one in use."));
    }
    Ok(())
}

/// A path as it holds from any folder.
fn kept(path: &Path) -> Result<PathBuf> {
    if path.as_os_str() == "-" {
        return Err(Failure::command_line("a context holds the path of a file, not standard input"));
    }
    if path.to_str().is_some_and(|text| keyward_domain::token::parse(text).is_ok()) {
        return Err(Failure::command_line(
            "--key-file is a token; expected the path of a file that holds it. Now that it stood on a command line, revoke it",
        ));
    }
    std::path::absolute(path).map_err(|error| Failure::file("key file", path, &error))
}

fn text(path: Option<&PathBuf>) -> Option<String> {
    path.map(|path| path.display().to_string())
}

fn list(global: &Global, terminal: &Terminal) -> Result<()> {
    let contexts = Contexts::load()?;
    let is_current = |name: &String| contexts.current.as_ref() == Some(name);
    if global.json {
        let items: Vec<_> = contexts
            .all
            .iter()
            .map(|(name, context)| {
                json!({
                    "name": name,
                    "current": is_current(name),
                    "url": context.url,
                    "key_file": text(context.key_file.as_ref()),
                    "ca_cert": text(context.ca_cert.as_ref()),
                })
            })
            .collect();
        return terminal.print(&shown_json(&json!({ "items": items }).to_string()));
    }
    let mut table = Table::new(&["NAME", "IN USE", "URL", "KEY FILE"]);
    for (name, context) in &contexts.all {
        table.row([
            Cell::new(name),
            Cell::or_dash(is_current(name).then_some("yes")),
            Cell::new(&context.url),
            Cell::or_dash(text(context.key_file.as_ref())),
        ]);
    }
    if table.is_empty() {
        terminal.note("No contexts.");
        return Ok(());
    }
    terminal.print(&table.render(terminal.styles()))
}

fn show(global: &Global, terminal: &Terminal) -> Result<()> {
    let mut effective = global.clone();
    resolve(&mut effective)?;
    let origins = effective.origins;
    let key_file = effective.key_file.display().to_string();
    let ca_cert = text(effective.ca_cert.as_ref());
    if global.json {
        let said = |value: Option<&str>, origin: Origin| json!({ "value": value, "from": origin.as_str() });
        let json = json!({
            "context": effective.context,
            "url": said(Some(url_of(&effective)), origins.url),
            "key_file": said(Some(&key_file), origins.key_file),
            "ca_cert": said(ca_cert.as_deref(), origins.ca_cert),
        });
        return terminal.print(&shown_json(&json.to_string()));
    }
    let line = |value: &str, origin: Origin| Cell::new(format!("{value}  ({})", origin.as_str()));
    let mut card = Card::new()
        .field("context", Cell::or_dash(effective.context.as_deref()))
        .field("url", line(url_of(&effective), origins.url))
        .field("key file", line(&key_file, origins.key_file));
    if let Some(path) = &ca_cert {
        card = card.field("certificates", line(path, origins.ca_cert));
    }
    terminal.print(&card.render(terminal.styles()))
}
