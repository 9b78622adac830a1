//! Reads credentials from Keyward, for a service that carries none along: each is kept in memory for its lease, then asked for again, and
//! gone on with through an outage for as long as its policy allows. Nothing is written to a disk, and nothing that is secret is shown.
//!
//! ```no_run
//! use keyward_client::{Client, Token};
//!
//! let client = Client::builder("https://keyward.example")
//!     .token(Token::file("/run/secrets/keyward-token"))
//!     .build()?;
//! let database = client.credential("payments/db")?;
//! let password = database.field("password");
//! # Ok::<(), keyward_client::Error>(())
//! ```
//!
//! A service is known by a key of its application with scopes such as `credentials:read@payments/*`. Its token is read from its file
//! anew for each call, so that `keyward renew` may put another in its place at any time.

mod client;
mod credential;
mod endpoint;
mod error;
mod lease;

pub use client::{Builder, Client, Token};
pub use credential::Credential;
pub use endpoint::{Base, NotABase, trusted};
pub use error::Error;
pub use lease::Standing;
