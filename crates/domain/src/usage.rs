//! What is counted of use: requests by what they came to, and how long the store took, in buckets.

use crate::refusal::RefusalCode;
use serde::{Deserialize, Serialize};

/// What a request that passes counts as.
pub const VALID: &str = "VALID";

/// Requests by what they came to: those that passed, then those refused, by the place of their code in [`RefusalCode::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Outcomes([u64; 1 + RefusalCode::ALL.len()]);

impl Outcomes {
    /// One request more; `refused` says why it did not pass.
    pub fn note(&mut self, refused: Option<RefusalCode>) {
        // The place of a code among all: none comes before the first.
        let place = refused.map_or(0, |code| 1 + code as usize);
        if let Some(count) = self.0.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }

    /// All of another's as well.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }

    /// Those that passed.
    pub const fn accepted(&self) -> u64 {
        let [accepted, ..] = self.0;
        accepted
    }

    /// Those that did not.
    pub fn refused(&self) -> u64 {
        let [_, refused @ ..] = self.0;
        refused.into_iter().fold(0, u64::saturating_add)
    }

    /// Each outcome's name and how often it was.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [VALID].into_iter().chain(RefusalCode::ALL.map(RefusalCode::as_str)).zip(self.0)
    }
}

/// Where the buckets of [`Durations`] end, in microseconds; what took longer than the last is in a bucket of its own.
pub const BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// How long something took: how often it was in each bucket, and all of it together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Durations {
    buckets: [u64; BOUNDS_US.len() + 1],
    sum_us: u64,
}

impl Durations {
    /// One that took this many microseconds.
    pub fn note(&mut self, took_us: u64) {
        let place = BOUNDS_US.iter().take_while(|bound| took_us > **bound).count();
        if let Some(count) = self.buckets.get_mut(place) {
            *count = count.saturating_add(1);
        }
        self.sum_us = self.sum_us.saturating_add(took_us);
    }

    /// All of another's as well.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.buckets.iter_mut().zip(other.buckets) {
            *count = count.saturating_add(more);
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// How many took no longer than each bound of [`BOUNDS_US`], in its order, and how many there were at all.
    pub fn cumulative(&self) -> ([u64; BOUNDS_US.len()], u64) {
        let (mut upto, mut sum) = ([0; BOUNDS_US.len()], 0_u64);
        let [within @ .., beyond] = self.buckets;
        for (place, count) in upto.iter_mut().zip(within) {
            sum = sum.saturating_add(count);
            *place = sum;
        }
        (upto, sum.saturating_add(beyond))
    }

    /// All of them together, in microseconds.
    pub const fn sum_us(&self) -> u64 {
        self.sum_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_place() {
        let mut outcomes = Outcomes::default();
        outcomes.note(None);
        for code in RefusalCode::ALL {
            outcomes.note(Some(code));
        }
        outcomes.note(Some(RefusalCode::Expired));
        let counts: Vec<_> = outcomes.iter().filter(|(_, count)| *count != 1).collect();
        assert_eq!(counts, [("EXPIRED", 2)]);
        assert_eq!((outcomes.accepted(), outcomes.refused()), (1, 9));
        let other = outcomes;
        outcomes.merge(&other);
        assert_eq!((outcomes.accepted(), outcomes.refused()), (2, 18));
    }

    #[test]
    fn a_duration_at_a_bound_is_within_it() {
        let mut durations = Durations::default();
        for took_us in [0, 100, 101, 1_000_000, 1_000_001] {
            durations.note(took_us);
        }
        let (upto, all) = durations.cumulative();
        assert_eq!((upto[0], upto[1], upto[11], all), (2, 3, 4, 5));
        assert_eq!(durations.sum_us(), 2_000_202);
    }

    #[test]
    fn what_two_instances_saw_adds_up() {
        let (mut one, mut other) = (Durations::default(), Durations::default());
        one.note(7);
        other.note(7);
        other.note(2_000_000);
        one.merge(&other);
        let (upto, all) = one.cumulative();
        assert_eq!((upto[0], upto[11], all, one.sum_us()), (2, 2, 3, 2_000_014));
    }
}
