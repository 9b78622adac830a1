//! The report on compliance, as a page that prints well. A page of it is about a hundred keys; its figures are counts and sums of those.

use crate::applications;
use crate::credential_report;
use crate::fields::{choice, moment};
use crate::keys;
use crate::page::Page;
use crate::parts::{self, Shape, Tone, badge, code, name, pager, when_in_full};
use crate::visit::Visit;
use crate::words;
use keyward_domain::event::{Action, Target};
use keyward_domain::scope::administration as scope;
use keyward_domain::{ApplicationId, Error, Result};
use keyward_guest::Response;
use keyward_service::{ComplianceQuery, ComplianceView, Figures, OverdueKey, Page as ListPage, Spans};
use maud::{Markup, html};

pub(crate) const PATH: &str = "/dashboard/report";
/// Keys that one page is about.
const KEYS_PER_PAGE: &str = "100";

/// The page.
pub(crate) async fn page(visit: &Visit<'_>) -> Result<Response> {
    let query = visit.incoming.query()?;
    query.only(&["application", "since", "cursor"])?;
    let text = |name| query.one(name).map(Option::unwrap_or_default);
    let (application, since, cursor) = (text("application")?, text("since")?, query.one("cursor")?);
    let not_one = |_| Error::parameter("application", "is not valid", "an application's id");
    let chosen = Some(application).filter(|text| !text.is_empty());
    let asked = ComplianceQuery {
        application: chosen.map(str::parse::<ApplicationId>).transpose().map_err(not_one)?,
        since: moment("since", since)?,
    };
    let page = ListPage::parse(Some(KEYS_PER_PAGE), cursor)?;
    let report = visit
        .look(Action::AuditRead, Target::default(), async |service, attempt| {
            service.compliance(attempt, &asked, &page).await
        })
        .await?;
    let known = applications::all(visit).await?;
    let known = known.iter().map(|known| (known.id.to_string(), known.name.clone()));
    let known: Vec<_> = [(String::new(), "All".to_owned())].into_iter().chain(known).collect();
    let body = html! {
        @if visit.may(scope::CREDENTIALS_LIST) { p { "How credentials of the vault stand: " a href=(credential_report::PATH) { "the report on credentials" } } }
        form class="filter" method="get" action=(PATH) {
            (choice("application", "Application", &known, application))
            div class="field" { label for="since" { "Rotations and revocations since (UTC)" } input id="since" name="since" type="datetime-local" value=(since); }
            button { "Report" }
        }
        (told(visit, &report, cursor.is_none()))
        (pager(PATH, &[("application", application), ("since", since)], cursor.is_none(), report.next_cursor.as_deref()))
    };
    Ok(Page::new(PATH, "Compliance report", body).show(visit))
}

fn told(visit: &Visit<'_>, report: &ComplianceView, is_first: bool) -> Markup {
    let is_whole = is_first && report.next_cursor.is_none();
    let totals = &report.totals;
    html! {
        section aria-labelledby="scope" {
            h2 id="scope" { "What this is about" }
            dl class="facts" {
                dt { "As of" } dd { (when_in_full(report.at, visit.now)) ", through event " (code(report.through)) }
                dt { "Keys" } dd {
                    (words::grouped(count(report.examined)))
                    @if !is_whole { " of several pages. The whole, as a table, JSON or CSV: " (code("keyward report")) }
                }
                @if report.damaged > 0 { dt { "Damaged" } dd { (report.damaged) ": " (code("keyward audit verify")) " names them" } }
            }
        }
        section aria-labelledby="standing" {
            h2 id="standing" { "How keys stand against their policies" }
            ul class="counts" {
                (counted(totals.keys.fresh, "not due", Tone::Good, Shape::Disc))
                (counted(totals.keys.due, "due", Tone::Info, Shape::Half))
                (counted(totals.keys.overdue, "overdue", Tone::Bad, Shape::Triangle))
                (counted(totals.keys.never_due, "never due", Tone::Quiet, Shape::Ring))
                (counted(totals.keys.unclaimed, "not claimed", Tone::Quiet, Shape::Ring))
                (counted(totals.keys.ended, "ended", Tone::Quiet, Shape::Cross))
            }
        }
        section aria-labelledby="overdue" {
            h2 id="overdue" { "Keys that break their policy" }
            @if report.overdue.is_empty() { (parts::empty("None", html! { "Every key that was looked at keeps to its policy." })) }
            @else { (overdue(&report.overdue)) }
        }
        section aria-labelledby="rotations" { h2 id="rotations" { "How fast keys are rotated" } (rotations(report, totals)) }
        section aria-labelledby="record" {
            h2 id="record" { "Revocations, and what is on record" }
            dl class="facts" {
                dt { "Revocations" } dd {
                    (words::grouped(totals.revocations.count))
                    @if let Some(mean) = totals.revocations.mean_ms { ", sealed " (mean) " ms after the decision on average, " (totals.revocations.max_ms) " ms at most" }
                }
                dt { "Changes on record" } dd { (words::grouped(totals.audit.on_record)) " of " (words::grouped(totals.audit.changes)) " that were looked at" }
            }
        }
        @if report.applications.len() > 1 {
            section aria-labelledby="applications" { h2 id="applications" { "By application" } (by_application(report)) }
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn counted(number: u64, what: &str, tone: Tone, shape: Shape) -> Markup {
    // What there is none of calls for nothing.
    let tone = if number == 0 { Tone::Quiet } else { tone };
    html! { li { strong { (words::grouped(number)) } (badge(tone, shape, what)) } }
}

fn overdue(keys: &[OverdueKey]) -> Markup {
    html! {
        div class="table" { table {
            thead { tr { th scope="col" { "Key" } th scope="col" { "Application" } th scope="col" { "Whom to reach" } th scope="col" { "For" } th scope="col" { "Successor" } } }
            tbody { @for key in keys {
                tr {
                    th scope="row" data-label="Key" { a href=(format!("{}/{}", keys::PATH, key.id)) { (name(&key.name)) } }
                    td data-label="Application" { (name(&key.application.name)) }
                    td data-label="Contacts" { (applications::contacts(&key.application.contacts)) }
                    td data-label="For" { (words::span(key.overdue_s)) }
                    td data-label="Successor" { (if key.offered { "offered, not claimed" } else { "none offered" }) }
                }
            } }
        } }
    }
}

fn rotations(report: &ComplianceView, totals: &Figures) -> Markup {
    let rotations = &totals.rotations;
    html! {
        div class="table" { table {
            thead { tr { th scope="col" { "Span" } th scope="col" class="number" { "How many" } th scope="col" class="number" { "Mean" } th scope="col" class="number" { "Longest" } } }
            tbody {
                (spans("From one version to the next", &rotations.between))
                (spans("From due to rotated", &rotations.due_to_rotated))
                (spans("From flagged to rotated", &rotations.flagged_to_rotated))
                (spans("Due and not rotated yet", &rotations.waiting_since_due))
                (spans("Flagged and not rotated yet", &rotations.waiting_since_flagged))
            }
        } }
        p class="soft small" { (words::counted(rotations.before_due, "version")) " came before they were due. A key is to be rotated within " (words::span(report.target_s)) " on average." }
    }
}

fn spans(what: &str, spans: &Spans) -> Markup {
    html! {
        tr {
            th scope="row" data-label="Span" { (what) }
            td data-label="How many" class="number" { (words::grouped(spans.count)) }
            td data-label="Mean" class="number" { @match spans.mean_s { Some(mean) => (words::span(mean)), None => span class="soft" { "none" } } }
            td data-label="Longest" class="number" { @if spans.count > 0 { (words::span(spans.max_s)) } @else { span class="soft" { "none" } } }
        }
    }
}

fn by_application(report: &ComplianceView) -> Markup {
    html! {
        div class="table" { table {
            thead { tr {
                th scope="col" { "Application" } th scope="col" class="number" { "Not due" } th scope="col" class="number" { "Due" }
                th scope="col" class="number" { "Overdue" } th scope="col" class="number" { "Ended" }
            } }
            tbody { @for owned in &report.applications {
                @let keys = &owned.figures.keys;
                tr {
                    th scope="row" data-label="Application" { a href=(format!("{}/{}", applications::PATH, owned.application.id)) { (name(&owned.application.name)) } }
                    td data-label="Not due" class="number" { (words::grouped(keys.fresh.saturating_add(keys.never_due))) }
                    td data-label="Due" class="number" { (words::grouped(keys.due)) }
                    td data-label="Overdue" class="number" { (words::grouped(keys.overdue)) }
                    td data-label="Ended" class="number" { (words::grouped(keys.ended)) }
                }
            } }
        } }
    }
}
