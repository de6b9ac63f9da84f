//! The entries of a task's log. How they look on the wire is `api`'s.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::lease::Holder;
#[cfg(doc)]
use crate::limits;
use crate::name::QueueName;
use crate::task::{Failure, Progress};
use crate::time::Timestamp;

/// Why an attempt ended without an outcome. Persisted: variants are appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// It said so, or its answer did.
    Error,
    /// It took too long.
    Timeout,
    /// Its holder vanished.
    Crash,
    /// Relais was stopped by its operator, and it took longer than a stop waits.
    Stop,
}

impl Cause {
    /// The word as it travels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Crash => "crash",
            Self::Stop => "stop",
        }
    }
}

/// Why a task went back to its queue without a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequeueReason {
    /// Its holder gave it back.
    Released,
    /// Somebody retried it by hand.
    Retried,
}

impl RequeueReason {
    /// The word as it travels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Retried => "retried",
        }
    }
}

/// Why a task was called off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CancelReason {
    /// Somebody asked for it.
    Requested,
    /// Its caller hung up, and its route says that such tasks are called off.
    Abandoned,
}

/// What happened, with all that is told of it: an event is shown from its entry alone, also when the
/// task, its result or an entry before it is gone. Persisted: variants and fields are appended, never reordered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum EventData {
    /// The task exists.
    Accepted {
        /// Where it waits.
        queue: QueueName,
        /// When it may first start.
        run_at: Timestamp,
    },
    /// An attempt started.
    Started {
        /// The worker that holds its lease, if one does and gave a name.
        worker: Option<String>,
    },
    /// It got further.
    Progressed(Progress),
    /// It said something for its followers, as JSON.
    Output(Bytes),
    /// An outside system has it now.
    Deferred {
        /// Until when, at most.
        until: Timestamp,
    },
    /// An attempt ended without an outcome.
    AttemptFailed {
        /// How.
        cause: Cause,
        /// Why: all that its holder said, as the outcome and the task have it.
        failure: Failure,
        /// When the next attempt may start, if there is one.
        run_at: Option<Timestamp>,
    },
    /// Back to the queue without a failure.
    Requeued {
        /// Why.
        reason: RequeueReason,
        /// The run it is in now.
        run: u32,
        /// When it may start.
        run_at: Timestamp,
    },
    /// Done.
    Succeeded {
        /// The result, if it is JSON and at most [`limits::EVENT_RESULT_BYTES_MAX`] long.
        result: Option<Bytes>,
        /// For end users: a JSON object from language to text, as the worker gave it.
        message: Option<Bytes>,
    },
    /// Given up.
    Failed(Failure),
    /// Called off.
    Canceled {
        /// Why.
        reason: CancelReason,
    },
}

/// The kinds of entries, spelled as they travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// `accepted`
    Accepted,
    /// `started`
    Started,
    /// `progressed`
    Progressed,
    /// `output`
    Output,
    /// `deferred`
    Deferred,
    /// `attempt_failed`
    AttemptFailed,
    /// `requeued`
    Requeued,
    /// `succeeded`
    Succeeded,
    /// `failed`
    Failed,
    /// `canceled`
    Canceled,
}

impl EventKind {
    /// The word as it travels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Started => "started",
            Self::Progressed => "progressed",
            Self::Output => "output",
            Self::Deferred => "deferred",
            Self::AttemptFailed => "attempt_failed",
            Self::Requeued => "requeued",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Whether it ends a run.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

impl EventData {
    /// An attempt started, with its lease held by `holder`.
    #[must_use]
    pub fn started_by(holder: &Holder) -> Self {
        let worker = match holder {
            Holder::Worker { name } if !name.is_empty() => Some(name.clone()),
            Holder::Worker { .. } | Holder::Relais { .. } => None,
        };
        Self::Started { worker }
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Accepted { .. } => EventKind::Accepted,
            Self::Started { .. } => EventKind::Started,
            Self::Progressed(_) => EventKind::Progressed,
            Self::Output(_) => EventKind::Output,
            Self::Deferred { .. } => EventKind::Deferred,
            Self::AttemptFailed { .. } => EventKind::AttemptFailed,
            Self::Requeued { .. } => EventKind::Requeued,
            Self::Succeeded { .. } => EventKind::Succeeded,
            Self::Failed(_) => EventKind::Failed,
            Self::Canceled { .. } => EventKind::Canceled,
        }
    }
}

/// One entry in a task's ordered log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Whose log.
    pub task: TaskId,
    /// Its number: 1, 2, 3…; also the task's version after it.
    pub seq: u64,
    /// Never before the entry it follows.
    pub at: Timestamp,
    /// The attempt it belongs to; 0 before the first.
    pub attempt: u32,
    /// What happened.
    pub data: EventData,
}
