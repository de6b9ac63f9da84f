//! An answer on its way to the client that made its task, as its maker said it.

use axum::response::Response;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use relais_api::fields;
use relais_core::{ResultVersion, Task, TaskId};
use relais_engine::ResultHead;
use relais_engine::headers::{is_hop_by_hop, is_own};

use crate::answer::answers::Answers;
use crate::answer::live::{Live, Reader, tell_version};
use crate::answer::problem::Refusal;
use crate::answer::replay::{maker, replay_response, verified_answer};
use crate::answer::stored::{body_of, no_body};
use crate::proxy::fields::vary_by_prefer;

/// What Relais adds to the answer of a task.
pub(super) struct Added<'a> {
    pub(super) task: TaskId,
    /// What was done of the client's preferences.
    pub(super) applied: Option<&'a str>,
}

/// The answer with its head as it stands; its body follows what is stored of it.
///
/// # Errors
/// When its head cannot be passed on.
pub(super) fn streamed(live: Live, reader: Reader, added: &Added<'_>) -> Result<Response, Refusal> {
    let (version, len) = (live.version(), live.announced_len());
    let mut response = with_head(&live.head, version, added)?;
    *response.body_mut() = live.into_body(0, reader);
    if let Some(len) = len {
        response.headers_mut().insert(CONTENT_LENGTH, len.into());
    }
    Ok(response)
}

/// An answer without a body: its head was held back until now.
///
/// # Errors
/// When its head cannot be passed on.
pub(super) fn bodiless(live: &Live, added: &Added<'_>) -> Result<Response, Refusal> {
    with_head(&live.head, live.version(), added)
}

/// The whole answer of a task that is over, at the address that was asked for: what whoever waited for
/// it would have been sent. What has no answer of its maker is told of as elsewhere.
///
/// # Errors
/// When the store cannot be read, or the answer is damaged.
pub(super) async fn whole(
    answers: &Answers,
    task: &Task,
    applied: Option<&str>,
) -> Result<Response, Refusal> {
    let added = Added { task: task.spec.id, applied };
    let Some((head, stored)) = verified_answer(answers, task).await? else {
        let mut response = replay_response(answers, task).await?;
        added.to(response.headers_mut());
        return Ok(response);
    };
    let mut response = with_head(&head, task.life.result_version(), &added)?;
    if head.has_body {
        *response.body_mut() = body_of(&stored);
    }
    if head.status >= 400 {
        response.headers_mut().insert(fields::ORIGIN, HeaderValue::from_static(maker(task)));
    }
    Ok(response)
}

fn with_head(
    head: &ResultHead,
    version: ResultVersion,
    added: &Added<'_>,
) -> Result<Response, Refusal> {
    let mut response = Response::new(no_body());
    *response.status_mut() = StatusCode::from_u16(head.status).map_err(Refusal::internal)?;
    let headers = response.headers_mut();
    for (name, value) in &head.fields {
        if is_own(name) || is_hop_by_hop(name) || (head.has_body && name == CONTENT_LENGTH.as_str())
        {
            continue;
        }
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(Refusal::internal)?;
        let value = HeaderValue::from_maybe_shared(value.clone()).map_err(Refusal::internal)?;
        headers.append(name, value);
    }
    if head.status >= 400 {
        headers.insert(fields::ORIGIN, HeaderValue::from_static("upstream"));
    }
    tell_version(headers, version);
    added.to(headers);
    Ok(response)
}

impl Added<'_> {
    /// Adds it.
    pub(super) fn to(&self, headers: &mut HeaderMap) {
        let id = HeaderValue::from_str(&self.task.to_string()).expect("an id is ASCII");
        headers.insert(fields::TASK, id);
        if let Some(applied) = self.applied.and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(fields::PREFERENCE_APPLIED, applied);
        }
        vary_by_prefer(headers);
    }
}
