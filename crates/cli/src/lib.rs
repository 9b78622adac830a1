//! keyward-cli.
