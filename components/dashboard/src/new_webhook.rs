//! A new webhook: the form, and what it becomes. The same fields edit one.

use crate::applications::{self, is_about_the_form};
use crate::fields::{Line, choice};
use crate::page::{self, Page};
use crate::visit::Visit;
use crate::webhook_deed;
use crate::webhooks::PATH;
use keyward_domain::announcement::{Filter, Type};
use keyward_domain::event::{Action, Target};
use keyward_domain::{Error, Result};
use keyward_guest::{Form, Response, variables};
use keyward_service::{NewWebhook, WebhookView};
use maud::{Markup, html};

pub(crate) const HERE: &str = "/dashboard/webhooks/new";
/// What stands for all types.
const ALL: &str = "*";

/// The form.
pub(crate) async fn page(visit: &Visit<'_>) -> Result<Response> {
    show(visit, &Form::default(), None).await
}

/// The form with what was written in it, and what was wrong with that.
async fn show(visit: &Visit<'_>, form: &Form, error: Option<&Error>) -> Result<Response> {
    let known = applications::all(visit).await?;
    let known: Vec<_> = known.iter().map(|known| (known.id.to_string(), known.name.clone())).collect();
    let body = html! {
        @if let Some(error) = error { (page::problem(error)) }
        div class="confirm" {
            (visit.form_to(HERE, &html! {
                @if known.is_empty() {
                    (Line { name: "application", label: "Application", value: form.text("application"), hint: "Its id, such as app_...", is_needed: true }.show())
                } @else {
                    (choice("application", "Whose events it is told of (keyward: those of all applications)", &known, form.text("application")))
                }
                (fields(form, None))
                p class="actions" { button { "Create the webhook" } " " a href=(PATH) { "Create none" } }
            }))
        }
    };
    let status = error.map_or(200, |error| error.code.status());
    Ok(Page::new(PATH, "New webhook", body).below("Webhooks", PATH).show_as(visit, status))
}

/// Where it leads, what it is for and what it is told of: as it was written, else as it is.
pub(crate) fn fields(form: &Form, known: Option<&WebhookView>) -> Markup {
    let written = |name: &str, known: Option<&str>| match form.has(name) {
        true => form.text(name).to_owned(),
        false => known.unwrap_or_default().to_owned(),
    };
    // Whether somebody wrote something: boxes that are not ticked are not sent.
    let ticked = match (form.has("url"), known) {
        (true, _) => events(form),
        (false, Some(known)) => names(&known.events).map(str::to_owned).collect(),
        (false, None) => vec![ALL.to_owned()],
    };
    let line =
        |name, label, value: &str, hint, is_needed| Line { name, label, value, hint, is_needed }.show();
    let tick = |value: &str, told: &str| {
        html! { label { input type="checkbox" name="events" value=(value) checked[ticked.iter().any(|one| one == value)]; (told) } }
    };
    html! {
        (line("url", "URL", &written("url", known.map(|known| known.url.as_str())), "Where messages are posted to: https:// and a host that is reached over the internet.", true))
        (line("description", "Description", &written("description", known.map(|known| known.description.as_str())), "What it is for.", false))
        fieldset class="choices" {
            legend { "What it is told of" }
            (tick(ALL, "All of it, and what will be added"))
            @for kind in Type::ALL.iter().filter(|kind| **kind != Type::WebhookTested) { (tick(kind.as_str(), kind.as_str())) }
        }
    }
}

/// The types that are ticked.
pub(crate) fn events(form: &Form) -> Vec<String> {
    form.all("events").map(str::to_owned).collect()
}

/// The types that a filter lets through, as the API writes them.
pub(crate) fn names(filter: &Filter) -> impl Iterator<Item = &'static str> {
    let some: Vec<&'static str> = match filter {
        Filter::All => vec![ALL],
        Filter::Some(types) => types.iter().map(|kind| kind.as_str()).collect(),
    };
    some.into_iter()
}

/// What the API takes.
fn asked(form: &Form) -> Result<NewWebhook> {
    let unfit = |_| Error::field("application", "is not valid", "an application's id");
    Ok(NewWebhook {
        application: form.text("application").parse().map_err(unfit)?,
        url: form.text("url").to_owned(),
        description: form.text("description").to_owned(),
        events: events(form),
    })
}

/// Creates it, and shows its secret.
pub(crate) async fn create(visit: &Visit<'_>) -> Result<Response> {
    let form = visit.form();
    let targets = variables::webhook_targets().await?;
    let made = visit
        .change(Action::WebhookCreated, Target::default(), async |service, attempt| {
            service.create_webhook(attempt, asked(form)?, targets).await
        })
        .await;
    match made {
        Ok(made) => webhook_deed::secret(visit, &made),
        Err(error) if is_about_the_form(&error) => show(visit, form, Some(&error)).await,
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_domain::{ApplicationId, Code};

    #[test]
    fn a_form_becomes_what_the_api_takes() {
        let application = ApplicationId::KEYWARD;
        let text = format!(
            "application={application}&url=+https%3A%2F%2Fexample.com%2Fa&description=pager&events=key.revoked&events=key.issued"
        );
        let new = asked(&Form::parse(text.as_bytes()).expect("a form")).expect("a webhook");
        assert_eq!(
            (new.application, &*new.url, &*new.description),
            (application, "https://example.com/a", "pager")
        );
        assert_eq!(new.events, ["key.revoked", "key.issued"]);
        let bad = Form::parse(b"application=nobody").expect("a form");
        assert_eq!(asked(&bad).map(|_| ()).map_err(|error| error.code), Err(Code::InvalidField));
    }

    #[test]
    fn what_was_ticked_stays_ticked() {
        let ticked = |form: &Form| -> Vec<String> {
            let shown = fields(form, None).into_string();
            let boxes = shown.split("<input type=\"checkbox\"").skip(1);
            let ticked =
                boxes.filter(|input| input.split('>').next().is_some_and(|tag| tag.contains("checked")));
            ticked
                .map(|input| input.split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned())
                .collect()
        };
        assert_eq!(ticked(&Form::default()), [ALL]);
        let form = Form::parse(b"url=x&events=key.revoked").expect("a form");
        assert_eq!(ticked(&form), ["key.revoked"]);
        assert!(ticked(&Form::parse(b"url=x").expect("a form")).is_empty());
    }
}
