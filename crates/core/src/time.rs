//! A moment in time, as the rules see it. Not here: the clock, and the texts of time (see `api`).

use std::fmt;
use std::time::Duration;

use minicbor::{Decode, Encode};

/// Milliseconds since 1970-01-01T00:00:00Z. Arithmetic saturates: absurd times
/// stay absurd, never wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Timestamp(#[n(0)] i64);

impl Timestamp {
    /// The beginning of Unix time.
    pub const EPOCH: Self = Self(0);
    /// Before every moment that a clock shows.
    pub const MIN: Self = Self(i64::MIN);
    /// Further away than any deadline.
    pub const MAX: Self = Self(i64::MAX);

    /// The moment `ms` milliseconds after the epoch.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// The moment `span` later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(ms))
    }

    /// The moment `span` earlier.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(ms))
    }

    /// The moment `ms` milliseconds later, or earlier if it is negative.
    #[must_use]
    pub const fn shifted(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// How long after `earlier` this moment is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A bound of a duration as people read it, in the largest unit that leaves
/// nothing over: `12h`, `1500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InWords(pub Duration);

impl fmt::Display for InWords {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 4] =
            [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        let ms = self.0.as_millis();
        if ms == 0 {
            return out.write_str("0s");
        }
        match UNITS.iter().find(|(unit, _)| ms.is_multiple_of(*unit)) {
            Some((unit, word)) => write!(out, "{}{word}", ms / unit),
            None => write!(out, "{ms}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_told_in_its_largest_unit() {
        let told = |ms| InWords(Duration::from_millis(ms)).to_string();
        assert_eq!(
            [0, 1, 1_500, 90_000, 43_200_000].map(told),
            ["0s", "1ms", "1500ms", "90s", "12h"]
        );
        assert_eq!(InWords(crate::limits::HORIZON_MAX).to_string(), "3650d");
    }
}
