//! `keyward app`: create and list applications.

use serde_json::json;

use super::Run;
use crate::answers::Application;
use crate::arguments::{AppCreate, Paging};
use crate::client::Call;
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
        }
        let answer = self.client()?.call(&Call::post(ROUTE, &body)?.creating()?)?;
        self.show(&answer, || {
            let application: Application = answer.read()?;
            Ok(Card::new()
                .field("application", Cell::new(&application.id))
                .field("name", Cell::new(&application.name))
                .field("prefix", Cell::new(&application.prefix))
                .field("contacts", Cell::or_dash(joined(&application.contacts)))
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
