//! Runs the store's conformance suite from inside a component, through the very bindings that Keyward commits with, and answers
//! what it saw as JSON. It belongs in no application: it writes half a mebibyte and leaves it there.

use keyward_control::ControlKv;
use keyward_guest::{Incoming, Response};
use keyward_ledger::conformance;
use serde::Serialize;

keyward_guest::serve!(handle);

/// What the suite's store keys start with; the store must hold none of them yet.
const PREFIX: &str = "p:conformance.";

#[derive(Serialize)]
struct Seen {
    promise: &'static str,
    broken: Option<String>,
}

async fn handle(_: &Incoming) -> Response {
    let checks = conformance::run(&ControlKv::default(), PREFIX).await;
    let seen: Vec<Seen> =
        checks.into_iter().map(|check| Seen { promise: check.promise, broken: check.broken }).collect();
    Response::json(200, &seen).unwrap_or_else(|_| Response::empty(500))
}
