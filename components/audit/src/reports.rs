//! `/v1/reports/compliance`: how keys stand against their policies.

use keyward_control::Plane;
use keyward_domain::event::{Action, Target};
use keyward_domain::{Error, Result, Timestamp};
use keyward_guest::{Incoming, Response};
use keyward_service::{ComplianceQuery, Page};

pub(crate) async fn compliance(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::AuditRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["application", "since", "limit", "cursor"])?;
            let since = |text: &str| {
                let expected = "a time such as `2026-01-31T08:00:00Z`";
                Timestamp::parse(text).ok_or_else(|| Error::parameter("since", "is not valid", expected))
            };
            let asked = ComplianceQuery {
                application: query.parsed("application", "an application's id")?,
                since: query.one("since")?.map(since).transpose()?,
            };
            let page = Page::parse(query.one("limit")?, query.one("cursor")?)?;
            Response::json(200, &service.compliance(attempt, &asked, &page).await?)
        })
        .await
}
