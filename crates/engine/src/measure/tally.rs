//! What happened in a queue since the start, for metrics: counts and how long things took.

use std::collections::HashMap;
use std::time::Duration;

use relais_core::{CancelReason, EventData, FailureCode};

/// The upper ends of the buckets of a [`Histogram`], seconds; the last bucket has none.
pub const BUCKETS: [f64; 7] = [0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0];

/// How long things took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Histogram {
    /// How many fell into each bucket, the one without an end last; not summed up.
    pub counts: [u64; BUCKETS.len() + 1],
    /// All durations together, seconds.
    pub sum: f64,
}

impl Histogram {
    pub(crate) fn note(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BUCKETS.iter().position(|end| seconds <= *end).unwrap_or(BUCKETS.len());
        self.counts[bucket] += 1;
        self.sum += seconds;
    }
}

/// What happened in a queue, or in all those together that are not counted each for itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    pub accepted: u64,
    pub started: u64,
    /// Attempts that failed, by code.
    pub attempts_failed: HashMap<FailureCode, u64>,
    /// Runs that succeeded.
    pub succeeded: u64,
    /// Runs that failed, by code.
    pub failed: HashMap<FailureCode, u64>,
    /// Runs that were canceled.
    pub canceled: u64,
    /// Of them, those that all who waited for them had left.
    pub abandoned: u64,
    /// From the moment a task might run to the start of its first attempt.
    pub wait: Histogram,
    /// From the start of an attempt to its end.
    pub run: Histogram,
}

impl Tally {
    pub(crate) fn note(&mut self, event: &EventData) {
        match event {
            EventData::Accepted { .. } => self.accepted += 1,
            EventData::Started { .. } => self.started += 1,
            EventData::AttemptFailed { failure, .. } => {
                *self.attempts_failed.entry(failure.code).or_default() += 1;
            }
            EventData::Succeeded { .. } => self.succeeded += 1,
            EventData::Failed(failure) => *self.failed.entry(failure.code).or_default() += 1,
            EventData::Canceled { reason } => {
                self.canceled += 1;
                self.abandoned += u64::from(*reason == CancelReason::Abandoned);
            }
            // What else happens to a task is told by its log, and counted nowhere.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for ms in [0, 10, 11, 9_999_999] {
            histogram.note(Duration::from_millis(ms));
        }
        assert_eq!((histogram.counts[0], histogram.counts[1]), (2, 1));
        assert_eq!(histogram.counts[BUCKETS.len()], 1);
    }
}
