//! keyward-guest.
