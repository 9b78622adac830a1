//! Sessions as browsers carry them: sealed into a cookie, with a token that every form of theirs repeats. A session says who presented
//! which key; whether that key still passes is asked anew on every request.

use crate::plane::{Admitted, Plane};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_crypto::digest::equal;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::session::{Session, Standing};
use keyward_domain::{Error, Result};
use keyward_guest::Incoming;
use keyward_guest::admin::authenticate_again;
use keyward_records::{names, open, seal};

/// What a form's token is a digest for, beside what it is made of. No key of a store.
const FORM_TOKEN: &str = "form";

/// Why a browser's session is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSession {
    /// It brought none, or none that is ours.
    Absent,
    /// It stood idle for too long.
    Idle,
    /// Its time is over.
    Over,
    /// Whoever opened it has signed out.
    Closed,
}

impl Plane {
    /// The session in a cookie's value, as far as the clock is concerned.
    ///
    /// # Errors
    /// Why there is none. One that does not open is none, whatever the reason: whoever has it signs in again.
    pub fn session_of(&self, cookie: Option<&str>) -> Result<Session, NoSession> {
        let sealed = cookie.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(NoSession::Absent)?;
        let session: Session =
            open(self.trust().records, names::SESSION_COOKIE, &sealed).map_err(|_| NoSession::Absent)?;
        match session.standing(self.clock().now()) {
            Standing::Holds | Standing::HoldsUnnoted => Ok(session),
            Standing::Idle => Err(NoSession::Idle),
            Standing::Over => Err(NoSession::Over),
        }
    }

    /// The cookie's value for a session, where it is time to hand out another: it is noted in it that the session was seen now.
    ///
    /// # Errors
    /// [`keyward_domain::Code::Internal`] where it is too long to be sealed, which it never is.
    pub fn note_seen(&self, session: &Session) -> Result<Option<String>> {
        let now = self.clock().now();
        match session.standing(now) {
            Standing::HoldsUnnoted => self.seal_session(&session.seen(now)).map(Some),
            _ => Ok(None),
        }
    }

    /// The cookie's value for a session.
    ///
    /// # Errors
    /// As [`Self::note_seen`].
    pub fn seal_session(&self, session: &Session) -> Result<String> {
        let sealed = seal(self.trust().records, session, self.rng().bytes());
        sealed
            .map(|sealed| URL_SAFE_NO_PAD.encode(sealed))
            .map_err(|_| Error::internal("a session is too long to be sealed"))
    }

    /// Lets in whoever opened a session, as far as their key still passes and they have not signed out.
    ///
    /// # Errors
    /// Those of the store; [`keyward_domain::Code::Unauthenticated`] where the key does not pass any more, with the reason.
    pub async fn admit_again(
        &self,
        incoming: &Incoming,
        session: &Session,
    ) -> Result<Result<Admitted<'_>, NoSession>> {
        let authentication = authenticate_again(session, incoming, self.kv(), self.trust(), self.clock());
        let service = self.service();
        let (closed, admin, ()) =
            futures::join!(service.is_closed(session), authentication, self.ask_witness());
        if closed? {
            return Ok(Err(NoSession::Closed));
        }
        Ok(Ok(self.admit_as(incoming, admin?)))
    }

    /// 32 random bytes as text.
    pub fn random_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.rng().bytes::<32>())
    }

    /// The token that forms repeat which are made for whoever holds `secret`, such as a session's id.
    pub fn form_token(&self, secret: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.trust().records.keyed_digest(FORM_TOKEN, secret))
    }

    /// Whether a form brought that token, made under whichever version of the ring. Takes the same time wherever they differ.
    pub fn is_form_token(&self, secret: &[u8], token: &str) -> bool {
        let Some(token) =
            URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        else {
            return false;
        };
        let records = self.trust().records;
        let digest = |version| records.keyed_digest_under(version, FORM_TOKEN, secret).ok();
        records.versions().filter_map(digest).any(|digest| equal(&digest, &token))
    }
}
