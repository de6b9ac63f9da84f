//! Why a task waits: promise 5, nothing waits without an explanation.

use std::sync::Arc;
use std::time::Duration;

use relais_core::outcome::PauseScope;
use relais_core::{Runner, State, Task, Timestamp};
use relais_store::{Pool, QueueStats, RunBy};

use crate::engine::{Engine, EngineError};
use crate::pause::Hold;

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
    /// The upstream asked for a pause.
    OriginPaused {
        /// Of what.
        scope: PauseScope,
        /// Until when.
        until: Timestamp,
    },
    /// The upstream gets as many calls as its rate allows.
    OriginRate {
        /// When it may get the next.
        until: Timestamp,
    },
    /// The upstream has as many calls in flight as it may.
    OriginFull,
    /// The queue has as many leases as it may.
    Concurrency {
        /// How many.
        limit: u32,
    },
    /// The limits or the order of its lane hold it back.
    Lane,
    /// Others start before it.
    Position {
        /// How many.
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

/// Why a task waits, and for how long, as far as one can tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Why {
    /// What keeps it; empty when it runs, is over, or is about to start.
    pub obstacles: Vec<Obstacle>,
    /// Tasks before it in its lane.
    pub ahead: Option<u64>,
    /// When it may be done: the median, and nine times out of ten.
    pub eta: Option<(Timestamp, Timestamp)>,
}

impl Engine {
    /// Explains why a task waits.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn why(&self, task: &Task) -> Result<Why, EngineError> {
        match &task.life.state {
            State::Queued { run_at } => self.why_queued(task, *run_at).await,
            State::Waiting { until, .. } => {
                let obstacles = vec![Obstacle::Outside { until: *until }];
                Ok(Why { obstacles, ..Why::default() })
            }
            State::Running { .. } => Ok(Why { eta: self.eta(task, 0), ..Why::default() }),
            State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } => {
                Ok(Why::default())
            }
        }
    }

    async fn why_queued(&self, task: &Task, run_at: Timestamp) -> Result<Why, EngineError> {
        let now = self.now();
        let mut obstacles = Vec::new();
        if run_at > now {
            let is_retry = task.life.failures + task.life.crashes > 0;
            obstacles.push(Obstacle::Scheduled { until: run_at, is_retry });
        }
        let stats = self.queue_of(task).await?;
        let policy = self.policy_of(task);
        if self.policies().find(&task.spec.tenant, &task.spec.queue).is_none() {
            obstacles.push(Obstacle::QueueNotDefined);
        }
        if stats.as_ref().is_some_and(|stats| stats.is_paused) {
            obstacles.push(Obstacle::QueuePaused);
        }
        if let (Some(stats), Some(limit)) = (&stats, policy.concurrency)
            && stats.leases >= u64::from(limit)
        {
            obstacles.push(Obstacle::Concurrency { limit });
        }
        match &task.spec.runner {
            Runner::Upstream { origin, .. } => obstacles.extend(self.why_origin(task, origin)),
            Runner::Workers if !self.has_worker(task) => obstacles.push(Obstacle::NoWorker),
            Runner::Workers | Runner::Inline => {}
        }
        let place = self.store().place(task.spec.id).await?;
        if let Some(place) = place {
            if place.lane_is_blocked {
                obstacles.push(Obstacle::Lane);
            }
            if place.ahead > 0 {
                obstacles.push(Obstacle::Position { ahead: place.ahead });
            }
        }
        let ahead = place.map(|place| place.ahead);
        Ok(Why { obstacles, ahead, eta: self.eta(task, ahead.unwrap_or(0)) })
    }

    fn why_origin(&self, task: &Task, origin: &Arc<str>) -> Option<Obstacle> {
        match self.hold_of(task) {
            Some((until, Hold::Paused(scope))) => Some(Obstacle::OriginPaused { scope, until }),
            Some((until, Hold::Rate)) => Some(Obstacle::OriginRate { until }),
            None => self.inner().origins.is_full(origin).then_some(Obstacle::OriginFull),
        }
    }

    async fn queue_of(&self, task: &Task) -> Result<Option<QueueStats>, EngineError> {
        let queues = self.queues().await?;
        Ok(queues
            .into_iter()
            .find(|stats| stats.tenant == task.spec.tenant && stats.queue == task.spec.queue))
    }

    fn has_worker(&self, task: &Task) -> bool {
        let pool = Pool { run_by: RunBy::Workers, ..Pool::of(task) };
        self.inner().dispatcher.is_staffed(&pool)
    }

    /// When a task may be done: its place over the measured pace of its queue.
    #[must_use]
    pub fn eta(&self, task: &Task, ahead: u64) -> Option<(Timestamp, Timestamp)> {
        let pace = self.meters().pace(&task.spec.tenant, &task.spec.queue)?;
        let start = task.life.run_at().unwrap_or_else(|| self.now()).max(self.now());
        let places = u32::try_from(ahead).unwrap_or(u32::MAX);
        let wait = pace.between.saturating_mul(places);
        let run_max = Duration::from_secs(24 * 3600);
        let p50 = start.plus(wait).plus(pace.run.p50.min(run_max));
        // Nine in ten queues are taken to move at no less than half of their usual pace.
        let p90 = start.plus(wait.saturating_mul(2)).plus(pace.run.p90.min(run_max));
        Some((p50, p90))
    }
}
