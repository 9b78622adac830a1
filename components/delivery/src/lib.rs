//! Webhooks, and what is told to them: the only component that may call out. It holds no key that signs for Keyward.

mod send;
mod webhooks;

use keyward_control::Plane;
use keyward_crypto::SecretText;
use keyward_domain::Result;
use keyward_domain::event::{Action, Target};
use keyward_guest::variables::{self, Delivery};
use keyward_guest::{Incoming, Params, Response, Route, route};

use send::WasiSender;

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
    let (plane, settings) = (Plane::open().await?, variables::delivery().await?);
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

async fn deliver(plane: &Plane, incoming: &Incoming, settings: &Delivery) -> Result<Response> {
    if presents(incoming, settings.maintenance_token.as_ref()) {
        // Whoever runs Keyward, every few seconds: no caller's deed, so it is no event, as a tick of the scheduler is none.
        incoming.nothing().await?;
        plane.ask_witness().await;
        return Response::json(200, &plane.service().deliver(&WasiSender, settings.targets).await?);
    }
    plane
        .change(incoming, Action::DeliveryRun, Target::default(), async |service, attempt| {
            incoming.nothing().await?;
            Response::json(200, &service.run_delivery(attempt, &WasiSender, settings.targets).await?)
        })
        .await
}

/// Whether a request presents this token. Compared by digests, so that the time it takes says nothing.
fn presents(incoming: &Incoming, token: Option<&SecretText>) -> bool {
    let (Some(token), Ok(Some(presented))) = (token, incoming.credential()) else { return false };
    let digest = |text: &SecretText| keyward_crypto::digest::sha256(text.expose().as_bytes());
    digest(token) == digest(&presented)
}
