//! What is done to many keys at once: call after call behind a cursor, with a look first and a question, and with what was done before a
//! failure told beside it. Which keys, and what is done to them, is for the commands to say.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::Run;
use crate::answers::{ManyKeys, SkippedKey};
use crate::arguments::{Asking, KeySelection};
use crate::client::{Answer, Call, Client};
use crate::failure::{Ending, Failure, Result};
use crate::progress::Progress;
use crate::table::Table;
use keyward_domain::error::Blame;

/// What is done to many keys, and how people are told of it.
pub(super) trait Deed {
    /// What a call says of a key to which it was done, or would be.
    type Key: DeserializeOwned;
    const ROUTE: &'static str;
    const HEADINGS: &'static [&'static str];
    /// What became of a key: `revoked`.
    const DONE: &'static str;
    /// The progress of it: `Keys revoked:`.
    const PROGRESS: &'static str;
    /// What is said where nobody wants it after all.
    const NOTHING: &'static str;

    /// The question for so many keys.
    fn question(&self, keys: &str) -> String;
    /// Takes an answer, and tells of its keys in the table.
    fn take(&mut self, page: &ManyKeys<Self::Key>, is_done: bool, table: &mut Table) -> Result<()>;
    /// An answer's JSON as it is printed.
    fn shown(&self, answer: &Answer) -> Result<String>;
    /// What to do after a failure.
    fn advice(&self) -> String;
    /// Whether it is a failure that this key stays as it is, and of what kind.
    fn fails_at(&self, skipped: &SkippedKey) -> bool;
    /// What that failure is called, and what it says of so many keys.
    fn failure(&self, keys: &str) -> (&'static str, String);
}

/// What the calls came to so far.
struct Sweep {
    table: Table,
    done: u64,
    already_dead: u64,
    skipped: u64,
    failed: u64,
    examined: u64,
}

impl Run<'_> {
    /// Does it to all keys of a selection: `asked` is the body of each call, but for what changes from call to call.
    pub(super) fn for_many<D: Deed>(
        &self,
        deed: &mut D,
        asked: &Map<String, Value>,
        asking: &Asking,
    ) -> Result<Ending> {
        if !asking.dry_run && !asking.yes && !self.terminal.can_ask() {
            let detail = "there is no terminal to ask at; say --yes, or --dry-run to look first";
            return Err(Failure::command_line(detail));
        }
        let client = self.client()?;
        let mut look = asked.clone();
        look.insert("dry_run".to_owned(), json!(true));
        if asking.dry_run {
            let (found, ended) = self.sweep(deed, &client, &look, None, self.global.json);
            self.show_sweep(&found, &format!("would be {}", D::DONE))?;
            return ended.map(|()| Ending::Done);
        }
        let mut expected = None;
        if !asking.yes {
            let (found, ended) = self.sweep(deed, &client, &look, None, false);
            ended?;
            if found.done > 0 && !self.terminal.confirm(&deed.question(&keys(found.done)))? {
                self.terminal.note(D::NOTHING);
                return Ok(Ending::Done);
            }
            expected = Some(found.done);
        }
        let (done, ended) = self.sweep(deed, &client, asked, expected, self.global.json);
        self.show_sweep(&done, D::DONE)?;
        ended.map_err(|failure| failure.advise(deed.advice()))?;
        if done.failed > 0 {
            let (title, detail) = deed.failure(&keys(done.failed));
            return Err(Failure::new(Blame::Caller, title, detail));
        }
        Ok(Ending::Done)
    }

    /// Follows the cursor to its end, and prints each answer with `print`. What was done before a failure is told beside it.
    fn sweep<D: Deed>(
        &self,
        deed: &mut D,
        client: &Client,
        asked: &Map<String, Value>,
        expected: Option<u64>,
        print: bool,
    ) -> (Sweep, Result<()>) {
        let table = Table::new(D::HEADINGS);
        let mut all = Sweep { table, done: 0, already_dead: 0, skipped: 0, failed: 0, examined: 0 };
        let dry = asked.contains_key("dry_run");
        let mut progress = Progress::new(if dry { "Keys looked at:" } else { D::PROGRESS });
        let mut asked = asked.clone();
        let mut page = || -> Result<bool> {
            let call = Call::post(D::ROUTE, &asked)?;
            // Where the answer is lost, the call once more is answered as the first was.
            let answer = client.call(&if dry { call } else { call.creating()? })?;
            let page: ManyKeys<D::Key> = answer.read()?;
            // Before it is printed: what cannot be had again is put where it was asked for first.
            deed.take(&page, !dry, &mut all.table)?;
            if print {
                self.terminal.print(&crate::escape::shown_json(&deed.shown(&answer)?))?;
            }
            all.add(&page, |skipped| deed.fails_at(skipped));
            match expected {
                Some(expected) => progress.at(all.done, expected),
                None if dry => progress.so_far(all.examined),
                None => progress.so_far(all.done),
            }
            let Some(cursor) = page.next_cursor.as_deref() else { return Ok(false) };
            if asked.insert("cursor".to_owned(), json!(cursor)).as_ref().and_then(Value::as_str)
                == Some(cursor)
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
            keys(sweep.done),
            sweep.already_dead,
            sweep.skipped
        ));
        Ok(())
    }
}

impl Sweep {
    fn add<K>(&mut self, page: &ManyKeys<K>, fails_at: impl Fn(&SkippedKey) -> bool) {
        let count = |keys: usize| u64::try_from(keys).unwrap_or(u64::MAX);
        let failed = page.skipped.iter().filter(|skipped| fails_at(skipped)).count();
        self.done = self.done.saturating_add(count(page.keys.len()));
        self.skipped = self.skipped.saturating_add(count(page.skipped.len()));
        self.failed = self.failed.saturating_add(count(failed));
        self.already_dead = self.already_dead.saturating_add(page.already_dead);
        self.examined = self.examined.saturating_add(page.examined);
    }
}

/// The members of a body that say which keys, and why.
pub(super) fn selection(which: &KeySelection, reason: &str) -> Map<String, Value> {
    let given = [
        ("actor", which.actor.map(|id| json!(id))),
        ("tag", which.tag.as_ref().map(|tag| json!(tag))),
        ("issued_since", which.since.as_ref().map(|time| json!(time))),
        ("issued_until", which.until.as_ref().map(|time| json!(time))),
        ("application", which.application.map(|id| json!(id))),
        ("environment", which.environment.map(|environment| json!(environment.as_str()))),
        ("reason", Some(json!(reason))),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn keys(count: u64) -> String {
    if count == 1 { "1 key".to_owned() } else { format!("{count} keys") }
}
