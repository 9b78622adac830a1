//! What goes to standard output and standard error, and whether it may be coloured.
//! It prints what it is given: whoever calls it has escaped what others wrote.

use std::io::{ErrorKind, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use keyward_domain::error::Blame;

use crate::failure::{Failure, Result};

/// Whether styles are written at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Styles {
    on: bool,
}

/// What a word of a table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    Plain,
    /// A heading.
    Heading,
    /// All is well.
    Good,
    /// Look here.
    Warning,
    /// It is over, or refused.
    Bad,
}

impl Styles {
    /// None.
    pub const OFF: Self = Self { on: false };
    /// As on a terminal.
    pub const ON: Self = Self { on: true };

    /// As the output and the environment want it: a terminal, no `NO_COLOR` (<https://no-color.org>), not a dumb one.
    fn of(is_terminal: bool) -> Self {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { on: is_terminal && !forbidden && !dumb }
    }

    fn pair(self, style: Style) -> [String; 2] {
        if self.on {
            [style.render().to_string(), style.render_reset().to_string()]
        } else {
            Default::default()
        }
    }

    /// What stands before and after a word of this tone.
    pub fn around(self, tone: Tone) -> [String; 2] {
        self.pair(match tone {
            Tone::Plain => return Default::default(),
            Tone::Heading => Style::new().bold(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Warning => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default(),
        })
    }

    /// What stands before and after `error:`.
    pub fn error(self) -> [String; 2] {
        self.pair(AnsiColor::Red.on_default().bold())
    }

    /// What stands before and after `warning:`.
    fn warning(self) -> [String; 2] {
        self.pair(AnsiColor::Yellow.on_default().bold())
    }
}

/// The two outputs.
pub struct Terminal {
    out: Styles,
    err: Styles,
}

impl Default for Terminal {
    fn default() -> Self {
        Self {
            out: Styles::of(std::io::stdout().is_terminal()),
            err: Styles::of(std::io::stderr().is_terminal()),
        }
    }
}

impl Terminal {
    /// The styles of standard output.
    pub fn styles(&self) -> Styles {
        self.out
    }

    /// Writes a line to standard output at once; `false` where the reader left.
    ///
    /// # Errors
    /// Standard output cannot be written, a full disk for instance.
    pub fn stream(&self, line: &str) -> Result<bool> {
        let mut out = std::io::stdout().lock();
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::new(Blame::Caller, "The output cannot be written", error.to_string())),
        }
    }

    /// Writes `text` and, where it ends without one, a line feed to standard output. A reader that left early, as `head` does,
    /// is no failure.
    ///
    /// # Errors
    /// Standard output cannot be written, a full disk for instance.
    pub fn print(&self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        match out
            .write_all(text.as_bytes())
            .and_then(|()| out.write_all(end.as_bytes()))
            .and_then(|()| out.flush())
        {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::new(Blame::Caller, "The output cannot be written", error.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Whether somebody sits there who can be asked.
    pub fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal()
    }

    /// Asks; anything but a clear yes is a no.
    ///
    /// # Errors
    /// Standard input cannot be read.
    pub fn confirm(&self, question: &str) -> Result<bool> {
        // Nobody is left to be asked when standard error is gone; then the answer is no.
        let _ = write!(std::io::stderr().lock(), "{question} [y/N] ");
        let mut typed = String::new();
        std::io::stdin().read_line(&mut typed).map_err(|error| Failure::system("terminal", error))?;
        Ok(matches!(typed.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// A line on standard error for whoever looks on.
    pub fn note(&self, line: &str) {
        // Nobody is left to be told when standard error is gone.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }

    /// A warning on standard error.
    pub fn warn(&self, line: &str) {
        let [open, close] = self.err.warning();
        self.note(&format!("{open}warning:{close} {line}"));
    }

    /// A failure on standard error.
    pub fn fail(&self, failure: &Failure) {
        let _ = write!(std::io::stderr().lock(), "{}", failure.render(self.err));
    }
}
