//! Limits: the windows that a moment lies in follow each other without a gap, and a given limit reads back as it was given.
#![no_main]

use arbitrary::Arbitrary;
use keyward_domain::Timestamp;
use keyward_domain::limit::{
    AMOUNT_MAX, GivenLimit, LIMITS_MAX, OnOutage, Period, WINDOW_S_MAX, Window, parse_all,
};
use libfuzzer_sys::fuzz_target;

/// The first moment of the last month of a calendar of four digits, 9999-12-01T00:00:00Z: no month begins after it.
const END_MS: i64 = 253_399_622_400_000;

#[derive(Debug, Clone, Arbitrary)]
struct Given {
    name: [u8; 3],
    limit: u64,
    window_s: Option<u32>,
    per: Option<bool>,
    passes: bool,
}

#[derive(Debug, Arbitrary)]
struct Input {
    given: Vec<Given>,
    now_ms: i64,
    later_ms: u32,
}

impl Given {
    fn limit(&self) -> GivenLimit {
        let alphabet = b"ab0.A ";
        GivenLimit {
            name: self.name.iter().map(|b| char::from(alphabet[usize::from(b % 6)])).collect(),
            limit: self.limit,
            window_s: self.window_s,
            per: self.per.map(|month| if month { Period::Month } else { Period::Day }),
            on_outage: if self.passes { OnOutage::Pass } else { OnOutage::Refuse },
        }
    }
}

fn windows(window: Window, now: Timestamp, later: Timestamp) {
    let span = window.at(now);
    let length_ms = i64::from(span.length_s) * 1000;
    let begins_ms = span.ends_at.unix_ms() - length_ms;
    assert!((begins_ms..span.ends_at.unix_ms()).contains(&now.unix_ms()), "{window:?} {now:?} {span:?}");
    assert!((1..=span.length_s).contains(&span.left_s(now)));
    assert_eq!(window.at(Timestamp::from_unix_ms(begins_ms)), span, "its first moment");
    assert_eq!(window.at(Timestamp::from_unix_ms(span.ends_at.unix_ms() - 1)), span, "its last");
    assert_eq!(window.at(span.ends_at).number, span.number + 1, "the next");
    let then = window.at(later);
    assert_eq!(then.number == span.number, later < span.ends_at, "{window:?} {now:?} {later:?}");
    assert!(then.number >= span.number);
}

fuzz_target!(|input: Input| {
    let now = Timestamp::from_unix_ms(input.now_ms.rem_euclid(END_MS));
    let later = Timestamp::from_unix_ms((now.unix_ms() + i64::from(input.later_ms)).min(END_MS - 1));
    for at in [now, later] {
        assert_eq!(Timestamp::parse(&at.to_string()), Some(at), "a time reads itself");
    }
    let given: Vec<GivenLimit> = input.given.iter().take(LIMITS_MAX + 1).map(Given::limit).collect();
    let fits = |limit: &GivenLimit| {
        limit.name.bytes().all(|b| matches!(b, b'a' | b'b' | b'0' | b'.'))
            && !limit.name.starts_with('.')
            && (1..=AMOUNT_MAX).contains(&limit.limit)
            && (limit.per.is_some() != limit.window_s.is_some_and(|s| (1..=WINDOW_S_MAX).contains(&s)))
            && !(limit.per.is_some() && limit.window_s.is_some())
    };
    let mut names: Vec<&str> = given.iter().map(|limit| limit.name.as_str()).collect();
    names.sort_unstable();
    let told_apart = names.windows(2).all(|two| two[0] != two[1]);
    match parse_all("limits", &given) {
        Ok(limits) => {
            assert!(given.iter().all(fits) && told_apart && given.len() <= LIMITS_MAX);
            assert_eq!(limits.iter().map(GivenLimit::of).collect::<Vec<_>>(), given);
            let mut tags: Vec<u32> = limits.iter().map(|limit| limit.tag()).collect();
            tags.sort_unstable();
            assert!(tags.windows(2).all(|two| two[0] != two[1]), "two limits share a counter");
            for limit in &limits {
                windows(limit.window, now, later);
            }
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            // Names so short never share a checksum, so there is a fault that the model sees.
            assert!(!given.iter().all(fits) || !told_apart || given.len() > LIMITS_MAX, "{errors:?}");
        }
    }
    windows(Window::Day, now, later);
    windows(Window::Month, now, later);
    windows(Window::Seconds(1 + input.later_ms % WINDOW_S_MAX), now, later);
});
