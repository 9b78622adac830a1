//! Signing in to the dashboard and out of it. Both are in the log; what lies between them is asked of the key, on every request.

use crate::attempt::Attempt;
use crate::service::Service;
use keyward_domain::event::Outcome;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::session::Session;
use keyward_domain::{ApplicationId, KeyId, Result};
use keyward_ledger::KvWrite;
use keyward_records::{KvCount, KvRead};

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Opens a session for whoever has just presented this version of a key of `keyward`.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn open_session(&self, attempt: &Attempt, key: KeyId, version: u16) -> Result<Session> {
        attempt.aim(Some(ApplicationId::KEYWARD), Some(key));
        let session = Session::begin(self.rng.bytes(), key, version, self.clock.now());
        let draft = attempt.draft(Outcome::Done, None, None);
        self.commit(attempt, vec![draft], |_, _| Ok(session)).await
    }

    /// Ends a session, for good and wherever its cookie lies.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn close_session(&self, attempt: &Attempt, session: &Session) -> Result<()> {
        attempt.aim(Some(ApplicationId::KEYWARD), Some(session.key));
        let draft = attempt.draft(Outcome::Done, None, None);
        self.commit(attempt, vec![draft], |tickets, writes| {
            writes.session_closed(session, tickets.event(0));
            Ok(())
        })
        .await
    }

    /// Whether whoever opened a session has signed out of it.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn is_closed(&self, session: &Session) -> Result<bool> {
        self.read().session_closed(session).await
    }
}
