//! The vault: credentials of third parties, kept so that services fetch them instead of carrying them along, and rotated by whoever
//! provides them. The only component that is handed the ring under which they lie, and so the one that calls their providers.
//!
//! A route, the use case behind it, its answer: nothing is decided here.

mod credentials;
mod providers;
mod values;

use keyward_control::Plane;
use keyward_domain::{CredentialId, Result};
use keyward_guest::{Incoming, Params, Response, Route, route, variables};

keyward_guest::serve!(handle);

#[derive(Clone, Copy)]
enum Op {
    Create,
    Import,
    List,
    Show,
    Change,
    Retire,
    Write,
    Read,
    ReadNamed,
    RollBack,
    Destroy,
    Reseal,
    Ring,
    SetProvider,
    RemoveProvider,
    Rotate,
    CancelRotation,
    RunRotations,
}

const ROUTES: &[Route<Op>] = &[
    Route::post("/v1/credentials", Op::Create),
    Route::get("/v1/credentials", Op::List),
    Route::get("/v1/credentials/value", Op::ReadNamed),
    Route::post("/v1/credentials/import", Op::Import),
    Route::post("/v1/credentials/reseal", Op::Reseal),
    Route::get("/v1/credentials/ring", Op::Ring),
    Route::post("/v1/credentials/rotations/run", Op::RunRotations),
    Route::get("/v1/credentials/{id}", Op::Show),
    Route::patch("/v1/credentials/{id}", Op::Change),
    Route::post("/v1/credentials/{id}/retire", Op::Retire),
    Route::get("/v1/credentials/{id}/value", Op::Read),
    Route::post("/v1/credentials/{id}/versions", Op::Write),
    Route::post("/v1/credentials/{id}/roll-back", Op::RollBack),
    Route::post("/v1/credentials/{id}/versions/{version}/destroy", Op::Destroy),
    Route::post("/v1/credentials/{id}/provider", Op::SetProvider),
    Route::post("/v1/credentials/{id}/provider/remove", Op::RemoveProvider),
    Route::post("/v1/credentials/{id}/rotate", Op::Rotate),
    Route::post("/v1/credentials/{id}/rotation/cancel", Op::CancelRotation),
];

async fn handle(incoming: &Incoming) -> Response {
    route::serve(ROUTES, incoming, async |op, params| run(op, incoming, &params).await).await
}

async fn run(op: Op, incoming: &Incoming, params: &Params<'_>) -> Result<Response> {
    let minting = variables::minting().await?;
    let plane = Plane::open().await?.at(&minting.public_url);
    let id = || params.id::<CredentialId>(0, "credential");
    match op {
        Op::Create => credentials::create(&plane, incoming).await,
        Op::Import => credentials::import(&plane, incoming).await,
        Op::List => credentials::list(&plane, incoming).await,
        Op::Show => credentials::show(&plane, incoming, id()).await,
        Op::Reseal => credentials::reseal(&plane, incoming).await,
        Op::Ring => credentials::ring(&plane, incoming).await,
        Op::Change => credentials::change(&plane, incoming, id()).await,
        Op::Retire => credentials::retire(&plane, incoming, id()).await,
        Op::Write => values::write(&plane, incoming, id()).await,
        Op::Read => values::read(&plane, &minting, incoming, id()?).await,
        Op::ReadNamed => values::read_named(&plane, &minting, incoming).await,
        Op::RollBack => values::roll_back(&plane, incoming, id()).await,
        Op::Destroy => {
            values::destroy(&plane, incoming, id(), params.id::<u32>(1, "version of the credential")).await
        }
        Op::SetProvider => {
            let targets = variables::outbound().await?.targets;
            providers::set(&plane, incoming, id(), targets).await
        }
        Op::RemoveProvider => providers::remove(&plane, incoming, id()).await,
        Op::Rotate => providers::rotate(&plane, incoming, id()).await,
        Op::CancelRotation => providers::cancel(&plane, incoming, id()).await,
        Op::RunRotations => providers::run(&plane, incoming, &*variables::outbound().await?).await,
    }
}
