//! A task: one accepted request and all that happens to it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::event::CancelReason;
use crate::lease::{Holder, Lease};
use crate::limits;
use crate::spec::{Source, Spec};
use crate::time::Timestamp;

/// How urgent a task is: −10 to 10, higher first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Priority(i8);

impl Priority {
    /// A priority within its range, or `None`.
    #[must_use]
    pub fn new(level: i8) -> Option<Self> {
        limits::PRIORITY_RANGE.contains(&level).then_some(Self(level))
    }

    /// The level.
    #[must_use]
    pub const fn get(self) -> i8 {
        self.0
    }
}

/// Who runs a task; fixed when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Runner {
    /// Relais calls the upstream.
    Upstream {
        /// Scheme, host and port of the upstream: what pauses and limits of a service hold for.
        origin: std::sync::Arc<str>,
        /// Whether the request may be sent again after a lost answer: an idempotent method, or an
        /// upstream declared so.
        repeatable: bool,
    },
    /// Workers lease it.
    Workers,
    /// A handler within the process runs it.
    Inline,
}

impl Runner {
    /// The origin that is called, if Relais calls one.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        match self {
            Self::Upstream { origin, .. } => Some(origin),
            Self::Workers | Self::Inline => None,
        }
    }

    /// Whether an attempt whose end is unknown may be followed by another.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        match self {
            Self::Upstream { repeatable, .. } => *repeatable,
            Self::Workers | Self::Inline => true,
        }
    }
}

/// Whether a task has sealed credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credentials {
    /// It never had any.
    None,
    /// They are stored, sealed.
    Sealed,
    /// They were erased: the task cannot run again.
    Erased,
}

/// The end of an attempt as its holder said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The fence it was said with.
    pub nonce: u128,
    /// What was said.
    pub how: Settlement,
}

/// What the holder of a lease may say of its attempt's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Settlement {
    /// Done.
    Succeeded,
    /// It did not work.
    Failed,
    /// Given back.
    Released,
    /// Handed to an outside system.
    Deferred,
}

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100.
    pub percent: Option<f64>,
    /// Units done.
    pub done: Option<u64>,
    /// Units in all.
    pub total: Option<u64>,
    /// For end users.
    pub message: Option<String>,
}

/// Why a task, or an attempt, failed. Codes are stable: they travel, and have a page each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureCode {
    /// The total deadline passed.
    DeadlineExceeded,
    /// The holder vanished, three times in a row.
    WorkerLost,
    /// The request may or may not have been carried out, and must not be sent again blindly.
    OutcomeUnknown,
    /// The upstream answered with an error.
    UpstreamError,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The upstream could not be reached, or broke the connection.
    UpstreamUnreachable,
    /// The upstream's answer was over the limit.
    UpstreamResponseTooLarge,
    /// The upstream's answer was not HTTP.
    UpstreamMalformed,
    /// The worker, or the handler in the process, said so.
    HandlerFailed,
    /// A stored body that an attempt needs is damaged or missing.
    BodyDamaged,
    /// The stored credentials were sealed with a key that is not there.
    SealKeyMissing,
    /// The store could not be read when an attempt needed its bodies, or could not keep its answer.
    StoreUnavailable,
}

impl FailureCode {
    /// All codes.
    pub const ALL: [Self; 12] = [
        Self::DeadlineExceeded,
        Self::WorkerLost,
        Self::OutcomeUnknown,
        Self::UpstreamError,
        Self::UpstreamTimeout,
        Self::UpstreamUnreachable,
        Self::UpstreamResponseTooLarge,
        Self::UpstreamMalformed,
        Self::HandlerFailed,
        Self::BodyDamaged,
        Self::SealKeyMissing,
        Self::StoreUnavailable,
    ];

    /// The stable text of the code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::WorkerLost => "worker-lost",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::UpstreamError => "upstream-error",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::UpstreamUnreachable => "upstream-unreachable",
            Self::UpstreamResponseTooLarge => "upstream-response-too-large",
            Self::UpstreamMalformed => "upstream-malformed",
            Self::HandlerFailed => "handler-failed",
            Self::BodyDamaged => "body-damaged",
            Self::SealKeyMissing => "seal-key-missing",
            Self::StoreUnavailable => "store-unavailable",
        }
    }
}

/// What is known of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code.
    pub code: FailureCode,
    /// For operators; never internal text, never payloads.
    pub detail: Option<String>,
    /// The problem document a worker settled with, as JSON.
    pub problem: Option<Bytes>,
    /// For end users: a JSON object from language to text, as the worker gave it.
    pub message: Option<Bytes>,
    /// Whether the attempt left an answer, stored as the result if it is the last.
    pub has_result: bool,
    /// The status that the upstream answered with, if it did.
    pub upstream_status: Option<u16>,
}

impl Failure {
    /// A failure of which only the code and a detail are known.
    #[must_use]
    pub fn new(code: FailureCode, detail: Option<&str>) -> Self {
        Self {
            code,
            detail: detail.map(str::to_owned),
            problem: None,
            message: None,
            has_result: false,
            upstream_status: None,
        }
    }
}

/// How the latest attempt failed that was not the end of its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    /// Why.
    pub failure: Failure,
    /// When.
    pub at: Timestamp,
    /// Which attempt it was.
    pub attempt: u32,
}

/// The six statuses, spelled as they travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Status {
    /// Waits for its moment or its turn.
    Queued,
    /// An attempt runs.
    Running,
    /// An outside system has it.
    Waiting,
    /// Done.
    Succeeded,
    /// Given up; kept as a dead letter.
    Failed,
    /// Called off.
    Canceled,
}

impl Status {
    /// All statuses, in the order of a task's life.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Waiting, Self::Succeeded, Self::Failed, Self::Canceled];

    /// The word as it travels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Whether the run is over.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

/// Where a task stands. What makes sense in one state only lives in that state.
///
/// Persisted: variants and fields are appended, never reordered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// Waits for its moment or its turn.
    Queued {
        /// When it may start.
        run_at: Timestamp,
    },
    /// An attempt runs.
    Running {
        /// The right to run it.
        lease: Lease,
        /// When the attempt started.
        started_at: Timestamp,
    },
    /// An outside system has it.
    Waiting {
        /// When waiting ends as a failure.
        until: Timestamp,
        /// The fence of whoever brings the outcome.
        nonce: u128,
    },
    /// Done.
    Succeeded {
        /// When.
        at: Timestamp,
        /// For end users: a JSON object from language to text, as the worker gave it.
        message: Option<Bytes>,
    },
    /// Given up.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        failure: Failure,
        /// The holder that was not told yet; it keeps its slot until it stops.
        holder: Option<Lease>,
    },
    /// Called off.
    Canceled {
        /// When.
        at: Timestamp,
        /// The holder that has not stopped yet; it keeps its slot until it does.
        holder: Option<Lease>,
        /// Why.
        reason: CancelReason,
    },
}

impl State {
    /// The status as it travels.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::Queued { .. } => Status::Queued,
            Self::Running { .. } => Status::Running,
            Self::Waiting { .. } => Status::Waiting,
            Self::Succeeded { .. } => Status::Succeeded,
            Self::Failed { .. } => Status::Failed,
            Self::Canceled { .. } => Status::Canceled,
        }
    }
}

/// What changes in a task.
///
/// Persisted: fields are appended, never reordered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Life {
    /// The number of the last event; readers use it as an ETag.
    pub version: u64,
    /// Passage from queued to a terminal status: 1, and one more after each retry by hand.
    pub run: u32,
    /// The last attempt's number; 0 before the first. Never goes back.
    pub attempt: u32,
    /// Attempts of this run that failed.
    pub failures: u32,
    /// Crashes in a row in this run.
    pub crashes: u32,
    /// Time of the last event.
    pub updated_at: Timestamp,
    /// When this run must be done.
    pub deadline: Timestamp,
    /// How far it is.
    pub progress: Option<Progress>,
    /// Whether a checkpoint is stored.
    pub has_checkpoint: bool,
    /// Sealed credentials.
    pub credentials: Credentials,
    /// How the attempt that was settled last ended: its holder may say it again.
    pub settled_by: Option<Settled>,
    /// What went wrong before, in this run: while it is tried again, and when it ended otherwise than
    /// by that failure. Boxed, because most tasks have none.
    pub last_failure: Option<Box<LastFailure>>,
    /// Where it stands.
    pub state: State,
}

impl Life {
    /// The status as it travels.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.state.status()
    }

    /// The lease that uses a slot: that of a running attempt, or of a holder that has not stopped yet.
    #[must_use]
    pub const fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Running { lease, .. } => Some(lease),
            State::Failed { holder, .. } | State::Canceled { holder, .. } => holder.as_ref(),
            State::Queued { .. } | State::Waiting { .. } | State::Succeeded { .. } => None,
        }
    }

    /// The node of Relais that holds its lease, if one does: see [`Holder::Relais`].
    #[must_use]
    pub fn held_by(&self) -> Option<u64> {
        match self.lease()?.holder {
            Holder::Relais { epoch } => Some(epoch),
            Holder::Worker { .. } => None,
        }
    }

    /// When the attempt that runs started.
    #[must_use]
    pub const fn started_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Running { started_at, .. } => Some(started_at),
            State::Queued { .. }
            | State::Waiting { .. }
            | State::Succeeded { .. }
            | State::Failed { .. }
            | State::Canceled { .. } => None,
        }
    }

    /// When the task may start, while it is queued.
    #[must_use]
    pub const fn run_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Queued { run_at } => Some(run_at),
            State::Running { .. }
            | State::Waiting { .. }
            | State::Succeeded { .. }
            | State::Failed { .. }
            | State::Canceled { .. } => None,
        }
    }

    /// When the run ended.
    #[must_use]
    pub const fn ended_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Succeeded { at, .. } | State::Failed { at, .. } | State::Canceled { at, .. } => {
                Some(at)
            }
            State::Queued { .. } | State::Running { .. } | State::Waiting { .. } => None,
        }
    }
}

/// A task: what it was when it was accepted, and what has become of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Never changes.
    pub spec: std::sync::Arc<Spec>,
    /// Changes.
    pub life: Life,
}

impl Task {
    /// When time alone will change something: the end of a lease, a deadline, the end of retention.
    #[must_use]
    pub fn due_at(&self) -> Timestamp {
        let life = &self.life;
        match &life.state {
            State::Queued { .. } => life.deadline,
            State::Running { lease, .. } => lease.until.min(life.deadline),
            State::Waiting { until, .. } => (*until).min(life.deadline),
            State::Succeeded { at, .. } => at.plus(self.spec.retention),
            State::Failed { at, holder, .. } | State::Canceled { at, holder, .. } => match holder {
                Some(lease) => lease.until,
                None => at.plus(self.spec.retention),
            },
        }
    }

    /// Whose share of its queue it takes now: that of its source, until it is terminal.
    #[must_use]
    pub fn live_source(&self) -> Option<Source> {
        self.spec.source.filter(|_| !self.life.status().is_terminal())
    }

    /// When the task will be erased, once it is terminal.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.life.ended_at().map(|at| at.plus(self.spec.retention))
    }
}
