//! What is due for a key, and when: its successor's offer, warnings, the end of its life. It follows from the key and the terms of its
//! policy; whoever sees to it notes until when it did, so that nothing is done twice.

use crate::event::Event;
use crate::key::Key;
use crate::policy::Terms;
use crate::rotation::Phase;
use crate::standing::{Standing, stands};
use crate::timestamp::Timestamp;

/// How long before its end the end of a key or a credential is told, in seconds: a week and a day.
pub(crate) const EXPIRING_S: [i64; 2] = [7 * DAY_S, DAY_S];
/// How long before its end a successor that nobody claimed is told, in seconds: three days and one.
const UNCLAIMED_S: [i64; 2] = [3 * DAY_S, DAY_S];
/// How long what is stored of the secrets of a dead key is kept, in seconds: for as long its holder is told why it does not pass.
pub const FORGOTTEN_AFTER_S: i64 = 30 * DAY_S;

const DAY_S: i64 = 24 * 3600;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// A successor is offered.
    Offer,
    /// It is told that nobody has claimed the successor.
    TellUnclaimed,
    /// It is told that the key is about to end.
    TellExpiring,
    /// It is told that the key has ended.
    TellExpired,
    /// It is told that the key was not rotated in time, and its policy's word is kept.
    Breach,
    /// It is told that the key has not been used for long.
    TellIdle,
    /// It is told how the key stands, where that changed by time alone or is not on record.
    TellStanding,
    /// What is stored of its secrets is given up.
    Forget,
}

impl Duty {
    /// Everything that is to be done for a living key, by time; those of the past included.
    pub fn all(key: &Key, terms: &Terms) -> Vec<(Timestamp, Self)> {
        let mut duties = Vec::new();
        let late = terms.late_at(key);
        let too_old = terms.too_old_at(key);
        match (&key.rotation.offer, terms.due_at(key)) {
            (None, Some(due_at)) => {
                // One overlap after the other.
                duties
                    .push((key.rotation.overlap_ends_at.map_or(due_at, |end| end.max(due_at)), Self::Offer));
            }
            (Some(offer), _) => {
                let end = key.expires_at.into_iter().chain(late).min();
                let told = end.iter().flat_map(|end| UNCLAIMED_S.map(|before_s| end.plus_s(-before_s)));
                duties.extend(told.filter(|at| *at > offer.at).map(|at| (at, Self::TellUnclaimed)));
            }
            (None, None) => {}
        }
        duties.extend(late.into_iter().chain(too_old).map(|at| (at, Self::Breach)));
        if let Some(end) = key.expires_at {
            duties.extend(key.end_warnings().map(|at| (at, Self::TellExpiring)));
            duties.push((end, Self::TellExpired));
            duties.push((end.plus_s(FORGOTTEN_AFTER_S), Self::Forget));
            // What is only of use to a living key is not done for a dead one.
            duties.retain(|(at, duty)| *at < end || matches!(duty, Self::TellExpired | Self::Forget));
        }
        duties.sort_by_key(|(at, _)| *at);
        duties
    }

    /// What is due at `now` and was not seen to. A warning that a later one has overtaken is passed over.
    pub fn due(key: &Key, terms: &Terms, now: Timestamp) -> Vec<Self> {
        let mut due: Vec<Self> = Vec::new();
        for (_, duty) in
            Self::all(key, terms).into_iter().filter(|(at, _)| *at <= now && !key.was_seen_to(*at))
        {
            due.retain(|earlier| *earlier != duty);
            due.push(duty);
        }
        due
    }

    /// Whether it is to be told at `now` that a living key has not been used for long. It stands apart, since its use is not in its
    /// record, and no event says when it is due.
    pub fn is_idle(key: &Key, terms: &Terms, last_used: Option<Timestamp>, now: Timestamp) -> bool {
        let Some((after_s, newest)) = terms.idle_after_s.zip(key.newest()) else { return false };
        let since = last_used.map_or(newest.claimed_at, |used| used.max(newest.claimed_at));
        let at = since.plus_s(i64::from(after_s));
        at <= now && !key.expired(now) && !key.was_seen_to(at)
    }

    /// When something is due next that was not seen to, the end of an overlap included: then the key stands otherwise.
    pub fn next(key: &Key, terms: &Terms, now: Timestamp) -> Option<Timestamp> {
        let duty = Self::all(key, terms).into_iter().map(|(at, _)| at).find(|at| !key.was_seen_to(*at));
        let overlap = key.rotation.overlap_ends_at.filter(|_| key.phase(now) == Phase::Overlapping);
        duty.into_iter().chain(overlap).min()
    }
}

impl Key {
    /// When its end is told before it comes, earliest first.
    fn end_warnings(&self) -> impl Iterator<Item = Timestamp> {
        let all =
            self.expires_at.into_iter().flat_map(|end| EXPIRING_S.map(|before_s| end.plus_s(-before_s)));
        all.filter(|at| *at > self.created_at)
    }

    /// When its end is told for the first time; none for a key without end, or one that was issued for a day or less.
    pub fn end_warned_at(&self) -> Option<Timestamp> {
        self.end_warnings().next()
    }

    /// Whether what is due at `at` was seen to.
    fn was_seen_to(&self, at: Timestamp) -> bool {
        self.rotation.looked_at.is_some_and(|until| at <= until)
    }
}

impl Terms {
    /// When a key breaks them: a grace after its successor was due. `None` where it is never due.
    pub fn late_at(&self, key: &Key) -> Option<Timestamp> {
        Some(self.due_at(key)?.plus_s(i64::from(self.grace_s)))
    }

    /// When a key breaks them by its age: it was issued for longer than they allow. `None` where it ends before.
    pub fn too_old_at(&self, key: &Key) -> Option<Timestamp> {
        let end = key.created_at.plus_s(i64::from(self.lifetime_s_max?));
        key.expires_at.is_none_or(|expires_at| expires_at > end).then_some(end)
    }

    /// Whether a key breaks them at `now`.
    pub fn are_broken_by(&self, key: &Key, now: Timestamp) -> bool {
        self.late_at(key).into_iter().chain(self.too_old_at(key)).any(|at| now >= at)
    }
}

/// What the event of a living key's change says: how the key stands after it, and when it is due for something next.
pub fn outlook(key: &Key, terms: &Terms, now: Timestamp) -> impl Iterator<Item = String> {
    let standing = Standing::of(key, terms, false, now);
    std::iter::once(stands(standing, key)).chain(Duty::next(key, terms, now).map(due_at))
}

/// How an event's detail says when its key or credential is due for something next.
const DUE: &str = "due ";

/// What the detail of an event says of the time at which its key or credential is due for something next.
pub fn due_at(at: Timestamp) -> String {
    format!("{DUE}{at}")
}

impl Event {
    /// When its key or credential is due for something next, as far as the event says so.
    pub fn due(&self) -> Option<Timestamp> {
        self.detail.iter().filter_map(|fact| fact.strip_prefix(DUE)).find_map(Timestamp::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::Mode;
    use crate::rotation::tests::{NOW, key, minted};

    const POLICY: Terms =
        Terms { rotate_every_s: Some(100 * 86_400), grace_s: 10 * 86_400, ..Terms::DEFAULT };

    fn days(days: i64) -> Timestamp {
        NOW.plus_s(days * DAY_S)
    }

    #[test]
    fn a_key_is_due_by_its_policy() {
        let mut key = key(None);
        assert_eq!(Duty::all(&key, &POLICY), [], "nobody holds it yet");
        key.succeed(minted(1, 0));
        assert_eq!(Duty::all(&key, &POLICY), [(days(100), Duty::Offer), (days(110), Duty::Breach)]);
        assert_eq!(Duty::next(&key, &POLICY, NOW), Some(days(100)));
        assert_eq!(Duty::due(&key, &POLICY, days(99)), []);
        assert_eq!(Duty::due(&key, &POLICY, days(100)), [Duty::Offer]);

        key.offer_successor(Mode::Scheduled, 60, days(100));
        key.rotation.looked_at = Some(days(100));
        let expected =
            [(days(107), Duty::TellUnclaimed), (days(109), Duty::TellUnclaimed), (days(110), Duty::Breach)];
        assert_eq!(Duty::all(&key, &POLICY), expected);
        assert_eq!(Duty::due(&key, &POLICY, days(111)), [Duty::TellUnclaimed, Duty::Breach], "once");
        key.rotation.looked_at = Some(days(111));
        assert_eq!(Duty::next(&key, &POLICY, NOW), None);
        let never = Terms { rotate_every_s: None, ..POLICY };
        assert_eq!(Duty::all(&key, &never), []);
    }

    #[test]
    fn what_ends_is_told_before_and_forgotten_after() {
        let mut key = key(Some(50 * DAY_S));
        key.succeed(minted(1, 0));
        let expected = [
            (days(43), Duty::TellExpiring),
            (days(49), Duty::TellExpiring),
            (days(50), Duty::TellExpired),
            (days(80), Duty::Forget),
        ];
        assert_eq!(Duty::all(&key, &POLICY), expected, "it ends before its successor is due");
        let short = Terms { rotate_every_s: Some(300), ..POLICY };
        assert_eq!(
            Duty::due(&key, &short, days(90)),
            [Duty::Offer, Duty::Breach, Duty::TellExpiring, Duty::TellExpired, Duty::Forget]
        );
    }

    #[test]
    fn a_successor_is_offered_after_the_overlap_before() {
        let mut key = key(None);
        key.succeed(minted(1, 0));
        key.offer_successor(Mode::Scheduled, 3600, NOW);
        key.succeed(minted(2, 0));
        let often = Terms { rotate_every_s: Some(300), grace_s: 7200, ..POLICY };
        assert_eq!(Duty::next(&key, &often, NOW), Some(NOW.plus_s(3600)));
        // Nothing is to be done then, but it stands otherwise.
        let over = NOW.plus_s(3600);
        assert_eq!(Duty::next(&key, &POLICY, NOW), Some(over));
        assert_eq!(Duty::next(&key, &POLICY, over), Some(days(100)), "the end of an overlap that is over");
    }

    #[test]
    fn nothing_is_told_of_a_time_before_there_was_something_to_tell() {
        let mut short = key(Some(7 * DAY_S));
        short.succeed(minted(1, 0));
        let told = |key: &Key| {
            Duty::all(key, &POLICY).into_iter().filter(|(_, duty)| *duty == Duty::TellExpiring).count()
        };
        assert_eq!(told(&short), 1, "a week before its end was its birth");
        short.expires_at = Some(days(7).plus_s(1));
        assert_eq!(told(&short), 2);
        let mut offered = key(None);
        offered.succeed(minted(1, 0));
        offered.offer_successor(Mode::Scheduled, 60, days(107));
        let unclaimed: Vec<_> = Duty::all(&offered, &POLICY)
            .into_iter()
            .filter(|(_, duty)| *duty == Duty::TellUnclaimed)
            .collect();
        assert_eq!(
            unclaimed,
            [(days(109), Duty::TellUnclaimed)],
            "three days before was when it was offered"
        );
    }

    #[test]
    fn terms_are_broken_by_delay_and_by_age() {
        let mut key = key(Some(50 * DAY_S));
        key.succeed(minted(1, 0));
        let aged = |days: u32| Terms { rotate_every_s: None, lifetime_s_max: Some(days * 86_400), ..POLICY };
        assert_eq!(aged(49).too_old_at(&key), Some(days(49)));
        assert_eq!(aged(50).too_old_at(&key), None, "as long as they allow");
        assert!(!aged(49).are_broken_by(&key, days(49).plus_s(-1)) && aged(49).are_broken_by(&key, days(49)));
        assert!(!POLICY.are_broken_by(&key, days(110).plus_s(-1)) && POLICY.are_broken_by(&key, days(110)));
        key.expires_at = None;
        assert_eq!(aged(50).too_old_at(&key), Some(days(50)), "without an end it grows too old");
    }

    #[test]
    fn a_key_is_idle_once_it_was_not_used_for_long() {
        let mut key = key(Some(50 * DAY_S));
        let terms = Terms { idle_after_s: Some(10 * 86_400), ..POLICY };
        assert!(!Duty::is_idle(&key, &terms, None, days(20)), "nobody holds it");
        key.succeed(minted(1, 0));
        let idle =
            |key: &Key, used: Option<i64>, now: i64| Duty::is_idle(key, &terms, used.map(days), days(now));
        assert!(!idle(&key, None, 9) && idle(&key, None, 10), "since it was claimed");
        assert!(!idle(&key, Some(5), 14) && idle(&key, Some(5), 15), "since it was used");
        assert!(idle(&key, Some(-5), 10), "whoever used an older version before");
        assert!(!idle(&key, Some(5), 50), "it has ended");
        key.rotation.looked_at = Some(days(15));
        assert!(!idle(&key, Some(5), 16), "told already");
        assert!(!Duty::is_idle(&key, &Terms { idle_after_s: None, ..terms.clone() }, None, days(40)));
    }

    #[test]
    fn an_event_says_when_its_key_is_due_next() {
        let event = crate::event::tests::event();
        assert_eq!(event.due(), None);
        let told = Event { detail: vec!["name".into(), due_at(days(1)), due_at(days(2))], ..event };
        assert_eq!(told.due(), Some(days(1)));
    }

    #[test]
    fn what_falls_on_the_end_of_a_life_is_not_done_for_the_dead() {
        let mut key = key(Some(100 * DAY_S));
        key.succeed(minted(1, 0));
        let kinds = |key: &Key| Duty::all(key, &POLICY).into_iter().map(|(_, duty)| duty).collect::<Vec<_>>();
        let end = [Duty::TellExpiring, Duty::TellExpiring, Duty::TellExpired, Duty::Forget];
        assert_eq!(kinds(&key), end, "its successor would be due when it ends");
        key.expires_at = Some(days(100).plus_s(1));
        assert!(kinds(&key).contains(&Duty::Offer));
    }
}
