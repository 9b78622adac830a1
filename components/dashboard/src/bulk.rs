//! Many keys revoked at once: the form that says which, what it would do, and its steps, which each end within a moment.

use crate::applications;
use crate::emergency::PATH;
use crate::fields::{self, choice, moment};
use crate::keys;
use crate::page::Page;
use crate::parts::name;
use crate::visit::Visit;
use crate::words;
use keyward_domain::event::Action;
use keyward_domain::ports::Clock;
use keyward_domain::{Error, Result};
use keyward_guest::{Form, Response};
use keyward_service::{Answer, BulkRevocation, BulkRevocationView, SkippedKey};
use maud::{Markup, html};
use serde::Deserialize;

pub(crate) const REVOKE: &str = "/dashboard/emergency/revoke";
/// Commits that one form makes, of up to 128 keys each, and after how long it makes no other.
const STEPS_MAX: usize = 32;
const STEPS_MS_MAX: u64 = 1_500;
/// Keys that are named one by one.
const KEYS_SHOWN: usize = 128;

/// The form that says which keys.
pub(crate) async fn selection(visit: &Visit<'_>) -> Result<Response> {
    let applications = applications::all(visit).await?;
    let known = applications.iter().map(|known| (known.id.to_string(), known.name.clone()));
    let applications: Vec<_> = [(String::new(), "Any".to_owned())].into_iter().chain(known).collect();
    let environments: Vec<_> = [("", "Both"), ("live", "Live"), ("test", "Test")]
        .map(|(value, told)| (value.to_owned(), told.to_owned()))
        .to_vec();
    let form = visit.form_to(REVOKE, &html! {
        p { "All that you give must hold of a key. The first step shows which keys they are, and ends none." }
        div class="columns-of-fields" {
            (choice("application", "Application", &applications, ""))
            (choice("environment", "Environment", &environments, ""))
            div class="field" { label for="actor" { "Issued with the key" } input id="actor" name="actor" placeholder="key_..."; }
            div class="field" { label for="tag" { "With the tag" } input id="tag" name="tag"; }
            div class="field" { label for="since" { "Issued since (UTC)" } input id="since" name="since" type="datetime-local"; }
            div class="field" { label for="until" { "Issued before (UTC)" } input id="until" name="until" type="datetime-local"; }
        }
        (fields::reason("revoked from the dashboard"))
        input type="hidden" name="step" value="look";
        p class="actions" { button { "Show which keys these are" } " " a href=(PATH) { "Revoke none" } }
    });
    let body = html! { div class="confirm" { (form) } };
    Ok(Page::new(PATH, "Revoke many keys", body).below("Emergency", PATH).show(visit))
}

/// What one step came to, as it is kept for a form that is sent twice.
#[derive(Default, Deserialize)]
struct Step {
    revoked: Vec<Ended>,
    already_dead: usize,
    skipped: Vec<Left>,
    examined: usize,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Ended {
    id: keyward_domain::KeyId,
}

#[derive(Deserialize)]
struct Left {
    id: keyward_domain::KeyId,
    detail: String,
}

impl From<BulkRevocationView> for Step {
    fn from(view: BulkRevocationView) -> Self {
        let left = |SkippedKey { id, detail, .. }| Left { id, detail };
        Self {
            revoked: view.revoked.iter().map(|key| Ended { id: key.id }).collect(),
            already_dead: view.already_dead,
            skipped: view.skipped.into_iter().map(left).collect(),
            examined: view.examined,
            next_cursor: view.next_cursor,
        }
    }
}

/// What the API takes.
fn asked(form: &Form) -> Result<BulkRevocation> {
    let given = |name: &str| form.given(name).map(str::to_owned);
    let environment = given("environment").map(|text| match text.as_str() {
        "live" => Ok(keyward_domain::key::Environment::Live),
        "test" => Ok(keyward_domain::key::Environment::Test),
        _ => Err(Error::field("environment", "is not known", "`live` or `test`")),
    });
    Ok(BulkRevocation {
        actor: id(form, "actor", "a key's id")?,
        tag: given("tag"),
        issued_since: moment("since", form.text("since"))?,
        issued_until: moment("until", form.text("until"))?,
        application: id(form, "application", "an application's id")?,
        environment: environment.transpose()?,
        reason: form.text("reason").to_owned(),
        dry_run: form.text("step") == "look",
        cursor: None,
    })
}

fn id<T: std::str::FromStr>(form: &Form, name: &str, expected: &str) -> Result<Option<T>> {
    let parse = |text: &str| text.parse().map_err(|_| Error::field(name, "is not valid", expected));
    form.given(name).map(parse).transpose()
}

impl Step {
    /// The next step as well.
    fn add(&mut self, next: Self) {
        self.revoked.extend(next.revoked);
        self.already_dead = self.already_dead.saturating_add(next.already_dead);
        self.skipped.extend(next.skipped);
        self.examined = self.examined.saturating_add(next.examined);
        self.next_cursor = next.next_cursor;
    }
}

/// Shows which keys are meant, or ends them, as many as there is time for: the rest is for the form on the page that tells of it.
pub(crate) async fn revoke(visit: &Visit<'_>) -> Result<Response> {
    let form = visit.form();
    let is_look = form.text("step") == "look";
    let begun_ms = visit.plane.clock().monotonic_ms();
    let mut step = Step { next_cursor: form.given("cursor").map(str::to_owned), ..Step::default() };
    for part in 0..STEPS_MAX {
        let cursor = step.next_cursor.take();
        let answer = visit
            .change_part(part, Action::KeyRevoked, async |service, attempt| {
                service.revoke_many(attempt, &BulkRevocation { cursor, ..asked(form)? }).await
            })
            .await?;
        step.add(match answer {
            Answer::Fresh(view) => view.into(),
            Answer::Replayed(text) => serde_json::from_str(text.expose())
                .map_err(|_| Error::internal("a revocation's answer cannot be read"))?,
        });
        let took_ms = visit.plane.clock().monotonic_ms().saturating_sub(begun_ms);
        if is_look || step.next_cursor.is_none() || took_ms > STEPS_MS_MAX {
            break;
        }
    }
    let before = |name: &str| form.text(name).parse::<u64>().unwrap_or(0);
    let count = |list: usize| u64::try_from(list).unwrap_or(u64::MAX);
    let ended = before("ended").saturating_add(count(step.revoked.len()));
    let looked = before("looked").saturating_add(count(step.examined));
    let kept = ["application", "environment", "actor", "tag", "since", "until", "reason"];
    let go_on = |step_name: &str, cursor: Option<&str>, counts: bool, button: Markup| {
        visit.form_to(REVOKE, &html! {
            @for name in kept { input type="hidden" name=(name) value=(form.text(name)); }
            @if let Some(cursor) = cursor { input type="hidden" name="cursor" value=(cursor); }
            @if counts { input type="hidden" name="ended" value=(ended); input type="hidden" name="looked" value=(looked); }
            input type="hidden" name="step" value=(step_name);
            (button)
        })
    };
    let next = step.next_cursor.as_deref();
    let body = html! {
        ul class="counts" {
            li { strong { (words::grouped(ended)) } (if is_look { "would end" } else { "ended" }) }
            li { strong { (words::grouped(count(step.already_dead))) } "dead before" }
            li { strong { (words::grouped(count(step.skipped.len()))) } "not yours to end" }
            li { strong { (words::grouped(looked)) } "looked at" }
        }
        @if is_look {
            section aria-labelledby="next" {
                h2 id="next" { "Nothing is revoked yet" }
                ul class="consequences" {
                    li { strong { "Every version of these keys ends at once, for good." } }
                    @if next.is_some() { li { "There are more to look at than this page shows: revoking goes through all of them, step by step." } }
                    li { "Reason: " (name(form.text("reason"))) }
                }
                (go_on("end", None, false, html! { p class="actions" { button class="danger" { "Revoke them for good" } " " a href=(PATH) { "Revoke none" } } }))
                @if let Some(next) = next { (go_on("look", Some(next), true, html! { p class="actions" { button class="link" { "Look further" } } })) }
            }
        } @else if let Some(next) = next {
            section aria-labelledby="next" {
                h2 id="next" { "There is more" }
                p { "What there was time for has ended. It goes on where it stopped, by itself where scripts run." }
                div data-go-on { (go_on("end", Some(next), true, html! { p class="actions" { button class="danger" { "Go on" } " " a href=(PATH) { "Stop here" } } })) }
            }
        } @else {
            p class="notice" role="status" { "Done: all keys that were meant have been looked at." }
        }
        @if !step.revoked.is_empty() {
            section aria-labelledby="keys" {
                h2 id="keys" { (if is_look { "Keys that would end" } else { "Keys that ended" }) }
                ul { @for key in step.revoked.iter().take(KEYS_SHOWN) { li { (keys::link(key.id)) } } }
            }
        }
        @if !step.skipped.is_empty() {
            section aria-labelledby="left" {
                h2 id="left" { "Keys that live on" }
                ul { @for key in step.skipped.iter().take(KEYS_SHOWN) { li { (keys::link(key.id)) ": " (name(&key.detail)) } } }
            }
        }
    };
    let title = if is_look { "Keys that would be revoked" } else { "Revoking many keys" };
    Ok(Page::new(PATH, title, body).below("Emergency", PATH).show(visit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_what_the_api_takes() {
        let form = Form::parse(
            b"application=&environment=live&actor=&tag=+eu&since=2026-01-31T08%3A00&reason=why&step=look",
        )
        .expect("a form");
        let asked = asked(&form).expect("a selection");
        assert_eq!(
            (asked.application, asked.actor, asked.tag.as_deref(), asked.dry_run),
            (None, None, Some("eu"), true)
        );
        assert!(asked.issued_since.is_some() && asked.issued_until.is_none() && asked.cursor.is_none());
        let bad = Form::parse(b"actor=nobody&reason=why").expect("a form");
        assert!(super::asked(&bad).is_err());
    }
}
