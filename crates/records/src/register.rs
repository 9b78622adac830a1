//! The registers: one for each application, with a row for each of its keys that says how the key stands. Projections of what events say.
//!
//! Rows lie in pages, in the order in which the log first told of their keys. What is counted is counted anew from what lies below,
//! never added to: sums of pages from their rows, the head's from those, the totals of all applications from the heads. So whatever is
//! written twice, late or half way round comes to the same. A generation that was ended is named in the head alone, and all of its rows
//! are read as revoked from then on.

use crate::names;
use crate::record::{Codec, Record};
use keyward_crypto::Domain;
use keyward_domain::standing::Standing;
use keyward_domain::{ApplicationId, KeyId};
use serde::{Deserialize, Serialize};

/// Rows in one page.
pub const ROWS: u64 = 128;
/// Pages whose sums lie in one record.
pub const SUMS: u64 = 128;
/// Applications whose totals lie in one record.
pub const TOTALS: u64 = 64;

/// Keys by how they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts([u64; Standing::ALL.len()]);

impl Counts {
    /// How many stand so.
    pub fn of(&self, standing: Standing) -> u64 {
        // Standings are numbered as they are listed.
        self.0.get(standing as usize).copied().unwrap_or(0)
    }

    /// All of them.
    pub fn all(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// So many more that stand so.
    pub fn add(&mut self, standing: Standing, more: u64) {
        if let Some(count) = self.0.get_mut(standing as usize) {
            *count = count.saturating_add(more);
        }
    }

    /// All of another's as well.
    pub fn merge(&mut self, other: &Self) {
        for standing in Standing::ALL {
            self.add(standing, other.of(standing));
        }
    }

    /// Each standing and how many stand so.
    pub fn iter(&self) -> impl Iterator<Item = (Standing, u64)> {
        Standing::ALL.into_iter().zip(self.0)
    }
}

/// Keys of one application by how they stand, those of each generation apart: a generation may end without a word of its keys. Those
/// that were known to have ended when it was counted are one, under the number 0.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tally(Vec<(u32, Counts)>);

impl Tally {
    /// Of these rows, where the generations up to `ended` have.
    pub fn of_rows(rows: &[Row], ended: u32) -> Self {
        let mut tally = Self::default();
        for row in rows {
            let mut one = Counts::default();
            one.add(row.standing, 1);
            tally.add(row.generation, &one, ended);
        }
        tally
    }

    /// Of all of these together.
    pub fn of_tallies<'t>(tallies: impl IntoIterator<Item = &'t Self>, ended: u32) -> Self {
        let mut sum = Self::default();
        for (generation, counts) in tallies.into_iter().flat_map(|tally| &tally.0) {
            sum.add(*generation, counts, ended);
        }
        sum
    }

    fn add(&mut self, generation: u32, counts: &Counts, ended: u32) {
        let (generation, counts) = match generation <= ended {
            false => (generation, *counts),
            true => {
                let mut revoked = Counts::default();
                revoked.add(Standing::Revoked, counts.all());
                (0, revoked)
            }
        };
        match self.0.binary_search_by_key(&generation, |(known, _)| *known) {
            Ok(place) => {
                if let Some((_, known)) = self.0.get_mut(place) {
                    known.merge(&counts);
                }
            }
            Err(place) => self.0.insert(place, (generation, counts)),
        }
    }

    /// By how they stand, where the generations up to `ended` have.
    pub fn counts(&self, ended: u32) -> Counts {
        let mut all = Counts::default();
        Self::of_tallies([self], ended).0.iter().for_each(|(_, counts)| all.merge(counts));
        all
    }
}

/// One key, as the register has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Which key.
    pub key: KeyId,
    /// In which generation it was issued.
    pub generation: u32,
    /// How it stands, by the last event that said so.
    pub standing: Standing,
}

impl Row {
    /// How it stands where the generations up to `ended` have.
    pub const fn standing(&self, ended: u32) -> Standing {
        if self.generation <= ended { Standing::Revoked } else { self.standing }
    }

    /// An event says how the key stands. Nothing brings a key back: what was decided on beside its revocation does not either.
    pub fn tell(&mut self, standing: Standing) {
        if self.standing != Standing::Revoked {
            self.standing = standing;
        }
    }
}

/// Where the row of a key lies. Written once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPlace {
    /// Which key.
    pub key: KeyId,
    /// In whose register.
    pub application: ApplicationId,
    /// At which place, from 0.
    pub place: u64,
}

impl Record for RowPlace {
    const DOMAIN: Domain = Domain::Projection;
    const CODEC: Codec = Codec::Binary;
    fn store_key(&self) -> String {
        names::row_place(self.key)
    }
}

/// The head of an application's register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterHead {
    /// Whose.
    pub application: ApplicationId,
    /// The application's number among all that have a register, from 0.
    pub number: u64,
    /// Rows in it.
    pub rows: u64,
    /// The last generation of keys that was ended, and all before it; 0 where none was.
    pub ended: u32,
    /// The sums of each record of sums.
    pub sums: Vec<Tally>,
}

impl RegisterHead {
    /// An empty register.
    pub const fn empty(application: ApplicationId, number: u64) -> Self {
        Self { application, number, rows: 0, ended: 0, sums: Vec::new() }
    }

    /// The application's keys by how they stand.
    pub fn counts(&self) -> Counts {
        Tally::of_tallies(&self.sums, self.ended).counts(self.ended)
    }
}

impl Record for RegisterHead {
    const DOMAIN: Domain = Domain::Projection;
    const CODEC: Codec = Codec::Binary;
    fn store_key(&self) -> String {
        names::register(self.application)
    }
}

/// One page of an application's register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterPage {
    /// Whose.
    pub application: ApplicationId,
    /// Which page, from 0.
    pub page: u64,
    /// Its rows.
    pub rows: Vec<Row>,
}

impl Record for RegisterPage {
    const DOMAIN: Domain = Domain::Projection;
    const CODEC: Codec = Codec::Binary;
    fn store_key(&self) -> String {
        names::register_page(self.application, self.page)
    }
}

/// What lies in some pages of an application's register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterSums {
    /// Whose.
    pub application: ApplicationId,
    /// Which of its records of sums, from 0.
    pub number: u64,
    /// One for each page.
    pub pages: Vec<Tally>,
}

impl Record for RegisterSums {
    const DOMAIN: Domain = Domain::Projection;
    const CODEC: Codec = Codec::Binary;
    fn store_key(&self) -> String {
        names::register_sums(self.application, self.number)
    }
}

/// How many applications have a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Registers {
    /// So many.
    pub applications: u64,
}

impl Record for Registers {
    const DOMAIN: Domain = Domain::Projection;
    fn store_key(&self) -> String {
        names::REGISTERS.to_owned()
    }
}

/// The totals of some applications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterTotals {
    /// Which record of totals, from 0.
    pub number: u64,
    /// One for each application, by their numbers.
    pub applications: Vec<(ApplicationId, Counts)>,
}

impl Record for RegisterTotals {
    const DOMAIN: Domain = Domain::Projection;
    const CODEC: Codec = Codec::Binary;
    fn store_key(&self) -> String {
        names::register_totals(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: u8, generation: u32, standing: Standing) -> Row {
        Row { key: KeyId::from_bytes([key; 16]), generation, standing }
    }

    #[test]
    fn a_generation_that_ended_is_revoked_whenever_it_was_counted() {
        let rows = [
            row(1, 1, Standing::Active),
            row(2, 1, Standing::Disabled),
            row(3, 2, Standing::Active),
            row(4, 1, Standing::Revoked),
        ];
        let before = Tally::of_rows(&rows, 0);
        let counts: Vec<_> = before.counts(0).iter().filter(|(_, count)| *count > 0).collect();
        let expected = [(Standing::Active, 2), (Standing::Disabled, 1), (Standing::Revoked, 1)];
        assert_eq!(counts, expected);
        for ended in [1, 2] {
            let (after, later) = (Tally::of_rows(&rows, ended), before.counts(ended));
            assert_eq!(after.counts(ended), later);
            assert_eq!(Tally::of_tallies([&before, &after], ended).counts(ended).all(), 8);
            assert_eq!(later.of(Standing::Revoked), if ended == 1 { 3 } else { 4 });
            let read: Vec<_> = rows.iter().filter(|row| row.standing(ended) == Standing::Revoked).collect();
            assert_eq!(read.len() as u64, later.of(Standing::Revoked), "rows are read as they are counted");
        }
    }

    #[test]
    fn generations_that_ended_take_no_room() {
        let rows: Vec<Row> = (0..100).map(|n| row(n, u32::from(n) + 1, Standing::Active)).collect();
        assert_eq!(Tally::of_rows(&rows, 99).0.len(), 2);
    }

    #[test]
    fn nothing_brings_a_key_back() {
        let mut row = row(1, 1, Standing::Active);
        for (told, expected) in [
            (Standing::Disabled, Standing::Disabled),
            (Standing::Active, Standing::Active),
            (Standing::Revoked, Standing::Revoked),
            (Standing::Active, Standing::Revoked),
        ] {
            row.tell(told);
            assert_eq!(row.standing, expected);
        }
    }
}
