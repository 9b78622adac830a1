//! The log: events as lines of a timeline, found by what they are about, and each with the proof that it is in the log.

use crate::applications;
use crate::credentials;
use crate::fields::{choice, moment};
use crate::keys;
use crate::page::Page;
use crate::parts::{self, Shape, Tone, badge, copied, empty, name, needs, pager, when, when_in_full};
use crate::visit::Visit;
use crate::words;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyward_domain::event::{Action, Event, EventId, Outcome, Target};
use keyward_domain::scope::administration as scope;
use keyward_domain::{Code, Error, Result, Timestamp};
use keyward_guest::Response;
use keyward_guest::query::Query;
use keyward_service::{EventFilter, Page as ListPage};
use maud::{Markup, html};

pub(crate) const PATH: &str = "/dashboard/events";
const PER_PAGE: &str = "50";
/// Records that an event's page names one by one.
const WRITES_SHOWN: usize = 50;

/// How an event ended.
pub(crate) fn outcome(outcome: Outcome) -> Markup {
    match outcome {
        Outcome::Done => badge(Tone::Good, Shape::Disc, "Done"),
        Outcome::Refused => badge(Tone::Warn, Shape::Square, "Refused"),
        Outcome::Alarm => badge(Tone::Bad, Shape::Triangle, "Alarm"),
    }
}

/// Events, newest first.
pub(crate) async fn timeline(visit: &Visit<'_>, events: &[Event]) -> Result<Markup> {
    if events.is_empty() {
        return Ok(empty("No event", html! { "Whatever changes something leaves one." }));
    }
    let targets = events.iter().map(|event| event.target);
    let names =
        keys::Names::of(visit, targets.filter_map(|target| Some((target.application?, target.key?)))).await?;
    Ok(html! {
        ol class="timeline" { @for event in events { li { (line(event, &names, visit.now)) } } }
    })
}

fn line(event: &Event, names: &keys::Names, now: Timestamp) -> Markup {
    html! {
        div class="event-head" {
            a href=(format!("{PATH}/{}", event.id)) { (words::action(event.action)) }
            @if event.outcome != Outcome::Done { " " (outcome(event.outcome)) }
            " " span class="soft small" { (when(event.at, now)) }
        }
        div class="small" {
            "by " (name(words::actor(&event.actor)))
            @if let Some(key) = event.target.key { ", key " (names.link(key)) }
            @if let Some(reason) = &event.reason { ": " (name(reason)) }
        }
    }
}

/// The log, and a form to find something in it.
pub(crate) async fn page(visit: &Visit<'_>) -> Result<Response> {
    let query = visit.incoming.query()?;
    query.only(&["application", "key", "credential", "actor", "action", "since", "until", "cursor"])?;
    let filter = filter(query)?;
    let cursor = query.one("cursor")?;
    let page = ListPage::parse(Some(PER_PAGE), cursor)?;
    let form = form(visit, query).await?;
    if filter.application.is_none() && !visit.may_everywhere(scope::AUDIT_READ) {
        let choose = empty(
            "Choose an application",
            html! { "This key sees the events of some applications: choose one of them." },
        );
        return Ok(Page::new(PATH, "Events", html! { (form) (choose) }).show(visit));
    }
    let found = visit
        .look(Action::AuditRead, Target::default(), async |service, attempt| {
            service.audit_events(attempt, &filter, &page).await
        })
        .await?;
    let text = |name| query.one(name).ok().flatten().unwrap_or_default();
    let asked = ["application", "key", "credential", "actor", "action", "since", "until"]
        .map(|name| (name, text(name)));
    let list = html! {
        section aria-labelledby="found" {
            h2 id="found" { "Events, newest first" }
            (timeline(visit, &found.items).await?)
        }
        (pager(PATH, &asked, cursor.is_none(), found.next_cursor.as_deref()))
    };
    Ok(Page::new(PATH, "Events", html! { (form) (list) }).show(visit))
}

fn filter(query: &Query) -> Result<EventFilter> {
    let given = |name| query.one(name).map(|text| text.filter(|text| !text.is_empty()));
    Ok(EventFilter {
        application: parsed(given("application")?, "application", "an application's id")?,
        key: parsed(given("key")?, "key", "a key's id")?,
        credential: parsed(given("credential")?, "credential", "a credential's id")?,
        actor: parsed(given("actor")?, "actor", "the id of the key that acted")?,
        action: parsed(given("action")?, "action", "the name of an action")?,
        since: moment("since", given("since")?.unwrap_or_default())?,
        until: moment("until", given("until")?.unwrap_or_default())?,
    })
}

fn parsed<T: std::str::FromStr>(text: Option<&str>, name: &str, expected: &str) -> Result<Option<T>> {
    let parse =
        |text: &str| text.trim().parse().map_err(|_| Error::parameter(name, "is not valid", expected));
    text.map(parse).transpose()
}

async fn form(visit: &Visit<'_>, query: &Query) -> Result<Markup> {
    let applications = applications::all(visit).await?;
    let text = |name| query.one(name).map(Option::unwrap_or_default);
    let every = |told: &str| (String::new(), told.to_owned());
    let known = applications.iter().map(|known| (known.id.to_string(), known.name.clone()));
    let applications: Vec<_> = [every("All")].into_iter().chain(known).collect();
    let mut actions: Vec<_> = Action::ALL
        .iter()
        .map(|action| (action.as_str().to_owned(), words::action(*action).to_owned()))
        .collect();
    actions.sort_by(|one, other| one.1.cmp(&other.1));
    let actions: Vec<_> = [every("All")].into_iter().chain(actions).collect();
    Ok(html! {
        form class="filter" method="get" action=(PATH) {
            (choice("application", "Application", &applications, text("application")?))
            (choice("action", "What", &actions, text("action")?))
            div class="field" { label for="key" { "Key" } input id="key" name="key" value=(text("key")?) placeholder="key_..."; }
            div class="field" { label for="credential" { "Credential" } input id="credential" name="credential" value=(text("credential")?) placeholder="crd_..."; }
            div class="field" { label for="actor" { "Caused with the key" } input id="actor" name="actor" value=(text("actor")?) placeholder="key_..."; }
            div class="field" { label for="since" { "Since (UTC)" } input id="since" name="since" type="datetime-local" value=(text("since")?); }
            div class="field" { label for="until" { "Before (UTC)" } input id="until" name="until" type="datetime-local" value=(text("until")?); }
            button { "Find" }
        }
    })
}

/// One event.
pub(crate) async fn show(visit: &Visit<'_>, id: EventId) -> Result<Response> {
    let event = visit
        .look(Action::AuditRead, Target::default(), async |service, attempt| {
            service.audit_event(attempt, id).await
        })
        .await?;
    let body = html! {
        section aria-labelledby="facts" {
            h2 id="facts" { "What happened" }
            (facts(&event, visit.now))
        }
        @if !event.writes.is_empty() {
            section aria-labelledby="writes" {
                h2 id="writes" { "What was written with it" }
                p class="soft small" { "Keyed digests of the records, never their content." }
                ul { @for write in event.writes.iter().take(WRITES_SHOWN) { li { (parts::code(&write.record)) } } }
            }
        }
        section aria-labelledby="proof" {
            h2 id="proof" { "Proof that it is in the log" }
            (proof(visit, id).await?)
        }
    };
    let page = Page::new(PATH, words::action(event.action), body)
        .below("Events", PATH)
        .beside(html! { div { (outcome(event.outcome)) } });
    Ok(page.show(visit))
}

fn facts(event: &Event, now: Timestamp) -> Markup {
    let Target { application, key, role, webhook, policy, credential } = event.target;
    html! {
        dl class="facts" {
            dt { "Event" } dd { (copied(event.id)) ", " (parts::code(event.action.as_str())) }
            dt { "When" } dd { (when_in_full(event.at, now)) }
            dt { "By" } dd {
                (name(words::actor(&event.actor)))
                @if let Some(key) = event.actor.key { " with " (keys::link(key)) }
            }
            @if let Some(address) = &event.source.client_addr { dt { "From" } dd { (parts::code(address)) } }
            @if let Some(agent) = &event.source.user_agent { dt { "By means of" } dd { (name(agent)) } }
            @if let Some(reason) = &event.reason { dt { "Reason" } dd { (name(reason)) } }
            @if let Some(id) = application { dt { "Application" } dd { a href=(format!("{}/{id}", applications::PATH)) { (parts::code(id)) } } }
            @if let Some(id) = key { dt { "Key" } dd { (keys::link(id)) } }
            @if let Some(id) = role { dt { "Role" } dd { (parts::code(id)) } }
            @if let Some(id) = webhook { dt { "Webhook" } dd { (parts::code(id)) } }
            @if let Some(id) = credential { dt { "Credential" } dd { (credentials::link(id)) } }
            @if let Some(id) = policy { dt { "Policy" } dd { (parts::code(id)) } }
            @if !event.detail.is_empty() {
                dt { "Detail" } dd { ul class="inline" { @for detail in &event.detail { li { (name(detail)) } } } }
            }
            @if let Some(request) = event.request { dt { "Request" } dd { (parts::code(request)) } }
            @if let Some(previous) = event.previous { dt { "Before it" } dd { a href=(format!("{PATH}/{previous}")) { (parts::code(previous)) } } }
        }
    }
}

/// The sealed event, its place in the tree and the way from it to the root: enough for the browser, or anybody, to check it.
async fn proof(visit: &Visit<'_>, id: EventId) -> Result<Markup> {
    if !visit.may_everywhere(scope::AUDIT_READ) {
        return Ok(needs(scope::AUDIT_READ));
    }
    let found = visit
        .look(Action::AuditRead, Target::default(), async |service, attempt| {
            let proof = service.audit_inclusion(attempt, id, None).await?;
            Ok((proof, service.audit_entry(attempt, id).await?))
        })
        .await;
    let (proof, entry) = match found {
        Ok(found) => found,
        Err(error) if matches!(error.code, Code::NotFound | Code::StateConflict) => {
            return Ok(
                html! { p { "The tree does not reach it yet. It will within a minute: load the page again then." } },
            );
        }
        Err(error) => return Err(error),
    };
    Ok(html! {
        div data-proof data-entry=(STANDARD.encode(entry)) data-index=(proof.from) data-size=(proof.size) data-root=(proof.root) data-hashes=(proof.hashes.join(" ")) {
            p { "Entry " (words::grouped(proof.from.saturating_add(1))) " of the " (words::grouped(proof.size)) " that the tree has, by RFC 6962: the hash of the sealed event and these nodes lead to the root." }
            p class="actions" {
                button type="button" data-check hidden { "Check it in this browser" }
                span role="status" data-told {}
            }
            details {
                summary { "The proof" }
                dl class="facts" {
                    dt { "Root" } dd { (copied(&proof.root)) }
                    dt { "Nodes" } dd { @if proof.hashes.is_empty() { "none: it is the only entry" } ol { @for hash in &proof.hashes { li { (parts::code(hash)) } } } }
                }
                p class="small" { "The same over HTTP: " (parts::code(format!("GET /v1/audit/proof/inclusion?event={id}&size={}", proof.size)))
                    "; the whole log, against its signed checkpoint: " (parts::code("keyward audit verify")) "." }
            }
        }
    })
}
