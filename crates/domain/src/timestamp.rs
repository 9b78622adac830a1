//! Points in time: milliseconds since 1970-01-01 UTC, shown as RFC 3339 in UTC.

use crate::schema::impl_schema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};
use utoipa::openapi::{KnownFormat, ObjectBuilder, SchemaFormat, Type};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970-01-01T00:00:00Z.
    pub const fn from_unix_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub const fn unix_s(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This many seconds later; stays at the end of time instead of overflowing.
    #[must_use]
    pub const fn plus_s(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Parses RFC 3339; `None` where the text is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok().map(Self)
    }

    /// Parses a date as HTTP sends it (RFC 9110 section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`. The two forms before it, which nobody may
    /// send any more, are not read.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(
            text.strip_suffix(" GMT").map(|date| format!("{date} +0000"))?.as_str(),
            &Rfc2822,
        );
        moment.ok().map(|moment| Self(moment.unix_timestamp().saturating_mul(1000)))
    }
}

/// A month of the calendar, in UTC: `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(i32);

impl Month {
    /// The month that a moment lies in.
    pub fn of(at: Timestamp) -> Self {
        match OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000) {
            Ok(t) => Self(t.year() * 12 + i32::from(u8::from(t.month())) - 1),
            Err(_) => Self(9999 * 12 + 11),
        }
    }

    /// The month after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Months since January of the year 0.
    pub fn number(self) -> i64 {
        self.0.into()
    }

    /// Its first moment.
    pub fn begins_at(self) -> Timestamp {
        let month = u8::try_from(self.0.rem_euclid(12) + 1)
            .ok()
            .and_then(|number| time::Month::try_from(number).ok());
        let first =
            month.and_then(|month| time::Date::from_calendar_date(self.0.div_euclid(12), month, 1).ok());
        // Beyond the years that there are nothing ends any more.
        first.map_or(Timestamp(i64::MAX), |first| {
            Timestamp(first.midnight().assume_utc().unix_timestamp().saturating_mul(1000))
        })
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.div_euclid(12), self.0.rem_euclid(12) + 1)
    }
}

impl std::str::FromStr for Month {
    type Err = NotAMonth;
    fn from_str(text: &str) -> Result<Self, NotAMonth> {
        let parse = || {
            let (year, month) = text.split_once('-')?;
            let (year, number) = (year.parse::<u16>().ok()?, month.parse::<u8>().ok()?);
            let month = Self(i32::from(year) * 12 + i32::from(number) - 1);
            ((1..=12).contains(&number) && year <= 9999 && month.to_string() == text).then_some(month)
        };
        parse().ok_or(NotAMonth)
    }
}

crate::schema::impl_schema!(
    Month,
    crate::schema::text("A month of the calendar, in UTC.", "^[0-9]{4}-(0[1-9]|1[0-2])$")
);

/// A text is no month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAMonth;

impl fmt::Display for NotAMonth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a month such as `2026-01`")
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(|error: NotAMonth| serde::de::Error::custom(format!("expected {error}")))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000) {
            Ok(t) => write!(
                f,
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
                t.year(),
                u8::from(t.month()),
                t.day(),
                t.hour(),
                t.minute(),
                t.second(),
                t.millisecond()
            ),
            Err(_) => f.write_str("9999-12-31T23:59:59.999Z"),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected a time of RFC 3339"))
    }
}

impl_schema!(
    Timestamp,
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some("A time of RFC 3339, in UTC, with milliseconds."))
);

/// A timestamp as a plain number of milliseconds, for records on the hot path: `#[serde(with = "timestamp::millis")]`.
pub mod millis {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Timestamp};

    /// Writes the milliseconds.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        at.unix_ms().serialize(serializer)
    }

    /// Reads the milliseconds.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_unix_ms)
    }

    /// The same for a time that may be absent.
    pub mod option {
        use super::{Deserialize, Deserializer, Serialize, Serializer, Timestamp};

        /// Writes the milliseconds or null.
        ///
        /// # Errors
        /// Those of the serializer.
        #[allow(clippy::ref_option, reason = "the signature that serde asks for")]
        pub fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
            at.map(Timestamp::unix_ms).serialize(serializer)
        }

        /// Reads the milliseconds or null.
        ///
        /// # Errors
        /// Those of the deserializer.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            Ok(Option::<i64>::deserialize(deserializer)?.map(Timestamp::from_unix_ms))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months() {
        let month = |text| Month::of(Timestamp::parse(text).unwrap()).to_string();
        assert_eq!(month("2026-11-30T23:59:59.999Z"), "2026-11");
        assert_eq!(month("2026-12-01T00:00:00Z"), "2026-12");
        assert_eq!("2026-12".parse::<Month>().unwrap().next().to_string(), "2027-01");
        for bad in ["2026-13", "2026-00", "2026-1", "26-01", "2026", "2026-01-01", "+026-01"] {
            assert_eq!(bad.parse::<Month>(), Err(NotAMonth), "{bad}");
        }
    }

    #[test]
    fn text_and_back() {
        let at = Timestamp::from_unix_ms(1_795_515_095_042);
        assert_eq!(at.to_string(), "2026-11-24T10:11:35.042Z");
        assert_eq!(Timestamp::parse("2026-11-24T10:11:35.042Z"), Some(at));
        assert_eq!(Timestamp::parse("2026-11-24T11:11:35.042+01:00"), Some(at));
        assert_eq!(Timestamp::parse("yesterday"), None);
        assert_eq!(Timestamp::from_unix_ms(i64::MAX).plus_s(1).unix_ms(), i64::MAX);
    }

    #[test]
    fn a_month_begins_where_the_one_before_it_ends() {
        let (mut month, mut before) = ("1970-01".parse::<Month>().unwrap(), Timestamp::from_unix_ms(-1));
        assert_eq!(month.begins_at(), Timestamp::from_unix_ms(0));
        assert_eq!(month.number(), 1970 * 12);
        for _ in 0..12 * 130 {
            let first = month.begins_at();
            assert_eq!(Month::of(first), month);
            assert_eq!(Month::of(Timestamp::from_unix_ms(first.unix_ms() - 1)), Month::of(before));
            assert_eq!(month.to_string().parse::<Month>(), Ok(month));
            assert_eq!(Month::of(before).next(), month);
            before = first;
            month = month.next();
        }
        assert_eq!(month.to_string(), "2100-01");
        assert_eq!(Month::of(Timestamp::from_unix_ms(i64::MAX)).to_string(), "9999-12", "the last there is");
        assert_eq!("9999-12".parse::<Month>().unwrap().next().begins_at(), Timestamp::from_unix_ms(i64::MAX));
    }

    #[test]
    fn seconds_are_rounded_down_and_added_up_to_the_end_of_time() {
        assert_eq!(Timestamp::from_unix_ms(1_999).unix_s(), 1);
        assert_eq!(Timestamp::from_unix_ms(-1).unix_s(), -1);
        assert_eq!(Timestamp::from_unix_ms(5).plus_s(2).unix_ms(), 2_005);
        assert_eq!(Timestamp::from_unix_ms(5).plus_s(i64::MIN).unix_ms(), i64::MIN + 5);
    }

    #[test]
    fn dates_of_http_are_read_in_the_one_form_that_may_be_sent() {
        let at = Timestamp::parse("1994-11-06T08:49:37Z");
        assert_eq!(Timestamp::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), at);
        for other in [
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "",
        ] {
            assert_eq!(Timestamp::parse_http_date(other), None, "{other}");
        }
    }

    #[test]
    fn milliseconds_are_a_plain_number_in_records() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Held {
            #[serde(with = "millis")]
            at: Timestamp,
            #[serde(with = "millis::option")]
            until: Option<Timestamp>,
        }
        let at = Timestamp::from_unix_ms(7);
        for (held, json) in [
            (Held { at, until: Some(at.plus_s(1)) }, r#"{"at":7,"until":1007}"#),
            (Held { at, until: None }, r#"{"at":7,"until":null}"#),
        ] {
            assert_eq!(serde_json::to_string(&held).unwrap(), json);
            assert_eq!(serde_json::from_str::<Held>(json).unwrap(), held);
        }
    }
}
