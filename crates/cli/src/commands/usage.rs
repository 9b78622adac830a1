//! `keyward key usage`: how often a key was used, a line and a bar for each hour or day.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Run;
use crate::arguments::KeyUsage;
use crate::client::Call;
use crate::failure::{Ending, Result};
use crate::table::{Card, Cell, Table};
use crate::terminal::Tone;

/// How wide the longest bar is, in columns.
const BAR_COLUMNS: u64 = 24;
/// What passes is counted under this name.
const VALID: &str = "VALID";

#[derive(Deserialize)]
struct Usage {
    by: String,
    from: String,
    to: String,
    as_of: Option<String>,
    last_used_at: Option<String>,
    outcomes: Outcomes,
    addresses: u64,
    versions: Vec<Version>,
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Version {
    version: u16,
    outcomes: Outcomes,
    last_used_at: Option<String>,
}

#[derive(Deserialize)]
struct Bucket {
    at: String,
    outcomes: Outcomes,
    addresses: u64,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Outcomes(BTreeMap<String, u64>);

impl Outcomes {
    fn passed(&self) -> u64 {
        self.0.get(VALID).copied().unwrap_or_default()
    }

    fn all(&self) -> u64 {
        self.0.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn refused(&self) -> u64 {
        self.all().saturating_sub(self.passed())
    }

    /// What was refused, by code.
    fn why(&self) -> Option<String> {
        let refused = self.0.iter().filter(|(name, _)| *name != VALID);
        let words: Vec<String> = refused.map(|(name, count)| format!("{name} {count}")).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

impl Run<'_> {
    pub(super) fn show_key_usage(&self, options: &KeyUsage) -> Result<Ending> {
        let call = Call::get(format!("/v1/keys/{}/usage", options.id))
            .query("from", options.from.as_deref())
            .query("to", options.to.as_deref())
            .query("by", options.by.map(|by| by.as_str()));
        let answer = self.client()?.call(&call)?;
        self.show(&answer, || {
            let usage: Usage = answer.read()?;
            let styles = self.terminal.styles();
            Ok([card(&usage).render(styles), series(&usage).render(styles)].join("\n"))
        })
    }
}

fn card(usage: &Usage) -> Card {
    let mut card = Card::new()
        .field("from", Cell::new(&usage.from))
        .field("to", Cell::new(&usage.to))
        .field("as of", Cell::or_dash(usage.as_of.as_deref()))
        .field("last used", Cell::or_dash(usage.last_used_at.as_deref()))
        .field("passed", Cell::new(usage.outcomes.passed().to_string()))
        .field("refused", refusals(&usage.outcomes))
        .field("addresses", Cell::new(format!("about {}", usage.addresses)));
    for version in &usage.versions {
        let last = version.last_used_at.as_deref().unwrap_or("-");
        let text = format!(
            "{} passed, {} refused, last used {last}",
            version.outcomes.passed(),
            version.outcomes.refused()
        );
        card = card.field(&format!("version {}", version.version), Cell::new(text));
    }
    card
}

fn series(usage: &Usage) -> Table {
    let heading = if usage.by == "day" { "DAY" } else { "HOUR" };
    let mut table = Table::new(&[heading, "PASSED", "REFUSED", "ADDRESSES", "REQUESTS"]);
    let most = usage.buckets.iter().map(|bucket| bucket.outcomes.all()).max().unwrap_or_default();
    for bucket in &usage.buckets {
        table.row([
            Cell::new(&bucket.at),
            Cell::new(bucket.outcomes.passed().to_string()),
            refusals(&bucket.outcomes),
            Cell::new(bucket.addresses.to_string()),
            Cell::new(bar(bucket.outcomes.all(), most)),
        ]);
    }
    table
}

fn refusals(outcomes: &Outcomes) -> Cell {
    match outcomes.why() {
        None => Cell::new("0"),
        Some(why) => Cell::toned(format!("{} ({why})", outcomes.refused()), Tone::Warning),
    }
}

/// A bar as long as `count` is of `most`, to an eighth of a column; whatever is not nothing shows.
fn bar(count: u64, most: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = u128::from(count) * u128::from(8 * BAR_COLUMNS) / u128::from(most.max(1));
    let eighths = usize::try_from(eighths).unwrap_or_default().max(usize::from(count > 0));
    let mut bar = "█".repeat(eighths / 8);
    bar.push_str(EIGHTHS.get(eighths % 8).copied().unwrap_or_default());
    bar
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn bars_are_in_proportion_and_what_there_was_shows() {
        assert_eq!(bar(0, 0), "");
        assert_eq!(bar(0, 9), "");
        assert_eq!(bar(1, u64::MAX), "▏");
        assert_eq!(bar(u64::MAX, u64::MAX), "█".repeat(24));
        assert_eq!(bar(1, 48), "▌");
        assert_eq!(bar(3, 48), "█▌");
    }
}
