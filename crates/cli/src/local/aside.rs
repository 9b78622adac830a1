//! A file under construction beside the one whose place it takes: readers see the old one or the new one, whole, at any time.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use keyward_cli::Failure;
use keyward_cli::failure::Result;

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
        let folder = match self.into.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        std::fs::rename(&self.path, &self.into)
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(|error| Failure::file("file", &self.into, &error))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Not there any more where it was put into place, or never made.
        let _ = std::fs::remove_file(&self.path);
    }
}
