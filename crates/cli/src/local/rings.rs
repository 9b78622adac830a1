//! The rings of a state directory: which there are, what hangs on each, and how one is changed on disk: its own file and its line in
//! the file for a shell, each old or new and never half.

use std::fs::File;
use std::io::ErrorKind;

use crate::Failure;
use crate::aside::{Aside, write_private};
use crate::failure::Result;
use keyward_crypto::ring::ChangingRing;
use keyward_crypto::{RingDocument, Zeroizing};
use keyward_domain::error::Blame;

use super::state::{StateDir, environment_line};

/// A variable that holds a ring, as `spin.toml` names it; it lies in a file of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingVariable {
    /// Its name.
    pub name: &'static str,
    /// What records hang on its versions: what goes with one that is retired too early. `None` where no record does.
    pub loss: Option<&'static str>,
    /// What whoever looks at it should know.
    pub remark: Option<&'static str>,
}

/// All of them; `keyward init` makes them.
pub const RINGS: [RingVariable; 6] = [
    RingVariable {
        name: "records_keyring",
        loss: Some("every key, application and claim that is sealed under it"),
        remark: None,
    },
    RingVariable {
        name: "audit_keyring",
        loss: Some("what every event that is sealed under it says, though not its place in the log"),
        remark: None,
    },
    RingVariable {
        name: "peppers",
        loss: Some("every token that was minted under it"),
        remark: Some(
            "A token keeps the pepper that it was minted under: an old pepper is needed until its keys are rotated.",
        ),
    },
    RingVariable {
        name: "signing_keys",
        loss: None,
        remark: Some(
            "Every version's public key is published, so that what it signed can be checked, until it is retired.",
        ),
    },
    RingVariable {
        name: VAULT_KEYRING,
        loss: Some("what every credential that is sealed under it holds"),
        remark: None,
    },
    RingVariable {
        name: LOG_KEYS,
        loss: None,
        remark: Some(
            "Every version signs each checkpoint, until it is retired: witnesses learn a new key while they still know the old one.",
        ),
    },
];

/// The ring of the vault. A state that is older than the vault has none until it is run.
pub const VAULT_KEYRING: &str = "vault_keyring";

/// The keys that sign the log's checkpoints: no plain ring, since they carry the log's name.
pub const LOG_KEYS: &str = "log_keys";

/// The ring of this name.
pub fn ring_variable(name: &str) -> Option<&'static RingVariable> {
    RINGS.iter().find(|ring| ring.name == name)
}

/// A state directory whose rings nobody else is changing.
pub struct RingFiles<'a> {
    state: &'a StateDir,
    /// Locked while this lives.
    _folder: File,
}

impl<'a> RingFiles<'a> {
    /// Waits until nobody else is changing rings here.
    ///
    /// # Errors
    /// There is no folder of rings, or it cannot be locked.
    pub fn lock(state: &'a StateDir) -> Result<Self> {
        state.check_complete()?;
        let path = state.variables();
        let fault = |error| Failure::file("state directory", &path, &error);
        let folder = File::open(&path).map_err(fault)?;
        folder.lock().map_err(fault)?;
        Ok(Self { state, _folder: folder })
    }

    /// A ring as it is on disk.
    ///
    /// # Errors
    /// Its file cannot be read, or holds no ring.
    pub fn read(&self, variable: &RingVariable) -> Result<ChangingRing> {
        read(self.state, variable)
    }

    /// Writes a ring: its file first, then its line in the file for a shell, where there is one.
    ///
    /// # Errors
    /// The disk refuses. A failure between the two leaves the line behind; the next change mends it, and `status` tells.
    pub fn write(&self, variable: &RingVariable, ring: &ChangingRing) -> Result<()> {
        let document = ring.to_json();
        let aside = Aside::of(&self.state.variable(variable.name));
        write_private(aside.path(), document.expose())?;
        aside.put_into_place()?;
        self.write_lines()
    }

    fn write_lines(&self) -> Result<()> {
        let path = self.state.environment();
        let Some(old) = read_lines(self.state)? else { return Ok(()) };
        let mut lines = Zeroizing::new(String::with_capacity(old.len().saturating_mul(2)));
        for line in old.lines().filter(|line| variable_of(line).is_none()) {
            lines.extend([line, "\n"]);
        }
        for variable in &RINGS {
            let document = self.state.read_variable(variable.name)?;
            lines.push_str(&environment_line(variable.name, &document));
        }
        let aside = Aside::of(&path);
        write_private(aside.path(), &lines)?;
        aside.put_into_place()
    }
}

/// Gives a state that is older than the vault the ring that it lacks; whether it did.
///
/// # Errors
/// There is no folder of rings, or the disk refuses.
pub fn make_vault_keyring(state: &StateDir, created_at: &str) -> Result<bool> {
    let path = state.variable(VAULT_KEYRING);
    if path.exists() || !state.variables().exists() {
        return Ok(false);
    }
    let document = RingDocument::generate(*random::<32>()?, created_at)
        .map_err(|error| Failure::system("a new ring", error))?;
    let aside = Aside::of(&path);
    write_private(aside.path(), document.to_json().expose())?;
    aside.put_into_place()?;
    RingFiles::lock(state)?.write_lines()?;
    Ok(true)
}

/// A ring as it is on disk.
///
/// # Errors
/// Its file cannot be read, or holds no ring.
pub fn read(state: &StateDir, variable: &RingVariable) -> Result<ChangingRing> {
    let document = state.read_variable(variable.name)?;
    ChangingRing::parse(variable.name, document.expose())
        .map_err(|error| Failure::new(Blame::Caller, "A ring cannot be used", error.to_string()))
}

/// The rings whose line in the file for a shell says something else than their own file.
///
/// # Errors
/// A file cannot be read.
pub fn out_of_step(state: &StateDir) -> Result<Vec<&'static str>> {
    let Some(lines) = read_lines(state)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for variable in &RINGS {
        let line = environment_line(variable.name, &state.read_variable(variable.name)?);
        if !lines.lines().any(|seen| seen == line.trim_end()) {
            found.push(variable.name);
        }
    }
    Ok(found)
}

/// The file for a shell, where there is one.
fn read_lines(state: &StateDir) -> Result<Option<Zeroizing<String>>> {
    let path = state.environment();
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("file for a shell", &path, &error)),
    }
}

/// The ring that a line of the file for a shell sets.
fn variable_of(line: &str) -> Option<&'static RingVariable> {
    let name = line.strip_prefix(super::state::ENVIRONMENT_PREFIX)?.split_once('=')?.0;
    ring_variable(&name.to_ascii_lowercase())
}

/// Whether a version may go: nothing is sealed under it any more, or whoever asks takes the loss. `remaining` is how many records
/// still need it, where somebody has counted.
///
/// # Errors
/// Records still need it, or nobody knows and `is_forced` is not said.
pub fn check_unneeded(
    variable: &RingVariable,
    version: u32,
    remaining: Option<u64>,
    is_forced: bool,
) -> Result<()> {
    let (Some(loss), name) = (variable.loss, variable.name) else { return Ok(()) };
    match remaining {
        Some(0) => Ok(()),
        Some(records) => {
            let detail =
                format!("{records} records still need version `{version}` of `{name}`; nothing was changed");
            Err(Failure::new(Blame::Conflict, "The version is in use", detail))
        }
        None if is_forced => Ok(()),
        None => {
            let detail = format!(
                "how many records still need version `{version}` of `{name}` has not been counted; nothing was changed"
            );
            Err(Failure::new(Blame::Conflict, "The version may be in use", detail)
                .advise(format!("Without it is lost, for good: {loss}."))
                .advise("With --url, a server that `keyward ring reseal` was run against says how many.")
                .advise("--force-unverified drops it all the same."))
        }
    }
}

/// Bytes from the operating system's random source.
///
/// # Errors
/// The machine has no randomness.
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes).map_err(|error| Failure::system("random bytes", error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_stays_and_what_nobody_counted_is_forced() {
        let records = ring_variable("records_keyring").unwrap();
        let signing = ring_variable("signing_keys").unwrap();
        // Of whom, how many remain, forced, the exit code.
        let table = [
            (records, Some(0), false, 0),
            (records, Some(1), false, 4),
            (records, Some(1), true, 4),
            (records, None, false, 4),
            (records, None, true, 0),
            (signing, None, false, 0),
        ];
        for (variable, remaining, is_forced, expected) in table {
            let ended = check_unneeded(variable, 1, remaining, is_forced);
            let code = ended.map_or_else(|failure| failure.exit_code(), |()| 0);
            assert_eq!(code, expected, "{} {remaining:?} {is_forced}", variable.name);
        }
    }
}
