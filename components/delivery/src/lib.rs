//! Webhooks, and what is told to them. It calls out, as the vault alone does beside it, and holds no key that signs for Keyward.

mod webhooks;

use keyward_control::{Plane, WasiSender};
use keyward_domain::Result;
use keyward_domain::event::{Action, Target};
use keyward_guest::variables::{self, Outbound};
use keyward_guest::{Incoming, Params, Response, Route, route};

keyward_guest::serve!(handle);

#[derive(Clone, Copy)]
enum Op {
    Create,
    List,
    DeadLetters,
    Show,
    Change,
    RotateSecret,
    Test,
    Retire,
    Replay,
    Drop,
    Run,
}

const ROUTES: &[Route<Op>] = &[
    Route::post("/v1/webhooks", Op::Create),
    Route::get("/v1/webhooks", Op::List),
    Route::get("/v1/webhooks/dead-letters", Op::DeadLetters),
    Route::get("/v1/webhooks/{id}", Op::Show),
    Route::patch("/v1/webhooks/{id}", Op::Change),
    Route::post("/v1/webhooks/{id}/rotate-secret", Op::RotateSecret),
    Route::post("/v1/webhooks/{id}/test", Op::Test),
    Route::post("/v1/webhooks/{id}/retire", Op::Retire),
    Route::post("/v1/webhooks/{id}/replay", Op::Replay),
    Route::post("/v1/webhooks/{id}/drop", Op::Drop),
    Route::post("/v1/delivery/run", Op::Run),
];

async fn handle(incoming: &Incoming) -> Response {
    route::serve(ROUTES, incoming, async |op, params| run(op, incoming, &params).await).await
}

async fn run(op: Op, incoming: &Incoming, params: &Params<'_>) -> Result<Response> {
    let (plane, settings) = (Plane::open().await?, variables::outbound().await?);
    let (plane, targets) = (&plane, settings.targets);
    let id = params.id(0, "webhook");
    match op {
        Op::Create => webhooks::create(plane, incoming, targets).await,
        Op::List => webhooks::list(plane, incoming).await,
        Op::DeadLetters => webhooks::dead_letters(plane, incoming).await,
        Op::Show => webhooks::show(plane, incoming, id).await,
        Op::Change => webhooks::change(plane, incoming, id, targets).await,
        Op::RotateSecret => webhooks::rotate_secret(plane, incoming, id).await,
        Op::Test => webhooks::test(plane, incoming, id, targets).await,
        Op::Retire => webhooks::retire(plane, incoming, id).await,
        Op::Replay => webhooks::replay(plane, incoming, id).await,
        Op::Drop => webhooks::drop(plane, incoming, id).await,
        Op::Run => deliver(plane, incoming, &settings).await,
    }
}

async fn deliver(plane: &Plane, incoming: &Incoming, settings: &Outbound) -> Result<Response> {
    let work = async |plane: &Plane| {
        Response::json(200, &plane.service().deliver(&WasiSender, settings.targets).await?)
    };
    if let Some(done) = plane.maintain(incoming, settings, work).await? {
        return Ok(done);
    }
    plane
        .change(incoming, Action::DeliveryRun, Target::default(), async |service, attempt| {
            incoming.nothing().await?;
            Response::json(200, &service.run_delivery(attempt, &WasiSender, settings.targets).await?)
        })
        .await
}
