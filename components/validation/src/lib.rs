//! May this token pass? Two faces: `/v1/authorize` for gateways, answered in headers alone, and `POST /v1/keys/verify`.
//!
//! INVARIANT: this component writes no record of state: it cannot reach the ledger. It moves the counters of limits, and keeps use after the
//! answer.

mod authorize;
mod key_check;
mod limits;
#[cfg(test)]
mod tests;
mod timed;
mod usage;

use keyward_guest::{Incoming, Response, Route, SpinKv, WasiClock, problem, route, variables};
use timed::Timed;

keyward_guest::serve!(handle);

const ROUTES: &[Route<()>] = &[Route::post("/v1/keys/verify", ())];

async fn handle(incoming: &Incoming) -> Response {
    // By hand: the hot path comes first, and takes every method and every path below it, since some gateways append theirs.
    match incoming.path().strip_prefix(authorize::PATH) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => gateway(incoming).await,
        _ => route::serve(ROUTES, incoming, async |(), _| key_check(incoming).await).await,
    }
}

async fn gateway(incoming: &Incoming) -> Response {
    let answer = async {
        let configured = variables::validation().await?;
        let (kv, trust) = (Timed::next(SpinKv::default(), WasiClock), (&*configured).into());
        let counters = limits::counters(&configured);
        let (response, counted) = authorize::answer(incoming, &kv, trust, &counters, &WasiClock).await?;
        limits::see_to(&configured);
        usage::count(counted, kv.reads_us(), &configured);
        Ok(response)
    };
    answer
        .await
        .unwrap_or_else(|error| problem::headers_alone(&error, incoming.id(), incoming.presents_credential()))
}

async fn key_check(incoming: &Incoming) -> keyward_domain::Result<Response> {
    let configured = variables::validation().await?;
    let (kv, trust) = (Timed::next(SpinKv::default(), WasiClock), (&*configured).into());
    let counters = limits::counters(&configured);
    let (response, counted) = key_check::answer(incoming, &kv, trust, &counters, &WasiClock).await?;
    limits::see_to(&configured);
    usage::count(counted, kv.reads_us(), &configured);
    Ok(response)
}
