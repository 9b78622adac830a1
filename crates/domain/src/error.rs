//! Errors, sorted by who is to blame. One table gives each its HTTP status, its title and the exit code of the command.

use crate::scope::Scope;
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// Bad credentials of one source in one minute that are told what was wrong; the next ones are told to wait. A person who mistypes and
/// a job with an old token stay below, also behind a shared proxy; 256 random bits are not guessed either way.
pub const BAD_CREDENTIALS_MAX: u32 = 20;

/// Who can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Whoever called: the request is wrong or not allowed.
    Caller,
    /// Nobody: the state changed or is not what the request needs.
    Conflict,
    /// The store, or a key ring that did not arrive yet: repeat later.
    Store,
    /// A record is not what was written.
    Integrity,
    /// We.
    Bug,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = ($text:literal, $status:literal, $blame:ident, $title:literal),)*) => {
        /// What went wrong: stable names, safe to match on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable name; also the end of the problem's `type`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// One sentence that holds for every problem of this code.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// Who can mend it.
            pub const fn blame(self) -> Blame {
                match self { $(Self::$name => Blame::$blame,)* }
            }
        }
    };
}

codes! {
    /// The body is no JSON, or not of the shape that the route takes.
    InvalidBody = ("invalid-body", 400, Caller, "The request's body cannot be read"),
    /// A field has a value that it must not have.
    InvalidField = ("invalid-field", 400, Caller, "A field of the request is not valid"),
    /// A query parameter or header has a value that it must not have.
    InvalidParameter = ("invalid-parameter", 400, Caller, "A parameter of the request is not valid"),
    /// A token stands in the URL, or two stand in the headers.
    MisplacedCredential = ("misplaced-credential", 400, Caller, "A credential is where none may be"),
    /// No valid credential.
    Unauthenticated = ("unauthenticated", 401, Caller, "The request has no valid credential"),
    /// A scope is missing.
    InsufficientScope = ("insufficient-scope", 403, Caller, "The credential lacks a scope"),
    /// A rule forbids it.
    Forbidden = ("forbidden", 403, Caller, "A rule forbids the request"),
    /// There is no such thing, or none that the caller may see.
    NotFound = ("not-found", 404, Caller, "There is no such thing"),
    /// The route knows no such method.
    MethodNotAllowed = ("method-not-allowed", 405, Caller, "The route does not take this method"),
    /// The body is too large.
    BodyTooLarge = ("body-too-large", 413, Caller, "The request's body is too large"),
    /// The body is of another media type.
    UnsupportedMediaType = ("unsupported-media-type", 415, Caller, "The request's body is not JSON"),
    /// So many bad credentials came from this source that the next ones are told to wait.
    TooManyAttempts = ("too-many-attempts", 429, Caller, "Too many bad credentials from this source"),
    /// The name belongs to another application, role or policy.
    NameTaken = ("name-taken", 409, Conflict, "The name is taken"),
    /// Nobody could administer everything any more.
    LastRoot = ("last-root", 409, Conflict, "The last root key must stay"),
    /// The thing is in a state that does not allow it.
    StateConflict = ("state-conflict", 409, Conflict, "The state does not allow it"),
    /// If-Match names another revision.
    RevisionMismatch = ("revision-mismatch", 412, Conflict, "The thing has changed meanwhile"),
    /// The same Idempotency-Key came with another request.
    IdempotencyMismatch = ("idempotency-mismatch", 422, Conflict, "The Idempotency-Key was used for another request"),
    /// A request with the same Idempotency-Key has not ended yet.
    IdempotencyInFlight = ("idempotency-in-flight", 409, Conflict, "A request with this Idempotency-Key has not ended yet"),
    /// The claim was taken before.
    ClaimTaken = ("claim-taken", 410, Conflict, "The claim was taken before"),
    /// The claim's deadline passed, or another took its place.
    ClaimGone = ("claim-gone", 410, Conflict, "The claim can no longer be taken"),
    /// The renewal token was used before.
    RenewalUsed = ("renewal-used", 410, Conflict, "The renewal token was used before"),
    /// The renewal token holds no longer.
    RenewalGone = ("renewal-gone", 410, Conflict, "The renewal token no longer holds"),
    /// The key or its application is revoked.
    Revoked = ("revoked", 409, Conflict, "The key is revoked"),
    /// Nobody issues anything until it is thawed.
    IssuingFrozen = ("issuing-frozen", 409, Conflict, "Issuing is frozen"),
    /// The store does not answer.
    StoreUnavailable = ("store-unavailable", 503, Store, "The store does not answer"),
    /// Whether it was done is not known.
    OutcomeUnknown = ("outcome-unknown", 503, Store, "Whether it was done is not known"),
    /// A record is sealed under a ring version that this process does not have.
    RingVersionUnknown = ("ring-version-unknown", 503, Store, "A key ring is not up to date"),
    /// The store is older than its witness saw it.
    StoreRolledBack = ("store-rolled-back", 503, Store, "The store was rolled back"),
    /// The store lacks something that Keyward needs.
    StoreUnsuitable = ("store-unsuitable", 503, Store, "The store cannot carry Keyward"),
    /// A configuration variable is missing or wrong.
    Misconfigured = ("misconfigured", 503, Store, "The configuration is not complete"),
    /// A record does not open or contradicts itself.
    RecordDamaged = ("record-damaged", 500, Integrity, "A record is damaged"),
    /// Something that cannot be.
    Internal = ("internal", 500, Bug, "Something went wrong on our side"),
}

impl Blame {
    /// The exit code of the `keyward` command: 0 is done, 2 is a wrong command line.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Caller => 3,
            Self::Conflict => 4,
            Self::Store => 5,
            Self::Integrity => 6,
            Self::Bug => 7,
        }
    }
}

impl std::str::FromStr for Code {
    type Err = ();
    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).ok_or(())
    }
}

/// One finding about one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Which field, as a path such as `scopes[2]`; empty where it is the body as a whole.
    pub field: String,
    /// What is wrong with it; never repeats a value that could be secret.
    pub reason: String,
    /// What would be right.
    pub expected: String,
}

impl FieldError {
    /// A finding.
    pub fn new(field: impl Into<String>, reason: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into(), expected: expected.into() }
    }
}

/// What went wrong, in words for the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The stable name.
    pub code: Code,
    /// What was wrong here and what would be right; for the outside, so nothing secret and nothing internal.
    pub detail: String,
    /// Findings about single fields.
    pub fields: Vec<FieldError>,
    /// The scope that was missing. Told to the outside with [`Code::InsufficientScope`] alone; with [`Code::NotFound`] it is for
    /// the log: there is such a thing, and the caller may not see it.
    pub missing_scope: Option<Scope>,
    /// When the request may be made again, in seconds, where that is known.
    pub retry_after_s: Option<u32>,
}

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), fields: Vec::new(), missing_scope: None, retry_after_s: None }
    }

    /// Findings about fields of the body.
    pub fn fields(fields: Vec<FieldError>) -> Self {
        let detail = match fields.as_slice() {
            [one] if one.field.is_empty() => format!("the body {}; expected {}", one.reason, one.expected),
            [one] => format!("`{}` {}; expected {}", one.field, one.reason, one.expected),
            many => format!("{} fields are not valid", many.len()),
        };
        Self { fields, ..Self::new(Code::InvalidField, detail) }
    }

    /// One finding about one field of the body.
    pub fn field(field: impl Into<String>, reason: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::fields(vec![FieldError::new(field, reason, expected)])
    }

    /// The same error where it speaks against one of many that were asked for: what is wrong with it keeps no other from being done.
    ///
    /// # Errors
    /// One of the store, or of ours, which speaks against them all.
    pub fn of_one(self) -> Result<Self> {
        match self.code.blame() {
            Blame::Caller | Blame::Conflict | Blame::Integrity => Ok(self),
            Blame::Store | Blame::Bug => Err(self),
        }
    }

    /// A finding about a query parameter or a header; never repeats its value.
    pub fn parameter(name: &str, reason: &str, expected: &str) -> Self {
        let mut error = Self::field(name, reason, expected);
        error.code = Code::InvalidParameter;
        error
    }

    /// A missing scope.
    pub fn missing_scope(scope: Scope) -> Self {
        let mut error = Self::new(Code::InsufficientScope, format!("the credential does not hold `{scope}`"));
        error.missing_scope = Some(scope);
        error
    }

    /// So many bad credentials came from this source that it is to wait this long, in seconds.
    pub fn too_many_attempts(wait_s: u32) -> Self {
        let detail = format!(
            "this source has presented too many bad credentials in this minute; correct the credential, and come back in {wait_s} s: a good one passes at any time"
        );
        Self { retry_after_s: Some(wait_s), ..Self::new(Code::TooManyAttempts, detail) }
    }

    /// There is no such thing, or none that the caller may see: both read alike.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("no {what} of this id, or none that this credential may see"))
    }

    /// There is such a thing, but for whoever lacks this scope it does not exist: to the outside it reads as [`Self::not_found`].
    pub fn hidden(what: &str, missing: Scope) -> Self {
        Self { missing_scope: Some(missing), ..Self::not_found(what) }
    }

    /// The store does not answer.
    pub fn store_unavailable() -> Self {
        Self::new(Code::StoreUnavailable, "the store did not answer; nothing was changed; repeat later")
    }

    /// A record does not open or contradicts itself.
    pub fn damaged(what: &str) -> Self {
        Self::new(
            Code::RecordDamaged,
            format!("the record of {what} does not open; an operator must look at it"),
        )
    }

    /// Something that cannot be; `what` is written in the code.
    pub fn internal(what: &'static str) -> Self {
        Self::new(Code::Internal, what)
    }
}

impl From<Vec<FieldError>> for Error {
    fn from(fields: Vec<FieldError>) -> Self {
        Self::fields(fields)
    }
}

impl From<FieldError> for Error {
    fn from(field: FieldError) -> Self {
        Self::fields(vec![field])
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_names_the_field_or_else_the_body() {
        let detail = |field: &str| Error::field(field, "is missing", "a name").detail;
        assert_eq!(detail("name"), "`name` is missing; expected a name");
        assert_eq!(detail(""), "the body is missing; expected a name");
    }

    #[test]
    fn the_table_is_consistent() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse::<Code>(), Ok(*code));
            let by_status = match code.status() {
                400..=404 | 405 | 413 | 415 | 429 => Blame::Caller,
                409 | 410 | 412 | 422 => Blame::Conflict,
                503 => Blame::Store,
                _ => code.blame(),
            };
            assert_eq!(code.blame(), by_status, "{}", code.as_str());
        }
    }

    #[test]
    fn what_is_hidden_reads_as_what_is_not_there_but_for_the_log() {
        let scope = Scope::fixed("keys:read");
        let (hidden, absent) = (Error::hidden("key", scope.clone()), Error::not_found("key"));
        assert_eq!((hidden.code, &hidden.detail), (absent.code, &absent.detail));
        assert_eq!((hidden.missing_scope, absent.missing_scope), (Some(scope.clone()), None));
        let missing = Error::missing_scope(scope.clone());
        assert_eq!((missing.code, missing.missing_scope), (Code::InsufficientScope, Some(scope)));
    }

    #[test]
    fn whoever_is_to_wait_is_told_for_how_long() {
        let error = Error::too_many_attempts(17);
        assert_eq!((error.code, error.retry_after_s), (Code::TooManyAttempts, Some(17)));
        assert!(error.detail.contains("17 s"));
        assert_eq!(Error::store_unavailable().retry_after_s, None);
    }

    #[test]
    fn findings_are_told_one_by_one_or_counted() {
        let finding = |field: &str| FieldError::new(field, "is wrong", "right");
        let error = Error::from(vec![finding("a"), finding("b")]);
        assert_eq!(
            (error.code, error.fields.len(), &*error.detail),
            (Code::InvalidField, 2, "2 fields are not valid")
        );
        assert_eq!(Error::from(finding("a")).to_string(), "invalid-field: `a` is wrong; expected right");
        let parameter = Error::parameter("limit", "is wrong", "right");
        assert_eq!(
            (parameter.code, parameter.fields),
            (Code::InvalidParameter, vec![FieldError::new("limit", "is wrong", "right")])
        );
    }

    #[test]
    fn each_blame_has_an_exit_code_of_its_own() {
        let codes = [Blame::Caller, Blame::Conflict, Blame::Store, Blame::Integrity, Blame::Bug]
            .map(Blame::exit_code);
        assert_eq!(codes, [3, 4, 5, 6, 7], "0 is done, 2 a wrong command line");
    }
}
