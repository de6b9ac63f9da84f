//! Whose turn it is: claims of ready tasks, and what time makes due.

use std::collections::BTreeMap;
use std::sync::Arc;

use relais_core::{
    BodyKind, Holder, LaneKey, Lease, LeaseToken, Policy, Purpose, QueueName, Runner, Task, TaskId,
    TenantName, Timestamp,
};

use crate::body::StoredBody;
use crate::commit::Changed;

/// Who runs the tasks of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RunBy {
    /// Relais calls this origin.
    Upstream(Arc<str>),
    /// Workers lease them.
    Workers,
    /// A handler in the process.
    Inline,
    /// Relais delivers what they tell.
    Delivery,
}

impl From<&Runner> for RunBy {
    fn from(runner: &Runner) -> Self {
        match runner {
            Runner::Upstream { origin, .. } => Self::Upstream(origin.clone()),
            Runner::Workers => Self::Workers,
            Runner::Inline => Self::Inline,
            Runner::Delivery => Self::Delivery,
        }
    }
}

/// The tasks of one queue that are run by the same: what one claim looks at. Internal tasks wait in queues
/// apart: what is said of a queue, its limits, lanes and counts, holds for tasks of one purpose.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pool {
    pub tenant: TenantName,
    pub queue: QueueName,
    /// For whom they are done.
    pub purpose: Purpose,
    /// Who runs them.
    pub run_by: RunBy,
}

impl Pool {
    /// The pool of a task.
    #[must_use]
    pub fn of(task: &Task) -> Self {
        Self {
            tenant: task.spec.tenant.clone(),
            queue: task.spec.queue.clone(),
            purpose: task.spec.purpose,
            run_by: RunBy::from(&task.spec.runner),
        }
    }
}

/// Asks for attempts to start.
///
/// A store walks the lanes of the pool in the order of [`relais_core::lane::turn`] and takes from
/// each its first task by [`relais_core::lane::rank`] (strict queues: by arrival), one at a time,
/// within the limits of the policy: leases live in the queue and in the lane, tokens of the rate,
/// the strict order. Its work must not depend on tasks of lanes that are blocked.
///
/// To the letter, so that every store starts the same tasks in the same order:
/// - A lane belongs to its queue, whoever runs its tasks; tasks without a lane share one. A
///   queue's limits, virtual time and bucket, and a lane's limit, virtual time and strict
///   order, hold for all its pools.
/// - A task is *ready* from its `run_at` on, until it starts or its deadline has passed. It stays
///   so for a claim that looked at the clock earlier, and starts at [`Claim::start_of`].
/// - Lanes of the same turn are taken by the rank, then by the arrival, of their first tasks.
///   Tasks of the same rank are taken by arrival: the order in which they were accepted,
///   which is that of their ids.
/// - A lane that gets a ready task while it has none joins at
///   [`relais_core::lane::vtime_on_arrival`]; a start moves the lane by
///   [`relais_core::lane::vtime_after_start`], then the queue by
///   [`relais_core::lane::queue_vtime_after_start`]. A lane without ready tasks and live leases
///   whose virtual time is not ahead of the queue's may be forgotten.
/// - In strict order a task that has started holds its lane until it is terminal, through retries,
///   releases and waiting; until then no other task of the lane starts. Else the first to
///   arrive of those that are ready starts: a task that is scheduled for later holds
///   nobody up before its moment.
/// - The bucket of a rate begins full, at the first claim.
/// - Under a rate of lanes a lane that has started as many tasks as it may stands outside the order
///   until [`relais_core::lane::free_at`], and wants no slot. Its bucket is remembered until it is
///   full again ([`relais_core::lane::full_after_start`]), also while the lane has no tasks.
/// - A lane that is held ([`Claim::held`]) is passed over, and wants no slot.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Of which pool.
    pub pool: Pool,
    /// Limits and lease of the queue.
    pub policy: Arc<Policy>,
    /// Who will hold the leases.
    pub holder: Holder,
    /// The fences: at most as many attempts start.
    pub nonces: Vec<u128>,
    /// Lanes of the pool from which nothing starts before a moment, because whoever runs their
    /// tasks asked for it. Few: each costs the claim a look.
    pub held: Arc<BTreeMap<LaneKey, Timestamp>>,
    pub now: Timestamp,
}

impl Claim {
    /// Whether nothing may start from this lane now.
    #[must_use]
    pub fn is_held(&self, lane: Option<&LaneKey>) -> bool {
        let until = lane.filter(|_| !self.held.is_empty()).and_then(|lane| self.held.get(lane));
        until.is_some_and(|until| *until > self.now)
    }

    /// When a ready task starts: now, but never before its own moment. Whoever claims looks at the
    /// clock first and waits for the store second; meanwhile later moments may have come.
    #[must_use]
    pub fn start_of(&self, task: &Task) -> Timestamp {
        task.life.run_at().map_or(self.now, |run_at| self.now.max(run_at))
    }

    /// The lease that an attempt starts under: a whole one from now on, whatever the moment of the
    /// task or the time of its log is. Those may be of a clock that was ahead.
    #[must_use]
    pub fn lease(&self, nonce: u128) -> Lease {
        Lease::new(nonce, self.now, self.policy.lease, self.holder.clone())
    }
}

/// An attempt that was started.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The task, running, and its `started` event.
    pub changed: Changed,
    /// What a settle or heartbeat of this attempt must name.
    pub nonce: u128,
    /// Input, checkpoint and sealed credentials, as far as there are any.
    pub bodies: Vec<(BodyKind, StoredBody)>,
}

impl Claimed {
    /// The task, running.
    #[must_use]
    pub const fn task(&self) -> &Task {
        &self.changed.task
    }

    /// What names the attempt: its settle, its heartbeats.
    #[must_use]
    pub fn token(&self) -> LeaseToken {
        LeaseToken { task: self.task().spec.id, nonce: self.nonce }
    }
}

/// The answer to a claim.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// The attempts that started.
    pub started: Vec<Claimed>,
    /// Tasks whose turn it was and that could not start, because a body of theirs is damaged or
    /// missing: each took the step [`relais_core::Command::Spoil`] instead, and those behind them
    /// go on, in strict order at the next claim.
    pub spoiled: Vec<Changed>,
    /// If a rate held tasks back, for which there was a slot, or a lane that is held by its own
    /// rate: when the next may start.
    pub next_at: Option<Timestamp>,
    /// Whether ready tasks are left that only the want of a free slot holds back, or that of
    /// nonces. Tasks held back by a rate, by the strict order or by a pause do not count.
    pub more: bool,
}

/// Asks what time has to do.
#[derive(Debug, Clone, Copy)]
pub struct DueQuery {
    pub now: Timestamp,
    /// At most as many tasks, and as many pools.
    pub limit: usize,
}

/// What time has to do.
#[derive(Debug, Clone, Default)]
pub struct Due {
    /// Tasks for [`relais_core::Command::Tick`], most overdue first.
    pub tasks: Vec<TaskId>,
    /// Pools in which scheduled tasks have become ready since they were asked for last.
    pub pools: Vec<Pool>,
    /// The first moment at which something else is due, not after `now` if the limit cut the answer
    /// short; `None` if nothing will be.
    pub next: Option<Timestamp>,
}
