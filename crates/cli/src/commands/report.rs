//! `keyward report`: the report on compliance, its pages added up: for people, as JSON, or as lines for a spreadsheet. What the report on
//! credentials has in common with it is here as well.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Run;
use super::application::joined;
use super::credential_report::{self, CredentialReport};
use crate::arguments::{Report, ReportFormat};
use crate::client::Call;
use crate::escape::{csv_cell, shown_json};
use crate::failure::{Ending, Failure, Result};
use crate::progress::Progress;
use crate::table::{Card, Cell, Table};
use crate::terminal::{Styles, Tone};

const ROUTE: &str = "/v1/reports/compliance";
/// Keys or credentials that one call looks at.
const PAGE_ENTRIES: u32 = 100;
const COLUMNS: &str = "application,name,contacts,fresh,due,overdue,never_due,unclaimed,ended,rotations,mean_between_s,rotated_after_due,mean_due_to_rotated_s,\
    rotated_before_due,rotated_after_flag,mean_flagged_to_rotated_s,waiting_since_due,longest_since_due_s,waiting_since_flagged,longest_since_flagged_s,target_s,\
    revocations,mean_revocation_ms,max_revocation_ms,changes,changes_on_record";
const OVERDUE_COLUMNS: &str =
    "key,name,application,application_name,contacts,policy,due_at,overdue_since,overdue_s,offered";

/// What the server answers, and what all its pages come to. Members that this version does not know are passed over.
#[derive(Deserialize, Serialize)]
struct Compliance {
    at: String,
    through: String,
    since: Option<String>,
    target_s: i64,
    examined: u64,
    damaged: u64,
    totals: Figures,
    applications: Vec<ApplicationFigures>,
    overdue: Vec<OverdueKey>,
    #[serde(skip_serializing)]
    next_cursor: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct ApplicationFigures {
    application: Owner,
    figures: Figures,
}

/// An application, and whom to reach.
#[derive(Deserialize, Serialize)]
pub(super) struct Owner {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) contacts: Vec<String>,
}

/// A report that comes in pages whose figures add up.
pub(super) trait Paged: DeserializeOwned + Serialize {
    /// What is told while it is made.
    const LOOKED_AT: &'static str;

    /// Adds a page.
    fn merge(&mut self, page: Self);

    /// How many were looked at.
    fn examined(&self) -> u64;

    /// Where the next page begins.
    fn next_cursor(&self) -> Option<&str>;

    /// A line for each application, and one for all.
    fn csv(&self) -> String;

    /// A line for each that somebody is to see to.
    fn overdue_csv(&self) -> String;

    /// What people read.
    fn text(&self, styles: Styles) -> String;
}

#[derive(Deserialize, Serialize)]
struct OverdueKey {
    id: String,
    name: String,
    application: Owner,
    policy: Option<String>,
    due_at: Option<String>,
    overdue_since: String,
    overdue_s: i64,
    offered: bool,
}

#[derive(Deserialize, Serialize)]
struct Figures {
    keys: KeyCounts,
    rotations: RotationFigures,
    revocations: Latencies,
    audit: OnRecord,
}

#[derive(Deserialize, Serialize)]
struct KeyCounts {
    fresh: u64,
    due: u64,
    overdue: u64,
    never_due: u64,
    unclaimed: u64,
    ended: u64,
}

#[derive(Deserialize, Serialize)]
struct RotationFigures {
    between: Spans,
    due_to_rotated: Spans,
    before_due: u64,
    flagged_to_rotated: Spans,
    waiting_since_due: Spans,
    waiting_since_flagged: Spans,
}

#[derive(Deserialize, Serialize)]
struct Spans {
    count: u64,
    sum_s: i64,
    max_s: i64,
    mean_s: Option<i64>,
}

#[derive(Deserialize, Serialize)]
struct Latencies {
    count: u64,
    sum_ms: i64,
    max_ms: i64,
    mean_ms: Option<i64>,
}

#[derive(Deserialize, Serialize)]
struct OnRecord {
    changes: u64,
    on_record: u64,
}

fn mean(count: u64, sum: i64) -> Option<i64> {
    sum.checked_div(i64::try_from(count).ok()?)
}

pub(super) fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

impl Spans {
    fn merge(&mut self, other: &Self) {
        add(&mut self.count, other.count);
        self.sum_s = self.sum_s.saturating_add(other.sum_s);
        self.max_s = self.max_s.max(other.max_s);
        self.mean_s = mean(self.count, self.sum_s);
    }
}

impl Figures {
    fn merge(&mut self, other: &Self) {
        let (keys, more) = (&mut self.keys, &other.keys);
        add(&mut keys.fresh, more.fresh);
        add(&mut keys.due, more.due);
        add(&mut keys.overdue, more.overdue);
        add(&mut keys.never_due, more.never_due);
        add(&mut keys.unclaimed, more.unclaimed);
        add(&mut keys.ended, more.ended);
        let (rotations, more) = (&mut self.rotations, &other.rotations);
        rotations.between.merge(&more.between);
        rotations.due_to_rotated.merge(&more.due_to_rotated);
        add(&mut rotations.before_due, more.before_due);
        rotations.flagged_to_rotated.merge(&more.flagged_to_rotated);
        rotations.waiting_since_due.merge(&more.waiting_since_due);
        rotations.waiting_since_flagged.merge(&more.waiting_since_flagged);
        let (revocations, more) = (&mut self.revocations, &other.revocations);
        add(&mut revocations.count, more.count);
        revocations.sum_ms = revocations.sum_ms.saturating_add(more.sum_ms);
        revocations.max_ms = revocations.max_ms.max(more.max_ms);
        revocations.mean_ms = mean(revocations.count, revocations.sum_ms);
        add(&mut self.audit.changes, other.audit.changes);
        add(&mut self.audit.on_record, other.audit.on_record);
    }

    /// The cells of its line, from `fresh` on.
    fn cells(&self, target_s: i64) -> Vec<String> {
        let Self { keys, rotations, revocations, audit } = self;
        let or_empty = |mean: Option<i64>| mean.map_or_else(String::new, |mean| mean.to_string());
        let spans = |spans: &Spans| [spans.count.to_string(), or_empty(spans.mean_s)];
        let waiting = |spans: &Spans| [spans.count.to_string(), spans.max_s.to_string()];
        let counts = [keys.fresh, keys.due, keys.overdue, keys.never_due, keys.unclaimed, keys.ended];
        let mut cells: Vec<String> = counts.iter().map(u64::to_string).collect();
        cells.extend(spans(&rotations.between));
        cells.extend(spans(&rotations.due_to_rotated));
        cells.push(rotations.before_due.to_string());
        cells.extend(spans(&rotations.flagged_to_rotated));
        cells.extend(waiting(&rotations.waiting_since_due));
        cells.extend(waiting(&rotations.waiting_since_flagged));
        cells.push(target_s.to_string());
        cells.extend([
            revocations.count.to_string(),
            or_empty(revocations.mean_ms),
            revocations.max_ms.to_string(),
            audit.changes.to_string(),
            audit.on_record.to_string(),
        ]);
        cells
    }
}

impl Paged for Compliance {
    const LOOKED_AT: &'static str = "Keys looked at:";

    fn examined(&self) -> u64 {
        self.examined
    }

    fn next_cursor(&self) -> Option<&str> {
        self.next_cursor.as_deref()
    }

    fn merge(&mut self, page: Self) {
        add(&mut self.examined, page.examined);
        add(&mut self.damaged, page.damaged);
        self.totals.merge(&page.totals);
        for other in page.applications {
            match self.applications.iter_mut().find(|known| known.application.id == other.application.id) {
                Some(known) => known.figures.merge(&other.figures),
                None => self.applications.push(other),
            }
        }
        self.overdue.extend(page.overdue);
        self.next_cursor = page.next_cursor;
    }

    fn csv(&self) -> String {
        let mut lines = vec![COLUMNS.to_owned()];
        let mut line = |id: &str, name: &str, contacts: &[String], figures: &Figures| {
            let mut cells = vec![csv_cell(id), csv_cell(name), csv_cell(&contacts.join("; "))];
            cells.extend(figures.cells(self.target_s));
            lines.push(cells.join(","));
        };
        for ApplicationFigures { application, figures } in &self.applications {
            line(&application.id, &application.name, &application.contacts, figures);
        }
        line("all", "", &[], &self.totals);
        lines.join("\r\n") + "\r\n"
    }

    fn overdue_csv(&self) -> String {
        let mut lines = vec![OVERDUE_COLUMNS.to_owned()];
        for key in &self.overdue {
            let (overdue_s, contacts) = (key.overdue_s.to_string(), key.application.contacts.join("; "));
            let cells = [
                key.id.as_str(),
                &key.name,
                &key.application.id,
                &key.application.name,
                &contacts,
                key.policy.as_deref().unwrap_or_default(),
                key.due_at.as_deref().unwrap_or_default(),
                &key.overdue_since,
                &overdue_s,
                if key.offered { "true" } else { "false" },
            ];
            lines.push(cells.map(csv_cell).join(","));
        }
        lines.join("\r\n") + "\r\n"
    }

    fn text(&self, styles: Styles) -> String {
        let mut table = Table::new(&[
            "APPLICATION",
            "NAME",
            "FRESH",
            "DUE",
            "OVERDUE",
            "NEVER DUE",
            "UNCLAIMED",
            "ENDED",
            "ROTATIONS",
            "DUE TO ROTATED",
            "FLAGGED TO ROTATED",
        ]);
        let mut row = |id: &str, name: Cell, figures: &Figures| {
            let (keys, rotations) = (&figures.keys, &figures.rotations);
            let number = |number: u64| Cell::new(number.to_string());
            let overdue = match keys.overdue {
                0 => number(0),
                some => Cell::toned(some.to_string(), Tone::Bad),
            };
            table.row([
                Cell::new(id),
                name,
                number(keys.fresh),
                number(keys.due),
                overdue,
                number(keys.never_due),
                number(keys.unclaimed),
                number(keys.ended),
                number(rotations.between.count),
                Cell::or_dash(rotations.due_to_rotated.mean_s.map(span)),
                Cell::or_dash(rotations.flagged_to_rotated.mean_s.map(span)),
            ]);
        };
        for ApplicationFigures { application, figures } in &self.applications {
            row(&application.id, Cell::new(&application.name), figures);
        }
        row("all", Cell::or_dash(None::<&str>), &self.totals);
        let card = self.summary().render(styles);
        let mut parts = vec![table.render(styles), card];
        if !self.overdue.is_empty() {
            let headings = ["OVERDUE KEY", "NAME", "APPLICATION", "CONTACTS", "OVERDUE FOR", "OFFERED"];
            let mut table = Table::new(&headings);
            for key in &self.overdue {
                table.row([
                    Cell::new(&key.id),
                    Cell::new(&key.name),
                    Cell::new(&key.application.name),
                    Cell::or_dash(joined(&key.application.contacts)),
                    Cell::new(span(key.overdue_s)),
                    Cell::new(if key.offered { "yes" } else { "no" }),
                ]);
            }
            parts.push(table.render(styles));
        }
        parts.join("\n")
    }
}

impl Compliance {
    fn summary(&self) -> Card {
        let Figures { rotations, revocations, audit, .. } = &self.totals;
        let held = |spans: &Spans| match spans.mean_s {
            None => Cell::or_dash(None::<&str>),
            Some(mean_s) => {
                let is_held = mean_s <= self.target_s;
                let word = if is_held { "within" } else { "over" };
                let text = format!(
                    "{} on average of {}, {word} the target of {}; {} at most",
                    span(mean_s),
                    spans.count,
                    span(self.target_s),
                    span(spans.max_s)
                );
                Cell::toned(text, if is_held { Tone::Good } else { Tone::Bad })
            }
        };
        let waiting = |spans: &Spans| match spans.count {
            0 => Cell::new("none"),
            count => Cell::new(format!("{count}, the longest for {}", span(spans.max_s))),
        };
        let mut card = Card::new()
            .field("as of", Cell::new(format!("{}, through {}", self.at, self.through)))
            .field("keys looked at", Cell::new(self.examined.to_string()));
        if let Some(since) = &self.since {
            card = card.field("rotations since", Cell::new(since));
        }
        if self.damaged > 0 {
            card = card.field("damaged", Cell::toned(self.damaged.to_string(), Tone::Bad));
        }
        let revoked = revocations.mean_ms.map(|mean_ms| {
            format!("{mean_ms} ms on average of {}, {} ms at most", revocations.count, revocations.max_ms)
        });
        card.field("between rotations", Cell::or_dash(rotations.between.mean_s.map(span)))
            .field("due to rotated", held(&rotations.due_to_rotated))
            .field("before they were due", Cell::new(rotations.before_due.to_string()))
            .field("flagged to rotated", held(&rotations.flagged_to_rotated))
            .field("waiting since due", waiting(&rotations.waiting_since_due))
            .field("waiting since flagged", waiting(&rotations.waiting_since_flagged))
            .field("revocation", Cell::or_dash(revoked))
            .field("on record", Cell::new(format!("{} of {} changes", audit.on_record, audit.changes)))
    }
}

impl Run<'_> {
    pub(super) fn report(&self, options: &Report) -> Result<Ending> {
        if options.overdue && options.format != ReportFormat::Csv {
            return Err(Failure::command_line(
                "--overdue goes with --format csv; the other formats have both",
            ));
        }
        match options.credentials {
            true => self.show_report::<CredentialReport>(options, credential_report::ROUTE)?,
            false => self.show_report::<Compliance>(options, ROUTE)?,
        }
        Ok(Ending::Done)
    }

    fn show_report<R: Paged>(&self, options: &Report, route: &str) -> Result<()> {
        let report: R = self.whole_report(options, route)?;
        match options.format {
            ReportFormat::Csv if !self.global.json => {
                self.terminal.print(&if options.overdue { report.overdue_csv() } else { report.csv() })
            }
            ReportFormat::Table if !self.global.json => {
                self.terminal.print(&report.text(self.terminal.styles()))
            }
            _ => {
                let json = serde_json::to_string(&report).map_err(|error| Failure::system("JSON", error))?;
                self.terminal.print(&shown_json(&json))
            }
        }
    }

    /// All pages, added up.
    fn whole_report<R: Paged>(&self, options: &Report, route: &str) -> Result<R> {
        let client = self.client()?;
        let mut progress = Progress::new(R::LOOKED_AT);
        let mut all: Option<R> = None;
        loop {
            let cursor = all.as_ref().and_then(|all| all.next_cursor().map(str::to_owned));
            let call = Call::get(route)
                .query("application", options.application)
                .query("since", options.since.as_deref())
                .query("limit", Some(PAGE_ENTRIES))
                .query("cursor", cursor.as_deref());
            let answer = client.call(&call)?;
            let page: R = answer.read()?;
            if page.next_cursor().is_some() && page.next_cursor() == cursor.as_deref() {
                return Err(Failure::not_keyward(&answer, "its cursor does not move"));
            }
            let all = match &mut all {
                Some(all) => {
                    all.merge(page);
                    all
                }
                None => all.insert(page),
            };
            progress.so_far(all.examined());
            if all.next_cursor().is_none() {
                break;
            }
        }
        all.ok_or_else(|| Failure::command_line("there is no report"))
    }
}

/// A span of time in its two largest units.
fn span(seconds: i64) -> String {
    let units = [(24 * 3600, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let mut left = seconds;
    let mut words: Vec<String> = Vec::new();
    for (unit, letter) in units {
        let count = left / unit;
        left %= unit;
        if count > 0 {
            words.push(format!("{count}{letter}"));
        }
    }
    words.truncate(2);
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn a_span_has_two_units() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (3600, "1h"),
            (3661, "1h 1m"),
            (86_400, "1d"),
            (93_784, "1d 2h"),
            (86_460, "1d 1m"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }
}
