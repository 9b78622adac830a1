//! `/v1/keys` and what lies below one key, but for its revocation.

use keyward_control::{Plane, created};
use keyward_domain::event::{Action, Target};
use keyward_domain::{ApplicationId, Error, KeyId, Result};
use keyward_guest::{Incoming, Response};
use keyward_service::Page;

pub(crate) async fn issue(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::KeyIssued, Target::default(), async |service, attempt| {
            let answer = service.issue_key(attempt, incoming.json().await?).await?;
            Ok(created(&answer))
        })
        .await
}

pub(crate) async fn list(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::KeyRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["application", "tag", "limit", "cursor"])?;
            let page = Page::parse(query.one("limit")?, query.one("cursor")?)?;
            let application = query
                .parsed::<ApplicationId>("application", "an application's id")?
                .ok_or_else(|| Error::parameter("application", "is missing", "an application's id"))?;
            Response::json(200, &service.keys(attempt, application, query.one("tag")?, &page).await?)
        })
        .await
}

pub(crate) async fn show(plane: &Plane, incoming: &Incoming, id: Result<KeyId>) -> Result<Response> {
    plane
        .look(incoming, Action::KeyRead, about(&id), async |service, attempt| {
            let view = service.key(attempt, id?).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn change(plane: &Plane, incoming: &Incoming, id: Result<KeyId>) -> Result<Response> {
    plane
        .change(incoming, Action::KeyChanged, about(&id), async |service, attempt| {
            let (id, if_match) = (id?, incoming.if_match()?);
            let view = service.change_key(attempt, id, incoming.json().await?, if_match).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn reissue(plane: &Plane, incoming: &Incoming, id: Result<KeyId>) -> Result<Response> {
    plane
        .change(incoming, Action::ClaimReissued, about(&id), async |service, attempt| {
            let id = id?;
            incoming.nothing().await?;
            let answer = service.reissue_claim(attempt, id).await?;
            Ok(created(&answer))
        })
        .await
}

fn about(id: &Result<KeyId>) -> Target {
    Target::key(id.as_ref().ok().copied())
}
