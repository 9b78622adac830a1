//! The report on credentials, as a page that prints well. A page of it is about a hundred credentials; its figures are counts of those.

use crate::applications;
use crate::credentials;
use crate::fields::choice;
use crate::page::Page;
use crate::parts::{code, empty, name, pager, when, when_in_full};
use crate::report;
use crate::visit::Visit;
use crate::words;
use keyward_domain::event::{Action, Target};
use keyward_domain::{ApplicationId, Error, Result};
use keyward_guest::Response;
use keyward_service::{
    CredentialFigures, CredentialReportView, CredentialState, CredentialToSee, Page as ListPage,
};
use maud::{Markup, html};

pub(crate) const PATH: &str = "/dashboard/report/credentials";
/// Credentials that one page is about.
const CREDENTIALS_PER_PAGE: &str = "100";

/// The page.
pub(crate) async fn page(visit: &Visit<'_>) -> Result<Response> {
    let query = visit.incoming.query()?;
    query.only(&["application", "cursor"])?;
    let (application, cursor) = (query.one("application")?.unwrap_or_default(), query.one("cursor")?);
    let not_one = |_| Error::parameter("application", "is not valid", "an application's id");
    let chosen = Some(application).filter(|text| !text.is_empty());
    let chosen = chosen.map(str::parse::<ApplicationId>).transpose().map_err(not_one)?;
    let page = ListPage::parse(Some(CREDENTIALS_PER_PAGE), cursor)?;
    let report = visit
        .look(Action::AuditRead, Target::default(), async |service, attempt| {
            service.credential_report(attempt, chosen, &page).await
        })
        .await?;
    let known = applications::all(visit).await?;
    let known = known.iter().map(|known| (known.id.to_string(), known.name.clone()));
    let known: Vec<_> = [(String::new(), "All".to_owned())].into_iter().chain(known).collect();
    let body = html! {
        form class="filter" method="get" action=(PATH) {
            (choice("application", "Application", &known, application))
            button { "Report" }
        }
        (told(visit, &report, cursor.is_none()))
        (pager(PATH, &[("application", application)], cursor.is_none(), report.next_cursor.as_deref()))
    };
    Ok(Page::new(report::PATH, "Report on credentials", body)
        .below("Compliance report", report::PATH)
        .show(visit))
}

fn told(visit: &Visit<'_>, report: &CredentialReportView, is_first: bool) -> Markup {
    let is_whole = is_first && report.next_cursor.is_none();
    let totals = &report.totals;
    html! {
        section aria-labelledby="scope" {
            h2 id="scope" { "What this is about" }
            dl class="facts" {
                dt { "As of" } dd { (when_in_full(report.at, visit.now)) ", through event " (code(report.through)) }
                dt { "Credentials" } dd {
                    (words::grouped(u64::try_from(report.examined).unwrap_or(u64::MAX)))
                    @if !is_whole { " of several pages. The whole, as a table, JSON or CSV: " (code("keyward report --credentials")) }
                }
                @if report.damaged > 0 { dt { "Damaged" } dd { (report.damaged) ": " (code("keyward audit verify")) " names them" } }
            }
        }
        section aria-labelledby="standing" { h2 id="standing" { "How credentials stand" } (states(totals)) }
        section aria-labelledby="attention" {
            h2 id="attention" { "To be seen to" }
            @if report.attention.is_empty() { (empty("None", html! { "Every credential that was looked at keeps to its policy, and none ends within " (words::span(report.expiring_s)) "." })) }
            @else { (attention(visit, &report.attention)) }
        }
        section aria-labelledby="care" { h2 id="care" { "Who looks after them, and who reads them" } (care(visit, totals)) }
        @if report.applications.len() > 1 {
            section aria-labelledby="applications" { h2 id="applications" { "By application" } (by_application(visit, report)) }
        }
    }
}

/// How many stand how.
fn states(totals: &CredentialFigures) -> Markup {
    let counts = &totals.states;
    let all = [
        (counts.active, CredentialState::Active),
        (counts.expiring, CredentialState::Expiring),
        (counts.overdue, CredentialState::Overdue),
        (counts.expired, CredentialState::Expired),
        (counts.retired, CredentialState::Retired),
    ];
    html! { ul class="counts" { @for (count, state) in all { (credentials::counted(count, state, None)) } } }
}

fn attention(visit: &Visit<'_>, all: &[CredentialToSee]) -> Markup {
    html! {
        div class="table" { table {
            thead { tr { th scope="col" { "Credential" } th scope="col" { "State" } th scope="col" { "Application" } th scope="col" { "Owner" } th scope="col" { "Due, or ends" } th scope="col" { "Last read" } } }
            tbody { @for seen in all {
                tr {
                    th scope="row" data-label="Credential" { a href=(format!("{}/{}", credentials::PATH, seen.id)) { (name(&seen.name)) } }
                    td data-label="State" { (credentials::standing(seen.state)) }
                    td data-label="Application" { (name(&seen.application.name)) }
                    td data-label="Owner" {
                        @if seen.owner.is_empty() { (applications::contacts(&seen.application.contacts)) } @else { (name(&seen.owner)) }
                    }
                    td data-label="Due, or ends" { (when(seen.at, visit.now)) }
                    td data-label="Last read" { @match seen.last_read_at { Some(at) => (when(at, visit.now)), None => span class="soft" { "never" } } }
                }
            } }
        } }
    }
}

fn care(visit: &Visit<'_>, totals: &CredentialFigures) -> Markup {
    let kinds = &totals.kinds;
    let kinds = [
        ("api-key", kinds.api_key),
        ("basic", kinds.basic),
        ("oauth-client", kinds.oauth_client),
        ("certificate", kinds.certificate),
        ("opaque", kinds.opaque),
    ];
    html! {
        dl class="facts" {
            dt { "Without owner" } dd { (words::grouped(totals.without_owner)) }
            dt { "Never read" } dd { (words::grouped(totals.never_read)) span class="soft" { ", as far as the last 64 events of each tell" } }
            dt { "Oldest current version" } dd { @match totals.oldest_written_at { Some(at) => (when_in_full(at, visit.now)), None => span class="soft" { "none" } } }
            dt { "Last read" } dd { @match totals.last_read_at { Some(at) => (when_in_full(at, visit.now)), None => span class="soft" { "never" } } }
            dt { "Kinds" } dd { ul class="inline" { @for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) { li { (words::grouped(count)) " " (code(kind)) } } } }
        }
    }
}

fn by_application(visit: &Visit<'_>, report: &CredentialReportView) -> Markup {
    html! {
        div class="table" { table {
            thead { tr {
                th scope="col" { "Application" } th scope="col" class="number" { "Active" } th scope="col" class="number" { "Expiring" }
                th scope="col" class="number" { "Overdue" } th scope="col" class="number" { "Expired" } th scope="col" class="number" { "Without owner" }
                th scope="col" class="number" { "Never read" } th scope="col" { "Oldest version" }
            } }
            tbody { @for owned in &report.applications {
                @let figures = &owned.figures;
                @let states = &figures.states;
                tr {
                    th scope="row" data-label="Application" { a href=(format!("{}/{}", applications::PATH, owned.application.id)) { (name(&owned.application.name)) } }
                    td data-label="Active" class="number" { (words::grouped(states.active)) }
                    td data-label="Expiring" class="number" { (words::grouped(states.expiring)) }
                    td data-label="Overdue" class="number" { (words::grouped(states.overdue)) }
                    td data-label="Expired" class="number" { (words::grouped(states.expired)) }
                    td data-label="Without owner" class="number" { (words::grouped(figures.without_owner)) }
                    td data-label="Never read" class="number" { (words::grouped(figures.never_read)) }
                    td data-label="Oldest version" { @match figures.oldest_written_at { Some(at) => (when(at, visit.now)), None => span class="soft" { "none" } } }
                }
            } }
        } }
    }
}
