//! What happened in each queue since the start, for metrics: counts and how long things took.
//!
//! A label of a metric needs a bound: the first queues in which anything happens are counted each for
//! itself, all later ones of a tenant together. Which is which never changes, so that counters only rise.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use relais_core::limits::{METRIC_QUEUES_MAX, METRIC_QUEUES_PER_TENANT_MAX};
use relais_core::{EventData, FailureCode, QueueName, TenantName};
use relais_store::Stepped;

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

/// The tallies by tenant and queue.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tenants: HashMap<TenantName, OfTenant>,
    /// Queues with a tally of their own.
    named: usize,
}

#[derive(Debug, Default)]
struct OfTenant {
    named: HashMap<QueueName, Tally>,
    /// Of all that came too late for one of their own.
    others: Option<Tally>,
}

impl Tallies {
    pub(crate) fn note(
        &self,
        tenant: &TenantName,
        queue: &QueueName,
        what: impl FnOnce(&mut Tally),
    ) {
        let mut inner = self.inner.lock().expect("nothing panics while it is held");
        let Inner { tenants, named } = &mut *inner;
        if !tenants.contains_key(tenant) {
            tenants.insert(tenant.clone(), OfTenant::default());
        }
        let known = tenants.get_mut(tenant).expect("it is there now");
        let has_room =
            *named < METRIC_QUEUES_MAX && known.named.len() < METRIC_QUEUES_PER_TENANT_MAX;
        if has_room && !known.named.contains_key(queue) {
            known.named.insert(queue.clone(), Tally::default());
            *named += 1;
        }
        match known.named.get_mut(queue) {
            Some(tally) => what(tally),
            None => what(known.others.get_or_insert_default()),
        }
    }

    /// What a step brought.
    pub(crate) fn note_step(&self, stepped: &Stepped) {
        let spec = &stepped.task.spec;
        self.note(&spec.tenant, &spec.queue, |tally| {
            stepped.entries.iter().for_each(|entry| tally.note(&entry.data));
        });
    }

    /// First attempts started after these waits, and so many attempts in all.
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

    /// All of them, or those of one tenant, by name; without a queue, those that share a tally.
    pub(crate) fn of(
        &self,
        tenant: Option<&TenantName>,
    ) -> Vec<(TenantName, Option<QueueName>, Tally)> {
        let inner = self.inner.lock().expect("nothing panics while it is held");
        let mut all = Vec::new();
        for (name, known) in &inner.tenants {
            if tenant.is_some_and(|tenant| tenant != name) {
                continue;
            }
            let named = known.named.iter().map(|(queue, tally)| (Some(queue.clone()), tally));
            let others = known.others.iter().map(|tally| (None, tally));
            all.extend(
                named.chain(others).map(|(queue, tally)| (name.clone(), queue, tally.clone())),
            );
        }
        drop(inner);
        all.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
        all
    }
}

impl Tally {
    fn note(&mut self, event: &EventData) {
        match event {
            EventData::Started { .. } => self.started += 1,
            EventData::AttemptFailed { code, .. } => {
                *self.attempts_failed.entry(*code).or_default() += 1;
            }
            EventData::Succeeded { .. } => self.succeeded += 1,
            EventData::Failed(failure) => *self.failed.entry(failure.code).or_default() += 1,
            EventData::Canceled { .. } => self.canceled += 1,
            EventData::Accepted
            | EventData::Progressed(_)
            | EventData::Output(_)
            | EventData::Deferred { .. }
            | EventData::Requeued { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(tallies: &Tallies, tenant: &str, n: usize) {
        let queue = format!("q{n}").parse().expect("a name");
        tallies.note(&tenant.parse().expect("a name"), &queue, |tally| tally.accepted += 1);
    }

    #[test]
    fn the_queues_beyond_the_bound_are_counted_together_and_nothing_is_lost() {
        let tallies = Tallies::default();
        for n in 0..METRIC_QUEUES_PER_TENANT_MAX + 20 {
            accept(&tallies, "a", n);
        }
        accept(&tallies, "a", 0);
        let all = tallies.of(None);
        assert_eq!(all.len(), METRIC_QUEUES_PER_TENANT_MAX + 1);
        let rest = all.iter().find(|(_, queue, _)| queue.is_none()).expect("there are more");
        assert_eq!(rest.2.accepted, 20);
        assert_eq!(all.iter().map(|(.., tally)| tally.accepted).sum::<u64>(), 121);
        assert!(tallies.of(Some(&"b".parse().expect("a name"))).is_empty());
    }

    #[test]
    fn many_tenants_share_the_bound() {
        let tallies = Tallies::default();
        for tenant in ["a", "b", "c"] {
            (0..METRIC_QUEUES_PER_TENANT_MAX).for_each(|n| accept(&tallies, tenant, n));
        }
        let named = tallies.of(None).iter().filter(|(_, queue, _)| queue.is_some()).count();
        assert_eq!(named, METRIC_QUEUES_MAX);
        let last = tallies.of(Some(&"c".parse().expect("a name")));
        assert_eq!(last.len(), 1, "it came last, and is counted all the same");
        assert_eq!(last[0].2.accepted, METRIC_QUEUES_PER_TENANT_MAX as u64);
    }

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
