//! Where a secret goes: a new file that only its owner can read.
//! It never writes over anything, and leaves no file behind when there was nothing to write.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use keyward_crypto::SecretText;

use crate::failure::{Failure, Result};

/// A file that is made before the secret is asked for, so that a secret handed out once is not lost to a missing folder; gone
/// again unless something is written to it.
pub struct NewSecretFile {
    path: PathBuf,
    file: File,
    filled: bool,
}

impl NewSecretFile {
    /// Makes the file, mode 0600.
    ///
    /// # Errors
    /// There is one of this name, or it cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| Failure::file("output file", path, &error))?;
        Ok(Self { path: path.to_owned(), file, filled: false })
    }

    /// Writes the secret and a line feed, and waits until the disk has it.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn fill(mut self, secret: &SecretText) -> Result<()> {
        self.add(secret)
    }

    /// The same where more may follow.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn add(&mut self, secret: &SecretText) -> Result<()> {
        let Self { path, file, .. } = self;
        file.write_all(secret.expose().as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.sync_all())
            .map_err(|error| Failure::file("output file", path, &error))?;
        self.filled = true;
        Ok(())
    }
}

impl Drop for NewSecretFile {
    fn drop(&mut self) {
        if !self.filled {
            // It was ours and holds nothing; should it stay, the next run says that it is there.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
