//! What people, and clients with the grant, do by hand: cancel and retry.

use super::settle::{drop_checkpoint, erase_credentials};
use super::{BodyKind, Draft, Effect, Reply, Step, has_room_for_attempt};
use crate::event::{CancelReason, EventData, RequeueReason};
use crate::lease::Lease;
use crate::refusal::Refused;
use crate::runner::Runner;
use crate::task::{Credentials, State, Task};

pub(super) fn cancel(draft: Draft<'_>, reason: CancelReason) -> Result<Step, Refused> {
    let holder: Option<Lease> = match &draft.task.life.state {
        State::Canceled { .. } => return Ok(draft.replying(Reply::Nothing)),
        State::Succeeded { .. } | State::Failed { .. } => return Err(Refused::AlreadyTerminal),
        State::Running { lease, .. } => Some(draft.told_to_stop(lease)),
        State::Queued { .. } | State::Waiting { .. } => None,
    };
    Ok(call_off(draft, reason, holder))
}

/// Ends a task that is not terminal; `holder` has not stopped yet.
pub(super) fn call_off(mut draft: Draft<'_>, reason: CancelReason, holder: Option<Lease>) -> Step {
    let at = draft.step.life.updated_at.max(draft.now);
    if let Some(lease) = &holder {
        draft.step.effects.push(Effect::Abort { nonce: lease.nonce });
    }
    draft.step.life.state = State::Canceled { at, holder, reason };
    draft.step.drops.push(BodyKind::Result);
    erase_credentials(&mut draft);
    draft.log(EventData::Canceled { reason });
    draft.wake_now();
    draft.done()
}

impl Task {
    /// Whether a retry by hand is taken, as far as the task itself goes: who offers one asks here first.
    /// While a run goes on it is taken, and changes nothing.
    ///
    /// # Errors
    /// [`Refused::AlreadySucceeded`], [`Refused::CredentialsErased`] (a cancel erases them), and
    /// [`Refused::TooManyEvents`].
    pub fn takes_retry(&self) -> Result<(), Refused> {
        match &self.life.state {
            // What was delivered may be wanted once more.
            State::Succeeded { .. } if self.spec.runner == Runner::Delivery => {}
            State::Succeeded { .. } => return Err(Refused::AlreadySucceeded),
            State::Queued { .. } | State::Running { .. } | State::Waiting { .. } => return Ok(()),
            State::Failed { .. } | State::Canceled { .. } => {}
        }
        if self.life.credentials == Credentials::Erased {
            return Err(Refused::CredentialsErased);
        }
        if !has_room_for_attempt(self.life.version) {
            return Err(Refused::TooManyEvents);
        }
        Ok(())
    }
}

pub(super) fn retry(mut draft: Draft<'_>, from_start: bool) -> Result<Step, Refused> {
    draft.task.takes_retry()?;
    if !draft.task.life.status().is_terminal() {
        return Ok(draft.replying(Reply::Nothing));
    }
    if let Some(lease) = draft.task.life.lease() {
        // The old holder loses its slot to the new run; its fence is void already.
        draft.step.effects.push(Effect::Abort { nonce: lease.nonce });
    }
    let life = &mut draft.step.life;
    life.run += 1;
    life.failures = 0;
    life.crashes = 0;
    life.progress = None;
    life.last_failure = None;
    life.deadline = draft.now.plus(draft.task.spec.deadline_after);
    draft.step.drops.push(BodyKind::Result);
    if from_start {
        drop_checkpoint(&mut draft);
    }
    draft.requeue(RequeueReason::Retried);
    Ok(draft.done())
}
