//! From a use case's answer to a response.

use keyward_guest::Response;
use keyward_service::{Answer, Body};

/// The answer of a creating request: 201, or the same again with `Idempotency-Replayed`.
pub fn created<T: Body>(answer: &Answer<T>) -> Response {
    fresh_or_replayed(201, answer)
}

/// The answer of an idempotent request with this status.
pub fn fresh_or_replayed<T: Body>(status: u16, answer: &Answer<T>) -> Response {
    let body = answer.to_json().expose().as_bytes().to_vec();
    let response = Response::bytes(status, "application/json", body);
    if answer.is_replayed() { response.with("idempotency-replayed", "true") } else { response }
}
