//! What happened in each queue since the start, for metrics: counts and how long things took.
//!
//! A label of a metric needs a bound: the first queues of a tenant in which anything happens are counted
//! each for itself, all later ones together. Which is which never changes, so that counters only rise.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use relais_core::{EventData, FailureCode, QueueName, TenantName};
use relais_store::Stepped;

/// Queues of one tenant that are counted each for itself.
pub const SERIES_PER_TENANT_MAX: usize = 100;

/// The upper ends of the buckets of a [`Histogram`], seconds; the last bucket has none.
pub const BUCKETS: [f64; 14] =
    [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0];

/// How long things took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Histogram {
    /// How many fell into each bucket, the one without an end last; not summed up.
    pub counts: [u64; BUCKETS.len() + 1],
    /// All durations together, seconds.
    pub sum: f64,
}

impl Histogram {
    fn note(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BUCKETS.iter().position(|end| seconds <= *end).unwrap_or(BUCKETS.len());
        self.counts[bucket] += 1;
        self.sum += seconds;
    }
}

/// What happened in a queue, or in all those together that are not counted each for itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Tasks accepted.
    pub accepted: u64,
    /// Attempts started.
    pub started: u64,
    /// Attempts that failed, by code.
    pub attempts_failed: HashMap<FailureCode, u64>,
    /// Runs that succeeded.
    pub succeeded: u64,
    /// Runs that failed, by code.
    pub failed: HashMap<FailureCode, u64>,
    /// Runs that were canceled.
    pub canceled: u64,
    /// From the moment a task might run to the start of its first attempt.
    pub wait: Histogram,
    /// From the start of an attempt to its end.
    pub run: Histogram,
}

/// The tallies by tenant and queue; without a queue, those that came too late for their own.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    by_tenant: Mutex<BTreeMap<TenantName, BTreeMap<Option<QueueName>, Tally>>>,
}

impl Tallies {
    pub(crate) fn note(
        &self,
        tenant: &TenantName,
        queue: &QueueName,
        what: impl FnOnce(&mut Tally),
    ) {
        let mut by_tenant = self.by_tenant.lock().expect("nothing panics while it is held");
        if !by_tenant.contains_key(tenant) {
            by_tenant.insert(tenant.clone(), BTreeMap::new());
        }
        let queues = by_tenant.get_mut(tenant).expect("it was just put there");
        let own = Some(queue.clone());
        let is_full = queues.keys().flatten().count() >= SERIES_PER_TENANT_MAX;
        let series = if is_full && !queues.contains_key(&own) { None } else { own };
        what(queues.entry(series).or_default());
    }

    /// What a step brought.
    pub(crate) fn note_step(&self, stepped: &Stepped) {
        let spec = &stepped.task.spec;
        for entry in &stepped.entries {
            self.note(&spec.tenant, &spec.queue, |tally| match &entry.data {
                EventData::Started { .. } => tally.started += 1,
                EventData::AttemptFailed { code, .. } => {
                    *tally.attempts_failed.entry(*code).or_default() += 1;
                }
                EventData::Succeeded { .. } => tally.succeeded += 1,
                EventData::Failed(failure) => {
                    *tally.failed.entry(failure.code).or_default() += 1;
                }
                EventData::Canceled { .. } => tally.canceled += 1,
                EventData::Accepted
                | EventData::Progressed(_)
                | EventData::Output(_)
                | EventData::Deferred { .. }
                | EventData::Requeued { .. } => {}
            });
        }
    }

    /// First attempts started after these waits, and so many others beside them.
    pub(crate) fn note_starts(
        &self,
        tenant: &TenantName,
        queue: &QueueName,
        started: u64,
        waits: impl Iterator<Item = Duration>,
    ) {
        self.note(tenant, queue, |tally| {
            tally.started += started;
            waits.for_each(|wait| tally.wait.note(wait));
        });
    }

    pub(crate) fn note_run(&self, tenant: &TenantName, queue: &QueueName, run: Duration) {
        self.note(tenant, queue, |tally| tally.run.note(run));
    }

    /// All of them, or those of one tenant.
    pub(crate) fn of(
        &self,
        tenant: Option<&TenantName>,
    ) -> Vec<(TenantName, Option<QueueName>, Tally)> {
        let by_tenant = self.by_tenant.lock().expect("nothing panics while it is held");
        let wanted = by_tenant.iter().filter(|(name, _)| tenant.is_none_or(|one| one == *name));
        let flat = wanted.flat_map(|(name, queues)| {
            queues.iter().map(|(queue, tally)| (name.clone(), queue.clone(), tally.clone()))
        });
        flat.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queues_beyond_the_bound_are_counted_together_and_nothing_is_lost() {
        let tallies = Tallies::default();
        let tenant: TenantName = "a".parse().expect("a name");
        let queue = |n: usize| format!("q{n}").parse::<QueueName>().expect("a name");
        for n in 0..SERIES_PER_TENANT_MAX + 20 {
            tallies.note(&tenant, &queue(n), |tally| tally.accepted += 1);
        }
        tallies.note(&tenant, &queue(0), |tally| tally.accepted += 1);
        let all = tallies.of(None);
        assert_eq!(all.len(), SERIES_PER_TENANT_MAX + 1);
        let rest = all.iter().find(|(_, queue, _)| queue.is_none()).expect("there are more");
        assert_eq!(rest.2.accepted, 20);
        assert_eq!(all.iter().map(|(.., tally)| tally.accepted).sum::<u64>(), 121);
        assert!(tallies.of(Some(&"b".parse().expect("a name"))).is_empty());
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for ms in [0, 5, 6, 9_999_999] {
            histogram.note(Duration::from_millis(ms));
        }
        assert_eq!((histogram.counts[0], histogram.counts[1]), (2, 1));
        assert_eq!(histogram.counts[BUCKETS.len()], 1);
    }
}
