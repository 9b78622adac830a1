//! Rotation: how a successor takes the place of a key's version, by an admin's hand for one key or for many, or by its holder's, and what a holder sees of its
//! own key.
//!
//! A route, the use case behind it, its answer: nothing is decided here.

use keyward_control::{Plane, created, fresh_or_replayed, signed, waiting};
use keyward_domain::event::{Action, Target};
use keyward_domain::{ApplicationId, KeyId, Result};
use keyward_guest::variables::{self, Minting};
use keyward_guest::{Incoming, Params, Response, Route, route};
use keyward_service::{BulkRotation, Reason, RotateKey};

keyward_guest::serve!(handle);

#[derive(Clone, Copy)]
enum Op {
    Rotate,
    RotateMany,
    Finish,
    Cancel,
    ShowSelf,
    RenewSelf,
    ShowRoutes,
}

const ROUTES: &[Route<Op>] = &[
    Route::post("/v1/keys/{id}/rotate", Op::Rotate),
    Route::post("/v1/rotations/bulk", Op::RotateMany),
    Route::post("/v1/keys/{id}/rotation/finish", Op::Finish),
    Route::post("/v1/keys/{id}/rotation/cancel", Op::Cancel),
    Route::get("/v1/self", Op::ShowSelf),
    Route::post("/v1/self/renew", Op::RenewSelf),
    Route::get("/v1/routes/{id}", Op::ShowRoutes),
];

async fn handle(incoming: &Incoming) -> Response {
    route::serve(ROUTES, incoming, async |op, params| run(op, incoming, &params).await).await
}

async fn run(op: Op, incoming: &Incoming, params: &Params<'_>) -> Result<Response> {
    let minting = variables::minting().await?;
    let plane = Plane::open().await?.at(&minting.public_url);
    match op {
        Op::Rotate => rotate(&plane, incoming, params.id(0, "key")).await,
        Op::RotateMany => rotate_many(&plane, incoming).await,
        Op::Finish => finish(&plane, incoming, params.id(0, "key")).await,
        Op::Cancel => cancel(&plane, incoming, params.id(0, "key")).await,
        Op::ShowSelf => show_self(&plane, incoming).await,
        Op::RenewSelf => renew_self(&plane, &minting, incoming).await,
        Op::ShowRoutes => show_routes(&plane, incoming, params.id(0, "application")).await,
    }
}

async fn rotate(plane: &Plane, incoming: &Incoming, id: Result<KeyId>) -> Result<Response> {
    plane
        .change(incoming, Action::KeyRotated, about(&id), async |service, attempt| {
            let id = id?;
            let asked: RotateKey = incoming.json().await?;
            Ok(created(&service.rotate_key(attempt, id, &asked).await?))
        })
        .await
}

async fn rotate_many(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::KeyRotated, Target::default(), async |service, attempt| {
            let asked: BulkRotation = incoming.json().await?;
            Ok(fresh_or_replayed(200, &service.rotate_many(attempt, &asked).await?))
        })
        .await
}

async fn finish(plane: &Plane, incoming: &Incoming, id: Result<KeyId>) -> Result<Response> {
    plane
        .change(incoming, Action::RotationFinished, about(&id), async |service, attempt| {
            let id = id?;
            let Reason { reason } = incoming.json().await?;
            let view = service.finish_rotation(attempt, id, &reason).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

async fn cancel(plane: &Plane, incoming: &Incoming, id: Result<KeyId>) -> Result<Response> {
    plane
        .change(incoming, Action::RotationCancelled, about(&id), async |service, attempt| {
            let id = id?;
            let Reason { reason } = incoming.json().await?;
            let view = service.cancel_rotation(attempt, id, &reason).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}

async fn show_self(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    let verified = plane.present(incoming).await?;
    Response::json(200, &plane.service().self_view(&verified).await?)
}

async fn renew_self(plane: &Plane, minting: &Minting, incoming: &Incoming) -> Result<Response> {
    let response = plane
        .hold(incoming, Action::KeyRenewed, async |service, attempt| {
            Ok(fresh_or_replayed(200, &service.renew_key(attempt, &incoming.json().await?).await?))
        })
        .await?;
    signed(plane, minting, incoming, response)
}

async fn show_routes(plane: &Plane, incoming: &Incoming, id: Result<ApplicationId>) -> Result<Response> {
    let target = Target::application(id.as_ref().ok().copied());
    plane
        .look(incoming, Action::KeyRead, target, async |service, attempt| {
            let query = incoming.query()?;
            query.only(&[waiting::WAIT_S])?;
            let id = id?;
            let look = async |seen, wait_s| service.routing_table(attempt, id, seen, wait_s).await;
            waiting::changed(incoming, query, look).await
        })
        .await
}

fn about(id: &Result<KeyId>) -> Target {
    Target::key(id.as_ref().ok().copied())
}
