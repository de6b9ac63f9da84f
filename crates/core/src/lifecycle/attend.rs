//! Who waits for a task, and the countdown that begins when the last of them breaks off.
//!
//! What holds a task, and what only asks for it, is the server's to know. Nothing of this is logged but
//! the end: connections come and go while nothing happens to the task.

use super::{Draft, Reply, Step, hand};
use crate::attendance::{Attendance, Grace};
use crate::event::CancelReason;
use crate::lease::Lease;
use crate::refusal::Refused;
use crate::task::State;
use crate::time::Timestamp;

pub(super) fn attend(
    mut draft: Draft<'_>,
    node: u64,
    has_broken: Option<bool>,
) -> Result<Step, Refused> {
    if draft.task.grace().is_none() {
        return Ok(draft.replying(Reply::Nothing));
    }
    let life = &draft.task.life;
    let attendance = match life.attendance.clone() {
        Some(Attendance::By(mut nodes, before)) => {
            if !nodes.contains(&node) {
                nodes.push(node);
            }
            Attendance::By(nodes, has_broken.unwrap_or(before))
        }
        // Whoever comes may only ask: then the countdown is still owed.
        Some(Attendance::Until(_)) => Attendance::By(vec![node], has_broken.unwrap_or(true)),
        None => Attendance::By(vec![node], has_broken.unwrap_or(false)),
    };
    if life.attendance.as_ref() == Some(&attendance) {
        return Ok(draft.replying(Reply::Nothing));
    }
    draft.step.life.attendance = Some(attendance);
    Ok(draft.done())
}

pub(super) fn let_go(
    draft: Draft<'_>,
    node: u64,
    has_broken: Option<bool>,
) -> Result<Step, Refused> {
    // Whoever was told how the task stands is there, and asks again: with `cancel` only a break ends it.
    part(draft, node, has_broken, |draft| Ok(draft.done()))
}

pub(super) fn leave(draft: Draft<'_>, node: u64) -> Result<Step, Refused> {
    part(draft, node, Some(true), |draft| hand::cancel(draft, CancelReason::Abandoned))
}

/// The connections of a node are gone. Where they were the last of all, and the last of these had broken
/// off, the countdown begins; `at_once` says what becomes of a task that has none.
fn part<'a>(
    mut draft: Draft<'a>,
    node: u64,
    has_broken: Option<bool>,
    at_once: impl FnOnce(Draft<'a>) -> Result<Step, Refused>,
) -> Result<Step, Refused> {
    match (strike(&mut draft, node, has_broken), draft.task.spec.grace) {
        (Struck::Nobody, _) => Ok(draft.replying(Reply::Nothing)),
        (Struck::TheLast { has_broken: true }, Some(Grace::ZERO)) => at_once(draft),
        (Struck::TheLast { has_broken: true }, Some(grace)) => Ok(count_down(draft, grace)),
        (Struck::TheLast { .. } | Struck::One, _) => Ok(draft.done()),
    }
}

fn count_down(mut draft: Draft<'_>, grace: Grace) -> Step {
    let until = draft.now.plus(grace.span());
    draft.step.life.attendance = Some(Attendance::Until(until));
    draft.done()
}

pub(super) fn ask(draft: Draft<'_>) -> Result<Step, Refused> {
    match (draft.task.life.abandon_at(), draft.task.spec.grace) {
        (Some(before), Some(grace)) if before != draft.now.plus(grace.span()) => {
            Ok(count_down(draft, grace))
        }
        _ => Ok(draft.replying(Reply::Nothing)),
    }
}

/// Ends a task whose grace is over. One that nobody could come back to for a part of it has a whole one
/// from then on; and if the clock was set back, it ends a whole grace from now on at the latest. What
/// else time does to the task, `otherwise` says.
pub(super) fn tick<'a>(
    mut draft: Draft<'a>,
    open_since: Timestamp,
    here_since: Timestamp,
    otherwise: impl FnOnce(Draft<'a>) -> Result<Step, Refused>,
) -> Result<Step, Refused> {
    let (Some(at), Some(grace)) = (draft.task.life.abandon_at(), draft.task.spec.grace) else {
        return otherwise(draft);
    };
    let longest = draft.now.plus(grace.span());
    let until = at.max(open_since.plus(grace.span())).min(longest);
    if until <= draft.now {
        // A holder whose lease ended too is gone: its slot is free.
        let held = |lease: &&Lease| lease.holds_until(here_since, draft.now).is_some();
        let holder = match &draft.task.life.state {
            State::Running { lease, .. } => Some(lease).filter(held),
            _ => None,
        };
        let holder = holder.map(|lease| draft.told_to_stop(lease));
        return Ok(hand::call_off(draft, CancelReason::Abandoned, holder));
    }
    draft.step.life.attendance = Some(Attendance::Until(until));
    let mut step = otherwise(draft)?;
    if until != at && step.reply == Reply::Nothing {
        step.reply = Reply::Done;
    }
    Ok(step)
}

/// Who was struck off the list of those that attend a task.
enum Struck {
    Nobody,
    One,
    TheLast { has_broken: bool },
}

fn strike(draft: &mut Draft<'_>, node: u64, how: Option<bool>) -> Struck {
    let attendance = &mut draft.step.life.attendance;
    let Some(Attendance::By(nodes, has_broken)) = attendance else { return Struck::Nobody };
    let Some(at) = nodes.iter().position(|one| *one == node) else { return Struck::Nobody };
    nodes.swap_remove(at);
    *has_broken = how.unwrap_or(*has_broken);
    if nodes.is_empty() {
        let has_broken = *has_broken;
        *attendance = None;
        return Struck::TheLast { has_broken };
    }
    Struck::One
}
