//! The report of an import: a line for each that a file had, with what became of it, and never what it holds. A table where its name ends
//! in `.csv`, else JSON.

use std::path::Path;

use keyward_crypto::SecretText;
use serde::Serialize;

use super::item::{Counts, Item};
use crate::escape::csv_cell;
use crate::failure::{Failure, Result};

const COLUMNS: &str = "file,line,name,outcome,id,version,weak,code,detail";

/// One line of it.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    line: usize,
    name: &'a str,
    outcome: &'a str,
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weak: Option<bool>,
    code: Option<&'a str>,
    detail: Option<String>,
}

/// All of it.
#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    imported: usize,
    existing: usize,
    written: usize,
    refused: usize,
    left_out: usize,
    not_sent: usize,
    unknown: usize,
    weak: usize,
    items: Vec<Line<'a>>,
}

fn line(item: &Item) -> Line<'_> {
    let (answer, why) = (item.state.answer(), item.state.why());
    let (code, detail) = why.map_or((None, None), |(code, detail)| (Some(code), Some(detail)));
    Line {
        file: &item.file,
        line: item.place.line,
        name: &item.name,
        outcome: item.state.outcome(),
        id: answer.and_then(|answer| answer.id.as_deref()),
        version: answer.and_then(|answer| answer.version),
        weak: item.weak,
        code,
        detail,
    }
}

/// The report as JSON.
///
/// # Errors
/// It is no JSON: a bug.
pub fn json(items: &[Item], dry_run: bool) -> Result<String> {
    let Counts { imported, existing, written, refused, left_out, not_sent, unknown, weak } =
        Counts::of(items);
    let items = items.iter().map(line).collect();
    let report =
        Report { dry_run, imported, existing, written, refused, left_out, not_sent, unknown, weak, items };
    serde_json::to_string(&report).map_err(|error| Failure::system("JSON", error))
}

/// The report as a file of this name has it.
///
/// # Errors
/// As [`json`].
pub fn text(path: &Path, items: &[Item], dry_run: bool) -> Result<SecretText> {
    let is_table = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    if !is_table {
        return json(items, dry_run).map(SecretText::new);
    }
    let mut out = format!("{COLUMNS}\r\n");
    for line in items.iter().map(line) {
        let optional = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let cells = [
            line.file.to_owned(),
            line.line.to_string(),
            line.name.to_owned(),
            line.outcome.to_owned(),
            optional(line.id),
            line.version.map(|version| version.to_string()).unwrap_or_default(),
            line.weak.map(|weak| weak.to_string()).unwrap_or_default(),
            optional(line.code),
            optional(line.detail.as_deref()),
        ];
        out.push_str(&cells.map(|text| csv_cell(&text)).join(","));
        out.push_str("\r\n");
    }
    Ok(SecretText::new(out))
}
