//! `keyward activity`: the latest refusals of requests with a right secret, and with `--follow` what comes.

use std::time::Duration;

use keyward_domain::error::Blame;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Run;
use super::audit_export::unknown_shape;
use crate::answers::Page;
use crate::arguments::Activity;
use crate::client::{Answer, Call, Client};
use crate::escape::{shown, shown_json};
use crate::failure::{Ending, Failure, Result};
use crate::table::Cell;

const ROUTE: &str = "/v1/activity/refusals";
/// How long the server is asked to wait for a change, in seconds: well below what one call may take.
const WAIT_S: u32 = 20;
/// How long to wait for a server that does not answer, at first and at most.
const BACK_OFF: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

#[derive(Deserialize, Clone, PartialEq, Eq)]
struct Refusal {
    at: String,
    application: String,
    key: String,
    version: u16,
    code: String,
    missing_scope: Option<String>,
    count: u64,
}

#[derive(Deserialize)]
struct Refusals {
    items: Vec<Box<RawValue>>,
}

impl Refusal {
    fn read(item: &RawValue) -> Result<Self> {
        serde_json::from_str(item.get()).map_err(|_| unknown_shape())
    }

    /// Whether it tells of the same minute, key and cause.
    fn is_like(&self, other: &Self) -> bool {
        Self { count: other.count, ..self.clone() } == *other
    }

    /// In one line for a person, everything that others wrote escaped.
    fn line(&self) -> String {
        let missing = self.missing_scope.as_ref().map(|scope| format!("  lacks {}", shown(scope)));
        format!(
            "{}  {}  {} version {}  {}{}",
            shown(&self.at),
            shown(&self.code),
            shown(&self.key),
            self.version,
            self.count,
            missing.unwrap_or_default()
        )
    }
}

impl Run<'_> {
    pub(super) fn show_activity(&self, options: &Activity) -> Result<Ending> {
        let client = self.client()?;
        if options.follow {
            return self.follow_activity(&client, options);
        }
        let answer = client.call(&call(options))?;
        let found: Refusals = answer.read()?;
        let page = Page { items: found.items, next_cursor: None };
        let headings = ["TIME", "CODE", "KEY", "VERSION", "COUNT", "LACKS", "APPLICATION"];
        self.show_list(&page, "No refusals.", &headings, |item, table| {
            let refusal: Refusal = serde_json::from_str(item.get())?;
            table.row([
                Cell::new(&refusal.at),
                Cell::new(&refusal.code),
                Cell::new(&refusal.key),
                Cell::new(refusal.version.to_string()),
                Cell::new(refusal.count.to_string()),
                Cell::or_dash(refusal.missing_scope.as_deref()),
                Cell::new(&refusal.application),
            ]);
            Ok(())
        })
    }

    /// Prints what is new since the last answer, oldest first: a refusal that nobody told of yet, or one that came again in its minute.
    fn follow_activity(&self, client: &Client, options: &Activity) -> Result<Ending> {
        let (mut told, mut tag): (Vec<Refusal>, Option<String>) = (Vec::new(), None);
        let mut back_off = BACK_OFF;
        loop {
            let asked = call(options).query("wait_s", tag.as_ref().map(|_| WAIT_S)).unless(tag.clone());
            match changed(client, &asked) {
                Ok(None) => back_off = BACK_OFF,
                Ok(Some(answer)) => {
                    back_off = BACK_OFF;
                    let found: Refusals = answer.read()?;
                    let mut latest = Vec::new();
                    for item in found.items.iter().rev() {
                        let refusal = Refusal::read(item)?;
                        let before = told.iter().find(|known| known.is_like(&refusal));
                        let is_news = before.is_none_or(|known| known.count < refusal.count);
                        if is_news && !self.print_refusal(&refusal, item)? {
                            return Ok(Ending::Done);
                        }
                        latest.push(refusal);
                    }
                    told = latest;
                    tag = answer.header("etag");
                    if tag.is_none() {
                        return Err(Failure::not_keyward(&answer, "it has no ETag"));
                    }
                }
                Err(failure) if failure.blame() == Some(Blame::Store) => {
                    self.terminal.fail(&failure);
                    self.terminal.note(&format!("Trying again in {} s.", back_off.as_secs()));
                    std::thread::sleep(back_off);
                    back_off = back_off.saturating_mul(2).min(BACK_OFF_MAX);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn print_refusal(&self, refusal: &Refusal, item: &RawValue) -> Result<bool> {
        if self.global.json {
            return self.terminal.stream(&shown_json(item.get()).replace('\n', " "));
        }
        self.terminal.stream(&refusal.line())
    }
}

/// The answer; none where it is still the one that the client has.
fn changed(client: &Client, call: &Call) -> Result<Option<Answer>> {
    match client.ask(call)? {
        answer if answer.status == 304 => Ok(None),
        answer if (200..300).contains(&answer.status) => Ok(Some(answer)),
        answer => Err(Failure::from_answer(&answer)),
    }
}

fn call(options: &Activity) -> Call {
    Call::get(ROUTE).query("application", options.application).query("since", options.since.as_deref())
}
