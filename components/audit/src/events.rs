//! `/v1/audit/events`: the log as people look at it.

use keyward_control::Plane;
use keyward_domain::event::{Action, EventId, Target};
use keyward_domain::{Error, Result};
use keyward_guest::query::Query;
use keyward_guest::{Incoming, Response};
use keyward_service::{EventFilter, Page};

/// The most events of one answer where they are asked for in the order of the log.
const ASCENDING_MAX: usize = 1000;

pub(crate) async fn list(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::AuditRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            let filter = filter(query)?;
            let found = match after(query)? {
                Some(after) => {
                    if query.one("cursor")?.is_some() {
                        return Err(Error::parameter("cursor", "stands beside `after`", "one of the two"));
                    }
                    service.audit_events_after(attempt, &filter, after, ascending_limit(query)?).await?
                }
                None => {
                    let page = Page::parse(query.one("limit")?, query.one("cursor")?)?;
                    service.audit_events(attempt, &filter, &page).await?
                }
            };
            Response::json(200, &found)
        })
        .await
}

fn after(query: &Query) -> Result<Option<EventId>> {
    let expected = "an event's id, or `evt_1_0` for the beginning";
    let place =
        |text| EventId::place(text).ok_or_else(|| Error::parameter("after", "is not valid", expected));
    query.one("after")?.map(place).transpose()
}

fn ascending_limit(query: &Query) -> Result<usize> {
    let expected = "a whole number from 1 to 1000";
    match query.parsed::<usize>("limit", expected)? {
        None => Ok(Page::LIMIT_DEFAULT),
        Some(limit) if (1..=ASCENDING_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(Error::parameter("limit", "is out of range", expected)),
    }
}

pub(crate) async fn show(plane: &Plane, incoming: &Incoming, id: Result<EventId>) -> Result<Response> {
    plane
        .look(incoming, Action::AuditRead, Target::default(), async |service, attempt| {
            Response::json(200, &service.audit_event(attempt, id?).await?)
        })
        .await
}

fn filter(query: &Query) -> Result<EventFilter> {
    query.only(&[
        "application",
        "key",
        "credential",
        "actor",
        "action",
        "since",
        "until",
        "limit",
        "cursor",
        "after",
    ])?;
    Ok(EventFilter {
        application: query.parsed("application", "an application's id")?,
        key: query.parsed("key", "a key's id")?,
        credential: query.parsed("credential", "a credential's id")?,
        actor: query.parsed("actor", "the id of the key that acted")?,
        action: action(query)?,
        since: query.time("since")?,
        until: query.time("until")?,
    })
}

fn action(query: &Query) -> Result<Option<Action>> {
    let names = || Action::ALL.iter().map(|action| action.as_str()).collect::<Vec<_>>().join(", ");
    query
        .one("action")?
        .map(str::parse)
        .transpose()
        .map_err(|()| Error::parameter("action", "is not known", &format!("one of {}", names())))
}
