//! keyward-ledger.
