//! revocation.
