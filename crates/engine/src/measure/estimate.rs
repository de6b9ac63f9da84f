//! When a task may be done, and when asking for it again makes sense: one estimate, for a 202, a
//! poll, a stream and `why`.
//!
//! It is made of the task's place, of what holds the task, and of how long attempts of its queue
//! were measured to take; nothing but the place is read, and a 202 has that from its commit. What
//! cannot be known is not told: a paused queue, or one whose workers are away, has no estimate.

use std::time::Duration;

use relais_core::{Order, State, Task, Timestamp};
use relais_store::Place;

use crate::dispatcher::Staff;
use crate::engine::{Engine, EngineError};
use crate::measure::pace::Quantiles;
use crate::measure::why::{Lasts, Obstacle, Outlook, Readiness};

/// How long an attempt takes when none was measured yet; also the shortest time to ask again
/// after where nothing is known.
const UNKNOWN: Duration = Duration::from_secs(2);
/// The longest time an attempt is expected to take.
const RUN_MAX: Duration = Duration::from_secs(24 * 3600);

/// What is expected of a task; it changes without an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Estimate {
    /// Tasks before it in its lane, while it is queued.
    pub ahead: Option<u64>,
    /// When it may be done: the median, and nine times out of ten.
    pub eta: Option<(Timestamp, Timestamp)>,
    /// After how long asking again makes sense.
    pub again_in: Duration,
    /// Of that, how long it certainly waits: the end of this wait is known.
    pub held_for: Duration,
}

/// How many attempts run beside each other where a task waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slots {
    /// Of them, how many are free.
    pub(crate) free: u64,
    /// How many are taken by its lane.
    pub(crate) taken: u64,
}

impl Engine {
    /// What is expected of a task, for an answer that tells what is durable already: it must not
    /// fail, so that nothing is promised where the store cannot be read.
    pub async fn estimate_if_known(&self, task: &Task) -> Estimate {
        self.estimate(task).await.unwrap_or_else(|error| {
            tracing::debug!(%error, task = %task.spec.id, "could not estimate");
            let waited = self.now().since(task.life.updated_at);
            Estimate { again_in: backed_off(waited), ..Estimate::default() }
        })
    }

    /// What is expected of a task.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn estimate(&self, task: &Task) -> Result<Estimate, EngineError> {
        let place = match task.life.state {
            State::Queued { .. } => self.store().place(task.spec.id).await?.unwrap_or_default(),
            _ => Place::default(),
        };
        Ok(self.estimate_at(task, &place))
    }

    /// What is expected of a task at this place of its queue. Reads nothing: of one that was just
    /// accepted all that is ready before counts as ahead, also what it will overtake.
    #[must_use]
    pub fn estimate_at(&self, task: &Task, place: &Place) -> Estimate {
        match &task.life.state {
            State::Queued { .. } => self.why_queued(task, place).estimate,
            State::Running { started_at, .. } => {
                let now = self.now();
                let elapsed = now.since(*started_at);
                running(self.meters().run_of(&task.spec, elapsed), elapsed, now)
            }
            State::Waiting { .. } => Estimate {
                again_in: backed_off(self.now().since(task.life.updated_at)),
                ..Estimate::default()
            },
            State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } => {
                Estimate::default()
            }
        }
    }

    pub(crate) fn estimate_queued(
        &self,
        task: &Task,
        place: &Place,
        outlook: &Outlook,
        obstacles: &[Obstacle],
    ) -> Estimate {
        let now = outlook.now;
        let since = task.life.updated_at.max(task.life.run_at().unwrap_or(now));
        let run = self.meters().run_of(&task.spec, Duration::ZERO);
        queued(place.ahead, slots(place, outlook), obstacles, run, (now, now.since(since)))
    }
}

fn slots(place: &Place, outlook: &Outlook) -> Slots {
    let policy = &outlook.policy;
    let free_of = |limit: Option<u32>, leases: u64| {
        limit.map_or(u64::MAX, |limit| u64::from(limit).saturating_sub(leases))
    };
    let in_order = match policy.order {
        Order::Strict if place.is_held => 0,
        Order::Strict => 1,
        Order::Fair => u64::MAX,
    };
    let allowed = free_of(policy.concurrency, place.queue_leases)
        .min(free_of(policy.concurrency_per_lane, place.lane_leases))
        .min(in_order);
    let taken_up = match &outlook.runner {
        Readiness::Upstream(calls, _) => calls.free,
        Readiness::Inline => u64::MAX,
        // Nobody knows how many workers there are: those that wait, or else the next that is done.
        Readiness::Workers(Staff::Waits) => 1,
        Readiness::Workers(_) => u64::from(place.queue_leases == 0),
    };
    Slots { free: allowed.min(taken_up), taken: place.lane_leases }
}

/// What is expected of a task that waits with `ahead` before it; `moment` is
/// now, and how long it waits.
fn queued(
    ahead: u64,
    slots: Slots,
    obstacles: &[Obstacle],
    run: Option<Quantiles>,
    (now, waited): (Timestamp, Duration),
) -> Estimate {
    let (mut begins, mut paced, mut is_open) = (now, now, false);
    for obstacle in obstacles {
        match obstacle.lasts() {
            Lasts::Until(moment) => begins = begins.max(moment),
            Lasts::Paced(moment) => paced = paced.max(moment),
            Lasts::Open => is_open = true,
            Lasts::Turn => {}
        }
    }
    let usual = run.unwrap_or(Quantiles { p50: UNKNOWN, p90: UNKNOWN });
    // Those that find a free slot start at once; each of the others waits for an attempt to end.
    let turns = ahead.saturating_add(1).saturating_sub(slots.free);
    let beside = slots.taken.saturating_add(slots.free.min(ahead)).max(1);
    let turns_take = times(usual.p50.min(RUN_MAX), turns, beside);
    let starts = begins.plus(turns_take).max(paced);
    let held_for = begins.max(paced).since(now);
    if is_open {
        let again_in = held_for.max(backed_off(waited));
        return Estimate { ahead: Some(ahead), eta: None, again_in, held_for };
    }
    // Nine in ten queues are taken to move at no less than half of their usual pace.
    let late = begins.plus(turns_take.saturating_mul(2)).max(paced);
    let p50 = starts.plus(usual.p50.min(RUN_MAX));
    let p90 = late.plus(usual.p90.min(RUN_MAX));
    let eta = run.map(|_| (p50, p90));
    Estimate { ahead: Some(ahead), eta, again_in: p50.since(now), held_for }
}

/// What is expected of an attempt that has run for `elapsed` and takes `left`, where that is known.
fn running(left: Option<Quantiles>, elapsed: Duration, now: Timestamp) -> Estimate {
    match left {
        Some(left) => Estimate {
            ahead: None,
            eta: Some((now.plus(left.p50.min(RUN_MAX)), now.plus(left.p90.min(RUN_MAX)))),
            again_in: left.p50,
            held_for: Duration::ZERO,
        },
        None => Estimate { again_in: backed_off(elapsed), ..Estimate::default() },
    }
}

/// When to ask again where nothing is known: what has taken long is not over soon.
fn backed_off(waited: Duration) -> Duration {
    (waited / 2).max(UNKNOWN)
}

/// `turns` attempts that each take `span`, so many `beside` each other.
fn times(span: Duration, turns: u64, beside: u64) -> Duration {
    let ms = span.as_millis().saturating_mul(turns.into()) / u128::from(beside.max(1));
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use relais_core::outcome::PauseScope;

    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_000_000);
    const FREE: Slots = Slots { free: 1, taken: 0 };

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn run() -> Option<Quantiles> {
        Some(Quantiles { p50: s(2), p90: s(5) })
    }

    /// Seconds from now to the median and to the late end, and until asking again.
    fn told(estimate: Estimate) -> (Option<(u64, u64)>, u64) {
        let from_now = |moment: Timestamp| moment.since(NOW).as_secs();
        let eta = estimate.eta.map(|(p50, p90)| (from_now(p50), from_now(p90)));
        (eta, estimate.again_in.as_secs())
    }

    fn waits(ahead: u64, slots: Slots, obstacles: &[Obstacle]) -> (Option<(u64, u64)>, u64) {
        told(queued(ahead, slots, obstacles, run(), (NOW, s(30))))
    }

    #[test]
    fn the_queue_ahead_counts_over_the_slots_that_work_it_off() {
        assert_eq!(waits(0, FREE, &[]), (Some((2, 5)), 2), "a free slot: its own run only");
        assert_eq!(waits(45, Slots { free: 0, taken: 1 }, &[]), (Some((94, 189)), 94));
        assert_eq!(waits(45, Slots { free: 0, taken: 23 }, &[]), (Some((6, 13)), 6));
        assert_eq!(waits(9, Slots { free: 10, taken: 0 }, &[]), (Some((2, 5)), 2), "all start now");
        assert_eq!(
            waits(0, Slots { free: 0, taken: 1 }, &[]).0,
            Some((4, 9)),
            "one must end first"
        );
    }

    #[test]
    fn a_wait_whose_end_is_known_is_heeded() {
        let paused = Obstacle::OriginPaused { scope: PauseScope::Origin, until: NOW.plus(s(120)) };
        assert_eq!(waits(0, FREE, std::slice::from_ref(&paused)), (Some((122, 125)), 122));
        let rate = Obstacle::Rate { until: NOW.plus(s(60)) };
        assert_eq!(waits(0, FREE, &[rate]).0, Some((62, 65)));
        let unmeasured = queued(0, FREE, &[paused], None, (NOW, s(0)));
        assert_eq!(told(unmeasured), (None, 122), "known or not how long it will run");
        assert_eq!(unmeasured.held_for, s(120), "nobody needs to ask before");
    }

    #[test]
    fn a_rate_counts_those_ahead_itself() {
        let rate = Obstacle::Rate { until: NOW.plus(s(60)) };
        assert_eq!(waits(5, Slots { free: 0, taken: 1 }, &[rate]).0, Some((62, 65)));
    }

    #[test]
    fn nothing_is_promised_where_nothing_can_start() {
        for obstacle in [Obstacle::QueuePaused, Obstacle::NoWorker] {
            let (eta, again) = waits(0, FREE, &[obstacle]);
            assert_eq!((eta, again), (None, 15), "half as long as it has waited");
        }
        let scheduled = Obstacle::Scheduled { until: NOW.plus(s(50)), is_retry: false };
        assert_eq!(waits(0, FREE, &[scheduled, Obstacle::QueuePaused]), (None, 50));
    }

    #[test]
    fn an_attempt_that_outlives_all_others_is_asked_for_less_and_less_often() {
        assert_eq!(told(running(run(), s(1), NOW)), (Some((2, 5)), 2));
        assert_eq!(told(running(None, s(1), NOW)), (None, 2));
        assert_eq!(told(running(None, s(60), NOW)), (None, 30));
    }
}
