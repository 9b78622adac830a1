//! `keyward audit`: reads the log.

use super::Run;
use crate::answers::Event;
use crate::arguments::{AuditCommand, AuditList, Which};
use crate::client::Call;
use crate::escape::shown;
use crate::failure::{Ending, Failure, Result};
use crate::table::Cell;

/// Where events are asked for.
const EVENTS: &str = "/v1/audit/events";

impl Run<'_> {
    pub(super) fn audit(&self, command: &AuditCommand) -> Result<Ending> {
        match command {
            AuditCommand::List(options) => self.list_events(options),
            AuditCommand::Verify(options) => self.verify_log(options),
            AuditCommand::Export(options) => self.export_events(options),
            AuditCommand::Tail(options) => self.tail_events(options),
            AuditCommand::Witness(options) if options.once => self.witness_once(options),
            AuditCommand::Witness(_) => Err(without_host("audit witness --listen")),
            AuditCommand::NewEpoch(_) => Err(without_host("audit new-epoch")),
        }
    }

    fn list_events(&self, options: &AuditList) -> Result<Ending> {
        let page = self.client()?.list(&options.paging, || events(&options.which))?;
        let headings = ["TIME", "EVENT", "ACTION", "OUTCOME", "TARGET", "BY", "FROM", "REASON"];
        self.show_list(&page, "No events.", &headings, |item, table| {
            let event: Event = serde_json::from_str(item.get())?;
            table.row([
                Cell::new(&event.at),
                Cell::new(&event.id),
                Cell::new(&event.action),
                Cell::state(&event.outcome),
                Cell::or_dash(event.target.shown()),
                Cell::new(event.actor.to_string()),
                Cell::or_dash(event.source.client_addr.as_deref()),
                Cell::or_dash(event.reason.as_deref()),
            ]);
            Ok(())
        })
    }
}

/// A call for these events.
pub(super) fn events(which: &Which) -> Call {
    Call::get(EVENTS)
        .query("application", which.application)
        .query("key", which.key)
        .query("actor", which.actor)
        .query("action", which.action.as_deref())
        .query("since", which.since.as_deref())
        .query("until", which.until.as_deref())
}

/// An event in one line for a person, everything that others wrote escaped.
pub(super) fn line(event: &Event) -> String {
    let mut line = format!("{}  {}  {}  {}", event.at, event.id, event.action, event.outcome);
    if let Some(target) = event.target.shown() {
        line.push_str(&format!("  {target}"));
    }
    line.push_str(&format!("  by {}", event.actor));
    if let Some(address) = &event.source.client_addr {
        line.push_str(&format!("  from {address}"));
    }
    if let Some(reason) = &event.reason {
        line.push_str(&format!("  {reason}"));
    }
    shown(&line)
}

/// What only a `keyward` with the feature `host` can do.
pub(super) fn without_host(what: &str) -> Failure {
    Failure::command_line(format!(
        "this `keyward` was built without the feature `host`, which `{what}` needs"
    ))
}
