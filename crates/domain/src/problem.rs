//! Errors as the outside sees them: problem details (RFC 9457). Internal text stays inside.

use crate::error::{Blame, Code, Error, FieldError};
use crate::id::RequestId;
use serde::Serialize;
use utoipa::ToSchema;

/// What every problem's `type` starts with.
pub const TYPE_BASE: &str = "https://keyward.dev/problems/";
/// The media type of problems.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong.
#[derive(Serialize, ToSchema)]
pub struct Problem<'a> {
    /// Names the kind of problem, for good: the base followed by the code.
    #[schema(format = "uri")]
    r#type: String,
    /// One sentence that holds for every problem of this type.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What was wrong here and what would be right.
    detail: &'a str,
    /// The stable name: safe to match on.
    code: &'a str,
    /// Findings about single fields or parameters.
    errors: &'a [FieldError],
    request_id: RequestId,
}

impl<'a> Problem<'a> {
    /// What the outside is told of an error in this request.
    pub fn of(error: &'a Error, request_id: RequestId) -> Self {
        let detail = match error.code.blame() {
            Blame::Bug => "the fault is ours; name the request id when you report it",
            _ => error.detail.as_str(),
        };
        Self {
            r#type: error.code.problem_type(),
            title: error.code.title(),
            status: error.code.status(),
            detail,
            code: error.code.as_str(),
            errors: &error.fields,
            request_id,
        }
    }
}

impl Code {
    /// The `type` of its problems.
    pub fn problem_type(self) -> String {
        format!("{TYPE_BASE}{}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: &Error) -> serde_json::Value {
        serde_json::to_value(Problem::of(error, RequestId::from_bytes([1; 16]))).expect("JSON")
    }

    #[test]
    fn a_problem_says_what_was_wrong_unless_the_fault_is_ours() {
        let problem = told(&Error::not_found("key"));
        assert_eq!(problem["type"], "https://keyward.dev/problems/not-found");
        assert_eq!((&problem["status"], &problem["code"]), (&404.into(), &"not-found".into()));
        assert_eq!(problem["detail"], "no key of this id, or none that this credential may see");
        let ours = told(&Error::internal("the tape is full")).to_string();
        assert!(ours.contains("500") && !ours.contains("tape"), "{ours}");
        let damaged = told(&Error::damaged("a key"));
        assert_eq!(damaged["code"], "record-damaged");
    }
}
