//! What is done to many keys at once, revoked or rotated: the form that says which, a look at what it would do, and its steps, which each end
//! within a moment. Claims of what was rotated are shown in the answer to the step that made them, and nowhere else.

use crate::applications;
use crate::emergency;
use crate::fields::{self, HOUR_S, Line, choice, moment, span_s};
use crate::keys;
use crate::page::Page;
use crate::parts::{copied, name, when};
use crate::visit::Visit;
use crate::words;
use keyward_crypto::SecretText;
use keyward_domain::event::Action;
use keyward_domain::key::Environment;
use keyward_domain::ports::Clock;
use keyward_domain::rotation::Mode;
use keyward_domain::standing::Standing;
use keyward_domain::{Error, KeyId, Result, Timestamp};
use keyward_guest::{Form, Response};
use keyward_service::{BulkRevocation, BulkRotation};
use maud::{Markup, html};
use serde::Deserialize;

/// Commits that one form makes, and after how long it makes no other, in milliseconds.
const STEPS_MAX: usize = 32;
const STEPS_MS_MAX: u64 = 1_500;
/// Keys that are named one by one; after so many claims a form makes no other commit.
const KEYS_SHOWN: usize = 128;
/// What a form says of which keys are meant, and how; each step repeats it.
const KEPT: [&str; 11] = [
    "application",
    "environment",
    "standing",
    "actor",
    "tag",
    "since",
    "until",
    "claimed",
    "mode",
    "grace_h",
    "reason",
];

/// What is done to many keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BulkDeed {
    Revoke,
    Rotate,
}

impl BulkDeed {
    /// Its form.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Revoke => "/dashboard/emergency/revoke",
            Self::Rotate => "/dashboard/keys/rotate",
        }
    }

    /// The part of the dashboard that it is in, and where that leads.
    const fn section(self) -> (&'static str, &'static str) {
        match self {
            Self::Revoke => ("Emergency", emergency::PATH),
            Self::Rotate => ("Keys", keys::PATH),
        }
    }

    const fn action(self) -> Action {
        match self {
            Self::Revoke => Action::KeyRevoked,
            Self::Rotate => Action::KeyRotated,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Revoke => "Revoke many keys",
            Self::Rotate => "Rotate many keys",
        }
    }

    /// What became of keys, and what would.
    const fn done(self) -> (&'static str, &'static str) {
        match self {
            Self::Revoke => ("ended", "would end"),
            Self::Rotate => ("rotated", "would be rotated"),
        }
    }

    /// The way back, before anything is done.
    const fn none(self) -> &'static str {
        match self {
            Self::Revoke => "Revoke none",
            Self::Rotate => "Rotate none",
        }
    }

    /// Whether something that is in use ends with it.
    fn is_dangerous(self, form: &Form) -> bool {
        self == Self::Revoke || form.text("mode") == Mode::Incident.as_str()
    }
}

/// The form that says which keys. What the address says is filled in already.
pub(crate) async fn selection(visit: &Visit<'_>, deed: BulkDeed) -> Result<Response> {
    let query = visit.incoming.query()?;
    let text = |name| query.one(name).map(|text| text.unwrap_or_default().trim());
    let (application, standing, tag, mode) =
        (text("application")?, text("standing")?, text("tag")?, text("mode")?);
    let known = applications::all(visit).await?;
    let known = known.iter().map(|known| (known.id.to_string(), known.name.clone()));
    let applications = any("Any").chain(known).collect::<Vec<_>>();
    let environments = [("live".to_owned(), "Live".to_owned()), ("test".to_owned(), "Test".to_owned())];
    let environments = any("Both").chain(environments).collect::<Vec<_>>();
    let standings = Standing::ALL.map(|one| (one.as_str().to_owned(), keys::standing_word(one).to_owned()));
    let standings = any("However").chain(standings).collect::<Vec<_>>();
    let modes = [("scheduled", "It is time"), ("incident", "Secrets may be in the wrong hands")]
        .map(|(mode, told)| (mode.to_owned(), told.to_owned()));
    let line = |name, label, value, hint| Line { name, label, value, hint, is_needed: false }.show();
    let (section, path) = deed.section();
    let form = visit.form_to(deed.path(), &html! {
        p { "All that you give must hold of a key. The first step shows which keys they are, and does nothing to them." }
        div class="columns-of-fields" {
            (choice("application", "Application", &applications, application))
            (choice("environment", "Environment", &environments, ""))
            @if deed == BulkDeed::Rotate { (choice("standing", "Stands", &standings, standing)) }
            (line("tag", "With the tag", tag, ""))
            (line("actor", "Issued with the key", "", "An id, such as key_..."))
            (time("since", "Issued since (UTC)"))
            (time("until", "Issued before (UTC)"))
            @if deed == BulkDeed::Rotate { (time("claimed", "Newest version claimed before (UTC)")) }
        }
        @match deed {
            BulkDeed::Revoke => (fields::reason("revoked from the dashboard")),
            BulkDeed::Rotate => {
                (choice("mode", "Why", &modes, mode))
                (line("grace_h", "Grace, in hours", "", "How long versions in use go on once their successors were claimed, at most 2160. What each key's policy says, if you leave it empty; none where secrets may be in the wrong hands."))
                (fields::reason(""))
            }
        }
        input type="hidden" name="step" value="look";
        p class="actions" { button { "Show which keys these are" } " " a href=(path) { (deed.none()) } }
    });
    Ok(Page::new(path, deed.title(), html! { div class="confirm" { (form) } })
        .below(section, path)
        .show(visit))
}

fn any(told: &str) -> impl Iterator<Item = (String, String)> {
    std::iter::once((String::new(), told.to_owned()))
}

fn time(name: &str, label: &str) -> Markup {
    html! { div class="field" { label for=(name) { (label) } input id=(name) name=(name) type="datetime-local"; } }
}

/// What steps came to, out of their answers, which may be some of before.
#[derive(Default, Deserialize)]
struct Step {
    #[serde(alias = "revoked", alias = "rotated")]
    done: Vec<Done>,
    already_dead: usize,
    skipped: Vec<Left>,
    examined: usize,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Done {
    id: KeyId,
    name: Option<String>,
    claim: Option<Handed>,
}

#[derive(Deserialize)]
struct Handed {
    url: String,
    expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Left {
    id: KeyId,
    detail: String,
}

impl Step {
    fn read(answer: &SecretText) -> Result<Self> {
        serde_json::from_str(answer.expose())
            .map_err(|_| Error::internal("what was done to many keys cannot be read"))
    }

    /// The next step as well.
    fn add(&mut self, next: Self) {
        self.done.extend(next.done);
        self.already_dead = self.already_dead.saturating_add(next.already_dead);
        self.skipped.extend(next.skipped);
        self.examined = self.examined.saturating_add(next.examined);
        self.next_cursor = next.next_cursor;
    }
}

fn given(form: &Form, name: &str) -> Option<String> {
    form.given(name).map(str::to_owned)
}

fn id<T: std::str::FromStr>(form: &Form, name: &str, expected: &str) -> Result<Option<T>> {
    let parse = |text: &str| text.parse().map_err(|_| Error::field(name, "is not valid", expected));
    form.given(name).map(parse).transpose()
}

fn environment(form: &Form) -> Result<Option<Environment>> {
    match form.given("environment") {
        None => Ok(None),
        Some("live") => Ok(Some(Environment::Live)),
        Some("test") => Ok(Some(Environment::Test)),
        Some(_) => Err(Error::field("environment", "is not known", "`live` or `test`")),
    }
}

/// A revocation as the API takes it.
fn revocation(form: &Form, cursor: Option<String>) -> Result<BulkRevocation> {
    Ok(BulkRevocation {
        actor: id(form, "actor", "a key's id")?,
        tag: given(form, "tag"),
        issued_since: moment("since", form.text("since"))?,
        issued_until: moment("until", form.text("until"))?,
        application: id(form, "application", "an application's id")?,
        environment: environment(form)?,
        reason: form.text("reason").to_owned(),
        dry_run: is_look(form),
        cursor,
    })
}

/// A rotation as the API takes it.
fn rotation(form: &Form, cursor: Option<String>) -> Result<BulkRotation> {
    let unknown = || Error::field("standing", "is not known", "how a key stands");
    let standing = form.given("standing").map(|text| Standing::from_text(text).ok_or_else(unknown));
    let too_long = |_| Error::field("grace_h", "is too long", "0 to 2160 hours");
    let grace_s = span_s("grace_h", form.text("grace_h"), HOUR_S)?.map(u32::try_from);
    Ok(BulkRotation {
        application: id(form, "application", "an application's id")?,
        tag: given(form, "tag"),
        standing: standing.transpose()?,
        environment: environment(form)?,
        actor: id(form, "actor", "a key's id")?,
        issued_since: moment("since", form.text("since"))?,
        issued_until: moment("until", form.text("until"))?,
        claimed_until: moment("claimed", form.text("claimed"))?,
        mode: match form.given("mode") {
            None | Some("scheduled") => Mode::Scheduled,
            Some("incident") => Mode::Incident,
            Some(_) => return Err(Error::field("mode", "is not known", "`scheduled` or `incident`")),
        },
        grace_s: grace_s.transpose().map_err(too_long)?,
        reason: form.text("reason").to_owned(),
        dry_run: is_look(form),
        cursor,
    })
}

fn is_look(form: &Form) -> bool {
    form.text("step") == "look"
}

/// Shows which keys are meant, or does it to them, as many as there is time for: the rest is for the form on the page that tells of it.
pub(crate) async fn act(visit: &Visit<'_>, deed: BulkDeed) -> Result<Response> {
    let form = visit.form();
    let begun_ms = visit.plane.clock().monotonic_ms();
    let mut step = Step { next_cursor: given(form, "cursor"), ..Step::default() };
    for part in 0..STEPS_MAX {
        let cursor = step.next_cursor.take();
        let answer = visit
            .change_part(part, deed.action(), async |service, attempt| {
                Ok(match deed {
                    BulkDeed::Revoke => {
                        service.revoke_many(attempt, &revocation(form, cursor)?).await?.to_json()
                    }
                    BulkDeed::Rotate => {
                        service.rotate_many(attempt, &rotation(form, cursor)?).await?.to_json()
                    }
                })
            })
            .await?;
        step.add(Step::read(&answer)?);
        let took_ms = visit.plane.clock().monotonic_ms().saturating_sub(begun_ms);
        if step.next_cursor.is_none() || took_ms > STEPS_MS_MAX || step.done.len() >= KEYS_SHOWN {
            break;
        }
    }
    Ok(told(visit, deed, &step))
}

/// How far it is, with the forms of before counted in.
struct Progress {
    done: u64,
    looked: u64,
    /// How many it will be done to, where the look went to the end.
    expected: Option<u64>,
}

impl Progress {
    fn of(form: &Form, step: &Step) -> Self {
        let before = |name: &str| form.text(name).parse::<u64>().ok();
        let done = before("done").unwrap_or(0).saturating_add(count(step.done.len()));
        let looked = before("looked").unwrap_or(0).saturating_add(count(step.examined));
        let is_known = is_look(form) && step.next_cursor.is_none();
        Self { done, looked, expected: if is_known { Some(done) } else { before("expected") } }
    }
}

fn count(list: usize) -> u64 {
    u64::try_from(list).unwrap_or(u64::MAX)
}

fn told(visit: &Visit<'_>, deed: BulkDeed, step: &Step) -> Response {
    let form = visit.form();
    let is_look = is_look(form);
    let progress = Progress::of(form, step);
    let ((section, path), (has_been, would_be)) = (deed.section(), deed.done());
    let next = step.next_cursor.as_deref();
    let body = html! {
        ul class="counts" {
            li { strong { (words::grouped(progress.done)) } (if is_look { would_be } else { has_been }) }
            li { strong { (words::grouped(count(step.already_dead))) } "dead before" }
            li { strong { (words::grouped(count(step.skipped.len()))) } (if deed == BulkDeed::Revoke { "not yours to end" } else { "stay as they are" }) }
            li { strong { (words::grouped(progress.looked)) } "looked at" }
        }
        @if let Some(expected) = progress.expected.filter(|_| !is_look) {
            p class="small" {
                label for="progress" { (words::grouped(progress.done)) " of " (words::counted(expected, "key")) } " "
                progress id="progress" max=(expected.max(progress.done).max(1)) value=(progress.done) {}
            }
        }
        (what_next(visit, deed, &progress, next))
        @if step.done.iter().any(|key| key.claim.is_some()) { (claims(visit, &step.done)) }
        @else if !step.done.is_empty() {
            section aria-labelledby="keys" {
                h2 id="keys" { "Keys that " (if is_look { would_be } else { has_been }) }
                ul { @for key in step.done.iter().take(KEYS_SHOWN) { li { (link(key)) } } }
            }
        }
        @if !step.skipped.is_empty() {
            section aria-labelledby="left" {
                h2 id="left" { "Keys that stay as they are" }
                ul { @for key in step.skipped.iter().take(KEYS_SHOWN) { li { (keys::link(key.id)) ": " (name(&key.detail)) } } }
            }
        }
    };
    Page::new(path, deed.title(), body).below(section, path).show(visit)
}

/// What there is to do after a step.
fn what_next(visit: &Visit<'_>, deed: BulkDeed, progress: &Progress, next: Option<&str>) -> Markup {
    let form = visit.form();
    let is_incident = form.text("mode") == Mode::Incident.as_str();
    let (_, path) = deed.section();
    // What is claimed from the first look on is none of those that are in the wrong hands.
    let found_at = (is_incident && form.given("claimed").is_none()).then_some(visit.now);
    let step = |name: &str, cursor: Option<&str>, button: &Markup| {
        visit.form_to(deed.path(), &html! {
            @for kept in KEPT.iter().filter(|kept| form.has(kept) && !(found_at.is_some() && **kept == "claimed")) {
                input type="hidden" name=(kept) value=(form.text(kept));
            }
            @if let Some(found_at) = found_at { input type="hidden" name="claimed" value=(found_at); }
            @if let Some(cursor) = cursor {
                input type="hidden" name="cursor" value=(cursor);
                input type="hidden" name="done" value=(progress.done);
                input type="hidden" name="looked" value=(progress.looked);
            }
            @if let Some(expected) = progress.expected { input type="hidden" name="expected" value=(expected); }
            input type="hidden" name="step" value=(name);
            (button)
        })
    };
    let danger = deed.is_dangerous(form).then_some("danger");
    let go_on =
        html! { p class="actions" { button class=[danger] { "Go on" } " " a href=(path) { "Stop here" } } };
    html! {
        @if is_look(form) {
            section aria-labelledby="next" {
                h2 id="next" { "Nothing is done yet" }
                ul class="consequences" {
                    @if deed == BulkDeed::Revoke { li { strong { "Every version of these keys ends at once, for good." } } }
                    @else if is_incident {
                        li { strong { "Every version of these keys that was claimed so far ends at once." } " This cannot be undone. Their renewal tokens work no longer." }
                        li { "You get a link for each key's successor. Until it is taken, nobody can use that key." }
                    } @else {
                        li { "You get a link for each key. Until it is taken, nothing changes for whoever uses the key." }
                        li { "From then on both versions pass until the grace is over; then the new one alone." }
                    }
                    @if deed == BulkDeed::Rotate { li { "A link works for 15 minutes. Links are shown once: at most some " (KEYS_SHOWN) " on a page, and then you go on." } }
                    @if next.is_some() { li { "There are more to look at than this page shows: it goes through all of them, step by step." } }
                    li { "Reason: " (name(form.text("reason"))) }
                }
                (step("act", None, &html! {
                    p class="actions" {
                        button class=[danger] {
                            @if deed == BulkDeed::Revoke { "Revoke them for good" } @else if is_incident { "End their versions and offer successors" } @else { "Offer successors" }
                        }
                        " " a href=(path) { (deed.none()) }
                    }
                }))
                @if next.is_some() { (step("look", next, &html! { p class="actions" { button class="link" { "Look further" } } })) }
            }
        } @else if next.is_some() {
            section aria-labelledby="next" {
                h2 id="next" { "There is more" }
                @match deed {
                    BulkDeed::Revoke => {
                        p { "What there was time for has ended. It goes on where it stopped, by itself where scripts run." }
                        div data-go-on { (step("act", next, &go_on)) }
                    }
                    // Not by itself: these links would be gone before anybody has them.
                    BulkDeed::Rotate => {
                        p { strong { "Take the links below first." } " The next page has the next ones, and these no more." }
                        (step("act", next, &go_on))
                    }
                }
            }
        } @else {
            p class="notice" role="status" { "Done: all keys that were meant have been looked at." }
        }
    }
}

/// The links that were just made: each with a button, and all of them as text that prints well.
fn claims(visit: &Visit<'_>, done: &[Done]) -> Markup {
    let handed: Vec<(&Done, &Handed)> =
        done.iter().filter_map(|key| key.claim.as_ref().map(|claim| (key, claim))).collect();
    html! {
        section aria-labelledby="claims" {
            h2 id="claims" { "Hand each link to whoever its key is for" }
            p { "They are shown here alone. Each works once; whoever opens it has the secret minted, and nobody else ever sees that. Loading this page anew, by your browser, shows the same links." }
            div class="table" { table {
                thead { tr { th scope="col" { "Key" } th scope="col" { "Link" } th scope="col" { "Works until" } } }
                tbody { @for (key, claim) in &handed {
                    tr {
                        th scope="row" data-label="Key" { (link(key)) }
                        td data-label="Link" { (copied(&claim.url)) }
                        td data-label="Until" { (when(claim.expires_at, visit.now)) }
                    }
                } }
            } }
            h3 { "The same as text" }
            pre class="secret" tabindex="0" role="region" aria-label="All links as text" {
                @for (key, claim) in &handed { (name(key.name.as_deref().unwrap_or_default())) " " (claim.url) "\n" }
            }
        }
    }
}

/// A key as a link, by its name where that was told.
fn link(key: &Done) -> Markup {
    match &key.name {
        Some(called) => html! { a href=(format!("{}/{}", keys::PATH, key.id)) { (name(called)) } },
        None => keys::link(key.id),
    }
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
        let asked = revocation(&form, None).expect("a selection");
        assert_eq!(
            (asked.application, asked.actor, asked.tag.as_deref(), asked.dry_run),
            (None, None, Some("eu"), true)
        );
        assert!(asked.issued_since.is_some() && asked.issued_until.is_none() && asked.cursor.is_none());
        let bad = Form::parse(b"actor=nobody&reason=why").expect("a form");
        assert!(revocation(&bad, None).is_err() && rotation(&bad, None).is_err());
    }

    #[test]
    fn a_rotation_becomes_what_the_api_takes() {
        let form = Form::parse(
            b"standing=overdue&mode=incident&claimed=2026-01-31T08%3A00%3A00.000Z&grace_h=&reason=why&step=act",
        )
        .expect("a form");
        let asked = rotation(&form, Some("a".to_owned())).expect("a selection");
        assert_eq!((asked.standing, asked.mode), (Some(Standing::Overdue), Mode::Incident));
        assert!(asked.claimed_until.is_some() && asked.grace_s.is_none() && !asked.dry_run);
        assert_eq!(asked.cursor.as_deref(), Some("a"));
        for bad in ["standing=lost", "mode=soon", "grace_h=-1", "environment=prod", "claimed=soon"] {
            let form = Form::parse(bad.as_bytes()).expect("a form");
            assert!(rotation(&form, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_of_both_kinds_are_read() {
        let read = |text: &str| Step::read(&SecretText::new(text.to_owned())).expect("an answer");
        let id = "key_0000000000000000000001";
        let revoked = read(&format!(
            r#"{{"dry_run":false,"revoked":[{{"id":"{id}","application":"app_1","event":null}}],"already_dead":2,"skipped":[],"examined":3,"next_cursor":"a"}}"#
        ));
        assert_eq!((revoked.done.len(), revoked.already_dead, revoked.examined), (1, 2, 3));
        let mut rotated = read(&format!(
            r#"{{"dry_run":false,"rotated":[{{"id":"{id}","name":"n","claim":{{"url":"u","expires_at":"2026-01-31T08:00:00.000Z"}}}}],"already_dead":0,"skipped":[{{"id":"{id}","code":"c","detail":"d"}}],"examined":1,"next_cursor":null}}"#
        ));
        rotated.add(revoked);
        assert_eq!((rotated.done.len(), rotated.examined, rotated.next_cursor.as_deref()), (2, 4, Some("a")));
    }
}
