//! What the engine counts, for metrics and for honest estimates. Cheap: atomics, and one record for
//! each queue, in which all that a moment brings is noted at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use relais_core::limits::{METRIC_QUEUES_MAX, METRIC_QUEUES_PER_TENANT_MAX};
use relais_core::{EventKind, Purpose, QueueName, Spec, TenantName, Timestamp};
use relais_store::Changed;

use crate::measure::pace::{Lately, Pace, Quantiles};
use crate::measure::tally::Tally;

/// Queues whose pace is remembered; beyond, estimates fall back to the default.
const PACED_QUEUES_MAX: usize = 10_000;

/// Counters since the start of the process, of clients' tasks.
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
    queues: Mutex<Queues>,
}

/// The records of all queues.
///
/// A label of a metric needs a bound: the first queues in which anything happens have a tally each,
/// all later ones of a tenant share one. Which is which never changes, so that counters only rise.
#[derive(Debug, Default)]
struct Queues {
    tenants: HashMap<TenantName, OfTenant>,
    /// Queues with a record.
    known: usize,
    /// Of them, those with a tally of their own.
    tallied: usize,
}

#[derive(Debug, Default)]
struct OfTenant {
    queues: HashMap<QueueName, Record>,
    /// Of all that came too late for one of their own.
    others: Option<Tally>,
}

#[derive(Debug, Default)]
struct Record {
    pace: Pace,
    tally: Option<Tally>,
}

impl Meters {
    /// Adds one to a counter.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds one for a task to a counter of clients' tasks.
    pub(crate) fn count_of(spec: &Spec, counter: &AtomicU64) {
        if spec.purpose == Purpose::Client {
            Self::count(counter);
        }
    }

    /// What happened in each queue of one tenant, or of all, by name; without a queue, in those
    /// together that are not counted each for itself.
    #[must_use]
    pub fn tallies(
        &self,
        tenant: Option<&TenantName>,
    ) -> Vec<(TenantName, Option<QueueName>, Tally)> {
        let mut all = Vec::new();
        for (name, known) in &self.queues().tenants {
            if tenant.is_some_and(|tenant| tenant != name) {
                continue;
            }
            let own = known.queues.iter();
            let own = own.filter_map(|(queue, record)| Some((Some(queue), record.tally.as_ref()?)));
            let others = known.others.iter().map(|tally| (None, tally));
            all.extend(
                own.chain(others)
                    .map(|(queue, tally)| (name.clone(), queue.cloned(), tally.clone())),
            );
        }
        all.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
        all
    }

    /// What a queue did lately, if anything happened in it since the start.
    #[must_use]
    pub fn lately(&self, tenant: &TenantName, queue: &QueueName, now: Timestamp) -> Option<Lately> {
        Some(self.queues().pace(tenant, queue)?.lately(now))
    }

    /// How long an attempt of a task like this takes: see [`Pace::run_after`].
    pub(crate) fn run_of(&self, spec: &Spec, elapsed: Duration) -> Option<Quantiles> {
        self.queues().pace(&spec.tenant, &spec.queue)?.run_after(elapsed)
    }

    /// An attempt ended after this long.
    pub(crate) fn note_run(&self, spec: &Spec, run: Duration) {
        if spec.purpose == Purpose::Internal {
            return;
        }
        self.count_in(&spec.tenant, &spec.queue, |tally, pace| {
            tally.run.note(run);
            if let Some(pace) = pace {
                pace.run.note(run);
            }
        });
    }

    /// Counts what became of a task.
    pub(crate) fn note(&self, changed: &Changed) {
        let spec = &changed.task.spec;
        if spec.purpose == Purpose::Internal {
            return;
        }
        self.count_in(&spec.tenant, &spec.queue, |tally, mut pace| {
            for entry in &changed.entries {
                tally.note(&entry.data);
                let kind = entry.data.kind();
                // How long a task waited for its turn is known once.
                let wait = entry.at.since(spec.run_at);
                let has_waited = kind == EventKind::Started && entry.attempt == 1;
                if has_waited {
                    tally.wait.note(wait);
                }
                match &mut pace {
                    Some(pace) if has_waited => pace.wait.note(wait),
                    Some(pace) if kind == EventKind::Accepted => pace.accepted.note(entry.at),
                    Some(pace) if kind.is_terminal() => pace.finished.note(entry.at),
                    Some(_) | None => {}
                }
            }
        });
    }

    /// Notes what happened in a queue: in its tally, or that of the others, and in
    /// its pace, if it has one.
    fn count_in(
        &self,
        tenant: &TenantName,
        queue: &QueueName,
        what: impl FnOnce(&mut Tally, Option<&mut Pace>),
    ) {
        let mut queues = self.queues();
        let Queues { tenants, known, tallied } = &mut *queues;
        let of_tenant = tenants.entry(tenant.clone()).or_default();
        let has_tally =
            *tallied < METRIC_QUEUES_MAX && of_tenant.queues.len() < METRIC_QUEUES_PER_TENANT_MAX;
        let record = match of_tenant.queues.entry(queue.clone()) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(slot) if has_tally || *known < PACED_QUEUES_MAX => {
                *known += 1;
                *tallied += usize::from(has_tally);
                slot.insert(Record { pace: Pace::default(), tally: has_tally.then(Tally::default) })
            }
            Slot::Vacant(_) => return what(of_tenant.others.get_or_insert_default(), None),
        };
        let tally = record.tally.as_mut();
        let tally = tally.unwrap_or_else(|| of_tenant.others.get_or_insert_default());
        what(tally, Some(&mut record.pace));
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().expect("nothing panics while it is held")
    }
}

impl Queues {
    fn pace(&self, tenant: &TenantName, queue: &QueueName) -> Option<&Pace> {
        Some(&self.tenants.get(tenant)?.queues.get(queue)?.pace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(meters: &Meters, tenant: &str, n: usize) {
        let queue = format!("q{n}").parse().expect("a name");
        meters.count_in(&name(tenant), &queue, |tally, pace| {
            tally.started += 1;
            if let Some(pace) = pace {
                pace.wait.note(Duration::ZERO);
            }
        });
    }

    fn name(tenant: &str) -> TenantName {
        tenant.parse().expect("a name")
    }

    #[test]
    fn the_queues_beyond_the_bound_are_counted_together_and_nothing_is_lost() {
        let meters = Meters::default();
        for n in 0..METRIC_QUEUES_PER_TENANT_MAX + 20 {
            start(&meters, "a", n);
        }
        start(&meters, "a", 0);
        let all = meters.tallies(None);
        assert_eq!(all.len(), METRIC_QUEUES_PER_TENANT_MAX + 1);
        let rest = all.iter().find(|(_, queue, _)| queue.is_none()).expect("there are more");
        assert_eq!(rest.2.started, 20);
        assert_eq!(all.iter().map(|(.., tally)| tally.started).sum::<u64>(), 121);
        assert!(meters.tallies(Some(&name("b"))).is_empty());
    }

    #[test]
    fn many_tenants_share_the_bound() {
        let meters = Meters::default();
        for tenant in ["a", "b", "c"] {
            (0..METRIC_QUEUES_PER_TENANT_MAX).for_each(|n| start(&meters, tenant, n));
        }
        let named = meters.tallies(None).iter().filter(|(_, queue, _)| queue.is_some()).count();
        assert_eq!(named, METRIC_QUEUES_MAX);
        let last = meters.tallies(Some(&name("c")));
        assert_eq!(last.len(), 1, "it came last, and is counted all the same");
        assert_eq!(last[0].2.started, METRIC_QUEUES_PER_TENANT_MAX as u64);
    }

    /// A tenant that fills the table of paces takes no other tenant's place in the metrics.
    #[test]
    fn beyond_the_bound_of_paces_a_queue_is_counted_and_has_no_pace() {
        let meters = Meters::default();
        (0..PACED_QUEUES_MAX + 1).for_each(|n| start(&meters, "a", n));
        let lately = |tenant, queue: String| {
            let queue = queue.parse().expect("a name");
            meters.lately(&name(tenant), &queue, Timestamp::from_ms(0))
        };
        let wait = |tenant, n| lately(tenant, format!("q{n}")).and_then(|lately| lately.wait);
        assert!(wait("a", PACED_QUEUES_MAX - 1).is_some(), "counted with others, and paced");
        assert_eq!(lately("a", format!("q{PACED_QUEUES_MAX}")), None);
        start(&meters, "b", 0);
        assert_eq!(meters.tallies(Some(&name("b")))[0].1, Some("q0".parse().expect("a name")));
        assert!(wait("b", 0).is_some());
    }
}
