//! Tasks and failures as they travel: from the types of `core` to those of `api`. Decides nothing.

use relais_api::codes::{self, Code};
use relais_api::task::RequestLine;
use relais_api::{Eta, Problem, Status, task};
use relais_core::{CancelReason, Failure, State, Task, Timestamp};
use relais_engine::Estimate;
use relais_engine::document::{code_of, message_of, problem_of, progress, said, time};

use crate::answer::answers::Answers;
use crate::answer::base::Base;
use crate::answer::links::{self, Viewer};

/// A status as it travels.
#[must_use]
pub(crate) fn status(status: relais_core::Status) -> Status {
    match status {
        relais_core::Status::Queued => Status::Queued,
        relais_core::Status::Running => Status::Running,
        relais_core::Status::Waiting => Status::Waiting,
        relais_core::Status::Succeeded => Status::Succeeded,
        relais_core::Status::Failed => Status::Failed,
        relais_core::Status::Canceled => Status::Canceled,
    }
}

/// An estimate as it travels.
#[must_use]
pub(crate) fn eta(eta: (Timestamp, Timestamp)) -> Eta {
    Eta { p50: time(eta.0), p90: time(eta.1) }
}

/// The task as `viewer` sees it.
#[must_use]
pub(crate) fn task_of(
    answers: &Answers,
    task: &Task,
    viewer: &Viewer<'_>,
    estimate: Estimate,
) -> task::Task {
    let (spec, life) = (&task.spec, &task.life);
    let id = spec.id.to_string();
    let base = answers.base.as_str();
    let may_retry = viewer.may_retry && task.takes_retry().is_ok();
    let links = links::links(viewer.base.unwrap_or(base), &id, &Viewer { may_retry, ..*viewer });
    let policy = answers.engine.policies().of(&spec.tenant, &spec.queue);
    let (problem, message) = match &life.state {
        State::Failed { failure, .. } => (Some(problem_of(base, failure)), message_of(failure)),
        State::Canceled { reason, .. } => (None, code_of_cancel(*reason).message()),
        State::Succeeded { message, .. } => (None, said(message.as_ref())),
        State::Queued { .. } | State::Running { .. } | State::Waiting { .. } => (None, None),
    };
    let is_queued = matches!(life.state, State::Queued { .. });
    task::Task {
        id,
        queue: spec.queue.to_string(),
        lane: spec.lane.as_ref().map(ToString::to_string),
        request: spec.request.as_ref().map(|request| RequestLine {
            method: request.method.clone(),
            path: request.path.clone(),
        }),
        status: status(life.status()),
        terminal: life.status().is_terminal(),
        version: life.version,
        run: life.run,
        attempt: life.attempt,
        failures: life.failures,
        max_attempts: policy.retry.max_attempts,
        priority: i32::from(spec.priority.get()),
        labels: spec.labels.iter().cloned().collect(),
        progress: life.progress.as_ref().map(progress),
        position: estimate.ahead.filter(|_| is_queued).map(|ahead| ahead + 1),
        eta: estimate.eta.map(eta),
        created_at: time(spec.created_at),
        run_at: life.run_at().map(time),
        updated_at: time(life.updated_at),
        deadline: Some(time(life.deadline)),
        abandon_at: life.abandon_at().map(time),
        expires_at: task.expires_at().map(time),
        problem,
        last_failure: last_failure_of(base, task),
        message,
        resource_location: has_answer(task).then(|| links.result.clone()),
        links,
    }
}

/// Whether there is an answer to be read as the result: of a canceled task there is none, and
/// not of every failed one.
#[must_use]
pub(crate) const fn has_answer(task: &Task) -> bool {
    match &task.life.state {
        State::Succeeded { .. } => true,
        State::Failed { failure, .. } => failure.has_result,
        State::Queued { .. }
        | State::Running { .. }
        | State::Waiting { .. }
        | State::Canceled { .. } => false,
    }
}

/// The registry's entry of what was called off.
#[must_use]
pub(crate) const fn code_of_cancel(reason: CancelReason) -> &'static Code {
    match reason {
        CancelReason::Requested => &codes::TASK_CANCELED,
        CancelReason::Abandoned => &codes::ABANDONED,
    }
}

/// What whoever wants the work of a canceled task after all does about it.
#[must_use]
pub(crate) fn to_do_after_cancel(task: &Task) -> &'static str {
    match task.takes_retry() {
        Ok(()) => "the task was canceled. Retry it by hand, or send the request again",
        Err(_) => "the task was canceled and takes no retry. Send the request again",
    }
}

/// A failure as the answer in place of a result: like every problem that Relais answers with, it
/// names its task and says what to do next. What a worker said of its failure stays as it is.
#[must_use]
pub(crate) fn outcome_of(base: &Base, task: &Task, failure: &Failure) -> Problem {
    let mut problem = problem_of(base.as_str(), failure);
    let to_do = code_of(failure.code).what_to_do;
    problem.detail = Some(match problem.detail.take() {
        Some(detail) if failure.problem.is_none() => format!("{detail}. {to_do}"),
        Some(theirs) => theirs,
        None => to_do.to_owned(),
    });
    problem.instance.get_or_insert_with(|| base.path_of(task.spec.id));
    if problem.extra.contains_key("task") {
        return problem;
    }
    problem.with_task(task.spec.id.to_string())
}

/// What went wrong before in the run of a task, where its outcome does not tell it.
#[must_use]
pub(crate) fn last_failure_of(base: &str, task: &Task) -> Option<task::LastFailure> {
    task.life.last_failure.as_ref().map(|last| task::LastFailure {
        attempt: last.attempt,
        at: time(last.at),
        problem: problem_of(base, &last.failure),
        upstream_status: last.failure.upstream_status,
    })
}
