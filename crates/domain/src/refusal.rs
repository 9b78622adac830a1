//! Why a token does not pass, in the words that gateways, callers and the counts of use share.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a token does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RefusalCode {
    /// No such token: malformed, unknown id, wrong secret, or a record that is absent or does not open.
    NotFound,
    /// Its life has ended, or the grace of this version.
    Expired,
    /// It or its application is switched off for now.
    Disabled,
    /// It, this version, or its application's generation is revoked.
    Revoked,
    /// Of another environment or application, or from a network that its rule does not name.
    Forbidden,
    /// It lacks a scope.
    InsufficientScope,
    /// A limit of requests is reached.
    RateLimited,
    /// A quota is used up.
    UsageExceeded,
}

impl RefusalCode {
    /// Every code. Batches of use count by the place here: a new one comes at the end.
    pub const ALL: [Self; 8] = [
        Self::NotFound,
        Self::Expired,
        Self::Disabled,
        Self::Revoked,
        Self::Forbidden,
        Self::InsufficientScope,
        Self::RateLimited,
        Self::UsageExceeded,
    ];

    /// The code as the outside sees it; `VALID` is the answer without refusal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::Expired => "EXPIRED",
            Self::Disabled => "DISABLED",
            Self::Revoked => "REVOKED",
            Self::Forbidden => "FORBIDDEN",
            Self::InsufficientScope => "INSUFFICIENT_SCOPE",
            Self::RateLimited => "RATE_LIMITED",
            Self::UsageExceeded => "USAGE_EXCEEDED",
        }
    }

    /// The HTTP status at a gateway.
    pub const fn status(self) -> u16 {
        match self {
            Self::NotFound | Self::Expired | Self::Disabled | Self::Revoked => 401,
            Self::Forbidden | Self::InsufficientScope => 403,
            Self::RateLimited | Self::UsageExceeded => 429,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RefusalCode;

    #[test]
    fn a_code_is_written_as_it_is_shown() {
        for code in RefusalCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
