//! `keyward report --credentials`: how credentials stand, the report's pages added up: for people, as JSON, or as lines for a spreadsheet.

use serde::{Deserialize, Serialize};

use super::application::joined;
use super::report::{Owner, Paged, add};
use crate::escape::csv_cell;
use crate::table::{Card, Cell, Table};
use crate::terminal::{Styles, Tone};

pub(super) const ROUTE: &str = "/v1/reports/credentials";
const COLUMNS: &str = "application,name,contacts,active,expiring,overdue,expired,retired,api_key,basic,oauth_client,certificate,opaque,without_owner,\
    never_read,oldest_written_at,last_read_at";
const ATTENTION_COLUMNS: &str =
    "credential,name,kind,application,application_name,contacts,owner,state,at,last_read_at";

/// What the server answers, and what all its pages come to. Members that this version does not know are passed over.
#[derive(Deserialize, Serialize)]
pub(super) struct CredentialReport {
    at: String,
    through: String,
    expiring_s: i64,
    examined: u64,
    damaged: u64,
    totals: Figures,
    applications: Vec<ApplicationFigures>,
    attention: Vec<ToSee>,
    #[serde(skip_serializing)]
    next_cursor: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct ApplicationFigures {
    application: Owner,
    figures: Figures,
}

#[derive(Deserialize, Serialize)]
struct ToSee {
    id: String,
    name: String,
    kind: String,
    application: Owner,
    owner: String,
    state: String,
    at: String,
    last_read_at: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Figures {
    states: States,
    kinds: Kinds,
    without_owner: u64,
    never_read: u64,
    oldest_written_at: Option<String>,
    last_read_at: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct States {
    active: u64,
    expiring: u64,
    overdue: u64,
    expired: u64,
    retired: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Kinds {
    api_key: u64,
    basic: u64,
    oauth_client: u64,
    certificate: u64,
    opaque: u64,
}

impl Figures {
    fn merge(&mut self, other: &Self) {
        let (states, more) = (&mut self.states, &other.states);
        add(&mut states.active, more.active);
        add(&mut states.expiring, more.expiring);
        add(&mut states.overdue, more.overdue);
        add(&mut states.expired, more.expired);
        add(&mut states.retired, more.retired);
        let (kinds, more) = (&mut self.kinds, &other.kinds);
        add(&mut kinds.api_key, more.api_key);
        add(&mut kinds.basic, more.basic);
        add(&mut kinds.oauth_client, more.oauth_client);
        add(&mut kinds.certificate, more.certificate);
        add(&mut kinds.opaque, more.opaque);
        add(&mut self.without_owner, other.without_owner);
        add(&mut self.never_read, other.never_read);
        // Times of one form: as texts they are in the order of time.
        let oldest = self.oldest_written_at.take().into_iter().chain(other.oldest_written_at.clone()).min();
        self.oldest_written_at = oldest;
        self.last_read_at = self.last_read_at.take().max(other.last_read_at.clone());
    }

    /// The cells of its line, from `active` on.
    fn cells(&self) -> Vec<String> {
        let Self { states, kinds, .. } = self;
        let counts = [
            states.active,
            states.expiring,
            states.overdue,
            states.expired,
            states.retired,
            kinds.api_key,
            kinds.basic,
            kinds.oauth_client,
            kinds.certificate,
            kinds.opaque,
            self.without_owner,
            self.never_read,
        ];
        let times = [&self.oldest_written_at, &self.last_read_at];
        let times = times.map(|at| csv_cell(at.as_deref().unwrap_or_default()));
        counts.iter().map(u64::to_string).chain(times).collect()
    }
}

impl Paged for CredentialReport {
    const LOOKED_AT: &'static str = "Credentials looked at:";

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
        self.attention.extend(page.attention);
        self.next_cursor = page.next_cursor;
    }

    fn csv(&self) -> String {
        let mut lines = vec![COLUMNS.to_owned()];
        let mut line = |id: &str, name: &str, contacts: &[String], figures: &Figures| {
            let mut cells = vec![csv_cell(id), csv_cell(name), csv_cell(&contacts.join("; "))];
            cells.extend(figures.cells());
            lines.push(cells.join(","));
        };
        for ApplicationFigures { application, figures } in &self.applications {
            line(&application.id, &application.name, &application.contacts, figures);
        }
        line("all", "", &[], &self.totals);
        lines.join("\r\n") + "\r\n"
    }

    fn overdue_csv(&self) -> String {
        let mut lines = vec![ATTENTION_COLUMNS.to_owned()];
        for seen in &self.attention {
            let contacts = seen.application.contacts.join("; ");
            let cells = [
                seen.id.as_str(),
                &seen.name,
                &seen.kind,
                &seen.application.id,
                &seen.application.name,
                &contacts,
                &seen.owner,
                &seen.state,
                &seen.at,
                seen.last_read_at.as_deref().unwrap_or_default(),
            ];
            lines.push(cells.map(csv_cell).join(","));
        }
        lines.join("\r\n") + "\r\n"
    }

    fn text(&self, styles: Styles) -> String {
        let mut table = Table::new(&[
            "APPLICATION",
            "NAME",
            "ACTIVE",
            "EXPIRING",
            "OVERDUE",
            "EXPIRED",
            "RETIRED",
            "WITHOUT OWNER",
            "NEVER READ",
            "OLDEST VERSION",
            "LAST READ",
        ]);
        let mut row = |id: &str, name: Cell, figures: &Figures| {
            let states = &figures.states;
            let number = |number: u64| Cell::new(number.to_string());
            let wrong = |count: u64, tone: Tone| match count {
                0 => number(0),
                some => Cell::toned(some.to_string(), tone),
            };
            table.row([
                Cell::new(id),
                name,
                number(states.active),
                wrong(states.expiring, Tone::Warning),
                wrong(states.overdue, Tone::Bad),
                wrong(states.expired, Tone::Bad),
                number(states.retired),
                number(figures.without_owner),
                number(figures.never_read),
                Cell::or_dash(figures.oldest_written_at.as_deref()),
                Cell::or_dash(figures.last_read_at.as_deref()),
            ]);
        };
        for ApplicationFigures { application, figures } in &self.applications {
            row(&application.id, Cell::new(&application.name), figures);
        }
        row("all", Cell::or_dash(None::<&str>), &self.totals);
        let Kinds { api_key, basic, oauth_client, certificate, opaque } = self.totals.kinds;
        let mut card = Card::new()
            .field("as of", Cell::new(format!("{}, through {}", self.at, self.through)))
            .field("credentials looked at", Cell::new(self.examined.to_string()));
        if self.damaged > 0 {
            card = card.field("damaged", Cell::toned(self.damaged.to_string(), Tone::Bad));
        }
        let kinds = format!(
            "{api_key} api-key, {basic} basic, {oauth_client} oauth-client, {certificate} certificate, {opaque} opaque"
        );
        card = card.field("kinds", Cell::new(kinds));
        let mut parts = vec![table.render(styles), card.render(styles)];
        if !self.attention.is_empty() {
            let headings = [
                "CREDENTIAL",
                "NAME",
                "APPLICATION",
                "CONTACTS",
                "OWNER",
                "STATE",
                "SINCE OR FROM",
                "LAST READ",
            ];
            let mut table = Table::new(&headings);
            for seen in &self.attention {
                let owner = Some(seen.owner.as_str()).filter(|owner| !owner.is_empty());
                table.row([
                    Cell::new(&seen.id),
                    Cell::new(&seen.name),
                    Cell::new(&seen.application.name),
                    Cell::or_dash(joined(&seen.application.contacts)),
                    Cell::or_dash(owner),
                    Cell::state(&seen.state),
                    Cell::new(&seen.at),
                    Cell::or_dash(seen.last_read_at.as_deref()),
                ]);
            }
            parts.push(table.render(styles));
        }
        parts.join("\n")
    }
}
