//! Roles: named bundles of scopes that keys of `keyward` hold by reference.

use crate::applications::is_about_the_form;
use crate::change::{self, revision_seen};
use crate::fields::{self, Line, lines, words as scopes_in};
use crate::page::{self, Page};
use crate::parts::{Shape, Tone, badge, code, copied, empty, name, pager, when_in_full};
use crate::retirement;
use crate::visit::Visit;
use keyward_domain::event::{Action, Target};
use keyward_domain::scope::administration as scope;
use keyward_domain::{Error, Result, RoleId};
use keyward_guest::{Form, Response};
use keyward_service::{NewRole, RoleChange, RoleView};
use maud::{Markup, html};

pub(crate) const PATH: &str = "/dashboard/roles";
const NEW: &str = "/dashboard/roles/new";
const PER_PAGE: &str = "50";
const SCOPES_HINT: &str = "What whoever holds it may do, such as keys:read or keys:revoke@app_...; one in a line. You can give what you hold yourself.";

/// The table.
pub(crate) async fn page(visit: &Visit<'_>) -> Result<Response> {
    let (page, is_first) = visit.page_of(PER_PAGE, &[])?;
    let found = visit
        .look(Action::RoleRead, Target::default(), async |service, attempt| {
            service.roles(attempt, &page).await
        })
        .await?;
    let body = html! {
        @if found.items.is_empty() {
            (empty("No role yet", html! { "Without roles, each key of " (code("keyward")) " has its own scopes alone." }))
        } @else {
            div class="table" { table {
                thead { tr { th scope="col" { "Role" } th scope="col" { "State" } th scope="col" { "Allows" } } }
                tbody { @for role in &found.items {
                    tr {
                        th scope="row" data-label="Role" {
                            a href=(format!("{PATH}/{}", role.id)) { (name(&role.name)) }
                            @if !role.description.is_empty() { div class="soft small" { (name(&role.description)) } }
                        }
                        td data-label="State" { (standing(role)) }
                        td data-label="Allows" { (allowed(role)) }
                    }
                } }
            } }
        }
        (pager(PATH, &[], is_first, found.next_cursor.as_deref()))
    };
    let new =
        html! { @if visit.may_everywhere(scope::ROLES_WRITE) { a class="button" href=(NEW) { "New role" } } };
    Ok(Page::new(PATH, "Roles", body).beside(new).show(visit))
}

fn standing(role: &RoleView) -> Markup {
    match role.retired_at {
        None => badge(Tone::Good, Shape::Disc, "In force"),
        Some(_) => badge(Tone::Quiet, Shape::Cross, "Retired"),
    }
}

fn allowed(role: &RoleView) -> Markup {
    html! { ul class="inline" { @for scope in role.scopes.iter() { li { (code(scope)) } } } }
}

async fn find(visit: &Visit<'_>, id: RoleId) -> Result<RoleView> {
    visit
        .look(Action::RoleRead, Target::role(Some(id)), async |service, attempt| {
            service.role(attempt, id).await
        })
        .await
}

/// One role.
pub(crate) async fn show(visit: &Visit<'_>, id: RoleId) -> Result<Response> {
    let done = match visit.incoming.query()?.one("done")? {
        Some("create") => Some("The role is there. No key holds it yet."),
        Some("edit") => Some("The role is changed, for every key that holds it."),
        Some("retire") => Some("The role is retired: it allows nothing any more."),
        _ => None,
    };
    let role = find(visit, id).await?;
    let is_open = role.retired_at.is_none() && visit.may_everywhere(scope::ROLES_WRITE);
    let body = html! {
        @if let Some(done) = done { p class="notice" role="status" { (done) } }
        @if is_open {
            ul class="deeds" {
                li { a class="button" href=(format!("{PATH}/{id}/edit")) { "Edit" } }
                li { a class="button danger" href=(format!("{PATH}/{id}/retire")) { "Retire" } }
            }
        }
        section aria-labelledby="facts" {
            h2 id="facts" { "Facts" }
            dl class="facts" {
                dt { "Id" } dd { (copied(id)) }
                @if !role.description.is_empty() { dt { "Description" } dd { (name(&role.description)) } }
                dt { "Allows" } dd { (allowed(&role)) }
                dt { "Created" } dd { (when_in_full(role.created_at, visit.now)) }
                @if let Some(at) = role.retired_at { dt { "Retired" } dd { (when_in_full(at, visit.now)) } }
            }
        }
    };
    let page = Page::new(PATH, role.name.clone(), body)
        .below("Roles", PATH)
        .beside(html! { div { (standing(&role)) } });
    Ok(page.show(visit))
}

/// The form for a new one.
pub(crate) fn new(visit: &Visit<'_>) -> Response {
    form_of(visit, None, &Form::default(), None)
}

/// The form for one that there is.
pub(crate) async fn edit(visit: &Visit<'_>, id: RoleId) -> Result<Response> {
    Ok(form_of(visit, Some(&find(visit, id).await?), &Form::default(), None))
}

fn form_of(visit: &Visit<'_>, known: Option<&RoleView>, form: &Form, error: Option<&Error>) -> Response {
    let (action, above) = match known {
        Some(role) => (format!("{PATH}/{}/edit", role.id), format!("{PATH}/{}", role.id)),
        None => (NEW.to_owned(), PATH.to_owned()),
    };
    let written = |field: &str, known: Option<String>| {
        if form.has(field) { form.text(field).to_owned() } else { known.unwrap_or_default() }
    };
    let held = known.map(|role| role.scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    let body = html! {
        @if let Some(error) = error { (page::problem(error)) }
        div class="confirm" {
            @if known.is_some() { ul class="consequences" { li { "What you change holds for every key that has this role, at its next request." } } }
            (visit.form_to(&action, &html! {
                (Line { name: "name", label: "Name", value: &written("name", known.map(|role| role.name.clone())), hint: "", is_needed: true }.show())
                (Line { name: "description", label: "Description", value: &written("description", known.map(|role| role.description.clone())), hint: "", is_needed: false }.show())
                (lines("scopes", "Scopes", &written("scopes", held), SCOPES_HINT))
                @if let Some(role) = known { (change::seen(role.revision)) }
                p class="actions" { button { (if known.is_some() { "Keep these" } else { "Create the role" }) } " " a href=(above) { "Leave it as it is" } }
            }))
        }
    };
    let page = match known {
        Some(role) => Page::new(PATH, format!("Edit: {}", role.name), body)
            .below("Roles", PATH)
            .below(role.name.clone(), above),
        None => Page::new(PATH, "New role", body).below("Roles", PATH),
    };
    page.show_as(visit, error.map_or(200, |error| error.code.status()))
}

/// Creates one.
pub(crate) async fn create(visit: &Visit<'_>) -> Result<Response> {
    let form = visit.form();
    let created = visit
        .change(Action::RoleCreated, Target::default(), async |service, attempt| {
            let new = NewRole {
                name: form.text("name").to_owned(),
                description: form.text("description").to_owned(),
                scopes: scopes_in(form.text("scopes")),
            };
            service.create_role(attempt, new).await
        })
        .await;
    match created {
        Ok(answer) => Ok(Response::see_other(&format!(
            "{PATH}/{}?done=create",
            fields::created_id::<RoleId>(&answer.to_json())?
        ))),
        Err(error) if is_about_the_form(&error) => Ok(form_of(visit, None, form, Some(&error))),
        Err(error) => Err(error),
    }
}

/// Changes one.
pub(crate) async fn change(visit: &Visit<'_>, id: RoleId) -> Result<Response> {
    let form = visit.form();
    let known = find(visit, id).await?;
    let changed = visit
        .change(Action::RoleChanged, Target::role(Some(id)), async |service, attempt| {
            let name = change::line(form, "name", &known.name);
            let description = change::line(form, "description", &known.description);
            let scopes = scopes_in(form.text("scopes"));
            let holds = known.scopes.iter().map(ToString::to_string).eq(scopes.iter().cloned());
            if holds && name == known.name && description == known.description {
                // Sent twice, or nothing was touched.
                return Ok(());
            }
            let change =
                RoleChange { name: Some(name), description: Some(description), scopes: Some(scopes) };
            service.change_role(attempt, id, change, revision_seen(visit)).await.map(drop)
        })
        .await;
    match changed {
        Ok(()) => Ok(Response::see_other(&format!("{PATH}/{id}?done=edit"))),
        Err(error) if is_about_the_form(&error) => Ok(form_of(visit, Some(&known), form, Some(&error))),
        Err(error) => Err(error),
    }
}

/// Says what retiring one does, and asks.
pub(crate) async fn ask_to_retire(visit: &Visit<'_>, id: RoleId) -> Result<Response> {
    let role = find(visit, id).await?;
    let means = html! { li { strong { "The role allows nothing any more, for good." } " It is refused while a key still holds it, so that nobody loses powers by a deed that does not say so." } };
    Ok(retirement::ask(
        visit,
        &retirement::Retiring { what: "role", list: ("Roles", PATH), id: &id, name: &role.name },
        &means,
    ))
}

/// Retires one.
pub(crate) async fn retire(visit: &Visit<'_>, id: RoleId) -> Result<Response> {
    let retired = visit
        .change(Action::RoleRetired, Target::role(Some(id)), async |service, attempt| {
            service.retire_role(attempt, id, visit.form().text("reason")).await
        })
        .await;
    let is_so = async || Ok(find(visit, id).await?.retired_at.is_some());
    retirement::ended(retired.map(drop), &format!("{PATH}/{id}"), is_so).await
}
