//! What was measured.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Submits answered with a 202.
    pub(crate) accepted: Rate,
    /// Tasks leased and settled, in batches, while nothing else went on.
    pub(crate) settled: Rate,
    /// Tasks submitted, leased and settled, all at once.
    pub(crate) cycles: Rate,
    /// Submit to 202 under load; submit to 202, and to the result, one at a time.
    pub(crate) waiting: [Waiting; 3],
    /// What was looked up again.
    pub(crate) proof: Proof,
}

/// So many in so long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) count: u64,
    /// In how long.
    pub(crate) took: Duration,
}

/// How long something took, again and again.
#[derive(Debug)]
pub(crate) struct Waiting(Histogram<u64>);

/// Whether each counted 202 was found again by its id.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    pub(crate) counted: u64,
    /// Not there any more: a few of them.
    pub(crate) missing: Vec<String>,
    /// How many were not there any more.
    pub(crate) missing_count: u64,
}

impl Rate {
    /// How many in a second.
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    fn document(&self) -> Value {
        json!({ "count": self.count, "seconds": round(self.took.as_secs_f64()),
                "per_second": round(self.per_second()) })
    }
}

impl Waiting {
    pub(super) fn new() -> Self {
        // Microseconds, up to ten minutes.
        Self(Histogram::new_with_bounds(1, 600_000_000, 3).expect("constant bounds are valid"))
    }

    pub(super) fn note(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Not longer than this in `quantile` of all cases, milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "latencies are small")]
    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1_000.0
    }

    fn document(&self) -> Value {
        json!({ "count": self.count(), "p50_ms": round(self.ms(0.5)),
                "p99_ms": round(self.ms(0.99)), "max_ms": round(self.ms(1.0)) })
    }
}

impl Proof {
    pub(super) fn add(&mut self, other: Self) {
        self.counted += other.counted;
        self.missing_count += other.missing_count;
        self.missing.extend(other.missing);
        self.missing.truncate(MISSING_SHOWN_MAX);
    }

    pub(super) fn note(&mut self, id: String, is_there: bool) {
        self.counted += 1;
        if is_there {
            return;
        }
        self.missing_count += 1;
        if self.missing.len() < MISSING_SHOWN_MAX {
            self.missing.push(id);
        }
    }

    /// How many were found.
    pub(crate) const fn found(&self) -> u64 {
        self.counted - self.missing_count
    }
}

impl Figures {
    pub(crate) fn document(&self) -> Value {
        let [under_load, to_202, to_result] = &self.waiting;
        json!({
            "accepted": self.accepted.document(),
            "settled": self.settled.document(),
            "life_cycles": self.cycles.document(),
            "submit_to_202_under_load": under_load.document(),
            "submit_to_202": to_202.document(),
            "submit_to_result": to_result.document(),
            "found_again": { "count": self.proof.found(), "of": self.proof.counted,
                             "missing": self.proof.missing },
        })
    }
}

fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Missing ids that are shown.
const MISSING_SHOWN_MAX: usize = 5;
