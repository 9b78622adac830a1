//! Runs a Spin application from its `spin.toml` on wasmtime: HTTP and cron triggers, key-value stores, variables,
//! and, where asked for, a test world around them. Knows nothing of what the application does.

mod app;
mod artifact;
mod bindings;
mod client_tls;
mod connect;
mod cron;
mod engine;
mod error;
mod guest;
mod http;
mod keyvalue;
mod limits;
mod log;
mod manifest;
mod native;
mod networks;
mod outbound;
mod pem;
mod route;
mod send;
mod start;
mod store;
mod traces;
mod variables;
mod world;

pub use self::error::StartError;
pub use self::http::tls::TlsFiles;
pub use self::limits::Limits;
pub use self::log::{Log, LogConfig, LogFormat};
pub use self::native::{NativeStore, NativeStoreError, ReadStore, StoreSnapshot};
pub use self::networks::BlockedNetworks;
pub use self::start::{FileStore, HostConfig, Running, start};
pub use self::store::file::{StoreFile, StoreFileError};
pub use self::world::WorldConfig;
