//! The `keyward` command: arguments, calls over HTTP, and what a person or a program reads of the answers. Only [`local`], which there is
//! with the feature `host`, knows store and host. A secret comes in by file, standard input or prompt, and leaves only where it was asked for.

pub mod answers;
pub mod arguments;
pub mod aside;
pub mod client;
pub mod commands;
pub mod context;
pub mod escape;
pub mod failure;
pub mod import;
#[cfg(feature = "host")]
pub mod local;
pub mod progress;
pub mod scan;
pub mod secret_file;
pub mod secret_source;
pub mod signed;
pub mod table;
pub mod terminal;
#[cfg(feature = "workload")]
pub mod workload;

pub use arguments::{Command, Global};
pub use failure::{Ending, Failure};
pub use terminal::Terminal;
