//! `keyward policy create|list|show|change|retire|presets`.

use serde_json::{Map, Value, json};

use super::Run;
use crate::answers::{Policy, PolicyTerms, Presets};
use crate::arguments::{
    Paging, PolicyChange, PolicyChoice, PolicyCreate, PolicyRetire, PolicyShow, PolicyTerms as GivenTerms,
};
use crate::client::{Answer, Call};
use crate::failure::{Ending, Result};
use crate::table::{Card, Cell};

const ROUTE: &str = "/v1/policies";

impl Run<'_> {
    pub(super) fn create_policy(&self, options: &PolicyCreate) -> Result<Ending> {
        let mut body = terms(&options.terms);
        body.insert("name".to_owned(), json!(options.name));
        body.extend(options.description.as_ref().map(|text| ("description".to_owned(), json!(text))));
        body.extend(options.preset.as_ref().map(|name| ("preset".to_owned(), json!(name))));
        let answer = self.client()?.call(&Call::post(ROUTE, &Value::Object(body))?.creating()?)?;
        self.show_one_policy(&answer)
    }

    pub(super) fn list_policies(&self, paging: &Paging) -> Result<Ending> {
        let page = self.client()?.list(paging, || Call::get(ROUTE))?;
        let headings = ["POLICY", "NAME", "STATE", "ROTATES", "GRACE", "LIFE", "IDLE", "CREATED"];
        self.show_list(&page, "No policies.", &headings, |item, table| {
            let policy: Policy = serde_json::from_str(item.get())?;
            table.row([
                Cell::new(&policy.id),
                Cell::new(&policy.name),
                state(&policy),
                Cell::new(rotates(&policy.terms)),
                Cell::new(duration(policy.terms.grace_s)),
                Cell::or_dash(policy.terms.lifetime_s_max.map(duration)),
                Cell::or_dash(policy.terms.idle_after_s.map(duration)),
                Cell::new(&policy.created_at),
            ]);
            Ok(())
        })
    }

    pub(super) fn list_policy_presets(&self) -> Result<Ending> {
        let answer = self.client()?.call(&Call::get(format!("{ROUTE}/presets")))?;
        self.show(&answer, || {
            let presets: Presets = answer.read()?;
            let cards = presets.items.iter().map(|preset| {
                let card = Card::new()
                    .field("preset", Cell::new(&preset.preset))
                    .field("why", Cell::new(&preset.why));
                with_terms(card, &preset.terms).render(self.terminal.styles())
            });
            Ok(cards.collect::<Vec<_>>().join("\n"))
        })
    }

    pub(super) fn show_policy(&self, options: &PolicyShow) -> Result<Ending> {
        let answer = self.client()?.call(&Call::get(format!("{ROUTE}/{}", options.id)))?;
        self.show_one_policy(&answer)
    }

    pub(super) fn change_policy(&self, options: &PolicyChange) -> Result<Ending> {
        let mut body = terms(&options.terms);
        body.extend(options.name.as_ref().map(|text| ("name".to_owned(), json!(text))));
        body.extend(options.description.as_ref().map(|text| ("description".to_owned(), json!(text))));
        let route = format!("{ROUTE}/{}", options.id);
        let answer = self.client()?.call(&Call::patch(route, &Value::Object(body))?)?;
        self.show_one_policy(&answer)
    }

    pub(super) fn retire_policy(&self, options: &PolicyRetire) -> Result<Ending> {
        let route = format!("{ROUTE}/{}/retire", options.id);
        let answer = self.client()?.call(&Call::post(route, &json!({ "reason": options.reason }))?)?;
        self.show_one_policy(&answer)
    }

    fn show_one_policy(&self, answer: &Answer) -> Result<Ending> {
        self.show(answer, || {
            let policy: Policy = answer.read()?;
            let mut card =
                Card::new().field("policy", Cell::new(&policy.id)).field("name", Cell::new(&policy.name));
            if !policy.description.is_empty() {
                card = card.field("description", Cell::new(&policy.description));
            }
            card = with_terms(card, &policy.terms)
                .field("state", state(&policy))
                .field("created", Cell::new(&policy.created_at));
            if let Some(at) = &policy.retired_at {
                card = card.field("retired", Cell::new(at));
            }
            Ok(card.render(self.terminal.styles()))
        })
    }
}

/// What a change of a key or an application says of its policy, where it says anything.
pub(super) fn policy_chosen(choice: &PolicyChoice) -> Option<Value> {
    choice.policy.map(|id| json!(id)).or(choice.no_policy.then_some(Value::Null))
}

/// The terms that are given, as the API takes them.
fn terms(given: &GivenTerms) -> Map<String, Value> {
    let fields = [
        ("rotate_every_s", given.rotate_every.map(|term| json!(term.0))),
        ("grace_s", given.grace.map(|seconds| json!(seconds))),
        ("lifetime_s_max", given.lifetime_max.map(|term| json!(term.0))),
        ("idle_after_s", given.idle_after.map(|term| json!(term.0))),
        ("self_renewal", given.self_renewal.map(|allowed| json!(allowed))),
        ("on_renewal_reuse", given.on_renewal_reuse.as_ref().map(|what| json!(what))),
        ("on_breach", given.on_breach.as_ref().map(|what| json!(what))),
        ("on_leak", given.on_leak.as_ref().map(|what| json!(what))),
        ("lease_s", given.lease.map(|seconds| json!(seconds))),
        ("outage_s", given.outage.map(|seconds| json!(seconds))),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn with_terms(card: Card, terms: &PolicyTerms) -> Card {
    let unbounded = |seconds: Option<u64>| seconds.map_or_else(|| "never".to_owned(), duration);
    card.field("rotates", Cell::new(rotates(terms)))
        .field("grace", Cell::new(duration(terms.grace_s)))
        .field("life ends after", Cell::new(unbounded(terms.lifetime_s_max)))
        .field("idle after", Cell::new(unbounded(terms.idle_after_s)))
        .field("renews itself", Cell::new(if terms.self_renewal { "yes" } else { "no" }))
        .field("renewal used twice", Cell::new(&terms.on_renewal_reuse))
        .field("policy broken", Cell::new(&terms.on_breach))
        .field("token leaked", Cell::new(&terms.on_leak))
        .field("credential lease", Cell::new(duration(terms.lease_s)))
        .field("outage outlasted", Cell::new(duration(terms.outage_s)))
}

fn rotates(terms: &PolicyTerms) -> String {
    terms.rotate_every_s.map_or_else(|| "never".to_owned(), |seconds| format!("every {}", duration(seconds)))
}

/// Seconds as whoever types them writes them: in the largest unit that they are whole numbers of.
fn duration(seconds: u64) -> String {
    let units = [(24 * 3600, 'd'), (3600, 'h'), (60, 'm')];
    let whole = units.into_iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
    let (unit, letter) = whole.unwrap_or((1, 's'));
    format!("{}{letter}", seconds / unit)
}

fn state(policy: &Policy) -> Cell {
    Cell::state(if policy.retired_at.is_some() { "retired" } else { "active" })
}
