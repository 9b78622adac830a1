//! `keyward key create|show|list|standings|change|lookup|revoke`; what rotates one is in `rotation`.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Run;
use super::application::joined;
use super::claim::Files;
use super::policy::policy_chosen;
use crate::answers::{Issued, Key, LookedUp, Revocation, Standings};
use crate::arguments::{
    KeyChange, KeyCreate, KeyList, KeyLookup, KeyRevoke, KeyShow, KeyStandings, LimitChoice,
};
use crate::client::{Answer, Call};
use crate::failure::{Ending, Result};
use crate::table::{Card, Cell, Table};
use keyward_crypto::SecretText;
use keyward_domain::limit::{GivenLimit, OnOutage, Period};
use keyward_domain::standing::Standing;

const ROUTE: &str = "/v1/keys";

impl Run<'_> {
    pub(super) fn create_key(&self, options: &KeyCreate) -> Result<Ending> {
        let mut body = json!({
            "application": options.application,
            "name": options.name,
            "environment": options.environment.as_str(),
            "scopes": options.scopes,
        });
        if let Some(members) = body.as_object_mut() {
            if let Some(seconds) = options.expires_in {
                members.insert("expires_in_s".to_owned(), json!(seconds));
            }
            if !options.networks.is_empty() {
                members.insert("rules".to_owned(), json!({ "network": options.networks }));
            }
            if let Some(principal) = &options.principal {
                members.insert("principal".to_owned(), json!(principal));
            }
            if !options.roles.is_empty() {
                members.insert("roles".to_owned(), json!(options.roles));
            }
            if !options.tags.is_empty() {
                members.insert("tags".to_owned(), json!(options.tags));
            }
            if let Some(policy) = &options.policy {
                members.insert("policy".to_owned(), json!(policy));
            }
            if !options.limits.is_empty() {
                members.insert("limits".to_owned(), json!(options.limits));
            }
        }
        let client = self.client()?;
        // Before the key exists: one that nobody can store is better not issued.
        let files =
            options.claim_out.as_deref().map(|out| Files::create(out, options.renewal_out.as_deref()));
        let files = files.transpose()?;
        let answer = client.call(&Call::post(ROUTE, &body)?.creating()?)?;
        let issued: Issued = answer.read()?;
        if let Some(files) = files {
            let ticket = SecretText::new(issued.claim.ticket);
            return self.claim_into(&client.without_credential(), &ticket, files);
        }
        self.show_issued(&answer, &issued)
    }

    /// A key, and the claim that its holder is to be handed.
    pub(super) fn show_issued(&self, answer: &Answer, issued: &Issued) -> Result<Ending> {
        let styles = self.terminal.styles();
        self.show(answer, || {
            Ok(card(&issued.key)
                .field("claim ticket", Cell::new(&issued.claim.ticket))
                .field("claim link", Cell::new(&issued.claim.url))
                .render(styles))
        })?;
        if !self.global.json {
            self.terminal.note("Hand the link, or the ticket, to the key's holder alone: whoever opens it first gets the token, once.");
        }
        Ok(Ending::Done)
    }

    pub(super) fn show_key(&self, options: &KeyShow) -> Result<Ending> {
        let answer = self.client()?.call(&Call::get(format!("{ROUTE}/{}", options.id)))?;
        self.show(&answer, || Ok(card(&answer.read()?).render(self.terminal.styles())))
    }

    pub(super) fn list_keys(&self, options: &KeyList) -> Result<Ending> {
        let call = || {
            Call::get(ROUTE)
                .query("application", options.application)
                .query("tag", options.tag.as_deref())
                .query("standing", options.standing.as_deref())
                .query("name", options.name.as_deref())
                .query("order", options.order.as_deref())
        };
        let page = self.client()?.list(&options.paging, call)?;
        let headings = ["KEY", "NAME", "ENVIRONMENT", "STATE", "SCOPES", "CREATED", "EXPIRES"];
        self.show_list(&page, "No keys.", &headings, |item, table| {
            let key: Key = serde_json::from_str(item.get())?;
            table.row([
                Cell::new(&key.id),
                Cell::new(&key.name),
                Cell::new(&key.environment),
                Cell::state(key.standing.as_ref().unwrap_or(&key.state)),
                Cell::or_dash(joined(&key.scopes)),
                Cell::new(&key.created_at),
                Cell::or_dash(key.expires_at.as_deref()),
            ]);
            Ok(())
        })
    }

    pub(super) fn count_keys(&self, options: &KeyStandings) -> Result<Ending> {
        let call = Call::get(format!("{ROUTE}/standings")).query("application", options.application);
        let answer = self.client()?.call(&call)?;
        let counted: Standings = answer.read()?;
        self.show(&answer, || {
            let mut table = Table::new(&["STANDING", "KEYS"]);
            for standing in Standing::ALL.map(Standing::as_str) {
                let count = counted.standings.get(standing).copied().unwrap_or_default();
                table.row([Cell::state(standing), Cell::new(count.to_string())]);
            }
            table.row([Cell::new("all"), Cell::new(counted.total.to_string())]);
            Ok(table.render(self.terminal.styles()))
        })?;
        if !counted.is_complete && !self.global.json {
            self.terminal.note("Not all keys are counted yet: maintenance has not gone round all of them since Keyward was brought up to date.");
        }
        Ok(Ending::Done)
    }

    pub(super) fn change_key(&self, options: &KeyChange) -> Result<Ending> {
        let given = [
            ("name", options.name.as_ref().map(|text| json!(text))),
            ("policy", policy_chosen(&options.policy)),
            ("limits", limits_chosen(&options.limits)),
        ];
        let body: Map<String, Value> =
            given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        let call = Call::patch(format!("{ROUTE}/{}", options.id), &Value::Object(body))?;
        let answer = self.client()?.call(&call)?;
        self.show(&answer, || Ok(card(&answer.read()?).render(self.terminal.styles())))
    }

    pub(super) fn look_up_key(&self, options: &KeyLookup) -> Result<Ending> {
        #[derive(Serialize)]
        struct Presented<'a> {
            token: &'a str,
        }
        let (client, token) = self.client_and_token(options.token.as_deref())?;
        let call = Call::post(format!("{ROUTE}/lookup"), &Presented { token: token.expose() })?;
        let answer = client.call(&call)?;
        self.show(&answer, || {
            let found: LookedUp = answer.read()?;
            let version = Cell::new(found.version.to_string());
            Ok(card(&found.key).field("token's version", version).render(self.terminal.styles()))
        })
    }

    pub(super) fn revoke_key(&self, options: &KeyRevoke) -> Result<Ending> {
        let route = format!("{ROUTE}/{}/revoke", options.id);
        let answer = self.client()?.call(&Call::post(route, &json!({ "reason": options.reason }))?)?;
        self.show(&answer, || {
            let revocation: Revocation = answer.read()?;
            Ok(Card::new()
                .field("key", Cell::new(&revocation.key.id))
                .field("state", Cell::state("revoked"))
                .field("revoked", Cell::new(&revocation.revoked_at))
                .field("event", Cell::new(&revocation.event))
                .render(self.terminal.styles()))
        })
    }
}

/// What a change says of limits; nothing where it leaves them.
pub(super) fn limits_chosen(choice: &LimitChoice) -> Option<Value> {
    (choice.no_limits || !choice.limits.is_empty()).then(|| json!(choice.limits))
}

/// A card with a line for each limit.
pub(super) fn with_limits(mut card: Card, limits: &[GivenLimit]) -> Card {
    for limit in limits {
        let window = match (limit.window_s, limit.per) {
            (_, Some(Period::Day)) => "day".to_owned(),
            (_, Some(Period::Month)) => "month".to_owned(),
            (length_s, None) => format!("{} s", length_s.unwrap_or_default()),
        };
        let outage = if limit.on_outage == OnOutage::Pass { ", passes on outage" } else { "" };
        card =
            card.field("limit", Cell::new(format!("{}: {} per {window}{outage}", limit.name, limit.limit)));
    }
    card
}

pub(super) fn card(key: &Key) -> Card {
    let mut card = Card::new()
        .field("key", Cell::new(&key.id))
        .field("application", Cell::new(&key.application))
        .field("name", Cell::new(&key.name));
    if let Some(principal) = &key.principal {
        card = card.field("principal", Cell::new(principal));
    }
    card = card
        .field("environment", Cell::new(&key.environment))
        .field("scopes", Cell::or_dash(joined(&key.scopes)));
    if let Some(imported) = &key.imported {
        let weak = if imported.is_weak == Some(true) { ", easily guessed: rotate it" } else { "" };
        card = card.field("imported", Cell::new(format!("by its {}{weak}", imported.algorithm.title())));
    }
    if let Some(roles) = joined(&key.roles) {
        card = card.field("roles", Cell::new(roles));
    }
    if let Some(tags) = joined(&key.tags) {
        card = card.field("tags", Cell::new(tags));
    }
    if let Some(policy) = &key.policy {
        card = card.field("policy", Cell::new(policy));
    }
    card = with_limits(card, &key.limits);
    card = card
        .field("networks", joined(&key.rules.network).map_or_else(|| Cell::new("any"), Cell::new))
        .field("state", Cell::state(key.standing.as_ref().unwrap_or(&key.state)))
        .field("created", Cell::new(&key.created_at))
        .field("expires", key.expires_at.as_deref().map_or_else(|| Cell::new("never"), Cell::new));
    if let Some(due_at) = &key.due_at {
        card = card.field("rotation due", Cell::new(due_at));
    }
    for version in &key.versions {
        let mut text = format!("{}, claimed {}", version.version, version.claimed_at);
        match (version.state.as_str(), &version.ends_at) {
            ("retiring", Some(end)) => text.push_str(&format!(", passes until {end}")),
            ("retired", Some(end)) => text.push_str(&format!(", ended {end}")),
            ("revoked", _) => text.push_str(", revoked"),
            _ => {}
        }
        if let Some(hour) = &version.last_used_at {
            text.push_str(&format!(", used in the hour from {hour}"));
        }
        card = card.field("version", Cell::new(text));
    }
    if let ("offered", Some(successor)) = (key.rotation.state.as_str(), key.rotation.successor) {
        let why = key.rotation.mode.as_deref().unwrap_or_default();
        card = card.field("successor", Cell::new(format!("{successor}, offered ({why}), not claimed yet")));
    }
    if let Some(claim) = &key.claim {
        card = card.field("claim", Cell::new(format!("{}, open until {}", claim.id, claim.expires_at)));
    }
    if let Some(revoked) = &key.revoked {
        card = card
            .field("revoked", Cell::new(&revoked.at))
            .field("revoked by", Cell::or_dash(revoked.by.as_ref().map(ToString::to_string)))
            .field("reason", Cell::or_dash(revoked.reason.as_deref()));
    }
    card
}
