//! `keyward audit`: reads the log.

use super::Run;
use crate::answers::Event;
use crate::arguments::AuditList;
use crate::client::Call;
use crate::failure::{Ending, Result};
use crate::table::Cell;

impl Run<'_> {
    pub(super) fn list_events(&self, options: &AuditList) -> Result<Ending> {
        let call = || {
            Call::get("/v1/audit/events")
                .query("application", options.application)
                .query("key", options.key)
                .query("actor", options.actor)
                .query("action", options.action.as_deref())
                .query("since", options.since.as_deref())
                .query("until", options.until.as_deref())
        };
        let page = self.client()?.list(&options.paging, call)?;
        let headings = ["TIME", "EVENT", "ACTION", "OUTCOME", "TARGET", "BY", "FROM", "REASON"];
        self.show_list(&page, "No events.", &headings, |item, table| {
            let event: Event = serde_json::from_str(item.get())?;
            let Event { target, actor, .. } = &event;
            table.row([
                Cell::new(&event.at),
                Cell::new(&event.id),
                Cell::new(&event.action),
                Cell::state(&event.outcome),
                Cell::or_dash(target.key.as_ref().or(target.role.as_ref()).or(target.application.as_ref())),
                Cell::new(actor.to_string()),
                Cell::or_dash(event.source.client_addr.as_deref()),
                Cell::or_dash(event.reason.as_deref()),
            ]);
            Ok(())
        })
    }
}
