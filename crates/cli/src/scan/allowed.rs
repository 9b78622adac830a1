//! What may stand where it stands: a file of the tree says so, line by line, `RULE PATTERN`, and the report of an earlier scan.

use std::collections::BTreeSet;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use keyward_domain::error::Blame;
use serde::Deserialize;

use crate::failure::{Failure, Result};

/// The file's name, in the folder that is scanned.
pub const FILE: &str = ".keyward-scan";

/// What may stand where.
pub struct Allowed {
    whole: Gitignore,
    of_rules: Vec<(String, Gitignore)>,
}

impl Allowed {
    /// What this file says, or the one of the tree where there is one.
    ///
    /// # Errors
    /// The file cannot be read, or one of its lines.
    pub fn load(given: Option<&Path>, root: &Path) -> Result<Self> {
        let of_tree = root.join(FILE);
        let path = given.unwrap_or(&of_tree);
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(_) if given.is_none() => String::new(),
            Err(error) => return Err(Failure::file("list of what is allowed", path, &error)),
        };
        Self::parse(&text).map_err(|what| unfit("list of what is allowed", path, &what))
    }

    /// What these lines say.
    ///
    /// # Errors
    /// Which line is wrong, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let glob = |pattern: &str| {
            let mut builder = GitignoreBuilder::new("");
            builder.add_line(None, pattern).map_err(|error| error.to_string())?;
            builder.build().map_err(|error| error.to_string())
        };
        let mut whole = GitignoreBuilder::new("");
        let mut of_rules = Vec::new();
        for (number, line) in (1_u32..).zip(text.lines().map(str::trim)) {
            let at = |error: &dyn std::fmt::Display| format!("line {number}: {error}");
            match line.split_once(char::is_whitespace) {
                _ if line.is_empty() || line.starts_with('#') => {}
                Some(("*", pattern)) => {
                    whole.add_line(None, pattern.trim()).map_err(|error| at(&error))?;
                }
                Some((rule, pattern)) => {
                    of_rules.push((rule.to_owned(), glob(pattern.trim()).map_err(|error| at(&error))?));
                }
                None => {
                    return Err(at(
                        &"expected `RULE PATTERN`, such as `generic-secret docs/*.md`, or `* PATTERN` for files that are not looked at",
                    ));
                }
            }
        }
        Ok(Self { whole: whole.build().map_err(|error| error.to_string())?, of_rules })
    }

    /// Whether a file is not looked at.
    pub fn whole(&self, path: &str) -> bool {
        matches(&self.whole, path)
    }

    /// Whether what this rule finds may stand in a file.
    pub fn finding(&self, rule: &str, path: &str) -> bool {
        self.of_rules.iter().any(|(of, globs)| of == rule && matches(globs, path))
    }
}

fn matches(globs: &Gitignore, path: &str) -> bool {
    globs.matched_path_or_any_parents(path, false).is_ignore()
}

/// What an earlier scan found, by rule, path and fingerprint.
#[derive(Default)]
pub struct Baseline(BTreeSet<(String, String, String)>);

#[derive(Deserialize)]
struct Report {
    findings: Vec<Known>,
}

#[derive(Deserialize)]
struct Known {
    rule: String,
    path: String,
    fingerprint: String,
}

impl Baseline {
    /// What the report in this file told, as `--format json` writes it.
    ///
    /// # Errors
    /// The file cannot be read, or is no report.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file("baseline", path, &error))?;
        let report: Report = serde_json::from_str(&text).map_err(|error| unfit("baseline", path, &error))?;
        Ok(Self(report.findings.into_iter().map(|one| (one.rule, one.path, one.fingerprint)).collect()))
    }

    /// Whether it told this.
    pub fn knows(&self, rule: &str, path: &str, fingerprint: &str) -> bool {
        // Few of either: a finding is rare.
        self.0.contains(&(rule.to_owned(), path.to_owned(), fingerprint.to_owned()))
    }
}

fn unfit(what: &str, path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Blame::Caller, format!("The {what} cannot be used"), format!("{}: {error}", path.display()))
}
