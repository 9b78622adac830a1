//! Rotation: one key id, and how a successor takes the place of its version: `stable(v)`, `offered(v)`, `overlapping(v, v+1)`,
//! `stable(v+1)`. What a key's record says of it, and the transitions; no clock and no store.

use crate::id::RenewalId;
use crate::key::{Key, Version};
use crate::timestamp::{Timestamp, millis};
use crate::token::VERSION_MAX;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The longest grace, in seconds: ninety days.
pub const GRACE_S_MAX: u32 = 90 * 24 * 3600;

/// Why a key is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RotationMode)]
pub enum Mode {
    /// Because it is time: the version in use goes on until its successor was claimed and the grace is over.
    #[default]
    Scheduled,
    /// Because a secret may be in the wrong hands: every version so far dies at once.
    Incident,
}

impl Mode {
    /// `scheduled` or `incident`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Incident => "incident",
        }
    }
}

/// A successor that may be claimed and was not yet. Whoever asks for a claim gets one for its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The version that a claim mints.
    pub version: u16,
    /// Why it is offered.
    pub mode: Mode,
    /// How long the versions before it go on once it was claimed, in seconds.
    pub grace_s: u32,
    /// Since when.
    #[serde(with = "millis")]
    pub at: Timestamp,
}

/// What a key's record says of its rotation. Nothing of it is set before the first: [`Rotation::default`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rotation {
    /// A successor that may be claimed.
    pub offer: Option<Offer>,
    /// When every version but the newest stops.
    #[serde(with = "millis::option")]
    pub overlap_ends_at: Option<Timestamp>,
    /// The highest version that was ever offered; 0 where none was.
    pub version_offered: u16,
    /// What its holder may renew it with, by itself; none where it may not.
    pub renewal: Option<RenewalId>,
    /// Until when what is due for the key was seen to.
    #[serde(with = "millis::option")]
    pub looked_at: Option<Timestamp>,
}

/// Where a key stands in its rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RotationState)]
pub enum Phase {
    /// One version, no successor.
    Stable,
    /// A successor may be claimed.
    Offered,
    /// The successor was claimed; the version before it goes on until the grace is over.
    Overlapping,
}

impl Key {
    /// The version that was claimed last.
    pub fn newest(&self) -> Option<&Version> {
        self.versions.last()
    }

    /// Where it stands at `now`.
    pub fn phase(&self, now: Timestamp) -> Phase {
        if self.rotation.offer.is_some() {
            Phase::Offered
        } else if self.versions.len() > 1 && self.rotation.overlap_ends_at.is_none_or(|end| now < end) {
            Phase::Overlapping
        } else {
            Phase::Stable
        }
    }

    /// When a version stops by itself, although its key goes on: its holder is to have changed to the successor by then. `None` for
    /// the newest.
    pub fn rotate_by(&self, number: u16) -> Option<Timestamp> {
        self.newest().filter(|newest| newest.number != number).and(self.rotation.overlap_ends_at)
    }

    /// Whether a version's grace is over at `now`.
    pub fn retired(&self, number: u16, now: Timestamp) -> bool {
        self.rotate_by(number).is_some_and(|end| now >= end)
    }

    /// The number of the next version; `None` where a token has no room for it. No number is given twice, not even one whose offer
    /// was cancelled: kills and claims name versions by it.
    pub fn next_version(&self) -> Option<u16> {
        let last = self.highest_version().max(self.claim.as_ref().map_or(0, |claim| claim.version));
        (last < VERSION_MAX).then(|| last + 1)
    }

    /// The highest number that a version has or was ever offered under.
    pub fn highest_version(&self) -> u16 {
        self.newest().map_or(0, |newest| newest.number).max(self.rotation.version_offered)
    }

    /// A successor may be claimed from now on, in the place of one that was offered before; `None` where there is no number left.
    pub fn offer_successor(&mut self, mode: Mode, grace_s: u32, now: Timestamp) -> Option<u16> {
        let version = self.next_version()?;
        self.rotation.version_offered = version;
        self.claim = None;
        self.rotation.offer = Some(Offer { version, mode, grace_s, at: now });
        Some(version)
    }

    /// A version was minted: its grace begins for those before it, capped by the hard end of the key's life. Versions whose grace is
    /// over already are forgotten, so that at most two are alive.
    pub fn succeed(&mut self, version: Version) {
        let now = version.claimed_at;
        let over = self.rotation.overlap_ends_at.is_some_and(|end| now >= end);
        let newest = self.newest().map(|newest| newest.number);
        self.versions.retain(|old| !over || Some(old.number) == newest);
        let grace_s = self.rotation.offer.as_ref().map_or(0, |offer| offer.grace_s);
        let ends_at = now.plus_s(i64::from(grace_s));
        let capped = self.expires_at.map_or(ends_at, |end| ends_at.min(end));
        self.rotation.overlap_ends_at = (!self.versions.is_empty()).then_some(capped);
        self.rotation.version_offered = self.rotation.version_offered.max(version.number);
        self.versions.push(version);
        (self.rotation.offer, self.claim) = (None, None);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::key::OpenClaim;
    use crate::{ApplicationId, ClaimId, KeyId};

    pub(crate) const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    pub(crate) fn key(expires_in_s: Option<i64>) -> Key {
        Key {
            expires_at: expires_in_s.map(|s| NOW.plus_s(s)),
            ..Key::new(KeyId::from_bytes([1; 16]), ApplicationId::from_bytes([2; 16]), NOW)
        }
    }

    pub(crate) fn minted(number: u16, after_s: i64) -> Version {
        Version { number, pepper: 1, mac: [0; 32], claimed_at: NOW.plus_s(after_s) }
    }

    fn numbers(key: &Key) -> Vec<u16> {
        key.versions.iter().map(|version| version.number).collect()
    }

    #[test]
    fn the_grace_begins_with_the_claim_and_ends_to_the_millisecond() {
        let mut key = key(None);
        key.succeed(minted(1, 0));
        assert_eq!((key.phase(NOW), key.rotate_by(1)), (Phase::Stable, None));
        assert_eq!(key.offer_successor(Mode::Scheduled, 60, NOW.plus_s(10)), Some(2));
        assert_eq!(
            key.phase(NOW.plus_s(1_000_000)),
            Phase::Offered,
            "nobody is cut off for what nobody fetched"
        );
        assert!(!key.retired(1, NOW.plus_s(1_000_000)));
        key.succeed(minted(2, 100));
        let end = NOW.plus_s(160);
        let before = Timestamp::from_unix_ms(end.unix_ms() - 1);
        assert_eq!((key.rotate_by(1), key.rotate_by(2)), (Some(end), None));
        assert_eq!((key.phase(before), key.retired(1, before)), (Phase::Overlapping, false));
        assert_eq!((key.phase(end), key.retired(1, end), key.retired(2, end)), (Phase::Stable, true, false));
    }

    #[test]
    fn the_grace_is_capped_by_the_hard_end() {
        let mut key = key(Some(120));
        key.succeed(minted(1, 0));
        key.offer_successor(Mode::Scheduled, 60, NOW);
        key.succeed(minted(2, 100));
        assert_eq!(key.rotate_by(1), key.expires_at);
    }

    #[test]
    fn at_most_two_are_alive_and_no_number_is_given_twice() {
        let mut key = key(None);
        key.claim = Some(OpenClaim { id: ClaimId::from_bytes([3; 16]), version: 1, expires_at: NOW });
        assert_eq!(key.next_version(), Some(2), "the claim for the first is out");
        key.succeed(minted(1, 0));
        key.offer_successor(Mode::Scheduled, 60, NOW);
        key.rotation.offer = None;
        assert_eq!(key.offer_successor(Mode::Scheduled, 60, NOW), Some(3), "2 was cancelled");
        key.succeed(minted(3, 0));
        assert_eq!(numbers(&key), [1, 3]);
        key.offer_successor(Mode::Scheduled, 60, NOW.plus_s(61));
        key.succeed(minted(4, 61));
        assert_eq!(numbers(&key), [3, 4]);
        key.rotation.version_offered = VERSION_MAX;
        assert_eq!(key.offer_successor(Mode::Scheduled, 60, NOW), None);
    }

    #[test]
    fn a_mode_is_shown_as_it_is_parsed() {
        for mode in [Mode::Scheduled, Mode::Incident] {
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.as_str());
        }
    }
}
