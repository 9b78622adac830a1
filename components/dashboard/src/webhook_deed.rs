//! What can be done with a webhook and with what could not be delivered to it. Nothing here calls out: a test is queued, and the next run of
//! delivery sends it. A secret is shown in the answer to the form that had it made, and nowhere else.

use crate::applications::is_about_the_form;
use crate::deeds::{self, Deed, Told};
use crate::fields;
use crate::new_webhook;
use crate::page::{self, Page};
use crate::parts::{code, copied, name};
use crate::visit::Visit;
use crate::webhooks::{PATH, find};
use crate::words;
use keyward_domain::announcement::MessageId;
use keyward_domain::event::{Action, Target};
use keyward_domain::{Error, Result, WebhookId};
use keyward_guest::{Form, Response, variables};
use keyward_service::{
    Answer, DropRequest, ReplayRequest, WebhookChange, WebhookState, WebhookView, WebhookWithSecret,
};
use maud::{Markup, html};
use serde::Deserialize;

/// A deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebhookDeed {
    Test,
    Edit,
    Secret,
    Replay,
    Disable,
    Enable,
    Drop,
    Retire,
}

impl Deed for WebhookDeed {
    const ALL: &'static [Self] = &[
        Self::Test,
        Self::Edit,
        Self::Secret,
        Self::Replay,
        Self::Disable,
        Self::Enable,
        Self::Drop,
        Self::Retire,
    ];

    fn told(self) -> Told {
        match self {
            Self::Test => Told::new("test", "Test", "Queue a test")
                .done("The test is queued: the next run of delivery sends it. What it comes to stands below, under Last delivered or Last failure, once it is sent."),
            Self::Edit => Told::new("edit", "Edit", "Keep these").done("The webhook is changed."),
            Self::Secret => Told::new("secret", "Replace the secret", "Make another secret"),
            Self::Replay => Told::new("replay", "Try dead letters anew", "Try anew")
                .done("What could not be delivered is on its way again."),
            Self::Disable => Told::new("disable", "Disable", "Disable the webhook")
                .done("The webhook is disabled: it is told nothing until it is enabled."),
            Self::Enable => Told::new("enable", "Enable", "Enable the webhook").done("The webhook is enabled."),
            Self::Drop => Told::new("drop", "Drop dead letters", "Drop for good")
                .dangerous()
                .done("What could not be delivered is dropped. The log has its events."),
            Self::Retire => Told::new("retire", "Retire", "Retire the webhook for good")
                .dangerous()
                .done("The webhook is retired, for good."),
        }
    }
}

impl WebhookDeed {
    /// What can be done with one dead letter as well as with all.
    pub(crate) const OF_LETTERS: [Self; 2] = [Self::Replay, Self::Drop];

    /// What leads to it for one dead letter.
    pub(crate) const fn of_one(self) -> &'static str {
        match self {
            Self::Drop => "Drop",
            _ => "Try anew",
        }
    }

    const fn takes_reason(self) -> bool {
        matches!(self, Self::Drop | Self::Retire)
    }

    const fn action(self) -> Action {
        match self {
            Self::Test => Action::WebhookTested,
            Self::Secret => Action::WebhookSecretRotated,
            Self::Replay => Action::WebhookReplayed,
            Self::Edit | Self::Disable | Self::Enable => Action::WebhookChanged,
            Self::Drop => Action::WebhookDropped,
            Self::Retire => Action::WebhookRetired,
        }
    }

    /// Whether it makes sense for a webhook as it stands.
    pub(crate) fn fits(self, webhook: &WebhookView) -> bool {
        let has_dead = webhook.delivery.dead_letters > 0;
        match self {
            Self::Replay => has_dead && webhook.state == WebhookState::Active,
            Self::Drop => has_dead,
            Self::Test | Self::Disable => webhook.state == WebhookState::Active,
            Self::Enable => webhook.state == WebhookState::Disabled,
            Self::Edit | Self::Secret | Self::Retire => webhook.state != WebhookState::Retired,
        }
    }
}

/// Says what a deed will do, and asks.
pub(crate) async fn ask(visit: &Visit<'_>, id: WebhookId, path: &str) -> Result<Response> {
    let deed = WebhookDeed::of(path)?;
    let message = visit.incoming.query()?.one("message")?.unwrap_or_default();
    let webhook = find(visit, id).await?;
    Ok(form_of(visit, deed, &webhook, message, &Form::default(), None))
}

fn form_of(
    visit: &Visit<'_>,
    deed: WebhookDeed,
    webhook: &WebhookView,
    message: &str,
    form: &Form,
    error: Option<&Error>,
) -> Response {
    let here = format!("{PATH}/{}", webhook.id);
    let body = html! {
        @if let Some(error) = error { (page::problem(error)) }
        div class="confirm" {
            ul class="consequences" { (consequences(deed, webhook, message)) }
            (visit.form_to(&format!("{here}/{}", deed.told().path), &html! {
                @if !message.is_empty() { input type="hidden" name="message" value=(message); }
                @if deed == WebhookDeed::Edit { (new_webhook::fields(form, Some(webhook))) }
                @if deed.takes_reason() { (fields::reason(form.text("reason"))) }
                (deeds::buttons(deed, &here))
            }))
        }
    };
    let status = error.map_or(200, |error| error.code.status());
    Page::new(PATH, format!("{}: {}", deed.told().label, webhook.url), body)
        .below("Webhooks", PATH)
        .below(webhook.url.clone(), here)
        .show_as(visit, status)
}

/// In plain words what will happen.
fn consequences(deed: WebhookDeed, webhook: &WebhookView, message: &str) -> Markup {
    let count = u64::try_from(webhook.delivery.dead_letters).unwrap_or(u64::MAX);
    let dead = html! { @if message.is_empty() { (words::counted(count, "dead letter")) } @else { "The dead letter " (code(message)) } };
    let is_one = !message.is_empty() || count == 1;
    html! {
        @match deed {
            WebhookDeed::Test => {
                li { "A message " (code("webhook.tested")) " is put into the queue, whatever the webhook listens for. These pages call nobody themselves: the next run of delivery sends it, which takes some seconds where deliveries are made, and sends it again where that fails, as any other message." }
                li { "An answer at once: " (code(format!("keyward webhook test {}", webhook.id))) }
            }
            WebhookDeed::Edit => {}
            WebhookDeed::Secret => {
                li { "You get another secret, and see it once." }
                li { "For 24 hours both sign each message, so that whoever listens can change over. Then the new one alone." }
            }
            WebhookDeed::Replay => {
                li {
                    @if message.is_empty() { "As many of " (dead) " as the queue has room for are" } @else { (dead) " is" }
                    " tried anew, as if " (if is_one { "it were" } else { "they were" }) " new. Whoever listens may be told twice of what it had before: each has the " (code("webhook-id")) " that it had."
                }
            }
            WebhookDeed::Disable => { li { "It is told nothing until it is enabled. What is pending becomes dead letters; what happens meanwhile is not announced to it later." } }
            WebhookDeed::Enable => { li { "It is told what happens from now on." } }
            WebhookDeed::Drop => { li { strong { (dead) (if is_one { " is" } else { " are" }) " given up, for good." } " The log keeps what was to be told." } }
            WebhookDeed::Retire => { li { strong { "It is told nothing any more, for good." } " Its secret signs nothing again." } }
        }
    }
}

/// Does it.
pub(crate) async fn act(visit: &Visit<'_>, id: WebhookId, path: &str) -> Result<Response> {
    let deed = WebhookDeed::of(path)?;
    let form = visit.form();
    let targets = variables::webhook_targets().await?;
    let done = visit
        .change(deed.action(), Target::webhook(Some(id)), async |service, attempt| match deed {
            WebhookDeed::Test => service.queue_webhook_test(attempt, id).await.map(|_| None),
            WebhookDeed::Secret => service.rotate_webhook_secret(attempt, id).await.map(Some),
            WebhookDeed::Replay => {
                let asked = ReplayRequest { message: message(form)? };
                service.replay_dead_letters(attempt, id, &asked).await.map(|_| None)
            }
            WebhookDeed::Drop => {
                let asked = DropRequest { message: message(form)?, reason: form.text("reason").to_owned() };
                service.drop_dead_letters(attempt, id, &asked).await.map(|_| None)
            }
            WebhookDeed::Retire => {
                service.retire_webhook(attempt, id, form.text("reason")).await.map(|_| None)
            }
            WebhookDeed::Edit | WebhookDeed::Disable | WebhookDeed::Enable => {
                let change = change(deed, form);
                service.change_webhook(attempt, id, change, None, targets).await.map(|_| None)
            }
        })
        .await;
    match done {
        Ok(Some(made)) => secret(visit, &made),
        Ok(None) => Ok(Response::see_other(&format!("{PATH}/{id}?done={path}"))),
        Err(error) if deed == WebhookDeed::Edit && is_about_the_form(&error) => {
            Ok(form_of(visit, deed, &find(visit, id).await?, "", form, Some(&error)))
        }
        Err(error) => Err(error),
    }
}

fn change(deed: WebhookDeed, form: &Form) -> WebhookChange {
    match deed {
        WebhookDeed::Edit => WebhookChange {
            url: Some(form.text("url").to_owned()),
            description: Some(form.text("description").to_owned()),
            events: Some(new_webhook::events(form)),
            disabled: None,
        },
        _ => WebhookChange { disabled: Some(deed == WebhookDeed::Disable), ..WebhookChange::default() },
    }
}

/// The one message that is meant; none where all are.
fn message(form: &Form) -> Result<Option<MessageId>> {
    let not_one = |_| Error::field("message", "is not valid", "a message's id, such as `msg_1_42`");
    form.given("message").map(str::parse).transpose().map_err(not_one)
}

/// What is read of the answer, which may be one of before.
#[derive(Deserialize)]
struct Made {
    webhook: MadeWebhook,
    secret: String,
}

#[derive(Deserialize)]
struct MadeWebhook {
    id: WebhookId,
    url: String,
}

/// The secret that was just made.
pub(crate) fn secret(visit: &Visit<'_>, answer: &Answer<WebhookWithSecret>) -> Result<Response> {
    let text = answer.to_json();
    let Made { webhook: MadeWebhook { id, url }, secret } = serde_json::from_str(text.expose())
        .map_err(|_| Error::internal("a webhook's answer cannot be read"))?;
    let here = format!("{PATH}/{id}");
    let body = html! {
        p class="lead" { "Give this secret to whoever listens at " strong { (name(&url)) } ". It is shown here alone." }
        p class="secret" { (copied(&secret)) }
        ul class="consequences" {
            li { "With it they check that a message is Keyward's: any library of Standard Webhooks takes it as it stands." }
            li { "Lost, it cannot be shown again, but replaced; the one before signs as well for 24 hours then." }
        }
        p { a class="button" href=(here) { "Go to the webhook" } }
    };
    Ok(Page::new(PATH, "The secret of the webhook", body)
        .below("Webhooks", PATH)
        .below(url, here)
        .show(visit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_deed_has_a_path_of_its_own() {
        deeds::check_paths::<WebhookDeed>();
    }

    #[test]
    fn one_message_or_all_are_meant() {
        let form = |text: &str| Form::parse(text.as_bytes()).expect("a form");
        assert_eq!(message(&form("")), Ok(None));
        assert_eq!(message(&form("message=")), Ok(None));
        assert!(message(&form("message=msg_1_42")).is_ok_and(|message| message.is_some()));
        assert!(message(&form("message=all")).is_err());
    }
}
