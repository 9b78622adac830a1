//! `/v1/policies`: how often keys rotate, and what becomes of those that do not keep to it.

use keyward_control::{Plane, created};
use keyward_domain::event::{Action, Target};
use keyward_domain::{PolicyId, Result};
use keyward_guest::{Incoming, Response};
use keyward_service::{Page, Reason};

pub(crate) async fn create(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::PolicyCreated, Target::default(), async |service, attempt| {
            let answer = service.create_policy(attempt, incoming.json().await?).await?;
            Ok(created(&answer))
        })
        .await
}

pub(crate) async fn list(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::PolicyRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["limit", "cursor"])?;
            let page = Page::parse(query.one("limit")?, query.one("cursor")?)?;
            Response::json(200, &service.policies(attempt, &page).await?)
        })
        .await
}

pub(crate) async fn presets(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::PolicyRead, Target::default(), async |service, attempt| {
            incoming.query()?.only(&[])?;
            Response::json(200, &service.policy_presets(attempt)?)
        })
        .await
}

pub(crate) async fn show(plane: &Plane, incoming: &Incoming, id: Result<PolicyId>) -> Result<Response> {
    plane
        .look(incoming, Action::PolicyRead, about(&id), async |service, attempt| {
            let view = service.policy(attempt, id?).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn change(plane: &Plane, incoming: &Incoming, id: Result<PolicyId>) -> Result<Response> {
    plane
        .change(incoming, Action::PolicyChanged, about(&id), async |service, attempt| {
            let (id, if_match) = (id?, incoming.if_match()?);
            let view = service.change_policy(attempt, id, incoming.json().await?, if_match).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn retire(plane: &Plane, incoming: &Incoming, id: Result<PolicyId>) -> Result<Response> {
    plane
        .change(incoming, Action::PolicyRetired, about(&id), async |service, attempt| {
            let id = id?;
            let Reason { reason } = incoming.json().await?;
            let view = service.retire_policy(attempt, id, &reason).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

fn about(id: &Result<PolicyId>) -> Target {
    Target::policy(id.as_ref().ok().copied())
}
