//! Applications: a table, a page for each, and what can be done with one and with all of its keys.

use crate::application_form::{EDIT, NEW};
use crate::credentials;
use crate::deeds::{self, Deed, Told};
use crate::events;
use crate::fields;
use crate::keys;
use crate::page::{self, Page};
use crate::parts::{self, Shape, Tone, badge, copied, empty, name, needs, pager, when_in_full};
use crate::policies;
use crate::visit::Visit;
use keyward_domain::application::{Importance, Status};
use keyward_domain::error::Blame;
use keyward_domain::event::{Action, Target};
use keyward_domain::scope::administration as scope;
use keyward_domain::{ApplicationId, Code, Error, Result};
use keyward_guest::{Form, Response};
use keyward_service::{ApplicationChange, ApplicationView, EventFilter, Page as ListPage};
use maud::{Markup, html};

pub(crate) const PATH: &str = "/dashboard/applications";
const PER_PAGE: &str = "50";
/// Applications to choose from.
const CHOICES: &str = "100";
const EVENTS_SHOWN: &str = "10";
/// Those whose keys can be looked at, to choose from; none where the visitor may not see applications.
pub(crate) async fn all(visit: &Visit<'_>) -> Result<Vec<ApplicationView>> {
    if !visit.may(scope::APPS_READ) {
        return Ok(Vec::new());
    }
    let page = ListPage::parse(Some(CHOICES), None)?;
    let found = visit
        .look(Action::ApplicationRead, Target::default(), async |service, attempt| {
            service.applications(attempt, &page).await
        })
        .await?;
    Ok(found.items)
}

/// The table.
pub(crate) async fn page(visit: &Visit<'_>) -> Result<Response> {
    let (page, is_first) = visit.page_of(PER_PAGE, &[])?;
    let found = visit
        .look(Action::ApplicationRead, Target::default(), async |service, attempt| {
            service.applications(attempt, &page).await
        })
        .await?;
    let body = html! {
        @if found.items.is_empty() {
            (empty("No application yet", html! { "An application is whoever keys are issued for: a partner, a service, a channel." }))
        } @else {
            div class="table" { table {
                thead { tr {
                    th scope="col" { "Application" } th scope="col" { "State" } th scope="col" { "Importance" }
                    th scope="col" { "Contacts" } th scope="col" { "Tokens start with" } th scope="col" { "Keys" }
                } }
                tbody { @for application in &found.items { (row(application)) } }
            } }
        }
        (pager(PATH, &[], is_first, found.next_cursor.as_deref()))
    };
    let new = html! { @if visit.may_everywhere(scope::APPS_WRITE) { a class="button" href=(NEW) { "New application" } } };
    Ok(Page::new(PATH, "Applications", body).beside(new).show(visit))
}

fn row(application: &ApplicationView) -> Markup {
    html! {
        tr {
            th scope="row" data-label="Application" { a href=(format!("{PATH}/{}", application.id)) { (name(&application.name)) } }
            td data-label="State" { (standing(application.status)) }
            td data-label="Importance" { (importance(application.importance)) }
            td data-label="Contacts" { (contacts(&application.contacts)) }
            td data-label="Tokens" { (parts::code(format!("{}_", application.prefix))) }
            td data-label="Keys" class="nowrap" { a href=(parts::target(keys::PATH, &[("application", &application.id.to_string())])) { "Its keys" } }
        }
    }
}

fn standing(status: Status) -> Markup {
    match status {
        Status::Active => badge(Tone::Good, Shape::Disc, "Active"),
        Status::Suspended => badge(Tone::Warn, Shape::Square, "Suspended"),
    }
}

pub(crate) const fn importance(importance: Importance) -> &'static str {
    match importance {
        Importance::Low => "low",
        Importance::Normal => "normal",
        Importance::High => "high",
        Importance::Critical => "critical",
    }
}

/// Whom to reach.
pub(crate) fn contacts(contacts: &[String]) -> Markup {
    html! {
        @if contacts.is_empty() { span class="soft" { "nobody" } }
        ul class="inline" { @for contact in contacts { li { (name(contact)) } } }
    }
}

/// The application, as far as this visitor may see it.
pub(crate) async fn find(visit: &Visit<'_>, id: ApplicationId) -> Result<ApplicationView> {
    visit
        .look(Action::ApplicationRead, Target::application(Some(id)), async |service, attempt| {
            service.application(attempt, id).await
        })
        .await
}

/// One application.
pub(crate) async fn show(visit: &Visit<'_>, id: ApplicationId) -> Result<Response> {
    let done = match visit.incoming.query()?.one("done")? {
        Some("create") => Some("The application is there. It has no key yet."),
        Some(EDIT) => Some("The application is changed."),
        path => ApplicationDeed::done(path),
    };
    let application = find(visit, id).await?;
    let policy = policies::called(visit, application.policy, "").await?;
    let keys_path = parts::target(keys::PATH, &[("application", &id.to_string())]);
    let is_fit = |deed: &ApplicationDeed| deed.fits(&application) && visit.may_at(deed.scope(), id);
    let fitting = ApplicationDeed::ALL.iter().copied().filter(is_fit);
    let body = html! {
        @if let Some(done) = done { p class="notice" role="status" { (done) } }
        ul class="deeds" {
            li { a class="button" href=(keys_path) { "Its keys" } }
            @if visit.may_in_part(scope::CREDENTIALS_LIST, id) {
                li { a class="button" href=(parts::target(credentials::PATH, &[("application", &id.to_string())])) { "Its credentials" } }
            }
            @if visit.may_at(scope::KEYS_WRITE, id) {
                li { a class="button" href=(parts::target("/dashboard/keys/new", &[("application", &id.to_string())])) { "New key" } }
            }
            @if visit.may_at(scope::APPS_WRITE, id) {
                li { a class="button" href=(format!("{PATH}/{id}/{EDIT}")) { "Edit" } }
            }
            (deeds::ways(format!("{PATH}/{id}"), fitting))
        }
        section aria-labelledby="facts" {
            h2 id="facts" { "Facts" }
            dl class="facts" {
                dt { "Id" } dd { (copied(id)) }
                dt { "Importance" } dd { (importance(application.importance)) }
                dt { "Contacts" } dd { (contacts(&application.contacts)) }
                dt { "Tokens start with" } dd { (parts::code(format!("{}_", application.prefix))) }
                dt { "Policy" } dd {
                    @match application.policy { Some(id) => a href=(format!("{}/{id}", policies::PATH)) { (name(&policy)) }, None => span class="soft" { "none chosen: rotation every 90 days, 7 days of grace" } }
                }
                @if !application.limits.is_empty() {
                    dt { "Limits" } dd { ul class="inline" { @for limit in &application.limits { li { (parts::code(limit)) } } } }
                }
                @if !application.routes.is_empty() {
                    dt { "Slots" } dd { ul class="inline" { @for route in &application.routes { li { (name(&route.slot)) " " (keys::link(route.key)) } } } }
                }
                dt { "Generation of its keys" } dd { (application.generation) }
                dt { "Created" } dd { (when_in_full(application.created_at, visit.now)) }
            }
        }
        section aria-labelledby="timeline" {
            h2 id="timeline" { "Latest events" }
            (latest(visit, id).await?)
        }
    };
    let page = Page::new(PATH, application.name.clone(), body)
        .below("Applications", PATH)
        .beside(html! { div { (standing(application.status)) } });
    Ok(page.show(visit))
}

async fn latest(visit: &Visit<'_>, id: ApplicationId) -> Result<Markup> {
    if !visit.may_at(scope::AUDIT_READ, id) {
        return Ok(needs(scope::AUDIT_READ));
    }
    let filter = EventFilter { application: Some(id), ..EventFilter::default() };
    let page = ListPage::parse(Some(EVENTS_SHOWN), None)?;
    let found = visit
        .look(Action::AuditRead, Target::application(Some(id)), async |service, attempt| {
            service.audit_events(attempt, &filter, &page).await
        })
        .await?;
    Ok(html! {
        (events::timeline(visit, &found.items).await?)
        @if found.next_cursor.is_some() {
            p { a href=(parts::target(events::PATH, &[("application", &id.to_string())])) { "All events of this application" } }
        }
    })
}

/// Whether a refusal is about what was written in a form, so that it belongs beside it.
pub(crate) fn is_about_the_form(error: &Error) -> bool {
    error.code == Code::NameTaken || (error.code.blame() == Blame::Caller && !error.fields.is_empty())
}

/// What can be done with an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ApplicationDeed {
    Suspend,
    Resume,
    Revoke,
}

impl Deed for ApplicationDeed {
    const ALL: &'static [Self] = &[Self::Suspend, Self::Resume, Self::Revoke];

    fn told(self) -> Told {
        match self {
            Self::Suspend => Told::new("suspend", "Suspend", "Suspend the application")
                .done("The application is suspended: its keys are refused until it is resumed."),
            Self::Resume => Told::new("resume", "Resume", "Resume the application")
                .done("The application is resumed: its keys pass again."),
            Self::Revoke => Told::new("revoke", "Revoke all its keys", "Revoke all its keys for good")
                .dangerous()
                .done("All keys that it had are revoked, for good. Keys issued from now on live."),
        }
    }
}

impl ApplicationDeed {
    const fn scope(self) -> &'static str {
        match self {
            Self::Suspend | Self::Resume => scope::APPS_WRITE,
            Self::Revoke => scope::KEYS_REVOKE,
        }
    }

    const fn action(self) -> Action {
        match self {
            Self::Suspend | Self::Resume => Action::ApplicationChanged,
            Self::Revoke => Action::ApplicationRevoked,
        }
    }

    fn fits(self, application: &ApplicationView) -> bool {
        let is_built_in = application.id == ApplicationId::KEYWARD;
        match self {
            Self::Suspend => !is_built_in && application.status == Status::Active,
            Self::Resume => application.status == Status::Suspended,
            Self::Revoke => !is_built_in,
        }
    }
}

/// Says what a deed will do, and asks.
pub(crate) async fn ask(visit: &Visit<'_>, id: ApplicationId, path: &str) -> Result<Response> {
    let deed = ApplicationDeed::of(path)?;
    let application = find(visit, id).await?;
    Ok(form_of(visit, deed, &application, &Form::default(), None))
}

fn form_of(
    visit: &Visit<'_>,
    deed: ApplicationDeed,
    application: &ApplicationView,
    form: &Form,
    error: Option<&Error>,
) -> Response {
    let here = format!("{PATH}/{}", application.id);
    let body = html! {
        @if let Some(error) = error { (page::problem(error)) }
        div class="confirm" {
            ul class="consequences" {
                @match deed {
                    ApplicationDeed::Suspend => {
                        li { "Every request with any of its keys is refused, within a quarter of a second, until somebody resumes it." }
                        li { "Nothing is lost: keys, claims and rotations stay as they are." }
                    }
                    ApplicationDeed::Resume => { li { "Its keys pass again within a quarter of a second." } }
                    ApplicationDeed::Revoke => {
                        li { strong { "Every key that was issued for it so far ends, for good" } ", within a quarter of a second. This cannot be undone." }
                        li { "Keys that are issued afterwards live. The application itself stays." }
                        li { a href=(parts::target(keys::PATH, &[("application", &application.id.to_string())])) { "Look at its keys" } " first, if there is time." }
                    }
                }
            }
            (visit.form_to(&format!("{here}/{}", deed.told().path), &html! {
                @match deed {
                    ApplicationDeed::Suspend | ApplicationDeed::Resume => (fields::reason(form.text("reason"))),
                    ApplicationDeed::Revoke => (fields::reason(form.given("reason").unwrap_or("revoked from the dashboard"))),
                }
                (deeds::buttons(deed, &here))
            }))
        }
    };
    let status = error.map_or(200, |error| error.code.status());
    Page::new(PATH, format!("{}: {}", deed.told().label, application.name), body)
        .below("Applications", PATH)
        .below(application.name.clone(), here)
        .show_as(visit, status)
}

/// Does it.
pub(crate) async fn act(visit: &Visit<'_>, id: ApplicationId, path: &str) -> Result<Response> {
    let deed = ApplicationDeed::of(path)?;
    let form = visit.form();
    let done = visit
        .change(deed.action(), Target::application(Some(id)), async |service, attempt| {
            let change = match deed {
                ApplicationDeed::Revoke => {
                    return service.revoke_application(attempt, id, form.text("reason")).await.map(drop);
                }
                ApplicationDeed::Suspend => status(Status::Suspended, form),
                ApplicationDeed::Resume => status(Status::Active, form),
            };
            service.change_application(attempt, id, change, None).await.map(drop)
        })
        .await;
    match done {
        Ok(()) => Ok(Response::see_other(&format!("{PATH}/{id}?done={path}"))),
        Err(error) if is_about_the_form(&error) => {
            Ok(form_of(visit, deed, &find(visit, id).await?, form, Some(&error)))
        }
        Err(error) => Err(error),
    }
}

fn status(status: Status, form: &Form) -> ApplicationChange {
    let reason = form.given("reason").map(str::to_owned);
    ApplicationChange { status: Some(status), reason, ..ApplicationChange::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_deed_has_a_path_of_its_own() {
        deeds::check_paths::<ApplicationDeed>();
    }
}
