//! `/v1/claims`: where the first token of a key leaves Keyward, signed, and that of every successor which an admin hands out.

use keyward_control::{Plane, fresh_or_replayed, signed};
use keyward_domain::event::Action;
use keyward_domain::{ClaimId, Result};
use keyward_guest::variables::Minting;
use keyward_guest::{Incoming, Response};

pub(crate) async fn take(plane: &Plane, minting: &Minting, incoming: &Incoming) -> Result<Response> {
    let response = plane
        .hold(incoming, Action::ClaimTaken, async |service, attempt| {
            let answer = service.take_claim(attempt, &incoming.json().await?).await?;
            Ok(fresh_or_replayed(200, &answer))
        })
        .await?;
    signed(plane, minting, incoming, response)
}

pub(crate) async fn show(plane: &Plane, id: ClaimId) -> Result<Response> {
    Response::json(200, &plane.service().claim(id).await?)
}
