//! Tasks and failures as they travel: from the types of `core` to those of `api`. Decides nothing.

use bytes::Bytes;
use relais_api::codes::{self, Code};
use relais_api::task::{Message, RequestLine};
use relais_api::{Eta, Problem, Status, Time, task};
use relais_core::{CancelReason, Failure, FailureCode, Progress, State, Task, Timestamp};
use relais_engine::Estimate;

use crate::answer::links::{self, Viewer};
use crate::app::App;

/// A moment as it travels.
#[must_use]
pub(crate) fn time(moment: Timestamp) -> Time {
    Time::from_ms(moment.as_ms())
}

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

/// Progress as it travels.
#[must_use]
pub(crate) fn progress(progress: &Progress) -> relais_api::Progress {
    relais_api::Progress {
        percent: progress.percent,
        done: progress.done,
        total: progress.total,
        message: progress.message.clone(),
    }
}

/// An estimate as it travels.
#[must_use]
pub(crate) fn eta(eta: (Timestamp, Timestamp)) -> Eta {
    Eta { p50: time(eta.0), p90: time(eta.1) }
}

/// The task as `viewer` sees it.
#[must_use]
pub(crate) fn task_of(app: &App, task: &Task, viewer: &Viewer, estimate: Estimate) -> task::Task {
    let (spec, life) = (&task.spec, &task.life);
    let base = viewer.base.as_deref().unwrap_or_else(|| app.base());
    let links = links::links(base, spec.id, viewer);
    let policy = app.engine.policies().of(&spec.tenant, &spec.queue);
    let (problem, message) = match &life.state {
        State::Failed { failure, .. } => {
            (Some(problem_of(app.base(), failure)), message_of(failure))
        }
        State::Canceled { reason, .. } => (None, code_of_cancel(*reason).message()),
        State::Succeeded { message, .. } => (None, said(message.as_ref())),
        State::Queued { .. } | State::Running { .. } | State::Waiting { .. } => (None, None),
    };
    let is_queued = matches!(life.state, State::Queued { .. });
    task::Task {
        id: spec.id.to_string(),
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
        run_at: time(life.run_at().unwrap_or(spec.run_at)),
        updated_at: time(life.updated_at),
        deadline: Some(time(life.deadline)),
        expires_at: task.expires_at().map(time),
        problem,
        last_failure: last_failure_of(app.base(), task),
        message,
        resource_location: matches!(life.state, State::Succeeded { .. })
            .then(|| links.result.clone()),
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

/// The registry's entry of a failure.
#[must_use]
pub(crate) fn code_of(code: FailureCode) -> &'static Code {
    match code {
        FailureCode::DeadlineExceeded => &codes::DEADLINE_EXCEEDED,
        FailureCode::WorkerLost => &codes::WORKER_LOST,
        FailureCode::OutcomeUnknown => &codes::OUTCOME_UNKNOWN,
        FailureCode::UpstreamError => &codes::UPSTREAM_ERROR,
        FailureCode::UpstreamTimeout => &codes::UPSTREAM_TIMEOUT,
        FailureCode::UpstreamUnreachable => &codes::UPSTREAM_UNREACHABLE,
        FailureCode::UpstreamResponseTooLarge => &codes::UPSTREAM_RESPONSE_TOO_LARGE,
        FailureCode::UpstreamMalformed => &codes::UPSTREAM_MALFORMED,
        FailureCode::HandlerFailed => &codes::HANDLER_FAILED,
        FailureCode::BodyDamaged => &codes::BODY_DAMAGED,
        FailureCode::SealKeyMissing => &codes::SEAL_KEY_MISSING,
        FailureCode::StoreUnavailable => &codes::STORE_UNAVAILABLE,
    }
}

/// Why a task failed: what its worker said, or the code's own text.
#[must_use]
pub(crate) fn problem_of(base: &str, failure: &Failure) -> Problem {
    let mut own = code_of(failure.code).problem(base);
    own.detail.clone_from(&failure.detail);
    let Some(bytes) = &failure.problem else { return own };
    // It was a problem document when it was settled with.
    let Ok(mut theirs) = serde_json::from_slice::<Problem>(bytes) else { return own };
    if theirs.code.is_empty() {
        theirs.code = own.code;
        if theirs.type_uri == "about:blank" {
            theirs.type_uri = own.type_uri;
        }
    }
    // Whoever made it may not know where the pages are: absolute for all who read it.
    if theirs.type_uri.starts_with("/problems/") {
        theirs.type_uri.insert_str(0, base);
    }
    if theirs.title.is_empty() {
        theirs.title = own.title;
    }
    // An answer made of it must say that it is an error.
    if !(400..600).contains(&theirs.status) {
        theirs.status = own.status;
    }
    theirs
}

/// The same as the answer in place of a result: like every problem that Relais answers with, it
/// names its task and says what to do next. What a worker said of its failure stays as it is.
#[must_use]
pub(crate) fn outcome_of(app: &App, task: &Task, failure: &Failure) -> Problem {
    let mut problem = problem_of(app.base(), failure);
    let to_do = code_of(failure.code).what_to_do;
    problem.detail = Some(match problem.detail.take() {
        Some(detail) if failure.problem.is_none() => format!("{detail}. {to_do}"),
        Some(theirs) => theirs,
        None => to_do.to_owned(),
    });
    problem.instance.get_or_insert_with(|| instance_of(app, task));
    if problem.extra.contains_key("task") {
        return problem;
    }
    problem.with_task(task.spec.id.to_string())
}

/// A task as the occurrence of its problem.
#[must_use]
pub(crate) fn instance_of(app: &App, task: &Task) -> String {
    format!("{}/v1/tasks/{}", app.config.api_prefix, task.spec.id)
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

/// What end users read of a failure.
#[must_use]
pub(crate) fn message_of(failure: &Failure) -> Option<Message> {
    said(failure.message.as_ref()).or_else(|| code_of(failure.code).message())
}

/// What a worker said for end users. It was a message when it was settled with.
#[must_use]
pub(crate) fn said(json: Option<&Bytes>) -> Option<Message> {
    json.and_then(|json| serde_json::from_slice(json).ok())
}
