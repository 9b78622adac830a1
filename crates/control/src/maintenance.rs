//! What is due and asked for by whoever runs Keyward, every few seconds: with a token that opens nothing else. It is no caller's deed, so
//! it is no event, as a tick of the scheduler is none.

use crate::plane::Plane;
use keyward_crypto::SecretText;
use keyward_domain::Result;
use keyward_guest::variables::Outbound;
use keyward_guest::{Incoming, Response};

impl Plane {
    /// Does what is due where a request presents the token for that; nothing where it does not.
    ///
    /// # Errors
    /// A body that is given; those of `work`.
    pub async fn maintain(
        &self,
        incoming: &Incoming,
        settings: &Outbound,
        work: impl AsyncFnOnce(&Self) -> Result<Response>,
    ) -> Result<Option<Response>> {
        if !presents(incoming, settings.maintenance_token.as_ref()) {
            return Ok(None);
        }
        incoming.nothing().await?;
        self.ask_witness().await;
        work(self).await.map(Some)
    }
}

/// Whether a request presents this token. Compared by digests, so that the time it takes says nothing.
fn presents(incoming: &Incoming, token: Option<&SecretText>) -> bool {
    let (Some(token), Ok(Some(presented))) = (token, incoming.credential()) else { return false };
    let digest = |text: &SecretText| keyward_crypto::digest::sha256(text.expose().as_bytes());
    digest(token) == digest(&presented)
}
