//! keyward-e2e.
