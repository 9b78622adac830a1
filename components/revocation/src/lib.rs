//! How a key ends: one key, all keys of an application, those that an emergency asks for, or the token that somebody found; and whose a token in hand is. What stops
//! issuing is here as well, apart from what issues: it holds no signing key, and works however busy the other is.

mod leaks;

use keyward_control::{Plane, fresh_or_replayed};
use keyward_domain::event::{Action, Target};
use keyward_domain::{ApplicationId, KeyId, Result};
use keyward_guest::{Incoming, Params, Response, Route, route};
use keyward_service::{BulkRevocation, Presented, Reason};

keyward_guest::serve!(handle);

#[derive(Clone, Copy)]
enum Op {
    RevokeKey,
    RevokeApplication,
    RevokeMany,
    Report,
    ReportLeaks,
    LookUp,
    ShowEmergency,
    Freeze,
    Thaw,
}

const ROUTES: &[Route<Op>] = &[
    Route::post("/v1/keys/{id}/revoke", Op::RevokeKey),
    Route::post("/v1/applications/{id}/revoke", Op::RevokeApplication),
    Route::post("/v1/revocations", Op::Report),
    Route::post("/v1/revocations/bulk", Op::RevokeMany),
    Route::post("/v1/leaks", Op::ReportLeaks),
    Route::post("/v1/keys/lookup", Op::LookUp),
    Route::get("/v1/emergency", Op::ShowEmergency),
    Route::post("/v1/emergency/freeze", Op::Freeze),
    Route::post("/v1/emergency/thaw", Op::Thaw),
];

async fn handle(incoming: &Incoming) -> Response {
    route::serve(ROUTES, incoming, async |op, params| run(op, incoming, &params).await).await
}

async fn run(op: Op, incoming: &Incoming, params: &Params<'_>) -> Result<Response> {
    let plane = Plane::open().await?;
    match op {
        Op::RevokeKey => revoke_key(&plane, incoming, params.id(0, "key")).await,
        Op::RevokeApplication => revoke_application(&plane, incoming, params.id(0, "application")).await,
        Op::RevokeMany => revoke_many(&plane, incoming).await,
        Op::Report => report(&plane, incoming).await,
        Op::ReportLeaks => leaks::report(&plane, incoming).await,
        Op::LookUp => look_up(&plane, incoming).await,
        Op::ShowEmergency => show_emergency(&plane, incoming).await,
        Op::Freeze => freeze(&plane, incoming).await,
        Op::Thaw => thaw(&plane, incoming).await,
    }
}

async fn revoke_key(plane: &Plane, incoming: &Incoming, id: Result<KeyId>) -> Result<Response> {
    let target = Target::key(id.as_ref().ok().copied());
    plane
        .change(incoming, Action::KeyRevoked, target, async |service, attempt| {
            let id = id?;
            let Reason { reason } = incoming.json().await?;
            Response::json(200, &service.revoke_key(attempt, id, &reason).await?)
        })
        .await
}

async fn revoke_application(
    plane: &Plane,
    incoming: &Incoming,
    id: Result<ApplicationId>,
) -> Result<Response> {
    let target = Target::application(id.as_ref().ok().copied());
    plane
        .change(incoming, Action::ApplicationRevoked, target, async |service, attempt| {
            let id = id?;
            let Reason { reason } = incoming.json().await?;
            Response::json(200, &service.revoke_application(attempt, id, &reason).await?)
        })
        .await
}

async fn revoke_many(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::KeyRevoked, Target::default(), async |service, attempt| {
            let asked: BulkRevocation = incoming.json().await?;
            Ok(fresh_or_replayed(200, &service.revoke_many(attempt, &asked).await?))
        })
        .await
}

async fn report(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .hold(incoming, Action::KeyReported, async |service, attempt| {
            let Presented { token } = incoming.json().await?;
            Response::json(200, &service.report_token(attempt, &token).await?)
        })
        .await
}

async fn look_up(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::KeyLookedUp, Target::default(), async |service, attempt| {
            let Presented { token } = incoming.json().await?;
            Response::json(200, &service.lookup(attempt, &token).await?)
        })
        .await
}

async fn show_emergency(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .look(incoming, Action::IssuingRead, Target::default(), async |service, attempt| {
            Response::json(200, &service.emergency(attempt).await?)
        })
        .await
}

async fn freeze(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::IssuingFrozen, Target::default(), async |service, attempt| {
            let Reason { reason } = incoming.json().await?;
            Response::json(200, &service.freeze_issuing(attempt, &reason).await?)
        })
        .await
}

async fn thaw(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    plane
        .change(incoming, Action::IssuingThawed, Target::default(), async |service, attempt| {
            let Reason { reason } = incoming.json().await?;
            Response::json(200, &service.thaw_issuing(attempt, &reason).await?)
        })
        .await
}
