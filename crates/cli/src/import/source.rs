//! A file that is imported: read whole, as UTF-8, wiped when dropped; and the places in it that messages name.

use std::fmt;
use std::io::Read;
use std::path::Path;

use keyward_crypto::Zeroizing;
use keyward_domain::error::Blame;

use crate::failure::{Failure, Result};
use crate::secret_source;
use crate::terminal::Terminal;

/// The longest file that is imported, in bytes: 64 MiB.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long a first buffer is, in bytes; a longer file is read into one of its length.
const BUFFER_BYTES: u64 = 64 * 1024;

/// A place in a file, both counted from 1; columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a file cannot be read: where, and what would be right. What stands there is not in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl Fault {
    /// A fault.
    pub fn new(place: Place, what: impl Into<String>) -> Self {
        Self { place, what: what.into() }
    }
}

/// A file that was read.
pub struct Source {
    /// What messages call it.
    pub name: String,
    /// Its name without folder and endings, where it is a file.
    pub stem: Option<String>,
    text: Zeroizing<String>,
}

impl Source {
    /// Reads a file, or standard input where it is `-`. Whoever can read it as well is warned of.
    ///
    /// # Errors
    /// It cannot be read, is no UTF-8, or is longer than [`FILE_BYTES_MAX`].
    pub fn read(path: &Path, terminal: &Terminal) -> Result<Self> {
        const WHAT: &str = "file to import";
        let is_stdin = path.as_os_str() == "-";
        let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
        let fault = |error| Failure::file(WHAT, Path::new(&name), &error);
        let (mut reader, bytes): (Box<dyn Read>, u64) = if is_stdin {
            (Box::new(std::io::stdin().lock()), BUFFER_BYTES)
        } else {
            let file = std::fs::File::open(path).map_err(fault)?;
            let bytes = file.metadata().map_err(fault)?.len();
            secret_source::warn_of_readers(path, terminal);
            (Box::new(file), bytes)
        };
        // Room for all of it at once: a buffer that grows leaves copies behind.
        let room = usize::try_from(bytes.min(FILE_BYTES_MAX)).unwrap_or(0).saturating_add(2);
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        reader.by_ref().take(FILE_BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes).map_err(fault)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
            return Err(unfit(format!("{name} is longer than 64 MiB; split it")));
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
            unfit(format!("{name}, line {line}: it is no UTF-8; save it as UTF-8"))
        })?;
        // Editors of Windows put a mark of the byte order first.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let stem = path.file_name().filter(|_| !is_stdin).map(|name| {
            let name = name.to_string_lossy();
            name.split('.').find(|part| !part.is_empty()).unwrap_or_default().to_owned()
        });
        Ok(Self { name, stem, text: Zeroizing::new(text.to_owned()) })
    }

    /// Its text, without a mark of the byte order.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is told of a fault in it.
    pub fn failure(&self, fault: &Fault) -> Failure {
        unfit(format!("{}:{}: {}", self.name, fault.place, fault.what))
    }
}

fn unfit(detail: String) -> Failure {
    Failure::new(Blame::Caller, "The file cannot be imported", detail)
}

/// The places of a text, by offsets in bytes.
pub struct Places<'t> {
    text: &'t str,
    lines: Vec<usize>,
}

impl<'t> Places<'t> {
    /// Those of this text.
    pub fn of(text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { text, lines: std::iter::once(0).chain(ends.map(|(at, _)| at.saturating_add(1))).collect() }
    }

    /// The place at this offset.
    pub fn at(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|line| self.lines.get(line)).copied().unwrap_or(0);
        let before = self.text.get(start..offset).map_or(0, |text| text.chars().count());
        Place { line: line.max(1), column: before.saturating_add(1) }
    }

    /// The place of the first character from this offset on that ends no line.
    pub fn at_text(&self, offset: usize) -> Place {
        let rest = self.text.get(offset..).unwrap_or_default();
        self.at(self.text.len().saturating_sub(rest.trim_start_matches(['\r', '\n']).len()))
    }

    /// The place of a part of the text.
    pub fn of_part(&self, part: &str) -> Place {
        let start = self.text.as_ptr() as usize;
        self.at((part.as_ptr() as usize).saturating_sub(start).min(self.text.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_from_one_and_columns_in_characters() {
        let text = "a\nüb=1\n";
        let places = Places::of(text);
        assert_eq!(places.at(0), Place { line: 1, column: 1 });
        assert_eq!(places.at(1), Place { line: 1, column: 2 });
        assert_eq!(places.at(2), Place { line: 2, column: 1 });
        let part = text.split('\n').nth(1).and_then(|line| line.split('=').nth(1)).expect("a part");
        assert_eq!(places.of_part(part), Place { line: 2, column: 4 });
        assert_eq!(places.at(text.len()), Place { line: 3, column: 1 });
    }
}
