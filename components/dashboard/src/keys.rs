//! The keys of an application, as a table.

use crate::applications;
use crate::bulk::BulkDeed;
use crate::fields::{Line, choice};
use crate::page::Page;
use crate::parts::{self, bar, empty, name, pager, standing, standing_badge, target, when_by_the_hour};
use crate::visit::Visit;
use crate::words;
use keyward_domain::error::Blame;
use keyward_domain::event::{Action, Target};
use keyward_domain::scope::administration as scope;
use keyward_domain::standing::{Standing, State};
use keyward_domain::{ApplicationId, Error, KeyId, Result, Timestamp};
use keyward_guest::Response;
use keyward_service::{KeyFilter, KeyView, Order, Page as ListPage, StandingsView};
use maud::{Markup, html};
use std::collections::{BTreeMap, BTreeSet};

/// Keys on one page.
const KEYS_PER_PAGE: &str = "50";
pub(crate) const PATH: &str = "/dashboard/keys";

/// The table.
pub(crate) async fn page(visit: &Visit<'_>) -> Result<Response> {
    let query = visit.incoming.query()?;
    query.only(&["application", "standing", "tag", "name", "order", "cursor"])?;
    let text = |name| query.one(name).map(|text| text.unwrap_or_default().trim());
    let (application, standing, tag, prefix, order) =
        (text("application")?, text("standing")?, text("tag")?, text("name")?, text("order")?);
    let cursor = query.one("cursor")?;
    let asked = asked(application, standing, tag, prefix, order)?;
    let page = ListPage::parse(Some(KEYS_PER_PAGE), cursor)?;
    let (counts, keys) = visit
        .look(Action::KeyRead, Target::application(asked.application), async |service, attempt| {
            Ok((
                service.standings(attempt, asked.application).await?,
                service.keys(attempt, &asked, &page).await?,
            ))
        })
        .await?;
    let query = [
        ("application", application),
        ("standing", standing),
        ("tag", tag),
        ("name", prefix),
        ("order", order),
    ];
    let body = html! {
        (filter(visit, &query).await?)
        (standings(&counts, application, asked.standing))
        @if keys.items.is_empty() {
            (empty("No keys here", html! {
                @if keys.next_cursor.is_some() { "None of those that were looked at fits; the next page looks further." }
                @else { "Nobody has issued a key that fits." }
            }))
        } @else {
            (table(visit, &keys.items))
        }
        (pager(PATH, &query, cursor.is_none(), keys.next_cursor.as_deref()))
    };
    let may_issue = match asked.application {
        Some(application) => visit.may_at(scope::KEYS_WRITE, application),
        None => visit.may(scope::KEYS_WRITE),
    };
    let new = html! {
        @if visit.may(scope::KEYS_ROTATE) {
            a class="button" href=(target(BulkDeed::Rotate.path(), &[("application", application), ("standing", standing), ("tag", tag)])) { "Rotate many" } " "
        }
        @if may_issue { a class="button" href=(target("/dashboard/keys/new", &[("application", application)])) { "New key" } }
    };
    Ok(Page::new(PATH, "Keys", body).beside(html! { div { (new) } }).show(visit))
}

/// What the API takes.
fn asked<'q>(
    application: &str,
    standing: &str,
    tag: &'q str,
    prefix: &'q str,
    order: &str,
) -> Result<KeyFilter<'q>> {
    let given = |text: &'q str| Some(text).filter(|text| !text.is_empty());
    let application = match application {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_| Error::parameter("application", "is not valid", "an application's id"))?,
        ),
    };
    let standing = match standing {
        "" => None,
        text => Some(
            Standing::from_text(text)
                .ok_or_else(|| Error::parameter("standing", "is not known", "how a key stands"))?,
        ),
    };
    let order = match order {
        "oldest" => Order::Oldest,
        _ => Order::Newest,
    };
    Ok(KeyFilter { application, tag: given(tag), standing, name: given(prefix), order })
}

/// Which keys.
async fn filter(visit: &Visit<'_>, query: &[(&str, &str); 5]) -> Result<Markup> {
    let [(_, application), (_, standing), (_, tag), (_, prefix), (_, order)] = query;
    let every = |told: &str| (String::new(), told.to_owned());
    let known = applications::all(visit).await?;
    let known = known.iter().map(|known| (known.id.to_string(), known.name.clone()));
    let mut known: Vec<_> = [every("All")].into_iter().chain(known).collect();
    if known.iter().all(|(id, _)| id != application) {
        known.push(((*application).to_owned(), (*application).to_owned()));
    }
    let stands =
        Standing::ALL.map(|standing| (standing.as_str().to_owned(), standing_word(standing).to_owned()));
    let stands: Vec<_> = [every("However")].into_iter().chain(stands).collect();
    let orders = [every("Newest first"), ("oldest".to_owned(), "Oldest first".to_owned())];
    Ok(html! {
        form class="filter" method="get" action=(PATH) {
            (choice("application", "Application", &known, application))
            (choice("standing", "Stands", &stands, standing))
            (Line { name: "name", label: "Name begins with", value: prefix, hint: "", is_needed: false }.show())
            (Line { name: "tag", label: "Tag", value: tag, hint: "", is_needed: false }.show())
            (choice("order", "Order", &orders, order))
            button { "Show" }
        }
    })
}

/// What a standing is called.
pub(crate) const fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Unclaimed => "Not claimed",
        Standing::Active => "Active",
        Standing::Rotating => "Rotating",
        Standing::Expiring => "Expiring",
        Standing::Overdue => "Overdue",
        Standing::Disabled => "Disabled",
        Standing::Expired => "Expired",
        Standing::Revoked => "Revoked",
    }
}

/// How many keys stand how, each as a way to those keys.
pub(crate) fn standings(view: &StandingsView, application: &str, chosen: Option<Standing>) -> Markup {
    html! {
        ul class="counts standings" {
            @for standing in Standing::ALL {
                @let count = view.standings.of(standing);
                @let path = target(PATH, &[("application", application), ("standing", standing.as_str())]);
                li class=[(count == 0).then_some("none")] {
                    a href=(path) aria-current=[(chosen == Some(standing)).then_some("true")] {
                        strong { (words::grouped(count)) } (standing_badge(standing))
                    }
                }
            }
        }
        @if !view.is_complete {
            p class="soft small" { "Some keys of an earlier version of Keyward are not counted yet; maintenance goes round them." }
        }
    }
}

/// Keys as rows.
fn table(visit: &Visit<'_>, keys: &[KeyView]) -> Markup {
    let may_revoke = keys.iter().any(|key| is_revocable(visit, key));
    html! {
        div class="table" {
            table {
                thead { tr {
                    th scope="col" { "Key" } th scope="col" { "State" } th scope="col" { "Age against its policy" }
                    th scope="col" { "Last used" } th scope="col" { "Passing versions" }
                        @if may_revoke { th scope="col" { span class="unseen" { "Act" } } }
                } }
                tbody { @for key in keys { (row(visit, key, may_revoke)) } }
            }
        }
    }
}

fn row(visit: &Visit<'_>, key: &KeyView, may_revoke: bool) -> Markup {
    let now = visit.now;
    let passing = key.versions.iter().filter(|version| passes(version.state));
    html! {
        tr {
            th scope="row" data-label="Key" {
                a href=(format!("{PATH}/{}", key.id)) { (name(&key.name)) }
                div class="soft small" {
                    (key.environment.as_str())
                    @for tag in &key.tags { " " a class="tag" href=(target(PATH, &[("application", &key.application.to_string()), ("tag", tag)])) { (name(tag)) } }
                }
            }
            td data-label="State" { (standing(key, now)) }
            td data-label="Age" { (age(key, now)) }
            td data-label="Last used" { (last_used(key, now)) }
            td data-label="Versions" {
                @if key.state == State::Active { (versions(passing.map(|version| version.version))) } @else { span class="soft" { "none" } }
            }
            @if may_revoke {
                td data-label="" class="act" { @if is_revocable(visit, key) { (revoke(key.id, &key.name)) } }
            }
        }
    }
}

fn is_revocable(visit: &Visit<'_>, key: &KeyView) -> bool {
    !matches!(key.state, State::Revoked | State::Expired) && visit.may_at(scope::KEYS_REVOKE, key.application)
}

/// The way to a key's end, from wherever it is told of: one press here, one on the page that says what it does.
pub(crate) fn revoke(id: KeyId, called: &str) -> Markup {
    html! { a class="button small danger" href=(format!("{PATH}/{id}/revoke")) { "Revoke" span class="unseen" { " " (name(called)) } } }
}

fn versions(numbers: impl Iterator<Item = u16>) -> Markup {
    let all: Vec<String> = numbers.map(|number| number.to_string()).collect();
    html! { (all.join(" and ")) }
}

pub(crate) const fn passes(state: keyward_service::VersionState) -> bool {
    matches!(state, keyward_service::VersionState::Live | keyward_service::VersionState::Retiring)
}

/// How old the newest version is, against when the next is due.
pub(crate) fn age(key: &KeyView, now: Timestamp) -> Markup {
    let Some(newest) = key.versions.last().filter(|_| !matches!(key.state, State::Revoked | State::Expired))
    else {
        return html! { span class="soft" { "none" } };
    };
    let seconds = |from: Timestamp, to: Timestamp| to.unix_s().saturating_sub(from.unix_s());
    let old_s = seconds(newest.claimed_at, now);
    match key.due_at {
        None => html! { (words::span(old_s)) " " span class="soft" { "no rotation asked for" } },
        Some(due) => {
            let whole_s = seconds(newest.claimed_at, due);
            bar(old_s, whole_s, &format!("{} of {}", words::span(old_s), words::span(whole_s)))
        }
    }
}

/// When any version of it was used last.
pub(crate) fn last_used(key: &KeyView, now: Timestamp) -> Markup {
    match key.versions.iter().filter_map(|version| version.last_used_at).max() {
        Some(at) => when_by_the_hour(at, now),
        None => html! { span class="soft" { "never" } },
    }
}

/// A key as a link, for where its name is not at hand.
pub(crate) fn link(id: KeyId) -> Markup {
    html! { a href=(format!("{PATH}/{id}")) { (parts::code(id)) } }
}

/// Keys on one page whose names are looked up.
const NAMES_MAX: usize = 64;

/// What keys are called, as far as this visitor may see them.
#[derive(Default)]
pub(crate) struct Names(BTreeMap<KeyId, String>);

impl Names {
    /// The names of these keys, each looked up once.
    pub(crate) async fn of(
        visit: &Visit<'_>,
        keys: impl Iterator<Item = (ApplicationId, KeyId)>,
    ) -> Result<Self> {
        let visible = keys.filter(|(application, _)| visit.may_at(scope::KEYS_READ, *application));
        let wanted: BTreeSet<KeyId> = visible.map(|(_, key)| key).collect();
        let looks = wanted.into_iter().take(NAMES_MAX).map(async |id| {
            let found = visit
                .look(Action::KeyRead, Target::key(Some(id)), async |service, attempt| {
                    service.key(attempt, id).await
                })
                .await;
            match found {
                Ok(key) => Ok(Some((id, key.name))),
                // One that is gone or does not open is shown by its id.
                Err(error) if error.code.blame() == Blame::Store => Err(error),
                Err(_) => Ok(None),
            }
        });
        let found = futures::future::try_join_all(looks).await?;
        Ok(Self(found.into_iter().flatten().collect()))
    }

    /// A key as a link, by its name where that is known.
    pub(crate) fn link(&self, id: KeyId) -> Markup {
        match self.0.get(&id) {
            Some(known) => html! { a href=(format!("{PATH}/{id}")) { (name(known)) } },
            None => link(id),
        }
    }
}
