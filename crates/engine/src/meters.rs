//! What the engine counts, for metrics and for honest estimates. Cheap: atomics and small histograms.

use std::sync::atomic::{AtomicU64, Ordering};

use relais_core::{EventKind, QueueName, TenantName, Timestamp};
use relais_store::Stepped;

use crate::pace::{Lately, Paces};
use crate::tally::{Tallies, Tally};

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
        for entry in &stepped.entries {
            match entry.data.kind() {
                EventKind::Started => Self::count(&self.started),
                EventKind::AttemptFailed => Self::count(&self.attempts_failed),
                EventKind::Succeeded => Self::count(&self.succeeded),
                EventKind::Failed => Self::count(&self.failed),
                EventKind::Canceled => Self::count(&self.canceled),
                EventKind::Accepted
                | EventKind::Progressed
                | EventKind::Output
                | EventKind::Deferred
                | EventKind::Requeued => {}
            }
        }
        let last = stepped.entries.last().map(|entry| (entry.data.kind(), entry.at));
        if let Some((_, at)) = last.filter(|(kind, _)| kind.is_terminal()) {
            let spec = &stepped.task.spec;
            self.paces.note_finished(&spec.tenant, &spec.queue, at);
        }
    }
}
