//! A hasher for numbers of our own making: rows, lanes, ids of tasks.
//!
//! Not for what callers choose freely: it does not resist keys made to collide.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by numbers of our own.
pub(crate) type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// Multiplies and folds: numbers that follow each other spread well, and it costs next to nothing.
#[derive(Default)]
pub(crate) struct NumberHasher(u64);

/// An odd number without pattern (2^64 divided by the golden ratio).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl NumberHasher {
    fn mix(&mut self, number: u64) {
        let wide = u128::from(self.0 ^ number) * u128::from(SPREAD);
        // Folding brings the well-mixed middle to both ends, of which hash
        // maps take some bits each.
        self.0 = (wide as u64) ^ ((wide >> 64) as u64);
    }
}

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut number = [0; 8];
            number[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(number));
        }
    }

    fn write_i64(&mut self, number: i64) {
        self.mix(number.cast_unsigned());
    }

    fn write_u128(&mut self, number: u128) {
        self.mix(number as u64);
        self.mix((number >> 64) as u64);
    }
}
