//! `keyward audit tail`: the last events, and with `--follow` what comes: each once, none skipped, over whatever the server goes through.

use std::time::Duration;

use keyward_domain::error::Blame;
use keyward_domain::event::EventId;

use super::Run;
use super::audit::{events, line};
use super::audit_export::{BEGINNING, page, unknown_shape};
use crate::answers::{Event, Page};
use crate::arguments::{AuditTail, Paging, Which};
use crate::client::Client;
use crate::escape::shown_json;
use crate::failure::{Ending, Result};

/// Events of one page.
const PAGE_EVENTS: u32 = 100;
/// How long to wait for the next event before it is asked for again.
const POLL_AFTER: Duration = Duration::from_secs(1);
/// Waits after which the server is made to look at a ticket that holds the log up.
const WAITS_UNTIL_SETTLED: u32 = 10;
/// The longest wait for a server that does not answer.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

impl Run<'_> {
    pub(super) fn tail_events(&self, options: &AuditTail) -> Result<Ending> {
        let client = self.client()?;
        let mut after = start(&client, options)?;
        let (mut waits, mut back_off) = (0_u32, POLL_AFTER);
        loop {
            match page(&client, &options.which, after, PAGE_EVENTS) {
                Ok((found, next)) => {
                    for item in &found.items {
                        if !self.print_event(item.get())? {
                            return Ok(Ending::Done);
                        }
                    }
                    back_off = POLL_AFTER;
                    if next > after {
                        (after, waits) = (next, 0);
                        continue;
                    }
                    if !options.follow {
                        return Ok(Ending::Done);
                    }
                    waits = waits.saturating_add(1);
                    std::thread::sleep(POLL_AFTER);
                    if waits.is_multiple_of(WAITS_UNTIL_SETTLED) {
                        // A list integrates the log first: a ticket that was given up is voided, and what is behind it shows.
                        let _ = newest(&client, &options.which, 1);
                    }
                }
                Err(failure) if options.follow && failure.blame() == Some(Blame::Store) => {
                    let seconds = back_off.as_secs();
                    self.terminal.fail(&failure);
                    self.terminal.note(&format!("Trying again in {seconds} s, from {after} on."));
                    std::thread::sleep(back_off);
                    back_off = back_off.saturating_mul(2).min(BACK_OFF_MAX);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn print_event(&self, json: &str) -> Result<bool> {
        let event: Event = serde_json::from_str(json).map_err(|_| unknown_shape())?;
        if self.global.json {
            return self.terminal.stream(&shown_json(json).replace('\n', " "));
        }
        self.terminal.stream(&line(&event))
    }
}

fn newest(client: &Client, which: &Which, limit: u32) -> Result<Page> {
    client.list(&Paging { limit, cursor: None }, || events(which))
}

/// The place before the first event that is to be shown: counted from the newest, but read from there on in the order of the log, since
/// a ticket before the newest may still get its event.
fn start(client: &Client, options: &AuditTail) -> Result<EventId> {
    let last = newest(client, &options.which, options.lines)?;
    let Some(oldest) = last.items.last() else { return Ok(BEGINNING) };
    let event: Event = serde_json::from_str(oldest.get()).map_err(|_| unknown_shape())?;
    let id: EventId = event.id.parse().map_err(|_| unknown_shape())?;
    Ok(EventId { seq: id.seq.saturating_sub(1), ..id })
}
