//! HTTP: from connections to the application and back.

pub(crate) mod body;
pub(crate) mod server;
pub(crate) mod tls;
pub(crate) mod worker;
