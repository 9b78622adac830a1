//! keyward-service.
