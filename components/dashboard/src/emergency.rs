//! What an emergency needs: issuing frozen and thawed, and the way to many keys at once.

use crate::bulk;
use crate::fields;
use crate::page::Page;
use crate::parts::{Shape, Tone, badge, name, needs, when_in_full};
use crate::visit::Visit;
use crate::words;
use keyward_domain::Result;
use keyward_domain::event::{Action, Target};
use keyward_domain::issuing::State;
use keyward_domain::scope::administration as scope;
use keyward_guest::Response;
use maud::{Markup, html};

pub(crate) const PATH: &str = "/dashboard/emergency";
const FREEZE: &str = "/dashboard/emergency/freeze";
const THAW: &str = "/dashboard/emergency/thaw";

/// The page.
pub(crate) async fn page(visit: &Visit<'_>) -> Result<Response> {
    let query = visit.incoming.query()?;
    let done = match query.one("done")? {
        Some("freeze") => Some("Issuing is frozen."),
        Some("thaw") => Some("Issuing goes on."),
        _ => None,
    };
    let body = html! {
        @if let Some(done) = done { p class="notice" role="status" { (done) } }
        section aria-labelledby="issuing" { h2 id="issuing" { "Issuing" } (issuing(visit).await?) }
        @if visit.may(scope::KEYS_REVOKE) {
            section aria-labelledby="many" {
                h2 id="many" { "Revoke many keys" }
                p { "All that one admin key issued, all with a tag, all that were issued in a span of time: first you see which they are, then you end them." }
                p { a class="button danger" href=(bulk::REVOKE) { "Choose which" } }
            }
        }
    };
    Ok(Page::new(PATH, "Emergency", body).show(visit))
}

async fn issuing(visit: &Visit<'_>) -> Result<Markup> {
    if !visit.may_everywhere(scope::EMERGENCY_READ) {
        return Ok(needs(scope::EMERGENCY_READ));
    }
    let view = visit
        .look(Action::IssuingRead, Target::default(), async |service, attempt| {
            service.emergency(attempt).await
        })
        .await?;
    let state = view.issuing;
    let is_frozen = state.state == State::Frozen;
    Ok(html! {
        p {
            @if is_frozen { (badge(Tone::Bad, Shape::Square, "Frozen")) } @else { (badge(Tone::Good, Shape::Disc, "Open")) }
            @if let Some(at) = state.at { " " (when_in_full(at, visit.now)) }
            @if let Some(by) = &state.by { " by " (name(words::actor(by))) }
            @if let Some(reason) = &state.reason { ": " (name(reason)) }
        }
        @if !visit.may_everywhere(scope::EMERGENCY_FREEZE) { (needs(scope::EMERGENCY_FREEZE)) }
        @else if is_frozen {
            (visit.form_to(THAW, &html! {
                p { "Once thawed, keys are issued and claims taken again." }
                (fields::reason(""))
                p class="actions" { button { "Thaw issuing" } }
            }))
        } @else {
            (visit.form_to(FREEZE, &html! {
                p { "While issuing is frozen nobody issues a key, takes a claim or has one renewed, whatever they hold. Validation, revocation and reading go on." }
                (fields::reason(""))
                p class="actions" { button class="danger" { "Freeze issuing" } }
            }))
        }
    })
}

/// Freezes issuing, or thaws it.
pub(crate) async fn set(visit: &Visit<'_>, state: State) -> Result<Response> {
    let reason = visit.form().text("reason");
    let (action, done) = match state {
        State::Frozen => (Action::IssuingFrozen, "freeze"),
        State::Open => (Action::IssuingThawed, "thaw"),
    };
    visit
        .change(action, Target::default(), async |service, attempt| match state {
            State::Frozen => service.freeze_issuing(attempt, reason).await,
            State::Open => service.thaw_issuing(attempt, reason).await,
        })
        .await?;
    Ok(Response::see_other(&format!("{PATH}?done={done}")))
}
