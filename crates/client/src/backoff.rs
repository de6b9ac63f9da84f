//! How long to wait before trying again, and where the randomness for it comes from.

use std::time::Duration;

/// Full jitter: each wait is drawn between nothing and a bound that doubles, so that a thousand
/// clients that lost their server together do not come back together.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    initial: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max, failures: 0 }
    }

    /// Failures since the last success.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure and says how long to wait now; at least `at_least`, if the server said so.
    pub(crate) fn failed(&mut self, at_least: Option<Duration>) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let doublings = (self.failures - 1).min(16);
        let bound = self.initial.saturating_mul(1 << doublings).min(self.max);
        let drawn = bound.mul_f64(unit());
        // Spread what the server asked for, too: it may have asked many.
        at_least.map_or(drawn, |span| span + drawn.min(span / 4))
    }
}

/// The waits between repeats of one call.
impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }
}

/// A number in `0.0..1.0`.
fn unit() -> f64 {
    let bits = getrandom::u64().unwrap_or(1 << 63) >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact in a double")]
    let unit = bits as f64 / (1u64 << 53) as f64;
    unit
}

/// An idempotency key nobody can guess: whoever repeats it is the one who made it.
pub(crate) fn new_key() -> String {
    use base64::Engine as _;
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_below_a_bound_that_doubles() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for bound in [100, 200, 400, 800, 1000, 1000] {
            assert!(backoff.failed(None) < Duration::from_millis(bound));
        }
        assert_eq!(backoff.failures(), 6);
        for _ in 0..100 {
            backoff.failed(None);
        }
        let asked = Duration::from_secs(8);
        let wait = backoff.failed(Some(asked));
        assert!(wait >= asked && wait <= asked + asked / 4);
        backoff.succeeded();
        assert!(backoff.failed(None) < Duration::from_millis(100));
    }

    #[test]
    fn keys_are_unguessable_and_never_the_same() {
        let (one, other) = (new_key(), new_key());
        assert_ne!(one, other);
        assert!(one.len() >= 22);
    }
}
