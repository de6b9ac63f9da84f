//! What is read: pages, logs, counts.

use relais_core::lane::Bucket;
use relais_core::{
    Entry, LaneKey, Life, Policy, QueueName, Status, Task, TaskId, TenantName, Timestamp,
};

/// Which tasks to list. Every member narrows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only what is shown to this tenant's clients; `None` (all there is, internal tasks too) is for
    /// the engine itself.
    pub tenant: Option<TenantName>,
    /// Only of this queue.
    pub queue: Option<QueueName>,
    /// Only with this status.
    pub status: Option<Status>,
    /// Only with this label.
    pub label: Option<(String, String)>,
    /// Only of this lane.
    pub lane: Option<LaneKey>,
    /// Only those of which this node holds a lease. Found without looking at others.
    pub held_by: Option<u64>,
    /// Only those that are attended so. Found without looking at others.
    pub attended: Option<Attended>,
    /// Only those accepted before this one (the cursor of the page before).
    pub after: Option<TaskId>,
    /// At most as many.
    pub limit: usize,
}

/// How a task is attended: see [`Attendance`](relais_core::Attendance).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attended {
    /// By connections of this node.
    By(u64),
    /// By nobody any more: its grace runs.
    NoMore,
}

impl Attended {
    /// Whether a task is attended so.
    #[must_use]
    pub fn fits(self, life: &Life) -> bool {
        match self {
            Self::By(node) => life.attended_by().contains(&node),
            Self::NoMore => life.is_left(),
        }
    }
}

/// A page of tasks, newest first: by falling id, so that the cursor may be a task that is gone.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The tasks. May be fewer than asked for although more follow: the work of a page is bounded.
    pub tasks: Vec<Task>,
    /// The cursor of the next page; `None` at the end.
    pub next: Option<TaskId>,
}

/// Which events to read.
#[derive(Debug, Clone)]
pub enum EventQuery {
    /// One task's log, after `seq`.
    Task {
        id: TaskId,
        /// Only events behind this number of the log.
        after: u64,
        /// At most as many.
        limit: usize,
    },
    /// The store's log in commit order, after `pos`.
    Store {
        /// Only of tasks that are shown to this tenant's clients.
        tenant: TenantName,
        /// Only of these tasks, if any are named.
        tasks: Vec<TaskId>,
        /// Only of tasks with this label.
        label: Option<(String, String)>,
        /// Only events behind this number of the log.
        after: u64,
        /// At most as many. Fewer only at the end of the log: an empty answer means that nothing
        /// follows.
        limit: usize,
    },
}

/// An event and its place in the store's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// Rises in commit order, store-wide.
    pub pos: u64,
    pub entry: Entry,
}

/// Which queues to read; those of internal tasks are not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Queues {
    /// Those of all tenants: for the start of an engine, and for operators.
    All,
    /// A page of one tenant's. Its work does not depend on the queues of others.
    Of {
        tenant: TenantName,
        /// Only those behind this name (the last of the page before).
        after: Option<QueueName>,
        /// At most as many.
        limit: usize,
    },
}

/// The counts and settings of a queue. The counts are kept, not counted.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueStats {
    pub tenant: TenantName,
    pub queue: QueueName,
    /// Whether it is paused.
    pub is_paused: bool,
    /// The policy put by the API, if any.
    pub policy: Option<Policy>,
    /// Tasks per status, in the order of [`Status::ALL`].
    pub counts: [u64; 6],
    /// Queued tasks whose `run_at` is in the future.
    pub scheduled: u64,
    /// Slots in use: leases live.
    pub leases: u64,
}

impl QueueStats {
    /// Tasks that are not terminal.
    #[must_use]
    pub fn live(&self) -> u64 {
        let counts = Status::ALL.into_iter().zip(self.counts);
        counts.filter(|(status, _)| !status.is_terminal()).map(|(_, count)| count).sum()
    }
}

/// What operators watch, beside the counts of queues.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// The queues with a task that could start as far as time and order go, each once.
    pub waiting: Vec<Waiting>,
    /// The room on the disk; `None` where there is none.
    pub disk: Option<Disk>,
    /// Sessions of browsers that are kept.
    pub sessions: u64,
}

/// How long a queue has kept a task waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub tenant: TenantName,
    pub queue: QueueName,
    /// Since when the task might run that is first by priority and age, of those whose moment has
    /// come. Found by the order in which tasks start, never by looking at all of them.
    pub since: Timestamp,
}

/// The room that a store has and takes, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// What is free for it on its file system.
    pub free: u64,
    /// Its database and the log beside it, without large bodies in files of their own.
    pub used: u64,
}

/// The place of a waiting task, and how its queue and its lane stand: what tells how long it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Tasks of its lane that start before it, counted up to 10,000. Told of a task that was just
    /// accepted: those of its lane that were ready before, whatever their priority is.
    pub ahead: u64,
    /// Whether its queue is paused.
    pub is_paused: bool,
    /// Whether another task of its lane has started and is not over, in a queue that was in strict
    /// order when somebody last claimed from it.
    pub is_held: bool,
    /// Leases live in its queue.
    pub queue_leases: u64,
    /// Leases live in its lane.
    pub lane_leases: u64,
    /// What is left of the queue's rate; `None` before the first start under one.
    pub bucket: Option<Bucket>,
    /// When the bucket of its lane's rate is full again, in microseconds, as
    /// [`full_after_start`](relais_core::lane::full_after_start) tells it; `None` if it is full.
    pub lane_full_at: Option<i64>,
}

/// Whether a store can be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Ready,
    /// It reads and settles, but takes nothing new.
    Full,
    /// It reads, and writes nothing just now: why.
    Unavailable(String),
    /// Damage was found.
    Corrupt(String),
}
