//! How the command ends: what went wrong, sorted by who can mend it, and the exit code that says so.
//! A failure's texts may come from the other side; they are escaped when shown, never before.

use std::fmt::Write as _;

use keyward_domain::error::{Blame, Code, FieldError};

use crate::client::Answer;
use crate::escape::shown;
use crate::terminal::Styles;

/// What `--help` and manual pages end with: exit codes, and what is read from where.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done; for `verify`: the token is valid; for `audit verify`: the log is whole; for `scan`: nothing was found
  1  `verify`: the token is not valid; `webhook test`: the message did not arrive; `scan`: something was found
  2  the command line is wrong
  3  refused: the request, a file or the credential is not right
  4  conflict: the state is not what the request needs
  5  Keyward or its store cannot be reached, or is not ready; repeat later; `scan`: not all could be read, and nothing was found
  6  integrity: a record or a signature is not authentic, or the log is not what it should be
  7  a bug, in Keyward or in this command
`exec` ends with the exit code of its service, 128 and the signal's number where a signal ended it.

Where Keyward is: what --url or --context says, or else KEYWARD_URL, KEYWARD_CONTEXT, the context in use (`keyward context use`), \
this machine. A context's key file goes to the context's own URL alone.

A secret is never an argument: tokens and tickets come from a file, from `-` (standard input) or from a prompt.";

/// How a command that did its work ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// 0.
    Done,
    /// 1: `verify` found that the token is not valid, or a message to test a webhook did not arrive.
    NotValid,
    /// 1: `scan` found something.
    Found,
    /// 5: not everything could be told, and what could be is as it should be.
    NotTold,
    /// 6: the log or the state is not what it should be.
    Tampered,
    /// What the service that ran ended with.
    OfService(u8),
}

impl Ending {
    /// The exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::NotValid | Self::Found => 1,
            Self::NotTold => 5,
            Self::Tampered => 6,
            Self::OfService(code) => code,
        }
    }
}

/// Why a command did not do its work. Boxed: it is rare, and every result would be as large.
#[derive(Debug)]
pub struct Failure(Box<Parts>);

#[derive(Debug)]
struct Parts {
    /// As the server named it.
    code: Option<Code>,
    /// `None`: the command line.
    blame: Option<Blame>,
    title: String,
    detail: String,
    fields: Vec<FieldError>,
    request_id: Option<String>,
    advice: Vec<String>,
}

/// The result of everything here.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// A problem as RFC 9457 and docs/api.md write it. Every member may be missing: a proxy may have answered.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
    code: Option<String>,
    errors: Vec<FieldError>,
    request_id: Option<String>,
}

impl Failure {
    /// A failure of this blame.
    pub fn new(blame: Blame, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code: None,
            blame: Some(blame),
            title: title.into(),
            detail: detail.into(),
            fields: Vec::new(),
            request_id: None,
            advice: Vec::new(),
        }))
    }

    /// The command line is wrong in a way that its grammar does not show.
    pub fn command_line(detail: impl Into<String>) -> Self {
        let mut failure = Self::new(Blame::Caller, "The command line is wrong", detail);
        failure.0.blame = None;
        failure
    }

    /// A file on this machine cannot be had.
    pub fn file(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(Blame::Caller, format!("The {what} cannot be used"), format!("{}: {error}", path.display()))
    }

    /// A system call that does not fail on a working machine.
    pub fn system(what: &str, error: impl std::fmt::Display) -> Self {
        Self::new(Blame::Bug, "This machine refused something", format!("{what}: {error}"))
    }

    /// What answered does not speak Keyward's language.
    pub fn not_keyward(answer: &Answer, what: &str) -> Self {
        let mut failure = Self::new(
            Blame::Store,
            "The answer is not Keyward's",
            format!("{what}; expected Keyward at `{}`", answer.base),
        );
        failure.0.request_id = answer.request_id();
        failure
    }

    /// What the server said in an answer that is no success.
    pub fn from_answer(answer: &Answer) -> Self {
        let is_problem = answer.header("content-type").is_some_and(|media_type| {
            let essence = media_type.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/problem+json")
        });
        let problem: Option<Problem> =
            is_problem.then(|| serde_json::from_slice(&answer.body).ok()).flatten();
        let Some(problem) = problem else {
            let mut failure =
                Self::not_keyward(answer, &format!("status {} without a problem's details", answer.status));
            failure.0.blame = Some(blame_of_status(answer.status));
            return failure;
        };
        let code = problem.code.as_deref().and_then(|code| code.parse::<Code>().ok());
        let blame = code.map_or_else(|| blame_of_status(answer.status), Code::blame);
        let title = problem
            .title
            .or_else(|| code.map(|code| code.title().to_owned()))
            .unwrap_or_else(|| format!("Status {}", answer.status));
        let mut failure = Self::new(blame, title, problem.detail.unwrap_or_default());
        failure.0.code = code;
        failure.0.fields = problem.errors;
        failure.0.request_id = problem.request_id.or_else(|| answer.request_id());
        failure
    }

    /// The same with one more line that says what to do.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.0.advice.push(advice.into());
        self
    }

    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        self.0.blame.map_or(2, Blame::exit_code)
    }

    /// Whether the server named it so.
    pub fn is_of(&self, code: Code) -> bool {
        self.0.code == Some(code)
    }

    /// What was wrong, in words.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Who can mend it; `None` for the command line.
    pub fn blame(&self) -> Option<Blame> {
        self.0.blame
    }

    /// What stands on standard error: the problem in one line, one line per field, the request's id, what to do.
    pub fn render(&self, styles: Styles) -> String {
        let mut out = String::new();
        let [open, close] = styles.error();
        let _ = write!(out, "{open}error:{close} {}", shown(&self.0.title));
        if !self.0.detail.is_empty() {
            let _ = write!(out, ": {}", shown(&self.0.detail));
        }
        out.push('\n');
        for FieldError { field, reason, expected } in &self.0.fields {
            let mut finding = format!("`{field}` {reason}");
            if !expected.is_empty() {
                let _ = write!(finding, "; expected {expected}");
            }
            // Keyward's detail says it already where there is only one.
            if finding != self.0.detail {
                let _ = writeln!(out, "  {}", shown(&finding));
            }
        }
        if let Some(id) = &self.0.request_id {
            let _ = writeln!(out, "  request {}", shown(id));
        }
        for advice in &self.0.advice {
            let _ = writeln!(out, "  {}", shown(advice));
        }
        out
    }
}

impl From<keyward_domain::Error> for Failure {
    fn from(error: keyward_domain::Error) -> Self {
        let mut failure = Self::new(error.code.blame(), error.code.title(), error.detail);
        failure.0.fields = error.fields;
        failure
    }
}

/// Where the code says nothing, the status does.
fn blame_of_status(status: u16) -> Blame {
    match status {
        409 | 410 | 412 | 422 => Blame::Conflict,
        300..=499 => Blame::Caller,
        502..=504 => Blame::Store,
        _ => Blame::Bug,
    }
}
