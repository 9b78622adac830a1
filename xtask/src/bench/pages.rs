//! How long pages of the dashboard take on a store of many keys and events, and how heavy they are: asked for one after the other, as a
//! person does.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::client::{Answer, Connection};
use super::report::Bar;
use super::stage::{Host, Stage, Telling};
use crate::table::Table;

/// Keys of the store.
const KEYS: usize = 100_000;
/// Entries of its log, those of the keys among them.
const EVENTS: usize = 1_000_000;
/// Keys that are overdue for a rotation.
const DUE: usize = 100;
/// How often each page is asked for, after once to warm up.
const LOOKS: usize = 9;
/// The most that the overview and the first page of keys may take, in milliseconds, as the median of the looks.
const FIRST_MS_MAX: f64 = 300.0;
/// The most that any page may weigh, in bytes.
const PAGE_BYTES_MAX: f64 = 200.0 * 1024.0;
/// Far longer than any page takes.
const PAGE_WITHIN: Duration = Duration::from_secs(60);

/// What one page took.
struct Page {
    name: &'static str,
    median_ms: f64,
    worst_ms: f64,
    bytes: usize,
}

/// What all of them took.
pub struct Pages(Vec<Page>);

impl Pages {
    /// For a person.
    pub fn render(&self) -> String {
        let mut table = Table::new(&["page", "median ms", "worst ms", "bytes"]);
        for Page { name, median_ms, worst_ms, bytes } in &self.0 {
            let cells =
                [(*name).to_owned(), format!("{median_ms:.1}"), format!("{worst_ms:.1}"), bytes.to_string()];
            table.row(cells);
        }
        let mut text = format!("Pages of the dashboard, {KEYS} keys, {EVENTS} events\n{}\n", table.render());
        for bar in self.bars() {
            let met = if bar.is_met() == Some(true) { "met" } else { "MISSED" };
            let seen = bar.seen.unwrap_or_default();
            let _ = writeln!(text, "  {met}  {}: {seen:.1}, at most {:.1}", bar.what, bar.bar);
        }
        text
    }

    /// For a program.
    pub fn to_json(&self) -> Value {
        let rows = self.0.iter().map(|page| {
            json!({ "page": page.name, "median_ms": page.median_ms, "worst_ms": page.worst_ms, "bytes": page.bytes })
        });
        json!({ "keys": KEYS, "events": EVENTS, "pages": rows.collect::<Vec<_>>() })
    }

    /// The bars that they are held to.
    pub fn bars(&self) -> Vec<Bar> {
        let at_most =
            |what: String, seen: f64, bar: f64| Bar { what, seen: Some(seen), bar, is_minimum: false };
        let first = self.0.iter().filter(|page| matches!(page.name, "overview" | "keys"));
        let times =
            first.map(|page| at_most(format!("{}, median ms", page.name), page.median_ms, FIRST_MS_MAX));
        let heaviest = self.0.iter().max_by_key(|page| page.bytes);
        let weight = heaviest.map(|page| {
            at_most(format!("bytes of the heaviest page, {}", page.name), page.bytes as f64, PAGE_BYTES_MAX)
        });
        times.chain(weight).collect()
    }
}

/// Loads a stage and looks at its pages.
pub async fn measure(stage: &Stage) -> anyhow::Result<Pages> {
    let root = stage.root_token()?;
    let host = stage.start(Telling::Nothing).await?;
    let application = host.application(&root).await?;
    host.maintain(&root).await?;
    drop(host);
    eprintln!("loading {KEYS} keys and {EVENTS} events");
    let begun = Instant::now();
    let tokens = stage.load(&application, KEYS, DUE, EVENTS - KEYS)?;
    eprintln!("loaded within {} s", begun.elapsed().as_secs());
    let key = std::fs::read_to_string(&tokens)?;
    let key = key.split_whitespace().next().context("the loader minted no key")?;
    let host = stage.start(Telling::Nothing).await?;
    // What is due for so many keys is seen to in steps, and none of that falls into a look.
    let left = |done: Value| done.pointer("/due/minutes_left").and_then(Value::as_i64).unwrap_or_default();
    while left(host.maintain(&root).await?) > 0 {}
    let mut visitor = Visitor::sign_in(&host, &root).await?;
    let paths = [
        ("overview", "/dashboard".to_owned()),
        ("overview, live part", "/dashboard/live".to_owned()),
        ("keys", "/dashboard/keys".to_owned()),
        ("keys, oldest first", "/dashboard/keys?order=oldest".to_owned()),
        ("keys of an application", format!("/dashboard/keys?application={application}")),
        ("keys, overdue", "/dashboard/keys?standing=overdue".to_owned()),
        ("keys by name", "/dashboard/keys?name=bench%2099".to_owned()),
        ("key", format!("/dashboard/keys/{key}")),
        ("key, to revoke", format!("/dashboard/keys/{key}/revoke")),
        ("key, to edit", format!("/dashboard/keys/{key}/edit")),
        ("applications", "/dashboard/applications".to_owned()),
        ("application", format!("/dashboard/applications/{application}")),
        ("events", "/dashboard/events".to_owned()),
        ("events of an action", "/dashboard/events?action=key.change".to_owned()),
        ("events of a key", format!("/dashboard/events?key={key}&application={application}")),
        ("report", "/dashboard/report".to_owned()),
        ("emergency", "/dashboard/emergency".to_owned()),
    ];
    let mut pages = Vec::new();
    for (name, path) in paths {
        pages.push(visitor.look(name, &path).await?);
    }
    Ok(Pages(pages))
}

/// Somebody who is signed in.
struct Visitor {
    connection: Connection,
    cookie: String,
}

impl Visitor {
    async fn sign_in(host: &Host, root: &str) -> anyhow::Result<Self> {
        let mut visitor = Self { connection: Connection::new(host.address), cookie: String::new() };
        let form = visitor.ask("GET /dashboard/sign-in", "").await?;
        let html = String::from_utf8_lossy(&form.body);
        let token = html.split("name=\"form\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let token = token.context("the page to sign in has no token")?;
        visitor.cookie = form.cookies.join("; ");
        let answer = visitor.ask("POST /dashboard/sign-in", &format!("form={token}&key={root}")).await?;
        if answer.status != 303 {
            bail!("signing in answered {}", answer.status);
        }
        visitor.cookie = answer.cookies.join("; ");
        Ok(visitor)
    }

    async fn ask(&mut self, line: &str, form: &str) -> anyhow::Result<Answer> {
        let mut request = format!("{line} HTTP/1.1\r\nHost: bench\r\nSec-Fetch-Site: same-origin\r\n");
        if !self.cookie.is_empty() {
            let _ = write!(request, "Cookie: {}\r\n", self.cookie);
        }
        if !form.is_empty() {
            let length = form.len();
            let _ = write!(
                request,
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n"
            );
        }
        let _ = write!(request, "\r\n{form}");
        Ok(timeout(PAGE_WITHIN, self.connection.exchange(request.as_bytes())).await??)
    }

    async fn look(&mut self, name: &'static str, path: &str) -> anyhow::Result<Page> {
        let mut times_ms = Vec::with_capacity(LOOKS);
        let mut bytes = 0;
        for look in 0..=LOOKS {
            let begun = Instant::now();
            let answer = self.ask(&format!("GET {path}"), "").await?;
            if answer.status != 200 {
                bail!("{path} answered {}", answer.status);
            }
            bytes = answer.body.len();
            if look > 0 {
                times_ms.push(begun.elapsed().as_secs_f64() * 1_000.0);
            }
        }
        times_ms.sort_by(f64::total_cmp);
        let at = |index: usize| times_ms.get(index).copied().unwrap_or_default();
        Ok(Page { name, median_ms: at(LOOKS / 2), worst_ms: at(LOOKS - 1), bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_first_page_or_a_heavy_one_misses_its_bar() {
        let page = |name, median_ms, bytes| Page { name, median_ms, worst_ms: median_ms, bytes };
        let met = |pages: Vec<Page>| Pages(pages).bars().iter().map(|bar| bar.is_met()).collect::<Vec<_>>();
        let good = vec![page("overview", 299.0, 9), page("keys", 10.0, 200 * 1024), page("report", 900.0, 9)];
        assert_eq!(met(good), [Some(true), Some(true), Some(true)]);
        let bad =
            vec![page("overview", 301.0, 9), page("keys", 10.0, 9), page("report", 1.0, 200 * 1024 + 1)];
        assert_eq!(met(bad), [Some(false), Some(true), Some(false)]);
    }
}
