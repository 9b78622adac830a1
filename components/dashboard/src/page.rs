//! The frame that every page has: where one is, who one is, what went wrong. One heading of the first rank, one main part, a way past the
//! navigation.

use crate::assets::{ICON, SCRIPT, STYLE};
use crate::parts;
use crate::sign_in::{self, Told};
use crate::visit::{Visit, why};
use keyward_control::Plane;
use keyward_control::session::NoSession;
use keyward_domain::error::Blame;
use keyward_domain::scope::administration as scope;
use keyward_domain::{Code, Error, RequestId, Result};
use keyward_guest::{Incoming, Method, Response, problem};
use maud::{DOCTYPE, Markup, html};

/// The parts of the dashboard, as the navigation has them: name, path, and the scope without which there is nothing to see.
const SECTIONS: &[(&str, &str, Option<&str>)] = &[
    ("Overview", "/dashboard", None),
    ("Keys", "/dashboard/keys", Some(scope::KEYS_READ)),
    ("Emergency", "/dashboard/emergency", None),
    ("Applications", "/dashboard/applications", Some(scope::APPS_READ)),
    ("Credentials", "/dashboard/credentials", Some(scope::CREDENTIALS_LIST)),
    ("Events", "/dashboard/events", Some(scope::AUDIT_READ)),
    ("Webhooks", "/dashboard/webhooks", Some(scope::WEBHOOKS_READ)),
    ("Policies", "/dashboard/policies", Some(scope::POLICIES_READ)),
    ("Roles", "/dashboard/roles", Some(scope::ROLES_READ)),
    ("Report", "/dashboard/report", Some(scope::AUDIT_READ)),
];

/// A page.
pub(crate) struct Page {
    /// The heading, and what the browser's tab says.
    pub(crate) title: String,
    /// Which part of the dashboard it is in: the path of that part.
    pub(crate) section: &'static str,
    /// Where it lies below that part, from the top: names and paths.
    pub(crate) trail: Vec<(String, String)>,
    /// What stands beside the heading.
    pub(crate) beside: Markup,
    /// The rest.
    pub(crate) body: Markup,
}

impl Page {
    /// A page of a part of the dashboard.
    pub(crate) fn new(section: &'static str, title: impl Into<String>, body: Markup) -> Self {
        Self { title: title.into(), section, trail: Vec::new(), beside: html! {}, body }
    }

    /// The same below this one.
    #[must_use]
    pub(crate) fn below(mut self, name: impl Into<String>, path: impl Into<String>) -> Self {
        self.trail.push((name.into(), path.into()));
        self
    }

    /// The same with this beside its heading.
    #[must_use]
    pub(crate) fn beside(self, beside: Markup) -> Self {
        Self { beside, ..self }
    }

    /// The page for whoever is signed in.
    pub(crate) fn show(self, visit: &Visit<'_>) -> Response {
        self.show_as(visit, 200)
    }

    /// The same with another status.
    pub(crate) fn show_as(self, visit: &Visit<'_>, status: u16) -> Response {
        let Self { title, section, trail, beside, body } = self;
        let is_shown = |scope: Option<&'static str>| scope.is_none_or(|scope| visit.may(scope));
        let frame = html! {
            a class="skip" href="#main" { "Skip to the content" }
            header class="top" {
                a class="brand" href="/dashboard" { "Keyward" }
                nav class="sections" aria-label="Dashboard" {
                    ul {
                        @for (name, path, _) in SECTIONS.iter().filter(|(_, _, scope)| is_shown(*scope)) {
                            @let current = if trail.is_empty() { "page" } else { "true" };
                            li { a href=(path) aria-current=[(*path == section).then_some(current)] { (name) } }
                        }
                    }
                }
                div class="who" {
                    span { "Signed in as " strong { (parts::name(visit.principal())) } }
                    (visit.form_to("/dashboard/sign-out", &html! { button class="link" { "Sign out" } }))
                }
            }
            main id="main" tabindex="-1" {
                @if !trail.is_empty() {
                    nav class="trail" aria-label="Above this page" {
                        @for (name, path) in &trail { a href=(path) { (parts::name(name)) } " " span aria-hidden="true" { "/" } " " }
                    }
                }
                div class="heading" { h1 { (parts::name(&title)) } (beside) }
                (body)
            }
        };
        document(status, &title, &frame)
    }
}

/// A page for whoever is not signed in: nothing but itself.
pub(crate) fn alone(status: u16, title: &str, body: &Markup) -> Response {
    let frame = html! {
        main id="main" class="alone" { p class="brand" { "Keyward" } h1 { (title) } (body) }
    };
    document(status, title, &frame)
}

fn document(status: u16, title: &str, frame: &Markup) -> Response {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " · Keyward" }
                link rel="icon" href=(ICON.path()) type="image/svg+xml";
                link rel="stylesheet" href=(STYLE.path());
                script src=(SCRIPT.path()) defer {}
            }
            body { (frame) }
        }
    };
    Response::page_with_assets(status, document.into_string())
}

/// The page to sign in, in the place of the one that was asked for.
pub(crate) fn sign_in_first(plane: &Plane, incoming: &Incoming, had: Option<NoSession>) -> Result<Response> {
    let told = had.and_then(why);
    Ok(sign_in::form(plane, incoming, 401, &Told { told, ..Told::going_to(sign_in::way_back(incoming)) }))
}

/// The same for whoever has a session whose key does not pass any more.
pub(crate) fn sign_in_again(plane: &Plane, incoming: &Incoming, error: &Error) -> Result<Response> {
    let told = Told {
        told: Some("Your session has ended with the key that opened it."),
        detail: Some(&error.detail),
        ..Told::going_to(sign_in::way_back(incoming))
    };
    Ok(sign_in::form(plane, incoming, 401, &told))
}

/// What went wrong for whoever is signed in.
pub(crate) fn refused(visit: &Visit<'_>, error: &Error) -> Response {
    problem::log(error, visit.incoming.id());
    let body = told(error, visit.incoming.id(), visit.incoming.method() == Method::Post);
    let page = Page { trail: Vec::new(), ..Page::new("", error.code.title(), body) };
    with_wait(page.show_as(visit, error.code.status()), error)
}

/// The same for whoever is not, or where even that is not known.
pub(crate) fn failed(incoming: &Incoming, error: &Error) -> Response {
    problem::log(error, incoming.id());
    let body = told(error, incoming.id(), incoming.method() == Method::Post);
    with_wait(alone(error.code.status(), error.code.title(), &body), error)
}

fn with_wait(response: Response, error: &Error) -> Response {
    match error.retry_after_s.or((error.code.status() == 503).then_some(1)) {
        Some(seconds) => response.with("retry-after", seconds.to_string()),
        None => response,
    }
}

/// What was wrong with a form, for the head of the same form.
pub(crate) fn problem(error: &Error) -> Markup {
    html! { div class="problem" role="alert" { (findings(error)) } }
}

fn findings(error: &Error) -> Markup {
    let detail = match error.code {
        // What is wrong inside is for the log.
        Code::Internal => "",
        _ => &error.detail,
    };
    html! {
        @if !detail.is_empty() { p { (parts::name(&sentence(detail))) } }
        @if error.fields.len() > 1 {
            ul { @for field in &error.fields {
                li { (parts::code(&field.field)) " " (parts::name(&field.reason)) "; expected " (parts::name(&field.expected)) }
            } }
        }
    }
}

/// What happened, whether anything was changed, and what to do now.
fn told(error: &Error, request: RequestId, posted: bool) -> Markup {
    html! {
        div class="problem" role="alert" {
            (findings(error))
            p { (next(error, posted)) }
        }
        @if posted { p { "Your browser's way back leads to the form, with what you wrote in it." } }
        p { a href="/dashboard" { "Go to the overview" } }
        p class="soft" { "Request " (parts::code(request)) }
    }
}

/// The first letter large, a stop at the end.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

/// What to do about it.
fn next(error: &Error, posted: bool) -> &'static str {
    match (error.code, error.code.blame()) {
        (Code::InsufficientScope, _) => {
            "Whoever issued your key can give it this scope; the refusal is in the log. Sign in again after that."
        }
        (Code::NotFound, _) => {
            "It may have been given another id, or belong to an application that this key does not reach."
        }
        (Code::Forbidden | Code::MethodNotAllowed | Code::MisplacedCredential, _) => "Nothing was changed.",
        (Code::TooManyAttempts, _) => "A good key passes at any time.",
        (Code::RevisionMismatch, _) => "Somebody was faster. Look at it as it is now, and decide again.",
        (Code::OutcomeUnknown, _) => "Load the page again and look whether it was done before you repeat it.",
        (_, Blame::Caller) if posted => "Nothing was changed. Correct it and send it again.",
        (_, Blame::Caller) => "Correct the address, or start from the overview.",
        (_, Blame::Conflict) => "Nothing was changed.",
        (_, Blame::Store) => {
            "Nothing was changed. Wait a moment and load the page again; tokens are refused meanwhile, not let through."
        }
        (_, Blame::Integrity) => {
            "Somebody who runs Keyward must look at it: `keyward audit verify` names what is damaged."
        }
        (_, Blame::Bug) => "It is in the log of whoever runs Keyward, under the request below.",
    }
}
