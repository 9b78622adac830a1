//! keyward-records.
