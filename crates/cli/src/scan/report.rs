//! What a scan came to, as a table for people, as JSON, and as SARIF 2.1.0 for whoever collects findings of many tools. No form has more
//! of a secret than a finding says may be shown.

use clap::ValueEnum;
use keyward_domain::error::Blame;
use serde_json::{Value, json};

use super::finding::Finding;
use super::rule::{About, Severity};
use super::tree::Unread;
use crate::failure::{Failure, Result};
use crate::table::{Cell, Table};
use crate::terminal::{Styles, Tone};

/// The schema that SARIF's readers know it by.
const SARIF_SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
/// Characters of a commit's id that people are shown.
const COMMIT_DIGITS: usize = 10;

/// In what form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs, and as a baseline of later scans
    Json,
    /// SARIF 2.1.0, for what collects findings of many tools
    Sarif,
}

/// What a scan came to.
#[derive(Default)]
pub struct Report {
    /// What was found, in order.
    pub findings: Vec<Finding>,
    /// What the baseline knew of.
    pub known: u64,
    /// Files that were looked through.
    pub files: u64,
    /// Texts of the history that were.
    pub texts: u64,
    /// Files and texts that are no text.
    pub binary: u64,
    /// Those that are too long.
    pub too_large: u64,
    /// What could not be looked at.
    pub unread: Vec<Unread>,
}

impl Report {
    /// Whether something is left that was found.
    pub fn has_open(&self) -> bool {
        self.findings.iter().any(|finding| !finding.is_settled)
    }

    /// The findings for people; nothing where there is none.
    pub fn table(&self, styles: Styles) -> String {
        let has_history = self.findings.iter().any(|finding| finding.commit.is_some());
        let mut headings = vec!["SEVERITY", "WHERE", "RULE", "WHAT"];
        if has_history {
            headings.extend(["COMMIT", "SINCE"]);
        }
        let mut table = Table::new(&headings);
        for finding in &self.findings {
            let tone = match finding.about.severity {
                Severity::Critical | Severity::High => Tone::Bad,
                Severity::Medium => Tone::Warning,
                Severity::Low => Tone::Plain,
            };
            let place = format!("{}:{}:{}", finding.path, finding.place.line, finding.place.column);
            let mut cells = vec![
                Cell::toned(finding.about.severity.as_str(), tone),
                Cell::new(place),
                Cell::new(&finding.about.id),
                Cell::new(what(finding)),
            ];
            if has_history {
                let commit = finding.commit.as_ref();
                let short = commit.map(|one| one.id.get(..COMMIT_DIGITS).unwrap_or(&one.id));
                let is_past = if finding.is_in_tree { "" } else { ", not in the tree" };
                cells.push(Cell::or_dash(short.map(|short| format!("{short}{is_past}"))));
                cells.push(Cell::or_dash(commit.map(|one| &one.at)));
            }
            table.row(cells);
        }
        if table.is_empty() { String::new() } else { table.render(styles) }
    }

    /// One line on how much was looked at, and what was not.
    pub fn summary(&self) -> String {
        let some = |count: u64, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let count = u64::try_from(self.findings.len()).unwrap_or(u64::MAX);
        let looked = [
            some(self.files, "file", "files"),
            some(self.texts, "text of the history", "texts of the history"),
        ];
        let looked = looked.into_iter().flatten().collect::<Vec<_>>().join(" and ");
        let mut line = format!(
            "{} in {}.",
            some(count, "finding", "findings").unwrap_or_else(|| "Nothing found".to_owned()),
            if looked.is_empty() { "no file" } else { &looked }
        );
        let unread = u64::try_from(self.unread.len()).unwrap_or(u64::MAX);
        let beside = [
            some(self.known, "known from the baseline", "known from the baseline"),
            some(self.binary, "is no text", "are no text"),
            some(self.too_large, "is too large", "are too large"),
            some(unread, "could not be read", "could not be read"),
        ];
        let beside: Vec<String> = beside.into_iter().flatten().collect();
        if !beside.is_empty() {
            line.push_str(&format!(" Beside them: {}.", beside.join(", ")));
        }
        line
    }

    /// The report as JSON; a later scan takes it as its baseline.
    ///
    /// # Errors
    /// A bug.
    pub fn json(&self) -> Result<String> {
        let findings: Vec<Value> = self.findings.iter().map(as_json).collect();
        let unread: Vec<Value> =
            self.unread.iter().map(|one| json!({ "path": one.path, "why": one.why })).collect();
        text(&json!({
            "findings": findings,
            "scanned": { "files": self.files, "texts": self.texts },
            "left_out": { "known": self.known, "binary": self.binary, "too_large": self.too_large, "unread": unread },
        }))
    }

    /// The report as SARIF 2.1.0 (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/>).
    ///
    /// # Errors
    /// A bug.
    pub fn sarif<'a>(&self, rules: impl Iterator<Item = &'a About>) -> Result<String> {
        let rules: Vec<&About> = rules.collect();
        let results: Vec<Value> = self.findings.iter().map(|finding| result(finding, &rules)).collect();
        let told: Vec<Value> = rules
            .iter()
            .map(|about| {
                json!({
                    "id": about.id,
                    "shortDescription": { "text": about.name },
                    "defaultConfiguration": { "level": level(about.severity) },
                })
            })
            .collect();
        let unread: Vec<Value> = self
            .unread
            .iter()
            .map(|one| {
                json!({
                    "level": "warning",
                    "message": { "text": format!("{}: {}", one.path, one.why) },
                    "locations": [{ "physicalLocation": { "artifactLocation": artifact(&one.path) } }],
                })
            })
            .collect();
        text(&json!({
            "$schema": SARIF_SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "keyward scan",
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "rules": told,
                } },
                "invocations": [{ "executionSuccessful": true, "toolExecutionNotifications": unread }],
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": { "SRCROOT": { "description": { "text": "what was scanned" } } },
                "results": results,
            }],
        }))
    }
}

/// What people are told of a finding.
fn what(finding: &Finding) -> String {
    let Some(token) = &finding.token else {
        let kept = finding.kept_as.as_ref().map(|name| format!(", kept as `{name}`")).unwrap_or_default();
        let replaced = if finding.is_settled { ", replaced" } else { "" };
        return format!("{}{kept}{replaced}", finding.redacted());
    };
    let mut told = match &token.key {
        Some(key) => format!("{key} version {}, {}", token.version, token.environment.as_str()),
        None => token.environment.as_str().to_owned(),
    };
    if let Some(life) = &finding.life {
        told.push_str(&format!(", {}", life.state));
        if let Some((application, name)) = &life.key {
            told.push_str(&format!(", `{name}` of {application}"));
        }
    }
    told
}

fn as_json(finding: &Finding) -> Value {
    let place = &finding.place;
    let token = finding.token.as_ref().map(|token| {
        json!({
            "environment": token.environment.as_str(),
            "key": token.key.map(|key| key.to_string()),
            "version": token.key.map(|_| token.version),
            "alive": finding.life.as_ref().map(|life| life.is_alive),
            "state": finding.life.as_ref().map(|life| &life.state),
        })
    });
    let commit = finding.commit.as_ref().map(|commit| json!({ "id": commit.id, "at": commit.at }));
    json!({
        "rule": finding.about.id,
        "name": finding.about.name,
        "severity": finding.about.severity.as_str(),
        "path": finding.path,
        "line": place.line,
        "column": place.column,
        "end_line": place.end_line,
        "end_column": place.end_column,
        "in_tree": finding.is_in_tree,
        "commit": commit,
        "token": token,
        "shown": finding.redacted(),
        "kept_as": finding.kept_as,
        "settled": finding.is_settled,
        "fingerprint": finding.fingerprint,
    })
}

fn result(finding: &Finding, rules: &[&About]) -> Value {
    let place = &finding.place;
    let since = finding.commit.as_ref().map_or_else(String::new, |commit| {
        let past = if finding.is_in_tree { "" } else { "; it is not in the tree any more" };
        format!(" First in commit {} of {}{past}.", commit.id, commit.at)
    });
    let mut result = json!({
        "ruleId": finding.about.id,
        "level": level(finding.about.severity),
        "message": { "text": format!("{}: {}.{since}", finding.about.name, what(finding)) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": artifact(&finding.path),
            "region": {
                "startLine": place.line,
                "startColumn": place.column,
                "endLine": place.end_line,
                "endColumn": place.end_column,
            },
        } }],
        "partialFingerprints": { "keywardScan/v1": finding.fingerprint },
    });
    let index = rules.iter().position(|about| about.id == finding.about.id);
    if let (Some(members), Some(index)) = (result.as_object_mut(), index) {
        members.insert("ruleIndex".to_owned(), json!(index));
        if let Some(commit) = &finding.commit {
            members.insert("properties".to_owned(), json!({ "commit": commit.id, "commitAt": commit.at }));
        }
    }
    result
}

/// Where a file is: a URI, relative to what was scanned.
fn artifact(path: &str) -> Value {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        // RFC 3986: unreserved characters, and what parts a path.
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    json!({ "uri": uri, "uriBaseId": "SRCROOT" })
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}

fn text(value: &Value) -> Result<String> {
    serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Blame::Bug, "The report cannot be written", error.to_string()))
}
