//! Applications, roles, policies, keys and claims: how a key comes to be and reaches whoever it is for.
//!
//! A route, the use case behind it, its answer: nothing is decided here.

mod applications;
mod claim_page;
mod claims;
mod health;
mod keys;
mod policies;
mod roles;

use keyward_control::Plane;
use keyward_domain::{ApplicationId, ClaimId, KeyId, PolicyId, Result, RoleId};
use keyward_guest::{Incoming, Params, Response, Route, route, variables};

keyward_guest::serve!(handle);

#[derive(Clone, Copy)]
enum Op {
    CreateApplication,
    ListApplications,
    ShowApplication,
    ChangeApplication,
    CreateRole,
    ListRoles,
    ShowRole,
    ChangeRole,
    RetireRole,
    CreatePolicy,
    ListPolicies,
    ListPresets,
    ShowPolicy,
    ChangePolicy,
    RetirePolicy,
    IssueKey,
    ImportKeys,
    ListKeys,
    Standings,
    ShowKey,
    ChangeKey,
    ReissueClaim,
    TakeClaim,
    ShowClaim,
    ClaimPage,
    SigningKeys,
    Document,
    Alive,
    Ready,
}

const ROUTES: &[Route<Op>] = &[
    Route::post("/v1/applications", Op::CreateApplication),
    Route::get("/v1/applications", Op::ListApplications),
    Route::get("/v1/applications/{id}", Op::ShowApplication),
    Route::patch("/v1/applications/{id}", Op::ChangeApplication),
    Route::post("/v1/roles", Op::CreateRole),
    Route::get("/v1/roles", Op::ListRoles),
    Route::get("/v1/roles/{id}", Op::ShowRole),
    Route::patch("/v1/roles/{id}", Op::ChangeRole),
    Route::post("/v1/roles/{id}/retire", Op::RetireRole),
    Route::post("/v1/policies", Op::CreatePolicy),
    Route::get("/v1/policies", Op::ListPolicies),
    Route::get("/v1/policies/presets", Op::ListPresets),
    Route::get("/v1/policies/{id}", Op::ShowPolicy),
    Route::patch("/v1/policies/{id}", Op::ChangePolicy),
    Route::post("/v1/policies/{id}/retire", Op::RetirePolicy),
    Route::post("/v1/keys", Op::IssueKey),
    Route::post("/v1/keys/import", Op::ImportKeys),
    Route::get("/v1/keys", Op::ListKeys),
    Route::get("/v1/keys/standings", Op::Standings),
    Route::get("/v1/keys/{id}", Op::ShowKey),
    Route::patch("/v1/keys/{id}", Op::ChangeKey),
    Route::post("/v1/keys/{id}/claims", Op::ReissueClaim),
    Route::post("/v1/claims", Op::TakeClaim),
    Route::get("/v1/claims/{id}", Op::ShowClaim),
    Route::get("/claim", Op::ClaimPage),
    Route::get("/.well-known/keyward/jwks.json", Op::SigningKeys),
    Route::get("/openapi.json", Op::Document),
    Route::get("/healthz", Op::Alive),
    Route::get("/readyz", Op::Ready),
];

/// The document of the whole API, as `cargo xtask openapi` writes it.
const DOCUMENT: &[u8] = include_bytes!("../../../docs/openapi.json");

async fn handle(incoming: &Incoming) -> Response {
    route::serve(ROUTES, incoming, async |op, params| run(op, incoming, &params).await).await
}

async fn run(op: Op, incoming: &Incoming, params: &Params<'_>) -> Result<Response> {
    // What needs no store comes first.
    match op {
        Op::Alive => return health::alive(),
        Op::ClaimPage => return Ok(claim_page::page()),
        Op::Document => return Ok(Response::bytes(200, "application/json", DOCUMENT.to_vec())),
        Op::SigningKeys => {
            let minting = variables::minting().await?;
            let jwks = minting.signing_keys.jwks().into_bytes();
            return Ok(Response::bytes(200, "application/jwk-set+json", jwks));
        }
        _ => {}
    }
    let minting = variables::minting().await?;
    let plane = Plane::open().await?.at(&minting.public_url);
    match op {
        Op::CreateApplication => applications::create(&plane, incoming).await,
        Op::ListApplications => applications::list(&plane, incoming).await,
        Op::ShowApplication => {
            applications::show(&plane, incoming, params.id::<ApplicationId>(0, "application")).await
        }
        Op::ChangeApplication => {
            applications::change(&plane, incoming, params.id::<ApplicationId>(0, "application")).await
        }
        Op::CreateRole => roles::create(&plane, incoming).await,
        Op::ListRoles => roles::list(&plane, incoming).await,
        Op::ShowRole => roles::show(&plane, incoming, params.id::<RoleId>(0, "role")).await,
        Op::ChangeRole => roles::change(&plane, incoming, params.id::<RoleId>(0, "role")).await,
        Op::RetireRole => roles::retire(&plane, incoming, params.id::<RoleId>(0, "role")).await,
        Op::CreatePolicy => policies::create(&plane, incoming).await,
        Op::ListPolicies => policies::list(&plane, incoming).await,
        Op::ListPresets => policies::presets(&plane, incoming).await,
        Op::ShowPolicy => policies::show(&plane, incoming, params.id::<PolicyId>(0, "policy")).await,
        Op::ChangePolicy => policies::change(&plane, incoming, params.id::<PolicyId>(0, "policy")).await,
        Op::RetirePolicy => policies::retire(&plane, incoming, params.id::<PolicyId>(0, "policy")).await,
        Op::IssueKey => keys::issue(&plane, incoming).await,
        Op::ImportKeys => keys::import(&plane, incoming).await,
        Op::ListKeys => keys::list(&plane, incoming).await,
        Op::Standings => keys::standings(&plane, incoming).await,
        Op::ShowKey => keys::show(&plane, incoming, params.id::<KeyId>(0, "key")).await,
        Op::ChangeKey => keys::change(&plane, incoming, params.id::<KeyId>(0, "key")).await,
        Op::ReissueClaim => keys::reissue(&plane, incoming, params.id::<KeyId>(0, "key")).await,
        Op::TakeClaim => claims::take(&plane, &minting, incoming).await,
        Op::ShowClaim => claims::show(&plane, params.id::<ClaimId>(0, "claim")?).await,
        Op::Ready => health::ready(&plane).await,
        Op::Alive | Op::ClaimPage | Op::SigningKeys | Op::Document => health::alive(),
    }
}
