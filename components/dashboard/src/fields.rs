//! Fields of forms, each with its label and what is to be put there, and how what somebody wrote becomes what the API takes. Nothing is
//! judged here: bounds are the API's.

use keyward_crypto::SecretText;
use keyward_domain::limit::{GivenLimit, NotALimit};
use keyward_domain::{Error, FieldError, Result, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Seconds in what people count in.
pub(crate) const HOUR_S: i64 = 3600;
pub(crate) const DAY_S: i64 = 24 * HOUR_S;

/// A line of text.
pub(crate) struct Line<'f> {
    pub(crate) name: &'f str,
    pub(crate) label: &'f str,
    pub(crate) value: &'f str,
    pub(crate) hint: &'f str,
    pub(crate) is_needed: bool,
}

impl Line<'_> {
    pub(crate) fn show(&self) -> Markup {
        let Self { name, label, value, hint, is_needed } = self;
        let hint_id = format!("{name}-hint");
        html! {
            div class="field" {
                label for=(name) { (label) }
                input id=(name) name=(name) value=(value) required[*is_needed] aria-describedby=[(!hint.is_empty()).then_some(&hint_id)];
                @if !hint.is_empty() { p class="hint" id=(hint_id) { (hint) } }
            }
        }
    }
}

/// Several lines of text.
pub(crate) fn lines(name: &str, label: &str, value: &str, hint: &str) -> Markup {
    let hint_id = format!("{name}-hint");
    html! {
        div class="field" {
            label for=(name) { (label) }
            textarea id=(name) name=(name) rows="3" spellcheck="false" aria-describedby=(hint_id) { (value) }
            p class="hint" id=(hint_id) { (hint) }
        }
    }
}

/// How much may be used in which windows of time; `what` says of what.
pub(crate) fn limits(value: &str, what: &str) -> Markup {
    lines(
        "limits",
        "Limits",
        value,
        &format!(
            "{what}, such as burst=100/60s, daily=5000/day or monthly=1000000/month,pass; one in a line. None means as much as it likes."
        ),
    )
}

/// The limits that were written.
pub(crate) fn limits_in(text: &str) -> Result<Vec<GivenLimit>> {
    let mut limits = Vec::new();
    for (index, entry) in text.split_whitespace().enumerate() {
        let told = |_: NotALimit| {
            let expected = "a name, an amount and a window, such as `burst=100/60s` or `daily=5000/day,pass`";
            Error::field(format!("limits[{index}]"), "is no limit", expected)
        };
        limits.push(entry.parse().map_err(told)?);
    }
    Ok(limits)
}

/// One of several.
pub(crate) fn choice(name: &str, label: &str, options: &[(String, String)], chosen: &str) -> Markup {
    html! {
        div class="field" {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                @for (value, told) in options { option value=(value) selected[value == chosen] { (told) } }
            }
        }
    }
}

/// Why.
pub(crate) fn reason(value: &str) -> Markup {
    Line {
        name: "reason",
        label: "Reason",
        value,
        hint: "It stands in the log beside your name.",
        is_needed: true,
    }
    .show()
}

/// What was written in several lines, or with commas between.
pub(crate) fn listed(text: &str) -> Vec<String> {
    text.split([',', '\n', '\r'])
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The same with spaces between as well, for what has none.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|entry| !entry.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A span in seconds, written as a whole number of `unit_s`; none where nothing is written.
pub(crate) fn span_s(field: &str, text: &str, unit_s: i64) -> Result<Option<i64>> {
    if text.is_empty() {
        return Ok(None);
    }
    let whole = text.parse::<u32>().ok().and_then(|count| i64::from(count).checked_mul(unit_s));
    whole.map(Some).ok_or_else(|| FieldError::new(field, "is no whole number", "digits alone").into())
}

/// A moment as browsers write it, taken as UTC, or as RFC 3339.
pub(crate) fn moment(field: &str, text: &str) -> Result<Option<Timestamp>> {
    if text.is_empty() {
        return Ok(None);
    }
    let whole = [text.to_owned(), format!("{text}Z"), format!("{text}:00Z"), format!("{text}T00:00:00Z")];
    let parsed = whole.iter().find_map(|text| Timestamp::parse(text));
    parsed.map(Some).ok_or_else(|| Error::parameter(field, "is no time", "a time such as `2026-01-31T08:00`"))
}

/// The id of what a form created, out of the answer, which may be one of before.
pub(crate) fn created_id<T: DeserializeOwned>(answer: &SecretText) -> Result<T> {
    #[derive(Deserialize)]
    struct Created<T> {
        id: T,
    }
    serde_json::from_str::<Created<T>>(answer.expose())
        .map(|created| created.id)
        .map_err(|_| Error::internal("an answer names no id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_lines_becomes_a_list() {
        assert_eq!(listed(" a b ,\r\nc\n\n"), ["a b", "c"]);
        assert_eq!(words(" a:b  c:d,\r\ne:*"), ["a:b", "c:d", "e:*"]);
        assert!(listed("").is_empty() && words(" \n").is_empty());
    }

    #[test]
    fn spans_and_moments_are_read_or_refused() {
        assert_eq!(span_s("x", "", DAY_S), Ok(None));
        assert_eq!(span_s("x", "90", DAY_S), Ok(Some(7_776_000)));
        assert!(span_s("x", "-1", DAY_S).is_err() && span_s("x", "1.5", DAY_S).is_err());
        let at = Timestamp::parse("2026-01-31T08:00:00Z");
        for text in ["2026-01-31T08:00", "2026-01-31T08:00:00", "2026-01-31T08:00:00Z"] {
            assert_eq!(moment("x", text).ok().flatten(), at, "{text}");
        }
        assert!(moment("x", "2026-01-31").is_ok_and(|at| at.is_some()) && moment("x", "yesterday").is_err());
    }
}
