//! What the holder of a lease does while its attempt lives.

use bytes::Bytes;

use super::settle::{End, Fall, end_failed, fail, settled_before};
use super::{BodyKind, Draft, Reply, Step};
use crate::event::{Cause, EventData, RequeueReason};
use crate::failure::{Failure, FailureCode};
use crate::lease::Lease;
use crate::policy::Policy;
use crate::refusal::Refused;
use crate::task::{Progress, Settled, Settlement, State};
use crate::time::Timestamp;

pub(super) fn start(mut draft: Draft<'_>, lease: Lease) -> Result<Step, Refused> {
    let State::Queued { run_at } = draft.task.life.state else { return Err(Refused::NotReady) };
    if run_at > draft.now || draft.task.life.deadline <= draft.now {
        return Err(Refused::NotReady);
    }
    let started = EventData::started_by(&lease.holder);
    let life = &mut draft.step.life;
    life.attempt += 1;
    // As the log says, where time never goes back.
    let started_at = life.updated_at.max(draft.now);
    life.state = State::Running { lease, started_at, early: None, live: None };
    draft.log(started);
    Ok(draft.done())
}

/// Trying again would find the same: the task ends, so that those behind it get their turn. By hand it
/// may be tried again, once the body was restored or, for a checkpoint, from the start.
pub(super) fn spoil(
    mut draft: Draft<'_>,
    nonce: Option<u128>,
    body: BodyKind,
    policy: &Policy,
) -> Result<Step, Refused> {
    let detail = format!("the stored {} of the task is damaged or missing", body.as_str());
    let failure = Failure::new(FailureCode::BodyDamaged, Some(&detail));
    if let Some(nonce) = nonce {
        let (retryable, retry_after) = (false, None);
        let fall = Fall { cause: Cause::Error, failure, retryable, retry_after, jitter: 0.0 };
        return fail(draft, nonce, fall, policy);
    }
    if !matches!(draft.task.life.state, State::Queued { .. }) {
        return Ok(draft.replying(Reply::Nothing));
    }
    end_failed(&mut draft, failure, None);
    draft.wake_now();
    Ok(draft.done())
}

pub(super) struct Report {
    pub(super) until: Timestamp,
    pub(super) progress: Option<Progress>,
    pub(super) output: Option<Bytes>,
    pub(super) checkpoint: bool,
}

pub(super) fn report(mut draft: Draft<'_>, nonce: u128, report: Report) -> Result<Step, Refused> {
    match &mut draft.step.life.state {
        // A heartbeat that was overtaken on its way never shortens the lease.
        State::Running { lease, .. } if lease.nonce == nonce => {
            lease.until = lease.until.max(report.until);
            lease.span = report.until.since(draft.now);
        }
        _ => return Err(draft.refusal_of(nonce)),
    }
    if report.checkpoint {
        draft.step.life.has_checkpoint = true;
    }
    if let Some(progress) = report.progress
        && draft.step.life.progress.as_ref() != Some(&progress)
    {
        draft.step.life.progress = Some(progress.clone());
        if draft.has_room() {
            draft.log(EventData::Progressed(progress));
        }
    }
    if let Some(output) = report.output {
        if !draft.has_room() {
            return Err(Refused::TooManyEvents);
        }
        draft.log(EventData::Output(output));
    }
    Ok(draft.done())
}

pub(super) fn show(mut draft: Draft<'_>, nonce: u128, id: u128) -> Result<Step, Refused> {
    match &mut draft.step.life.state {
        State::Running { lease, live, .. } if lease.nonce == nonce => match *live {
            Some(shown) if shown != id => return Err(Refused::AlreadyShown),
            _ => *live = Some(id),
        },
        _ => return Err(draft.refusal_of(nonce)),
    }
    Ok(draft.done())
}

pub(super) fn store_early(mut draft: Draft<'_>, nonce: u128, id: u128) -> Result<Step, Refused> {
    match &mut draft.step.life.state {
        State::Running { lease, early, .. } if lease.nonce == nonce => *early = Some(id),
        _ => return Err(draft.refusal_of(nonce)),
    }
    Ok(draft.done())
}

pub(super) fn defer(
    mut draft: Draft<'_>,
    nonce: u128,
    until: Timestamp,
    callback: u128,
) -> Result<Step, Refused> {
    match &draft.task.life.state {
        State::Running { lease, .. } if lease.nonce == nonce => {}
        _ => match draft.settled(nonce) {
            Some(Settlement::Deferred) => return Ok(draft.replying(Reply::Replayed)),
            Some(_) => return Err(Refused::SettledOtherwise),
            None => return Err(draft.refusal_of(nonce)),
        },
    }
    draft.step.life.settled_by = Some(Settled { nonce, how: Settlement::Deferred });
    draft.step.life.state = State::Waiting { until, nonce: callback };
    draft.log(EventData::Deferred { until });
    draft.wake_now();
    Ok(draft.done())
}

pub(super) fn release(mut draft: Draft<'_>, nonce: u128) -> Result<Step, Refused> {
    match &draft.task.life.state {
        State::Running { lease, .. } if lease.nonce == nonce => {}
        // Who waits for an outside system holds nothing that could be given back.
        State::Waiting { nonce: callback, .. } if *callback == nonce => {
            return Err(Refused::StaleLease);
        }
        _ => return settled_before(draft, nonce, End::Released),
    }
    draft.step.life.settled_by = Some(Settled { nonce, how: Settlement::Released });
    if !draft.has_room_for_attempt() {
        // A task that is given back for ever would never end otherwise.
        let detail = "the log of the task is full: it was given back too often";
        end_failed(&mut draft, Failure::new(FailureCode::WorkerLost, Some(detail)), None);
        draft.wake_now();
        return Ok(draft.done());
    }
    draft.requeue(RequeueReason::Released);
    Ok(draft.done())
}

pub(super) fn free(mut draft: Draft<'_>, nonce: u128) -> Result<Step, Refused> {
    if !draft.is_held_over_by(nonce) {
        return Ok(draft.replying(Reply::Nothing));
    }
    draft.free_holder();
    Ok(draft.done())
}
