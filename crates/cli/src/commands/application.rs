//! `keyward app create|list|change`.

use serde_json::{Map, Value, json};

use super::Run;
use super::key::{limits_chosen, with_limits};
use super::policy::policy_chosen;
use crate::answers::Application;
use crate::arguments::{AppChange, AppCreate, Paging};
use crate::client::{Answer, Call};
use crate::failure::{Ending, Result};
use crate::table::{Card, Cell};

const ROUTE: &str = "/v1/applications";

impl Run<'_> {
    pub(super) fn create_application(&self, options: &AppCreate) -> Result<Ending> {
        let mut body = json!({ "name": options.name });
        if let Some(members) = body.as_object_mut() {
            if let Some(prefix) = &options.prefix {
                members.insert("prefix".to_owned(), json!(prefix));
            }
            if !options.contacts.is_empty() {
                members.insert("contacts".to_owned(), json!(options.contacts));
            }
            if let Some(level) = options.importance {
                members.insert("importance".to_owned(), json!(level));
            }
            if let Some(policy) = &options.policy {
                members.insert("policy".to_owned(), json!(policy));
            }
            if !options.limits.is_empty() {
                members.insert("limits".to_owned(), json!(options.limits));
            }
        }
        let answer = self.client()?.call(&Call::post(ROUTE, &body)?.creating()?)?;
        self.show_one_application(&answer)
    }

    pub(super) fn change_application(&self, options: &AppChange) -> Result<Ending> {
        let given = [
            ("name", options.name.as_ref().map(|text| json!(text))),
            ("contacts", (!options.contacts.is_empty()).then(|| json!(options.contacts))),
            ("importance", options.importance.map(|level| json!(level))),
            ("policy", policy_chosen(&options.policy)),
            ("limits", limits_chosen(&options.limits)),
        ];
        let body: Map<String, Value> =
            given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        let call = Call::patch(format!("{ROUTE}/{}", options.id), &Value::Object(body))?;
        let answer = self.client()?.call(&call)?;
        self.show_one_application(&answer)
    }

    fn show_one_application(&self, answer: &Answer) -> Result<Ending> {
        self.show(answer, || {
            let application: Application = answer.read()?;
            let mut card = Card::new()
                .field("application", Cell::new(&application.id))
                .field("name", Cell::new(&application.name))
                .field("prefix", Cell::new(&application.prefix))
                .field("contacts", Cell::or_dash(joined(&application.contacts)));
            if let Some(importance) = &application.importance {
                card = card.field("importance", Cell::new(importance));
            }
            if let Some(policy) = &application.policy {
                card = card.field("policy", Cell::new(policy));
            }
            Ok(with_limits(card, &application.limits)
                .field("status", Cell::state(&application.status))
                .field("created", Cell::new(&application.created_at))
                .render(self.terminal.styles()))
        })
    }

    pub(super) fn list_applications(&self, paging: &Paging) -> Result<Ending> {
        let page = self.client()?.list(paging, || Call::get(ROUTE))?;
        let headings = ["APPLICATION", "NAME", "PREFIX", "STATUS", "CREATED"];
        self.show_list(&page, "No applications.", &headings, |item, table| {
            let application: Application = serde_json::from_str(item.get())?;
            table.row([
                Cell::new(&application.id),
                Cell::new(&application.name),
                Cell::new(&application.prefix),
                Cell::state(&application.status),
                Cell::new(&application.created_at),
            ]);
            Ok(())
        })
    }
}

/// Texts in one cell; `None` where there are none.
pub(super) fn joined(texts: &[String]) -> Option<String> {
    (!texts.is_empty()).then(|| texts.join(", "))
}
