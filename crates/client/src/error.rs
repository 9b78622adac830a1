//! Why there is no credential: sorted by whether asking again later may help.

/// Why a credential was not had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What the client was made of cannot be used: a URL, a token's file, a certificate.
    #[error("{0}")]
    Misused(String),
    /// Keyward refused: the token does not pass, the credential is not granted, or there is none. Asking again changes nothing.
    #[error("Keyward refused ({code}): {detail}")]
    Refused {
        /// The stable code of the problem.
        code: String,
        /// What was wrong and what would be right.
        detail: String,
    },
    /// Keyward cannot be reached or cannot answer now: ask again later.
    #[error("Keyward cannot be asked: {0}")]
    Unavailable(String),
    /// What answered is not signed by Keyward, or not for this request.
    #[error("the answer is not authentic: {0}")]
    NotAuthentic(String),
}

impl Error {
    /// Whether Keyward itself said no: what was read before is not to be gone on with.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}
