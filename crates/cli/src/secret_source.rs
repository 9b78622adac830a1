//! Where a secret comes in: a file, standard input, or a prompt that does not echo. Never an argument and never the environment,
//! which other processes and the shell's history can see.

use std::io::{IsTerminal, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use keyward_crypto::{SecretText, Zeroizing};
use keyward_domain::credential::VALUE_BYTES_MAX;
use keyward_domain::error::Blame;

use crate::failure::{Failure, Result};
use crate::terminal::Terminal;

/// The longest text taken as a secret, in bytes: a claim's link with a long public URL stays far below it.
pub const SECRET_BYTES_MAX: usize = 4096;

/// Reads what `source` names: a file, `-` for standard input, or nothing for a prompt on a terminal. White space around the text
/// is dropped. `what` is for messages: `token`, `ticket`.
///
/// # Errors
/// The file cannot be read; nothing or something else than a text of at most [`SECRET_BYTES_MAX`] is there; nobody can be asked.
pub fn read(source: Option<&Path>, what: &str, prompt: &str) -> Result<SecretText> {
    match source {
        Some(path) if path.as_os_str() == "-" => {
            from_reader(std::io::stdin().lock(), what, Path::new("standard input"))
        }
        Some(path) => from_file(path, what),
        None if std::io::stdin().is_terminal() => {
            let typed = Zeroizing::new(
                rpassword::prompt_password(prompt)
                    .map_err(|error| Failure::file(what, Path::new("the terminal"), &error))?,
            );
            trimmed(&typed, what, Path::new("the prompt"))
        }
        None => Err(Failure::command_line(format!(
            "no {what} was given and there is no terminal to ask at; name a file, or `-` for standard input"
        ))),
    }
}

/// Reads what a field of a credential is to hold, as it is: a file or `-` for standard input. One line feed at its end is dropped, which
/// editors put there.
///
/// # Errors
/// It cannot be read; it is empty, no text, or longer than a credential may be.
pub fn read_value(source: &Path, field: &str) -> Result<SecretText> {
    let is_stdin = source.as_os_str() == "-";
    let named = if is_stdin { Path::new("standard input") } else { source };
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(VALUE_BYTES_MAX.saturating_add(2)));
    let limit = u64::try_from(VALUE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(2);
    let fault = |error| Failure::file(field, named, &error);
    if is_stdin {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(fault)?;
    } else {
        let file = std::fs::File::open(source).map_err(fault)?;
        file.take(limit).read_to_end(&mut bytes).map_err(fault)?;
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| unfit(field, named, "is no text"))?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    match text.len() {
        0 => Err(unfit(field, named, "is empty")),
        bytes if bytes > VALUE_BYTES_MAX => Err(unfit(field, named, "is longer than 65536 bytes")),
        _ => Ok(SecretText::new(text.to_owned())),
    }
}

fn from_file(path: &Path, what: &str) -> Result<SecretText> {
    let file = std::fs::File::open(path).map_err(|error| Failure::file(what, path, &error))?;
    from_reader(file, what, path)
}

fn from_reader(reader: impl Read, what: &str, named: &Path) -> Result<SecretText> {
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX.saturating_add(1)));
    let limit = u64::try_from(SECRET_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(&mut bytes).map_err(|error| Failure::file(what, named, &error))?;
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(unfit(what, named, "is longer than 4096 bytes"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| unfit(what, named, "is no text"))?;
    trimmed(text, what, named)
}

fn trimmed(text: &str, what: &str, named: &Path) -> Result<SecretText> {
    let text = text.trim();
    if text.is_empty() {
        return Err(unfit(what, named, "is empty"));
    }
    Ok(SecretText::new(text.to_owned()))
}

fn unfit(what: &str, named: &Path, fault: &str) -> Failure {
    Failure::new(Blame::Caller, format!("The {what} cannot be used"), format!("{} {fault}", named.display()))
}

/// Reads the token that authenticates calls, and refuses what is no token before anything is sent.
///
/// # Errors
/// As [`read`]; also where the text is no token.
pub fn credential(path: &Path, terminal: &Terminal) -> Result<SecretText> {
    const WHAT: &str = "key file";
    let is_stdin = path.as_os_str() == "-";
    let secret = read(Some(path), WHAT, "").map_err(|failure| {
        failure.advise(
            "--key-file FILE or KEYWARD_KEY_FILE names a file with a token of the application `keyward`",
        )
    })?;
    if let Err(fault) = keyward_domain::token::parse(secret.expose()) {
        return Err(unfit(WHAT, path, &format!("holds no token: {fault}")));
    }
    if !is_stdin {
        warn_of_readers(path, terminal);
    }
    Ok(secret)
}

/// Warns of a file that others than its owner can read.
pub fn warn_of_readers(path: &Path, terminal: &Terminal) {
    let mode = std::fs::metadata(path).map(|file| file.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        let shown = crate::escape::shown(&path.display().to_string());
        terminal.warn(&format!("{shown} can be read by others; `chmod 600` it"));
    }
}
