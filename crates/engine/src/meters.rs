//! What the engine counts, for metrics and for honest estimates. Cheap: atomics and small averages.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use relais_core::{QueueName, TenantName, Timestamp};

/// How much a new measurement weighs in a moving average.
const WEIGHT: f64 = 0.1;
/// Queues whose pace is remembered; beyond, estimates fall back to the default.
const QUEUES_MAX: usize = 10_000;

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub struct Meters {
    /// Tasks accepted.
    pub accepted: AtomicU64,
    /// Requests attached to an earlier task by their idempotency key.
    pub attached: AtomicU64,
    /// Attempts started.
    pub started: AtomicU64,
    /// Attempts that failed.
    pub attempts_failed: AtomicU64,
    /// Runs that succeeded.
    pub succeeded: AtomicU64,
    /// Runs that failed.
    pub failed: AtomicU64,
    /// Runs that were canceled.
    pub canceled: AtomicU64,
    /// Tasks erased when their retention ended, or by hand.
    pub erased: AtomicU64,
    /// Tasks erased because their retention ended; part of `erased`.
    pub expired: AtomicU64,
    /// Settles refused because their lease was over.
    pub stale_settles: AtomicU64,
    paces: Mutex<HashMap<(TenantName, QueueName), Pace>>,
}

/// How fast a queue gets work done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Moving average of the time an attempt takes.
    pub run: Duration,
    /// Moving average of the time between two ends.
    pub between: Duration,
    last: Timestamp,
}

impl Meters {
    /// Adds one to a counter.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a run of this queue ended.
    pub(crate) fn note_end(
        &self,
        tenant: &TenantName,
        queue: &QueueName,
        run: Duration,
        now: Timestamp,
    ) {
        let mut paces = self.paces.lock().expect("nothing panics while it is held");
        if let Some(pace) = paces.get_mut(&(tenant.clone(), queue.clone())) {
            pace.run = average(pace.run, run);
            pace.between = average(pace.between, now.since(pace.last));
            pace.last = now;
        } else if paces.len() < QUEUES_MAX {
            let pace = Pace { run, between: run, last: now };
            paces.insert((tenant.clone(), queue.clone()), pace);
        }
    }

    /// The pace of a queue, once something ended in it.
    #[must_use]
    pub fn pace(&self, tenant: &TenantName, queue: &QueueName) -> Option<Pace> {
        let paces = self.paces.lock().expect("nothing panics while it is held");
        paces.get(&(tenant.clone(), queue.clone())).copied()
    }
}

fn average(old: Duration, new: Duration) -> Duration {
    old.mul_f64(1.0 - WEIGHT) + new.mul_f64(WEIGHT)
}
