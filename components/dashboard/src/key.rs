//! One key: how it stands, as a picture of its versions; how it is used; what happened to it; what can be done with it.

use crate::deed::KeyDeed;
use crate::deeds::{self, Deed};
use crate::edit_key;
use crate::events;
use crate::keys::{self, PATH, age, last_used};
use crate::page::Page;
use crate::parts::{
    self, Shape, Tone, badge, copied, name, needs, standing, version_standing, when, when_by_the_hour,
    when_in_full,
};
use crate::policies;
use crate::visit::Visit;
use crate::words;
use keyward_domain::event::{Action, Target};
use keyward_domain::scope::administration as scope;
use keyward_domain::standing::State;
use keyward_domain::{KeyId, Result, Timestamp};
use keyward_guest::Response;
use keyward_service::{EventFilter, KeyView, Page as ListPage, UsageQuery, UsageView, VersionView};
use maud::{Markup, html};

/// Events that a key's page shows.
const EVENTS_SHOWN: &str = "20";
/// Scopes that it shows one by one.
const SCOPES_SHOWN: usize = 64;

/// The key, as far as this visitor may see it.
pub(crate) async fn find(visit: &Visit<'_>, id: KeyId) -> Result<KeyView> {
    visit
        .look(Action::KeyRead, Target::key(Some(id)), async |service, attempt| service.key(attempt, id).await)
        .await
}

/// Its use in the last day.
pub(crate) async fn use_of(visit: &Visit<'_>, id: KeyId) -> Result<UsageView> {
    let usage = visit.plane.usage_store();
    visit
        .look(Action::KeyRead, Target::key(Some(id)), async |service, attempt| {
            service.key_usage(attempt, id, &UsageQuery::default(), &usage).await
        })
        .await
}

/// The page.
pub(crate) async fn page(visit: &Visit<'_>, id: KeyId) -> Result<Response> {
    let done = match visit.incoming.query()?.one("done")? {
        Some(edit_key::EDIT) => Some(edit_key::DONE),
        path => KeyDeed::done(path),
    };
    // First, since it folds what validators kept: when the key was used last is told out of that.
    let used = use_of(visit, id).await?;
    let key = find(visit, id).await?;
    let now = visit.now;
    let policy = policies::called(visit, key.policy, "").await?;
    let body = html! {
        @if let Some(done) = done { p class="notice" role="status" { (done) } }
        (deeds(visit, &key))
        @if let Some(revoked) = &key.revoked {
            section class="callout" aria-labelledby="revoked" {
                h2 id="revoked" { "Revoked" }
                p { (when_in_full(revoked.at, now)) " by " (name(words::actor(&revoked.by))) ": " (name(&revoked.reason)) }
            }
        }
        @if let Some(claim) = &key.claim {
            section class="callout" aria-labelledby="claim" {
                h2 id="claim" { "A claim is open" }
                @if claim.expires_at > now {
                    p { "Version " (claim.version) " can be claimed until " (when_in_full(claim.expires_at, now)) "." }
                } @else {
                    p { "The claim of version " (claim.version) " ended " (when(claim.expires_at, now)) ". Reissue it to hand out another link." }
                }
            }
        }
        section aria-labelledby="versions" {
            h2 id="versions" { "Versions" }
            (versions(&key, &used, now))
        }
        section aria-labelledby="use" {
            h2 id="use" { "Requests in the last 24 hours" }
            (usage(&used))
        }
        section aria-labelledby="facts" {
            h2 id="facts" { "Facts" }
            (facts(&key, &policy, now))
        }
        section aria-labelledby="timeline" {
            h2 id="timeline" { "Timeline" }
            (timeline(visit, &key).await?)
        }
    };
    let page = Page::new(PATH, key.name.clone(), body)
        .below("Keys", parts::target(PATH, &[("application", &key.application.to_string())]))
        .beside(html! { div { (standing(&key, now)) } });
    Ok(page.show(visit))
}

/// What this visitor can do with the key as it stands.
fn deeds(visit: &Visit<'_>, key: &KeyView) -> Markup {
    let is_fit = |deed: &KeyDeed| deed.fits(key, visit.now) && visit.may_at(deed.scope(), key.application);
    let fitting = KeyDeed::ALL.iter().copied().filter(is_fit);
    let here = format!("{PATH}/{}", key.id);
    html! {
        ul class="deeds" {
            @if key.state != State::Revoked && visit.may_at(scope::KEYS_WRITE, key.application) {
                li { a class="button" href=(format!("{here}/{}", edit_key::EDIT)) { "Edit" } }
            }
            (deeds::ways(&here, fitting))
        }
    }
}

/// A row for each version, with its life as a bar over the life of the key.
fn versions(key: &KeyView, used: &UsageView, now: Timestamp) -> Markup {
    if key.versions.is_empty() {
        return parts::empty(
            "No version yet",
            html! { "The first is minted when whoever the key is for takes the claim." },
        );
    }
    let ends = key.versions.iter().filter_map(|version| version.ends_at);
    let last = ends.chain([now]).max().unwrap_or(now);
    let axis = Axis { from: key.versions.first().map_or(key.created_at, |first| first.claimed_at), to: last };
    html! {
        div class="table" { table {
            thead { tr {
                th scope="col" { "Version" } th scope="col" { "State" } th scope="col" class="wide" { "Life" }
                th scope="col" { "Last used" } th scope="col" class="number" { "Requests, 24 h" }
            } }
            tbody { @for version in key.versions.iter().rev() { (version_row(key, version, used, &axis, now)) } }
        } }
    }
}

fn version_row(
    key: &KeyView,
    version: &VersionView,
    used: &UsageView,
    axis: &Axis,
    now: Timestamp,
) -> Markup {
    let counted = used.versions.iter().find(|counted| counted.version == version.version);
    let passes = key.state == State::Active;
    html! {
        tr {
            th scope="row" class="nowrap" data-label="Version" { "Version " (version.version) }
            td data-label="State" {
                @if passes || !keys::passes(version.state) { (version_standing(version.state)) }
                @else { (parts::badge(parts::Tone::Quiet, parts::Shape::Cross, "Refused with its key")) }
                @if version.pepper_outdated { " " (parts::badge(parts::Tone::Warn, parts::Shape::Triangle, "Old pepper")) }
            }
            td data-label="Life" class="wide" {
                (axis.bar(version.claimed_at, version.ends_at.unwrap_or(now)))
                span class="small" {
                    "claimed " (when(version.claimed_at, now))
                    @if let Some(end) = version.ends_at { ", " (if end > now { "ends " } else { "ended " }) (when(end, now)) }
                }
            }
            td data-label="Last used" {
                @match version.last_used_at { Some(at) => (when_by_the_hour(at, now)), None => span class="soft" { "never" } }
            }
            td data-label="Requests, 24 h" class="number" {
                (words::grouped(counted.map_or(0, |counted| counted.outcomes.accepted().saturating_add(counted.outcomes.refused()))))
            }
        }
    }
}

/// A span of time as a line of a picture.
struct Axis {
    from: Timestamp,
    to: Timestamp,
}

impl Axis {
    /// Of 1000 parts.
    fn place(&self, at: Timestamp) -> i64 {
        let whole = self.to.unix_ms().saturating_sub(self.from.unix_ms()).max(1);
        let done = at.unix_ms().saturating_sub(self.from.unix_ms()).clamp(0, whole);
        done.saturating_mul(1000) / whole
    }

    fn bar(&self, from: Timestamp, to: Timestamp) -> Markup {
        let (from, to) = (self.place(from), self.place(to));
        html! {
            svg class="life" viewBox="0 0 1000 8" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
                rect class="track" width="1000" height="8" {}
                rect class="fill" x=(from) width=(to.saturating_sub(from).max(6)) height="8" {}
            }
        }
    }
}

/// Requests by the hour, as columns, and what became of them in words.
fn usage(used: &UsageView) -> Markup {
    let all = used.outcomes.accepted().saturating_add(used.outcomes.refused());
    let told = used.outcomes.iter().filter(|(_, count)| *count > 0);
    if all == 0 {
        return parts::empty("No request", html! { "Nobody presented a version of this key." });
    }
    html! {
        (columns(&used.buckets.iter().map(|bucket| (bucket.outcomes.accepted(), bucket.outcomes.refused())).collect::<Vec<_>>()))
        ul class="outcomes" {
            @for (outcome, count) in told { li { (parts::code(outcome)) " " strong { (words::grouped(count)) } } }
            li { "from about " strong { (words::counted(used.addresses, "address").replace("addresss", "addresses")) } }
        }
    }
}

/// Columns for spans of time that follow each other: what passed below, what was refused on top.
pub(crate) fn columns(spans: &[(u64, u64)]) -> Markup {
    const HEIGHT: u64 = 60;
    let top = spans.iter().map(|(passed, refused)| passed.saturating_add(*refused)).max().unwrap_or(0).max(1);
    // What there was is seen, however little it was.
    let tall = |count: u64| (count.saturating_mul(HEIGHT) / top).max(count.min(1));
    html! {
        svg class="columns" viewBox={ "0 0 " (spans.len().saturating_mul(10)) " " (HEIGHT) } preserveAspectRatio="none" role="img"
            aria-label={ "Requests by the hour, at most " (top) " in one" } {
            @for (at, (passed, refused)) in spans.iter().enumerate() {
                @let (passed, refused) = (tall(*passed), tall(*refused));
                rect class="passed" x=(at.saturating_mul(10)) y=(HEIGHT.saturating_sub(passed)) width="8" height=(passed) {}
                rect class="refused" x=(at.saturating_mul(10)) y=(HEIGHT.saturating_sub(passed).saturating_sub(refused)) width="8" height=(refused) {}
            }
        }
        p class="legend small" { span class="passed" { "passed" } " " span class="refused" { "refused" } }
    }
}

fn facts(key: &KeyView, called: &str, now: Timestamp) -> Markup {
    html! {
        dl class="facts" {
            dt { "Id" } dd { (copied(key.id)) }
            dt { "Application" } dd { a href=(format!("/dashboard/applications/{}", key.application)) { (parts::code(key.application)) } }
            dt { "Environment" } dd { (key.environment.as_str()) ", tokens start with " (parts::code(format!("{}_{}_", key.prefix, key.environment.as_str()))) }
            @if let Some(imported) = &key.imported {
                dt { "First token" } dd {
                    "of another system, imported by its " (imported.algorithm.title()) " "
                    @if imported.is_weak == Some(true) { (badge(Tone::Warn, Shape::Triangle, "Easily guessed: rotate it")) }
                }
            }
            @if let Some(principal) = &key.principal { dt { "Stands for" } dd { (name(principal)) } }
            dt { "Scopes" } dd {
                @if key.scopes.iter().next().is_none() { span class="soft" { "none of its own" } }
                ul class="inline" { @for scope in key.scopes.iter().take(SCOPES_SHOWN) { li { (parts::code(scope)) } } }
            }
            @if !key.roles.is_empty() {
                dt { "Roles" } dd { ul class="inline" { @for role in &key.roles { li { (parts::code(role)) } } } }
            }
            @if !key.tags.is_empty() {
                dt { "Tags" } dd { ul class="inline" { @for tag in &key.tags { li { (name(tag)) } } } }
            }
            dt { "Networks" } dd {
                @if key.rules.network.is_empty() { "from anywhere" }
                @else { ul class="inline" { @for network in key.rules.network.iter() { li { (parts::code(network)) } } } }
            }
            dt { "Policy" } dd { @match key.policy { Some(policy) => { a href=(format!("{}/{policy}", policies::PATH)) { (name(called)) } } None => span class="soft" { "that of its application" } } }
            @if !key.limits.is_empty() { dt { "Limits" } dd { ul class="inline" { @for limit in &key.limits { li { (parts::code(limit)) } } } } }
            dt { "Age" } dd { (age(key, now)) }
            dt { "Next rotation" } dd {
                @match key.due_at { Some(at) => (when_in_full(at, now)), None => span class="soft" { "not asked for" } }
            }
            dt { "Renews itself" } dd { (if key.rotation.self_renewal { "yes: its holder has a renewal token" } else { "no" }) }
            dt { "Expires" } dd {
                @match key.expires_at { Some(at) => (when_in_full(at, now)), None => span class="soft" { "never" } }
            }
            dt { "Last used" } dd { (last_used(key, now)) }
            dt { "Issued" } dd { (when_in_full(key.created_at, now)) }
        }
    }
}

async fn timeline(visit: &Visit<'_>, key: &KeyView) -> Result<Markup> {
    if !visit.may_at(scope::AUDIT_READ, key.application) {
        return Ok(needs(scope::AUDIT_READ));
    }
    let filter =
        EventFilter { key: Some(key.id), application: Some(key.application), ..EventFilter::default() };
    let page = ListPage::parse(Some(EVENTS_SHOWN), None)?;
    let found = visit
        .look(Action::AuditRead, Target::key(Some(key.id)), async |service, attempt| {
            service.audit_events(attempt, &filter, &page).await
        })
        .await?;
    Ok(html! {
        (events::timeline(visit, &found.items).await?)
        @if found.next_cursor.is_some() {
            p { a href=(parts::target(events::PATH, &[("key", &key.id.to_string()), ("application", &key.application.to_string())])) { "All events of this key" } }
        }
    })
}
