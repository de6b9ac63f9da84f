//! A task: one accepted request and all that happens to it.

use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::attendance::{Attendance, Grace};
use crate::event::CancelReason;
use crate::failure::{Failure, LastFailure};
use crate::lease::{Holder, Lease};
use crate::limits;
use crate::spec::{Source, Spec};
use crate::time::Timestamp;

/// How urgent a task is: −10 to 10, higher first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Priority(#[n(0)] i8);

impl Priority {
    /// A priority within its range, or `None`.
    #[must_use]
    pub fn new(level: i8) -> Option<Self> {
        limits::PRIORITY_RANGE.contains(&level).then_some(Self(level))
    }

    /// The number: a higher one is more urgent.
    #[must_use]
    pub const fn get(self) -> i8 {
        self.0
    }
}

/// Whether a task has sealed credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Credentials {
    /// It never had any.
    #[n(0)]
    None,
    /// They are stored, sealed.
    #[n(1)]
    Sealed,
    /// They were erased: the task cannot run again.
    #[n(2)]
    Erased,
}

/// The end of an attempt as its holder said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Settled {
    /// The fence it was said with.
    #[n(0)]
    #[cbor(with = "crate::cbor::bits")]
    pub nonce: u128,
    /// What was said.
    #[n(1)]
    pub how: Settlement,
}

/// What the holder of a lease may say of its attempt's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Settlement {
    /// It did what was asked.
    #[n(0)]
    Succeeded,
    /// It did not work.
    #[n(1)]
    Failed,
    /// It was given back untouched.
    #[n(2)]
    Released,
    /// Handed to an outside system.
    #[n(3)]
    Deferred,
}

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct Progress {
    /// 0 to 100.
    #[n(0)]
    pub percent: Option<f64>,
    /// How many units are done, of whatever kind.
    #[n(1)]
    pub done: Option<u64>,
    /// How many units there are in all.
    #[n(2)]
    pub total: Option<u64>,
    /// For end users.
    #[n(3)]
    pub message: Option<String>,
}

/// The six statuses, spelled as they travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Waits for its moment or its turn.
    Queued,
    /// An attempt runs.
    Running,
    /// An outside system has it.
    Waiting,
    /// The work is done.
    Succeeded,
    /// Given up; kept as a dead letter.
    Failed,
    /// It was called off.
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
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(flat)]
pub enum State {
    /// Waits for its moment or its turn.
    #[n(0)]
    Queued {
        /// When it may start.
        #[n(0)]
        run_at: Timestamp,
    },
    /// An attempt runs.
    #[n(1)]
    Running {
        /// The right to run it.
        #[n(0)]
        lease: Lease,
        /// When the attempt started.
        #[n(1)]
        started_at: Timestamp,
        /// The number of the result that its holder stored before its settle, if it did: the body
        /// [`BodyKind::Early`](crate::BodyKind::Early). It ends with the lease.
        #[n(2)]
        #[cbor(with = "crate::cbor::bits_if_any", has_nil)]
        early: Option<u128>,
        /// The number of the answer that its holder shows, or has shown, while it comes: the early result
        /// has it once that is whole.
        #[n(3)]
        #[cbor(with = "crate::cbor::bits_if_any", has_nil)]
        live: Option<u128>,
    },
    /// An outside system has it.
    #[n(2)]
    Waiting {
        /// When waiting ends as a failure.
        #[n(0)]
        until: Timestamp,
        /// The fence of whoever brings the outcome.
        #[n(1)]
        #[cbor(with = "crate::cbor::bits")]
        nonce: u128,
    },
    /// The work is done.
    #[n(3)]
    Succeeded {
        /// When it ended.
        #[n(0)]
        at: Timestamp,
        /// For end users: a JSON object from language to text, as the worker gave it.
        #[n(1)]
        #[cbor(with = "crate::cbor::opaque_if_any", has_nil)]
        message: Option<Bytes>,
        /// Whether the result is another than the answer that the same attempt had shown while it came.
        #[n(2)]
        is_other: bool,
    },
    /// No attempt succeeded, and none follows.
    #[n(4)]
    Failed {
        /// When it ended.
        #[n(0)]
        at: Timestamp,
        /// What went wrong.
        #[n(1)]
        failure: Failure,
        /// The holder that was not told yet; it keeps its slot until it stops.
        #[n(2)]
        #[cbor(with = "crate::cbor::optional", has_nil)]
        holder: Option<Lease>,
    },
    /// It was called off.
    #[n(5)]
    Canceled {
        /// When it ended.
        #[n(0)]
        at: Timestamp,
        /// The holder that has not stopped yet; it keeps its slot until it does.
        #[n(1)]
        #[cbor(with = "crate::cbor::optional", has_nil)]
        holder: Option<Lease>,
        /// Why it was called off.
        #[n(2)]
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
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Life {
    /// The number of the last event; readers use it as an ETag.
    #[n(0)]
    pub version: u64,
    /// Passage from queued to a terminal status: 1, and one more after each retry by hand.
    #[n(1)]
    pub run: u32,
    /// The last attempt's number; 0 before the first. Never goes back.
    #[n(2)]
    pub attempt: u32,
    /// Attempts of this run that failed.
    #[n(3)]
    pub failures: u32,
    /// Crashes in a row in this run.
    #[n(4)]
    pub crashes: u32,
    /// Time of the last event.
    #[n(5)]
    pub updated_at: Timestamp,
    /// When this run must be done.
    #[n(6)]
    pub deadline: Timestamp,
    /// How far it is.
    #[n(7)]
    pub progress: Option<Progress>,
    /// Whether a checkpoint is stored.
    #[n(8)]
    pub has_checkpoint: bool,
    /// Whether credentials are stored, sealed, for its upstream.
    #[n(9)]
    pub credentials: Credentials,
    /// How the attempt that was settled last ended: its holder may say it again.
    #[n(10)]
    #[cbor(with = "crate::cbor::optional", has_nil)]
    pub settled_by: Option<Settled>,
    /// What went wrong before, in this run: while it is tried again, and when it ended otherwise than
    /// by that failure. Boxed, because most tasks have none.
    #[n(11)]
    #[cbor(with = "crate::cbor::optional", has_nil)]
    pub last_failure: Option<Box<LastFailure>>,
    /// Where it stands.
    #[n(12)]
    pub state: State,
    /// Who waits for it, or until when somebody may come back: where its spec has a grace, and while
    /// it is not terminal. `None` if nobody has come, or all have got what they came for.
    #[n(13)]
    #[cbor(with = "crate::cbor::optional", has_nil)]
    pub attendance: Option<Attendance>,
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

    /// The nodes with connections that attend it, as far as that matters: see [`Attendance`].
    #[must_use]
    pub fn attended_by(&self) -> &[u64] {
        match &self.attendance {
            Some(Attendance::By(nodes, _)) => nodes,
            Some(Attendance::Until(_)) | None => &[],
        }
    }

    /// Whether everybody has left it, and its grace runs.
    #[must_use]
    pub const fn is_left(&self) -> bool {
        self.abandon_at().is_some()
    }

    /// When it is canceled, because everybody has left, unless somebody comes before.
    #[must_use]
    pub const fn abandon_at(&self) -> Option<Timestamp> {
        match &self.attendance {
            Some(Attendance::Until(at)) => Some(*at),
            Some(Attendance::By(..)) | None => None,
        }
    }

    /// The number of the result that the holder of the live lease stored before its settle.
    #[must_use]
    pub const fn early(&self) -> Option<u128> {
        match self.state {
            State::Running { early, .. } => early,
            State::Queued { .. }
            | State::Waiting { .. }
            | State::Succeeded { .. }
            | State::Failed { .. }
            | State::Canceled { .. } => None,
        }
    }

    /// The number of the answer that the holder of the live lease shows, or has shown, while it comes.
    #[must_use]
    pub const fn live(&self) -> Option<u128> {
        match self.state {
            State::Running { live, .. } => live,
            State::Queued { .. }
            | State::Waiting { .. }
            | State::Succeeded { .. }
            | State::Failed { .. }
            | State::Canceled { .. } => None,
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
    /// What was asked for; it never changes.
    pub spec: std::sync::Arc<Spec>,
    /// What became of it, so far.
    pub life: Life,
}

impl Task {
    /// When time alone will change something: the end of a lease, a deadline, the end of retention, the
    /// end of the grace.
    #[must_use]
    pub fn due_at(&self) -> Timestamp {
        let life = &self.life;
        let due_at = match &life.state {
            State::Queued { .. } => life.deadline,
            State::Running { lease, .. } => lease.until.min(life.deadline),
            State::Waiting { until, .. } => (*until).min(life.deadline),
            State::Succeeded { at, .. } => at.plus(self.spec.retention),
            State::Failed { at, holder, .. } | State::Canceled { at, holder, .. } => match holder {
                Some(lease) => lease.until,
                None => at.plus(self.spec.retention),
            },
        };
        life.abandon_at().map_or(due_at, |at| due_at.min(at))
    }

    /// How long it goes on once everybody who attended it has left, if that matters: it is not over.
    #[must_use]
    pub fn grace(&self) -> Option<Grace> {
        self.spec.grace.filter(|_| !self.life.status().is_terminal())
    }

    /// The same task, whose first connection waits at a node from before it was accepted. Nothing is
    /// noted of one that goes on in any case.
    #[must_use]
    pub fn attended_from_the_start(mut self, node: u64) -> Self {
        self.life.attendance = self.spec.grace.map(|_| Attendance::By(vec![node], false));
        self
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
