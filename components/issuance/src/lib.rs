//! issuance.
