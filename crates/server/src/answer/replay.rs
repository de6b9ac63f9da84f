//! The stored outcome of a task as an answer: what its maker would have got, told once more.

use axum::response::Response;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, ETAG, EXPIRES, LINK, LOCATION, REFERRER_POLICY, RETRY_AFTER, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use relais_api::{codes, fields};
use relais_core::{BodyKind, FailureCode, Runner, State, Task};
use relais_engine::{Presented, ResultHead, envelope, headers};
use relais_store::StoredBody;

use crate::answer::answers::Answers;
use crate::answer::etag;
use crate::answer::links;
use crate::answer::part::{self, Part};
use crate::answer::present;
use crate::answer::problem::{Refusal, problem_response};
use crate::answer::stored::{body_of, no_body, part_of};

/// What is true of a whole content only.
const OF_THE_WHOLE: [&str; 2] = ["content-md5", "content-digest"];

/// The stored outcome of a terminal task.
///
/// # Errors
/// When the store cannot be read, or the task has no outcome.
pub(crate) async fn replay_response(answers: &Answers, task: &Task) -> Result<Response, Refusal> {
    let response = match without_answer(answers, task)? {
        Some(response) => response,
        None => match stored_answer(answers, task).await? {
            Some((head, body)) => {
                body.verify().await?;
                replayed(task, &head, &body)?
            }
            None => no_content(),
        },
    };
    Ok(finished(task, response))
}

/// The same where it is read as a resource of Relais: one that is a 200 has a tag of its own, and
/// is also given in part (RFC 9110, 13 and 14). What its maker offered, it offered elsewhere.
///
/// # Errors
/// As above, and when the request's conditions do not hold.
pub(crate) async fn result_response(
    answers: &Answers,
    task: &Task,
    method: &Method,
    asked: &HeaderMap,
) -> Result<Response, Refusal> {
    let Some((head, body)) = (match without_answer(answers, task)? {
        Some(response) => return Ok(finished(task, response)),
        None => stored_answer(answers, task).await?,
    }) else {
        return Ok(finished(task, no_content()));
    };
    let tag = etag::of_result(task);
    let is_offered = head.status == 200 && head.has_body;
    let part = is_offered.then(|| part::wanted(method, asked, &tag, body.len));
    let has_bytes = part.as_ref().is_none_or(|part| matches!(part, Part::Whole | Part::Bytes(_)));
    if *method == Method::GET && has_bytes {
        // It costs reading all of it: whoever gets none of its bytes does not make us do that.
        body.verify().await?;
    }
    let mut response = replayed(task, &head, &body)?;
    let headers = response.headers_mut();
    headers.remove(ACCEPT_RANGES);
    if let Some(theirs) = headers.remove(ETAG) {
        headers.insert(HeaderName::from_static(fields::UPSTREAM_ETAG), theirs);
    }
    if let Some(part) = part {
        response = in_part(response, &body, part).map_err(|refusal| refusal.about(task.spec.id))?;
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(finished(task, response))
}

/// An answer that is a 200, cut to what is wanted of it.
fn in_part(mut response: Response, body: &StoredBody, part: Part) -> Result<Response, Refusal> {
    match part {
        Part::Whole => {}
        Part::Bytes(range) => {
            let (first, last) = (range.start, range.end - 1);
            let told = format!("bytes {first}-{last}/{}", body.len);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            *response.body_mut() = part_of(body, range);
            let headers = response.headers_mut();
            for of_the_whole in OF_THE_WHOLE {
                headers.remove(of_the_whole);
            }
            headers.insert(CONTENT_RANGE, HeaderValue::try_from(told).expect("ASCII"));
        }
        Part::Unchanged => {
            // What the client keeps stays as it is, but for what a cache must know (15.4.5).
            let (parts, _) = response.into_parts();
            response = Response::new(no_body());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            for kept in [CONTENT_LOCATION, VARY] {
                for value in parts.headers.get_all(&kept) {
                    response.headers_mut().append(kept.clone(), value.clone());
                }
            }
            return Ok(response);
        }
        Part::OtherVersion => return Err(Refusal::new(&codes::PRECONDITION_FAILED)),
        Part::Beyond => {
            let len = body.len;
            let why = format!("the result has {len} bytes, and none of them is in the range");
            return Err(Refusal::new(&codes::RANGE_NOT_SATISFIABLE).because(why).of_length(len));
        }
    }
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(response)
}

/// The outcome of a task that has no answer of anybody.
fn without_answer(answers: &Answers, task: &Task) -> Result<Option<Response>, Refusal> {
    Ok(match &task.life.state {
        State::Canceled { reason, .. } => {
            let refusal = Refusal::new(present::code_of_cancel(*reason)).about(task.spec.id);
            let path = answers.base.path_of(task.spec.id);
            Some(answers.own(refusal.response(answers.base.as_str(), Some(&path))))
        }
        State::Failed { failure, .. } if !failure.has_result => {
            let problem = present::outcome_of(&answers.base, task, failure);
            Some(answers.own(problem_response(&problem, origin_of_failure(task, failure.code))))
        }
        State::Failed { .. } | State::Succeeded { .. } => None,
        State::Queued { .. } | State::Running { .. } | State::Waiting { .. } => {
            return Err(Refusal::internal("a task that is not over has no outcome"));
        }
    })
}

/// The answer that is the outcome, if there is one. Its bytes are not verified.
async fn stored_answer(
    answers: &Answers,
    task: &Task,
) -> Result<Option<(ResultHead, StoredBody)>, Refusal> {
    let Some(stored) = answers.engine.body(task.spec.id, BodyKind::Result).await? else {
        return Ok(None);
    };
    Ok(Some((envelope::decode(&stored.head)?, stored)))
}

fn no_content() -> Response {
    let mut response = Response::new(no_body());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn replayed(task: &Task, head: &ResultHead, stored: &StoredBody) -> Result<Response, Refusal> {
    let body = if head.has_body { body_of(stored) } else { no_body() };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(head.status)
        .map_err(|_| Refusal::internal("a stored status is none"))?;
    copy_fields(head, &envelope::context_of(task)?.presented, response.headers_mut());
    if head.status == 202 {
        *response.status_mut() = StatusCode::OK;
        let status = HeaderValue::from_static("202");
        response.headers_mut().insert(HeaderName::from_static(fields::UPSTREAM_STATUS), status);
    }
    if head.status >= 400 {
        response.headers_mut().insert(fields::ORIGIN, HeaderValue::from_static(maker(task)));
    }
    Ok(response)
}

fn finished(task: &Task, mut response: Response) -> Response {
    protect(response.headers_mut());
    let id = HeaderValue::from_str(&task.spec.id.to_string()).expect("an id is ASCII");
    response.headers_mut().insert(fields::TASK, id);
    response
}

/// The fields of a stored answer that still hold when it is told again.
fn copy_fields(head: &ResultHead, presented: &Presented, out: &mut HeaderMap) {
    for (name, value) in &head.fields {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let is_stale = [RETRY_AFTER, AGE, EXPIRES, CACHE_CONTROL, CONTENT_LENGTH].contains(&name);
        if is_stale || headers::is_hop_by_hop(name.as_str()) || headers::is_own(name.as_str()) {
            continue;
        }
        let value = if [LOCATION, CONTENT_LOCATION, LINK].contains(&name) {
            absolute(&name, value, presented)
        } else {
            HeaderValue::from_maybe_shared(value.clone()).ok()
        };
        if let Some(value) = value {
            out.append(name, value);
        }
    }
}

fn absolute(name: &HeaderName, value: &Bytes, presented: &Presented) -> Option<HeaderValue> {
    let (origin, target) = (&presented.called_as, &presented.called_target);
    match std::str::from_utf8(value) {
        Ok(text) if name == LINK => {
            HeaderValue::from_str(&links::absolute_targets(text, origin, target)).ok()
        }
        Ok(text) => HeaderValue::from_str(&links::absolute(text, origin, target)).ok(),
        Err(_) => HeaderValue::from_maybe_shared(value.clone()).ok(),
    }
}

/// What is told from Relais' own origin must not be kept, guessed at, run as a page of it, or tell
/// others its address, which may have a ticket in it.
pub(crate) fn protect(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
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
        | FailureCode::UpstreamMalformed
        | FailureCode::BodyDamaged
        | FailureCode::SealKeyMissing
        | FailureCode::StoreUnavailable => "relais",
    }
}
