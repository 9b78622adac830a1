//! `/v1/credentials`: which there are, and what is known of each but what it holds.

use keyward_control::{Plane, created, fresh_or_replayed};
use keyward_domain::credential::BODY_BYTES_MAX;
use keyward_domain::event::{Action, Target};
use keyward_domain::{ApplicationId, CredentialId, Result};
use keyward_guest::{Incoming, Response};
use keyward_service::{CredentialFilter, Page, Reason};

pub(crate) async fn create(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::CredentialCreated, Target::default(), async |service, attempt| {
            let answer = service.create_credential(attempt, incoming.json_of(BODY_BYTES_MAX).await?).await?;
            Ok(created(&answer))
        })
        .await
}

pub(crate) async fn import(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::CredentialCreated, Target::default(), async |service, attempt| {
            let asked = incoming.json_of(BODY_BYTES_MAX).await?;
            Ok(fresh_or_replayed(200, &service.import_credentials(attempt, asked).await?))
        })
        .await
}

pub(crate) async fn list(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::CredentialListed, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["application", "name", "tag", "state", "limit", "cursor"])?;
            let application = query.parsed::<ApplicationId>("application", "an application's id")?;
            let state = query.parsed("state", "`active`, `expiring`, `overdue`, `expired` or `retired`")?;
            let filter =
                CredentialFilter { application, name: query.one("name")?, tag: query.one("tag")?, state };
            let page = Page::parse(query.one("limit")?, query.one("cursor")?)?;
            Response::json(200, &service.credentials(attempt, &filter, &page).await?)
        })
        .await
}

pub(crate) async fn show(plane: &Plane, incoming: &Incoming, id: Result<CredentialId>) -> Result<Response> {
    plane
        .look(incoming, Action::CredentialListed, about(&id), async |service, attempt| {
            let view = service.credential(attempt, id?).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn change(plane: &Plane, incoming: &Incoming, id: Result<CredentialId>) -> Result<Response> {
    plane
        .change(incoming, Action::CredentialChanged, about(&id), async |service, attempt| {
            let (id, if_match) = (id?, incoming.if_match()?);
            let view = service.change_credential(attempt, id, incoming.json().await?, if_match).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn retire(plane: &Plane, incoming: &Incoming, id: Result<CredentialId>) -> Result<Response> {
    plane
        .change(incoming, Action::CredentialRetired, about(&id), async |service, attempt| {
            let id = id?;
            let Reason { reason } = incoming.json().await?;
            let view = service.retire_credential(attempt, id, &reason).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn reseal(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::RingResealed, Target::default(), async |service, attempt| {
            Response::json(200, &service.reseal_vault(attempt, &incoming.json().await?).await?)
        })
        .await
}

pub(crate) async fn ring(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::RingRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["cursor"])?;
            Response::json(200, &service.vault_ring(attempt, query.one("cursor")?).await?)
        })
        .await
}

pub(crate) fn about(id: &Result<CredentialId>) -> Target {
    Target::credential(id.as_ref().ok().copied())
}
