//! When a failed attempt is tried again.

use std::time::Duration;

use minicbor::{Decode, Encode};

/// How often, and how far apart, a task is tried.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct RetryPolicy {
    /// Attempts that may fail before the task does; at least 1.
    #[n(0)]
    pub max_attempts: u32,
    /// Delay after the first failure, before jitter.
    #[n(1)]
    #[cbor(with = "crate::cbor::span")]
    pub initial: Duration,
    /// Longest delay, before jitter.
    #[n(2)]
    #[cbor(with = "crate::cbor::span")]
    pub max: Duration,
    /// Growth of the delay from one failure to the next; at least 1.
    #[n(3)]
    pub factor: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            initial: Duration::from_secs(1),
            max: Duration::from_secs(300),
            factor: 2.0,
        }
    }
}

/// The delay before the attempt that follows the `failures`-th failure (counted from 1).
///
/// `jitter` is drawn by the caller in `0.0..1.0`: half of the delay is fixed, half is
/// drawn, so that a thousand tasks that failed together do not come back together. `None`
/// when no attempt is left.
#[must_use]
pub fn retry_delay(policy: &RetryPolicy, failures: u32, jitter: f64) -> Option<Duration> {
    assert!(failures >= 1, "failures count from 1");
    if failures >= policy.max_attempts {
        return None;
    }
    Some(backoff(policy, failures, jitter))
}

/// The delay after the `count`-th failure or crash, whether or not an attempt is left.
#[must_use]
pub fn backoff(policy: &RetryPolicy, count: u32, jitter: f64) -> Duration {
    let steps = i32::try_from(count.saturating_sub(1)).unwrap_or(i32::MAX);
    let grown = policy.initial.as_secs_f64() * policy.factor.max(1.0).powi(steps);
    // `min` also tames the infinity of a huge power.
    let capped = grown.min(policy.max.as_secs_f64());
    let drawn = capped * (0.5 + jitter.clamp(0.0, 1.0) / 2.0);
    // Only what no `Duration` can say, or a chance that is no number, is left: wait longest.
    Duration::try_from_secs_f64(drawn).unwrap_or(policy.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_its_maximum_and_half_of_it_is_drawn() {
        let policy = RetryPolicy { max_attempts: 100, ..RetryPolicy::default() };
        assert_eq!(retry_delay(&policy, 1, 1.0), Some(Duration::from_secs(1)));
        assert_eq!(retry_delay(&policy, 1, 0.0), Some(Duration::from_millis(500)));
        assert_eq!(retry_delay(&policy, 4, 1.0), Some(Duration::from_secs(8)));
        assert_eq!(retry_delay(&policy, 99, 1.0), Some(Duration::from_secs(300)));
    }

    #[test]
    fn the_last_attempt_is_not_retried() {
        let policy = RetryPolicy { max_attempts: 2, ..RetryPolicy::default() };
        assert!(retry_delay(&policy, 1, 0.5).is_some());
        assert_eq!(retry_delay(&policy, 2, 0.5), None);
    }

    #[test]
    fn absurd_policies_stay_finite() {
        let policy =
            RetryPolicy { max_attempts: u32::MAX, factor: 1e300, ..RetryPolicy::default() };
        assert_eq!(backoff(&policy, u32::MAX, 2.0), policy.max);
        let nan = RetryPolicy { factor: f64::NAN, ..RetryPolicy::default() };
        assert_eq!(backoff(&nan, 3, 1.0), nan.initial);
        assert_eq!(backoff(&policy, 1, f64::NAN), policy.max);
        let endless = RetryPolicy { initial: Duration::MAX, max: Duration::MAX, ..policy };
        assert_eq!(backoff(&endless, 1, 1.0), Duration::MAX);
    }
}
