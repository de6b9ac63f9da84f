//! How an attempt ends: by an outcome, by a failure that is tried again, or by vanishing.

use std::time::Duration;

use bytes::Bytes;

use super::{BodyKind, Draft, Reply, Step};
use crate::event::{Cause, EventData};
use crate::failure::{Failure, FailureCode, LastFailure};
use crate::lease::{Gone, Holder, Lease};
use crate::limits;
use crate::outcome::{Loss, Sent, judge_lost};
use crate::policy::Policy;
use crate::refusal::Refused;
use crate::retry::{backoff, retry_delay};
use crate::task::{Credentials, Life, Settled, Settlement, State};

/// What an attempt brings that succeeded.
pub(super) struct Success {
    pub(super) result: Option<Bytes>,
    pub(super) message: Option<Bytes>,
    pub(super) early: Option<u128>,
}

pub(super) fn succeed(
    mut draft: Draft<'_>,
    nonce: u128,
    success: Success,
) -> Result<Step, Refused> {
    let Success { result, message, early } = success;
    if !draft.may_settle(nonce) {
        return settled_before(draft, nonce, End::Succeeded(message.as_ref()));
    }
    if early.is_some() && early != draft.task.life.early() {
        return Err(Refused::NoSuchResult);
    }
    let is_other = draft.task.life.live().is_some_and(|live| early != Some(live));
    let at = draft.step.life.updated_at.max(draft.now);
    let life = &mut draft.step.life;
    life.settled_by = Some(Settled { nonce, how: Settlement::Succeeded });
    life.crashes = 0;
    life.last_failure = None;
    life.state = State::Succeeded { at, message: message.clone(), is_other };
    erase_credentials(&mut draft);
    drop_checkpoint(&mut draft);
    draft.log(EventData::Succeeded { result, message });
    draft.wake_now();
    Ok(draft.done())
}

/// How an attempt failed.
pub(super) struct Fall {
    pub(super) cause: Cause,
    pub(super) failure: Failure,
    pub(super) retryable: bool,
    pub(super) retry_after: Option<Duration>,
    pub(super) jitter: f64,
}

pub(super) fn fail(
    mut draft: Draft<'_>,
    nonce: u128,
    fall: Fall,
    policy: &Policy,
) -> Result<Step, Refused> {
    if !draft.may_settle(nonce) {
        return settled_before(draft, nonce, End::Failed(&fall.failure));
    }
    let life = &mut draft.step.life;
    life.settled_by = Some(Settled { nonce, how: Settlement::Failed });
    life.crashes = 0;
    life.failures += 1;
    let delay = retry_delay(&policy.retry, life.failures, fall.jitter)
        .filter(|_| fall.retryable)
        .map(|delay| delay.max(fall.retry_after.unwrap_or_default()).min(limits::HORIZON_MAX));
    end_attempt(&mut draft, fall.cause, fall.failure, delay);
    draft.wake_now();
    Ok(draft.done())
}

pub(super) fn postpone(
    mut draft: Draft<'_>,
    nonce: u128,
    failure: Failure,
    pause: Duration,
) -> Result<Step, Refused> {
    if !draft.may_settle(nonce) {
        return settled_before(draft, nonce, End::Failed(&failure));
    }
    let life = &mut draft.step.life;
    life.settled_by = Some(Settled { nonce, how: Settlement::Failed });
    life.crashes = 0;
    end_attempt(&mut draft, Cause::Error, failure, Some(pause.min(limits::ORIGIN_PAUSE_MAX)));
    draft.wake_now();
    Ok(draft.done())
}

pub(super) fn crash(
    mut draft: Draft<'_>,
    nonce: u128,
    gone: Gone,
    jitter: f64,
    policy: &Policy,
) -> Result<Step, Refused> {
    match &draft.task.life.state {
        State::Running { lease, .. } if lease.nonce == nonce => {
            vanish(&mut draft, gone, jitter, policy);
            Ok(draft.done())
        }
        _ if draft.is_held_over_by(nonce) => {
            draft.free_holder();
            Ok(draft.done())
        }
        _ => Ok(draft.replying(Reply::Nothing)),
    }
}

/// The holder of the live attempt is gone.
pub(super) fn vanish(draft: &mut Draft<'_>, gone: Gone, jitter: f64, policy: &Policy) {
    let cause = match gone {
        Gone::Stopped => Cause::Stop,
        Gone::Died | Gone::Broke | Gone::Silent => Cause::Crash,
    };
    let what = told_of(gone, draft.task.life.lease().map(|lease| &lease.holder));
    let life = &mut draft.step.life;
    life.crashes += 1;
    let crashes = life.crashes;
    // Whoever could tell how much was sent is gone with it.
    match judge_lost(Sent::Something, draft.task.spec.runner.is_repeatable()) {
        Loss::Unknown => {
            let detail = format!("{what}; the upstream may have done the work");
            let failure = Failure::new(FailureCode::OutcomeUnknown, Some(&detail));
            end_attempt(draft, cause, failure, None);
        }
        Loss::Again => {
            let failure = Failure::new(FailureCode::WorkerLost, Some(what));
            let delay =
                (crashes < limits::CRASHES_MAX).then(|| backoff(&policy.retry, crashes, jitter));
            end_attempt(draft, cause, failure, delay);
        }
    }
    draft.wake_now();
}

/// What happened to a holder that is gone: whoever looks for the cause must not look at the upstream
/// when Relais itself was stopped, or killed.
const fn told_of(gone: Gone, holder: Option<&Holder>) -> &'static str {
    match (gone, holder) {
        (Gone::Stopped, _) => "Relais was stopped, and the attempt took longer than `drain` allows",
        (Gone::Died, _) => "the process of Relais that ran the attempt ended in the middle of it",
        (Gone::Broke, _) => "a fault of Relais itself broke the attempt off",
        (Gone::Silent, Some(Holder::Relais { .. })) => {
            "nothing was heard for a whole lease of the process of Relais that ran the attempt"
        }
        (Gone::Silent, Some(Holder::Worker { .. }) | None) => {
            "nothing was heard of the worker for a whole lease"
        }
    }
}

/// Logs the failed attempt and requeues the task after `delay`, or fails it.
fn end_attempt(draft: &mut Draft<'_>, cause: Cause, failure: Failure, delay: Option<Duration>) {
    // The log must keep room for the outcome: an endless retry ends here at the latest.
    let delay = delay.filter(|_| draft.has_room_for_attempt());
    let run_at = delay.map(|delay| draft.now.plus(delay));
    draft.log(EventData::AttemptFailed { cause, failure: failure.clone(), run_at });
    match run_at {
        Some(run_at) => {
            // The answer of an attempt that is tried again is nobody's outcome.
            draft.step.drops.push(BodyKind::Result);
            draft.queue(run_at);
            let life = &mut draft.step.life;
            let (at, attempt) = (life.updated_at, life.attempt);
            life.last_failure = Some(Box::new(LastFailure { failure, at, attempt }));
        }
        None => {
            // It is the outcome, and told as that.
            draft.step.life.last_failure = None;
            end_failed(draft, failure, None);
        }
    }
}

/// Ends the run as failed; `holder` is whoever has not been told.
pub(super) fn end_failed(draft: &mut Draft<'_>, failure: Failure, holder: Option<Lease>) {
    let at = draft.step.life.updated_at.max(draft.now);
    if !failure.has_result {
        draft.step.drops.push(BodyKind::Result);
    }
    draft.step.life.state = State::Failed { at, failure: failure.clone(), holder };
    draft.log(EventData::Failed(failure));
}

/// An attempt's end as its holder says it, without the result, which rules never see.
#[derive(Clone, Copy)]
pub(super) enum End<'a> {
    /// With a word for end users.
    Succeeded(Option<&'a Bytes>),
    /// With what went wrong.
    Failed(&'a Failure),
    /// The task was given back.
    Released,
}

impl End<'_> {
    const fn how(self) -> Settlement {
        match self {
            Self::Succeeded(_) => Settlement::Succeeded,
            Self::Failed(_) => Settlement::Failed,
            Self::Released => Settlement::Released,
        }
    }

    /// Whether it is, in its content too, what was recorded of the same holder; what is not kept any
    /// more is not compared.
    fn is_recorded_in(self, life: &Life) -> bool {
        match (self, &life.state) {
            (Self::Succeeded(said), State::Succeeded { message, .. }) => said == message.as_ref(),
            (Self::Failed(said), state) => {
                let of_run = match state {
                    State::Failed { failure, .. } => Some(failure),
                    _ => None,
                };
                let of_attempt = life.last_failure.as_ref().map(|last| &last.failure);
                // One of another kind is of what came later: a deadline, a holder that vanished.
                let mut recorded = of_run.into_iter().chain(of_attempt);
                recorded.find(|failure| failure.code == said.code).is_none_or(|it| it == said)
            }
            (Self::Succeeded(_) | Self::Released, _) => true,
        }
    }
}

/// Answers a holder that may not settle any more: it was called off, is too late, or says it again.
pub(super) fn settled_before(
    mut draft: Draft<'_>,
    nonce: u128,
    end: End<'_>,
) -> Result<Step, Refused> {
    if draft.is_held_over_by(nonce) {
        draft.free_holder();
        let was_canceled = matches!(draft.task.life.state, State::Canceled { .. });
        return Ok(draft.replying(if was_canceled { Reply::Canceled } else { Reply::TooLate }));
    }
    match draft.settled(nonce) {
        Some(how) if how == end.how() && end.is_recorded_in(&draft.task.life) => {
            Ok(draft.replying(Reply::Replayed))
        }
        Some(_) => Err(Refused::SettledOtherwise),
        None => Err(draft.refusal_of(nonce)),
    }
}

pub(super) fn erase_credentials(draft: &mut Draft<'_>) {
    if draft.step.life.credentials == Credentials::Sealed {
        draft.step.life.credentials = Credentials::Erased;
        draft.step.drops.push(BodyKind::Sealed);
    }
}

pub(super) fn drop_checkpoint(draft: &mut Draft<'_>) {
    if draft.step.life.has_checkpoint {
        draft.step.life.has_checkpoint = false;
        draft.step.drops.push(BodyKind::Checkpoint);
    }
}
