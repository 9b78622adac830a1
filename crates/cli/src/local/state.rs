//! The state directory: what lies where in it, and how a new one comes to be: in a folder of its own inside of it, moved into
//! place when it is complete.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::failure::Result;
use keyward_crypto::note::LogKeys;
use keyward_crypto::{Peppers, Ring, Sealer, SecretText, Zeroizing};
use keyward_domain::error::Blame;
use keyward_records::{CurrentMonth, Rings};

use super::rings::{LOG_KEYS, RINGS};

/// The folder of the variables' files.
const VARIABLES_FOLDER: &str = "variables";
/// The same variables for a shell that starts Spin.
const ENVIRONMENT_FILE: &str = "variables.env";
/// The root key. Moved into place last: where it lies, all the rest does.
const ROOT_KEY_FILE: &str = "root.key";
/// Where Spin and the host keep the store `default` unless told.
const STORE_FILE: &str = "sqlite_key_value.db";

/// What Spin has before a variable's name in the environment.
pub const ENVIRONMENT_PREFIX: &str = "SPIN_VARIABLE_";

/// Whether a folder that `init` made has this name while it is under construction.
const STAGING_PREFIX: &str = ".init-";

/// A state directory's layout.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The layout below `path`.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The root key's file.
    pub fn root_key(&self) -> PathBuf {
        self.0.join(ROOT_KEY_FILE)
    }

    /// The file for a shell.
    pub fn environment(&self) -> PathBuf {
        self.0.join(ENVIRONMENT_FILE)
    }

    /// The folder of the variables' files.
    pub fn variables(&self) -> PathBuf {
        self.0.join(VARIABLES_FOLDER)
    }

    /// A variable's file.
    pub fn variable(&self, name: &str) -> PathBuf {
        self.variables().join(format!("{name}.json"))
    }

    /// What the components are handed as variables, as far as the ledger needs it.
    ///
    /// # Errors
    /// A file cannot be read, or holds no ring.
    pub fn rings(&self) -> Result<Rings> {
        self.check_complete()?;
        rings(|name| self.read_variable(name))
    }

    /// What a variable's file says.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_variable(&self, name: &str) -> Result<SecretText> {
        let path = self.variable(name);
        let text = std::fs::read_to_string(&path).map_err(|error| Failure::file("ring", &path, &error))?;
        Ok(SecretText::new(text))
    }

    /// Passes where every variable's file is there.
    ///
    /// # Errors
    /// Some are not.
    pub fn check_complete(&self) -> Result<()> {
        let mut missing = RINGS.map(|ring| self.variable(ring.name)).to_vec();
        missing.retain(|path| !path.exists());
        if missing.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = missing.iter().map(|path| format!("`{}`", path.display())).collect();
        let detail = format!("there is no {}", names.join(", "));
        Err(Failure::new(Blame::Caller, "The state directory is not complete", detail)
            .advise(format!("Make one with `keyward init --state-dir {}`.", self.0.display())))
    }

    /// What `init` would make and is there already.
    fn taken(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = RINGS.iter().map(|ring| self.variable(ring.name)).collect();
        paths.extend([self.environment(), self.root_key(), self.0.join(STORE_FILE)]);
        paths.retain(|path| path.symlink_metadata().is_ok());
        paths
    }

    /// Begins a new state.
    ///
    /// # Errors
    /// Something of a state is there already; the directory cannot be made.
    pub fn stage(&self) -> Result<Staging> {
        let taken = self.taken();
        if !taken.is_empty() {
            let names: Vec<String> = taken.iter().map(|path| format!("`{}`", path.display())).collect();
            let detail = format!("there is {}; nothing was changed", names.join(", "));
            return Err(Failure::new(Blame::Conflict, "The state directory is in use", detail)
                .advise("Whoever loses these files loses every key. Take another --state-dir, or move them away yourself."));
        }
        let made = !self.0.exists();
        let make = |path: &Path| {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|error| Failure::file("state directory", path, &error))
        };
        make(&self.0)?;
        let folder = self.0.join(format!("{STAGING_PREFIX}{}", std::process::id()));
        let staging = Staging { into: self.clone(), folder, made, keep: false };
        make(&staging.folder)?;
        make(&staging.layout().variables())?;
        Ok(staging)
    }
}

/// A state under construction; gone again, with the directory if that was made for it, unless it is put into place or kept.
pub struct Staging {
    into: StateDir,
    folder: PathBuf,
    made: bool,
    keep: bool,
}

impl Staging {
    /// The layout of what is under construction.
    pub fn layout(&self) -> StateDir {
        StateDir(self.folder.clone())
    }

    /// From now on a failure must leave the files: a store elsewhere has been sealed with them.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Moves everything into place, the root key last.
    ///
    /// # Errors
    /// The file system refuses; what was moved is moved back unless it is to be kept.
    pub fn put_into_place(mut self) -> Result<()> {
        let fault = |error| Failure::file("state directory", self.into.path(), &error);
        let mut names: Vec<_> = std::fs::read_dir(&self.folder)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect())
            .map_err(fault)?;
        // The folder first: no file system moves one onto another that is not empty, so that of two who make a state here at
        // once the second stops before it has replaced a file.
        names.sort_by_key(|name| (name == ROOT_KEY_FILE, name != VARIABLES_FOLDER));
        let mut moved = Vec::new();
        for name in names {
            let (from, to) = (self.folder.join(&name), self.into.path().join(&name));
            if let Err(error) = std::fs::rename(&from, &to) {
                let failure = fault(error);
                for (from, to) in moved {
                    // Back to where the guard removes or keeps it.
                    let _ = std::fs::rename(to, from);
                }
                return Err(failure);
            }
            moved.push((from, to));
        }
        // All is there; should the machine stop before these, the file system may show an earlier state.
        File::open(self.into.path()).and_then(|folder| folder.sync_all()).map_err(fault)?;
        let _ = std::fs::remove_dir(&self.folder);
        self.made = false;
        self.keep = true;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let _ = std::fs::remove_dir_all(&self.folder);
        if self.made {
            // Only if it is empty, as it then is.
            let _ = std::fs::remove_dir(self.into.path());
        }
    }
}

/// The rings that the ledger needs, out of their documents.
///
/// # Errors
/// Those of `document`; a document that is no ring.
pub fn rings(document: impl Fn(&'static str) -> Result<SecretText>) -> Result<Rings> {
    let bad = |error: &dyn std::error::Error| {
        Failure::new(Blame::Caller, "A ring cannot be used", error.to_string())
    };
    let sealer = |name| {
        let ring = Ring::parse(name, document(name)?.expose()).map_err(|error| bad(&error))?;
        Ok::<_, Failure>(Sealer::new(ring))
    };
    Ok(Rings {
        records: sealer("records_keyring")?,
        audit: sealer("audit_keyring")?,
        peppers: Peppers::parse(document("peppers")?.expose()).map_err(|error| bad(&error))?,
        vault: None,
        log: Some(LogKeys::parse(document(LOG_KEYS)?.expose()).map_err(|error| bad(&error))?),
        month: CurrentMonth::default(),
    })
}

/// A variable as a line of the file for a shell: JSON between apostrophes, with none inside.
pub fn environment_line(name: &str, document: &SecretText) -> Zeroizing<String> {
    let name = name.to_ascii_uppercase();
    let document = Zeroizing::new(document.expose().trim_end().replace('\'', r"\u0027"));
    Zeroizing::new(format!("{ENVIRONMENT_PREFIX}{name}='{}'\n", *document))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use crate::aside::write_private;

    use super::*;

    fn fresh(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("keyward-state-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_state_appears_whole_and_private_or_not_at_all() {
        let state = StateDir::new(&fresh("whole"));
        drop(state.stage().unwrap());
        assert!(!state.path().exists(), "an abandoned state leaves nothing");

        let staging = state.stage().unwrap();
        let layout = staging.layout();
        write_private(&layout.variable("peppers"), "secret").unwrap();
        write_private(&layout.root_key(), "token\n").unwrap();
        assert!(!state.root_key().exists());
        staging.put_into_place().unwrap();
        assert_eq!((mode(state.path()), mode(&state.variables())), (0o700, 0o700));
        assert_eq!((mode(&state.root_key()), mode(&state.variable("peppers"))), (0o600, 0o600));
        assert_eq!(
            std::fs::read_dir(state.path()).unwrap().count(),
            2,
            "nothing is left of the construction"
        );

        let failure = state.stage().err().unwrap();
        assert_eq!(failure.exit_code(), 4);
        let shown = failure.render(crate::terminal::Styles::OFF);
        assert!(shown.contains("peppers.json`") && shown.contains("root.key`"), "{shown}");
        std::fs::remove_dir_all(state.path()).unwrap();
    }

    #[test]
    fn of_two_at_once_the_second_replaces_nothing() {
        let state = StateDir::new(&fresh("two"));
        let (first, second) = (state.stage().unwrap(), StateDir::new(state.path()));
        let second =
            Staging { folder: state.path().join(".init-second"), into: second, made: false, keep: false };
        std::fs::create_dir_all(second.layout().variables()).unwrap();
        for (staging, content) in [(&first, "first"), (&second, "second")] {
            for path in [
                staging.layout().variable("peppers"),
                staging.layout().root_key(),
                staging.layout().environment(),
            ] {
                write_private(&path, content).unwrap();
            }
        }
        first.put_into_place().unwrap();
        assert!(second.put_into_place().is_err());
        for path in [state.variable("peppers"), state.root_key(), state.environment()] {
            assert_eq!(std::fs::read_to_string(path).unwrap(), "first");
        }
        assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 3);
        std::fs::remove_dir_all(state.path()).unwrap();
    }

    #[test]
    fn what_was_in_the_directory_stays() {
        let state = StateDir::new(&fresh("stays"));
        std::fs::create_dir_all(state.path()).unwrap();
        std::fs::write(state.path().join("runtime-config.toml"), "x").unwrap();
        drop(state.stage().unwrap());
        assert!(state.path().join("runtime-config.toml").exists());
        let mut staging = state.stage().unwrap();
        staging.keep();
        let kept = staging.layout().path().to_owned();
        drop(staging);
        assert!(kept.exists(), "what a store elsewhere depends on is kept");
        std::fs::remove_dir_all(state.path()).unwrap();
    }
}
