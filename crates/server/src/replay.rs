//! The stored outcome of a task as an answer: what its maker would have got, told once more.

use axum::response::Response;
use bytes::Bytes;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_SECURITY_POLICY, EXPIRES,
    LOCATION, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use relais_core::{BodyKind, FailureCode, Runner, State, Task};
use relais_engine::{Context, ResultHead, envelope, headers};

use crate::accepted::RELAIS_TASK;
use crate::app::App;
use crate::links;
use crate::present;
use crate::problem::{ORIGIN, Refusal, problem_response};
use crate::stored::{body_of, no_body};

/// The status of an upstream's own final 202, which would look like ours.
const UPSTREAM_STATUS: &str = "relais-upstream-status";

/// The stored outcome of a terminal task.
///
/// # Errors
/// When the store cannot be read, or the task has no outcome.
pub(crate) async fn replay_response(app: &App, task: &Task) -> Result<Response, Refusal> {
    let mut response = match &task.life.state {
        State::Canceled { is_abandoned, .. } => {
            let refusal = Refusal::new(present::code_of_cancel(*is_abandoned)).about(task.spec.id);
            app.own(refusal.response(app.base(), None))
        }
        State::Failed { failure, .. } if !failure.has_result => {
            let problem = present::problem_of(app.base(), failure);
            app.own(problem_response(&problem, origin_of_failure(task, failure.code)))
        }
        State::Failed { .. } | State::Succeeded { .. } => stored_answer(app, task).await?,
        State::Queued { .. } | State::Running { .. } | State::Waiting { .. } => {
            return Err(Refusal::internal("a task that is not over has no outcome"));
        }
    };
    protect(response.headers_mut());
    let id = HeaderValue::from_str(&task.spec.id.to_string()).expect("an id is ASCII");
    response.headers_mut().insert(RELAIS_TASK, id);
    Ok(response)
}

async fn stored_answer(app: &App, task: &Task) -> Result<Response, Refusal> {
    let Some(stored) = app.engine.body(task.spec.id, BodyKind::Result).await? else {
        let mut response = Response::new(no_body());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    };
    let head: ResultHead = envelope::decode(&stored.head)?;
    let body = if head.has_body { body_of(&stored) } else { no_body() };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(head.status)
        .map_err(|_| Refusal::internal("a stored status is none"))?;
    copy_fields(&head, &App::context(task)?, response.headers_mut());
    if head.status == 202 {
        *response.status_mut() = StatusCode::OK;
        let status = HeaderValue::from_static("202");
        response.headers_mut().insert(HeaderName::from_static(UPSTREAM_STATUS), status);
    }
    if head.status >= 400 {
        response.headers_mut().insert(ORIGIN, HeaderValue::from_static(maker(task)));
    }
    Ok(response)
}

/// The fields of a stored answer that still hold when it is told again.
fn copy_fields(head: &ResultHead, context: &Context, out: &mut HeaderMap) {
    for (name, value) in &head.fields {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let is_stale = [RETRY_AFTER, AGE, EXPIRES, CACHE_CONTROL, CONTENT_LENGTH].contains(&name);
        if is_stale || headers::is_hop_by_hop(name.as_str()) || name == ORIGIN {
            continue;
        }
        let value = if name == LOCATION || name == CONTENT_LOCATION {
            absolute(value, context)
        } else {
            HeaderValue::from_maybe_shared(value.clone()).ok()
        };
        if let Some(value) = value {
            out.append(name, value);
        }
    }
}

fn absolute(value: &Bytes, context: &Context) -> Option<HeaderValue> {
    match std::str::from_utf8(value) {
        Ok(text) => {
            let url = links::absolute(text, &context.called_as, &context.called_target);
            HeaderValue::from_str(&url).ok()
        }
        Err(_) => HeaderValue::from_maybe_shared(value.clone()).ok(),
    }
}

/// What is told from Relais' own origin must not be kept, guessed at, or run as a page of it.
pub(crate) fn protect(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // In addition to the answer's own policy: both hold.
    headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
}

/// Who made an answer.
fn maker(task: &Task) -> &'static str {
    match task.spec.runner {
        Runner::Upstream { .. } => "upstream",
        Runner::Workers | Runner::Inline => "worker",
    }
}

fn origin_of_failure(task: &Task, code: FailureCode) -> &'static str {
    match code {
        FailureCode::HandlerFailed => maker(task),
        FailureCode::DeadlineExceeded
        | FailureCode::WorkerLost
        | FailureCode::OutcomeUnknown
        | FailureCode::UpstreamError
        | FailureCode::UpstreamTimeout
        | FailureCode::UpstreamUnreachable
        | FailureCode::UpstreamResponseTooLarge
        | FailureCode::UpstreamMalformed => "relais",
    }
}
