//! A component to test the host with.
