//! Sessions of the dashboard: which key opened one, and for how long it holds without that key being presented again. A session lies
//! at the browser, sealed, and in no store; what it may do is asked of its key on every request.

use crate::id::KeyId;
use crate::timestamp::{Timestamp, millis};
use serde::{Deserialize, Serialize};

/// How long a session may stand idle, in seconds. NIST SP 800-63B section 4.3.3 asks for 15 minutes at its highest level, and so does
/// OWASP ASVS 4.0.3 requirement 3.3.2.
pub const SESSION_IDLE_S_MAX: i64 = 15 * 60;

/// How long it holds at all, in seconds: a working day. The same sources allow 12 hours; OWASP's session management cheat sheet names
/// 4 to 8.
pub const SESSION_LIFE_S_MAX: i64 = 8 * 3600;

/// A session that was seen longer ago than this, in seconds, is noted to be seen now: not on every request, so that pages that are
/// loaded at once do not each bring another cookie.
pub const SESSION_NOTED_EVERY_S: i64 = 60;

/// A session.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    /// Random; a secret as long as the session lives.
    id: [u8; 32],
    /// The key that opened it.
    pub key: KeyId,
    /// Which of its versions.
    pub version: u16,
    #[serde(with = "millis")]
    opened_at: Timestamp,
    #[serde(with = "millis")]
    seen_at: Timestamp,
}

/// Whether a session holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Holds,
    /// It does, and it is time to note that it was seen.
    HoldsUnnoted,
    /// It stood idle for too long.
    Idle,
    /// Its time is over, however busy it was.
    Over,
}

impl Session {
    /// A session that begins now; `id` is fresh and random, never one that a browser brought.
    pub const fn begin(id: [u8; 32], key: KeyId, version: u16, now: Timestamp) -> Self {
        Self { id, key, version, opened_at: now, seen_at: now }
    }

    /// Its id.
    pub const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// When it is over, however busy it is.
    pub const fn ends_at(&self) -> Timestamp {
        self.opened_at.plus_s(SESSION_LIFE_S_MAX)
    }

    /// Whether it holds at this time. One that a clock has yet to come to was sealed by another process whose clock is ahead: it holds.
    pub fn standing(&self, now: Timestamp) -> Standing {
        if now >= self.ends_at() {
            Standing::Over
        } else if now >= self.seen_at.plus_s(SESSION_IDLE_S_MAX) {
            Standing::Idle
        } else if now >= self.seen_at.plus_s(SESSION_NOTED_EVERY_S) {
            Standing::HoldsUnnoted
        } else {
            Standing::Holds
        }
    }

    /// The same session, seen now.
    #[must_use]
    pub fn seen(&self, now: Timestamp) -> Self {
        Self { seen_at: now.max(self.seen_at), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    fn session() -> Session {
        Session::begin([7; 32], KeyId::from_bytes([1; 16]), 1, START)
    }

    #[test]
    fn it_ends_when_idle_or_when_its_time_is_over() {
        let table = [
            (0, Standing::Holds),
            (SESSION_NOTED_EVERY_S - 1, Standing::Holds),
            (SESSION_NOTED_EVERY_S, Standing::HoldsUnnoted),
            (SESSION_IDLE_S_MAX - 1, Standing::HoldsUnnoted),
            (SESSION_IDLE_S_MAX, Standing::Idle),
            (SESSION_LIFE_S_MAX, Standing::Over),
            (-30, Standing::Holds),
        ];
        for (after_s, standing) in table {
            assert_eq!(session().standing(START.plus_s(after_s)), standing, "after {after_s} s");
        }
    }

    #[test]
    fn being_seen_keeps_it_from_idling_and_not_from_its_end() {
        let mut session = session();
        let mut at = START;
        while session.standing(at) != Standing::Over {
            assert!(matches!(session.standing(at), Standing::Holds | Standing::HoldsUnnoted));
            session = session.seen(at);
            at = at.plus_s(SESSION_IDLE_S_MAX - 1);
        }
        assert!(at >= START.plus_s(SESSION_LIFE_S_MAX));
        assert_eq!(
            session.seen(START).standing(at),
            Standing::Over,
            "a clock that steps back revives nothing"
        );
    }
}
