//! `keyward scan`: finds Keyward's own tokens, and what rules know of third parties' secrets, in a tree and in its git history. It reads;
//! what changes a file or asks a server is in modules of its own, and is done where it was asked for alone.

pub mod allowed;
mod finding;
mod git;
mod keep;
mod label;
pub mod own;
mod parallel;
mod report;
pub mod rule;
pub mod scanner;
mod server;
mod tree;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use clap::Args;
use keyward_domain::ApplicationId;
use keyward_domain::error::Blame;

use crate::escape::{shown, shown_json};
use crate::failure::{Ending, Failure, Result};
use crate::progress::Progress;
use crate::{Global, Terminal};
use allowed::{Allowed, Baseline};
use finding::Finding;
use keep::Terms;
use report::{Format, Report};
use rule::Rules;
use scanner::{Found, Scanner};
use server::End;
use tree::{Choice, Content, Unread};

/// `keyward scan`.
#[derive(Debug, Args)]
pub struct Options {
    /// A folder or a file
    #[arg(value_name = "PATH", default_value = ".")]
    root: PathBuf,
    /// Look through its git history as well: whatever a commit of any branch or tag brought
    #[arg(long)]
    history: bool,
    /// Look for Keyward's own tokens alone
    #[arg(long, conflicts_with = "rules")]
    own: bool,
    /// A file of more rules, in the format of gitleaks; may repeat
    #[arg(long, value_name = "FILE")]
    rules: Vec<PathBuf>,
    /// Look at files as well that `.gitignore` leaves out
    #[arg(long)]
    ignored: bool,
    /// Files that are longer are left out, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1024))]
    max_mib: u64,
    /// What may stand where, in lines such as `generic-secret docs/*.md` [default: `.keyward-scan` in PATH]
    #[arg(long, value_name = "FILE")]
    allow: Option<PathBuf>,
    /// The JSON of an earlier scan: what it told of is not told again
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// In what form to tell [default: table]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Ask Keyward of each of its tokens whose key it is and whether it passes; the audit log says that it was asked
    #[arg(long)]
    check: bool,
    /// Revoke the keys of those that pass, as an admin
    #[arg(long, requires = "reason")]
    revoke: bool,
    /// Report the tokens, which ends their keys: the token itself is the proof, and no key file is needed
    #[arg(long, conflicts_with_all = ["check", "revoke"])]
    report: bool,
    /// Why keys are revoked, for the audit log
    #[arg(long, value_name = "TEXT", requires = "revoke")]
    reason: Option<String>,
    /// Keep third parties' secrets in the vault, each as a credential
    #[arg(long, requires = "app", conflicts_with = "own")]
    import: bool,
    /// Whose credentials they become
    #[arg(long, value_name = "APP_ID", requires = "import")]
    app: Option<ApplicationId>,
    /// What the names of the credentials begin with, such as `shop/`
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, requires = "import")]
    prefix: String,
    /// Put references such as `${DB_PASSWORD}` in their places, in files whose readers know them; the history stays as it is
    #[arg(long, requires = "import")]
    replace: bool,
    /// Only tell what would be kept, replaced, revoked or reported
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking for each
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
}

impl Options {
    fn changes(&self) -> bool {
        self.revoke || self.report || self.import
    }

    fn end(&self) -> End<'_> {
        match (self.report, self.revoke, &self.reason) {
            (true, ..) => End::Report,
            (false, true, Some(reason)) => End::Revoke(reason),
            _ => End::None,
        }
    }
}

/// Carries it out.
///
/// # Errors
/// What was named cannot be read; the command line is wrong.
pub fn run(global: &Global, options: &Options, terminal: &Terminal) -> Result<Ending> {
    let format = match (options.format, global.json) {
        (Some(Format::Table | Format::Sarif), true) => {
            return Err(Failure::command_line("--json and --format ask for two forms"));
        }
        (given, json) => given.unwrap_or(if json { Format::Json } else { Format::Table }),
    };
    if options.changes() && !options.dry_run && !options.yes && !terminal.can_ask() {
        let detail = "there is no terminal to ask at; say --yes, or --dry-run to look first";
        return Err(Failure::command_line(detail));
    }
    let root = &options.root;
    if let Err(error) = std::fs::metadata(root) {
        return Err(Failure::file("place to scan", root, &error));
    }
    let rules = if options.own { None } else { Some(Rules::load(&options.rules)?) };
    let scanner = Scanner::new(rules, Allowed::load(options.allow.as_deref(), root)?)?;
    let baseline = options.baseline.as_deref().map(Baseline::load).transpose()?.unwrap_or_default();
    let mut scan = Scan { options, scanner: &scanner, report: Report::default() };
    scan.tree();
    if options.history {
        scan.history(terminal)?;
    }
    let mut report = scan.report;
    let before = report.findings.len();
    report.findings.retain(|one| !baseline.knows(&one.about.id, &one.path, &one.fingerprint));
    report.known = u64::try_from(before.saturating_sub(report.findings.len())).unwrap_or(u64::MAX);
    report.findings.sort_by(|one, other| one.order().cmp(&other.order()));
    report.unread.sort();
    // What was found is told whatever came of the rest.
    let acted = act(global, options, &mut report.findings, terminal);
    tell(&report, format, &scanner, terminal)?;
    acted?;
    Ok(match (report.has_open(), report.unread.is_empty()) {
        (true, _) => Ending::Found,
        (false, true) => Ending::Done,
        (false, false) => Ending::NotTold,
    })
}

/// Asks, ends, keeps and replaces, as far as it was asked for.
fn act(global: &Global, options: &Options, findings: &mut [Finding], terminal: &Terminal) -> Result<()> {
    let agreed = |question: &str| match (options.dry_run, options.yes) {
        (true, _) => {
            terminal.note(&format!("{question} Not now: this only looks."));
            Ok(false)
        }
        (false, true) => Ok(true),
        (false, false) => terminal.confirm(question),
    };
    if options.check || options.revoke || options.report {
        server::settle(global, findings, options.end(), agreed, terminal)?;
    }
    if let (true, Some(application)) = (options.import, options.app) {
        let terms = Terms {
            application,
            prefix: &options.prefix,
            replace: options.replace,
            dry_run: options.dry_run,
        };
        // What would be kept is Keyward's to say.
        let agreed = |question: &str| if options.dry_run { Ok(true) } else { agreed(question) };
        keep::keep(global, findings, &terms, agreed, terminal)?;
    }
    Ok(())
}

fn tell(report: &Report, format: Format, scanner: &Scanner, terminal: &Terminal) -> Result<()> {
    match format {
        Format::Table => terminal.print(&report.table(terminal.styles()))?,
        Format::Json => terminal.print(&shown_json(&report.json()?))?,
        Format::Sarif => terminal.print(&shown_json(&report.sarif(scanner.rules())?))?,
    }
    for Unread { path, why } in &report.unread {
        terminal.warn(&format!("{}: {}", shown(path), shown(why)));
    }
    terminal.note(&report.summary());
    Ok(())
}

/// A scan under way.
struct Scan<'a> {
    options: &'a Options,
    scanner: &'a Scanner,
    report: Report,
}

/// What became of a file or a text.
enum Looked {
    Through(Vec<Found>),
    Binary,
    TooLarge,
    Unread(String),
}

impl Scan<'_> {
    fn bytes_max(&self) -> u64 {
        self.options.max_mib.saturating_mul(1024 * 1024)
    }

    /// What is in the files.
    fn tree(&mut self) {
        let choice = Choice { ignored_too: self.options.ignored, bytes_max: self.bytes_max() };
        let (mut files, unread) = tree::files(&self.options.root, choice);
        self.report.unread.extend(unread);
        files.retain(|path, _| self.scanner.wants(path));
        let all = u64::try_from(files.len()).unwrap_or(u64::MAX);
        let (mut done, mut progress) = (0_u64, Progress::new("Files looked through:"));
        let (scanner, report) = (self.scanner, &mut self.report);
        let look = |(path, file): (String, PathBuf)| {
            let looked = match tree::read(&file, choice.bytes_max) {
                Ok(Content::Whole(content)) => look_through(scanner, &path, &content),
                Ok(Content::TooLarge) => Looked::TooLarge,
                Err(error) => Looked::Unread(error.to_string()),
            };
            (path, file, looked)
        };
        parallel::each(files.into_iter(), look, |(path, file, looked)| {
            done = done.saturating_add(1);
            progress.at(done, all);
            report.files = report.files.saturating_add(u64::from(matches!(looked, Looked::Through(_))));
            for found in report.take(&path, looked) {
                let span = found.span.clone();
                let mut finding = Finding::new(found, &path);
                finding.is_in_tree = true;
                finding.file = span.map(|span| (file.clone(), span));
                report.findings.push(finding);
            }
        });
    }

    /// What is in the history: what is in the tree as well is told once, with the commit that brought it.
    fn history(&mut self, terminal: &Terminal) -> Result<()> {
        let root: &Path = &self.options.root;
        let folder = if root.is_file() { root.parent().unwrap_or(root) } else { root };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let history = git::history(folder)?;
        if history.is_shallow {
            terminal.warn("the clone is shallow: what lies before its first commits is not looked at");
        }
        let wanted: Vec<&git::Blob> =
            history.blobs.iter().filter(|blob| self.scanner.wants(&blob.path)).collect();
        let places: HashMap<&str, (usize, &git::Blob)> =
            wanted.iter().enumerate().map(|(at, blob)| (blob.id.as_str(), (at, *blob))).collect();
        let ids = wanted.iter().map(|blob| blob.id.clone()).collect();
        let texts = git::Texts::read(folder, ids, self.bytes_max())?;
        let all = u64::try_from(wanted.len()).unwrap_or(u64::MAX);
        let (mut done, mut progress) = (0_u64, Progress::new("Texts of the history looked through:"));
        let (scanner, report) = (self.scanner, &mut self.report);
        let look = |text: std::io::Result<git::Text>| match text {
            Ok(git::Text::Whole(id, content)) => {
                let path = places.get(id.as_str()).map_or("", |(_, blob)| blob.path.as_str());
                let looked = look_through(scanner, path, &content);
                (Some(id), looked)
            }
            Ok(git::Text::TooLarge) => (None, Looked::TooLarge),
            Ok(git::Text::Missing) => {
                (None, Looked::Unread("the clone lacks a text of its history".to_owned()))
            }
            Err(error) => (None, Looked::Unread(error.to_string())),
        };
        let mut past: Vec<(usize, Finding)> = Vec::new();
        parallel::each(texts, look, |(id, looked)| {
            done = done.saturating_add(1);
            progress.at(done, all);
            report.texts = report.texts.saturating_add(u64::from(matches!(looked, Looked::Through(_))));
            let place = id.as_deref().and_then(|id| places.get(id));
            let path = place.map_or("", |(_, blob)| blob.path.as_str());
            for found in report.take(path, looked) {
                if let Some((at, blob)) = place {
                    let mut finding = Finding::new(found, path);
                    finding.commit = Some(blob.commit.clone());
                    past.push((*at, finding));
                }
            }
        });
        if done < all {
            return Err(Failure::new(
                Blame::Caller,
                "The history cannot be read",
                "git ended before it had told all",
            ));
        }
        past.sort_by_key(|(at, _)| *at);
        report.add_past(past.into_iter().map(|(_, finding)| finding));
        Ok(())
    }
}

fn look_through(scanner: &Scanner, path: &str, content: &[u8]) -> Looked {
    scanner.scan(path, content).map_or(Looked::Binary, Looked::Through)
}

impl Report {
    /// What was found, where it was looked for; anything else is counted.
    fn take(&mut self, path: &str, looked: Looked) -> Vec<Found> {
        match looked {
            Looked::Through(found) => return found,
            Looked::Binary => self.binary = self.binary.saturating_add(1),
            Looked::TooLarge => self.too_large = self.too_large.saturating_add(1),
            Looked::Unread(why) => self.unread.push(Unread { path: path.to_owned(), why }),
        }
        Vec::new()
    }

    /// Adds what the history has, oldest first: each secret of a rule once, where it came in.
    fn add_past(&mut self, past: impl Iterator<Item = Finding>) {
        let mut first = HashMap::new();
        let mut kept: Vec<Finding> = Vec::new();
        for finding in past {
            first.entry(finding.identity).or_insert_with(|| {
                let commit = finding.commit.clone();
                kept.push(finding);
                commit
            });
        }
        let mut in_tree = HashSet::new();
        for finding in &mut self.findings {
            if let Some(commit) = first.get(&finding.identity) {
                finding.commit.clone_from(commit);
                in_tree.insert(finding.identity);
            }
        }
        self.findings.extend(kept.into_iter().filter(|finding| !in_tree.contains(&finding.identity)));
    }
}
