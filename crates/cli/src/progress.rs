//! How far long work is: one line on standard error that is written over, on a terminal alone. Work that is done at once shows none.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Work that takes less shows nothing.
const SILENT_TIME_MAX: Duration = Duration::from_millis(500);
/// Between two changes of the line.
const PAUSE: Duration = Duration::from_millis(100);

/// Work under way. Dropping it clears the line.
pub struct Progress {
    what: &'static str,
    is_seen: bool,
    is_shown: bool,
    next: Instant,
}

impl Progress {
    /// Work that begins; `what` stands before the figures, as `Copying`.
    pub fn new(what: &'static str) -> Self {
        let next = Instant::now() + SILENT_TIME_MAX;
        Self { what, is_seen: std::io::stderr().is_terminal(), is_shown: false, next }
    }

    /// So much of all is done.
    pub fn at(&mut self, done: u64, all: u64) {
        let percent = done.saturating_mul(100).checked_div(all).unwrap_or(100).min(100);
        self.draw(format_args!("{percent:3} %"));
    }

    /// So much is done of what nobody has counted.
    pub fn so_far(&mut self, done: u64) {
        self.draw(format_args!("{done}"));
    }

    fn draw(&mut self, figures: std::fmt::Arguments<'_>) {
        let now = Instant::now();
        if !self.is_seen || now < self.next {
            return;
        }
        self.next = now + PAUSE;
        self.is_shown = true;
        // Nobody is left to be told when standard error is gone.
        let _ = write!(std::io::stderr().lock(), "\r{} {figures}\u{1b}[K", self.what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(std::io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}
