//! Policies: how often keys rotate, how long versions overlap, what becomes of a key that does not keep to it.

use crate::applications::is_about_the_form;
use crate::change::{self, revision_seen};
use crate::fields::{self, DAY_S, Line, choice, span_s};
use crate::page::{self, Page};
use crate::parts::{Shape, Tone, badge, copied, empty, name, pager, when_in_full};
use crate::retirement;
use crate::visit::Visit;
use crate::words;
use keyward_domain::event::{Action, Target};
use keyward_domain::policy::{OnBreach, OnLeak, OnRenewalReuse, Preset, Terms};
use keyward_domain::scope::administration as scope;
use keyward_domain::{Error, PolicyId, Result};
use keyward_guest::{Form, Response};
use keyward_service::{NewPolicy, Page as ListPage, PolicyChange, PolicyView};
use maud::{Markup, html};

pub(crate) const PATH: &str = "/dashboard/policies";
const NEW: &str = "/dashboard/policies/new";
const PER_PAGE: &str = "50";
/// Policies to choose from.
const CHOICES: &str = "100";

/// The table.
pub(crate) async fn page(visit: &Visit<'_>) -> Result<Response> {
    let (page, is_first) = visit.page_of(PER_PAGE, &[])?;
    let found = visit
        .look(Action::PolicyRead, Target::default(), async |service, attempt| {
            service.policies(attempt, &page).await
        })
        .await?;
    let body = html! {
        @if found.items.is_empty() {
            (empty("No policy yet", html! { "Without one, keys rotate every 90 days with 7 days of grace." }))
        } @else {
            div class="table" { table {
                thead { tr {
                    th scope="col" { "Policy" } th scope="col" { "State" } th scope="col" { "Rotation" } th scope="col" { "Grace" }
                    th scope="col" { "Longest life" } th scope="col" { "When broken" }
                } }
                tbody { @for policy in &found.items {
                    tr {
                        th scope="row" data-label="Policy" {
                            a href=(format!("{PATH}/{}", policy.id)) { (name(&policy.name)) }
                            @if !policy.description.is_empty() { div class="soft small" { (name(&policy.description)) } }
                        }
                        td data-label="State" { (standing(policy)) }
                        td data-label="Rotation" { (every(policy.terms.rotate_every_s, "never asked for")) }
                        td data-label="Grace" { (words::span(i64::from(policy.terms.grace_s))) }
                        td data-label="Longest life" { (every(policy.terms.lifetime_s_max, "without bound")) }
                        td data-label="When broken" { (breach(policy.terms.on_breach)) }
                    }
                } }
            } }
        }
        (pager(PATH, &[], is_first, found.next_cursor.as_deref()))
    };
    let new = html! { @if visit.may_everywhere(scope::POLICIES_WRITE) { a class="button" href=(NEW) { "New policy" } } };
    Ok(Page::new(PATH, "Policies", body).beside(new).show(visit))
}

fn standing(policy: &PolicyView) -> Markup {
    match policy.retired_at {
        None => badge(Tone::Good, Shape::Disc, "In force"),
        Some(_) => badge(Tone::Quiet, Shape::Cross, "Retired"),
    }
}

fn every(span_s: Option<u32>, none: &str) -> Markup {
    match span_s {
        Some(span_s) => html! { (words::span(i64::from(span_s))) },
        None => html! { span class="soft" { (none) } },
    }
}

const fn breach(on_breach: OnBreach) -> &'static str {
    match on_breach {
        OnBreach::Warn => "a warning",
        OnBreach::Retire => "the key ends",
    }
}

async fn find(visit: &Visit<'_>, id: PolicyId) -> Result<PolicyView> {
    visit
        .look(Action::PolicyRead, Target::policy(Some(id)), async |service, attempt| {
            service.policy(attempt, id).await
        })
        .await
}

/// Those that keys and applications can be given, to choose from, behind `none`; `chosen` is among them whatever it is.
pub(crate) async fn choices(visit: &Visit<'_>, none: &str, chosen: &str) -> Result<Vec<(String, String)>> {
    let mut choices = vec![(String::new(), none.to_owned())];
    if visit.may(scope::POLICIES_READ) {
        let page = ListPage::parse(Some(CHOICES), None)?;
        let found = visit
            .look(Action::PolicyRead, Target::default(), async |service, attempt| {
                service.policies(attempt, &page).await
            })
            .await?;
        let living = found.items.into_iter().filter(|policy| policy.retired_at.is_none());
        choices.extend(living.map(|policy| (policy.id.to_string(), policy.name)));
    }
    if choices.iter().all(|(id, _)| id != chosen) {
        choices.push((chosen.to_owned(), chosen.to_owned()));
    }
    Ok(choices)
}

/// What a policy is called, by its id where this visitor may not see it.
pub(crate) async fn called(visit: &Visit<'_>, id: Option<PolicyId>, none: &str) -> Result<String> {
    match id {
        None => Ok(none.to_owned()),
        Some(id) if visit.may(scope::POLICIES_READ) => Ok(find(visit, id).await?.name),
        Some(id) => Ok(id.to_string()),
    }
}

/// One policy.
pub(crate) async fn show(visit: &Visit<'_>, id: PolicyId) -> Result<Response> {
    let done = match visit.incoming.query()?.one("done")? {
        Some("create") => Some("The policy is there. No key has it yet."),
        Some("edit") => Some("The policy is changed, for every key that has it."),
        Some("retire") => {
            Some("The policy is retired: nobody is given it any more; whoever has it keeps its terms.")
        }
        _ => None,
    };
    let policy = find(visit, id).await?;
    let is_open = policy.retired_at.is_none() && visit.may_everywhere(scope::POLICIES_WRITE);
    let Terms {
        rotate_every_s,
        grace_s,
        lifetime_s_max,
        idle_after_s,
        self_renewal,
        on_renewal_reuse,
        on_breach,
        on_leak,
        lease_s,
        outage_s,
    } = &policy.terms;
    let body = html! {
        @if let Some(done) = done { p class="notice" role="status" { (done) } }
        @if is_open {
            ul class="deeds" {
                li { a class="button" href=(format!("{PATH}/{id}/edit")) { "Edit" } }
                li { a class="button danger" href=(format!("{PATH}/{id}/retire")) { "Retire" } }
            }
        }
        section aria-labelledby="terms" {
            h2 id="terms" { "Terms" }
            dl class="facts" {
                dt { "A rotation is due after" } dd { (every(*rotate_every_s, "never")) }
                dt { "Both versions pass for" } dd { (words::span(i64::from(*grace_s))) }
                dt { "A key lives for at most" } dd { (every(*lifetime_s_max, "as long as it is given")) }
                dt { "A key is told to be idle after" } dd { (every(*idle_after_s, "never")) }
                dt { "Holders renew by themselves" } dd { (if *self_renewal { "yes" } else { "no" }) }
                dt { "A renewal token used twice" } dd { (match on_renewal_reuse { OnRenewalReuse::Stop => "stops renewal", OnRenewalReuse::Incident => "ends every version at once" }) }
                dt { "A key that breaks the policy" } dd { (match on_breach { OnBreach::Warn => "is told", OnBreach::Retire => "ends" }) }
                dt { "A key whose token leaked" } dd { (match on_leak { OnLeak::Revoke => "is revoked", OnLeak::Rotate => "is rotated: every version ends at once, and a successor is offered" }) }
                dt { "A credential is asked for again after" } dd { (words::span(i64::from(*lease_s))) }
                dt { "A credential outlasts an outage of" } dd { (words::span(i64::from(*outage_s))) }
            }
        }
        section aria-labelledby="facts" {
            h2 id="facts" { "Facts" }
            dl class="facts" {
                dt { "Id" } dd { (copied(id)) }
                @if !policy.description.is_empty() { dt { "Description" } dd { (name(&policy.description)) } }
                dt { "Created" } dd { (when_in_full(policy.created_at, visit.now)) }
                @if let Some(at) = policy.retired_at { dt { "Retired" } dd { (when_in_full(at, visit.now)) } }
            }
        }
    };
    let page = Page::new(PATH, policy.name.clone(), body)
        .below("Policies", PATH)
        .beside(html! { div { (standing(&policy)) } });
    Ok(page.show(visit))
}

/// The form for a new one.
pub(crate) fn new(visit: &Visit<'_>) -> Response {
    form_of(visit, None, &Form::default(), None)
}

/// The form for one that there is.
pub(crate) async fn edit(visit: &Visit<'_>, id: PolicyId) -> Result<Response> {
    Ok(form_of(visit, Some(&find(visit, id).await?), &Form::default(), None))
}

/// A span as a form has it: whole days, where it is that.
fn days(span_s: Option<u32>) -> String {
    span_s.map(|span_s| (i64::from(span_s) / DAY_S).to_string()).unwrap_or_default()
}

fn form_of(visit: &Visit<'_>, known: Option<&PolicyView>, form: &Form, error: Option<&Error>) -> Response {
    let (action, above) = match known {
        Some(policy) => (format!("{PATH}/{}/edit", policy.id), format!("{PATH}/{}", policy.id)),
        None => (NEW.to_owned(), PATH.to_owned()),
    };
    let terms = known.map_or(Terms::DEFAULT, |policy| policy.terms.clone());
    let written =
        |field: &str, known: String| if form.has(field) { form.text(field).to_owned() } else { known };
    let line = |name, label, known: String, hint, is_needed| {
        Line { name, label, value: &written(name, known), hint, is_needed }.show()
    };
    let renewal = [("yes", "Yes"), ("no", "No")].map(|(value, told)| (value.to_owned(), told.to_owned()));
    let reuse = [
        ("stop", "Renewal stops; its versions go on until somebody decides"),
        ("incident", "Every version ends at once"),
    ]
    .map(|(value, told)| (value.to_owned(), told.to_owned()));
    let breach = [("warn", "A warning"), ("retire", "The key ends")]
        .map(|(value, told)| (value.to_owned(), told.to_owned()));
    let leak = [
        ("revoke", "The key is revoked"),
        ("rotate", "Every version ends at once, and a successor is offered"),
    ]
    .map(|(value, told)| (value.to_owned(), told.to_owned()));
    let body = html! {
        @if let Some(error) = error { (page::problem(error)) }
        div class="confirm" {
            @if known.is_some() { ul class="consequences" { li { "What you change holds for every key that has this policy, from now on." } } }
            @else { (presets()) }
            (visit.form_to(&action, &html! {
                (line("name", "Name", known.map(|policy| policy.name.clone()).unwrap_or_default(), "", true))
                (line("description", "Description", known.map(|policy| policy.description.clone()).unwrap_or_default(), "", false))
                (line("rotate", "Days between rotations", days(terms.rotate_every_s), "Empty for never.", false))
                (line("grace", "Days of grace", days(Some(terms.grace_s)), "How long a version goes on after its successor was claimed.", true))
                (line("lifetime", "Days that a key lives at most", days(terms.lifetime_s_max), "Empty for no bound.", false))
                (line("idle", "Days without use until that is told", days(terms.idle_after_s), "Empty for never.", false))
                (choice("renewal", "Holders renew by themselves", &renewal, &written("renewal", if terms.self_renewal { "yes" } else { "no" }.to_owned())))
                (choice("reuse", "A renewal token used twice", &reuse, &written("reuse", terms.on_renewal_reuse.as_str().to_owned())))
                (choice("breach", "A key that breaks the policy", &breach, &written("breach", terms.on_breach.as_str().to_owned())))
                (choice("leak", "A key whose token was found where anybody can read it", &leak, &written("leak", terms.on_leak.as_str().to_owned())))
                (line("lease", "Seconds until a credential is asked for again", terms.lease_s.to_string(), "How long a service goes on with what it read without asking.", true))
                (line("outage", "Seconds of an outage that a credential outlasts", terms.outage_s.to_string(), "How long a service goes on with what it read while Keyward cannot be asked.", true))
                @if let Some(policy) = known { (change::seen(policy.revision)) }
                p class="actions" { button { (if known.is_some() { "Keep these" } else { "Create the policy" }) } " " a href=(above) { "Leave it as it is" } }
            }))
        }
    };
    let page = match known {
        Some(policy) => Page::new(PATH, format!("Edit: {}", policy.name), body)
            .below("Policies", PATH)
            .below(policy.name.clone(), above),
        None => Page::new(PATH, "New policy", body).below("Policies", PATH),
    };
    page.show_as(visit, error.map_or(200, |error| error.code.status()))
}

/// What presets set, for whoever fills in the form.
fn presets() -> Markup {
    html! {
        details {
            summary { "What presets set" }
            div class="table" { table {
                thead { tr { th scope="col" { "Preset" } th scope="col" { "Rotation" } th scope="col" { "Grace" } th scope="col" { "Life" } th scope="col" { "Idle" } } }
                tbody { @for preset in Preset::ALL {
                    @let terms = preset.terms();
                    tr {
                        th scope="row" data-label="Preset" { (preset.as_str()) }
                        td data-label="Rotation" { (every(terms.rotate_every_s, "never")) }
                        td data-label="Grace" { (words::span(i64::from(terms.grace_s))) }
                        td data-label="Life" { (every(terms.lifetime_s_max, "no bound")) }
                        td data-label="Idle" { (every(terms.idle_after_s, "never")) }
                    }
                } }
            } }
        }
    }
}

/// The terms that a form gives. What the form shows as whole days stays to the second where nobody touched it.
fn asked(form: &Form, known: &Terms) -> Result<Terms> {
    let span = |field: &str, known: Option<u32>| -> Result<Option<u32>> {
        let text = form.text(field);
        if text == days(known) {
            return Ok(known);
        }
        let too_long = |_| Error::field(field, "is too long", "at most ten years");
        span_s(field, text, DAY_S)?.map(u32::try_from).transpose().map_err(too_long)
    };
    let not_one = |field: &str, expected: &str| Error::field(field, "is not known", expected);
    Ok(Terms {
        rotate_every_s: span("rotate", known.rotate_every_s)?,
        grace_s: span("grace", Some(known.grace_s))?
            .ok_or_else(|| Error::field("grace", "is missing", "a number of days"))?,
        lifetime_s_max: span("lifetime", known.lifetime_s_max)?,
        idle_after_s: span("idle", known.idle_after_s)?,
        self_renewal: match form.text("renewal") {
            "yes" => true,
            "no" => false,
            _ => return Err(not_one("renewal", "`yes` or `no`")),
        },
        on_renewal_reuse: match form.text("reuse") {
            "stop" => OnRenewalReuse::Stop,
            "incident" => OnRenewalReuse::Incident,
            _ => return Err(not_one("reuse", "`stop` or `incident`")),
        },
        on_breach: match form.text("breach") {
            "warn" => OnBreach::Warn,
            "retire" => OnBreach::Retire,
            _ => return Err(not_one("breach", "`warn` or `retire`")),
        },
        on_leak: match form.text("leak") {
            "revoke" => OnLeak::Revoke,
            "rotate" => OnLeak::Rotate,
            _ => return Err(not_one("leak", "`revoke` or `rotate`")),
        },
        lease_s: seconds(form, "lease", known.lease_s)?,
        outage_s: seconds(form, "outage", known.outage_s)?,
    })
}

fn seconds(form: &Form, field: &str, known: u32) -> Result<u32> {
    match form.text(field).trim() {
        "" => Ok(known),
        text => text.parse().map_err(|_| Error::field(field, "is no number", "a whole number of seconds")),
    }
}

/// Creates one.
pub(crate) async fn create(visit: &Visit<'_>) -> Result<Response> {
    let form = visit.form();
    let created = visit
        .change(Action::PolicyCreated, Target::default(), async |service, attempt| {
            let terms = asked(form, &Terms::DEFAULT)?;
            let (name, description) = (form.text("name").to_owned(), form.text("description").to_owned());
            let new = NewPolicy { name, description, ..NewPolicy::default() }.giving(&terms);
            service.create_policy(attempt, new).await
        })
        .await;
    match created {
        Ok(answer) => Ok(Response::see_other(&format!(
            "{PATH}/{}?done=create",
            fields::created_id::<PolicyId>(&answer.to_json())?
        ))),
        Err(error) if is_about_the_form(&error) => Ok(form_of(visit, None, form, Some(&error))),
        Err(error) => Err(error),
    }
}

/// Changes one.
pub(crate) async fn change(visit: &Visit<'_>, id: PolicyId) -> Result<Response> {
    let form = visit.form();
    let known = find(visit, id).await?;
    let changed = visit
        .change(Action::PolicyChanged, Target::policy(Some(id)), async |service, attempt| {
            let terms = asked(form, &known.terms)?;
            let name = change::line(form, "name", &known.name);
            let description = change::line(form, "description", &known.description);
            let is_so = terms == known.terms && name == known.name && description == known.description;
            if is_so {
                // Sent twice, or nothing was touched.
                return Ok(());
            }
            let change =
                PolicyChange { name: Some(name), description: Some(description), ..PolicyChange::default() };
            service.change_policy(attempt, id, change.giving(&terms), revision_seen(visit)).await.map(drop)
        })
        .await;
    match changed {
        Ok(()) => Ok(Response::see_other(&format!("{PATH}/{id}?done=edit"))),
        Err(error) if is_about_the_form(&error) => Ok(form_of(visit, Some(&known), form, Some(&error))),
        Err(error) => Err(error),
    }
}

/// Says what retiring one does, and asks.
pub(crate) async fn ask_to_retire(visit: &Visit<'_>, id: PolicyId) -> Result<Response> {
    let policy = find(visit, id).await?;
    let means = html! { li { strong { "Nobody is given this policy any more, for good." } " Keys and applications that have it keep its terms: nobody's rhythm changes." } };
    Ok(retirement::ask(
        visit,
        &retirement::Retiring { what: "policy", list: ("Policies", PATH), id: &id, name: &policy.name },
        &means,
    ))
}

/// Retires one.
pub(crate) async fn retire(visit: &Visit<'_>, id: PolicyId) -> Result<Response> {
    let retired = visit
        .change(Action::PolicyRetired, Target::policy(Some(id)), async |service, attempt| {
            service.retire_policy(attempt, id, visit.form().text("reason")).await
        })
        .await;
    let is_so = async || Ok(find(visit, id).await?.retired_at.is_some());
    retirement::ended(retired.map(drop), &format!("{PATH}/{id}"), is_so).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "rotate=90&grace=7&lifetime=&idle=&renewal=yes&reuse=stop&breach=warn&leak=revoke";

    fn read(text: &str, known: &Terms) -> Result<Terms> {
        asked(&Form::parse(text.as_bytes()).expect("a form"), known)
    }

    #[test]
    fn a_form_that_nobody_touched_changes_nothing() {
        assert_eq!(read(WRITTEN, &Terms::DEFAULT), Ok(Terms::DEFAULT));
        let odd = Terms { rotate_every_s: Some(90 * 86_400 + 300), ..Terms::DEFAULT };
        assert_eq!(read(WRITTEN, &odd), Ok(odd), "what is no whole number of days stays");
    }

    #[test]
    fn a_form_becomes_terms_or_says_which_field_is_wrong() {
        let terms = read(
            &WRITTEN.replace("lifetime=", "lifetime=365").replace("rotate=90", "rotate="),
            &Terms::DEFAULT,
        )
        .expect("terms");
        assert_eq!((terms.rotate_every_s, terms.lifetime_s_max), (None, Some(365 * 86_400)));
        for (field, wrong) in [("grace", "grace="), ("rotate", "rotate=soon"), ("idle", "idle=99999999")] {
            let text = format!("{wrong}&{WRITTEN}");
            let error = read(&text, &Terms::DEFAULT).expect_err(wrong);
            assert_eq!(error.fields.first().map(|found| found.field.as_str()), Some(field));
        }
    }
}
