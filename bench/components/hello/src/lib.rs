//! The floor of the bench: what the host and the SDK cost when a component does nothing.
//! Answers in headers alone, as the hot path does; it may neither read nor hold anything.

use spin_sdk::http::{IntoResponse, Request, StatusCode};
use spin_sdk::http_service;

#[http_service]
async fn handle(_request: Request) -> impl IntoResponse {
    StatusCode::NO_CONTENT
}
