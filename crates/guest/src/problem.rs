//! Errors as the outside sees them: problem details (RFC 9457) and challenges (RFC 6750 section 3). Internal text stays in the log.

use crate::response::Response;
use keyward_domain::problem::MEDIA_TYPE;
use keyward_domain::{Code, Error, Problem, RequestId};

/// The realm of every challenge.
const CHALLENGE: &str = "Bearer realm=\"keyward\"";

/// The answer to a request that failed. `presented` says whether it came with a credential.
pub fn response(error: &Error, request: RequestId, presented: bool) -> Response {
    log(error, request);
    // Texts alone: it always serializes.
    let body = serde_json::to_vec(&Problem::of(error, request)).unwrap_or_default();
    let response = Response::bytes(error.code.status(), MEDIA_TYPE, body);
    with_hints(response, error, presented)
}

/// The same failure told in headers alone, as gateways want it.
pub fn headers_alone(error: &Error, request: RequestId, presented: bool) -> Response {
    log(error, request);
    with_hints(Response::empty(error.code.status()), error, presented)
}

/// One line for whoever operates Keyward, about what only they can mend. A silent store has its own lines, from whoever asked it.
pub fn log(error: &Error, request: RequestId) {
    match error.code {
        Code::StoreUnavailable | Code::OutcomeUnknown => {}
        code if code.status() >= 500 => eprintln!("{request}: {error}"),
        _ => {}
    }
}

fn with_hints(response: Response, error: &Error, presented: bool) -> Response {
    let response =
        match challenge(error.code, error.missing_scope.as_ref().map(ToString::to_string), presented) {
            Some(challenge) => response.with("www-authenticate", challenge),
            None => response,
        };
    match error.retry_after_s.or((error.code.status() == 503).then_some(1)) {
        Some(seconds) => response.with("retry-after", seconds.to_string()),
        None => response,
    }
}

/// The `WWW-Authenticate` of a 401 or 403.
pub fn challenge(code: Code, missing_scope: Option<String>, presented: bool) -> Option<String> {
    match (code.status(), missing_scope) {
        (401, _) if presented => Some(format!("{CHALLENGE}, error=\"invalid_token\"")),
        (403, Some(scope)) => Some(format!("{CHALLENGE}, error=\"insufficient_scope\", scope=\"{scope}\"")),
        (401 | 403, _) => Some(CHALLENGE.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_domain::scope::Scope;

    const ID: RequestId = RequestId::from_bytes([0; 16]);

    fn json(error: &Error) -> serde_json::Value {
        serde_json::from_slice(response(error, ID, false).body()).expect("JSON")
    }

    #[test]
    fn a_problem_has_every_member() {
        let error = Error::field("scopes[2]", "is empty", "a scope");
        assert_eq!(
            json(&error),
            serde_json::json!({
                "type": "https://keyward.dev/problems/invalid-field",
                "title": "A field of the request is not valid",
                "status": 400,
                "detail": "`scopes[2]` is empty; expected a scope",
                "code": "invalid-field",
                "errors": [{"field": "scopes[2]", "reason": "is empty", "expected": "a scope"}],
                "request_id": "req_0000000000000000000000",
            })
        );
        assert_eq!(response(&error, ID, false).field("content-type"), Some("application/problem+json"));
    }

    #[test]
    fn internal_text_stays_inside() {
        let told = json(&Error::internal("the ledger's inner secret"));
        assert!(!told.to_string().contains("ledger"), "{told}");
        assert_eq!(told["status"], 500);
    }

    #[test]
    fn challenges_and_retries() {
        let table = [
            (Error::new(Code::Unauthenticated, ""), false, Some("Bearer realm=\"keyward\"")),
            (
                Error::new(Code::Unauthenticated, ""),
                true,
                Some("Bearer realm=\"keyward\", error=\"invalid_token\""),
            ),
            (
                Error::missing_scope(Scope::fixed("orders:read")),
                true,
                Some("Bearer realm=\"keyward\", error=\"insufficient_scope\", scope=\"orders:read\""),
            ),
            (Error::new(Code::Forbidden, ""), true, Some("Bearer realm=\"keyward\"")),
            (Error::new(Code::NotFound, ""), true, None),
        ];
        for (error, presented, expected) in table {
            for response in [response(&error, ID, presented), headers_alone(&error, ID, presented)] {
                assert_eq!(response.field("www-authenticate"), expected);
                assert_eq!(response.field("retry-after"), None);
            }
        }
        assert_eq!(headers_alone(&Error::store_unavailable(), ID, true).field("retry-after"), Some("1"));
        let wait = response(&Error::too_many_attempts(42), ID, true);
        assert_eq!((wait.status(), wait.field("retry-after")), (429, Some("42")));
        assert_eq!(wait.field("www-authenticate"), None);
        // What is hidden from the caller names no scope.
        let hidden = response(&Error::hidden("key", Scope::fixed("keys:read")), ID, true);
        let absent = response(&Error::not_found("key"), ID, true);
        assert_eq!(hidden, absent);
        assert_eq!(headers_alone(&Error::store_unavailable(), ID, true).body(), b"");
    }
}
