//! What an auditor needs who trusts nobody here: C2SP tlog-tiles below `/v1/audit/`, proofs, and digests of the state.

use keyward_control::Plane;
use keyward_crypto::tree::TilePath;
use keyward_domain::event::{Action, EventId, Target};
use keyward_domain::{Error, Result};
use keyward_guest::query::Query;
use keyward_guest::{Incoming, Response};

const WHICH_EPOCH: &str = "the number of an epoch of the log";
const WHICH_SIZE: &str = "a number of entries";

pub(crate) async fn checkpoint(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    look(plane, incoming, &["epoch"], async |service, attempt, query| {
        let note = service.audit_checkpoint(attempt, query.parsed("epoch", WHICH_EPOCH)?).await?;
        Ok(Response::bytes(200, "text/plain; charset=utf-8", note.into_bytes()))
    })
    .await
}

pub(crate) async fn head(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    look(plane, incoming, &["epoch"], async |service, attempt, query| {
        let epoch = query.parsed("epoch", WHICH_EPOCH)?;
        Response::json(200, &service.audit_head(attempt, epoch).await?)
    })
    .await
}

pub(crate) async fn tile(plane: &Plane, incoming: &Incoming, path: &str) -> Result<Response> {
    look(plane, incoming, &["epoch"], async |service, attempt, query| {
        let epoch = query.parsed("epoch", WHICH_EPOCH)?;
        // Clients made of the OpenAPI document write the slashes of a parameter percent-encoded.
        let path = path.replace("%2F", "/").replace("%2f", "/");
        let path = TilePath::parse(&path).ok_or_else(|| Error::not_found("tile"))?;
        let tile = service.audit_tile(attempt, epoch, &path).await?;
        Ok(Response::bytes(200, "application/octet-stream", tile))
    })
    .await
}

pub(crate) async fn inclusion(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    look(plane, incoming, &["event", "size"], async |service, attempt, query| {
        let event: EventId = needed(query.parsed("event", "an event's id")?, "event", "an event's id")?;
        let size = query.parsed("size", WHICH_SIZE)?;
        Response::json(200, &service.audit_inclusion(attempt, event, size).await?)
    })
    .await
}

pub(crate) async fn consistency(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    look(plane, incoming, &["epoch", "from", "size"], async |service, attempt, query| {
        let epoch = query.parsed("epoch", WHICH_EPOCH)?;
        let from: u64 = needed(query.parsed("from", WHICH_SIZE)?, "from", WHICH_SIZE)?;
        let size = query.parsed("size", WHICH_SIZE)?;
        Response::json(200, &service.audit_consistency(attempt, epoch, from, size).await?)
    })
    .await
}

pub(crate) async fn state(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    look(plane, incoming, &[], async |service, attempt, _| {
        let query = incoming.json().await?;
        Response::json(200, &service.audit_state(attempt, &query).await?)
    })
    .await
}

async fn look(
    plane: &Plane,
    incoming: &Incoming,
    parameters: &[&str],
    work: impl AsyncFnOnce(
        &keyward_control::PlaneService<'_>,
        &keyward_service::Attempt,
        &Query,
    ) -> Result<Response>,
) -> Result<Response> {
    plane
        .look(incoming, Action::AuditRead, Target::default(), async |service, attempt| {
            let query = incoming.query()?;
            query.only(parameters)?;
            work(service, attempt, query).await
        })
        .await
}

fn needed<T>(value: Option<T>, name: &str, expected: &str) -> Result<T> {
    value.ok_or_else(|| Error::parameter(name, "is missing", expected))
}
