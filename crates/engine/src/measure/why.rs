//! Why a task waits: promise 5, nothing waits without an explanation.

use std::sync::Arc;

use relais_core::lane::{Bucket, nth_free_at};
use relais_core::outcome::PauseScope;
use relais_core::{Order, Policy, Rate, Runner, State, Task, Timestamp};
use relais_store::{Place, Pool};

use crate::dispatcher::Staff;
use crate::engine::{Engine, EngineError};
use crate::measure::estimate::Estimate;
use crate::upstream::origin::Calls;
use crate::upstream::pause::Hold;

/// One thing that keeps a task from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// Its moment has not come; `is_retry` tells a backoff from a wish.
    Scheduled {
        /// When it comes.
        until: Timestamp,
        /// Whether an attempt failed before.
        is_retry: bool,
    },
    /// Nothing defines its queue (any more): it goes by the default policy.
    QueueNotDefined,
    /// Its queue is paused.
    QueuePaused,
    /// The upstream asked to be left alone.
    OriginPaused { scope: PauseScope, until: Timestamp },
    /// The rate of the upstream is spent.
    OriginRate {
        /// When it lets this task start, those before it counted.
        until: Timestamp,
    },
    /// The upstream has as many calls in flight as it may.
    OriginFull,
    /// The queue has as many leases as it may.
    Concurrency { limit: u32 },
    /// Its lane has as many leases as it may.
    LaneConcurrency { limit: u32 },
    /// Its lane runs one after the other, and a task of it that has started is not over.
    LaneHeld,
    /// The rate of its lane is spent.
    LaneRate {
        /// When it lets this task start, those before it counted.
        until: Timestamp,
    },
    /// The rate of its queue is spent.
    Rate {
        /// When it lets this task start, those before it counted.
        until: Timestamp,
    },
    /// Others start before it; with none ahead in its lane it starts in a
    /// moment, or after other lanes.
    Position {
        /// How many of its lane.
        ahead: u64,
    },
    /// No worker asks for tasks of its queue.
    NoWorker,
    /// An outside system has it.
    Outside {
        /// Until when, at most.
        until: Timestamp,
    },
}

/// How long an obstacle stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lasts {
    /// Until a moment, and those that wait start then.
    Until(Timestamp),
    /// Until a moment at which it is this task's turn.
    Paced(Timestamp),
    /// Until attempts end, or others have started.
    Turn,
    /// Nobody can say.
    Open,
}

impl Obstacle {
    pub(crate) const fn lasts(&self) -> Lasts {
        match self {
            Self::Scheduled { until, .. }
            | Self::OriginPaused { until, .. }
            | Self::Outside { until } => Lasts::Until(*until),
            Self::OriginRate { until } | Self::LaneRate { until } | Self::Rate { until } => {
                Lasts::Paced(*until)
            }
            Self::OriginFull
            | Self::Concurrency { .. }
            | Self::LaneConcurrency { .. }
            | Self::LaneHeld
            | Self::QueueNotDefined
            | Self::Position { .. } => Lasts::Turn,
            Self::QueuePaused | Self::NoWorker => Lasts::Open,
        }
    }
}

/// What a queued task depends on beside its place: read once, so that all
/// that is told of it agrees.
#[derive(Debug)]
pub(crate) struct Outlook {
    pub(crate) now: Timestamp,
    pub(crate) policy: Arc<Policy>,
    is_queue_defined: bool,
    pub(crate) runner: Readiness,
}

/// How ready whoever runs a task is.
#[derive(Debug)]
pub(crate) enum Readiness {
    /// What the upstream lets start, and until when it is not called for this task, and why.
    Upstream(Calls, Option<(Timestamp, Hold)>),
    /// What workers do about the task's pool.
    Workers(Staff),
    /// This process is.
    Inline,
}

/// Why a task waits, and for how long, as far as one can tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Why {
    /// What keeps it; empty only when it runs or is over.
    pub obstacles: Vec<Obstacle>,
    /// What is expected of it.
    pub estimate: Estimate,
}

impl Engine {
    /// Explains why a task waits.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn why(&self, task: &Task) -> Result<Why, EngineError> {
        match &task.life.state {
            State::Queued { .. } => {
                let place = self.store().place(task.spec.id).await?.unwrap_or_default();
                Ok(self.why_queued(task, &place))
            }
            State::Waiting { until, .. } => {
                let obstacles = vec![Obstacle::Outside { until: *until }];
                Ok(Why { obstacles, estimate: self.estimate(task).await? })
            }
            State::Running { .. }
            | State::Succeeded { .. }
            | State::Failed { .. }
            | State::Canceled { .. } => {
                Ok(Why { obstacles: Vec::new(), estimate: self.estimate(task).await? })
            }
        }
    }

    /// Explains why a task waits that is queued at this place.
    pub(crate) fn why_queued(&self, task: &Task, place: &Place) -> Why {
        let outlook = self.outlook(task, place);
        let obstacles = obstacles(task, place, &outlook);
        let estimate = self.estimate_queued(task, place, &outlook, &obstacles);
        Why { obstacles, estimate }
    }

    fn outlook(&self, task: &Task, place: &Place) -> Outlook {
        let now = self.now();
        let runner = match &task.spec.runner {
            Runner::Upstream { origin, .. } => {
                let calls = self.inner().origins.calls(origin, turn_of(place), now);
                Readiness::Upstream(calls, self.hold_by(task, &calls, now))
            }
            Runner::Workers => {
                let dispatcher = &self.inner().dispatcher;
                Readiness::Workers(dispatcher.staff(&Pool::of(task), self.elapsed()))
            }
            Runner::Inline | Runner::Delivery => Readiness::Inline,
        };
        let policy = self.policies().find_of(&task.spec);
        let is_queue_defined = policy.is_some();
        let policy = policy.unwrap_or_else(|| self.policies().of_undefined());
        Outlook { now, policy, is_queue_defined, runner }
    }
}

/// What keeps a queued task from starting, the most decisive first; never nothing.
fn obstacles(task: &Task, place: &Place, outlook: &Outlook) -> Vec<Obstacle> {
    let mut found = Vec::new();
    if let Some(until) = task.life.run_at().filter(|run_at| *run_at > outlook.now) {
        let is_retry = task.life.failures + task.life.crashes > 0;
        found.push(Obstacle::Scheduled { until, is_retry });
    }
    if !outlook.is_queue_defined {
        found.push(Obstacle::QueueNotDefined);
    }
    if place.is_paused {
        found.push(Obstacle::QueuePaused);
    }
    add_limits(&outlook.policy, place, outlook.now, &mut found);
    match &outlook.runner {
        Readiness::Upstream(calls, hold) => add_upstream(calls, *hold, &mut found),
        // A worker that has a lease of the queue asks again when it is done.
        Readiness::Workers(Staff::Nobody) if place.queue_leases == 0 => {
            found.push(Obstacle::NoWorker);
        }
        Readiness::Workers(_) | Readiness::Inline => {}
    }
    if place.ahead > 0 || found.is_empty() {
        found.push(Obstacle::Position { ahead: place.ahead });
    }
    found
}

/// What the policy of the queue says.
fn add_limits(policy: &Policy, place: &Place, now: Timestamp, found: &mut Vec<Obstacle>) {
    let full = |limit: Option<u32>, leases| limit.filter(|limit| leases >= u64::from(*limit));
    if let Some(limit) = full(policy.concurrency, place.queue_leases) {
        found.push(Obstacle::Concurrency { limit });
    }
    if let Some(limit) = full(policy.concurrency_per_lane, place.lane_leases) {
        found.push(Obstacle::LaneConcurrency { limit });
    }
    if policy.order == Order::Strict && place.is_held {
        found.push(Obstacle::LaneHeld);
    }
    let in_lane = policy.rate_per_lane;
    let in_lane =
        in_lane.and_then(|rate| nth_free_at(place.lane_full_at, rate, turn_of(place), now));
    if let Some(until) = in_lane {
        found.push(Obstacle::LaneRate { until });
    }
    if let Some(until) = policy.rate.and_then(|rate| spent_until(place, rate, now)) {
        found.push(Obstacle::Rate { until });
    }
}

/// What protects the upstream.
fn add_upstream(calls: &Calls, hold: Option<(Timestamp, Hold)>, found: &mut Vec<Obstacle>) {
    if let Some((until, Hold::Paused(scope))) = hold {
        found.push(Obstacle::OriginPaused { scope, until });
    }
    if let Some(until) = calls.nth_at {
        found.push(Obstacle::OriginRate { until });
    }
    if calls.free == 0 {
        found.push(Obstacle::OriginFull);
    }
}

/// When the rate of a queue lets a task start, unless it does now.
fn spent_until(place: &Place, rate: Rate, now: Timestamp) -> Option<Timestamp> {
    let bucket = place.bucket.unwrap_or_else(|| Bucket::full(rate, now));
    let until = bucket.nth_at(rate, turn_of(place), now);
    Some(until).filter(|until| *until > now)
}

/// The number of a start, counted from now on, that is this task's.
fn turn_of(place: &Place) -> u64 {
    place.ahead.saturating_add(1)
}
