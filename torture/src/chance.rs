//! Chance by seed: what the judge does is drawn here, so that a run can be asked for
//! again. The order in which two processes meet is not, so that the same seed does not
//! find the same bug each time.

use std::hash::{BuildHasher as _, Hasher as _};

/// A generator of numbers (SplitMix64). Each actor has one of its own.
#[derive(Debug, Clone)]
pub(crate) struct Chance {
    state: u64,
}

impl Chance {
    /// The generator of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The generator of a text: the same text, the same numbers.
    pub(crate) fn of_text(text: &str) -> Self {
        // FNV-1a.
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::of(hash)
    }

    /// A generator for somebody else, whose numbers do not depend on how many this one draws.
    pub(crate) fn fork(&self, name: &str, number: usize) -> Self {
        let mut other = Self::of_text(&format!("{name} {number}"));
        other.state ^= self.state;
        other
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` on and below `high`.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.bits() % (high - low).max(1)
    }

    /// Whether something happens that does in `percent` of a hundred cases.
    pub(crate) fn happens(&mut self, percent: u64) -> bool {
        self.within(0, 100) < percent
    }

    /// One of a list that is not empty.
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let index = usize::try_from(self.bits() % list.len() as u64).expect("an index of the list");
        &list[index]
    }

    /// One of a list by weight.
    pub(crate) fn weighted<T: Copy>(&mut self, list: &[(T, u64)]) -> T {
        let total = list.iter().map(|(_, weight)| weight).sum();
        let mut left = self.within(0, total);
        for (choice, weight) in list {
            if left < *weight {
                return *choice;
            }
            left -= weight;
        }
        list[0].0
    }
}

/// A seed for whoever gave none: the standard library draws its hash keys from the system.
pub(crate) fn draw_seed() -> u64 {
    // Short, so that it is easily typed again.
    std::collections::hash_map::RandomState::new().build_hasher().finish() >> 32
}

/// `len` bytes that belong to `name`: every value occurs, NUL and broken UTF-8 included.
pub(crate) fn filler(name: &str, len: usize) -> Vec<u8> {
    let mut chance = Chance::of_text(name);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&chance.bits().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        let (mut first, mut second) = (Chance::of(7), Chance::of(7));
        assert_eq!([first.bits(), first.bits()], [second.bits(), second.bits()]);
        assert_ne!(first.fork("a", 1).bits(), first.fork("a", 2).bits());
        assert_eq!(filler("a", 100), filler("a", 100));
        assert_ne!(filler("a", 100), filler("b", 100));
    }

    #[test]
    fn weights_and_bounds_are_kept() {
        let mut chance = Chance::of(1);
        for _ in 0..1_000 {
            assert!((3..5).contains(&chance.within(3, 5)));
            assert_eq!(chance.weighted(&[(1, 0), (2, 1)]), 2);
            assert!(!chance.happens(0) && chance.happens(100));
        }
    }
}
