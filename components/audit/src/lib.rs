//! The log as people look at it. It reads; what it writes are projections of the log, never the log.

use keyward_control::Plane;
use keyward_domain::event::{Action, EventId, Target};
use keyward_domain::{Error, Result, Timestamp};
use keyward_guest::query::Query;
use keyward_guest::{Incoming, Params, Response, Route, route};
use keyward_service::{EventFilter, Page};

keyward_guest::serve!(handle);

#[derive(Clone, Copy)]
enum Op {
    List,
    Show,
}

const ROUTES: &[Route<Op>] =
    &[Route::get("/v1/audit/events", Op::List), Route::get("/v1/audit/events/{id}", Op::Show)];

async fn handle(incoming: &Incoming) -> Response {
    route::serve(ROUTES, incoming, async |op, params| run(op, incoming, &params).await).await
}

async fn run(op: Op, incoming: &Incoming, params: &Params<'_>) -> Result<Response> {
    let plane = Plane::open().await?;
    match op {
        Op::List => list(&plane, incoming).await,
        Op::Show => show(&plane, incoming, params.id(0, "event")).await,
    }
}

async fn list(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::AuditRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            let page = Page::parse(query.one("limit")?, query.one("cursor")?)?;
            Response::json(200, &service.audit_events(attempt, &filter(query)?, &page).await?)
        })
        .await
}

async fn show(plane: &Plane, incoming: &Incoming, id: Result<EventId>) -> Result<Response> {
    plane
        .look(incoming, Action::AuditRead, Target::default(), async |service, attempt| {
            Response::json(200, &service.audit_event(attempt, id?).await?)
        })
        .await
}

fn filter(query: &Query) -> Result<EventFilter> {
    query.only(&["application", "key", "actor", "action", "since", "until", "limit", "cursor"])?;
    Ok(EventFilter {
        application: query.parsed("application", "an application's id")?,
        key: query.parsed("key", "a key's id")?,
        actor: query.parsed("actor", "the id of the key that acted")?,
        action: action(query)?,
        since: time(query, "since")?,
        until: time(query, "until")?,
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

fn time(query: &Query, name: &str) -> Result<Option<Timestamp>> {
    let Some(text) = query.one(name)? else { return Ok(None) };
    Timestamp::parse(text)
        .map(Some)
        .ok_or_else(|| Error::parameter(name, "is not valid", "a time such as `2026-01-31T08:00:00Z`"))
}
