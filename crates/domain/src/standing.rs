//! How a key stands: whether it passes, and what of it asks for somebody's attention. It follows from the key, the terms of its policy,
//! whether it was ended, and the time; nothing here is stored with the key.

use crate::event::Event;
use crate::key::Key;
use crate::policy::Terms;
use crate::rotation::Phase;
use crate::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// Whether a key passes, as far as itself is concerned. [`Standing`] tells apart what is `active` here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = KeyState)]
pub enum State {
    /// Nobody has claimed its first version yet.
    Unclaimed,
    /// It passes.
    Active,
    /// It is switched off for now.
    Disabled,
    /// Its life has ended by itself.
    Expired,
    /// It was ended, by itself or with its generation.
    Revoked,
}

impl State {
    /// The state of a key at `now`; `is_dead` where it or its generation was ended. Where several hold, it is the one that lasts the
    /// longest.
    pub fn of(key: &Key, is_dead: bool, now: Timestamp) -> Self {
        if is_dead {
            Self::Revoked
        } else if key.expired(now) {
            Self::Expired
        } else if key.disabled {
            Self::Disabled
        } else if key.versions.is_empty() {
            Self::Unclaimed
        } else {
            Self::Active
        }
    }
}

/// How a key stands: what people count, filter and act by. Exactly one holds of each key. Of those that do not pass it says why; of those
/// that do, the first that holds of overdue, expiring, rotating.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = KeyStanding)]
pub enum Standing {
    /// Nobody has claimed its first version yet.
    Unclaimed,
    /// It passes, and nothing is ahead of it.
    Active,
    /// A successor of its version is offered, or was claimed while the version before it goes on.
    Rotating,
    /// The first warning of its end has come: a week before it, or a day before it where it was issued for a week or less.
    Expiring,
    /// It breaks its policy: it was not rotated in time, or lives for longer than it may.
    Overdue,
    /// It is switched off for now.
    Disabled,
    /// Its life has ended by itself.
    Expired,
    /// It was ended, by itself or with its generation.
    Revoked,
}

impl Standing {
    /// Every standing; the place of each is its number.
    pub const ALL: [Self; 8] = [
        Self::Unclaimed,
        Self::Active,
        Self::Rotating,
        Self::Expiring,
        Self::Overdue,
        Self::Disabled,
        Self::Expired,
        Self::Revoked,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unclaimed => "unclaimed",
            Self::Active => "active",
            Self::Rotating => "rotating",
            Self::Expiring => "expiring",
            Self::Overdue => "overdue",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    /// The one of this name.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == text)
    }

    /// How a key stands at `now` under its terms; `is_dead` where it or its generation was ended.
    pub fn of(key: &Key, terms: &Terms, is_dead: bool, now: Timestamp) -> Self {
        match State::of(key, is_dead, now) {
            State::Revoked => Self::Revoked,
            State::Expired => Self::Expired,
            State::Disabled => Self::Disabled,
            State::Unclaimed => Self::Unclaimed,
            State::Active if terms.are_broken_by(key, now) => Self::Overdue,
            State::Active if key.end_warned_at().is_some_and(|at| now >= at) => Self::Expiring,
            State::Active if key.phase(now) != Phase::Stable => Self::Rotating,
            State::Active => Self::Active,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How an event's detail says how its key stands after it.
const STANDING: &str = "standing ";
/// And in which generation of its application's keys the key was issued.
const IN_GENERATION: &str = " in generation ";
/// How an event's detail says which generation of an application's keys it ended.
const GENERATION_ENDED: &str = "ended generation ";

/// What the detail of an event says of how its key stands after it.
pub fn stands(standing: Standing, key: &Key) -> String {
    format!("{STANDING}{standing}{IN_GENERATION}{}", key.generation)
}

/// What the detail of a revocation says; the key's record need not be readable for it.
pub fn stands_revoked() -> String {
    format!("{STANDING}{}", Standing::Revoked)
}

/// What the detail of an event says of the generation of an application's keys that it ended.
pub fn generation_ended(generation: u32) -> String {
    format!("{GENERATION_ENDED}{generation}")
}

impl Event {
    /// How its key stands after it and, where it says so, in which generation the key was issued.
    pub fn standing(&self) -> Option<(Standing, Option<u32>)> {
        let told = self.detail.iter().find_map(|fact| fact.strip_prefix(STANDING))?;
        match told.split_once(IN_GENERATION) {
            None => Some((Standing::from_text(told)?, None)),
            Some((standing, generation)) => {
                Some((Standing::from_text(standing)?, Some(generation.parse().ok()?)))
            }
        }
    }

    /// The generation of its application's keys that it ended.
    pub fn generation_ended(&self) -> Option<u32> {
        self.detail.iter().find_map(|fact| fact.strip_prefix(GENERATION_ENDED))?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::Mode;
    use crate::rotation::tests::{NOW, key, minted};

    const DAY_S: i64 = 24 * 3600;
    const POLICY: Terms =
        Terms { rotate_every_s: Some(100 * 86_400), grace_s: 10 * 86_400, ..Terms::DEFAULT };

    fn at(key: &Key, days: i64) -> Standing {
        Standing::of(key, &POLICY, false, NOW.plus_s(days * DAY_S))
    }

    #[test]
    fn a_key_stands_as_what_asks_for_attention_first() {
        let mut key = key(Some(108 * DAY_S));
        assert_eq!(at(&key, 0), Standing::Unclaimed);
        assert_eq!(at(&key, 102), Standing::Unclaimed, "nobody holds what is about to end");
        key.succeed(minted(1, 0));
        assert_eq!(at(&key, 0), Standing::Active);
        key.offer_successor(Mode::Scheduled, 3600, NOW);
        assert_eq!(at(&key, 100), Standing::Rotating);
        assert_eq!(at(&key, 101), Standing::Expiring, "a week before its end");
        let broken = Terms { rotate_every_s: Some(90 * 86_400), ..POLICY };
        assert_eq!(Standing::of(&key, &broken, false, NOW.plus_s(101 * DAY_S)), Standing::Overdue);
        key.disabled = true;
        assert_eq!(at(&key, 101), Standing::Disabled);
        assert_eq!(at(&key, 108), Standing::Expired);
        assert_eq!(Standing::of(&key, &POLICY, true, NOW.plus_s(108 * DAY_S)), Standing::Revoked);
    }

    #[test]
    fn a_rotation_is_over_with_its_overlap() {
        let mut key = key(None);
        key.succeed(minted(1, 0));
        key.offer_successor(Mode::Scheduled, 86_400, NOW);
        key.succeed(minted(2, 0));
        assert_eq!([at(&key, 0), at(&key, 1)], [Standing::Rotating, Standing::Active]);
    }

    #[test]
    fn a_key_for_a_week_or_less_is_expiring_on_its_last_day() {
        let mut short = key(Some(7 * DAY_S));
        short.succeed(minted(1, 0));
        assert_eq!(
            [at(&short, 0), at(&short, 5), at(&short, 6)],
            [Standing::Active, Standing::Active, Standing::Expiring]
        );
        short.expires_at = Some(NOW.plus_s(DAY_S));
        assert_eq!(at(&short, 0), Standing::Active, "its whole life is its last day");
    }

    #[test]
    fn a_state_is_its_standing_without_what_is_ahead() {
        let mut all = Vec::new();
        for expires_at in [None, Some(NOW)] {
            for disabled in [false, true] {
                for claimed in [false, true] {
                    let mut key = Key { expires_at, disabled, ..key(None) };
                    if claimed {
                        key.succeed(minted(1, 0));
                    }
                    all.extend([false, true].map(|is_dead| (key.clone(), is_dead)));
                }
            }
        }
        for (key, is_dead) in all {
            let (state, standing) =
                (State::of(&key, is_dead, NOW), Standing::of(&key, &POLICY, is_dead, NOW));
            assert_eq!(serde_json::to_value(state).unwrap(), standing.as_str());
        }
    }

    #[test]
    fn an_event_says_how_its_key_stands() {
        let mut key = key(None);
        key.generation = 3;
        let event = |detail: Vec<String>| Event { detail, ..crate::event::tests::event() };
        for standing in Standing::ALL {
            let told = event(vec!["name".into(), stands(standing, &key)]);
            assert_eq!((told.standing(), told.generation_ended()), (Some((standing, Some(3))), None));
            assert_eq!(Standing::ALL[standing as usize], standing);
            assert_eq!(serde_json::to_value(standing).unwrap(), standing.as_str());
        }
        assert_eq!(event(vec![stands_revoked()]).standing(), Some((Standing::Revoked, None)));
        for unknown in ["standing", "standing still", "standing active in generation x", "name"] {
            assert_eq!(event(vec![unknown.to_owned()]).standing(), None, "{unknown}");
        }
        assert_eq!(event(vec![generation_ended(3)]).generation_ended(), Some(3));
    }
}
