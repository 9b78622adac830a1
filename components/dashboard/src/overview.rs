//! The first page: is anything wrong, and what just happened. What is wrong stands first, each with the way to the place where it is
//! dealt with.

use crate::credential_report;
use crate::credentials;
use crate::emergency;
use crate::events;
use crate::key;
use crate::keys;
use crate::log;
use crate::page::Page;
use crate::parts::{self, Shape, Tone, badge, code, name, needs, when};
use crate::visit::Visit;
use crate::webhooks;
use crate::words;
use keyward_domain::event::{Action, Event, Outcome, Target};
use keyward_domain::issuing;
use keyward_domain::scope::administration as scope;
use keyward_domain::standing::Standing;
use keyward_domain::{KeyId, Result, Timestamp};
use keyward_guest::Response;
use keyward_service::{
    CredentialFilter, CredentialState, EventFilter, Page as ListPage, RefusalFilter, StandingsView,
    WebhookState,
};
use maud::{Markup, html};
use std::cmp::Reverse;
use std::collections::BTreeMap;

const PATH: &str = "/dashboard";
/// Events that it shows.
const EVENTS_SHOWN: &str = "12";
/// Alarms of one kind that it looks for.
const ALARMS_SHOWN: &str = "3";
/// Keys with refusals that it shows.
const REFUSED_SHOWN: usize = 6;
/// Webhooks that it looks at.
const WEBHOOKS_LOOKED_AT: &str = "100";
/// Credentials that it looks at.
const CREDENTIALS_LOOKED_AT: &str = "100";
/// How far back it looks for alarms, in seconds.
const ALARMS_S: i64 = 24 * 3600;
/// How far back it looks for refusals, in seconds.
const REFUSALS_S: i64 = 3600;

/// What somebody is to look at soon after it happened.
const ALARMS: [Action; 12] = [
    Action::ClaimReplayed,
    Action::RenewalReplayed,
    Action::KeyReported,
    Action::KeyLeaked,
    Action::AnonymousLockedOut,
    Action::EventLate,
    Action::EpochOpened,
    Action::RootRecovered,
    Action::PolicyBroken,
    Action::CredentialRotationFailed,
    Action::CredentialRotationUndone,
    Action::CredentialRotationDue,
];

/// The page.
pub(crate) async fn page(visit: &Visit<'_>) -> Result<Response> {
    let standings = standings(visit).await?;
    let overdue = overdue(standings.as_ref());
    let credentials = credentials(visit).await?;
    let log = log::look(visit).await?;
    let wrong = [
        log::wrong(log.as_ref()),
        issuing(visit).await?,
        alarms(visit).await?,
        overdue,
        credentials.as_ref().map(CredentialTiles::wrong).unwrap_or_default(),
        unhealthy(visit).await?,
    ]
    .concat();
    let requests = requests(visit).await?;
    let refused = refused(visit).await?;
    let latest = latest(visit).await?;
    let body = html! {
        @if wrong.is_empty() {
            p class="callout good" { (badge(Tone::Good, Shape::Disc, "Nothing is wrong")) " as far as this key may see." }
        } @else {
            section class="callout bad" aria-labelledby="wrong" {
                h2 id="wrong" { "To be looked at" }
                ul class="concerns" { @for concern in &wrong { li { (concern) } } }
            }
        }
        section aria-labelledby="keys" { h2 id="keys" { "Keys" } @match &standings { Some(view) => (keys::standings(view, "", None)), None => (needs(scope::KEYS_READ)) } }
        @if let Some(tiles) = &credentials { section aria-labelledby="credentials" { h2 id="credentials" { "Credentials" } (tiles.show()) } }
        @if let Some(requests) = requests {
            section aria-labelledby="requests" { h2 id="requests" { "Requests in the last 24 hours" } (requests) }
        }
        div class="grid two" {
            div class="grid" {
                section aria-labelledby="latest" {
                    h2 id="latest" { "Latest events" }
                    div data-live="/dashboard/live" { (latest) }
                }
            }
            div class="grid" {
                section aria-labelledby="refused" {
                    h2 id="refused" { "Requests refused in the last hour" }
                    (refused)
                }
                section aria-labelledby="log" { h2 id="log" { "The log" } @match &log { Some(state) => (log::section(state, visit.now)), None => (needs(scope::AUDIT_READ)) } }
            }
        }
    };
    Ok(Page::new(PATH, "Overview", body).show(visit))
}

/// The part of it that a script asks for again and again.
pub(crate) async fn live(visit: &Visit<'_>) -> Result<Response> {
    Ok(Response::page_with_assets(200, latest(visit).await?.into_string()))
}

/// That issuing is frozen, where it is.
async fn issuing(visit: &Visit<'_>) -> Result<Vec<Markup>> {
    if !visit.may_everywhere(scope::EMERGENCY_READ) {
        return Ok(Vec::new());
    }
    let emergency = visit
        .look(Action::IssuingRead, Target::default(), async |service, attempt| {
            service.emergency(attempt).await
        })
        .await?;
    let state = emergency.issuing;
    if state.state == issuing::State::Open {
        return Ok(Vec::new());
    }
    Ok(vec![html! {
        (badge(Tone::Bad, Shape::Square, "Frozen")) " " a href=(emergency::PATH) { "Issuing is frozen" }
        @if let Some(at) = state.at { ", " (when(at, visit.now)) }
        @if let Some(by) = &state.by { ", by " (name(words::actor(by))) }
        @if let Some(reason) = &state.reason { ": " (name(reason)) }
    }])
}

/// The latest alarms of each kind.
async fn alarms(visit: &Visit<'_>) -> Result<Vec<Markup>> {
    if !visit.may_everywhere(scope::AUDIT_READ) {
        return Ok(Vec::new());
    }
    let since = Some(visit.now.plus_s(-ALARMS_S));
    let page = ListPage::parse(Some(ALARMS_SHOWN), None)?;
    let mut found = visit
        .look(Action::AuditRead, Target::default(), async |service, attempt| {
            let mut found: Vec<Event> = Vec::new();
            for action in ALARMS {
                let filter = EventFilter { action: Some(action), since, ..EventFilter::default() };
                found.extend(service.audit_events(attempt, &filter, &page).await?.items);
            }
            Ok(found)
        })
        .await?;
    // Neither a rotation that was undone as it should be nor one that is to be done is one.
    let is_one = |event: &Event| match event.action {
        Action::CredentialRotationUndone | Action::CredentialRotationDue => event.outcome == Outcome::Alarm,
        _ => event.outcome != Outcome::Refused,
    };
    found.retain(is_one);
    found.sort_by_key(|event| Reverse(event.id));
    let targets = found.iter().filter_map(|event| Some((event.target.application?, event.target.key?)));
    let names = keys::Names::of(visit, targets).await?;
    Ok(found.iter().map(|event| alarm(event, &names, visit)).collect())
}

fn alarm(event: &Event, names: &keys::Names, visit: &Visit<'_>) -> Markup {
    // What it ended needs no ending.
    let is_ended = event.standing().is_some_and(|(standing, _)| standing == Standing::Revoked);
    let revocable = event.target.key.filter(|_| !is_ended && visit.may(scope::KEYS_REVOKE));
    html! {
        (events::outcome(Outcome::Alarm)) " "
        a href=(format!("{}/{}", events::PATH, event.id)) { (words::action(event.action)) } ", " (when(event.at, visit.now))
        @if let Some(address) = &event.source.client_addr { ", from " (code(address)) }
        @if let Some(key) = event.target.key { ", key " (names.link(key)) }
        @if let Some(credential) = event.target.credential { ", credential " (credentials::link(credential)) }
        @if let Some(key) = revocable { " " (keys::revoke(key, &key.to_string())) }
    }
}

/// How many keys stand how; none where this visitor may not see.
async fn standings(visit: &Visit<'_>) -> Result<Option<StandingsView>> {
    if !visit.may(scope::KEYS_READ) {
        return Ok(None);
    }
    let looked = visit
        .look(Action::KeyRead, Target::default(), async |service, attempt| {
            service.standings(attempt, None).await
        })
        .await;
    looked.map(Some)
}

/// What became of the requests of the last day, hour by hour.
async fn requests(visit: &Visit<'_>) -> Result<Option<Markup>> {
    if !visit.may(scope::KEYS_READ) {
        return Ok(None);
    }
    let usage = visit.plane.usage_store();
    let view = visit
        .look(Action::KeyRead, Target::default(), async |service, attempt| {
            service.requests(attempt, None, None, None, &usage).await
        })
        .await?;
    let hours: Vec<_> =
        view.buckets.iter().map(|hour| (hour.outcomes.accepted(), hour.outcomes.refused())).collect();
    let (passed, refused) = (view.outcomes.accepted(), view.outcomes.refused());
    Ok(Some(html! {
        @if passed.saturating_add(refused) == 0 {
            (parts::empty("No request", html! { "No token of any key was presented." }))
        } @else {
            (key::columns(&hours))
            ul class="outcomes" {
                li { strong { (words::grouped(passed)) } " passed" }
                li { strong { (words::grouped(refused)) } " refused" }
            }
        }
    }))
}

/// The keys that break their policy, where there are some.
fn overdue(standings: Option<&StandingsView>) -> Vec<Markup> {
    let count = standings.map_or(0, |view| view.standings.of(Standing::Overdue));
    if count == 0 {
        return Vec::new();
    }
    let path = parts::target(keys::PATH, &[("standing", Standing::Overdue.as_str())]);
    vec![html! {
        (parts::standing_badge(Standing::Overdue)) " "
        a href=(path) { (words::counted(count, "key")) } " " (if count == 1 { "breaks its" } else { "break their" }) " policy"
    }]
}

/// How many credentials stand how, of those that were looked at.
struct CredentialTiles {
    counts: Vec<(CredentialState, u64)>,
    is_whole: bool,
}

impl CredentialTiles {
    fn of(&self, state: CredentialState) -> u64 {
        self.counts.iter().find(|(counted, _)| *counted == state).map_or(0, |(_, count)| *count)
    }

    fn show(&self) -> Markup {
        html! {
            ul class="counts" { @for (state, count) in &self.counts { (credentials::counted(*count, *state, None)) } }
            @if !self.is_whole { p class="soft small" { "Of the newest " (CREDENTIALS_LOOKED_AT) ". All of them: " a href=(credential_report::PATH) { "the report on credentials" } } }
        }
    }

    /// Those that somebody is to see to, where there are some.
    fn wrong(&self) -> Vec<Markup> {
        let concern = |state: CredentialState, one: &str, more: &str| {
            let count = self.of(state);
            let path = parts::target(credentials::PATH, &[("state", state.as_str())]);
            (count > 0).then(|| html! {
                (credentials::standing(state)) " " a href=(path) { (words::counted(count, "credential")) } " " (if count == 1 { one } else { more })
            })
        };
        [
            concern(
                CredentialState::Overdue,
                "is older than its policy allows",
                "are older than their policies allow",
            ),
            concern(
                CredentialState::Expired,
                "has ended at its third party",
                "have ended at their third parties",
            ),
            concern(
                CredentialState::Expiring,
                "ends soon at its third party",
                "end soon at their third parties",
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// How the newest credentials stand; none where this visitor may see none, or there is none.
async fn credentials(visit: &Visit<'_>) -> Result<Option<CredentialTiles>> {
    if !visit.may(scope::CREDENTIALS_LIST) {
        return Ok(None);
    }
    let page = ListPage::parse(Some(CREDENTIALS_LOOKED_AT), None)?;
    let found = visit
        .look(Action::CredentialListed, Target::default(), async |service, attempt| {
            service.credentials(attempt, &CredentialFilter::default(), &page).await
        })
        .await?;
    let of = |state| found.items.iter().filter(|credential| credential.state == state).count();
    let counts = CredentialState::ALL.map(|state| (state, u64::try_from(of(state)).unwrap_or(u64::MAX)));
    let tiles = CredentialTiles { counts: counts.to_vec(), is_whole: found.next_cursor.is_none() };
    Ok((!found.items.is_empty()).then_some(tiles))
}

/// The webhooks that are not told what they should be.
async fn unhealthy(visit: &Visit<'_>) -> Result<Vec<Markup>> {
    if !visit.may(scope::WEBHOOKS_READ) {
        return Ok(Vec::new());
    }
    let page = ListPage::parse(Some(WEBHOOKS_LOOKED_AT), None)?;
    let found = visit
        .look(Action::WebhookRead, Target::default(), async |service, attempt| {
            service.webhooks(attempt, None, &page).await
        })
        .await?;
    let ailing = found
        .items
        .iter()
        .filter(|webhook| webhook.state != WebhookState::Retired && webhooks::ails(webhook));
    Ok(ailing
        .map(|webhook| {
            let dead = u64::try_from(webhook.delivery.dead_letters).unwrap_or(u64::MAX);
            html! {
                (webhooks::health(webhook)) " " a href=(format!("{}/{}", webhooks::PATH, webhook.id)) { (name(&webhook.url)) }
                @if dead > 0 { ": " (words::counted(dead, "dead letter")) }
            }
        })
        .collect())
}

/// The keys whose requests were refused most.
async fn refused(visit: &Visit<'_>) -> Result<Markup> {
    if !visit.may(scope::KEYS_READ) {
        return Ok(needs(scope::KEYS_READ));
    }
    let filter = RefusalFilter { application: None, since: Some(visit.now.plus_s(-REFUSALS_S)) };
    let usage = visit.plane.usage_store();
    let found = visit
        .look(Action::KeyRead, Target::default(), async |service, attempt| {
            service.refusals(attempt, &filter, &usage, None, 0).await
        })
        .await?;
    let mut sums: BTreeMap<(KeyId, &'static str), (u64, Timestamp)> = BTreeMap::new();
    let mut owners = BTreeMap::new();
    for refusal in found.iter().flat_map(|(view, _)| &view.items) {
        let sum = sums.entry((refusal.key, refusal.code.as_str())).or_insert((0, refusal.at));
        *sum = (sum.0.saturating_add(refusal.count), sum.1.max(refusal.at));
        owners.insert(refusal.key, refusal.application);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, (count, _))| Reverse(*count));
    sums.truncate(REFUSED_SHOWN);
    let shown = sums.iter().filter_map(|((key, _), _)| Some((*owners.get(key)?, *key)));
    let names = keys::Names::of(visit, shown).await?;
    if sums.is_empty() {
        return Ok(parts::empty("None", html! { "No request with a right secret was refused." }));
    }
    let may_revoke = visit.may(scope::KEYS_REVOKE);
    Ok(html! {
        div class="table" { table {
            thead { tr { th scope="col" { "Key" } th scope="col" { "Why" } th scope="col" class="number" { "Requests" } @if may_revoke { th scope="col" { span class="unseen" { "Act" } } } } }
            tbody { @for ((key, why), (count, at)) in &sums {
                tr {
                    th scope="row" data-label="Key" { (names.link(*key)) }
                    td data-label="Why" { (code(why)) " " span class="soft small" { (when(*at, visit.now)) } }
                    td data-label="Requests" class="number" { (words::grouped(*count)) }
                    @if may_revoke { td data-label="" class="act" { (keys::revoke(*key, &key.to_string())) } }
                }
            } }
        } }
    })
}

async fn latest(visit: &Visit<'_>) -> Result<Markup> {
    if !visit.may_everywhere(scope::AUDIT_READ) {
        return Ok(needs(scope::AUDIT_READ));
    }
    let page = ListPage::parse(Some(EVENTS_SHOWN), None)?;
    let found = visit
        .look(Action::AuditRead, Target::default(), async |service, attempt| {
            service.audit_events(attempt, &EventFilter::default(), &page).await
        })
        .await?;
    Ok(html! {
        (events::timeline(visit, &found.items).await?)
        @if found.next_cursor.is_some() { p { a href=(events::PATH) { "All events" } } }
    })
}
