//! Why a start failed, sorted by who can mend it. Messages name what was wrong, what was seen and what
//! would be right; they never hold a variable's value.

use std::path::{Path, PathBuf};

/// A host that could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The manifest, or something it points at, is wrong: the author of `spin.toml` mends it.
    #[error("{}: {reason}", path.display())]
    Manifest {
        /// The manifest's path.
        path: PathBuf,
        /// What was wrong and what would be right.
        reason: String,
    },
    /// The runtime configuration is wrong: whoever runs the application mends it.
    #[error("{}: {reason}", path.display())]
    RuntimeConfig {
        /// The runtime configuration's path.
        path: PathBuf,
        /// What was wrong and what would be right.
        reason: String,
    },
    /// A variable is missing, unknown or unreadable: whoever runs the application mends it.
    #[error("variable `{name}`: {reason}")]
    Variable {
        /// The variable's name.
        name: String,
        /// What was wrong; never the value.
        reason: String,
    },
    /// A component's Wasm file cannot be run here.
    #[error("component `{component}`: {reason}")]
    Component {
        /// The component's id.
        component: String,
        /// What was wrong and what would be right.
        reason: String,
    },
    /// A store could not be opened.
    #[error("key-value store `{label}`: {reason}")]
    Store {
        /// The store's label.
        label: String,
        /// What was wrong.
        reason: String,
    },
    /// The machine refused something: an address in use, a directory not writable, a bad certificate.
    #[error("{what}: {reason}")]
    System {
        /// What was attempted.
        what: String,
        /// What the system said.
        reason: String,
    },
    /// The engine refused its own settings: a defect of this host.
    #[error("engine: {0}")]
    Engine(String),
}

impl StartError {
    pub(crate) fn manifest(path: &Path, reason: impl Into<String>) -> Self {
        Self::Manifest { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn system(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::System { what: what.into(), reason: reason.to_string() }
    }

    pub(crate) fn component(component: &str, reason: impl Into<String>) -> Self {
        Self::Component { component: component.to_owned(), reason: reason.into() }
    }

    pub(crate) fn store(label: &str, reason: impl Into<String>) -> Self {
        Self::Store { label: label.to_owned(), reason: reason.into() }
    }
}
