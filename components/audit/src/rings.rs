//! `/v1/rings`: which versions there are, what is sealed under each, and sealing anew. Never a key.

use keyward_control::Plane;
use keyward_domain::Result;
use keyward_domain::event::{Action, Target};
use keyward_guest::{Incoming, Response};

pub(crate) async fn show(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::RingRead, Target::default(), async |service, attempt| {
            incoming.query()?.only(&[])?;
            Response::json(200, &service.rings(attempt).await?)
        })
        .await
}

pub(crate) async fn reseal(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::RingResealed, Target::default(), async |service, attempt| {
            let request = incoming.json().await?;
            Response::json(200, &service.reseal_step(attempt, &request).await?)
        })
        .await
}
