//! What is written: one commit is one task's change, or one small setting.

use std::sync::Arc;

use bytes::Bytes;
use relais_core::webhook::NoSuchEndpoint;
use relais_core::{
    BodyKind, Command, DeliveryId, Effect, EndpointId, Entry, Policy, QueueName, Refused, Reply,
    SessionOp, SessionReply, Source, Status, Task, TaskId, TenantName, Timestamp, limits,
};

use crate::body::Body;
use crate::query::Place;
use crate::webhook::{DropDeliveries, EndpointDone, EndpointOf};

/// One unit of change: applied whole, or not at all.
#[derive(Debug, Clone)]
pub enum Commit {
    /// A new task.
    Accept(Box<Accept>),
    /// [`relais_core::step`] on a task, inside the transaction.
    Step(Box<StepOf>),
    /// A terminal task is forgotten, with its log, bodies and labels.
    Erase { id: TaskId, why: Erasure },
    /// The settings of a queue; it comes into being if it is new.
    Queue { tenant: TenantName, queue: QueueName, change: QueueChange },
    /// A small named value; `None` removes it.
    Secret { name: String, value: Option<Bytes> },
    /// [`relais_core::session::change`] on the session of a browser, inside the transaction.
    Session(Box<SessionOf>),
    /// [`relais_core::webhook::change`] on an endpoint, inside the transaction.
    Endpoint(Box<EndpointOf>),
    /// Deliveries that have waited for too long, or for an endpoint that is no more.
    Drop(DropDeliveries),
    /// A delivery waits again, as if no task had been made of it; that is forgotten, and must be terminal.
    LetWait(DeliveryId),
}

/// Why a task is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    /// Somebody wants it so now: nothing of it is told any more, but that it is erased.
    Asked { now: Timestamp },
    /// Its retention is over: what waits to be told of it is told, without the result.
    Expired,
}

/// A change of the session of a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOf {
    /// The name it is kept under: an HMAC of its id, which nobody can tell from it.
    pub id_mac: [u8; 32],
    /// What is asked of it.
    pub op: SessionOp,
    /// From where it is asked, as far as shares go: for one that begins.
    pub source: Option<Source>,
    pub capacity: SessionCapacity,
    pub now: Timestamp,
}

/// How many sessions of browsers a store may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionCapacity {
    pub in_all: u64,
    /// Of them, those that began with the same task.
    pub per_task: u64,
    /// Of them, those that began from the same source.
    pub per_source: u64,
}

impl Default for SessionCapacity {
    fn default() -> Self {
        Self {
            in_all: limits::SESSIONS_MAX,
            per_task: limits::SESSIONS_PER_TASK_MAX,
            per_source: limits::SESSIONS_PER_NETWORK_MAX,
        }
    }
}

impl SessionOf {
    /// Whether one more session may be kept beside so many: in all, of those that began with the same
    /// task, and of those that began from the same source, if it has one.
    ///
    /// # Errors
    /// When it may not.
    pub fn has_room(&self, in_all: u64, of_task: u64, of_source: u64) -> Result<(), Rejected> {
        let SessionCapacity { in_all: all, per_task, per_source } = self.capacity;
        if in_all >= all || of_task >= per_task || of_source >= per_source {
            return Err(Rejected::SessionsFull);
        }
        Ok(())
    }

    /// The task that a new session begins with.
    #[must_use]
    pub const fn begun_by(&self) -> Option<TaskId> {
        match &self.op {
            SessionOp::Begin(joined) => Some(joined.task),
            _ => None,
        }
    }
}

/// A change to a queue's settings.
#[derive(Debug, Clone, PartialEq)]
pub enum QueueChange {
    /// Nothing starts until it is resumed.
    Pause,
    /// Tasks start again.
    Resume,
    /// The policy put by the API; `None` goes back to that of the configuration.
    Policy(Option<Box<Policy>>),
}

/// A new task, as [`relais_core::accept`] made it. One that is run by [`Runner::Delivery`](relais_core::Runner::Delivery)
/// takes the row of its number, which must wait, and whose endpoint must be active; it needs no input.
///
/// Its idempotency key is looked at first, then the capacity of its queue, then that of its tenant,
/// then the share of its source, if it has one. An accept that is repeated under the same id (its
/// end was not known) is attached to the task it made.
#[derive(Debug, Clone)]
pub struct Accept {
    pub task: Task,
    /// The first entry of its log.
    pub entry: Entry,
    /// Its bodies; an input at least.
    pub bodies: Vec<(BodyKind, Body)>,
    /// The claim of its idempotency key.
    pub idempotency: Option<Idempotency>,
    /// Tasks not yet terminal that its queue may hold.
    pub queue_capacity: u64,
    /// Tasks not yet terminal that its tenant may hold, internal ones not counted.
    pub tenant_capacity: u64,
    /// Of the queue's, tasks that its source may hold.
    pub source_capacity: u64,
}

/// The claim of an idempotency key: part of the commit, never a look-up before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// SHA-256 of tenant, caller, method, path and key.
    pub scope: [u8; 32],
    /// SHA-256 of what makes two requests the same.
    pub fingerprint: [u8; 32],
    /// How long it holds. A key that is attached to never holds longer for it.
    pub kept: Kept,
}

/// How long the claim of an idempotency key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// As long as its task, and at least until then.
    WithItsTask { at_least: Timestamp },
    /// Until then, whatever has become of its task; but not when that was canceled: whoever comes
    /// again wants it after all.
    Until(Timestamp),
}

impl Kept {
    /// Whether it still holds at `now`, by its task as it is then, if it is still there.
    #[must_use]
    pub fn holds(self, now: Timestamp, task: Option<&Task>) -> bool {
        match self {
            Self::WithItsTask { at_least } => task.is_some() || now < at_least,
            Self::Until(end) => now < end && !task.is_some_and(is_canceled),
        }
    }
}

fn is_canceled(task: &Task) -> bool {
    task.life.status() == Status::Canceled
}

/// A step to be decided and stored.
#[derive(Debug, Clone)]
pub struct StepOf {
    pub id: TaskId,
    /// If given, a task that is not shown to its clients is not found.
    pub tenant: Option<TenantName>,
    /// What is asked of it.
    pub command: Command,
    /// The policy of its queue.
    pub policy: Arc<Policy>,
    /// Bodies that come with it; stored if the reply is [`Reply::Done`], before the step's drops
    /// are applied. Spilled bodies that are not stored are removed.
    pub bodies: Vec<(BodyKind, Body)>,
    pub now: Timestamp,
}

impl Accept {
    /// What it did, its first entry being at `pos` in the store's order, and told to these.
    #[must_use]
    pub fn changed(&self, pos: u64, told: Vec<EndpointId>) -> Changed {
        Changed {
            task: self.task.clone(),
            started_at: None,
            entries: vec![self.entry.clone()],
            pos,
            effects: vec![Effect::Wake { at: self.task.spec.run_at }],
            told,
        }
    }
}

/// What became of a task, durably, and what follows from it: the same of each commit and claim.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The task afterwards.
    pub task: Task,
    /// When the attempt that ran before had started, if one did.
    pub started_at: Option<Timestamp>,
    /// Its new entries, in order.
    pub entries: Vec<Entry>,
    /// The position of the first of them in the store's order; meaningless if there are none.
    pub pos: u64,
    /// What the caller does now.
    pub effects: Vec<Effect>,
    /// For whom a delivery waits since.
    pub told: Vec<EndpointId>,
}

/// What a commit did.
#[derive(Debug, Clone)]
pub enum Committed {
    /// The task exists, durably.
    Accepted {
        /// The task, and the first entry of its log.
        changed: Box<Changed>,
        /// How it found its lane and its queue: itself does not count.
        place: Place,
    },
    /// The idempotency key belonged to a task already; nothing was stored.
    Attached {
        id: TaskId,
        /// Whether it was made by the same request.
        same: bool,
        /// Whether it still exists.
        exists: bool,
    },
    /// The step was taken.
    Stepped(Box<Stepped>),
    /// The task, as it was, is forgotten, which these are told.
    Erased(Box<Task>, Vec<EndpointId>),
    /// The setting is stored.
    Put,
    /// What became of the change of a session.
    Session(SessionReply),
    /// What became of an endpoint.
    Endpoint(Box<EndpointDone>),
    /// So many deliveries were dropped, which these are told.
    Dropped(u64, Vec<EndpointId>),
}

impl Committed {
    /// The step, if it was one.
    #[must_use]
    pub fn stepped(&self) -> Option<&Stepped> {
        match self {
            Self::Stepped(stepped) => Some(stepped),
            Self::Accepted { .. }
            | Self::Attached { .. }
            | Self::Erased(..)
            | Self::Session(_)
            | Self::Endpoint(_)
            | Self::Dropped(..)
            | Self::Put => None,
        }
    }
}

/// A step that was taken.
#[derive(Debug, Clone)]
pub struct Stepped {
    /// What it did.
    pub changed: Changed,
    /// What to answer.
    pub reply: Reply,
}

/// Why one commit of a batch was not applied; the others were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is no such task (any more).
    #[error("there is no such task")]
    NotFound,
    /// The queue holds as many tasks as it may.
    #[error("the queue is full")]
    QueueFull,
    /// The tenant has as many tasks as it may.
    #[error("the tenant has too many tasks")]
    TenantFull,
    /// The source holds its whole share of the queue.
    #[error("the source holds {capacity} tasks of the queue")]
    SourceFull { capacity: u64 },
    /// The leases of the tenant have as many early results as they may.
    #[error("the leases of the tenant have {} early results", limits::UPLOADS_PER_TENANT_MAX)]
    TenantEarlyFull,
    /// All leases together have as many early results as they may.
    #[error("all leases together have {} early results", limits::UPLOADS_MAX)]
    EarlyFull,
    /// As many sessions of browsers are kept as may be, in all, of the same task or from the same source.
    #[error("there are too many sessions")]
    SessionsFull,
    /// There is no such endpoint (any more), or it is another tenant's.
    #[error(transparent)]
    NoSuchEndpoint(#[from] NoSuchEndpoint),
    /// The tenant has as many endpoints as it may.
    #[error("the tenant has {} endpoints", limits::ENDPOINTS_MAX)]
    EndpointsFull,
    /// The delivery does not wait any more: it is made, dropped, or its endpoint is not delivered to.
    #[error("the delivery does not wait")]
    NotWaiting,
}

/// Whether one more early result may be stored beside so many: of the tenant's leases, and in all.
/// One that takes the place of another is not asked.
///
/// # Errors
/// When it may not.
pub fn has_room_for_early(of_tenant: u64, in_all: u64) -> Result<(), Rejected> {
    if of_tenant >= limits::UPLOADS_PER_TENANT_MAX as u64 {
        return Err(Rejected::TenantEarlyFull);
    }
    if in_all >= limits::UPLOADS_MAX as u64 {
        return Err(Rejected::EarlyFull);
    }
    Ok(())
}

impl Rejected {
    /// Whether the same may be accepted once some of the tasks there are have ended.
    #[must_use]
    pub fn is_for_room(&self) -> bool {
        match self {
            Self::QueueFull | Self::TenantFull | Self::SourceFull { .. } => true,
            Self::Refused(_)
            | Self::NotFound
            | Self::TenantEarlyFull
            | Self::EarlyFull
            | Self::SessionsFull
            | Self::NoSuchEndpoint(_)
            | Self::EndpointsFull
            | Self::NotWaiting => false,
        }
    }
}
