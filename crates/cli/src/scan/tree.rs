//! The files of a tree: what `.gitignore` leaves out is left out unless git tracks it, links are not followed, and nothing is written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

use super::git;

/// Which files.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// What `.gitignore` leaves out as well.
    pub ignored_too: bool,
    /// The longest file that is read, in bytes.
    pub bytes_max: u64,
}

/// What could not be looked at, and why.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unread {
    /// What.
    pub path: String,
    /// Why not.
    pub why: String,
}

/// The files below a folder, by their paths as they are shown, in order; or this one file.
pub fn files(root: &Path, choice: Choice) -> (BTreeMap<String, PathBuf>, Vec<Unread>) {
    let (mut files, mut unread) = (BTreeMap::new(), Vec::new());
    let walk = WalkBuilder::new(root)
        .hidden(false)
        .ignore(false)
        // The same for everybody, whoever has what in the home directory.
        .git_global(false)
        .git_ignore(!choice.ignored_too)
        .git_exclude(!choice.ignored_too)
        .parents(!choice.ignored_too)
        .require_git(false)
        .follow_links(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build();
    for entry in walk {
        match entry {
            Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_file()) => {
                let path = entry.into_path();
                files.insert(shown(root, &path), path);
            }
            Ok(_) => {}
            Err(error) => unread.push(of_walk(root, &error)),
        }
    }
    // A file that was added before it was ignored is in everybody's clone.
    for path in git::tracked(root).into_iter().map(|path| root.join(path)) {
        if path.symlink_metadata().is_ok_and(|found| found.is_file()) {
            files.entry(shown(root, &path)).or_insert(path);
        }
    }
    (files, unread)
}

fn of_walk(root: &Path, error: &ignore::Error) -> Unread {
    let mut inner = error;
    let mut path = None;
    loop {
        inner = match inner {
            ignore::Error::WithPath { path: at, err } => {
                path = Some(at);
                err
            }
            ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => err,
            _ => break,
        };
    }
    Unread { path: path.map_or_else(String::new, |path| shown(root, path)), why: inner.to_string() }
}

/// A path below the root, with `/` between its parts.
fn shown(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).ok().filter(|below| !below.as_os_str().is_empty());
    let below = below.or_else(|| path.file_name().map(Path::new)).unwrap_or(path);
    below.to_string_lossy().into_owned()
}

/// What is read of a file.
pub enum Content {
    /// All of it.
    Whole(Vec<u8>),
    /// It is too long.
    TooLarge,
}

/// Reads a file, unless it is too long.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path, bytes_max: u64) -> std::io::Result<Content> {
    let mut content = Vec::new();
    let file = File::open(path)?;
    if file.metadata()?.len() > bytes_max {
        return Ok(Content::TooLarge);
    }
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut content)?;
    let is_too_large = u64::try_from(content.len()).unwrap_or(u64::MAX) > bytes_max;
    Ok(if is_too_large { Content::TooLarge } else { Content::Whole(content) })
}
