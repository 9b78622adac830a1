//! `/v1/reports/...`: how keys stand against their policies, and how credentials stand.

use keyward_control::Plane;
use keyward_domain::Result;
use keyward_domain::event::{Action, Target};
use keyward_guest::{Incoming, Response};
use keyward_service::{ComplianceQuery, Page};

pub(crate) async fn compliance(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::AuditRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["application", "since", "limit", "cursor"])?;
            let asked = ComplianceQuery {
                application: query.parsed("application", "an application's id")?,
                since: query.time("since")?,
            };
            let page = Page::parse(query.one("limit")?, query.one("cursor")?)?;
            Response::json(200, &service.compliance(attempt, &asked, &page).await?)
        })
        .await
}

pub(crate) async fn credentials(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::AuditRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(&["application", "limit", "cursor"])?;
            let application = query.parsed("application", "an application's id")?;
            let page = Page::parse(query.one("limit")?, query.one("cursor")?)?;
            Response::json(200, &service.credential_report(attempt, application, &page).await?)
        })
        .await
}
