//! How keys are used: `/v1/keys/{id}/usage`, `/v1/activity/requests`, `/v1/activity/refusals`; and how Keyward is: `/metrics`.

use keyward_control::{Plane, waiting};
use keyward_domain::event::{Action, Target};
use keyward_domain::{Error, KeyId, Result};
use keyward_guest::{Incoming, Response};
use keyward_service::{BucketLength, METRICS_MEDIA_TYPE, RefusalFilter, UsageQuery};

pub(crate) async fn of_key(plane: &Plane, incoming: &Incoming, id: Result<KeyId>) -> Result<Response> {
    let target = Target::key(id.as_ref().ok().copied());
    plane
        .look(incoming, Action::KeyRead, target, async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["from", "to", "by"])?;
            let by = |text| {
                BucketLength::parse(text)
                    .ok_or_else(|| Error::parameter("by", "is not valid", "`hour` or `day`"))
            };
            let asked = UsageQuery {
                from: query.time("from")?,
                to: query.time("to")?,
                by: query.one("by")?.map(by).transpose()?.unwrap_or_default(),
            };
            Response::json(200, &service.key_usage(attempt, id?, &asked, &plane.usage_store()).await?)
        })
        .await
}

pub(crate) async fn refusals(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::KeyRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["application", "since", waiting::WAIT_S])?;
            let filter = RefusalFilter {
                application: query.parsed("application", "an application's id")?,
                since: query.time("since")?,
            };
            let usage = plane.usage_store();
            let look = async |seen, wait_s| service.refusals(attempt, &filter, &usage, seen, wait_s).await;
            waiting::changed(incoming, query, look).await
        })
        .await
}

pub(crate) async fn requests(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::KeyRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["application", "from", "to"])?;
            let application = query.parsed("application", "an application's id")?;
            let (from, to, usage) = (query.time("from")?, query.time("to")?, plane.usage_store());
            Response::json(200, &service.requests(attempt, application, from, to, &usage).await?)
        })
        .await
}

pub(crate) async fn metrics(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::MetricsRead, Target::default(), async |service, attempt| {
            incoming.query()?.only(&[])?;
            let text = service.metrics(attempt, &plane.usage_store()).await?;
            Ok(Response::bytes(200, METRICS_MEDIA_TYPE, text.into_bytes()))
        })
        .await
}
