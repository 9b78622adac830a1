//! `/v1/keys` and what lies below one key, but for its revocation.

use keyward_control::{Plane, created, fresh_or_replayed};
use keyward_domain::event::{Action, Target};
use keyward_domain::standing::Standing;
use keyward_domain::{ApplicationId, Error, KeyId, Result};
use keyward_guest::{Incoming, Response};
use keyward_service::{KeyFilter, Order, Page};

pub(crate) async fn issue(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::KeyIssued, Target::default(), async |service, attempt| {
            let answer = service.issue_key(attempt, incoming.json().await?).await?;
            Ok(created(&answer))
        })
        .await
}

pub(crate) async fn import(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::KeyImported, Target::default(), async |service, attempt| {
            let answer = service.import_keys(attempt, &incoming.json().await?).await?;
            Ok(fresh_or_replayed(200, &answer))
        })
        .await
}

pub(crate) async fn list(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::KeyRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["application", "tag", "standing", "name", "order", "limit", "cursor"])?;
            let page = Page::parse(query.one("limit")?, query.one("cursor")?)?;
            let filter = KeyFilter {
                application: query.parsed("application", "an application's id")?,
                tag: query.one("tag")?,
                standing: standing(query.one("standing")?)?,
                name: query.one("name")?,
                order: order(query.one("order")?)?,
            };
            Response::json(200, &service.keys(attempt, &filter, &page).await?)
        })
        .await
}

fn standing(text: Option<&str>) -> Result<Option<Standing>> {
    let known = |text| {
        Standing::from_text(text).ok_or_else(|| {
            let all = Standing::ALL.map(Standing::as_str).join(", ");
            Error::parameter("standing", "is not known", &format!("one of {all}"))
        })
    };
    text.map(known).transpose()
}

fn order(text: Option<&str>) -> Result<Order> {
    let known = |text| {
        Order::from_text(text)
            .ok_or_else(|| Error::parameter("order", "is not known", "`newest` or `oldest`"))
    };
    Ok(text.map(known).transpose()?.unwrap_or_default())
}

pub(crate) async fn standings(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::KeyRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["application"])?;
            let application = query.parsed::<ApplicationId>("application", "an application's id")?;
            Response::json(200, &service.standings(attempt, application).await?)
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
