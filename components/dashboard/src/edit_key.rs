//! A key that there is, changed: a form, then what will be different and for whom, then the change.

use crate::applications::is_about_the_form;
use crate::change::{self, Proposal, differing, is_meant, revision_seen, row};
use crate::fields::listed;
use crate::key::find;
use crate::key_fields::{self, FIELDS, Written};
use crate::keys::PATH;
use crate::page::{self, Page};
use crate::parts;
use crate::policies;
use crate::visit::Visit;
use crate::words;
use keyward_domain::event::{Action, Target};
use keyward_domain::standing::State;
use keyward_domain::{ApplicationId, Error, KeyId, Result};
use keyward_guest::Response;
use keyward_service::{KeyChange, KeyView, NewRules};
use maud::{Markup, html};

/// What a page says that one comes to after it.
pub(crate) const DONE: &str = "The key is changed, from the next request on.";

/// The end of its page's path, and what says that one comes from there.
pub(crate) const EDIT: &str = "edit";

/// The form.
pub(crate) async fn page(visit: &Visit<'_>, id: KeyId) -> Result<Response> {
    let key = find(visit, id).await?;
    let body = if matches!(key.state, State::Revoked) {
        html! { p { "The key is revoked, for good: there is nothing to change." } p { a href=(place(id)) { "Back to the key" } } }
    } else {
        form(visit, &key, html! {}).await?
    };
    Ok(framed(&key, body).show(visit))
}

fn place(id: KeyId) -> String {
    format!("{PATH}/{id}")
}

fn framed(key: &KeyView, body: Markup) -> Page {
    Page::new(PATH, format!("Edit: {}", key.name), body)
        .below("Keys", parts::target(PATH, &[("application", &key.application.to_string())]))
        .below(key.name.clone(), place(key.id))
}

/// The form with what the key has, or with what was written in it, and what is to be told of that.
async fn form(visit: &Visit<'_>, key: &KeyView, told: Markup) -> Result<Markup> {
    let (posted, has) = (visit.form(), Written::of(key));
    let written = |field: &str| {
        if posted.has(field) { posted.text(field).to_owned() } else { has.text(field) }
    };
    let policies = policies::choices(visit, "That of its application", &written("policy")).await?;
    let here = format!("{}/{EDIT}", place(key.id));
    Ok(html! {
        (told)
        div class="confirm" {
            (visit.form_to(&here, &html! {
                (key_fields::of_every_key(&written, &policies))
                @if is_administrative(key) { (key_fields::of_administrators(&written)) } @else { (key_fields::of_partners(&written)) }
                (change::seen(key.revision))
                p class="actions" { button { "Show what will change" } " " a href=(place(key.id)) { "Leave it as it is" } }
            }))
        }
    })
}

fn is_administrative(key: &KeyView) -> bool {
    key.application == ApplicationId::KEYWARD
}

/// What the API takes: what differs from what the key has.
fn asked(written: Written, key: &KeyView) -> KeyChange {
    let has = Written::of(key);
    KeyChange {
        name: differing(written.name, &has.name),
        scopes: differing(written.scopes, &has.scopes),
        roles: differing(written.roles, &has.roles),
        rules: differing(written.networks, &has.networks).map(|network| NewRules { network }),
        disabled: None,
        tags: differing(written.tags, &has.tags),
        policy: differing(written.policy, &has.policy),
        limits: differing(written.limits, &has.limits),
    }
}

/// What is written in the form; of what nobody touched, what the key has.
fn written(visit: &Visit<'_>, key: &KeyView) -> Result<Written> {
    let (form, has) = (visit.form(), Written::of(key));
    let name = change::line(form, "name", &has.name);
    let tags = change::entries(form, "tags", (&has.text("tags"), &has.tags), listed);
    Ok(Written { name, tags, ..Written::in_form(form)? })
}

/// Shows what will be different, or makes it so.
pub(crate) async fn act(visit: &Visit<'_>, id: KeyId) -> Result<Response> {
    let key = find(visit, id).await?;
    let done = match written(visit, &key) {
        Ok(written) if is_meant(visit) => make(visit, &key, written).await,
        Ok(written) => propose(visit, &key, written).await,
        Err(error) => Err(error),
    };
    match done {
        Err(error) if is_about_the_form(&error) => told_beside(visit, &key, &error).await,
        done => done,
    }
}

async fn told_beside(visit: &Visit<'_>, key: &KeyView, error: &Error) -> Result<Response> {
    let body = form(visit, key, page::problem(error)).await?;
    Ok(framed(key, body).show_as(visit, error.code.status()))
}

async fn propose(visit: &Visit<'_>, key: &KeyView, written: Written) -> Result<Response> {
    if written == Written::of(key) {
        let told = html! { p class="notice" role="status" { "Nothing is different from what the key has." } };
        return Ok(framed(key, form(visit, key, told).await?).show(visit));
    }
    let change = asked(written, key);
    let then = visit
        .look(Action::KeyChanged, Target::key(Some(key.id)), async |service, attempt| {
            service.preview_key_change(attempt, key.id, &change, revision_seen(visit)).await
        })
        .await?;
    let proposal = Proposal {
        action: &format!("{}/{EDIT}", place(key.id)),
        back: &place(key.id),
        rows: rows(visit, key, &then).await?,
        means: means(key, &then),
        fields: &FIELDS,
        more: html! {},
        revision: key.revision,
    };
    Ok(framed(key, proposal.show(visit)).show(visit))
}

async fn rows(visit: &Visit<'_>, now: &KeyView, then: &KeyView) -> Result<Vec<change::Row>> {
    let networks = |key: &KeyView| key.rules.network.iter().map(ToString::to_string).collect::<Vec<_>>();
    let policy = async |key: &KeyView| policies::called(visit, key.policy, "that of its application").await;
    let (old_policy, new_policy) = (policy(now).await?, policy(then).await?);
    let due = |key: &KeyView| [key.due_at.map_or_else(|| "not asked for".to_owned(), words::utc)];
    Ok([
        row("Name", [&now.name], [&then.name]),
        row("Scopes", now.scopes.iter(), then.scopes.iter()),
        row("Roles", &now.roles, &then.roles),
        row("Networks", networks(now), networks(then)),
        row("Tags", &now.tags, &then.tags),
        row("Policy", [old_policy], [new_policy]),
        row("Next rotation", due(now), due(then)),
        row("Limits", &now.limits, &then.limits),
    ]
    .into_iter()
    .flatten()
    .collect())
}

/// In plain words what the change does to whoever uses the key.
fn means(now: &KeyView, then: &KeyView) -> Markup {
    let lost = now.scopes.iter().filter(|scope| !then.scopes.iter().any(|other| other.covers(scope))).count();
    let lost = u64::try_from(lost).unwrap_or(u64::MAX);
    let is_narrower = !then.rules.network.is_empty() && then.rules != now.rules;
    html! {
        li { "It holds for every version of the key, from the next request on. Tokens stay as they are." }
        @if lost > 0 { li { strong { "It loses " (words::counted(lost, "scope")) } ": requests that need " (if lost == 1 { "it" } else { "them" }) " are refused." } }
        @if is_narrower { li { "From any network that is not listed, every request is refused." } }
        @if then.limits != now.limits && !then.limits.is_empty() { li { "A limit of another name or window begins anew; one of another amount goes on counting." } }
    }
}

async fn make(visit: &Visit<'_>, key: &KeyView, written: Written) -> Result<Response> {
    let to = format!("{}?done={EDIT}", place(key.id));
    // Sent twice, or asked for by somebody else meanwhile: what was asked for is so already.
    if written == Written::of(key) {
        return Ok(Response::see_other(&to));
    }
    let change = asked(written, key);
    visit
        .change(Action::KeyChanged, Target::key(Some(key.id)), async |service, attempt| {
            service.change_key(attempt, key.id, change, revision_seen(visit)).await
        })
        .await?;
    Ok(Response::see_other(&to))
}
