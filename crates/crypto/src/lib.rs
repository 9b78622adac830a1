//! Keyward's cryptography: key rings, sealed records, peppered MACs, digests, response signatures, and the log's Merkle
//! tree and checkpoints.
//! It does no I/O and knows neither clock nor randomness: keys, nonces and times come in as arguments, so that the
//! same code runs in a component, in the simulator and in the `keyward` command. It never logs, and no error, `Debug`
//! or `Display` of it shows key material, plaintext or a token.

mod base64url;
pub mod digest;
mod keyed;
pub mod leak_report;
pub mod note;
pub mod pepper;
pub mod ring;
pub mod seal;
pub mod secret;
pub mod sign;
pub mod tree;
#[cfg(test)]
mod vectors;
pub mod webhook;

pub use pepper::{Peppers, UnknownPepper};
pub use ring::{Ring, RingDocument, RingError, State, UnknownRingVersion};
pub use seal::{Domain, OpenError, PLAINTEXT_BYTES_MAX, SealError, Sealer};
pub use secret::{SecretBytes, SecretText};
pub use zeroize::Zeroizing;
