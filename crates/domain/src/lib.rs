//! The words and rules of Keyward: ids, tokens, scopes, network rules, the life of a key, audit events, errors.
//!
//! No I/O, no clock, no randomness: what needs them takes them as arguments or through [`ports`].

pub mod announcement;
pub mod application;
pub mod base62;
pub mod claim;
pub mod credential;
pub mod credential_due;
pub mod credential_rotation;
pub mod delivery;
pub mod distinct;
pub mod due;
pub mod duration;
pub mod error;
pub mod event;
pub mod id;
pub mod imported;
pub mod issuing;
pub mod key;
pub mod limit;
pub mod network;
pub mod policy;
pub mod ports;
pub mod problem;
pub mod refusal;
pub mod renewal;
pub mod role;
pub mod rotation;
pub mod routing;
mod schema;
pub mod scope;
pub mod session;
pub mod standing;
pub mod tag;
pub mod text;
pub mod timestamp;
pub mod token;
pub mod usage;
pub mod webhook;

pub use error::{Code, Error, FieldError, Result};
pub use id::{
    ApplicationId, ClaimId, CredentialId, KeyId, PolicyId, RenewalId, RequestId, RoleId, WebhookId,
};
pub use problem::Problem;
pub use timestamp::Timestamp;
