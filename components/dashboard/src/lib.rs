//! The dashboard: pages on which a person sees how keys stand and acts, over the same use cases as the API. No rule is decided here; a
//! form is turned into what the API takes, so that bounds, refusals and events are the API's own.
//!
//! Every page works without scripts. Whoever is signed in is told by a session that their key opened, and the key is looked at again on
//! every request.

mod application_form;
mod applications;
mod assets;
mod bulk;
mod change;
mod claim;
mod credential_deed;
mod credential_report;
mod credentials;
mod deed;
mod deeds;
mod edit_credential;
mod edit_key;
mod emergency;
mod events;
mod fields;
mod key;
mod key_fields;
mod keys;
mod log;
mod new_key;
mod new_webhook;
mod overview;
mod page;
mod parts;
mod policies;
mod report;
mod retirement;
mod roles;
mod sign_in;
mod visit;
mod webhook_deed;
mod webhooks;
mod words;

use keyward_control::Plane;
use keyward_domain::Result;
use keyward_domain::issuing::State;
use keyward_guest::{Incoming, Params, Response, Route, route, variables};

keyward_guest::serve!(handle);

#[derive(Clone, Copy)]
enum Op {
    Asset,
    SignInPage,
    SignIn,
    SignOut,
    Overview,
    Live,
    Keys,
    Key,
    NewKey,
    IssueKey,
    EditKey,
    ChangeKey,
    AskDeed,
    DoDeed,
    Applications,
    NewApplication,
    CreateApplication,
    Application,
    EditApplication,
    ChangeApplication,
    AskApplicationDeed,
    DoApplicationDeed,
    Credentials,
    Credential,
    EditCredential,
    ChangeCredential,
    AskCredentialDeed,
    DoCredentialDeed,
    Events,
    Event,
    Emergency,
    AskToFreeze,
    Freeze,
    AskToThaw,
    Thaw,
    RevokeMany,
    SelectToRevoke,
    RotateMany,
    SelectToRotate,
    Webhooks,
    NewWebhook,
    CreateWebhook,
    Webhook,
    AskWebhookDeed,
    DoWebhookDeed,
    Report,
    CredentialReport,
    Policies,
    NewPolicy,
    CreatePolicy,
    Policy,
    EditPolicy,
    ChangePolicy,
    AskToRetirePolicy,
    RetirePolicy,
    Roles,
    NewRole,
    CreateRole,
    Role,
    EditRole,
    ChangeRole,
    AskToRetireRole,
    RetireRole,
}

const ROUTES: &[Route<Op>] = &[
    Route::get("/dashboard", Op::Overview),
    Route::get("/dashboard/live", Op::Live),
    Route::get("/dashboard/assets/{name}", Op::Asset),
    Route::get("/dashboard/sign-in", Op::SignInPage),
    Route::post("/dashboard/sign-in", Op::SignIn),
    Route::post("/dashboard/sign-out", Op::SignOut),
    Route::get("/dashboard/keys", Op::Keys),
    Route::get("/dashboard/keys/new", Op::NewKey),
    Route::post("/dashboard/keys/new", Op::IssueKey),
    Route::get("/dashboard/keys/rotate", Op::SelectToRotate),
    Route::post("/dashboard/keys/rotate", Op::RotateMany),
    Route::get("/dashboard/keys/{id}", Op::Key),
    Route::get("/dashboard/keys/{id}/edit", Op::EditKey),
    Route::post("/dashboard/keys/{id}/edit", Op::ChangeKey),
    Route::get("/dashboard/keys/{id}/{deed}", Op::AskDeed),
    Route::post("/dashboard/keys/{id}/{deed}", Op::DoDeed),
    Route::get("/dashboard/applications", Op::Applications),
    Route::get("/dashboard/applications/new", Op::NewApplication),
    Route::post("/dashboard/applications/new", Op::CreateApplication),
    Route::get("/dashboard/applications/{id}", Op::Application),
    Route::get("/dashboard/applications/{id}/edit", Op::EditApplication),
    Route::post("/dashboard/applications/{id}/edit", Op::ChangeApplication),
    Route::get("/dashboard/applications/{id}/{deed}", Op::AskApplicationDeed),
    Route::post("/dashboard/applications/{id}/{deed}", Op::DoApplicationDeed),
    Route::get("/dashboard/credentials", Op::Credentials),
    Route::get("/dashboard/credentials/{id}", Op::Credential),
    Route::get("/dashboard/credentials/{id}/edit", Op::EditCredential),
    Route::post("/dashboard/credentials/{id}/edit", Op::ChangeCredential),
    Route::get("/dashboard/credentials/{id}/{deed}", Op::AskCredentialDeed),
    Route::post("/dashboard/credentials/{id}/{deed}", Op::DoCredentialDeed),
    Route::get("/dashboard/events", Op::Events),
    Route::get("/dashboard/events/{id}", Op::Event),
    Route::get("/dashboard/webhooks", Op::Webhooks),
    Route::get("/dashboard/webhooks/new", Op::NewWebhook),
    Route::post("/dashboard/webhooks/new", Op::CreateWebhook),
    Route::get("/dashboard/webhooks/{id}", Op::Webhook),
    Route::get("/dashboard/webhooks/{id}/{deed}", Op::AskWebhookDeed),
    Route::post("/dashboard/webhooks/{id}/{deed}", Op::DoWebhookDeed),
    Route::get("/dashboard/policies", Op::Policies),
    Route::get("/dashboard/policies/new", Op::NewPolicy),
    Route::post("/dashboard/policies/new", Op::CreatePolicy),
    Route::get("/dashboard/policies/{id}", Op::Policy),
    Route::get("/dashboard/policies/{id}/edit", Op::EditPolicy),
    Route::post("/dashboard/policies/{id}/edit", Op::ChangePolicy),
    Route::get("/dashboard/policies/{id}/retire", Op::AskToRetirePolicy),
    Route::post("/dashboard/policies/{id}/retire", Op::RetirePolicy),
    Route::get("/dashboard/roles", Op::Roles),
    Route::get("/dashboard/roles/new", Op::NewRole),
    Route::post("/dashboard/roles/new", Op::CreateRole),
    Route::get("/dashboard/roles/{id}", Op::Role),
    Route::get("/dashboard/roles/{id}/edit", Op::EditRole),
    Route::post("/dashboard/roles/{id}/edit", Op::ChangeRole),
    Route::get("/dashboard/roles/{id}/retire", Op::AskToRetireRole),
    Route::post("/dashboard/roles/{id}/retire", Op::RetireRole),
    Route::get("/dashboard/report", Op::Report),
    Route::get("/dashboard/report/credentials", Op::CredentialReport),
    Route::get("/dashboard/emergency", Op::Emergency),
    Route::get("/dashboard/emergency/freeze", Op::AskToFreeze),
    Route::post("/dashboard/emergency/freeze", Op::Freeze),
    Route::get("/dashboard/emergency/thaw", Op::AskToThaw),
    Route::post("/dashboard/emergency/thaw", Op::Thaw),
    Route::get("/dashboard/emergency/revoke", Op::SelectToRevoke),
    Route::post("/dashboard/emergency/revoke", Op::RevokeMany),
];

async fn handle(incoming: &Incoming) -> Response {
    let told = |error: &_| page::failed(incoming, error);
    route::serve_telling(ROUTES, incoming, async |op, params| run(op, incoming, &params).await, told).await
}

async fn run(op: Op, incoming: &Incoming, params: &Params<'_>) -> Result<Response> {
    if let Op::Asset = op {
        return assets::serve(incoming.path());
    }
    // Looked at for its misplacement alone: a token in the address is told, whoever asks.
    incoming.credential()?;
    let url = variables::public_url().await?;
    let plane = Plane::open().await?.at(&url);
    match op {
        Op::SignInPage => return sign_in::page(&plane, incoming),
        Op::SignIn => return sign_in::sign_in(&plane, incoming).await,
        _ => {}
    }
    visit::enter(&plane, incoming, async |visit| match op {
        Op::SignOut => visit::leave(visit).await,
        Op::Overview => overview::page(visit).await,
        Op::Live => overview::live(visit).await,
        Op::Keys => keys::page(visit).await,
        Op::Key => key::page(visit, params.id(0, "key")?).await,
        Op::EditKey => edit_key::page(visit, params.id(0, "key")?).await,
        Op::ChangeKey => edit_key::act(visit, params.id(0, "key")?).await,
        Op::AskDeed => deed::ask(visit, params.id(0, "key")?, params.text(1)).await,
        Op::DoDeed => deed::act(visit, params.id(0, "key")?, params.text(1)).await,
        Op::NewKey => new_key::page(visit).await,
        Op::IssueKey => new_key::issue(visit).await,
        Op::Applications => applications::page(visit).await,
        Op::NewApplication => application_form::new(visit).await,
        Op::CreateApplication => application_form::create(visit).await,
        Op::Application => applications::show(visit, params.id(0, "application")?).await,
        Op::EditApplication => application_form::edit(visit, params.id(0, "application")?).await,
        Op::ChangeApplication => application_form::change(visit, params.id(0, "application")?).await,
        Op::AskApplicationDeed => {
            applications::ask(visit, params.id(0, "application")?, params.text(1)).await
        }
        Op::DoApplicationDeed => applications::act(visit, params.id(0, "application")?, params.text(1)).await,
        Op::Credentials => credentials::page(visit).await,
        Op::Credential => credentials::show(visit, params.id(0, "credential")?).await,
        Op::EditCredential => edit_credential::page(visit, params.id(0, "credential")?).await,
        Op::ChangeCredential => edit_credential::act(visit, params.id(0, "credential")?).await,
        Op::AskCredentialDeed => {
            credential_deed::ask(visit, params.id(0, "credential")?, params.text(1)).await
        }
        Op::DoCredentialDeed => {
            credential_deed::act(visit, params.id(0, "credential")?, params.text(1)).await
        }
        Op::Events => events::page(visit).await,
        Op::Event => events::show(visit, params.id(0, "event")?).await,
        Op::Webhooks => webhooks::page(visit).await,
        Op::NewWebhook => new_webhook::page(visit).await,
        Op::CreateWebhook => new_webhook::create(visit).await,
        Op::Webhook => webhooks::show(visit, params.id(0, "webhook")?).await,
        Op::AskWebhookDeed => webhook_deed::ask(visit, params.id(0, "webhook")?, params.text(1)).await,
        Op::DoWebhookDeed => webhook_deed::act(visit, params.id(0, "webhook")?, params.text(1)).await,
        Op::Policies => policies::page(visit).await,
        Op::NewPolicy => Ok(policies::new(visit)),
        Op::CreatePolicy => policies::create(visit).await,
        Op::Policy => policies::show(visit, params.id(0, "policy")?).await,
        Op::EditPolicy => policies::edit(visit, params.id(0, "policy")?).await,
        Op::ChangePolicy => policies::change(visit, params.id(0, "policy")?).await,
        Op::AskToRetirePolicy => policies::ask_to_retire(visit, params.id(0, "policy")?).await,
        Op::RetirePolicy => policies::retire(visit, params.id(0, "policy")?).await,
        Op::Roles => roles::page(visit).await,
        Op::NewRole => Ok(roles::new(visit)),
        Op::CreateRole => roles::create(visit).await,
        Op::Role => roles::show(visit, params.id(0, "role")?).await,
        Op::EditRole => roles::edit(visit, params.id(0, "role")?).await,
        Op::ChangeRole => roles::change(visit, params.id(0, "role")?).await,
        Op::AskToRetireRole => roles::ask_to_retire(visit, params.id(0, "role")?).await,
        Op::RetireRole => roles::retire(visit, params.id(0, "role")?).await,
        Op::Report => report::page(visit).await,
        Op::CredentialReport => credential_report::page(visit).await,
        Op::Emergency => emergency::page(visit).await,
        Op::AskToFreeze => Ok(emergency::ask(visit, State::Frozen)),
        Op::AskToThaw => Ok(emergency::ask(visit, State::Open)),
        Op::Freeze => emergency::set(visit, State::Frozen).await,
        Op::Thaw => emergency::set(visit, State::Open).await,
        Op::RevokeMany => bulk::act(visit, bulk::BulkDeed::Revoke).await,
        Op::SelectToRevoke => bulk::selection(visit, bulk::BulkDeed::Revoke).await,
        Op::RotateMany => bulk::act(visit, bulk::BulkDeed::Rotate).await,
        Op::SelectToRotate => bulk::selection(visit, bulk::BulkDeed::Rotate).await,
        Op::Asset | Op::SignInPage | Op::SignIn => assets::serve(incoming.path()),
    })
    .await
}
