//! What an emergency needs: issuing frozen and thawed, and the way to many keys at once.

use crate::bulk::BulkDeed;
use crate::fields;
use crate::page::Page;
use crate::parts::{self, Shape, Tone, badge, name, needs, when_in_full};
use crate::visit::Visit;
use crate::words;
use keyward_domain::Result;
use keyward_domain::event::{Action, Target};
use keyward_domain::issuing::State;
use keyward_domain::rotation::Mode;
use keyward_domain::scope::administration as scope;
use keyward_guest::Response;
use keyward_service::IssuingView;
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
                p { a class="button danger" href=(BulkDeed::Revoke.path()) { "Choose which" } }
            }
        }
        @if visit.may(scope::KEYS_ROTATE) {
            section aria-labelledby="rotate" {
                h2 id="rotate" { "Rotate many keys" }
                p { "Where their holders are to go on: every version of these keys ends at once, and you get a link to a successor for each." }
                p { a class="button danger" href=(parts::target(BulkDeed::Rotate.path(), &[("mode", Mode::Incident.as_str())])) { "Choose which to rotate" } }
            }
        }
    };
    Ok(Page::new(PATH, "Emergency", body).show(visit))
}

/// How issuing stands; none where this visitor may not see.
async fn look(visit: &Visit<'_>) -> Result<Option<IssuingView>> {
    if !visit.may_everywhere(scope::EMERGENCY_READ) {
        return Ok(None);
    }
    let looked = visit
        .look(Action::IssuingRead, Target::default(), async |service, attempt| {
            service.emergency(attempt).await
        })
        .await;
    looked.map(|view| Some(view.issuing))
}

async fn issuing(visit: &Visit<'_>) -> Result<Markup> {
    let known = look(visit).await?;
    let is = |state: State| known.as_ref().is_some_and(|known| known.state == state);
    Ok(html! {
        @match &known {
            None => (needs(scope::EMERGENCY_READ)),
            Some(known) => p {
                @if is(State::Frozen) { (badge(Tone::Bad, Shape::Square, "Frozen")) } @else { (badge(Tone::Good, Shape::Disc, "Open")) }
                @if let Some(at) = known.at { " " (when_in_full(at, visit.now)) }
                @if let Some(by) = &known.by { " by " (name(words::actor(by))) }
                @if let Some(reason) = &known.reason { ": " (name(reason)) }
            }
        }
        @if !visit.may_everywhere(scope::EMERGENCY_FREEZE) { (needs(scope::EMERGENCY_FREEZE)) }
        @else {
            p class="actions" {
                @if !is(State::Frozen) { a class="button danger" href=(FREEZE) { "Freeze issuing" } }
                @if !is(State::Open) { a class="button" href=(THAW) { "Thaw issuing" } }
            }
        }
    })
}

/// Says what freezing issuing does, or thawing it, and asks.
pub(crate) fn ask(visit: &Visit<'_>, state: State) -> Response {
    let is_freeze = state == State::Frozen;
    let (title, path) = if is_freeze { ("Freeze issuing", FREEZE) } else { ("Thaw issuing", THAW) };
    let body = html! {
        div class="confirm" {
            ul class="consequences" {
                @if is_freeze {
                    li { strong { "Nobody issues a key, takes a claim or has one renewed" } ", whatever they hold, until somebody thaws issuing." }
                    li { "Keys that are in use go on: validation, revocation and reading are not touched." }
                    li { "Claims that are open stay so until their time is over." }
                } @else {
                    li { "Keys are issued and claims taken again, at once." }
                    li { "What was issued just before the freeze lives on: if it should not, " a href=(BulkDeed::Revoke.path()) { "revoke it" } " first." }
                }
            }
            (visit.form_to(path, &html! {
                // Something to start from, so that in an incident nobody is held up by a field.
                (fields::reason(if is_freeze { "frozen from the dashboard" } else { "" }))
                p class="actions" { button class=[is_freeze.then_some("danger")] { (title) } " " a href=(PATH) { "Leave it as it is" } }
            }))
        }
    };
    Page::new(PATH, title, body).below("Emergency", PATH).show(visit)
}

/// Freezes issuing, or thaws it. Pressed twice, what was asked for is so already.
pub(crate) async fn set(visit: &Visit<'_>, state: State) -> Result<Response> {
    let reason = visit.form().text("reason");
    let (action, done) = match state {
        State::Frozen => (Action::IssuingFrozen, "freeze"),
        State::Open => (Action::IssuingThawed, "thaw"),
    };
    if look(visit).await?.is_none_or(|known| known.state != state) {
        visit
            .change(action, Target::default(), async |service, attempt| match state {
                State::Frozen => service.freeze_issuing(attempt, reason).await,
                State::Open => service.thaw_issuing(attempt, reason).await,
            })
            .await?;
    }
    Ok(Response::see_other(&format!("{PATH}?done={done}")))
}
