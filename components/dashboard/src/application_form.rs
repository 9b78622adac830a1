//! The form of an application: of a new one, and of one that there is, whose change is shown before it is made.

use crate::applications::{PATH, find, importance, is_about_the_form};
use crate::change::{self, Proposal, differing, is_meant, revision_seen, row};
use crate::fields::{self, Line, choice, limits, limits_in, lines, listed};
use crate::page::{self, Page};
use crate::policies;
use crate::visit::Visit;
use keyward_domain::application::Importance;
use keyward_domain::event::{Action, Target};
use keyward_domain::limit::GivenLimit;
use keyward_domain::{ApplicationId, Error, Result};
use keyward_guest::{Form, Response};
use keyward_service::{ApplicationChange, ApplicationView, NewApplication};
use maud::{Markup, html};

pub(crate) const NEW: &str = "/dashboard/applications/new";
/// The end of the path of the page that changes one.
pub(crate) const EDIT: &str = "edit";
/// The fields of the form, by their names.
const FIELDS: [&str; 5] = ["name", "contacts", "importance", "policy", "limits"];
/// What is chosen where no policy is.
const NO_POLICY: &str = "None: every 90 days, 7 days of grace";
/// The levels of importance, as forms name them.
const LEVELS: [(&str, &str); 4] = [
    ("low", "Low: nobody would be called out of bed"),
    ("normal", "Normal: somebody waits for it"),
    ("high", "High: business stops"),
    ("critical", "Critical: everything stops"),
];

/// What is written in it.
#[derive(Debug, PartialEq)]
struct Written {
    name: String,
    contacts: Vec<String>,
    importance: Importance,
    policy: Option<String>,
    limits: Vec<GivenLimit>,
}

impl Written {
    fn in_form(form: &Form) -> Result<Self> {
        let importance = Importance::parse(form.text("importance")).ok_or_else(|| {
            Error::field("importance", "is not known", "`low`, `normal`, `high` or `critical`")
        })?;
        Ok(Self {
            name: form.text("name").to_owned(),
            contacts: listed(form.text("contacts")),
            importance,
            policy: form.given("policy").map(str::to_owned),
            limits: limits_in(form.text("limits"))?,
        })
    }

    /// What a form would have that nobody touched.
    fn of(application: &ApplicationView) -> Self {
        Self {
            name: application.name.clone(),
            contacts: application.contacts.clone(),
            importance: application.importance,
            policy: application.policy.map(|policy| policy.to_string()),
            limits: application.limits.clone(),
        }
    }

    /// The same as a field of a form has it.
    fn text(&self, field: &str) -> String {
        match field {
            "name" => self.name.clone(),
            "contacts" => self.contacts.join("\n"),
            "importance" => importance(self.importance).to_owned(),
            "policy" => self.policy.clone().unwrap_or_default(),
            "limits" => self.limits.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            _ => String::new(),
        }
    }
}

/// The fields; `written` says what stands in each. The built-in application keeps its name and has no limits.
async fn fields_of(
    visit: &Visit<'_>,
    written: &impl Fn(&str) -> String,
    is_built_in: bool,
) -> Result<Markup> {
    let levels = LEVELS.map(|(level, told)| (level.to_owned(), told.to_owned()));
    let policies = policies::choices(visit, NO_POLICY, &written("policy")).await?;
    Ok(html! {
        @if is_built_in { input type="hidden" name="name" value=(written("name")); }
        @else { (Line { name: "name", label: "Name", value: &written("name"), hint: "Whoever its keys are for. No other application has it.", is_needed: true }.show()) }
        (lines("contacts", "Contacts", &written("contacts"), "Whom to reach about its keys; one in a line."))
        (choice("importance", "Importance", &levels, &written("importance")))
        (choice("policy", "Policy of keys that have none of their own", &policies, &written("policy")))
        @if !is_built_in { (limits(&written("limits"), "How much all of its keys together may use")) }
    })
}

/// The form for a new one.
pub(crate) async fn new(visit: &Visit<'_>) -> Result<Response> {
    new_form(visit, &Form::default(), None).await
}

async fn new_form(visit: &Visit<'_>, form: &Form, error: Option<&Error>) -> Result<Response> {
    let written = |field: &str| match (field, form.text(field)) {
        ("importance", "") => importance(Importance::default()).to_owned(),
        (_, text) => text.to_owned(),
    };
    let fields = fields_of(visit, &written, false).await?;
    let body = html! {
        @if let Some(error) = error { (page::problem(error)) }
        div class="confirm" {
            (visit.form_to(NEW, &html! {
                (fields)
                (Line { name: "prefix", label: "Tokens start with", value: form.text("prefix"), hint: "2 to 12 of a-z and 0-9; kw, if you leave it empty.", is_needed: false }.show())
                p class="actions" { button { "Create the application" } " " a href=(PATH) { "Create none" } }
            }))
        }
    };
    let status = error.map_or(200, |error| error.code.status());
    Ok(Page::new(PATH, "New application", body).below("Applications", PATH).show_as(visit, status))
}

/// Creates one.
pub(crate) async fn create(visit: &Visit<'_>) -> Result<Response> {
    let form = visit.form();
    let created = visit
        .change(Action::ApplicationCreated, Target::default(), async |service, attempt| {
            let Written { name, contacts, importance, policy, limits } = Written::in_form(form)?;
            let prefix = form.given("prefix").map(str::to_owned);
            let new = NewApplication { name, prefix, contacts, importance, policy, limits };
            service.create_application(attempt, new).await
        })
        .await;
    match created {
        Ok(answer) => Ok(Response::see_other(&format!(
            "{PATH}/{}?done=create",
            fields::created_id::<ApplicationId>(&answer.to_json())?
        ))),
        Err(error) if is_about_the_form(&error) => new_form(visit, form, Some(&error)).await,
        Err(error) => Err(error),
    }
}

fn place(id: ApplicationId) -> String {
    format!("{PATH}/{id}")
}

fn framed(application: &ApplicationView, body: Markup) -> Page {
    Page::new(PATH, format!("Edit: {}", application.name), body)
        .below("Applications", PATH)
        .below(application.name.clone(), place(application.id))
}

/// The form for one that there is.
pub(crate) async fn edit(visit: &Visit<'_>, id: ApplicationId) -> Result<Response> {
    let application = find(visit, id).await?;
    let body = form_of(visit, &application, html! {}).await?;
    Ok(framed(&application, body).show(visit))
}

/// The form with what the application has, or with what was written in it, and what is to be told of that.
async fn form_of(visit: &Visit<'_>, application: &ApplicationView, told: Markup) -> Result<Markup> {
    let (posted, has) = (visit.form(), Written::of(application));
    let written = |field: &str| {
        if posted.has(field) { posted.text(field).to_owned() } else { has.text(field) }
    };
    let fields = fields_of(visit, &written, application.id == ApplicationId::KEYWARD).await?;
    Ok(html! {
        (told)
        div class="confirm" {
            (visit.form_to(&format!("{}/{EDIT}", place(application.id)), &html! {
                (fields)
                (change::seen(application.revision))
                p class="actions" { button { "Show what will change" } " " a href=(place(application.id)) { "Leave it as it is" } }
            }))
        }
    })
}

/// What the API takes: what differs from what the application has.
fn asked(written: Written, application: &ApplicationView, reason: Option<&str>) -> ApplicationChange {
    let has = Written::of(application);
    ApplicationChange {
        name: differing(written.name, &has.name),
        contacts: differing(written.contacts, &has.contacts),
        importance: differing(written.importance, &has.importance),
        policy: differing(written.policy, &has.policy),
        limits: differing(written.limits, &has.limits),
        reason: reason.map(str::to_owned),
        ..ApplicationChange::default()
    }
}

/// What is written in the form; of what nobody touched, what the application has.
fn written(visit: &Visit<'_>, application: &ApplicationView) -> Result<Written> {
    let (form, has) = (visit.form(), Written::of(application));
    let name = change::line(form, "name", &has.name);
    let contacts = change::entries(form, "contacts", (&has.text("contacts"), &has.contacts), listed);
    Ok(Written { name, contacts, ..Written::in_form(form)? })
}

/// Shows what will be different, or makes it so.
pub(crate) async fn change(visit: &Visit<'_>, id: ApplicationId) -> Result<Response> {
    let application = find(visit, id).await?;
    let done = match written(visit, &application) {
        Ok(written) if is_meant(visit) => make(visit, &application, written).await,
        Ok(written) => propose(visit, &application, written).await,
        Err(error) => Err(error),
    };
    match done {
        Err(error) if is_about_the_form(&error) => {
            let body = form_of(visit, &application, page::problem(&error)).await?;
            Ok(framed(&application, body).show_as(visit, error.code.status()))
        }
        done => done,
    }
}

async fn propose(visit: &Visit<'_>, now: &ApplicationView, written: Written) -> Result<Response> {
    if written == Written::of(now) {
        let told = html! { p class="notice" role="status" { "Nothing is different from what the application has." } };
        return Ok(framed(now, form_of(visit, now, told).await?).show(visit));
    }
    let change = asked(written, now, None);
    let then = visit
        .look(Action::ApplicationChanged, Target::application(Some(now.id)), async |service, attempt| {
            service.preview_application_change(attempt, now.id, &change, revision_seen(visit)).await
        })
        .await?;
    let policy = async |of: &ApplicationView| policies::called(visit, of.policy, "none").await;
    let (old_policy, new_policy) = (policy(now).await?, policy(&then).await?);
    let rows = [
        row("Name", [&now.name], [&then.name]),
        row("Contacts", &now.contacts, &then.contacts),
        row("Importance", [importance(now.importance)], [importance(then.importance)]),
        row("Policy", [old_policy], [new_policy]),
        row("Limits", &now.limits, &then.limits),
    ];
    let proposal = Proposal {
        action: &format!("{}/{EDIT}", place(now.id)),
        back: &place(now.id),
        rows: rows.into_iter().flatten().collect(),
        means: html! {
            @if now.policy != then.policy { li { "Its keys that have no policy of their own follow the new one from now on." } }
            @if now.limits != then.limits { li { "Limits hold for all of its keys together, within a quarter of a second. One of another name or window begins anew." } }
        },
        fields: &FIELDS,
        more: Line {
            name: "reason",
            label: "Reason",
            value: "",
            hint: "It stands in the log beside your name, if you give one.",
            is_needed: false,
        }
        .show(),
        revision: now.revision,
    };
    Ok(framed(now, proposal.show(visit)).show(visit))
}

async fn make(visit: &Visit<'_>, application: &ApplicationView, written: Written) -> Result<Response> {
    let to = format!("{}?done={EDIT}", place(application.id));
    // Sent twice, or asked for by somebody else meanwhile: what was asked for is so already.
    if written == Written::of(application) {
        return Ok(Response::see_other(&to));
    }
    let change = asked(written, application, visit.form().given("reason"));
    visit
        .change(
            Action::ApplicationChanged,
            Target::application(Some(application.id)),
            async |service, attempt| {
                service.change_application(attempt, application.id, change, revision_seen(visit)).await
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
            b"name=Acme&contacts=a%40example.com%0D%0Ab%40example.com&importance=high&policy=&limits=daily%3D5%2Fday",
        )
        .expect("a form");
        let written = Written::in_form(&form).expect("read");
        let pairs: Vec<String> = FIELDS
            .iter()
            .map(|field| format!("{field}={}", written.text(field).replace('\n', "%0A")))
            .collect();
        let again = Form::parse(pairs.join("&").as_bytes()).expect("a form");
        assert_eq!(Written::in_form(&again), Ok(written));
        for bad in ["importance=most", "importance=low&limits=x"] {
            let bad = Form::parse(bad.as_bytes()).expect("a form");
            assert_eq!(Written::in_form(&bad).map(drop).map_err(|error| error.code), Err(Code::InvalidField));
        }
    }
}
