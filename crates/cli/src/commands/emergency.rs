//! `keyward emergency freeze|thaw|status|revoke`.

use serde_json::{Map, Value, json};

use super::Run;
use crate::answers::{BulkRevocation, Emergency};
use crate::arguments::{EmergencyRevoke, EmergencySwitch};
use crate::client::{Answer, Call, Client};
use crate::failure::{Ending, Failure, Result};
use crate::progress::Progress;
use crate::table::{Card, Cell, Table};
use crate::terminal::Tone;
use keyward_domain::error::Blame;

const ROUTE: &str = "/v1/emergency";
const BULK_ROUTE: &str = "/v1/revocations/bulk";

/// What the calls of one revocation came to so far.
struct Sweep {
    table: Table,
    revoked: u64,
    already_dead: u64,
    skipped: u64,
    examined: u64,
}

impl Sweep {
    fn new() -> Self {
        let table = Table::new(&["KEY", "APPLICATION", "STATE", "EVENT", "WHY NOT"]);
        Self { table, revoked: 0, already_dead: 0, skipped: 0, examined: 0 }
    }

    fn add(&mut self, page: &BulkRevocation, state: &str) {
        for key in &page.revoked {
            self.table.row([
                Cell::new(&key.id),
                Cell::new(&key.application),
                Cell::toned(state, Tone::Bad),
                Cell::or_dash(key.event.as_deref()),
                Cell::or_dash(None::<&str>),
            ]);
        }
        for key in &page.skipped {
            self.table.row([
                Cell::new(&key.id),
                Cell::or_dash(None::<&str>),
                Cell::toned("skipped", Tone::Warning),
                Cell::or_dash(None::<&str>),
                Cell::new(&key.detail),
            ]);
        }
        let count = |keys: usize| u64::try_from(keys).unwrap_or(u64::MAX);
        self.revoked = self.revoked.saturating_add(count(page.revoked.len()));
        self.skipped = self.skipped.saturating_add(count(page.skipped.len()));
        self.already_dead = self.already_dead.saturating_add(page.already_dead);
        self.examined = self.examined.saturating_add(page.examined);
    }
}

impl Run<'_> {
    pub(super) fn set_issuing(&self, to: &str, options: &EmergencySwitch) -> Result<Ending> {
        let call = Call::post(format!("{ROUTE}/{to}"), &json!({ "reason": options.reason }))?;
        self.show_issuing(&self.client()?.call(&call)?)
    }

    pub(super) fn show_emergency(&self) -> Result<Ending> {
        self.show_issuing(&self.client()?.call(&Call::get(ROUTE))?)
    }

    fn show_issuing(&self, answer: &Answer) -> Result<Ending> {
        self.show(answer, || {
            let Emergency { issuing } = answer.read()?;
            let tone = if issuing.state == "open" { Tone::Good } else { Tone::Bad };
            let mut card = Card::new().field("issuing", Cell::toned(&issuing.state, tone));
            let by = issuing.by.as_ref().map(ToString::to_string);
            let facts =
                [("since", issuing.at), ("by", by), ("reason", issuing.reason), ("event", issuing.event)];
            for (name, fact) in facts {
                if let Some(fact) = fact {
                    card = card.field(name, Cell::new(fact));
                }
            }
            Ok(card.render(self.terminal.styles()))
        })
    }

    pub(super) fn revoke_keys(&self, options: &EmergencyRevoke) -> Result<Ending> {
        if !options.dry_run && !options.yes && !self.terminal.can_ask() {
            let detail = "there is no terminal to ask at; say --yes, or --dry-run to look first";
            return Err(Failure::command_line(detail));
        }
        let client = self.client()?;
        let asked = selection(options);
        let mut look = asked.clone();
        look.insert("dry_run".to_owned(), json!(true));
        if options.dry_run {
            let (found, ended) = self.sweep(&client, &look, None, self.global.json);
            self.show_sweep(&found, "would be revoked")?;
            return ended.map(|()| Ending::Done);
        }
        let mut expected = None;
        if !options.yes {
            let (found, ended) = self.sweep(&client, &look, None, false);
            ended?;
            let question = format!("Revoke {}, for good?", keys(found.revoked));
            if found.revoked > 0 && !self.terminal.confirm(&question)? {
                self.terminal.note("Nothing was revoked.");
                return Ok(Ending::Done);
            }
            expected = Some(found.revoked);
        }
        let (done, ended) = self.sweep(&client, &asked, expected, self.global.json);
        self.show_sweep(&done, "revoked")?;
        ended.map_err(|failure| failure.advise("the same command goes on where this one stopped"))?;
        if done.skipped > 0 {
            let detail =
                format!("{} that the selection means cannot be revoked with this key", keys(done.skipped));
            return Err(Failure::new(Blame::Caller, "Keys live on", detail));
        }
        Ok(Ending::Done)
    }

    /// Follows the cursor to its end, and prints each answer with `print`. What was done before a failure is told beside it.
    fn sweep(
        &self,
        client: &Client,
        asked: &Map<String, Value>,
        expected: Option<u64>,
        print: bool,
    ) -> (Sweep, Result<()>) {
        let mut all = Sweep::new();
        let dry = asked.contains_key("dry_run");
        let state = if dry { "meant" } else { "revoked" };
        let mut progress = Progress::new(if dry { "Keys looked at:" } else { "Keys revoked:" });
        let mut asked = asked.clone();
        let mut page = || -> Result<bool> {
            let call = Call::post(BULK_ROUTE, &asked)?;
            // Where the answer is lost, the call once more is answered with the keys that died then.
            let answer = client.call(&if dry { call } else { call.creating()? })?;
            let page: BulkRevocation = answer.read()?;
            if print {
                self.terminal.print(&crate::escape::shown_json(answer.text()?))?;
            }
            all.add(&page, state);
            match expected {
                Some(expected) => progress.at(all.revoked, expected),
                None if dry => progress.so_far(all.examined),
                None => progress.so_far(all.revoked),
            }
            let Some(cursor) = page.next_cursor else { return Ok(false) };
            if asked.insert("cursor".to_owned(), json!(cursor)).as_ref().and_then(Value::as_str)
                == Some(&cursor)
            {
                return Err(Failure::not_keyward(&answer, "its cursor does not move"));
            }
            Ok(true)
        };
        let ended = loop {
            match page() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(failure) => break Err(failure),
            }
        };
        (all, ended)
    }

    fn show_sweep(&self, sweep: &Sweep, what: &str) -> Result<()> {
        if self.global.json {
            return Ok(());
        }
        if !sweep.table.is_empty() {
            self.terminal.print(&sweep.table.render(self.terminal.styles()))?;
        }
        self.terminal.note(&format!(
            "{} {what}; {} dead already, {} skipped.",
            keys(sweep.revoked),
            sweep.already_dead,
            sweep.skipped
        ));
        Ok(())
    }
}

/// The body of each call, but for what changes from call to call.
fn selection(options: &EmergencyRevoke) -> Map<String, Value> {
    let given = [
        ("actor", options.actor.map(|id| json!(id))),
        ("tag", options.tag.as_ref().map(|tag| json!(tag))),
        ("issued_since", options.since.as_ref().map(|time| json!(time))),
        ("issued_until", options.until.as_ref().map(|time| json!(time))),
        ("application", options.application.map(|id| json!(id))),
        ("environment", options.environment.map(|environment| json!(environment.as_str()))),
        ("reason", Some(json!(options.reason))),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn keys(count: u64) -> String {
    if count == 1 { "1 key".to_owned() } else { format!("{count} keys") }
}
