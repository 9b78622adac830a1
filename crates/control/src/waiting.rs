//! What a reader asks who has seen something already, and waits for its change.

use keyward_domain::{Error, Result};
use keyward_guest::query::Query;
use keyward_guest::{Incoming, Response};
use keyward_service::WAIT_S_MAX;
use serde::Serialize;

/// The parameter that says how long to wait.
pub const WAIT_S: &str = "wait_s";

/// For how long a client waits, in seconds.
///
/// # Errors
/// A wait that is too long.
pub fn wait_s(query: &Query) -> Result<u32> {
    let expected = "0 to 30 seconds";
    match query.parsed::<u32>(WAIT_S, expected)?.unwrap_or(0) {
        wait_s if wait_s > WAIT_S_MAX => Err(Error::parameter(WAIT_S, "is too long", expected)),
        wait_s => Ok(wait_s),
    }
}

/// Answers with what `look` finds, given the tag that the client has and how long it waits; with 304 where it found nothing new.
///
/// # Errors
/// A wait that is too long, and those of `look`.
pub async fn changed<T: Serialize>(
    incoming: &Incoming,
    query: &Query,
    look: impl AsyncFnOnce(Option<u64>, u32) -> Result<Option<(T, u64)>>,
) -> Result<Response> {
    let wait_s = wait_s(query)?;
    let seen = incoming.if_none_match();
    match look(seen, wait_s).await? {
        Some((view, tag)) => Ok(Response::json(200, &view)?.with_revision(tag)),
        None => Ok(Response::empty(304).with_revision(seen.unwrap_or_default())),
    }
}
