//! What git knows of a repository: which files it tracks, and every text that any commit of any branch, tag or stash brought. Only
//! git's own program reads the repository, told to run nothing that the repository names, to fetch nothing and to write nothing.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use keyward_domain::error::Blame;

use super::finding::Commit;
use crate::failure::{Failure, Result};

/// The mode of a regular file begins so; links and submodules hold no text.
const FILE_MODE: &[u8] = b"100";
/// What a commit's line begins with: no path and no raw line does.
const COMMIT_MARK: u8 = 1;

/// A text that a commit brought.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Its id.
    pub id: String,
    /// Where it was first.
    pub path: String,
    /// The first commit that has it.
    pub commit: Commit,
}

/// The history below a folder.
pub struct History {
    /// Each text once, those of parents before those of their children.
    pub blobs: Vec<Blob>,
    /// Whether what lies before a commit was cut off.
    pub is_shallow: bool,
}

fn git(root: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(root).arg("--no-pager").args([
        "-c",
        "core.fsmonitor=false",
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "log.showSignature=false",
    ]);
    command
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The paths below a folder that git tracks; none where it is no repository's.
pub fn tracked(root: &Path) -> Vec<PathBuf> {
    match git(root).args(["ls-files", "-z", "--cached"]).output() {
        Ok(listed) if listed.status.success() => {
            let paths = listed.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty());
            paths.map(|path| PathBuf::from(OsString::from_vec(path.to_vec()))).collect()
        }
        _ => Vec::new(),
    }
}

/// Every text that a commit brought to a path below this folder.
///
/// # Errors
/// There is no git, or no repository.
pub fn history(root: &Path) -> Result<History> {
    let about =
        git(root).args(["rev-parse", "--is-shallow-repository", "--show-prefix"]).output().map_err(unrun)?;
    if !about.status.success() {
        return Err(refused(&about.stderr));
    }
    let mut lines = about.stdout.split(|byte| *byte == b'\n');
    let is_shallow = lines.next() == Some(b"true");
    let prefix = lines.next().unwrap_or_default();
    // Parents before their children, so that the first that names a text is the one that brought it; of a merge what is in none of its
    // parents. `--relative` would not hold for merges.
    let log = git(root)
        .args(["log", "--all", "--full-history", "--reverse", "--topo-order", "--raw", "-c", "-z", "--root"])
        .args(["--no-relative", "--no-renames", "--no-abbrev", "--no-ext-diff", "--no-color"])
        .args(["--format=%x01%H %aI", "--", "."])
        .output()
        .map_err(unrun)?;
    if !log.status.success() {
        return Err(refused(&log.stderr));
    }
    Ok(History { blobs: blobs(&log.stdout, prefix), is_shallow })
}

/// Reads `git log --raw -z`: what is below this folder.
fn blobs(log: &[u8], prefix: &[u8]) -> Vec<Blob> {
    let (mut blobs, mut seen) = (Vec::new(), HashSet::new());
    let mut commit = Commit { id: String::new(), at: String::new() };
    let mut parts = log.split(|byte| *byte == 0);
    while let Some(part) = parts.next() {
        match part.trim_ascii_start() {
            [COMMIT_MARK, line @ ..] => {
                let line = String::from_utf8_lossy(line);
                let (id, at) = line.trim().split_once(' ').unwrap_or_default();
                commit = Commit { id: id.to_owned(), at: at.to_owned() };
            }
            [b':', line @ ..] => {
                let Some(path) = parts.next() else { break };
                let (Some(id), Some(path)) = (brought(line), path.strip_prefix(prefix)) else { continue };
                if seen.insert(id.clone()) {
                    let path = String::from_utf8_lossy(path).into_owned();
                    blobs.push(Blob { id, path, commit: commit.clone() });
                }
            }
            _ => {}
        }
    }
    blobs
}

/// The id of the text that a raw line brings: `100644 100644 OLD NEW M`, with as many more colons, modes and ids before as a merge has
/// more parents.
fn brought(line: &[u8]) -> Option<String> {
    let parents = line.iter().take_while(|byte| **byte == b':').count().saturating_add(1);
    let fields: Vec<&[u8]> = line.get(parents.saturating_sub(1)..)?.split(|byte| *byte == b' ').collect();
    let (mode, id) = (fields.get(parents)?, fields.get(parents.saturating_mul(2).saturating_add(1))?);
    let is_there = mode.starts_with(FILE_MODE) && id.iter().any(|digit| *digit != b'0');
    is_there.then(|| String::from_utf8_lossy(id).into_owned())
}

/// Reads texts one after the other.
pub struct Texts {
    child: Child,
    out: BufReader<ChildStdout>,
    bytes_max: u64,
}

/// What was read of a text.
pub enum Text {
    /// All of it.
    Whole(String, Vec<u8>),
    /// It is too long.
    TooLarge,
    /// The repository lacks it: a partial clone.
    Missing,
}

impl Texts {
    /// The texts of these ids, in their order.
    ///
    /// # Errors
    /// git cannot be started.
    pub fn read(root: &Path, ids: Vec<String>, bytes_max: u64) -> Result<Self> {
        let mut child = git(root)
            .args([OsStr::new("cat-file"), OsStr::new("--batch")])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(unrun)?;
        let (Some(mut ask), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::system("git", "has no pipes"));
        };
        // From a thread of its own: git stops reading while nobody reads what it writes.
        std::thread::spawn(move || {
            for id in ids {
                if writeln!(ask, "{id}").is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, out: BufReader::new(out), bytes_max })
    }

    fn one(&mut self) -> Option<std::io::Result<Text>> {
        let mut head = String::new();
        match self.out.read_line(&mut head) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
        let mut fields = head.split_whitespace();
        let id = fields.next().unwrap_or_default().to_owned();
        match (fields.next(), fields.next().and_then(|size| size.parse::<u64>().ok())) {
            (Some(_), Some(size)) => Some(self.content(id, size)),
            _ => Some(Ok(Text::Missing)),
        }
    }

    fn content(&mut self, id: String, size: u64) -> std::io::Result<Text> {
        // The content and the line feed behind it.
        let mut rest = (&mut self.out).take(size.saturating_add(1));
        if size > self.bytes_max {
            std::io::copy(&mut rest, &mut std::io::sink())?;
            return Ok(Text::TooLarge);
        }
        let mut content = Vec::new();
        rest.read_to_end(&mut content)?;
        if content.pop().is_none() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Text::Whole(id, content))
    }
}

impl Iterator for Texts {
    type Item = std::io::Result<Text>;

    fn next(&mut self) -> Option<Self::Item> {
        self.one()
    }
}

impl Drop for Texts {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unrun(error: std::io::Error) -> Failure {
    Failure::new(Blame::Caller, "The history cannot be read", format!("git cannot be run: {error}"))
}

fn refused(stderr: &[u8]) -> Failure {
    let said = String::from_utf8_lossy(stderr);
    let said = said.lines().next().unwrap_or("git refused").trim_start_matches("fatal: ").to_owned();
    Failure::new(Blame::Caller, "The history cannot be read", said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_log_says() {
        let (old, one, two) = ("0".repeat(40), "1".repeat(40), "2".repeat(40));
        let log = [
            "\u{1}c1 2026-01-31T08:00:00Z\0\n".to_owned(),
            format!(":000000 100644 {old} {one} A\0a b\n:c\0"),
            format!(":000000 120000 {old} {two} A\0link\0:000000 160000 {old} {two} A\0module\0"),
            "\u{1}c2 2026-02-01T08:00:00+01:00\0\n".to_owned(),
            format!(":100644 000000 {one} {old} D\0a b\n:c\0:000000 100755 {old} {one} A\0other\0"),
            "\u{1}c3 2026-02-02T08:00:00Z\0\0".to_owned(),
            format!(":000000 100644 {old} {} A\0sub/x\0", "3".repeat(40)),
            format!("::100644 100644 100644 {one} {old} {two} MM\0a b\n:c\0"),
        ]
        .concat();
        assert_eq!(blobs(log.as_bytes(), b"sub/").len(), 1);
        assert_eq!(blobs(log.as_bytes(), b"sub/")[0].path, "x");
        let seen: Vec<_> = blobs(log.as_bytes(), b"")
            .into_iter()
            .map(|blob| (blob.id, blob.path, blob.commit.id, blob.commit.at))
            .collect();
        let row = |id: &str, path: &str, commit: &str, at: &str| {
            (id.to_owned(), path.to_owned(), commit.to_owned(), at.to_owned())
        };
        assert_eq!(
            seen,
            [
                row(&one, "a b\n:c", "c1", "2026-01-31T08:00:00Z"),
                row(&"3".repeat(40), "sub/x", "c3", "2026-02-02T08:00:00Z"),
                row(&two, "a b\n:c", "c3", "2026-02-02T08:00:00Z"),
            ]
        );
    }
}
