//! `keyward audit export`: events as they come from the server, oldest first, page by page, to a file or standard output.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use keyward_domain::error::Blame;
use keyward_domain::event::{ActorKind, Event, EventId, Outcome};

use super::Run;
use super::audit::events;
use crate::answers::Page;
use crate::arguments::{AuditExport, ExportFormat, Which};
use crate::client::Client;
use crate::escape::{csv_cell, shown_json};
use crate::failure::{Ending, Failure, Result};

/// Events of one page. An event with the writes of a bulk commit has a few kilobytes.
const PAGE_EVENTS: u32 = 500;
/// Before the first event.
pub(super) const BEGINNING: EventId = EventId { epoch: 1, seq: 0 };

/// The columns of a table.
const COLUMNS: &str = "id,at,action,outcome,application,key,role,policy,actor_kind,actor_key,actor_principal,client_addr,user_agent,\
                       request,reason,detail,previous,writes";

impl Run<'_> {
    pub(super) fn export_events(&self, options: &AuditExport) -> Result<Ending> {
        let client = self.client()?;
        let Some(path) = &options.output else {
            let mut out = BufWriter::new(std::io::stdout().lock());
            return match export(&client, options, &mut out) {
                // A reader that left early, as `head` does, is no failure.
                Err(Stopped::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(Ending::Done),
                Err(stopped) => Err(stopped.into_failure(Path::new("standard output"))),
                Ok(_) => Ok(Ending::Done),
            };
        };
        let file = new_file(path)?;
        let mut out = BufWriter::new(file);
        let exported = export(&client, options, &mut out)
            .and_then(|count| out.get_ref().sync_all().map(|()| count).map_err(Stopped::Output));
        match exported {
            Ok(count) => {
                self.terminal.note(&format!("{count} events in `{}`.", path.display()));
                Ok(Ending::Done)
            }
            Err(stopped) => {
                // Half of a log would pass for the whole.
                let _ = std::fs::remove_file(path);
                Err(stopped.into_failure(path))
            }
        }
    }
}

/// Why an export ended early.
enum Stopped {
    Server(Failure),
    Output(std::io::Error),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Server(failure)
    }
}

impl From<std::io::Error> for Stopped {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

impl Stopped {
    fn into_failure(self, path: &Path) -> Failure {
        match self {
            Self::Server(failure) => failure,
            Self::Output(error) => Failure::file("output file", path, &error),
        }
    }
}

fn new_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Failure::file("output file", path, &error))
}

/// Writes all events up to the first that is still being written; how many.
fn export(client: &Client, options: &AuditExport, out: &mut impl Write) -> Result<u64, Stopped> {
    if options.format == ExportFormat::Csv {
        writeln!(out, "{COLUMNS}\r")?;
    }
    let (mut count, mut after) = (0_u64, BEGINNING);
    loop {
        let (page, next) = page(client, &options.which, after, PAGE_EVENTS)?;
        for item in &page.items {
            match options.format {
                // A raw line feed can only stand between values.
                ExportFormat::Jsonl => writeln!(out, "{}", shown_json(item.get()).replace('\n', " "))?,
                ExportFormat::Csv => {
                    let event = serde_json::from_str(item.get()).map_err(|_| unknown_shape())?;
                    write!(out, "{}\r\n", row(&event))?;
                }
            }
            count = count.saturating_add(1);
        }
        if next == after {
            out.flush()?;
            return Ok(count);
        }
        after = next;
    }
}

/// The events that follow `after`, and where to go on; there again where nothing follows yet.
pub(super) fn page(client: &Client, which: &Which, after: EventId, limit: u32) -> Result<(Page, EventId)> {
    let answer = client.call(&events(which).query("after", Some(after)).query("limit", Some(limit)))?;
    let page: Page = answer.read()?;
    let next = page.next_cursor.as_deref().and_then(EventId::place).filter(|next| *next >= after);
    let next =
        next.ok_or_else(|| Failure::not_keyward(&answer, "its page of events does not say where to go on"))?;
    Ok((page, next))
}

pub(super) fn unknown_shape() -> Failure {
    let detail = "an event is of another shape than this version of `keyward` knows";
    Failure::new(Blame::Store, "The answer is not Keyward's", detail)
}

fn row(event: &Event) -> String {
    let text = |value: Option<String>| value.unwrap_or_default();
    let (target, actor, source) = (&event.target, &event.actor, &event.source);
    let writes: Vec<String> =
        event.writes.iter().map(|write| format!("{}={}", write.record, write.digest)).collect();
    let cells = [
        event.id.to_string(),
        event.at.to_string(),
        event.action.as_str().to_owned(),
        match event.outcome {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Alarm => "alarm",
        }
        .to_owned(),
        text(target.application.map(|id| id.to_string())),
        text(target.key.map(|id| id.to_string())),
        text(target.role.map(|id| id.to_string())),
        text(target.policy.map(|id| id.to_string())),
        match actor.kind {
            ActorKind::Admin => "admin",
            ActorKind::Holder => "holder",
            ActorKind::Workload => "workload",
            ActorKind::Anonymous => "anonymous",
            ActorKind::System => "system",
        }
        .to_owned(),
        text(actor.key.map(|id| id.to_string())),
        text(actor.principal.clone()),
        text(source.client_addr.clone()),
        text(source.user_agent.clone()),
        text(event.request.map(|id| id.to_string())),
        text(event.reason.clone()),
        event.detail.join("; "),
        text(event.previous.map(|id| id.to_string())),
        writes.join("; "),
    ];
    cells.map(|text| csv_cell(&text)).join(",")
}
