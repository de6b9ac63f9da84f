//! What the engine counts, for metrics and for honest estimates. Cheap: atomics and small histograms.

use std::sync::atomic::{AtomicU64, Ordering};

use relais_core::{QueueName, TenantName, Timestamp};

use crate::pace::{Lately, Paces};

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
    pub(crate) paces: Paces,
}

impl Meters {
    /// Adds one to a counter.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What a queue did lately, if anything came into it since the start.
    #[must_use]
    pub fn lately(&self, tenant: &TenantName, queue: &QueueName, now: Timestamp) -> Option<Lately> {
        self.paces.lately(tenant, queue, now)
    }
}
