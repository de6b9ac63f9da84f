//! The stored outcome of a task as an answer: what its maker would have got, told once more, or while it
//! still comes.

use std::ops::Range;

use axum::response::Response;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, EXPIRES, LINK, LOCATION, REFERRER_POLICY,
    RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use relais_api::{codes, fields};
use relais_core::{BodyKind, FailureCode, ResultVersion, Runner, State, Task};
use relais_engine::{Presented, ResultHead, envelope, headers};
use relais_store::StoredBody;

use crate::answer::answers::Answers;
use crate::answer::etag;
use crate::answer::incremental::as_it_comes;
use crate::answer::links;
use crate::answer::live::{Live, Reader, tell_version};
use crate::answer::part::{self, Part};
use crate::answer::present;
use crate::answer::problem::{Refusal, problem_response};
use crate::answer::stored::{body_of, no_body, part_of};

/// What is true of a whole content only.
const OF_THE_WHOLE: [&str; 2] = ["content-md5", "content-digest"];

/// Where a client of ours reads on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resume {
    /// Behind so many bytes…
    pub(crate) after: u64,
    /// …of this answer.
    pub(crate) version: ResultVersion,
}

/// From where on an answer is told that still grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// From its first byte.
    Start,
    /// Behind so many bytes, which a client of ours has.
    After(u64),
    /// As a range without an end (RFC 8673), with the last byte that was named.
    Range { first: u64, last: u64 },
}

/// How an answer is read that still grows.
pub(crate) struct Reading {
    pub(crate) from: From,
    pub(crate) reader: Reader,
}

impl From {
    /// The first byte that is told.
    pub(crate) const fn first(self) -> u64 {
        match self {
            Self::Start => 0,
            Self::After(first) | Self::Range { first, .. } => first,
        }
    }
}

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
                let mut response = replayed(task, &head)?;
                if head.has_body {
                    *response.body_mut() = body_of(&body);
                }
                response
            }
            None => no_content(),
        },
    };
    Ok(finished(task, response))
}

/// The answer that is the outcome of a terminal task, as its maker sent it, for whoever asks at its own
/// address; `None` if it is of Relais itself, or there is none.
///
/// # Errors
/// When the store cannot be read, or the answer is damaged.
pub(crate) async fn verified_answer(
    answers: &Answers,
    task: &Task,
) -> Result<Option<(ResultHead, StoredBody)>, Refusal> {
    if !present::has_answer(task) {
        return Ok(None);
    }
    let found = stored_answer(answers, task).await?;
    if let Some((_, body)) = &found {
        body.verify().await?;
    }
    Ok(found)
}

/// The same where it is read as a resource of Relais: one that is a 200 has a tag of its own, and
/// is also given in part (RFC 9110, 13 and 14). What its maker offered, it offered elsewhere. A client
/// that reads on gets the rest of it, whatever its status is.
///
/// # Errors
/// As above, when the request's conditions do not hold, and when what is to be read on is another
/// answer, or shorter.
pub(crate) async fn result_response(
    answers: &Answers,
    task: &Task,
    (method, asked): (&Method, &HeaderMap),
    resume: Option<&Resume>,
) -> Result<Response, Refusal> {
    let Some((head, body)) = (match without_answer(answers, task)? {
        Some(response) => return Ok(finished(task, response)),
        None => stored_answer(answers, task).await?,
    }) else {
        return Ok(finished(task, no_content()));
    };
    let tag = etag::of_result(task);
    let is_offered = is_offered(&head);
    let rest = match resume {
        Some(resume) => Some(rest_of(task, Some((&head, &body)), resume)?),
        None => None,
    };
    let part = (is_offered && rest.is_none()).then(|| part::wanted(method, asked, &tag, body.len));
    let has_bytes = match (&rest, &part) {
        (Some(rest), _) => !rest.is_empty(),
        (None, Some(part)) => matches!(part, Part::Whole | Part::Bytes(_)),
        (None, None) => true,
    };
    if *method == Method::GET && has_bytes {
        // It costs reading all of it: whoever gets none of its bytes does not make us do that.
        body.verify().await?;
    }
    let mut response = replayed(task, &head)?;
    if head.has_body {
        *response.body_mut() = body_of(&body);
    }
    as_resource(response.headers_mut());
    if let Some(rest) = rest {
        tell_offset(response.headers_mut(), rest.start);
        if head.has_body {
            *response.body_mut() = part_of(&body, rest);
        }
    }
    if let Some(part) = part {
        response = in_part(response, &body, part).map_err(|refusal| refusal.about(task.spec.id))?;
    }
    if is_offered {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(finished(task, response))
}

/// The stored answer of a terminal task for whoever wants a live one alone: nothing, and of which answer.
///
/// # Errors
/// When the store cannot be read, and when what is to be read on is another answer, or shorter.
pub(crate) async fn only_live_response(
    answers: &Answers,
    task: &Task,
    resume: Option<&Resume>,
) -> Result<Response, Refusal> {
    if let Some(resume) = resume {
        let stored = stored_answer(answers, task).await?;
        rest_of(task, stored.as_ref().map(|(head, body)| (head, body)), resume)?;
    }
    let mut response = no_content();
    tell_version(response.headers_mut(), task.life.result_version());
    Ok(finished(task, response))
}

/// An answer that still grows, which there is as far as it is wanted. Its fields are those that it will
/// have as the outcome.
///
/// # Errors
/// When its head cannot be told.
pub(crate) fn live_response(
    task: &Task,
    live: Live,
    reading: Reading,
    is_head: bool,
) -> Result<Response, Refusal> {
    let Reading { from, mut reader } = reading;
    let mut response = replayed(task, &live.head)?;
    let headers = response.headers_mut();
    as_resource(headers);
    if is_offered(&live.head) {
        headers.insert(ETAG, etag::of_result(task));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    // As a range it may have any part of it, up to an end that is not said.
    let is_range = matches!(from, From::Range { .. });
    if let Some(len) = live.announced_len().filter(|_| !is_range) {
        headers.insert(CONTENT_LENGTH, (len - from.first()).into());
    }
    match from {
        From::Start => {}
        From::After(after) => tell_offset(headers, after),
        From::Range { first, last } => {
            forget_the_whole(headers);
            let told = format!("bytes {first}-{last}/*");
            headers.insert(CONTENT_RANGE, HeaderValue::try_from(told).expect("ASCII"));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
    }
    if !is_head {
        // The bytes of a range are those that it names.
        reader.keepalive = reader.keepalive.filter(|_| !is_range);
        *response.body_mut() = live.into_body(from.first(), reader);
    }
    let mut response = finished(task, response);
    as_it_comes(response.headers_mut());
    Ok(response)
}

/// Whether an answer has a tag of ours, and is given in part: it is a 200 with a body.
pub(crate) fn is_offered(head: &ResultHead) -> bool {
    head.status == 200 && head.has_body
}

/// What an answer's maker said of its own address is not true of ours.
fn as_resource(headers: &mut HeaderMap) {
    headers.remove(ACCEPT_RANGES);
    if let Some(theirs) = headers.remove(ETAG) {
        headers.insert(HeaderName::from_static(fields::UPSTREAM_ETAG), theirs);
    }
}

/// The rest of an answer, for a client that has so many bytes of it.
///
/// # Errors
/// When it is another answer, or shorter.
fn rest_of(
    task: &Task,
    answer: Option<(&ResultHead, &StoredBody)>,
    resume: &Resume,
) -> Result<Range<u64>, Refusal> {
    if resume.version != task.life.result_version() {
        return Err(Refusal::new(&codes::ANSWER_REPLACED).about(task.spec.id));
    }
    let len = answer.filter(|(head, _)| head.has_body).map_or(0, |(_, body)| body.len);
    if resume.after > len {
        let why = format!("the result has {len} bytes, and `after` is behind them");
        let refusal = Refusal::new(&codes::RANGE_NOT_SATISFIABLE).because(why).of_length(len);
        return Err(refusal.about(task.spec.id));
    }
    Ok(resume.after..len)
}

/// Says that what follows begins behind so many bytes.
fn tell_offset(headers: &mut HeaderMap, after: u64) {
    if after > 0 {
        forget_the_whole(headers);
    }
    headers.insert(HeaderName::from_static(fields::OFFSET), after.into());
}

fn forget_the_whole(headers: &mut HeaderMap) {
    for of_the_whole in OF_THE_WHOLE {
        headers.remove(of_the_whole);
    }
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
            forget_the_whole(headers);
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
            let refusal = refusal.because(present::to_do_after_cancel(task));
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

/// The answer of the latest attempt, without its body.
fn replayed(task: &Task, head: &ResultHead) -> Result<Response, Refusal> {
    let mut response = Response::new(no_body());
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
    tell_version(response.headers_mut(), task.life.result_version());
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
    // A player asks for what it plays by itself, and brings the cookie only as one of this origin. Nothing
    // of it is a page, and it may run nothing.
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_played = kind.is_some_and(is_played);
    let sandbox = if is_played { "sandbox allow-same-origin" } else { "sandbox" };
    // In addition to the answer's own policy: both hold.
    headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static(sandbox));
}

/// Whether browsers show what is of this type in a player, which asks for it by itself, in parts.
pub(crate) fn is_played(content_type: &str) -> bool {
    let kind = content_type.trim_start();
    ["audio/", "video/"].iter().any(|played| {
        kind.get(..played.len()).is_some_and(|start| start.eq_ignore_ascii_case(played))
    })
}

/// Who made an answer.
pub(crate) fn maker(task: &Task) -> &'static str {
    match task.spec.runner {
        Runner::Upstream { .. } => "upstream",
        Runner::Workers | Runner::Inline | Runner::Delivery => "worker",
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
