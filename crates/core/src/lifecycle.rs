//! The life of a task as one pure function: [`step`] decides what a command does to it.
//!
//! Not here: storing the decision and acting on it. The caller stores the [`Step`] in one transaction
//! and runs its effects afterwards; running an effect twice, or never, does no harm.

mod accept;
mod attempt;
mod attend;
mod hand;
mod settle;
mod tick;

use std::time::Duration;

pub use accept::accept;
use bytes::Bytes;

use crate::Cause;
use crate::event::{CancelReason, Entry, EventData, RequeueReason};
use crate::failure::Failure;
use crate::lease::{Gone, Holder, Lease};
use crate::limits;
use crate::policy::Policy;
use crate::refusal::Refused;
use crate::task::{Life, Progress, Settlement, State, Task};
use crate::time::Timestamp;

/// The bodies a task may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BodyKind {
    /// What was handed in.
    Input,
    /// What came out.
    Result,
    /// Where a worker would resume.
    Checkpoint,
    /// Credentials of the stored request, sealed.
    Sealed,
    /// What the holder of the live lease stored before its settle, which may make it the result.
    Early,
}

impl BodyKind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Input, Self::Result, Self::Checkpoint, Self::Sealed, Self::Early];

    /// What it is called in texts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Result => "result",
            Self::Checkpoint => "checkpoint",
            Self::Sealed => "credentials",
            Self::Early => "early result",
        }
    }
}

/// What somebody, or time, asks of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// An attempt begins under this lease.
    Start {
        /// The right to run it.
        lease: Lease,
    },
    /// The holder is alive, and may have got further.
    Report {
        /// The nonce of the attempt: one that is over changes nothing.
        nonce: u128,
        /// When the lease ends from now on.
        until: Timestamp,
        /// How far it is.
        progress: Option<Progress>,
        /// For its followers, as JSON.
        output: Option<Bytes>,
        /// Whether a checkpoint comes with it.
        checkpoint: bool,
    },
    /// The holder shows its answer while it comes: once under a lease, as readers may have a part of it.
    Show {
        /// The fence.
        nonce: u128,
        /// Its number, drawn for each.
        id: u128,
    },
    /// The holder stores a result before its settle, in the place of the one there may be.
    StoreEarly {
        /// The fence.
        nonce: u128,
        /// Its number, drawn for each, or that of the answer it shows: the settle names the result by it.
        id: u128,
    },
    /// The holder hands the task to an outside system.
    Defer {
        /// The nonce of the attempt: one that is over changes nothing.
        nonce: u128,
        /// When waiting ends as a failure.
        until: Timestamp,
        /// The fence of whoever brings the outcome.
        callback: u128,
    },
    /// The attempt succeeded.
    Succeed {
        /// The nonce of the attempt: one that is over changes nothing.
        nonce: u128,
        /// The result for the log, if it is small and JSON.
        result: Option<Bytes>,
        /// For end users: a JSON object from language to text.
        message: Option<Bytes>,
        /// The number of the early result that becomes the result, if one does.
        early: Option<u128>,
    },
    /// The attempt failed.
    Fail {
        /// The nonce of the attempt: one that is over changes nothing.
        nonce: u128,
        /// Whether it failed, took too long, or vanished.
        cause: Cause,
        /// What went wrong.
        failure: Failure,
        /// Whether another attempt may follow.
        retryable: bool,
        /// How long to wait at least before it.
        retry_after: Option<Duration>,
        /// Drawn in `0.0..1.0`.
        jitter: f64,
    },
    /// Whoever was called answered that it wants to be left alone for a while: the attempt is over without
    /// an outcome, and counts neither as a failure nor as a crash. Only the deadline bounds how often.
    Postpone {
        /// The nonce of the attempt: one that is over changes nothing.
        nonce: u128,
        /// What was answered.
        failure: Failure,
        /// For how long.
        pause: Duration,
    },
    /// The holder gives the task back untouched.
    Release {
        /// The nonce of the attempt: one that is over changes nothing.
        nonce: u128,
    },
    /// The holder vanished in mid-attempt.
    Crash {
        /// The nonce of the attempt: one that is over changes nothing.
        nonce: u128,
        /// How that is known.
        gone: Gone,
        /// Drawn in `0.0..1.0`.
        jitter: f64,
    },
    /// A body that an attempt needs is damaged or missing: no other attempt would find it better.
    Spoil {
        /// The fence of the attempt that found it; none if it was found before one began.
        nonce: Option<u128>,
        /// The body that cannot be read.
        body: BodyKind,
    },
    /// The holder of a task that was called off has stopped: its slot is free.
    Free {
        /// The nonce of the attempt: one that is over changes nothing.
        nonce: u128,
    },
    /// Call it off.
    Cancel,
    /// A connection of this node waits for it, streams its answer, follows it or asks how it stands: a
    /// countdown stops.
    Attend {
        /// The node.
        node: u64,
        /// Whether the last of this node's connections that held it had broken off, where those that are
        /// left here only ask; `None` leaves what is stored of that as it was.
        has_broken: Option<bool>,
    },
    /// The last connection of this node that attended it got what it came for, was sent away with a
    /// ticket, or was told how it stands. Where the last that held it had broken off before, and nobody
    /// is left, the countdown begins. It cancels nothing.
    LetGo {
        /// The node.
        node: u64,
        /// As above.
        has_broken: Option<bool>,
    },
    /// The last connection of this node that attended it broke, or the node is dead: where no other node
    /// has one, the countdown begins.
    Leave {
        /// The node.
        node: u64,
    },
    /// Somebody asked how it stands: a countdown that runs begins anew.
    Ask,
    /// Run it again.
    Retry {
        /// Forget the checkpoint.
        from_start: bool,
    },
    /// Time has passed: end what is overdue.
    Tick {
        /// Since when a server has been there without a break, as whoever ticks knows. The silence of a
        /// holder before that says nothing of it.
        here_since: Timestamp,
        /// Since when whoever left could come back, to this server or to another, without a break. A
        /// countdown lasts a whole grace from then on.
        open_since: Timestamp,
        /// Drawn in `0.0..1.0`.
        jitter: f64,
    },
}

impl Command {
    /// The attempt with this fence succeeded, and has neither a result nor a word for end users.
    #[must_use]
    pub const fn succeed(nonce: u128) -> Self {
        Self::Succeed { nonce, result: None, message: None, early: None }
    }
}

/// What the command did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reply {
    /// It was done.
    Done,
    /// It had been done before, by the same holder.
    Replayed,
    /// There was nothing to do.
    Nothing,
    /// The task had been canceled; only the slot was freed.
    Canceled,
    /// The run had ended otherwise; only the slot was freed.
    TooLate,
    /// Its retention is over: erase it.
    Expired,
}

/// What the caller does after the step is durable. Doing it twice is harmless; a crash before it is
/// made good by the alarms and the ready order, which are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The task waits: whoever runs its kind may look at this time.
    Wake {
        /// The moment when it may run.
        at: Timestamp,
    },
    /// The attempt with this fence is to stop.
    Abort {
        /// The nonce of the attempt: one that is over changes nothing.
        nonce: u128,
    },
}

/// A decision: all of it is stored, or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The task afterwards.
    pub life: Life,
    /// New entries of its log, in order.
    pub entries: Vec<Entry>,
    /// Bodies to drop.
    pub drops: Vec<BodyKind>,
    /// What to do afterwards.
    pub effects: Vec<Effect>,
    /// What to answer.
    pub reply: Reply,
}

/// Decides what `command` does to `task` at `now`.
///
/// # Errors
/// [`Refused`] says why it may not happen; then nothing changes.
pub fn step(
    task: &Task,
    command: Command,
    policy: &Policy,
    now: Timestamp,
) -> Result<Step, Refused> {
    let mut step = decide(Draft::of(task, now), command, policy)?;
    // It ends with its lease, however that ends.
    if task.life.early().is_some() && step.life.early().is_none() {
        step.drops.push(BodyKind::Early);
    }
    // What is over is waited for no more.
    if step.life.status().is_terminal() {
        step.life.attendance = None;
    }
    Ok(step)
}

fn decide(draft: Draft<'_>, command: Command, policy: &Policy) -> Result<Step, Refused> {
    match command {
        Command::Start { lease } => attempt::start(draft, lease),
        Command::Report { nonce, until, progress, output, checkpoint } => {
            attempt::report(draft, nonce, attempt::Report { until, progress, output, checkpoint })
        }
        Command::Show { nonce, id } => attempt::show(draft, nonce, id),
        Command::StoreEarly { nonce, id } => attempt::store_early(draft, nonce, id),
        Command::Defer { nonce, until, callback } => attempt::defer(draft, nonce, until, callback),
        Command::Release { nonce } => attempt::release(draft, nonce),
        Command::Spoil { nonce, body } => attempt::spoil(draft, nonce, body, policy),
        Command::Free { nonce } => attempt::free(draft, nonce),
        Command::Succeed { nonce, result, message, early } => {
            settle::succeed(draft, nonce, settle::Success { result, message, early })
        }
        Command::Fail { nonce, cause, failure, retryable, retry_after, jitter } => settle::fail(
            draft,
            nonce,
            settle::Fall { cause, failure, retryable, retry_after, jitter },
            policy,
        ),
        Command::Postpone { nonce, failure, pause } => {
            settle::postpone(draft, nonce, failure, pause)
        }
        Command::Crash { nonce, gone, jitter } => settle::crash(draft, nonce, gone, jitter, policy),
        Command::Cancel => hand::cancel(draft, CancelReason::Requested),
        Command::Attend { node, has_broken } => attend::attend(draft, node, has_broken),
        Command::LetGo { node, has_broken } => attend::let_go(draft, node, has_broken),
        Command::Leave { node } => attend::leave(draft, node),
        Command::Ask => attend::ask(draft),
        Command::Retry { from_start } => hand::retry(draft, from_start),
        Command::Tick { here_since, open_since, jitter } => {
            attend::tick(draft, open_since, here_since, |draft| {
                tick::tick(draft, here_since, jitter, policy)
            })
        }
    }
}

/// Entries that one more attempt may need, counted from the one that ends the attempt before it:
/// `attempt_failed` or `requeued`, `started`, `deferred`, `attempt_failed`, `failed`.
const ATTEMPT_EVENTS_MAX: u64 = 5;

/// Whether a log of so many events has room for another attempt and its outcome.
const fn has_room_for_attempt(version: u64) -> bool {
    version + ATTEMPT_EVENTS_MAX <= limits::EVENTS_MAX
}

/// A step in the making: the task as it was, and what is to become of it.
struct Draft<'a> {
    task: &'a Task,
    now: Timestamp,
    step: Step,
}

impl<'a> Draft<'a> {
    fn of(task: &'a Task, now: Timestamp) -> Self {
        let step = Step {
            life: task.life.clone(),
            entries: Vec::new(),
            drops: Vec::new(),
            effects: Vec::new(),
            reply: Reply::Done,
        };
        Self { task, now, step }
    }

    /// Appends an entry. Time never goes back in a log, whatever the clock does.
    fn log(&mut self, data: EventData) {
        let life = &mut self.step.life;
        life.version += 1;
        life.updated_at = life.updated_at.max(self.now);
        self.step.entries.push(Entry {
            task: self.task.spec.id,
            seq: life.version,
            at: life.updated_at,
            attempt: life.attempt,
            data,
        });
    }

    /// Whether the log has room for an entry that is not an outcome.
    fn has_room(&self) -> bool {
        self.step.life.version < limits::EVENTS_PROGRESS_MAX
    }

    /// Whether the log has room for another attempt and its outcome.
    fn has_room_for_attempt(&self) -> bool {
        has_room_for_attempt(self.step.life.version)
    }

    /// Back to the queue, to start at `run_at`.
    fn queue(&mut self, run_at: Timestamp) {
        self.step.life.state = State::Queued { run_at };
        self.step.effects.push(Effect::Wake { at: run_at });
    }

    /// Back to the queue without a failure, to start at once.
    fn requeue(&mut self, reason: RequeueReason) {
        let (run, run_at) = (self.step.life.run, self.now);
        self.log(EventData::Requeued { reason, run, run_at });
        self.queue(run_at);
    }

    /// A slot became free: others of the queue may start.
    fn wake_now(&mut self) {
        self.step.effects.push(Effect::Wake { at: self.now });
    }

    fn replying(mut self, reply: Reply) -> Step {
        self.step.reply = reply;
        self.step
    }

    fn done(self) -> Step {
        self.step
    }

    /// Why a holder with `nonce` may not do what only the holder of the live attempt may.
    fn refusal_of(&self, nonce: u128) -> Refused {
        match &self.task.life.state {
            State::Canceled { holder: Some(lease), .. } if lease.nonce == nonce => {
                Refused::TaskCanceled
            }
            _ => Refused::StaleLease,
        }
    }

    /// How the holder with this fence has settled before, if it was heard.
    fn settled(&self, nonce: u128) -> Option<Settlement> {
        self.task
            .life
            .settled_by
            .filter(|settled| settled.nonce == nonce)
            .map(|settled| settled.how)
    }

    /// The right of `nonce` to settle: the live attempt's, or that of the outcome being waited for.
    fn may_settle(&self, nonce: u128) -> bool {
        match &self.task.life.state {
            State::Running { lease, .. } => lease.nonce == nonce,
            State::Waiting { nonce: callback, .. } => *callback == nonce,
            State::Queued { .. }
            | State::Succeeded { .. }
            | State::Failed { .. }
            | State::Canceled { .. } => false,
        }
    }

    /// The lease of a holder that was not told yet and has this fence.
    fn is_held_over_by(&self, nonce: u128) -> bool {
        match &self.task.life.state {
            State::Failed { holder: Some(lease), .. }
            | State::Canceled { holder: Some(lease), .. } => lease.nonce == nonce,
            _ => false,
        }
    }

    /// The lease of a holder that is told to stop now. A worker keeps its slot until it says that it
    /// stopped, or its lease ends; an attempt of Relais stops at once, unless its process is dead.
    fn told_to_stop(&self, lease: &Lease) -> Lease {
        match lease.holder {
            Holder::Relais { .. } => {
                let span = lease.span.min(limits::ABORT_GRACE);
                Lease { until: lease.until.min(self.now.plus(span)), span, ..lease.clone() }
            }
            Holder::Worker { .. } => lease.clone(),
        }
    }

    /// The lease that uses a slot holds until then. Nothing is logged: nothing happened.
    fn hold_until(mut self, until: Timestamp) -> Step {
        if let State::Running { lease, .. }
        | State::Failed { holder: Some(lease), .. }
        | State::Canceled { holder: Some(lease), .. } = &mut self.step.life.state
            && lease.until != until
        {
            lease.until = until;
            return self.done();
        }
        self.replying(Reply::Nothing)
    }

    /// Frees the slot of a holder that stopped after the task was over.
    fn free_holder(&mut self) {
        if let State::Failed { holder, .. } | State::Canceled { holder, .. } =
            &mut self.step.life.state
        {
            *holder = None;
        }
        self.wake_now();
    }
}
