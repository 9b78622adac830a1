//! `/v1/roles`: bundles of scopes of administration.

use keyward_control::{Plane, created};
use keyward_domain::event::{Action, Target};
use keyward_domain::{Result, RoleId};
use keyward_guest::{Incoming, Response};
use keyward_service::{Page, Reason};

pub(crate) async fn create(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::RoleCreated, Target::default(), async |service, attempt| {
            let answer = service.create_role(attempt, incoming.json().await?).await?;
            Ok(created(&answer))
        })
        .await
}

pub(crate) async fn list(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::RoleRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["limit", "cursor"])?;
            let page = Page::parse(query.one("limit")?, query.one("cursor")?)?;
            Response::json(200, &service.roles(attempt, &page).await?)
        })
        .await
}

pub(crate) async fn show(plane: &Plane, incoming: &Incoming, id: Result<RoleId>) -> Result<Response> {
    plane
        .look(incoming, Action::RoleRead, about(&id), async |service, attempt| {
            let view = service.role(attempt, id?).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn change(plane: &Plane, incoming: &Incoming, id: Result<RoleId>) -> Result<Response> {
    plane
        .change(incoming, Action::RoleChanged, about(&id), async |service, attempt| {
            let (id, if_match) = (id?, incoming.if_match()?);
            let view = service.change_role(attempt, id, incoming.json().await?, if_match).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn retire(plane: &Plane, incoming: &Incoming, id: Result<RoleId>) -> Result<Response> {
    plane
        .change(incoming, Action::RoleRetired, about(&id), async |service, attempt| {
            let id = id?;
            let Reason { reason } = incoming.json().await?;
            let view = service.retire_role(attempt, id, &reason).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

fn about(id: &Result<RoleId>) -> Target {
    Target::role(id.as_ref().ok().copied())
}
