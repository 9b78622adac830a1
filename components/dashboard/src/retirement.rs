//! Retiring what keys and applications have by reference, policies and roles: for good, and done once however often it is pressed.

use crate::fields;
use crate::page::Page;
use crate::visit::Visit;
use keyward_domain::{Code, Error, Result};
use keyward_guest::Response;
use maud::{Markup, html};
use std::fmt::Display;

/// What somebody is about to retire.
pub(crate) struct Retiring<'r> {
    /// What one of its kind is called.
    pub(crate) what: &'static str,
    /// What their list is called, and where it is.
    pub(crate) list: (&'static str, &'static str),
    pub(crate) id: &'r dyn Display,
    pub(crate) name: &'r str,
}

/// Says what it means, and asks.
pub(crate) fn ask(visit: &Visit<'_>, retiring: &Retiring<'_>, means: &Markup) -> Response {
    let Retiring { what, list: (list, path), id, name } = *retiring;
    let here = format!("{path}/{id}");
    let body = html! {
        div class="confirm" {
            ul class="consequences" { (means) }
            (visit.form_to(&format!("{here}/retire"), &html! {
                (fields::reason(""))
                p class="actions" { button class="danger" { "Retire the " (what) } " " a href=(here) { "Leave it as it is" } }
            }))
        }
    };
    Page::new(path, format!("Retire: {name}"), body)
        .below(list, path)
        .below(name.to_owned(), here)
        .show(visit)
}

/// Leads back to what was retired. Pressed twice, what was asked for is so already.
pub(crate) async fn ended(
    retired: Result<()>,
    here: &str,
    is_so: impl AsyncFnOnce() -> Result<bool>,
) -> Result<Response> {
    match retired {
        Err(Error { code: Code::StateConflict, .. }) if is_so().await? => {}
        other => other?,
    }
    Ok(Response::see_other(&format!("{here}?done=retire")))
}
