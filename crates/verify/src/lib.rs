//! keyward-verify.
