//! `/v1/applications`.

use keyward_control::{Plane, created};
use keyward_domain::event::{Action, Target};
use keyward_domain::{ApplicationId, Result};
use keyward_guest::{Incoming, Response};
use keyward_service::Page;

pub(crate) async fn create(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::ApplicationCreated, Target::default(), async |service, attempt| {
            let answer = service.create_application(attempt, incoming.json().await?).await?;
            Ok(created(&answer))
        })
        .await
}

pub(crate) async fn list(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::ApplicationRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["limit", "cursor"])?;
            let page = Page::parse(query.one("limit")?, query.one("cursor")?)?;
            Response::json(200, &service.applications(attempt, &page).await?)
        })
        .await
}

pub(crate) async fn show(plane: &Plane, incoming: &Incoming, id: Result<ApplicationId>) -> Result<Response> {
    let target = Target::application(id.as_ref().ok().copied());
    plane
        .look(incoming, Action::ApplicationRead, target, async |service, attempt| {
            let view = service.application(attempt, id?).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn change(
    plane: &Plane,
    incoming: &Incoming,
    id: Result<ApplicationId>,
) -> Result<Response> {
    let target = Target::application(id.as_ref().ok().copied());
    plane
        .change(incoming, Action::ApplicationChanged, target, async |service, attempt| {
            let (id, if_match) = (id?, incoming.if_match()?);
            let view = service.change_application(attempt, id, incoming.json().await?, if_match).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}
