//! For how long a credential that was read may be gone on with. No I/O and no clock: the time comes in as an argument.

use crate::Credential;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a credential that is kept stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its lease runs: nobody needs to be asked.
    Fresh,
    /// Its lease is over: it is to be asked for again, and gone on with where nobody answers.
    Due,
    /// Nobody has answered for so long that it may not be gone on with.
    Over,
}

/// A credential, and since when it holds.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) credential: Arc<Credential>,
    /// When Keyward was asked that last said that it holds: counted from the question, so that a slow answer makes no lease longer.
    confirmed: Instant,
}

impl Kept {
    /// One that was asked for at this time.
    pub(crate) fn new(credential: Arc<Credential>, asked: Instant) -> Self {
        Self { credential, confirmed: asked }
    }

    /// How long ago, at this time, Keyward was asked that last said that it holds.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.confirmed)
    }

    /// How it stands at this time.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        let age = self.age(now);
        if age < self.credential.lease() {
            Standing::Fresh
        } else if age < self.credential.lease().max(self.credential.outage()) {
            Standing::Due
        } else {
            Standing::Over
        }
    }

    /// Keyward, asked at this time, said that it still holds.
    pub(crate) fn confirm(&mut self, asked: Instant) {
        self.confirmed = self.confirmed.max(asked);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

    use super::*;

    fn kept(lease_s: u32, outage_s: u32, asked: Instant) -> Kept {
        let json = format!(
            r#"{{"id":"crd_1","name":"db","kind":"basic","version":1,"revision":3,"lease_s":{lease_s},"outage_s":{outage_s},"value":{{"password":"p"}}}}"#
        );
        Kept::new(Arc::new(serde_json::from_str(&json).unwrap()), asked)
    }

    #[test]
    fn a_lease_runs_out_then_the_patience_with_an_outage() {
        let begun = Instant::now();
        let at = |s: u64| begun + Duration::from_secs(s);
        let mut one = kept(10, 60, begun);
        let table = [
            (0, Standing::Fresh),
            (9, Standing::Fresh),
            (10, Standing::Due),
            (59, Standing::Due),
            (60, Standing::Over),
        ];
        for (s, expected) in table {
            assert_eq!(one.standing(at(s)), expected, "after {s} s");
        }
        one.confirm(at(50));
        assert_eq!(one.standing(at(59)), Standing::Fresh);
        assert_eq!(one.standing(at(109)), Standing::Due);
        one.confirm(at(20));
        assert_eq!(one.standing(at(59)), Standing::Fresh, "an answer that came late takes nothing back");
        assert_eq!(kept(60, 0, begun).standing(at(59)), Standing::Fresh, "a lease holds whatever the outage");
        assert_eq!(kept(60, 0, begun).standing(at(60)), Standing::Over);
    }
}
