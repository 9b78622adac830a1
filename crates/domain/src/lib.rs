//! keyward-domain.
