//! What every component shares in Wasm: the store, clock and randomness of the platform, variables, requests, credentials,
//! problems, responses, routes, and the authentication of administrators.
//!
//! INVARIANT: nothing here writes a record of state. It reads, counts, and keeps use; the writing half is the ledger's and the control plane's.
//! Guests do not panic: a trap fails every request in flight on the instance.

pub mod admin;
mod body;
pub mod clock;
pub mod credential;
pub mod form;
pub mod headers;
pub mod problem;
pub mod query;
pub mod random;
pub mod refusals;
pub mod request;
pub mod response;
pub mod route;
pub mod serve;
pub mod store;
pub mod variables;

pub use admin::authenticate;
pub use clock::WasiClock;
pub use form::Form;
pub use random::WasiRng;
pub use request::{Incoming, Method};
pub use response::Response;
pub use route::{Params, Route};
pub use store::SpinKv;

#[doc(hidden)]
pub use spin_sdk as __spin_sdk;
