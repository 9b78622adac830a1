//! What is known of a credential, changed: a form, then what will be different and for whom, then the change. What it holds passes through
//! no form.

use crate::applications::is_about_the_form;
use crate::change::{self, Proposal, differing, is_meant, revision_seen, row};
use crate::credentials::{PATH, find};
use crate::fields::{Line, choice, listed, moment};
use crate::page::{self, Page};
use crate::parts::{code, name, target};
use crate::policies;
use crate::visit::Visit;
use crate::words;
use keyward_domain::event::{Action, Target};
use keyward_domain::{CredentialId, Error, Result, Timestamp};
use keyward_guest::{Form, Response};
use keyward_service::{CredentialChange, CredentialState, CredentialView};
use maud::{Markup, html};

/// What a page says that one comes to after it.
pub(crate) const DONE: &str = "The credential is changed. What it holds is what it was.";

/// The end of its page's path, and what says that one comes from there.
pub(crate) const EDIT: &str = "edit";

/// The fields, by their names.
const FIELDS: [&str; 6] = ["name", "description", "owner", "tags", "ends", "policy"];

/// What is written in them.
#[derive(Debug, PartialEq)]
struct Written {
    name: String,
    description: String,
    owner: String,
    tags: Vec<String>,
    expires_at: Option<Timestamp>,
    policy: Option<String>,
}

impl Written {
    fn in_form(form: &Form) -> Result<Self> {
        Ok(Self {
            name: form.text("name").to_owned(),
            description: form.text("description").to_owned(),
            owner: form.text("owner").to_owned(),
            tags: listed(form.text("tags")),
            expires_at: moment("ends", form.text("ends"))?,
            policy: form.given("policy").map(str::to_owned),
        })
    }

    /// What a form would have that nobody touched.
    fn of(credential: &CredentialView) -> Self {
        Self {
            name: credential.name.clone(),
            description: credential.description.clone(),
            owner: credential.owner.clone(),
            tags: credential.tags.clone(),
            expires_at: credential.expires_at,
            policy: credential.policy.map(|policy| policy.to_string()),
        }
    }

    /// The same as a field of a form has it.
    fn text(&self, field: &str) -> String {
        match field {
            "name" => self.name.clone(),
            "description" => self.description.clone(),
            "owner" => self.owner.clone(),
            "tags" => self.tags.join(", "),
            "ends" => self.expires_at.map(|at| at.to_string()).unwrap_or_default(),
            "policy" => self.policy.clone().unwrap_or_default(),
            _ => String::new(),
        }
    }
}

/// The form.
pub(crate) async fn page(visit: &Visit<'_>, id: CredentialId) -> Result<Response> {
    let credential = find(visit, id).await?;
    let body = if credential.state == CredentialState::Retired {
        html! { p { "The credential is retired, for good: there is nothing to change." } p { a href=(place(id)) { "Back to the credential" } } }
    } else {
        form(visit, &credential, html! {}).await?
    };
    Ok(framed(&credential, body).show(visit))
}

fn place(id: CredentialId) -> String {
    format!("{PATH}/{id}")
}

fn framed(credential: &CredentialView, body: Markup) -> Page {
    Page::new(PATH, format!("Edit: {}", credential.name), body)
        .below("Credentials", target(PATH, &[("application", &credential.application.to_string())]))
        .below(credential.name.clone(), place(credential.id))
}

/// The form with what the credential has, or with what was written in it, and what is to be told of that.
async fn form(visit: &Visit<'_>, credential: &CredentialView, told: Markup) -> Result<Markup> {
    let (posted, has) = (visit.form(), Written::of(credential));
    let written = |field: &str| {
        if posted.has(field) { posted.text(field).to_owned() } else { has.text(field) }
    };
    let policies = policies::choices(visit, "That of its application", &written("policy")).await?;
    let line =
        |name, label, hint, is_needed| Line { name, label, value: &written(name), hint, is_needed }.show();
    Ok(html! {
        (told)
        div class="confirm" {
            (visit.form_to(&format!("{}/{EDIT}", place(credential.id)), &html! {
                (line("name", "Name", "What services fetch it by, such as payments/db.", true))
                (line("description", "Description", "What it is for.", false))
                (line("owner", "Owner", "Whom to ask about it.", false))
                (line("tags", "Tags", "Words by which it is found, with commas between.", false))
                (line("ends", "Ends at the third party (UTC)", "A time such as 2026-01-31T08:00. Empty where that is not known.", false))
                (choice("policy", "Policy", &policies, &written("policy")))
                (change::seen(credential.revision))
                p class="actions" { button { "Show what will change" } " " a href=(place(credential.id)) { "Leave it as it is" } }
            }))
        }
    })
}

/// What the API takes: what differs from what the credential has.
fn asked(written: Written, credential: &CredentialView) -> CredentialChange {
    let has = Written::of(credential);
    CredentialChange {
        name: differing(written.name, &has.name),
        description: differing(written.description, &has.description),
        owner: differing(written.owner, &has.owner),
        tags: differing(written.tags, &has.tags),
        expires_at: differing(written.expires_at, &has.expires_at),
        policy: differing(written.policy, &has.policy),
    }
}

/// What is written in the form; of what nobody touched, what the credential has.
fn written(visit: &Visit<'_>, credential: &CredentialView) -> Result<Written> {
    let (form, has) = (visit.form(), Written::of(credential));
    let line = |field: &str| change::line(form, field, &has.text(field));
    let (name, description, owner) = (line("name"), line("description"), line("owner"));
    let tags = change::entries(form, "tags", (&has.text("tags"), &has.tags), listed);
    Ok(Written { name, description, owner, tags, ..Written::in_form(form)? })
}

/// Shows what will be different, or makes it so.
pub(crate) async fn act(visit: &Visit<'_>, id: CredentialId) -> Result<Response> {
    let credential = find(visit, id).await?;
    let done = match written(visit, &credential) {
        Ok(written) if is_meant(visit) => make(visit, &credential, written).await,
        Ok(written) => propose(visit, &credential, written).await,
        Err(error) => Err(error),
    };
    match done {
        Err(error) if is_about_the_form(&error) => told_beside(visit, &credential, &error).await,
        done => done,
    }
}

async fn told_beside(visit: &Visit<'_>, credential: &CredentialView, error: &Error) -> Result<Response> {
    let body = form(visit, credential, page::problem(error)).await?;
    Ok(framed(credential, body).show_as(visit, error.code.status()))
}

async fn propose(visit: &Visit<'_>, now: &CredentialView, written: Written) -> Result<Response> {
    if written == Written::of(now) {
        let told =
            html! { p class="notice" role="status" { "Nothing is different from what the credential has." } };
        return Ok(framed(now, form(visit, now, told).await?).show(visit));
    }
    let change = asked(written, now);
    let then = visit
        .look(Action::CredentialChanged, Target::credential(Some(now.id)), async |service, attempt| {
            service.preview_credential_change(attempt, now.id, &change, revision_seen(visit)).await
        })
        .await?;
    let policy =
        async |of: &CredentialView| policies::called(visit, of.policy, "that of its application").await;
    let (old_policy, new_policy) = (policy(now).await?, policy(&then).await?);
    let time = |at: Option<Timestamp>, none: &str| [at.map_or_else(|| none.to_owned(), words::utc)];
    let span = |seconds: u32| [words::span(i64::from(seconds))];
    let rows = [
        row("Name", [&now.name], [&then.name]),
        row("Description", given(&now.description), given(&then.description)),
        row("Owner", given(&now.owner), given(&then.owner)),
        row("Tags", &now.tags, &then.tags),
        row("Ends at the third party", time(now.expires_at, "not known"), time(then.expires_at, "not known")),
        row("Policy", [old_policy], [new_policy]),
        row("Rotation due", time(now.rotation_due_at, "never"), time(then.rotation_due_at, "never")),
        row("Gone on with without asking", span(now.lease_s), span(then.lease_s)),
        row("Gone on with in an outage", span(now.outage_s), span(then.outage_s)),
    ];
    let proposal = Proposal {
        action: &format!("{}/{EDIT}", place(now.id)),
        back: &place(now.id),
        rows: rows.into_iter().flatten().collect(),
        means: html! {
            li { "What it holds stays as it is, in every version." }
            @if now.name != then.name {
                li { strong { "Services that fetch " (name(&now.name)) " by its name find it no longer" } ", nor do those whose key has " (code("credentials:read")) " for that name alone." }
            }
        },
        fields: &FIELDS,
        more: html! {},
        revision: now.revision,
    };
    Ok(framed(now, proposal.show(visit)).show(visit))
}

/// A text, where there is one.
fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

async fn make(visit: &Visit<'_>, credential: &CredentialView, written: Written) -> Result<Response> {
    let to = format!("{}?done={EDIT}", place(credential.id));
    // Sent twice, or asked for by somebody else meanwhile: what was asked for is so already.
    if written == Written::of(credential) {
        return Ok(Response::see_other(&to));
    }
    let change = asked(written, credential);
    visit
        .change(
            Action::CredentialChanged,
            Target::credential(Some(credential.id)),
            async |service, attempt| {
                service.change_credential(attempt, credential.id, change, revision_seen(visit)).await
            },
        )
        .await?;
    Ok(Response::see_other(&to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_domain::Code;

    #[test]
    fn what_nobody_touched_is_read_as_it_was() {
        let form = Form::parse(
            b"name=payments%2Fdb&description=of+the+shop&owner=Ada&tags=eu%2C+batch&ends=2026-01-31T08%3A00%3A00.000Z&policy=",
        )
        .expect("a form");
        let written = Written::in_form(&form).expect("read");
        assert_eq!((&*written.name, written.policy.as_deref()), ("payments/db", None));
        let pairs: Vec<String> =
            FIELDS.iter().map(|field| format!("{field}={}", written.text(field).replace(' ', "+"))).collect();
        let again = Form::parse(pairs.join("&").as_bytes()).expect("a form");
        assert_eq!(Written::in_form(&again), Ok(written));
        let bad = Form::parse(b"ends=soon").expect("a form");
        assert_eq!(Written::in_form(&bad).map(drop).map_err(|error| error.code), Err(Code::InvalidParameter));
    }
}
