//! A file under construction beside the one whose place it takes: readers see the old one or the new one, whole, at any time.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// The file under construction; gone again unless it is put into place.
pub struct Aside {
    path: PathBuf,
    into: PathBuf,
}

impl Aside {
    /// A free place in the folder of `into`; nothing is made yet.
    pub fn of(into: &Path) -> Self {
        let mut name = OsString::from(".");
        name.push(into.file_name().unwrap_or_default());
        name.push(format!(".{}.new", std::process::id()));
        let aside = Self { path: into.with_file_name(name), into: into.to_owned() };
        // Of an earlier process with this number that was killed.
        let _ = std::fs::remove_file(&aside.path);
        aside
    }

    /// Where the file is to be made.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the file into its place, over whatever is there, and waits until the disk has it.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn put_into_place(self) -> Result<()> {
        let into = self.into.clone();
        self.put_into(&into)
    }

    /// The same into another place of that folder.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn put_into(self, into: &Path) -> Result<()> {
        let folder = match into.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        std::fs::rename(&self.path, into)
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(|error| Failure::file("file", into, &error))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Not there any more where it was put into place, or never made.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Puts `content` into the place of a file at once: readers see the old or the new, whole. Its owner alone can read it, or whoever
/// could read the one before.
///
/// # Errors
/// The file system refuses.
pub fn replace_private(path: &Path, content: &str) -> Result<()> {
    let aside = Aside::of(path);
    write_private(aside.path(), content)?;
    if let Ok(before) = std::fs::metadata(path) {
        std::fs::set_permissions(aside.path(), before.permissions())
            .map_err(|error| Failure::file("file", aside.path(), &error))?;
    }
    aside.put_into_place()
}

/// Writes a new file that its owner alone can read.
///
/// # Errors
/// It is there already, or the disk refuses.
pub fn write_private(path: &Path, content: &str) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| Failure::file("file", path, &error))
}
