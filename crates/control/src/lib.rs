//! keyward-control.
