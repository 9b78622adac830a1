//! Webhooks and what could not be delivered to them: how each does. What can be done with one is `webhook_deed`'s.

use crate::applications;
use crate::deeds::{self, Deed};
use crate::events;
use crate::keys;
use crate::new_webhook;
use crate::page::Page;
use crate::parts::{Shape, Tone, badge, code, copied, empty, name, pager, target, when, when_in_full};
use crate::visit::Visit;
use crate::webhook_deed::WebhookDeed;
use crate::words;
use keyward_domain::delivery::{Circuit, DeathCause};
use keyward_domain::event::{Action, Target};
use keyward_domain::scope::administration as scope;
use keyward_domain::{Result, WebhookId};
use keyward_guest::Response;
use keyward_service::{DeadLetterFilter, DeadLetterView, Page as ListPage, WebhookState, WebhookView};
use maud::{Markup, html};

pub(crate) const PATH: &str = "/dashboard/webhooks";
const PER_PAGE: &str = "50";

/// Whether something is wrong with delivery to it.
pub(crate) const fn ails(webhook: &WebhookView) -> bool {
    webhook.delivery.dead_letters > 0 || !matches!(webhook.delivery.circuit, Circuit::Closed)
}

/// How delivery to a webhook goes.
pub(crate) fn health(webhook: &WebhookView) -> Markup {
    match (webhook.state, webhook.delivery.circuit) {
        (WebhookState::Retired, _) => badge(Tone::Quiet, Shape::Cross, "Retired"),
        (WebhookState::Disabled, _) => badge(Tone::Warn, Shape::Square, "Disabled"),
        (WebhookState::Active, Circuit::Open) => badge(Tone::Bad, Shape::Triangle, "Not reached"),
        (WebhookState::Active, Circuit::HalfOpen) => badge(Tone::Warn, Shape::Half, "Tried again"),
        (WebhookState::Active, Circuit::Closed) if webhook.delivery.dead_letters > 0 => {
            badge(Tone::Warn, Shape::Triangle, "Dead letters")
        }
        (WebhookState::Active, Circuit::Closed) => badge(Tone::Good, Shape::Disc, "Delivering"),
    }
}

/// The table.
pub(crate) async fn page(visit: &Visit<'_>) -> Result<Response> {
    let query = visit.incoming.query()?;
    query.only(&["cursor"])?;
    let cursor = query.one("cursor")?;
    let page = ListPage::parse(Some(PER_PAGE), cursor)?;
    let found = visit
        .look(Action::WebhookRead, Target::default(), async |service, attempt| {
            service.webhooks(attempt, None, &page).await
        })
        .await?;
    let body = html! {
        @if found.items.is_empty() {
            (empty("No webhook", html! { "A webhook tells a system of yours what happens here." }))
        } @else {
            div class="table" { table {
                thead { tr {
                    th scope="col" { "Webhook" } th scope="col" { "Delivery" } th scope="col" { "Last delivered" }
                    th scope="col" class="number" { "Delivered" } th scope="col" class="number" { "Pending" } th scope="col" class="number" { "Dead letters" }
                } }
                tbody { @for webhook in &found.items { (row(visit, webhook)) } }
            } }
        }
        (pager(PATH, &[], cursor.is_none(), found.next_cursor.as_deref()))
    };
    let new = html! { @if visit.may(scope::WEBHOOKS_WRITE) { a class="button" href=(new_webhook::HERE) { "New webhook" } } };
    Ok(Page::new(PATH, "Webhooks", body).beside(new).show(visit))
}

fn row(visit: &Visit<'_>, webhook: &WebhookView) -> Markup {
    let delivery = &webhook.delivery;
    html! {
        tr {
            th scope="row" data-label="Webhook" {
                a href=(format!("{PATH}/{}", webhook.id)) { (name(&webhook.url)) }
                @if !webhook.description.is_empty() { div class="soft small" { (name(&webhook.description)) } }
            }
            td data-label="Delivery" { (health(webhook)) }
            td data-label="Last delivered" {
                @match delivery.last_success_at { Some(at) => (when(at, visit.now)), None => span class="soft" { "never" } }
            }
            td data-label="Delivered" class="number" { (words::grouped(delivery.delivered)) }
            td data-label="Pending" class="number" { (delivery.pending) }
            td data-label="Dead letters" class="number" { (delivery.dead_letters) }
        }
    }
}

pub(crate) async fn find(visit: &Visit<'_>, id: WebhookId) -> Result<WebhookView> {
    visit
        .look(Action::WebhookRead, Target::webhook(Some(id)), async |service, attempt| {
            service.webhook(attempt, id).await
        })
        .await
}

/// One webhook and its dead letters.
pub(crate) async fn show(visit: &Visit<'_>, id: WebhookId) -> Result<Response> {
    let query = visit.incoming.query()?;
    query.only(&["cursor", "done"])?;
    let (done, cursor) = (WebhookDeed::done(query.one("done")?), query.one("cursor")?);
    let webhook = find(visit, id).await?;
    let page = ListPage::parse(Some(PER_PAGE), cursor)?;
    let filter = DeadLetterFilter { webhook: Some(id), application: None };
    let letters = visit
        .look(Action::WebhookRead, Target::webhook(Some(id)), async |service, attempt| {
            service.dead_letters(attempt, &filter, &page).await
        })
        .await?;
    let may_write = visit.may_at(scope::WEBHOOKS_WRITE, webhook.application);
    let fitting = WebhookDeed::ALL.iter().copied().filter(|deed| may_write && deed.fits(&webhook));
    let body = html! {
        @if let Some(done) = done { p class="notice" role="status" { (done) } }
        ul class="deeds" { (deeds::ways(format!("{PATH}/{id}"), fitting)) }
        section aria-labelledby="facts" { h2 id="facts" { "Facts" } (facts(visit, &webhook)) }
        section aria-labelledby="dead" {
            h2 id="dead" { "Dead letters" }
            @if letters.items.is_empty() {
                (empty("None", html! { "Everything that was announced was delivered, or still is on its way." }))
            } @else {
                p class="soft" { "What most hangs on stands first." }
                div class="table" { table {
                    thead { tr {
                        th scope="col" { "What" } th scope="col" { "About" } th scope="col" { "Why it died" } th scope="col" class="number" { "Attempts" } th scope="col" class="number" { "Impact" }
                        @if may_write { th scope="col" { span class="unseen" { "Act" } } }
                    } }
                    tbody { @for letter in &letters.items { (letter_row(visit, &webhook, letter, may_write)) } }
                } }
            }
        }
        (pager(&format!("{PATH}/{id}"), &[], cursor.is_none(), letters.next_cursor.as_deref()))
    };
    let page = Page::new(PATH, webhook.url.clone(), body)
        .below("Webhooks", PATH)
        .beside(html! { div { (health(&webhook)) } });
    Ok(page.show(visit))
}

fn facts(visit: &Visit<'_>, webhook: &WebhookView) -> Markup {
    let delivery = &webhook.delivery;
    html! {
        dl class="facts" {
            dt { "Id" } dd { (copied(webhook.id)) }
            dt { "Application" } dd { a href=(format!("{}/{}", applications::PATH, webhook.application)) { (code(webhook.application)) } }
            @if !webhook.description.is_empty() { dt { "Description" } dd { (name(&webhook.description)) } }
            dt { "Told of" } dd { ul class="inline" { @for kind in new_webhook::names(&webhook.events) { li { (code(kind)) } } } }
            dt { "Delivered" } dd { (words::grouped(delivery.delivered)) ", " (delivery.pending) " pending" }
            dt { "Last delivered" } dd { @match delivery.last_success_at { Some(at) => (when_in_full(at, visit.now)), None => span class="soft" { "never" } } }
            @if let Some(failure) = &delivery.last_failure {
                dt { "Last failure" } dd { (code(failure.fault)) @if let Some(status) = failure.status { " " (status) } ", " (when_in_full(failure.at, visit.now)) ", " (words::counted(u64::from(delivery.failures), "attempt")) " failed in a row" }
            }
            @if let Some(next) = delivery.next_attempt_at { dt { "Next attempt" } dd { (when_in_full(next, visit.now)) } }
            @if let Some(until) = webhook.old_secret_until { dt { "Old secret" } dd { "signs as well until " (when_in_full(until, visit.now)) } }
            @if delivery.forgotten > 0 { dt { "Forgotten" } dd { (words::counted(delivery.forgotten, "older dead letter")) "; the log has their events" } }
            dt { "Created" } dd { (when_in_full(webhook.created_at, visit.now)) }
        }
    }
}

fn letter_row(visit: &Visit<'_>, webhook: &WebhookView, letter: &DeadLetterView, may_write: bool) -> Markup {
    let fitting = WebhookDeed::OF_LETTERS.iter().filter(|deed| deed.fits(webhook));
    let message = letter.message.to_string();
    html! {
        tr {
            th scope="row" data-label="What" {
                a href=(format!("{}/{}", events::PATH, letter.event)) { (letter.kind.as_str()) }
                div class="soft small" { "announced " (when(letter.announced_at, visit.now)) }
            }
            td data-label="About" { @match letter.key { Some(key) => (keys::link(key)), None => span class="soft" { "no key" } } }
            td data-label="Why it died" { (cause(letter.why)) ", " (when(letter.died_at, visit.now)) }
            td data-label="Attempts" class="number" { (letter.attempts) }
            td data-label="Impact" class="number" { (letter.impact) }
            @if may_write {
                td data-label="" class="act" { @for deed in fitting {
                    @let way = target(&format!("{PATH}/{}/{}", webhook.id, deed.told().path), &[("message", &message)]);
                    a class={ "button small " (if deed.told().is_dangerous { "danger" } else { "" }) } href=(way) { (deed.of_one()) span class="unseen" { " " (letter.kind.as_str()) } } " "
                } }
            }
        }
    }
}

const fn cause(why: DeathCause) -> &'static str {
    match why {
        DeathCause::Exhausted => "every attempt failed",
        DeathCause::Overflow => "the queue was full",
        DeathCause::Closed => "the webhook was switched off",
        DeathCause::EventUnreadable => "its event cannot be read",
    }
}
