//! Rotation of credentials by their providers, on the wire: who they are, when it begins, how it goes on.

use crate::credentials::about;
use keyward_control::{Plane, WasiSender, fresh_or_replayed};
use keyward_domain::event::{Action, Target};
use keyward_domain::webhook::Targets;
use keyward_domain::{CredentialId, Result};
use keyward_guest::variables::Outbound;
use keyward_guest::{Incoming, Response};
use keyward_service::Reason;

pub(crate) async fn set(
    plane: &Plane,
    incoming: &Incoming,
    id: Result<CredentialId>,
    targets: Targets,
) -> Result<Response> {
    plane
        .change(incoming, Action::CredentialProviderSet, about(&id), async |service, attempt| {
            let (id, new) = (id?, incoming.json().await?);
            let made = service.set_credential_provider(attempt, id, new, targets).await?;
            Ok(fresh_or_replayed(200, &made))
        })
        .await
}

pub(crate) async fn remove(plane: &Plane, incoming: &Incoming, id: Result<CredentialId>) -> Result<Response> {
    plane
        .change(incoming, Action::CredentialProviderRemoved, about(&id), async |service, attempt| {
            let id = id?;
            let Reason { reason } = incoming.json().await?;
            let view = service.remove_credential_provider(attempt, id, &reason).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn rotate(plane: &Plane, incoming: &Incoming, id: Result<CredentialId>) -> Result<Response> {
    plane
        .change(incoming, Action::CredentialRotationBegun, about(&id), async |service, attempt| {
            let id = id?;
            let Reason { reason } = incoming.json().await?;
            let view = service.rotate_credential(attempt, id, &reason).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn cancel(plane: &Plane, incoming: &Incoming, id: Result<CredentialId>) -> Result<Response> {
    plane
        .change(incoming, Action::CredentialRotationCancelled, about(&id), async |service, attempt| {
            let id = id?;
            let Reason { reason } = incoming.json().await?;
            let view = service.cancel_credential_rotation(attempt, id, &reason).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn run(plane: &Plane, incoming: &Incoming, settings: &Outbound) -> Result<Response> {
    let targets = settings.targets;
    let work = async |plane: &Plane| {
        Response::json(200, &plane.service().go_on_with_rotations(&WasiSender, targets).await?)
    };
    if let Some(done) = plane.maintain(incoming, settings, work).await? {
        return Ok(done);
    }
    plane
        .change(incoming, Action::CredentialRotationsRun, Target::default(), async |service, attempt| {
            incoming.nothing().await?;
            Response::json(200, &service.run_credential_rotations(attempt, &WasiSender, targets).await?)
        })
        .await
}
