//! What stands still because an upstream asked to be left alone (`Retry-After`).
//!
//! In memory, like the limits of upstreams: a process that starts anew, or another one, asks once
//! more and hears it for itself. Not here: pauses of whole upstreams (`origin`), and whose decision
//! it is what a pause is about (`relais_core::outcome`).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use relais_core::outcome::PauseScope;
use relais_core::{LaneKey, Runner, Task, Timestamp, limits};
use relais_store::Pool;

use crate::engine::Engine;
use crate::upstream::origin::Calls;

/// How long an upstream wants to be left alone, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) scope: PauseScope,
    pub(crate) span: Duration,
}

/// Why the upstream of a task is not called for it, whoever's turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It asked to be left alone.
    Paused(PauseScope),
    /// It gets as many calls as its rate allows.
    Rate,
}

/// Queues and lanes that leave their upstream alone.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    by_pool: Mutex<HashMap<Pool, Paused>>,
}

#[derive(Debug, Default)]
struct Paused {
    /// The whole pool.
    until: Option<Timestamp>,
    lanes: Arc<BTreeMap<LaneKey, Timestamp>>,
}

impl Pauses {
    /// Notes a pause; without a lane, or where too many are paused already, it is that of the pool.
    fn pause(&self, pool: &Pool, lane: Option<&LaneKey>, until: Timestamp) {
        let mut by_pool = self.lock();
        let paused = by_pool.entry(pool.clone()).or_default();
        let has_room = paused.lanes.len() < limits::PAUSED_LANES_MAX;
        match lane.filter(|lane| has_room || paused.lanes.contains_key(*lane)) {
            Some(lane) => {
                let known = Arc::make_mut(&mut paused.lanes).entry(lane.clone()).or_insert(until);
                *known = until.max(*known);
            }
            None => paused.until = paused.until.max(Some(until)),
        }
    }

    /// Until when nothing of a pool may start.
    pub(crate) fn pool_until(&self, pool: &Pool, now: Timestamp) -> Option<Timestamp> {
        self.lock().get(pool)?.until.filter(|until| *until > now)
    }

    /// The lanes of a pool from which nothing may start.
    pub(crate) fn lanes(&self, pool: &Pool, now: Timestamp) -> Arc<BTreeMap<LaneKey, Timestamp>> {
        let mut by_pool = self.lock();
        let Some(paused) = by_pool.get_mut(pool) else { return Arc::default() };
        if paused.lanes.values().any(|until| *until <= now) {
            Arc::make_mut(&mut paused.lanes).retain(|_, until| *until > now);
        }
        let lanes = paused.lanes.clone();
        if lanes.is_empty() && paused.until.is_none_or(|until| until <= now) {
            by_pool.remove(pool);
        }
        lanes
    }

    /// The machine's time was set by `ms`: pauses are durations, and move along.
    pub(crate) fn shift(&self, ms: i64) {
        for paused in self.lock().values_mut() {
            paused.until = paused.until.map(|until| until.shifted(ms));
            let lanes = Arc::make_mut(&mut paused.lanes).values_mut();
            lanes.for_each(|until| *until = until.shifted(ms));
        }
    }

    /// Until when the queue of a task, and its lane, are left alone.
    fn of(&self, task: &Task, now: Timestamp) -> [Option<Timestamp>; 2] {
        let by_pool = self.lock();
        // Most of the time nothing is: then no pool is made up to ask.
        if by_pool.is_empty() {
            return [None; 2];
        }
        let Some(paused) = by_pool.get(&Pool::of(task)) else { return [None; 2] };
        let lane = task.spec.lane.as_ref().and_then(|lane| paused.lanes.get(lane));
        [paused.until, lane.copied()].map(|until| until.filter(|until| *until > now))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Pool, Paused>> {
        self.by_pool.lock().expect("nothing panics while it is held")
    }
}

impl Engine {
    /// Leaves alone what the upstream of a task asked for.
    pub(crate) fn leave_alone(&self, task: &Task, pause: Pause) {
        let Runner::Upstream { origin, .. } = &task.spec.runner else { return };
        let now = self.now();
        let until = now.plus(pause.span.min(limits::ORIGIN_PAUSE_MAX));
        let pool = Pool::of(task);
        let is_known = self.hold_of(task).is_some_and(|(end, _)| end >= until);
        match pause.scope {
            PauseScope::Origin => self.inner().origins.pause(origin, until),
            PauseScope::Queue => self.inner().pauses.pause(&pool, None, until),
            PauseScope::Lane => {
                self.inner().pauses.pause(&pool, task.spec.lane.as_ref(), until);
            }
        }
        if !is_known {
            tracing::info!(
                upstream = %origin, tenant = %task.spec.tenant, queue = %task.spec.queue,
                scope = pause.scope.as_str(), seconds = pause.span.as_secs(), task = %task.spec.id,
                "an upstream asks to be left alone"
            );
        }
        self.alarm_pool(&pool, until);
    }

    /// Until when the upstream of a task is not called for it, and why; `None` if nothing like that
    /// holds it. The latest end counts.
    #[must_use]
    pub fn hold_of(&self, task: &Task) -> Option<(Timestamp, Hold)> {
        let Runner::Upstream { origin, .. } = &task.spec.runner else { return None };
        let now = self.now();
        self.hold_by(task, &self.inner().origins.calls(origin, 1, now), now)
    }

    /// The same where what the origin lets start is known.
    pub(crate) fn hold_by(
        &self,
        task: &Task,
        calls: &Calls,
        now: Timestamp,
    ) -> Option<(Timestamp, Hold)> {
        let paused =
            |scope, until: Option<Timestamp>| until.map(|until| (until, Hold::Paused(scope)));
        let [queue, lane] = self.inner().pauses.of(task, now);
        [
            paused(PauseScope::Origin, calls.paused_until),
            paused(PauseScope::Queue, queue),
            paused(PauseScope::Lane, lane),
            calls.rate_until.map(|until| (until, Hold::Rate)),
        ]
        .into_iter()
        .flatten()
        .max_by_key(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use relais_core::Purpose;
    use relais_store::RunBy;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    fn pool() -> Pool {
        let run_by = RunBy::Upstream("http://a".into());
        let name = "default";
        let (tenant, queue) = (name.parse().expect("a name"), name.parse().expect("a name"));
        Pool { tenant, queue, purpose: Purpose::Client, run_by }
    }

    fn lane(n: usize) -> LaneKey {
        format!("lane-{n}").parse().expect("a name")
    }

    #[test]
    fn a_pause_of_a_lane_ends_and_is_forgotten() {
        let pauses = Pauses::default();
        pauses.pause(&pool(), Some(&lane(1)), at(100));
        pauses.pause(&pool(), Some(&lane(1)), at(50));
        let paused = BTreeMap::from([(lane(1), at(100))]);
        assert_eq!(*pauses.lanes(&pool(), at(99)), paused, "the later end");
        assert_eq!(pauses.pool_until(&pool(), at(0)), None);
        assert!(pauses.lanes(&pool(), at(100)).is_empty());
        assert!(pauses.lock().is_empty());
    }

    #[test]
    fn a_clock_that_is_set_neither_ends_nor_lengthens_a_pause() {
        let pauses = Pauses::default();
        pauses.pause(&pool(), Some(&lane(1)), at(100));
        pauses.pause(&pool(), None, at(100));
        pauses.shift(-3_600_000);
        assert_eq!(pauses.pool_until(&pool(), at(-3_600_000)), Some(at(100 - 3_600_000)));
        let lanes = |now| pauses.lanes(&pool(), at(now));
        assert_eq!(lanes(-3_600_000).get(&lane(1)), Some(&at(100 - 3_600_000)));
        assert!(lanes(100 - 3_600_000).is_empty());
    }

    #[test]
    fn beyond_the_limit_of_lanes_the_queue_is_paused() {
        let pauses = Pauses::default();
        for n in 0..limits::PAUSED_LANES_MAX {
            pauses.pause(&pool(), Some(&lane(n)), at(100));
        }
        assert_eq!(pauses.pool_until(&pool(), at(0)), None);
        pauses.pause(&pool(), Some(&lane(limits::PAUSED_LANES_MAX)), at(70));
        assert_eq!(pauses.pool_until(&pool(), at(0)), Some(at(70)));
        assert_eq!(pauses.lanes(&pool(), at(0)).len(), limits::PAUSED_LANES_MAX);
    }
}
