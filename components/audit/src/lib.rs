//! The log: as people look at it, as an auditor proves it, as it is reported on, and what is done to it from time to time; and how keys
//! are used. Nothing here changes an event.

mod events;
mod proofs;
mod reports;
mod rings;
mod usage;

use keyward_control::Plane;
use keyward_domain::Result;
use keyward_domain::event::{Action, Target};
use keyward_guest::{Incoming, Params, Response, Route, route};
use keyward_service::ShredRequest;

keyward_guest::serve!(handle);

#[derive(Clone, Copy)]
enum Op {
    List,
    Show,
    Checkpoint,
    Head,
    Tile,
    Inclusion,
    Consistency,
    State,
    Shred,
    Compliance,
    Credentials,
    KeyUsage,
    Metrics,
    Requests,
    Refusals,
    Rings,
    Reseal,
    Maintain,
}

const ROUTES: &[Route<Op>] = &[
    Route::get("/v1/audit/events", Op::List),
    Route::get("/v1/audit/events/{id}", Op::Show),
    Route::get("/v1/audit/checkpoint", Op::Checkpoint),
    Route::get("/v1/audit/head", Op::Head),
    Route::get("/v1/audit/tile/{tile...}", Op::Tile),
    Route::get("/v1/audit/proof/inclusion", Op::Inclusion),
    Route::get("/v1/audit/proof/consistency", Op::Consistency),
    Route::post("/v1/audit/state", Op::State),
    Route::post("/v1/audit/shred", Op::Shred),
    Route::get("/v1/reports/compliance", Op::Compliance),
    Route::get("/v1/reports/credentials", Op::Credentials),
    Route::get("/v1/keys/{id}/usage", Op::KeyUsage),
    Route::get("/v1/activity/requests", Op::Requests),
    Route::get("/v1/activity/refusals", Op::Refusals),
    Route::get("/metrics", Op::Metrics),
    Route::get("/v1/rings", Op::Rings),
    Route::post("/v1/rings/reseal", Op::Reseal),
    Route::post("/v1/maintenance/run", Op::Maintain),
];

async fn handle(incoming: &Incoming) -> Response {
    route::serve(ROUTES, incoming, async |op, params| run(op, incoming, &params).await).await
}

async fn run(op: Op, incoming: &Incoming, params: &Params<'_>) -> Result<Response> {
    let plane = Plane::open().await?;
    match op {
        Op::List => events::list(&plane, incoming).await,
        Op::Show => events::show(&plane, incoming, params.id(0, "event")).await,
        Op::Checkpoint => proofs::checkpoint(&plane, incoming).await,
        Op::Head => proofs::head(&plane, incoming).await,
        Op::Tile => proofs::tile(&plane, incoming, params.text(0)).await,
        Op::Inclusion => proofs::inclusion(&plane, incoming).await,
        Op::Consistency => proofs::consistency(&plane, incoming).await,
        Op::State => proofs::state(&plane, incoming).await,
        Op::Shred => shred(&plane, incoming).await,
        Op::Compliance => reports::compliance(&plane, incoming).await,
        Op::Credentials => reports::credentials(&plane, incoming).await,
        Op::KeyUsage => usage::of_key(&plane, incoming, params.id(0, "key")).await,
        Op::Requests => usage::requests(&plane, incoming).await,
        Op::Refusals => usage::refusals(&plane, incoming).await,
        Op::Metrics => usage::metrics(&plane, incoming).await,
        Op::Rings => rings::show(&plane, incoming).await,
        Op::Reseal => rings::reseal(&plane, incoming).await,
        Op::Maintain => maintain(&plane, incoming).await,
    }
}

async fn shred(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::AuditShredded, Target::default(), async |service, attempt| {
            let ShredRequest { before, reason } = incoming.json().await?;
            Response::json(200, &service.shred(attempt, &before, &reason).await?)
        })
        .await
}

async fn maintain(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::MaintenanceRun, Target::default(), async |service, attempt| {
            incoming.nothing().await?;
            let done = service.run_maintenance(attempt).await?;
            plane.tell_witness().await?;
            // Last: where that store is silent everything else is done.
            let usage = plane.usage_store();
            service.fold_use(&usage).await?;
            service.forget_ended_limits(&usage).await?;
            Response::json(200, &done)
        })
        .await
}
