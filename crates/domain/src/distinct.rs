//! How many different things were seen, without keeping any of them: a HyperLogLog sketch. It is told 64-bit hashes, which whoever
//! counts makes under a key, so that a sketch cannot be asked whether it has seen a certain thing.
//!
//! Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm" (2007); the
//! estimator is that of Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), which needs no table of
//! corrections for small numbers.

use serde::{Deserialize, Serialize};

/// Registers of a sketch: 2^8. The standard error is 1.04 / sqrt(256), 6.5 %.
const REGISTERS: u16 = 256;
/// Bits of a hash beyond those that choose the register.
const RANK_BITS: u8 = 56;

/// A sketch: the registers that are not zero, in order. Two merge into that of everything that either has seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Distinct(Vec<(u8, u8)>);

impl Distinct {
    /// Notes one thing by its hash.
    pub fn note(&mut self, hash: u64) {
        let [register, ..] = hash.to_be_bytes();
        // The place of the first one among the bits that are left.
        let zeros = (hash << 8).leading_zeros().min(u32::from(RANK_BITS));
        self.raise(register, zeros as u8 + 1);
    }

    /// Notes all that another sketch has.
    pub fn merge(&mut self, other: &Self) {
        for (register, rank) in &other.0 {
            self.raise(*register, *rank);
        }
    }

    fn raise(&mut self, register: u8, rank: u8) {
        match self.0.binary_search_by_key(&register, |(register, _)| *register) {
            Ok(place) => {
                if let Some((_, known)) = self.0.get_mut(place) {
                    *known = rank.max(*known);
                }
            }
            Err(place) => self.0.insert(place, (register, rank)),
        }
    }

    /// About how many different things were noted: exact for none, within a few per cent for a few, with a standard error of 6.5 % for
    /// many.
    pub fn estimate(&self) -> u64 {
        let registers = f64::from(REGISTERS);
        // How many registers have each rank, from 0 to one more than there are bits.
        let mut ranks = [0_u16; RANK_BITS as usize + 2];
        for (_, rank) in self.0.iter().take(usize::from(REGISTERS)) {
            if let Some(count) = ranks.get_mut(usize::from(*rank)) {
                *count += 1;
            }
        }
        let [zero, between @ .., full] = &mut ranks;
        *zero = REGISTERS - between.iter().sum::<u16>() - *full;
        let start = registers * tau(1.0 - f64::from(*full) / registers);
        let sum = between.iter().rev().fold(start, |sum, count| 0.5 * (sum + f64::from(*count)));
        let sum = sum + registers * sigma(f64::from(*zero) / registers);
        let estimate = registers * registers / (2.0 * std::f64::consts::LN_2 * sum);
        // Nothing at all is an infinite sum, and 0. A cast from a float saturates.
        estimate.round() as u64
    }
}

/// Ertl's sigma: x plus the sum of x^(2^k) 2^(k-1) for k from 1.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut factor, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * factor;
        factor += factor;
        if sum <= before {
            return sum;
        }
    }
}

/// Ertl's tau: a third of 1 - x less the sum of (1 - x^(2^-k))^2 2^-k for k from 1.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut factor, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        factor *= 0.5;
        sum -= (1.0 - x).powi(2) * factor;
        if sum >= before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64 (Steele, Lea, Flood, 2014): hashes that are as good as random.
    fn hash(seed: u64) -> u64 {
        let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of(things: std::ops::Range<u64>) -> Distinct {
        let mut sketch = Distinct::default();
        things.for_each(|thing| sketch.note(hash(thing + 1)));
        sketch
    }

    #[test]
    fn few_are_told_nearly_exactly() {
        assert_eq!(Distinct::default().estimate(), 0);
        for count in 1..=8 {
            let estimate = of(0..count).estimate();
            assert!(estimate.abs_diff(count) <= 1, "{count}: {estimate}");
        }
        assert_eq!(of(0..1).estimate(), 1);
    }

    #[test]
    fn many_are_told_within_the_standard_error() {
        for count in [100, 300, 640, 1_000, 5_000, 100_000] {
            let (mut sum, runs) = (0.0, 50);
            for run in 0..runs {
                let from = run * 1_000_000;
                let ratio = of(from..from + count).estimate() as f64 / count as f64;
                // Five standard errors.
                assert!((ratio - 1.0).abs() < 0.325, "{count}: {ratio}");
                sum += ratio;
            }
            let mean = sum / runs as f64;
            assert!((mean - 1.0).abs() < 0.03, "{count}: off by {mean} on average");
        }
    }

    #[test]
    fn merged_is_as_if_one_had_seen_all() {
        let (mut one, other) = (of(0..700), of(500..1_200));
        one.merge(&other);
        assert_eq!(one, of(0..1_200));
        one.merge(&other);
        assert_eq!(one, of(0..1_200), "what was seen before changes nothing");
    }

    #[test]
    fn the_same_thing_counts_once_and_extremes_do_not_break_it() {
        let mut sketch = Distinct::default();
        for _ in 0..1_000 {
            sketch.note(hash(7));
        }
        assert_eq!(sketch.estimate(), 1);
        for register in 0..=255_u64 {
            sketch.note(register << 56);
        }
        assert!(sketch.estimate() > 1 << 56, "every register at its highest");
    }

    /// Both sums, added up by another program; what an estimate is made of only where a register is at its highest.
    #[test]
    fn the_sums_are_those_that_are_defined() {
        for (x, tau_of_x, sigma_of_x) in [
            (0.25, 0.199_964_747_932_044_02, 0.320_373_537_018_895_15),
            (0.5, 0.149_929_495_864_088_1, 0.890_747_074_037_790_3),
            (0.9, 0.032_829_956_807_498_65, 6.813_691_958_633_9),
        ] {
            assert!((tau(x) - tau_of_x).abs() < 1e-9, "tau of {x}: {}", tau(x));
            assert!((sigma(x) - sigma_of_x).abs() < 1e-9, "sigma of {x}: {}", sigma(x));
        }
        assert_eq!((tau(0.0), tau(1.0), sigma(0.0), sigma(1.0)), (0.0, 0.0, 0.0, f64::INFINITY));
    }
}
