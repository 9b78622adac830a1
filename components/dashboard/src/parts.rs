//! What pages are put together of: times, badges, names, bars, tables' ends. Everything that somebody wrote goes through here or through
//! the template, which escapes it; names are isolated, so that a mark that turns the direction of text turns no more than its own.

use crate::words;
use keyward_domain::Timestamp;
use keyward_domain::rotation::Phase;
use keyward_domain::standing::{Standing, State};
use keyward_service::{KeyView, VersionState};
use maud::{Markup, html};
use std::fmt::Display;

/// How something is to be taken. Never told by the colour alone: a badge has its word and its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Info,
    Warn,
    Bad,
    Quiet,
}

impl Tone {
    const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }
}

/// What stands before a badge's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Disc,
    Ring,
    Half,
    Diamond,
    Triangle,
    Square,
    Cross,
}

impl Shape {
    /// Its outline in a field of 12 by 12.
    const fn path(self) -> &'static str {
        match self {
            Self::Disc => "M6 1a5 5 0 1 1 0 10A5 5 0 1 1 6 1z",
            Self::Ring => "M6 1a5 5 0 1 1 0 10A5 5 0 1 1 6 1zm0 2a3 3 0 1 0 0 6 3 3 0 1 0 0-6z",
            Self::Half => "M6 1a5 5 0 1 1 0 10A5 5 0 1 1 6 1zm0 2v6a3 3 0 1 0 0-6z",
            Self::Diamond => "M6 0l6 6-6 6-6-6z",
            Self::Triangle => "M6 1l6 10.4H0z",
            Self::Square => "M1.5 1.5h9v9h-9z",
            Self::Cross => {
                "M2.2.8L6 4.6 9.8.8l1.4 1.4L7.4 6l3.8 3.8-1.4 1.4L6 7.4l-3.8 3.8L.8 9.8 4.6 6 .8 2.2z"
            }
        }
    }
}

/// A word with a shape and a colour.
pub(crate) fn badge(tone: Tone, shape: Shape, word: &str) -> Markup {
    html! {
        span class={ "badge " (tone.class()) } {
            svg viewBox="0 0 12 12" width="10" height="10" aria-hidden="true" focusable="false" {
                path fill-rule="evenodd" d=(shape.path()) {}
            }
            (word)
        }
    }
}

/// A time as seen from now, with all of it where one points.
pub(crate) fn when(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) title=(words::utc(at)) { (words::relative(at, now)) } }
}

/// An hour as seen from now, which is all that is known of when a key was used last.
pub(crate) fn when_by_the_hour(hour: Timestamp, now: Timestamp) -> Markup {
    let told = if now < hour.plus_s(3600) { "this hour".to_owned() } else { words::relative(hour, now) };
    html! { time datetime=(hour) title={ "in the hour from " (words::utc(hour)) } { (told) } }
}

/// The same with all of it to be read.
pub(crate) fn when_in_full(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) { (words::utc(at)) } " " span class="soft" { "(" (words::relative(at, now)) ")" } }
}

/// A name, or whatever somebody wrote.
pub(crate) fn name(text: &str) -> Markup {
    html! { bdi { (text) } }
}

/// An id or a digest.
pub(crate) fn code(text: impl Display) -> Markup {
    html! { code { (text.to_string()) } }
}

/// An id that a button copies, where scripts run.
pub(crate) fn copied(text: impl Display) -> Markup {
    let text = text.to_string();
    html! { code { (text) } " " button type="button" class="copy" data-copy=(text) hidden { "Copy" } }
}

/// What stands where there is nothing to show.
pub(crate) fn empty(title: &str, body: Markup) -> Markup {
    html! { div class="empty" { p class="empty-title" { (title) } p { (body) } } }
}

/// What is left out, and which scope would show it.
pub(crate) fn needs(scope: &str) -> Markup {
    html! { p class="needs" { "Not shown: this key does not hold " code { (scope) } "." } }
}

/// The way from one page of a list to the next. Lists are followed by cursors, so there is a next page and a first one.
pub(crate) fn pager(path: &str, query: &[(&str, &str)], is_first: bool, next: Option<&str>) -> Markup {
    if is_first && next.is_none() {
        return html! {};
    }
    html! {
        nav class="pager" aria-label="Pages" {
            @if !is_first { a href=(target(path, query)) { "First page" } }
            @if let Some(next) = next {
                @let query = query.iter().copied().chain([("cursor", next)]).collect::<Vec<_>>();
                a rel="next" href=(target(path, &query)) { "Next page" }
            }
        }
    }
}

/// A path with a query; what is empty is left out.
pub(crate) fn target(path: &str, query: &[(&str, &str)]) -> String {
    let mut target = path.to_owned();
    for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(name);
        target.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    target.push(char::from(byte))
                }
                _ => target.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    target
}

/// How keys stand, as a badge.
pub(crate) fn standing_badge(standing: Standing) -> Markup {
    match standing {
        Standing::Unclaimed => badge(Tone::Info, Shape::Ring, "Not claimed"),
        Standing::Active => badge(Tone::Good, Shape::Disc, "Active"),
        Standing::Rotating => badge(Tone::Info, Shape::Half, "Rotating"),
        Standing::Expiring => badge(Tone::Warn, Shape::Diamond, "Expiring"),
        Standing::Overdue => badge(Tone::Bad, Shape::Triangle, "Overdue"),
        Standing::Disabled => badge(Tone::Warn, Shape::Square, "Disabled"),
        Standing::Expired => badge(Tone::Quiet, Shape::Cross, "Expired"),
        Standing::Revoked => badge(Tone::Quiet, Shape::Cross, "Revoked"),
    }
}

/// How a key stands, in as many badges as it takes.
pub(crate) fn standing(key: &KeyView, now: Timestamp) -> Markup {
    let is_due = key.state == State::Active && key.due_at.is_some_and(|due| due <= now);
    html! {
        (standing_badge(key.standing))
        @if matches!(key.state, State::Active | State::Disabled) {
            @match key.rotation.state {
                Phase::Stable => {}
                Phase::Offered => { " " (badge(Tone::Info, Shape::Half, "Successor offered")) }
                Phase::Overlapping => { " " (badge(Tone::Info, Shape::Half, "Two versions")) }
            }
        }
        @if is_due && key.standing != Standing::Overdue { " " (badge(Tone::Warn, Shape::Diamond, "Rotation due")) }
    }
}

/// How a version stands.
pub(crate) fn version_standing(state: VersionState) -> Markup {
    match state {
        VersionState::Live => badge(Tone::Good, Shape::Disc, "Passes"),
        VersionState::Retiring => badge(Tone::Warn, Shape::Half, "Ends soon"),
        VersionState::Retired => badge(Tone::Quiet, Shape::Cross, "Ended"),
        VersionState::Revoked => badge(Tone::Quiet, Shape::Cross, "Revoked"),
    }
}

/// How much of a span is over, as a bar with its words.
pub(crate) fn bar(done: i64, whole: i64, words: &str) -> Markup {
    let whole = whole.max(1);
    let percent = done.clamp(0, whole).saturating_mul(100) / whole;
    let class = if done >= whole {
        "bar bad"
    } else if percent >= 80 {
        "bar warn"
    } else {
        "bar"
    };
    html! {
        span class=(class) {
            svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
                rect class="track" width="100" height="6" {}
                rect class="fill" width=(percent) height="6" {}
            }
            span { (words) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_wrote_is_text() {
        let shown = name("<img src=x onerror=alert(1)>\u{202e}\r\n\"'&").into_string();
        assert!(shown.starts_with("<bdi>&lt;img src=x") && shown.ends_with("&quot;'&amp;</bdi>"), "{shown}");
        assert_eq!(target("/a", &[("q", "a b&c=<é"), ("none", "")]), "/a?q=a%20b%26c%3D%3C%C3%A9");
    }

    #[test]
    fn a_bar_stays_within_its_frame() {
        for (done, whole, width) in
            [(0, 10, "0"), (5, 10, "50"), (20, 10, "100"), (-5, 10, "0"), (5, 0, "100")]
        {
            let shown = bar(done, whole, "").into_string();
            assert!(shown.contains(&format!("class=\"fill\" width=\"{width}\"")), "{shown}");
        }
    }
}
