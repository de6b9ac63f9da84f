//! What time does to a task: leases and deadlines end, retention runs out.
//!
//! Whoever finds a task overdue only says so; what is due is decided here, from the task as it is
//! then, so that a settle that came in between is never overwritten (P3).
//!
//! A lease that ends is a holder that vanished only if it could have spoken: see
//! [`Lease::holds_until`].

use super::settle::{end_failed, vanish};
use super::{Draft, Effect, Reply, Step};
use crate::event::{Cause, EventData};
use crate::failure::{Failure, FailureCode};
use crate::lease::{Gone, Lease};
use crate::policy::Policy;
use crate::refusal::Refused;
use crate::task::State;
use crate::time::Timestamp;

pub(super) fn tick(
    mut draft: Draft<'_>,
    here_since: Timestamp,
    jitter: f64,
    policy: &Policy,
) -> Result<Step, Refused> {
    let now = draft.now;
    let held = |lease: &Lease| lease.holds_until(here_since, now);
    let deadline_passed = draft.task.life.deadline <= now;
    match &draft.task.life.state {
        State::Queued { .. } if deadline_passed => miss_deadline(&mut draft, None),
        State::Waiting { until, .. } if deadline_passed || *until <= now => {
            miss_deadline(&mut draft, None);
        }
        State::Running { lease, .. } if deadline_passed => {
            // A holder whose lease ended too is gone: its slot is free.
            let holder = held(lease).map(|_| draft.told_to_stop(lease));
            miss_deadline(&mut draft, holder);
        }
        State::Running { lease, .. } => match held(lease) {
            Some(until) => return Ok(draft.hold_until(until)),
            None => vanish(&mut draft, Gone::Silent, jitter, policy),
        },
        State::Failed { holder: Some(lease), .. } | State::Canceled { holder: Some(lease), .. } => {
            match held(lease) {
                Some(until) => return Ok(draft.hold_until(until)),
                None => draft.free_holder(),
            }
        }
        State::Succeeded { .. }
        | State::Failed { holder: None, .. }
        | State::Canceled { holder: None, .. }
            if draft.task.expires_at().is_some_and(|at| at <= now) =>
        {
            return Ok(draft.replying(Reply::Expired));
        }
        State::Queued { .. }
        | State::Waiting { .. }
        | State::Succeeded { .. }
        | State::Failed { holder: None, .. }
        | State::Canceled { holder: None, .. } => return Ok(draft.replying(Reply::Nothing)),
    }
    Ok(draft.done())
}

fn miss_deadline(draft: &mut Draft<'_>, holder: Option<Lease>) {
    if matches!(draft.task.life.state, State::Running { .. } | State::Waiting { .. }) {
        draft.log(EventData::AttemptFailed {
            cause: Cause::Timeout,
            failure: Failure::new(FailureCode::DeadlineExceeded, None),
            run_at: None,
        });
    }
    if let Some(lease) = &holder {
        draft.step.effects.push(Effect::Abort { nonce: lease.nonce });
    }
    let life = &draft.task.life;
    let detail = match &life.state {
        State::Waiting { .. } => "an outside system had the task, and its outcome did not come",
        State::Running { .. } => "the deadline passed while an attempt ran",
        _ if life.failures + life.crashes > 0 => {
            "the deadline passed while the task waited to be tried again"
        }
        _ => "the deadline passed while the task waited for its turn",
    };
    end_failed(draft, Failure::new(FailureCode::DeadlineExceeded, Some(detail)), holder);
    draft.wake_now();
}
