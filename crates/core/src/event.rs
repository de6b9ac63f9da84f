//! The entries of a task's log. How they look on the wire is `api`'s.

use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::failure::Failure;
use crate::id::TaskId;
use crate::lease::Holder;
#[cfg(doc)]
use crate::limits;
use crate::name::QueueName;
use crate::task::{Progress, Status};
use crate::time::Timestamp;

/// Why an attempt ended without an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Cause {
    /// It said so, or its answer did.
    #[n(0)]
    Error,
    /// It took too long.
    #[n(1)]
    Timeout,
    /// Its holder vanished.
    #[n(2)]
    Crash,
    /// Relais was stopped by its operator, and it took longer than a stop waits.
    #[n(3)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RequeueReason {
    /// Its holder gave it back.
    #[n(0)]
    Released,
    /// Somebody retried it by hand.
    #[n(1)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum CancelReason {
    /// Somebody asked for it.
    #[n(0)]
    Requested,
    /// Its caller hung up, and its route says that such tasks are called off.
    #[n(1)]
    Abandoned,
}

/// What happened, with all that is told of it: an event is shown from its entry alone, also when the
/// task, its result or an entry before it is gone.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(flat)]
pub enum EventData {
    /// The task exists.
    #[n(0)]
    Accepted {
        /// The queue that it waits in.
        #[n(0)]
        queue: QueueName,
        /// When it may first start.
        #[n(1)]
        run_at: Timestamp,
    },
    /// An attempt started.
    #[n(1)]
    Started {
        /// The worker that holds its lease, if one does and gave a name.
        #[n(0)]
        worker: Option<String>,
    },
    /// It got further.
    #[n(2)]
    Progressed(#[n(0)] Progress),
    /// It said something for its followers, as JSON.
    #[n(3)]
    Output(
        #[cbor(with = "crate::cbor::opaque")]
        #[n(0)]
        Bytes,
    ),
    /// An outside system has it now.
    #[n(4)]
    Deferred {
        /// Until when, at most.
        #[n(0)]
        until: Timestamp,
    },
    /// An attempt ended without an outcome.
    #[n(5)]
    AttemptFailed {
        /// How it ended.
        #[n(0)]
        cause: Cause,
        /// Why: all that its holder said, as the outcome and the task have it.
        #[n(1)]
        failure: Failure,
        /// When the next attempt may start, if there is one.
        #[n(2)]
        run_at: Option<Timestamp>,
    },
    /// Back to the queue without a failure.
    #[n(6)]
    Requeued {
        /// Why it is back.
        #[n(0)]
        reason: RequeueReason,
        /// The run it is in now.
        #[n(1)]
        run: u32,
        /// When it may start.
        #[n(2)]
        run_at: Timestamp,
    },
    /// Its run is over, and the work is done.
    #[n(7)]
    Succeeded {
        /// The result, if it is JSON and at most [`limits::EVENT_RESULT_BYTES_MAX`] long.
        #[n(0)]
        #[cbor(with = "crate::cbor::opaque_if_any", has_nil)]
        result: Option<Bytes>,
        /// For end users: a JSON object from language to text, as the worker gave it.
        #[n(1)]
        #[cbor(with = "crate::cbor::opaque_if_any", has_nil)]
        message: Option<Bytes>,
    },
    /// Its run is over, and no attempt succeeded.
    #[n(8)]
    Failed(#[n(0)] Failure),
    /// It was called off.
    #[n(9)]
    Canceled {
        /// Why it was called off.
        #[n(0)]
        reason: CancelReason,
    },
}

/// Declares the kinds of entries: each with its word as it travels, and the status of its task after it.
macro_rules! kinds {
    ($($kind:ident = $word:literal, $status:ident;)+) => {
        /// The kinds of entries.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventKind {
            $(#[doc = concat!("`", $word, "`")] $kind,)+
        }

        impl EventKind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// The word as it travels.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $word,)+
                }
            }

            /// The type of what a webhook is told of it.
            #[must_use]
            pub const fn topic(self) -> &'static str {
                match self {
                    $(Self::$kind => concat!("task.", $word),)+
                }
            }

            /// The status of the task while nothing follows. A failed attempt after which the task
            /// is not tried again is followed by `failed` at once.
            #[must_use]
            pub const fn status(self) -> Status {
                match self {
                    $(Self::$kind => Status::$status,)+
                }
            }
        }
    };
}

kinds! {
    Accepted = "accepted", Queued;
    Started = "started", Running;
    Progressed = "progressed", Running;
    Output = "output", Running;
    Deferred = "deferred", Waiting;
    AttemptFailed = "attempt_failed", Queued;
    Requeued = "requeued", Queued;
    Succeeded = "succeeded", Succeeded;
    Failed = "failed", Failed;
    Canceled = "canceled", Canceled;
}

impl EventKind {
    /// Whether it ends a run.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        self.status().is_terminal()
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

    /// The bytes that it carries where its writer may make them many: what is kept at hand is bounded by
    /// them.
    #[must_use]
    pub fn large_bytes(&self) -> usize {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        match self {
            Self::Output(output) => output.len(),
            Self::Progressed(progress) => progress.message.as_ref().map_or(0, String::len),
            Self::Succeeded { result, message } => len(result) + len(message),
            Self::AttemptFailed { failure, .. } | Self::Failed(failure) => failure.large_bytes(),
            Self::Accepted { .. }
            | Self::Started { .. }
            | Self::Deferred { .. }
            | Self::Requeued { .. }
            | Self::Canceled { .. } => 0,
        }
    }

    /// The same without what the work brought: what outlives its task.
    #[must_use]
    pub fn without_result(self) -> Self {
        match self {
            Self::Succeeded { result: _, message } => Self::Succeeded { result: None, message },
            other => other,
        }
    }

    /// Which of the kinds it is.
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
    /// The task whose log it is in.
    pub task: TaskId,
    /// Its number: 1, 2, 3…; also the task's version after it.
    pub seq: u64,
    /// Never before the entry it follows.
    pub at: Timestamp,
    /// The attempt it belongs to; 0 before the first.
    pub attempt: u32,
    /// What happened, with all that is told of it.
    pub data: EventData,
}
