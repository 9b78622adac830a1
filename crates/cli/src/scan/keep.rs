//! Third parties' secrets that were found are kept in the vault, each distinct one as a credential, and where it was asked for the text in
//! the tree is replaced by a reference to the environment, which `keyward exec --map` fills. No history is ever changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use keyward_crypto::{Zeroizing, digest};
use keyward_domain::ApplicationId;
use keyward_domain::credential::{Kind, VALUE_BYTES_MAX};
use serde::Serialize;
use serde_json::json;

use super::finding::Finding;
use super::label::Label;
use super::rule::Severity;
use crate::aside::replace_private;
use crate::client::Client;
use crate::escape::shown;
use crate::failure::{Failure, Result};
use crate::import::calls::Sending;
use crate::import::item::{Item, State};
use crate::import::source::Place;
use crate::{Global, Terminal};

/// Why, for the audit log.
const REASON: &str = "found by keyward scan";

/// Where to, and what with.
pub struct Terms<'a> {
    /// Whose credentials they become.
    pub application: ApplicationId,
    /// What their names begin with.
    pub prefix: &'a str,
    /// Whether the text is replaced.
    pub replace: bool,
    /// Whether it is only told what would be done.
    pub dry_run: bool,
}

/// A secret, wherever it was found.
struct Secret<'f> {
    findings: Vec<&'f mut Finding>,
    label: Label,
    name: String,
}

/// A credential as it is sent.
#[derive(Serialize)]
struct Body<'a> {
    application: ApplicationId,
    name: &'a str,
    kind: Kind,
    description: &'a str,
    value: Value<'a>,
}

#[derive(Serialize)]
struct Value<'a> {
    value: &'a str,
}

/// Keeps what was found, as far as it is agreed to.
///
/// # Errors
/// The server cannot be asked; a file cannot be written. What was done until then is done, and the same once more finds it so.
pub fn keep(
    global: &Global,
    findings: &mut [Finding],
    terms: &Terms<'_>,
    mut agreed: impl FnMut(&str) -> Result<bool>,
    terminal: &Terminal,
) -> Result<()> {
    let mut kept = Vec::new();
    for secret in secrets(findings, terms.prefix, terminal)? {
        let places = secret.findings.len();
        let Some(one) = secret.findings.first() else { continue };
        let more = if places > 1 { format!(" and {} more", places.saturating_sub(1)) } else { String::new() };
        let place = format!("{}:{}{more}", shown(&one.path), one.place.line);
        if agreed(&format!("Keep what is in {place} ({}) as `{}`?", one.about.id, secret.name))? {
            kept.push(secret);
        }
    }
    if kept.is_empty() {
        return Ok(());
    }
    let client = Client::with_credential(global, terminal)?;
    let mut imported = import(&client, kept, terms, terminal)?;
    if terms.replace {
        replace(&mut imported, terms, agreed, terminal)?;
    }
    if !imported.is_empty() {
        let maps = imported.iter().map(|one| format!("--map {}={}", one.label.variable(), one.name));
        terminal.note(&format!(
            "Start what reads them with: keyward exec {} -- COMMAND",
            maps.collect::<Vec<_>>().join(" ")
        ));
        terminal
            .note("Whoever saw them where they lay still has them: have the third parties make new ones.");
    }
    Ok(())
}

/// What was found, each secret once, with names that differ.
fn secrets<'f>(findings: &'f mut [Finding], prefix: &str, terminal: &Terminal) -> Result<Vec<Secret<'f>>> {
    let mut all: BTreeMap<[u8; 32], Vec<&mut Finding>> = BTreeMap::new();
    let mut order = Vec::new();
    for finding in findings.iter_mut().filter(|finding| finding.token.is_none()) {
        let fits = std::str::from_utf8(&finding.secret).is_ok() && finding.secret.len() <= VALUE_BYTES_MAX;
        if !fits {
            terminal.warn(&format!(
                "{}:{} is no text that a credential holds",
                shown(&finding.path),
                finding.place.line
            ));
            continue;
        }
        let of = digest::sha256(&finding.secret);
        if !all.contains_key(&of) {
            order.push(of);
        }
        all.entry(of).or_default().push(finding);
    }
    let (mut secrets, mut taken) = (Vec::new(), BTreeSet::new());
    for findings in order.iter().filter_map(|of| all.remove(of)) {
        let Some(first) = findings.first() else { continue };
        let called = findings.iter().find_map(|finding| finding.label.clone());
        let called = called.unwrap_or_else(|| Label::new(&first.about.id));
        let numbered = (2_usize..).map(|number| called.numbered(number));
        let label =
            std::iter::once(called.clone()).chain(numbered).find(|label| !taken.contains(&label.variable()));
        let Some(label) = label else { continue };
        taken.insert(label.variable());
        let name = label.credential(prefix).map_err(|what| {
            let place = format!("{}:{}", first.path, first.place.line);
            Failure::command_line(format!("what is in {place} cannot be kept: {what}"))
        })?;
        secrets.push(Secret { findings, label, name });
    }
    Ok(secrets)
}

/// Imports them; gives those that are in the vault then.
fn import<'f>(
    client: &Client,
    secrets: Vec<Secret<'f>>,
    terms: &Terms<'_>,
    terminal: &Terminal,
) -> Result<Vec<Secret<'f>>> {
    let items = secrets.iter().map(|secret| item(secret, terms.application));
    let mut items = items.collect::<Result<Vec<Item>>>()?;
    let head = [("reason", json!(REASON)), ("dry_run", json!(terms.dry_run)), ("on_conflict", json!("keep"))];
    let sending =
        Sending::credentials(head.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    let sent = sending.send(client, &mut items, &AtomicBool::new(false));
    let mut imported = Vec::with_capacity(secrets.len());
    for (mut secret, item) in secrets.into_iter().zip(items) {
        let done = match (item.state.outcome(), terms.dry_run) {
            ("imported", true) => "would be kept",
            ("imported", false) => "is kept in the vault",
            ("existing", _) => "is in the vault already",
            _ => {
                let why =
                    item.state.why().map_or_else(|| "nothing is known of it".to_owned(), |(_, why)| why);
                terminal.warn(&format!("`{}` was not kept: {}", secret.name, shown(&why)));
                continue;
            }
        };
        terminal.note(&format!("`{}` {done}.", secret.name));
        if !terms.dry_run {
            for finding in &mut secret.findings {
                finding.kept_as = Some(secret.name.clone());
            }
        }
        imported.push(secret);
    }
    sent.map(|()| imported)
}

/// A secret as it is sent.
fn item(secret: &Secret<'_>, application: ApplicationId) -> Result<Item> {
    let first = secret.findings.first().ok_or_else(|| Failure::system("finding", "is none"))?;
    let value = std::str::from_utf8(&first.secret).map_err(|error| Failure::system("finding", error))?;
    let is_of_one_line = value.bytes().all(|byte| byte.is_ascii_graphic());
    let is_key = is_of_one_line && first.about.severity > Severity::Medium;
    let body = Body {
        application,
        name: &secret.name,
        kind: if is_key { Kind::ApiKey } else { Kind::Opaque },
        description: &first.about.name,
        value: Value { value },
    };
    let body = serde_json::to_string(&body).map_err(|error| Failure::system("JSON", error))?;
    Ok(Item {
        file: first.path.as_str().into(),
        place: Place { line: first.place.line, column: first.place.column },
        name: secret.name.clone(),
        identity: secret.name.clone(),
        weak: None,
        state: State::Ready(Zeroizing::new(body)),
    })
}

/// A place in a file, and what is to stand there.
struct Edit {
    span: std::ops::Range<usize>,
    secret: Zeroizing<Vec<u8>>,
    reference: String,
}

/// Replaces what is in the tree, file by file.
fn replace(
    imported: &mut [Secret<'_>],
    terms: &Terms<'_>,
    mut agreed: impl FnMut(&str) -> Result<bool>,
    terminal: &Terminal,
) -> Result<()> {
    let mut files: BTreeMap<PathBuf, Vec<(Edit, &mut Finding)>> = BTreeMap::new();
    for secret in imported.iter_mut() {
        let reference = format!("${{{}}}", secret.label.variable());
        for finding in &mut secret.findings {
            let place = format!("{}:{}", shown(&finding.path), finding.place.line);
            let Some((file, span)) = finding.file.clone() else { continue };
            if !knows_references(&file) {
                terminal.note(&format!(
                    "{place}: replace it by hand, by what reads {} from the environment.",
                    secret.label.variable()
                ));
                continue;
            }
            if terms.dry_run {
                terminal.note(&format!("{place}: would be replaced by {reference}."));
                continue;
            }
            if agreed(&format!("Replace it in {place} by {reference}?"))? {
                let edit = Edit { span, secret: finding.secret.clone(), reference: reference.clone() };
                files.entry(file).or_default().push((edit, finding));
            }
        }
    }
    for (file, edits) in files {
        let (edits, findings): (Vec<Edit>, Vec<&mut Finding>) = edits.into_iter().unzip();
        let before =
            std::fs::read(&file).map(Zeroizing::new).map_err(|error| Failure::file("file", &file, &error))?;
        match edited(&before, edits) {
            Some(after) => {
                replace_private(&file, &after)?;
                findings.into_iter().for_each(|finding| finding.is_settled = true);
                terminal.note(&format!("{}: replaced.", shown(&file.display().to_string())));
            }
            None => terminal.warn(&format!(
                "{}: left as it is: it has changed meanwhile, is not in UTF-8, or a secret stands within single quotes beside something else",
                shown(&file.display().to_string())
            )),
        }
    }
    Ok(())
}

/// Whether what reads a file puts environment variables in the place of `${NAME}`: dotenv files, shell scripts, compose files, Spring's
/// properties, `.npmrc`.
fn knows_references(file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    let is_compose =
        (name.starts_with("docker-compose") || name.starts_with("compose")) && ends(&[".yml", ".yaml"]);
    let is_spring = name.starts_with("application") && ends(&[".properties", ".yml", ".yaml"]);
    name.starts_with(".env") || ends(&[".env", ".sh", ".bash"]) || is_compose || is_spring || name == ".npmrc"
}

/// A file's content with these places replaced; none where one does not hold what was found there, where a reference would not be one, as
/// within single quotes, or where the file is not in UTF-8.
fn edited(content: &[u8], mut edits: Vec<Edit>) -> Option<Zeroizing<String>> {
    edits.sort_by_key(|edit| edit.span.start);
    let mut after = Zeroizing::new(Vec::with_capacity(content.len().saturating_add(1024)));
    let mut at = 0;
    for Edit { span, secret, reference } in edits {
        if content.get(span.clone())? != secret.as_slice() {
            return None;
        }
        let before = span.start.checked_sub(1).and_then(|at| content.get(at));
        let is_quoted = before == Some(&b'\'') && content.get(span.end) == Some(&b'\'');
        let line = super::rule::line_of(content, &span);
        let has_quotes = line.contains(&b'\'');
        let (start, end, text) = match (is_quoted, has_quotes) {
            // Nothing is filled in within single quotes.
            (true, _) => {
                (span.start.saturating_sub(1), span.end.saturating_add(1), format!("\"{reference}\""))
            }
            (false, true) => return None,
            (false, false) => (span.start, span.end, reference),
        };
        after.extend_from_slice(content.get(at..start)?);
        after.extend_from_slice(text.as_bytes());
        at = end;
    }
    after.extend_from_slice(content.get(at..)?);
    std::str::from_utf8(&after).ok().map(|text| Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(content: &str, secrets: &[&str]) -> Option<String> {
        let edits = secrets.iter().map(|secret| {
            let start = content.find(secret).unwrap();
            Edit {
                span: start..start + secret.len(),
                secret: Zeroizing::new(secret.as_bytes().to_vec()),
                reference: format!("${{{}}}", secret.to_uppercase()),
            }
        });
        edited(content.as_bytes(), edits.collect()).map(|after| after.to_string())
    }

    #[test]
    fn texts_are_replaced_where_they_stand() {
        assert_eq!(edit("A=one\r\nB=two\r\n", &["two", "one"]).as_deref(), Some("A=${ONE}\r\nB=${TWO}\r\n"));
        assert_eq!(edit("A='one' # it\n", &["one"]).as_deref(), Some("A=\"${ONE}\" # it\n"));
        assert_eq!(edit("A=\"x:one@y\"\n", &["one"]).as_deref(), Some("A=\"x:${ONE}@y\"\n"));
        assert_eq!(edit("A='x:one@y'\n", &["one"]), None, "nothing is filled in there");
        let wrong =
            Edit { span: 2..5, secret: Zeroizing::new(b"two".to_vec()), reference: "${TWO}".to_owned() };
        assert!(edited(b"A=one", vec![wrong]).is_none(), "it changed meanwhile");
    }

    #[test]
    fn which_files_know_references() {
        for (name, knows) in [
            (".env", true),
            ("a/.env.production", true),
            ("shop.env", true),
            ("run.sh", true),
            ("docker-compose.prod.yml", true),
            ("application.properties", true),
            (".npmrc", true),
            ("main.py", false),
            ("values.yaml", false),
            ("environment.ts", false),
        ] {
            assert_eq!(knows_references(Path::new(name)), knows, "{name}");
        }
    }
}
