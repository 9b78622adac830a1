//! `keyward webhook create|list|show|change|rotate-secret|test|retire|dead-letters|replay|drop`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::Run;
use crate::answers::{DeadLetter, DeadLettersLeft, Webhook, WebhookTest};
use crate::arguments::{
    DeadLetterDrop, DeadLetterList, DeadLetterReplay, WebhookChange, WebhookCreate, WebhookList,
    WebhookRetire, WebhookRotateSecret, WebhookWhich,
};
use crate::client::{Answer, Call};
use crate::failure::{Ending, Result};
use crate::table::{Card, Cell};

const ROUTE: &str = "/v1/webhooks";

impl Run<'_> {
    pub(super) fn create_webhook(&self, options: &WebhookCreate) -> Result<Ending> {
        let events = if options.events.is_empty() { json!(["*"]) } else { json!(options.events) };
        let mut body = Map::from_iter([
            ("application".to_owned(), json!(options.app)),
            ("url".to_owned(), json!(options.to)),
            ("events".to_owned(), events),
        ]);
        body.extend(options.description.as_ref().map(|text| ("description".to_owned(), json!(text))));
        self.make_secret(&Call::post(ROUTE, &Value::Object(body))?.creating()?, options.out.as_deref())
    }

    pub(super) fn rotate_webhook_secret(&self, options: &WebhookRotateSecret) -> Result<Ending> {
        let route = format!("{ROUTE}/{}/rotate-secret", options.id);
        self.make_secret(&Call::post(route, &json!({}))?.creating()?, options.out.as_deref())
    }

    fn make_secret(&self, call: &Call, out: Option<&Path>) -> Result<Ending> {
        self.show_secret_once(call, out, "webhook", |webhook: &Webhook| card(webhook))
    }

    pub(super) fn list_webhooks(&self, options: &WebhookList) -> Result<Ending> {
        let call = || Call::get(ROUTE).query("application", options.app);
        let page = self.client()?.list(&options.paging, call)?;
        let headings = ["WEBHOOK", "APPLICATION", "STATE", "CIRCUIT", "PENDING", "DEAD", "URL"];
        self.show_list(&page, "No webhooks.", &headings, |item, table| {
            let webhook: Webhook = serde_json::from_str(item.get())?;
            table.row([
                Cell::new(&webhook.id),
                Cell::new(&webhook.application),
                Cell::state(&webhook.state),
                Cell::state(&webhook.delivery.circuit),
                Cell::new(webhook.delivery.pending.to_string()),
                Cell::new(webhook.delivery.dead_letters.to_string()),
                Cell::new(&webhook.url),
            ]);
            Ok(())
        })
    }

    pub(super) fn show_webhook(&self, which: &WebhookWhich) -> Result<Ending> {
        let answer = self.client()?.call(&Call::get(format!("{ROUTE}/{}", which.id)))?;
        self.show_one_webhook(&answer)
    }

    pub(super) fn change_webhook(&self, options: &WebhookChange) -> Result<Ending> {
        let disabled = (options.disable || options.enable).then_some(options.disable);
        let given = [
            ("url", options.to.as_ref().map(|text| json!(text))),
            ("description", options.description.as_ref().map(|text| json!(text))),
            ("events", (!options.events.is_empty()).then(|| json!(options.events))),
            ("disabled", disabled.map(|disabled| json!(disabled))),
        ];
        let body: Map<String, Value> =
            given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        let route = format!("{ROUTE}/{}", options.id);
        let answer = self.client()?.call(&Call::patch(route, &Value::Object(body))?)?;
        self.show_one_webhook(&answer)
    }

    pub(super) fn test_webhook(&self, which: &WebhookWhich) -> Result<Ending> {
        let route = format!("{ROUTE}/{}/test", which.id);
        let answer = self.client()?.call(&Call::post(route, &json!({}))?)?;
        let test: WebhookTest = answer.read()?;
        self.show(&answer, || {
            let mut card = Card::new()
                .field("message", Cell::new(&test.message))
                .field("delivered", Cell::state(if test.delivered { "yes" } else { "no" }));
            if let Some(status) = test.status {
                card = card.field("status", Cell::new(status.to_string()));
            }
            if let Some(fault) = &test.fault {
                card = card.field("fault", Cell::new(fault));
            }
            Ok(card.render(self.terminal.styles()))
        })?;
        Ok(if test.delivered { Ending::Done } else { Ending::NotValid })
    }

    pub(super) fn retire_webhook(&self, options: &WebhookRetire) -> Result<Ending> {
        let route = format!("{ROUTE}/{}/retire", options.id);
        let answer = self.client()?.call(&Call::post(route, &json!({ "reason": options.reason }))?)?;
        self.show_one_webhook(&answer)
    }

    pub(super) fn list_dead_letters(&self, options: &DeadLetterList) -> Result<Ending> {
        let call = || {
            Call::get(format!("{ROUTE}/dead-letters"))
                .query("webhook", options.webhook)
                .query("application", options.app)
        };
        let page = self.client()?.list(&options.paging, call)?;
        let headings =
            ["MESSAGE", "WEBHOOK", "TYPE", "ABOUT", "IMPACT", "A DAY", "ENDS", "ATTEMPTS", "WHY", "DIED"];
        self.show_list(&page, "No dead letters.", &headings, |item, table| {
            let letter: DeadLetter = serde_json::from_str(item.get())?;
            table.row([
                Cell::new(&letter.message),
                Cell::new(&letter.webhook),
                Cell::new(&letter.kind),
                Cell::or_dash(letter.key.as_ref().or(letter.application.as_ref())),
                Cell::new(letter.impact.to_string()),
                Cell::new(letter.requests_per_day.to_string()),
                Cell::or_dash(letter.key_ends_at.as_ref()),
                Cell::new(letter.attempts.to_string()),
                Cell::new(&letter.why),
                Cell::new(&letter.died_at),
            ]);
            Ok(())
        })
    }

    pub(super) fn replay_dead_letters(&self, options: &DeadLetterReplay) -> Result<Ending> {
        let body = options.message.map_or_else(|| json!({}), |message| json!({ "message": message }));
        self.move_dead_letters(format!("{ROUTE}/{}/replay", options.id), &body, "replayed")
    }

    pub(super) fn drop_dead_letters(&self, options: &DeadLetterDrop) -> Result<Ending> {
        let mut body = Map::from_iter([("reason".to_owned(), json!(options.reason))]);
        body.extend(options.message.map(|message| ("message".to_owned(), json!(message))));
        self.move_dead_letters(format!("{ROUTE}/{}/drop", options.id), &Value::Object(body), "dropped")
    }

    fn move_dead_letters(&self, route: String, body: &Value, moved: &str) -> Result<Ending> {
        let answer = self.client()?.call(&Call::post(route, body)?)?;
        self.show(&answer, || {
            let left: DeadLettersLeft = answer.read()?;
            let card = Card::new()
                .field(moved, Cell::new(left.moved.to_string()))
                .field("left", Cell::new(left.left.to_string()));
            Ok(card.render(self.terminal.styles()))
        })
    }

    fn show_one_webhook(&self, answer: &Answer) -> Result<Ending> {
        self.show(answer, || Ok(card(&answer.read()?).render(self.terminal.styles())))
    }
}

fn card(webhook: &Webhook) -> Card {
    let delivery = &webhook.delivery;
    let mut card = Card::new()
        .field("webhook", Cell::new(&webhook.id))
        .field("application", Cell::new(&webhook.application))
        .field("url", Cell::new(&webhook.url));
    if !webhook.description.is_empty() {
        card = card.field("description", Cell::new(&webhook.description));
    }
    card = card
        .field("events", Cell::new(webhook.events.join(" ")))
        .field("state", Cell::state(&webhook.state))
        .field("created", Cell::new(&webhook.created_at));
    if let Some(until) = &webhook.old_secret_until {
        card = card.field("old secret until", Cell::new(until));
    }
    card = card
        .field("circuit", Cell::state(&delivery.circuit))
        .field("delivered", Cell::new(delivery.delivered.to_string()))
        .field("pending", Cell::new(delivery.pending.to_string()))
        .field("dead letters", Cell::new(delivery.dead_letters.to_string()));
    if let Some(at) = &delivery.next_attempt_at {
        card = card.field("next attempt", Cell::new(at));
    }
    if let Some(at) = &delivery.last_success_at {
        card = card.field("last success", Cell::new(at));
    }
    if let Some(failure) = &delivery.last_failure {
        let what = failure.status.map_or_else(|| failure.fault.clone(), |status| format!("status {status}"));
        card = card.field("last failure", Cell::new(format!("{what}, {}", failure.at)));
    }
    card
}
