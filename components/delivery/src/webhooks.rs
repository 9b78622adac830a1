//! `/v1/webhooks`: where events are told, and what could not be.

use keyward_control::{Plane, WasiSender, created, fresh_or_replayed};
use keyward_domain::event::{Action, Target};
use keyward_domain::webhook::Targets;
use keyward_domain::{Error, Result, WebhookId};
use keyward_guest::query::Query;
use keyward_guest::{Incoming, Response};
use keyward_service::{DeadLetterFilter, DropRequest, Page, Reason, ReplayRequest};
use std::str::FromStr;

pub(crate) async fn create(plane: &Plane, incoming: &Incoming, targets: Targets) -> Result<Response> {
    plane
        .change(incoming, Action::WebhookCreated, Target::default(), async |service, attempt| {
            let answer = service.create_webhook(attempt, incoming.json().await?, targets).await?;
            Ok(created(&answer))
        })
        .await
}

pub(crate) async fn list(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::WebhookRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["application", "limit", "cursor"])?;
            let application = id_of(query, "application", "an application's id")?;
            let page = Page::parse(query.one("limit")?, query.one("cursor")?)?;
            Response::json(200, &service.webhooks(attempt, application, &page).await?)
        })
        .await
}

pub(crate) async fn dead_letters(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::WebhookRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["webhook", "application", "limit", "cursor"])?;
            let filter = DeadLetterFilter {
                webhook: id_of(query, "webhook", "a webhook's id")?,
                application: id_of(query, "application", "an application's id")?,
            };
            let page = Page::parse(query.one("limit")?, query.one("cursor")?)?;
            Response::json(200, &service.dead_letters(attempt, &filter, &page).await?)
        })
        .await
}

pub(crate) async fn show(plane: &Plane, incoming: &Incoming, id: Result<WebhookId>) -> Result<Response> {
    plane
        .look(incoming, Action::WebhookRead, about(&id), async |service, attempt| {
            let view = service.webhook(attempt, id?).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn change(
    plane: &Plane,
    incoming: &Incoming,
    id: Result<WebhookId>,
    targets: Targets,
) -> Result<Response> {
    plane
        .change(incoming, Action::WebhookChanged, about(&id), async |service, attempt| {
            let (id, if_match) = (id?, incoming.if_match()?);
            let change = incoming.json().await?;
            let view = service.change_webhook(attempt, id, change, if_match, targets).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn rotate_secret(
    plane: &Plane,
    incoming: &Incoming,
    id: Result<WebhookId>,
) -> Result<Response> {
    plane
        .change(incoming, Action::WebhookSecretRotated, about(&id), async |service, attempt| {
            let id = id?;
            incoming.nothing().await?;
            Ok(fresh_or_replayed(200, &service.rotate_webhook_secret(attempt, id).await?))
        })
        .await
}

pub(crate) async fn test(
    plane: &Plane,
    incoming: &Incoming,
    id: Result<WebhookId>,
    targets: Targets,
) -> Result<Response> {
    plane
        .change(incoming, Action::WebhookTested, about(&id), async |service, attempt| {
            let id = id?;
            incoming.nothing().await?;
            Response::json(200, &service.test_webhook(attempt, id, &WasiSender, targets).await?)
        })
        .await
}

pub(crate) async fn retire(plane: &Plane, incoming: &Incoming, id: Result<WebhookId>) -> Result<Response> {
    plane
        .change(incoming, Action::WebhookRetired, about(&id), async |service, attempt| {
            let id = id?;
            let Reason { reason } = incoming.json().await?;
            let view = service.retire_webhook(attempt, id, &reason).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

pub(crate) async fn replay(plane: &Plane, incoming: &Incoming, id: Result<WebhookId>) -> Result<Response> {
    plane
        .change(incoming, Action::WebhookReplayed, about(&id), async |service, attempt| {
            let id = id?;
            let asked: ReplayRequest = incoming.json().await?;
            Response::json(200, &service.replay_dead_letters(attempt, id, &asked).await?)
        })
        .await
}

pub(crate) async fn drop(plane: &Plane, incoming: &Incoming, id: Result<WebhookId>) -> Result<Response> {
    plane
        .change(incoming, Action::WebhookDropped, about(&id), async |service, attempt| {
            let id = id?;
            let asked: DropRequest = incoming.json().await?;
            Response::json(200, &service.drop_dead_letters(attempt, id, &asked).await?)
        })
        .await
}

fn about(id: &Result<WebhookId>) -> Target {
    Target::webhook(id.as_ref().ok().copied())
}

fn id_of<T: FromStr>(query: &Query, name: &str, expected: &str) -> Result<Option<T>> {
    let parsed = query.one(name)?.map(str::parse).transpose();
    parsed.map_err(|_| Error::parameter(name, "is not valid", expected))
}
