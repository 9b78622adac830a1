//! A new key: a form, and the link for whoever is to claim it.

use crate::applications;
use crate::claim;
use crate::fields::{DAY_S, Line, choice, span_s};
use crate::key_fields::{self, Written};
use crate::keys::PATH;
use crate::page::{self, Page};
use crate::policies;
use crate::visit::Visit;
use keyward_domain::error::Blame;
use keyward_domain::event::{Action, Target};
use keyward_domain::key::Environment;
use keyward_domain::{ApplicationId, Error, Result};
use keyward_guest::{Form, Response};
use keyward_service::{ApplicationView, NewKey, NewRules};
use maud::html;

const HERE: &str = "/dashboard/keys/new";

/// The form.
pub(crate) async fn page(visit: &Visit<'_>) -> Result<Response> {
    let query = visit.incoming.query()?;
    query.only(&["application"])?;
    let chosen = query.one("application")?.unwrap_or_default();
    show(visit, &Form::default(), chosen, None).await
}

/// The form with what was written in it, and what was wrong with that.
async fn show(visit: &Visit<'_>, form: &Form, chosen: &str, error: Option<&Error>) -> Result<Response> {
    let applications = applications::all(visit).await?;
    let line =
        |name, label, hint, is_needed| Line { name, label, value: form.text(name), hint, is_needed }.show();
    let written = |field: &str| form.text(field).to_owned();
    let policies = policies::choices(visit, "That of its application", form.text("policy")).await?;
    let environments = [("live".to_owned(), "Live".to_owned()), ("test".to_owned(), "Test".to_owned())];
    let is_administrative = chosen == ApplicationId::KEYWARD.to_string();
    let body = html! {
        @if let Some(error) = error { (page::problem(error)) }
        div class="confirm" {
            (visit.form_to(HERE, &html! {
                @if applications.is_empty() {
                    (Line { name: "application", label: "Application", value: chosen, hint: "Its id, such as app_...", is_needed: true }.show())
                } @else {
                    (choice("application", "Application", &applications.iter().map(option).collect::<Vec<_>>(), chosen))
                }
                (choice("environment", "Environment", &environments, form.text("environment")))
                (key_fields::of_every_key(&written, &policies))
                (line("days", "Days to live", "Empty for a key without end, or for as long as the policy allows.", false))
                (key_fields::of_partners(&written))
                details open[is_administrative || !form.text("principal").is_empty() || !form.text("roles").is_empty()] {
                    summary { "For keys of " code { "keyward" } " alone" }
                    (line("principal", "Stands for", "The person or workload that events name.", false))
                    (key_fields::of_administrators(&written))
                }
                p class="actions" { button { "Issue the key" } " " a href=(PATH) { "Issue none" } }
            }))
        }
    };
    let status = error.map_or(200, |error| error.code.status());
    Ok(Page::new(PATH, "New key", body).below("Keys", PATH).show_as(visit, status))
}

fn option(application: &ApplicationView) -> (String, String) {
    (application.id.to_string(), application.name.clone())
}

/// What the API takes.
fn asked(form: &Form) -> Result<NewKey> {
    let environment = match form.text("environment") {
        "test" => Environment::Test,
        "live" => Environment::Live,
        _ => return Err(Error::field("environment", "is not known", "`live` or `test`")),
    };
    let Written { name, scopes, networks, tags, policy, limits, roles } = Written::in_form(form)?;
    Ok(NewKey {
        application: form.text("application").to_owned(),
        name,
        environment,
        scopes,
        roles,
        expires_in_s: span_s("days", form.text("days"), DAY_S)?,
        rules: NewRules { network: networks },
        principal: form.given("principal").map(str::to_owned),
        tags,
        policy,
        limits,
    })
}

/// Issues it.
pub(crate) async fn issue(visit: &Visit<'_>) -> Result<Response> {
    let form = visit.form();
    let issued = visit
        .change(Action::KeyIssued, Target::default(), async |service, attempt| {
            service.issue_key(attempt, asked(form)?).await
        })
        .await;
    match issued {
        Ok(issued) => claim::page(visit, &issued),
        Err(error) if error.code.blame() == Blame::Caller && !error.fields.is_empty() => {
            show(visit, form, form.text("application"), Some(&error)).await
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_domain::Code;

    #[test]
    fn a_form_becomes_what_the_api_takes() {
        let form = Form::parse(
            b"application=app_x&name=+orders+&environment=test&scopes=a%3Ab%0D%0Ac%3Ad&days=30&networks=192.0.2.1&tags=eu%2C+batch&principal=",
        )
        .expect("a form");
        let new = asked(&form).expect("a key");
        assert_eq!(
            (&*new.name, new.environment, new.expires_in_s),
            ("orders", Environment::Test, Some(30 * DAY_S))
        );
        assert_eq!(
            (new.scopes, new.tags, new.principal),
            (vec!["a:b".into(), "c:d".into()], vec!["eu".into(), "batch".into()], None)
        );
        let bad = Form::parse(b"environment=prod").expect("a form");
        assert_eq!(asked(&bad).map(|_| ()).map_err(|e| e.code), Err(Code::InvalidField));
    }
}
