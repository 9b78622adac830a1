//! Credentials of the vault: which there are, and what is known of each. What one holds is on no page: this component has no ring of the
//! vault, and could not open it. What can be done with one is `credential_deed`'s.

use crate::applications;
use crate::credential_deed::CredentialDeed;
use crate::deeds::{self, Deed};
use crate::edit_credential;
use crate::events;
use crate::fields::{Line, choice};
use crate::page::Page;
use crate::parts::{
    self, Shape, Tone, badge, code, copied, empty, name, needs, pager, target, when, when_in_full,
};
use crate::policies;
use crate::visit::Visit;
use crate::words;
use keyward_domain::credential_rotation::{Ending, Phase};
use keyward_domain::event::{Action, Target};
use keyward_domain::scope::administration as scope;
use keyward_domain::{ApplicationId, CredentialId, Error, Result};
use keyward_guest::Response;
use keyward_service::{
    ApplicationView, CredentialFilter, CredentialRotationView, CredentialState, CredentialVersionState,
    CredentialVersionView, CredentialView, EventFilter, Page as ListPage,
};
use maud::{Markup, html};

pub(crate) const PATH: &str = "/dashboard/credentials";
const PER_PAGE: &str = "50";
/// Events that a credential's page shows.
const EVENTS_SHOWN: &str = "20";

/// The table.
pub(crate) async fn page(visit: &Visit<'_>) -> Result<Response> {
    let (page, is_first) = visit.page_of(PER_PAGE, &["application", "state", "name", "tag"])?;
    let query = visit.incoming.query()?;
    let text = |name| query.one(name).map(|text| text.unwrap_or_default().trim());
    let query = ["application", "state", "name", "tag"].map(|name| text(name).map(|text| (name, text)));
    let [application, state, prefix, tag] = query;
    let query = [application?, state?, prefix?, tag?];
    let filter = asked(&query)?;
    let found = visit
        .look(Action::CredentialListed, Target::application(filter.application), async |service, attempt| {
            service.credentials(attempt, &filter, &page).await
        })
        .await?;
    let known = applications::all(visit).await?;
    let body = html! {
        (form(&known, &query))
        @if found.items.is_empty() {
            (empty("No credentials here", html! {
                @if found.next_cursor.is_some() { "None of those that were looked at fits; the next page looks further." }
                @else { "A credential is a secret of somebody else's that services fetch: " (code("keyward credential create")) " puts one into the vault." }
            }))
        } @else {
            div class="table" { table {
                thead { tr {
                    th scope="col" { "Credential" } th scope="col" { "Application" } th scope="col" { "State" } th scope="col" { "Kind" }
                    th scope="col" class="number" { "Current version" } th scope="col" { "Rotation due" } th scope="col" { "Owner" }
                } }
                tbody { @for credential in &found.items { (row(visit, &known, credential)) } }
            } }
        }
        (pager(PATH, &query, is_first, found.next_cursor.as_deref()))
    };
    Ok(Page::new(PATH, "Credentials", body).show(visit))
}

/// What the API takes.
fn asked<'q>(query: &[(&str, &'q str); 4]) -> Result<CredentialFilter<'q>> {
    let [(_, application), (_, state), (_, prefix), (_, tag)] = *query;
    let given = |text: &'q str| Some(text).filter(|text| !text.is_empty());
    let no_id = |_| Error::parameter("application", "is not valid", "an application's id");
    let no_state = |()| Error::parameter("state", "is not known", "one of the states that the form has");
    Ok(CredentialFilter {
        application: given(application).map(str::parse).transpose().map_err(no_id)?,
        name: given(prefix),
        tag: given(tag),
        state: given(state).map(str::parse).transpose().map_err(no_state)?,
    })
}

/// Which credentials.
fn form(known: &[ApplicationView], query: &[(&str, &str); 4]) -> Markup {
    let [(_, application), (_, state), (_, prefix), (_, tag)] = *query;
    let states = CredentialState::ALL.map(|state| (state.as_str().to_owned(), told(state).2.to_owned()));
    let states: Vec<_> = [(String::new(), "However".to_owned())].into_iter().chain(states).collect();
    let known = known.iter().map(|known| (known.id.to_string(), known.name.clone()));
    let mut known: Vec<_> = [(String::new(), "All".to_owned())].into_iter().chain(known).collect();
    if known.iter().all(|(id, _)| id != application) {
        known.push((application.to_owned(), application.to_owned()));
    }
    html! {
        form class="filter" method="get" action=(PATH) {
            (choice("application", "Application", &known, application))
            (choice("state", "Stands", &states, state))
            (Line { name: "name", label: "Name begins with", value: prefix, hint: "", is_needed: false }.show())
            (Line { name: "tag", label: "Tag", value: tag, hint: "", is_needed: false }.show())
            button { "Show" }
        }
    }
}

fn row(visit: &Visit<'_>, known: &[ApplicationView], credential: &CredentialView) -> Markup {
    html! {
        tr {
            th scope="row" data-label="Credential" {
                a href=(format!("{PATH}/{}", credential.id)) { (name(&credential.name)) }
                @if !credential.description.is_empty() { div class="soft small" { (name(&credential.description)) } }
            }
            td data-label="Application" { (application_of(known, credential.application)) }
            td data-label="State" { (standing(credential.state)) }
            td data-label="Kind" class="nowrap" { (credential.kind.as_str()) }
            td data-label="Current version" class="number" {
                @if credential.state == CredentialState::Retired { span class="soft" { "none" } } @else { (credential.current) }
            }
            td data-label="Rotation due" {
                @match credential.rotation_due_at { Some(at) => (when(at, visit.now)), None => span class="soft" { "never" } }
            }
            td data-label="Owner" { (owner(credential)) }
        }
    }
}

/// An application as a link, by its name where that is known.
fn application_of(known: &[ApplicationView], id: ApplicationId) -> Markup {
    html! {
        a href=(format!("{}/{id}", applications::PATH)) {
            @match known.iter().find(|known| known.id == id) { Some(known) => (name(&known.name)), None => (code(id)) }
        }
    }
}

fn owner(credential: &CredentialView) -> Markup {
    html! { @if credential.owner.is_empty() { span class="soft" { "nobody" } } @else { (name(&credential.owner)) } }
}

/// How a state is told.
const fn told(state: CredentialState) -> (Tone, Shape, &'static str) {
    match state {
        CredentialState::Active => (Tone::Good, Shape::Disc, "Active"),
        CredentialState::Expiring => (Tone::Warn, Shape::Half, "Expiring"),
        CredentialState::Overdue => (Tone::Bad, Shape::Triangle, "Overdue"),
        CredentialState::Expired => (Tone::Warn, Shape::Diamond, "Expired"),
        CredentialState::Retired => (Tone::Quiet, Shape::Cross, "Retired"),
    }
}

/// How a credential stands.
pub(crate) fn standing(state: CredentialState) -> Markup {
    let (tone, shape, word) = told(state);
    badge(tone, shape, word)
}

/// How many stand so, as a way to those of an application, or of all where there is none.
pub(crate) fn counted(count: u64, state: CredentialState, application: Option<&str>) -> Markup {
    let path = target(PATH, &[("application", application.unwrap_or_default()), ("state", state.as_str())]);
    html! { li class=[(count == 0).then_some("none")] { a href=(path) { strong { (words::grouped(count)) } (standing(state)) } } }
}

/// How a version of one stands.
fn version_standing(state: CredentialVersionState) -> Markup {
    match state {
        CredentialVersionState::Current => badge(Tone::Good, Shape::Disc, "Current"),
        CredentialVersionState::Pending => badge(Tone::Warn, Shape::Ring, "Pending"),
        CredentialVersionState::Kept => badge(Tone::Info, Shape::Ring, "Kept"),
        CredentialVersionState::Destroyed => badge(Tone::Quiet, Shape::Cross, "Destroyed"),
    }
}

/// The credential, as far as this visitor may see it.
pub(crate) async fn find(visit: &Visit<'_>, id: CredentialId) -> Result<CredentialView> {
    visit
        .look(Action::CredentialListed, Target::credential(Some(id)), async |service, attempt| {
            service.credential(attempt, id).await
        })
        .await
}

/// A credential as a link, for where its name is not at hand.
pub(crate) fn link(id: CredentialId) -> Markup {
    html! { a href=(format!("{PATH}/{id}")) { (code(id)) } }
}

/// One credential.
pub(crate) async fn show(visit: &Visit<'_>, id: CredentialId) -> Result<Response> {
    let query = visit.incoming.query()?;
    query.only(&["done"])?;
    let done = match query.one("done")? {
        Some(edit_credential::EDIT) => Some(edit_credential::DONE),
        other => CredentialDeed::done(other),
    };
    let credential = find(visit, id).await?;
    let policy = policies::called(visit, credential.policy, "").await?;
    let fitting =
        CredentialDeed::OF_ALL.iter().copied().filter(|deed| deed.is_open(visit, &credential, None));
    let body = html! {
        @if let Some(done) = done { p class="notice" role="status" { (done) } }
        ul class="deeds" {
            @if credential.state != CredentialState::Retired && visit.may_named(scope::CREDENTIALS_WRITE, &credential) {
                li { a class="button" href=(format!("{PATH}/{id}/{}", edit_credential::EDIT)) { "Edit" } }
            }
            (deeds::ways(format!("{PATH}/{id}"), fitting))
        }
        @if let Some(rotation) = &credential.rotation {
            section aria-labelledby="rotation" {
                h2 id="rotation" { "Rotation" }
                (rotation_facts(visit, rotation))
            }
        }
        section aria-labelledby="versions" {
            h2 id="versions" { "Versions" }
            (versions(visit, &credential))
        }
        @if credential.state != CredentialState::Retired && visit.may_named(scope::CREDENTIALS_WRITE, &credential) {
            section aria-labelledby="write" {
                h2 id="write" { "A new version" }
                p { "What it holds passes through no page. The command reads what is secret from a file, or asks for it:" }
                p { (copied(command(&credential))) }
            }
        }
        section aria-labelledby="facts" { h2 id="facts" { "Facts" } (facts(visit, &credential, &policy)) }
        section aria-labelledby="timeline" {
            h2 id="timeline" { "Timeline" }
            (timeline(visit, &credential).await?)
        }
    };
    let page = Page::new(PATH, credential.name.clone(), body)
        .below("Credentials", target(PATH, &[("application", &credential.application.to_string())]))
        .beside(html! { div { (standing(credential.state)) } });
    Ok(page.show(visit))
}

/// How a rotation that is under way stands.
fn rotation_facts(visit: &Visit<'_>, rotation: &CredentialRotationView) -> Markup {
    html! {
        dl class="facts" {
            dt { "Stands" } dd { (phase(rotation.phase)) }
            dt { "Began" } dd { a href=(format!("{}/{}", events::PATH, rotation.id)) { (when_in_full(rotation.begun_at, visit.now)) } }
            dt { "Versions" } dd {
                "from " (rotation.before)
                @match rotation.pending { Some(pending) => { " to " (pending) } None => { ", to one that is not made yet" } }
            }
            dt { "Its provider is called next" } dd { (when_in_full(rotation.next_attempt_at, visit.now)) }
            @if let Some(failure) = &rotation.last_failure {
                dt { "The last call that failed" }
                dd {
                    (when(failure.at, visit.now)) ": " (code(failure.fault))
                    @if let Some(status) = failure.status { " " (status) }
                    @if rotation.attempts > 0 { ", after " (words::counted(u64::from(rotation.attempts), "attempt")) }
                }
            }
        }
    }
}

fn phase(phase: Phase) -> Markup {
    match phase {
        Phase::Creating => badge(Tone::Info, Shape::Ring, "A new secret is being made"),
        Phase::Setting => badge(Tone::Info, Shape::Ring, "The third party is being told of it"),
        Phase::Testing => badge(Tone::Info, Shape::Ring, "It is being tried"),
        Phase::Waiting => badge(Tone::Good, Shape::Disc, "Current, while services change over"),
        Phase::Finishing => badge(Tone::Info, Shape::Ring, "The old one is being ended"),
        Phase::RollingBack => badge(Tone::Warn, Shape::Diamond, "Being taken back"),
    }
}

/// How the last rotation ended.
fn ending(ending: Ending) -> Markup {
    match ending {
        Ending::Done => badge(Tone::Good, Shape::Disc, "Done"),
        Ending::Unfinished => badge(Tone::Warn, Shape::Diamond, "The old one was not ended"),
        Ending::Failed => badge(Tone::Bad, Shape::Triangle, "Failed"),
        Ending::Cancelled => badge(Tone::Quiet, Shape::Cross, "Cancelled"),
    }
}

/// The command that writes a version, each field from a file of its name.
fn command(credential: &CredentialView) -> String {
    let mut command = format!("keyward credential write {}", credential.id);
    for field in credential.kind.fields().iter().filter(|field| !field.is_optional) {
        command.push_str(&format!(" --from {0}={0}.txt", field.name));
    }
    command
}

fn versions(visit: &Visit<'_>, credential: &CredentialView) -> Markup {
    let is_open = |version: &CredentialVersionView| {
        let mut deeds = CredentialDeed::OF_VERSIONS.into_iter();
        deeds.any(|deed| deed.is_open(visit, credential, Some(version)))
    };
    let may_act = credential.versions.iter().any(is_open);
    html! {
        div class="table" { table {
            thead { tr {
                th scope="col" { "Version" } th scope="col" { "State" } th scope="col" { "Written" } th scope="col" { "Destroyed" }
                @if may_act { th scope="col" { span class="unseen" { "Act" } } }
            } }
            tbody { @for version in &credential.versions { (version_row(visit, credential, version, may_act)) } }
        } }
    }
}

fn version_row(
    visit: &Visit<'_>,
    credential: &CredentialView,
    version: &CredentialVersionView,
    may_act: bool,
) -> Markup {
    let open =
        CredentialDeed::OF_VERSIONS.iter().filter(|deed| deed.is_open(visit, credential, Some(version)));
    let number = version.number.to_string();
    html! {
        tr {
            th scope="row" class="nowrap" data-label="Version" { "Version " (number) }
            td data-label="State" { (version_standing(version.state)) }
            td data-label="Written" { a href=(format!("{}/{}", events::PATH, version.event)) { (when(version.written_at, visit.now)) } }
            td data-label="Destroyed" {
                @match version.destroyed_at { Some(at) => (when(at, visit.now)), None => span class="soft" { "no" } }
            }
            @if may_act {
                td data-label="" class="act" { @for told in open.map(|deed| deed.told()) {
                    @let way = target(&format!("{PATH}/{}/{}", credential.id, told.path), &[("version", &number)]);
                    a class={ "button small " (if told.is_dangerous { "danger" } else { "" }) } href=(way) { (told.label) span class="unseen" { " version " (number) } } " "
                } }
            }
        }
    }
}

fn facts(visit: &Visit<'_>, credential: &CredentialView, called: &str) -> Markup {
    let span = |seconds: u32| words::span(i64::from(seconds));
    html! {
        dl class="facts" {
            dt { "Id" } dd { (copied(credential.id)) }
            dt { "Application" } dd { a href=(format!("{}/{}", applications::PATH, credential.application)) { (code(credential.application)) } }
            dt { "Kind" } dd { (code(credential.kind.as_str())) ", with " @for (at, field) in credential.kind.fields().iter().enumerate() { @if at > 0 { ", " } (code(field.name)) } }
            @if !credential.description.is_empty() { dt { "Description" } dd { (name(&credential.description)) } }
            dt { "Owner" } dd { (owner(credential)) }
            @if !credential.tags.is_empty() {
                dt { "Tags" } dd { ul class="inline" { @for tag in &credential.tags { li { (name(tag)) } } } }
            }
            dt { "Policy" } dd { @match credential.policy { Some(id) => { a href=(format!("{}/{id}", policies::PATH)) { (name(called)) } } None => span class="soft" { "that of its application" } } }
            dt { "Rotated by" } dd {
                @match &credential.provider { Some(provider) => { (code(&provider.url)) } None => span class="soft" { "people" } }
            }
            @if let Some(last) = &credential.last_rotation {
                dt { "Last rotation" } dd { (ending(last.ending)) " " a href=(format!("{}/{}", events::PATH, last.id)) { (when(last.ended_at, visit.now)) } }
            }
            dt { "Rotation due" } dd {
                @match credential.rotation_due_at { Some(at) => (when_in_full(at, visit.now)), None => span class="soft" { "never" } }
            }
            dt { "Ends at the third party" } dd {
                @match credential.expires_at { Some(at) => (when_in_full(at, visit.now)), None => span class="soft" { "not known" } }
            }
            dt { "Whoever read it goes on" } dd { (span(credential.lease_s)) " without asking again, " (span(credential.outage_s)) " while nobody answers" }
            dt { "Created" } dd { (when_in_full(credential.created_at, visit.now)) }
            @if let Some(at) = credential.retired_at { dt { "Retired" } dd { (when_in_full(at, visit.now)) } }
        }
    }
}

async fn timeline(visit: &Visit<'_>, credential: &CredentialView) -> Result<Markup> {
    let CredentialView { id, application, .. } = *credential;
    if !visit.may_at(scope::AUDIT_READ, application) {
        return Ok(needs(scope::AUDIT_READ));
    }
    let filter =
        EventFilter { application: Some(application), credential: Some(id), ..EventFilter::default() };
    let page = ListPage::parse(Some(EVENTS_SHOWN), None)?;
    let found = visit
        .look(Action::AuditRead, Target::credential(Some(id)), async |service, attempt| {
            service.audit_events(attempt, &filter, &page).await
        })
        .await?;
    Ok(html! {
        (events::timeline(visit, &found.items).await?)
        @if found.next_cursor.is_some() {
            p { a href=(parts::target(events::PATH, &[("credential", &id.to_string()), ("application", &application.to_string())])) { "All events of this credential" } }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_becomes_what_the_api_takes() {
        let read = |texts: [&'static str; 4]| asked(&texts.map(|text| ("", text)));
        let all = read([""; 4]).expect("all");
        assert!(all.application.is_none() && all.name.is_none() && all.tag.is_none() && all.state.is_none());
        let some = read(["app_0000000000000000000000", "overdue", "payments/", "eu"]).expect("some");
        assert_eq!((some.application, some.name), (Some(ApplicationId::KEYWARD), Some("payments/")));
        assert_eq!((some.state, some.tag), (Some(CredentialState::Overdue), Some("eu")));
        assert!(read(["nobody", "", "", ""]).is_err() && read(["", "late", "", ""]).is_err());
    }

    #[test]
    fn each_state_has_a_word_and_a_shape_of_its_own() {
        let shown = CredentialState::ALL.map(|state| standing(state).into_string());
        let of_versions = [
            CredentialVersionState::Current,
            CredentialVersionState::Kept,
            CredentialVersionState::Destroyed,
        ]
        .map(|state| version_standing(state).into_string());
        for badges in [&shown[..], &of_versions[..]] {
            let path = |badge: &str| badge.split(" d=\"").nth(1).map(str::to_owned);
            let distinct: std::collections::BTreeSet<_> = badges.iter().map(|badge| path(badge)).collect();
            assert_eq!(distinct.len(), badges.len(), "{badges:?}");
        }
    }
}
