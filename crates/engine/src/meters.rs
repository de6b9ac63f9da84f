//! What the engine counts, for metrics and for honest estimates. Cheap: atomics and small histograms.

use std::sync::atomic::{AtomicU64, Ordering};

use relais_core::{QueueName, TenantName, Timestamp};
use relais_store::Stepped;

use crate::pace::{Lately, Paces};
use crate::tally::{Tallies, Tally};

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub struct Meters {
    /// Requests attached to an earlier task by their idempotency key.
    pub attached: AtomicU64,
    /// Tasks erased when their retention ended, or by hand.
    pub erased: AtomicU64,
    /// Tasks erased because their retention ended; part of `erased`.
    pub expired: AtomicU64,
    /// Settles refused because their lease was over.
    pub stale_settles: AtomicU64,
    pub(crate) paces: Paces,
    pub(crate) tallies: Tallies,
}

impl Meters {
    /// Adds one to a counter.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What happened in each queue of one tenant, or of all; without a queue, in those together that are
    /// not counted each for itself.
    #[must_use]
    pub fn tallies(
        &self,
        tenant: Option<&TenantName>,
    ) -> Vec<(TenantName, Option<QueueName>, Tally)> {
        self.tallies.of(tenant)
    }

    /// What a queue did lately, if anything came into it since the start.
    #[must_use]
    pub fn lately(&self, tenant: &TenantName, queue: &QueueName, now: Timestamp) -> Option<Lately> {
        self.paces.lately(tenant, queue, now)
    }

    /// Counts what a step brought.
    pub(crate) fn note_step(&self, stepped: &Stepped) {
        self.tallies.note_step(stepped);
        let last = stepped.entries.last().filter(|entry| entry.data.kind().is_terminal());
        if let Some(last) = last {
            let spec = &stepped.task.spec;
            self.paces.note_finished(&spec.tenant, &spec.queue, last.at);
        }
    }
}
