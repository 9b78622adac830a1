//! Limits: how much a key, or all keys of an application together, may use of something in a window of time. No I/O: which window a
//! moment lies in, and what there is to say of a limit; what was used is counted in the store.
//!
//! Windows are fixed, and their numbers follow from the wall clock alone, so that every host that has the same time counts in the same
//! one. Clocks that differ by some seconds have their hosts count in neighbouring windows for so long, at every change of windows.

use crate::duration::seconds;
use crate::error::FieldError;
use crate::schema::{impl_schema, text};
use crate::text::is_plain_name;
use crate::timestamp::{Month, Timestamp};
use crate::token::CRC;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// The most limits of one key, and of one application.
pub const LIMITS_MAX: usize = 8;
/// The longest name of a limit, in bytes.
pub const NAME_BYTES_MAX: usize = 32;
/// The largest limit, in units. Small enough that a counter never overflows, whatever is taken beyond it.
pub const AMOUNT_MAX: u64 = 1_000_000_000_000;
/// The longest window that is given in seconds: a day. What is longer is a quota.
pub const WINDOW_S_MAX: u32 = 24 * 3600;
/// What one request may cost at most, in units.
pub const COST_MAX: u32 = 1_000_000;

const DAY_S: i64 = 24 * 3600;

/// A limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// What people and gateways call it; unique among those of its key or application.
    pub name: String,
    /// How many units may be used in one window.
    pub amount: u64,
    /// In which windows.
    pub window: Window,
    /// What becomes of a request while the store of the counters does not answer.
    pub on_outage: OnOutage,
}

/// A window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Window {
    /// So many seconds, counted from 1970.
    Seconds(u32),
    /// A day in UTC.
    Day,
    /// A month of the calendar in UTC.
    Month,
}

/// What becomes of a request while the store of the counters does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = LimitOnOutage)]
pub enum OnOutage {
    /// It is not answered: 503.
    #[default]
    Refuse,
    /// It passes uncounted.
    Pass,
}

/// The period of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = QuotaPeriod)]
pub enum Period {
    /// It is full again at midnight, UTC.
    Day,
    /// It is full again on the first of a month at midnight, UTC.
    Month,
}

/// One window: the one that a moment lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Counts the windows of its kind.
    pub number: i64,
    /// How long it is, in seconds.
    pub length_s: u32,
    /// When the next begins.
    pub ends_at: Timestamp,
}

impl Span {
    /// Whole seconds until the next begins: 1 at least.
    pub fn left_s(&self, now: Timestamp) -> u32 {
        let left_ms = self.ends_at.unix_ms().saturating_sub(now.unix_ms());
        u32::try_from(left_ms.max(0).unsigned_abs().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
    }
}

impl Window {
    /// The window that a moment lies in.
    pub fn at(self, now: Timestamp) -> Span {
        let of_seconds = |length_s: i64| {
            let number = now.unix_s().div_euclid(length_s);
            let ends_at = Timestamp::from_unix_ms(0).plus_s((number + 1).saturating_mul(length_s));
            Span { number, length_s: u32::try_from(length_s).unwrap_or(u32::MAX), ends_at }
        };
        match self {
            Self::Seconds(length_s) => of_seconds(i64::from(length_s.max(1))),
            Self::Day => of_seconds(DAY_S),
            Self::Month => {
                let month = Month::of(now);
                let (begins_at, ends_at) = (month.begins_at(), month.next().begins_at());
                let length_s = ends_at.unix_s().saturating_sub(begins_at.unix_s());
                Span {
                    number: month.number(),
                    length_s: u32::try_from(length_s).unwrap_or(u32::MAX),
                    ends_at,
                }
            }
        }
    }

    /// Whether it is one of a quota: what is used up then is told apart from what was only too fast.
    pub const fn is_quota(self) -> bool {
        matches!(self, Self::Day | Self::Month)
    }

    /// A number that tells windows of different kinds apart.
    const fn code(self) -> u32 {
        match self {
            Self::Seconds(length_s) => length_s,
            Self::Day => u32::MAX,
            Self::Month => u32::MAX - 1,
        }
    }
}

impl Limit {
    /// What tells its counters from those of its holder's other limits: it follows from name and window, so that another amount
    /// goes on counting, and another window begins anew.
    pub fn tag(&self) -> u32 {
        let mut digest = CRC.digest();
        digest.update(self.name.as_bytes());
        digest.update(&self.window.code().to_be_bytes());
        digest.finalize()
    }

    /// What an event says of it: `limit burst 1000 per 60 s`.
    pub fn fact(&self) -> String {
        let per = match self.window {
            Window::Seconds(length_s) => format!("{length_s} s"),
            Window::Day => "day".to_owned(),
            Window::Month => "month".to_owned(),
        };
        let outage = if self.on_outage == OnOutage::Pass { ", passes on outage" } else { "" };
        format!("limit {} {} per {per}{outage}", self.name, self.amount)
    }
}

/// A limit's name, in the API's document.
pub enum LimitName {}

impl_schema!(
    LimitName,
    text("What a limit is called, such as `burst`.", "^[a-z0-9][a-z0-9._-]*$")
        .min_length(Some(1))
        .max_length(Some(NAME_BYTES_MAX))
);

/// A limit as people give it and see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Limit)]
pub struct GivenLimit {
    /// What it is called; unique among those of its key or application.
    #[schema(value_type = LimitName)]
    pub name: String,
    /// How many units may be used in one window. A request costs one, unless it says otherwise.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_i64)]
    pub limit: u64,
    /// How long a window is, in seconds; or else `per`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86_400)]
    pub window_s: Option<u32>,
    /// That it is a quota, and of which period; or else `window_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Period>,
    /// What becomes of a request while the store of the counters does not answer.
    #[serde(default)]
    pub on_outage: OnOutage,
}

impl GivenLimit {
    /// As people see it.
    pub fn of(limit: &Limit) -> Self {
        let (window_s, per) = match limit.window {
            Window::Seconds(length_s) => (Some(length_s), None),
            Window::Day => (None, Some(Period::Day)),
            Window::Month => (None, Some(Period::Month)),
        };
        Self { name: limit.name.clone(), limit: limit.amount, window_s, per, on_outage: limit.on_outage }
    }

    fn check(&self, field: &str) -> Result<Limit, Vec<FieldError>> {
        let mut errors = Vec::new();
        if !is_plain_name(&self.name, NAME_BYTES_MAX) {
            errors.push(FieldError::new(
                format!("{field}.name"),
                "is no limit's name",
                "1 to 32 of `[a-z0-9._-]`, a letter or digit first",
            ));
        }
        if !(1..=AMOUNT_MAX).contains(&self.limit) {
            errors.push(FieldError::new(
                format!("{field}.limit"),
                "is out of range",
                "1 to 1000000000000 units",
            ));
        }
        let window = match (self.window_s, self.per) {
            (Some(length_s), None) if (1..=WINDOW_S_MAX).contains(&length_s) => {
                Some(Window::Seconds(length_s))
            }
            (None, Some(Period::Day)) => Some(Window::Day),
            (None, Some(Period::Month)) => Some(Window::Month),
            (Some(_), None) => {
                let (what, expected) =
                    ("is out of range", "1 to 86400 seconds; a longer limit is a quota, with `per`");
                errors.push(FieldError::new(format!("{field}.window_s"), what, expected));
                None
            }
            _ => {
                let expected = "one of `window_s`, in seconds, and `per`: `day` or `month`";
                errors.push(FieldError::new(field, "has no window of time, or two", expected));
                None
            }
        };
        match window {
            Some(window) if errors.is_empty() => {
                Ok(Limit { name: self.name.clone(), amount: self.limit, window, on_outage: self.on_outage })
            }
            _ => Err(errors),
        }
    }
}

/// What ends a limit's text whose requests pass while its counters' store does not answer.
const PASS: &str = ",pass";

/// A text that is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotALimit;

impl fmt::Display for NotALimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "is no limit; expected a name, an amount and a window, such as `burst=1000/60s`, `daily=5/day` or `monthly=1000000/month,pass`",
        )
    }
}

/// As people write it in one line: `burst=1000/60s`, `daily=5/day`, `monthly=1000000/month`, each with `,pass` at the end or not.
impl FromStr for GivenLimit {
    type Err = NotALimit;

    fn from_str(text: &str) -> Result<Self, NotALimit> {
        let (rest, on_outage) = match text.strip_suffix(PASS) {
            Some(rest) => (rest, OnOutage::Pass),
            None => (text, OnOutage::Refuse),
        };
        let (name, rest) = rest.split_once('=').ok_or(NotALimit)?;
        let (amount, window) = rest.split_once('/').ok_or(NotALimit)?;
        let amount = amount.parse().map_err(|_| NotALimit)?;
        let (window_s, per) = match window {
            "day" => (None, Some(Period::Day)),
            "month" => (None, Some(Period::Month)),
            window => {
                let length_s = seconds(window).and_then(|length_s| u32::try_from(length_s).ok());
                (Some(length_s.ok_or(NotALimit)?), None)
            }
        };
        Ok(Self { name: name.to_owned(), limit: amount, window_s, per, on_outage })
    }
}

/// The same line.
impl fmt::Display for GivenLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}/", self.name, self.limit)?;
        match (self.per, self.window_s) {
            (Some(Period::Day), _) => f.write_str("day")?,
            (Some(Period::Month), _) => f.write_str("month")?,
            (None, length_s) => write!(f, "{}s", length_s.unwrap_or_default())?,
        }
        f.write_str(if self.on_outage == OnOutage::Pass { PASS } else { "" })
    }
}

/// The limits of a request's `field`, in the order given.
///
/// # Errors
/// [`FieldError`]s for those that are none or whose name stands twice, or one for too many of them.
pub fn parse_all(field: &str, given: &[GivenLimit]) -> Result<Vec<Limit>, Vec<FieldError>> {
    if given.len() > LIMITS_MAX {
        return Err(vec![FieldError::new(field, format!("has {} entries", given.len()), "at most 8 limits")]);
    }
    let (mut limits, mut errors) = (Vec::<Limit>::with_capacity(given.len()), Vec::new());
    for (index, given) in given.iter().enumerate() {
        let field = format!("{field}[{index}]");
        match given.check(&field) {
            Ok(limit)
                if limits.iter().any(|other| other.name == limit.name || other.tag() == limit.tag()) =>
            {
                // Two names whose checksums are the same would share a counter.
                errors.push(FieldError::new(format!("{field}.name"), "is taken", "another name"));
            }
            Ok(limit) => limits.push(limit),
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() { Ok(limits) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &str, limit: u64, window_s: Option<u32>, per: Option<Period>) -> GivenLimit {
        GivenLimit { name: name.to_owned(), limit, window_s, per, on_outage: OnOutage::Refuse }
    }

    #[test]
    fn windows_follow_the_clock() {
        let now = Timestamp::parse("2028-02-29T23:59:30.500Z").unwrap();
        for (window, length_s, ends_at, left_s) in [
            (Window::Seconds(60), 60, "2028-03-01T00:00:00Z", 30),
            (Window::Seconds(3600), 3600, "2028-03-01T00:00:00Z", 30),
            (Window::Day, 86_400, "2028-03-01T00:00:00Z", 30),
            (Window::Month, 29 * 86_400, "2028-03-01T00:00:00Z", 30),
        ] {
            let span = window.at(now);
            assert_eq!(
                (span.length_s, span.ends_at),
                (length_s, Timestamp::parse(ends_at).unwrap()),
                "{window:?}"
            );
            assert_eq!(span.left_s(now), left_s, "{window:?}");
            let next = window.at(span.ends_at);
            assert_eq!(next.number, span.number + 1, "{window:?}");
            assert_eq!(window.at(Timestamp::from_unix_ms(span.ends_at.unix_ms() - 1)), span, "{window:?}");
        }
        let december = Window::Month.at(Timestamp::parse("2026-12-24T18:00:00Z").unwrap());
        assert_eq!(december.ends_at, Timestamp::parse("2027-01-01T00:00:00Z").unwrap());
    }

    #[test]
    fn another_amount_goes_on_counting_and_another_window_begins_anew() {
        let parse = |given| parse_all("limits", &[given]).unwrap().remove(0);
        let limit = parse(given("burst", 10, Some(60), None));
        assert_eq!(parse(given("burst", 20, Some(60), None)).tag(), limit.tag());
        for other in [
            given("burst", 10, Some(61), None),
            given("bursts", 10, Some(60), None),
            given("burst", 10, None, Some(Period::Day)),
        ] {
            assert_ne!(parse(other).tag(), limit.tag());
        }
        assert_eq!(GivenLimit::of(&limit), given("burst", 10, Some(60), None));
        assert_eq!(limit.fact(), "limit burst 10 per 60 s");
    }

    #[test]
    fn a_line_is_read_as_it_is_written() {
        for text in ["burst=1000/60s", "daily=5/day", "monthly=1000000/month,pass", "a=1/1s,pass"] {
            assert_eq!(text.parse::<GivenLimit>().map(|limit| limit.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("hourly=7/1h".parse::<GivenLimit>(), Ok(given("hourly", 7, Some(3600), None)));
        for text in [
            "",
            "burst",
            "burst=1000",
            "burst=x/60s",
            "burst=-1/60s",
            "burst=1/60",
            "burst=1/week",
            "a=1/1s,drop",
        ] {
            assert_eq!(text.parse::<GivenLimit>(), Err(NotALimit), "{text}");
        }
    }

    #[test]
    fn what_is_no_limit_is_told() {
        for (bad, field) in [
            (given("", 1, Some(1), None), "limits[0].name"),
            (given("Burst", 1, Some(1), None), "limits[0].name"),
            (given("a", 0, Some(1), None), "limits[0].limit"),
            (given("a", AMOUNT_MAX + 1, Some(1), None), "limits[0].limit"),
            (given("a", 1, Some(0), None), "limits[0].window_s"),
            (given("a", 1, Some(86_401), None), "limits[0].window_s"),
            (given("a", 1, None, None), "limits[0]"),
            (given("a", 1, Some(1), Some(Period::Day)), "limits[0]"),
        ] {
            let errors = parse_all("limits", std::slice::from_ref(&bad)).unwrap_err();
            assert_eq!(errors.first().map(|error| error.field.as_str()), Some(field), "{bad:?}");
        }
        let twice = [given("a", 1, Some(1), None), given("a", 2, Some(2), None)];
        assert_eq!(parse_all("limits", &twice).unwrap_err()[0].field, "limits[1].name");
        let many: Vec<GivenLimit> = (0..9).map(|n| given(&format!("l{n}"), 1, Some(1), None)).collect();
        assert_eq!(parse_all("limits", &many).unwrap_err()[0].field, "limits");
    }

    #[test]
    fn as_many_limits_as_are_said_are_taken() {
        let most: Vec<GivenLimit> =
            (0..LIMITS_MAX).map(|n| given(&format!("l{n}"), AMOUNT_MAX, Some(WINDOW_S_MAX), None)).collect();
        assert_eq!(parse_all("limits", &most).unwrap().len(), 8);
    }

    #[test]
    fn quotas_are_told_apart_from_windows_of_seconds_and_from_each_other() {
        let parse = |given| parse_all("limits", &[given]).unwrap().remove(0);
        let limits = [
            (given("a", 9, Some(86_400), None), false, "limit a 9 per 86400 s"),
            (given("a", 9, None, Some(Period::Day)), true, "limit a 9 per day"),
            (given("a", 9, None, Some(Period::Month)), true, "limit a 9 per month"),
        ];
        let mut tags = Vec::new();
        for (given, is_quota, fact) in limits {
            let limit = parse(given.clone());
            assert_eq!((limit.window.is_quota(), limit.fact().as_str()), (is_quota, fact));
            assert_eq!(GivenLimit::of(&limit), given);
            tags.push(limit.tag());
            let passes = Limit { on_outage: OnOutage::Pass, ..limit };
            assert_eq!(passes.fact(), format!("{fact}, passes on outage"));
        }
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), 3, "no two share a counter");
    }
}
