//! From a worker's words to an outcome: results and problems are checked here, once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use relais_api::{Message, Outcome as Word, codes, lease};
use relais_core::{Cause, Failure, FailureCode, LeaseToken, Refused, limits};
use relais_engine::envelope::{self, Field};
use relais_engine::headers::{folded, is_hop_by_hop, is_own, speaks_for_origin};
use relais_engine::{Outcome, ResultHead, Settle};
use relais_store::{Body, Data};

use super::again::Brought;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::request::heavy;
use crate::request::incoming::too_large;
use crate::routes::lease_bodies::early_id;
use crate::routes::leases::token_of;
use crate::routes::submit::{check_content_type, check_len};
use crate::routes::worker::is_held;

/// The media type of a result that was given as JSON.
const JSON: &str = "application/json";
/// The media type of a result of which nobody said.
pub(in crate::routes) const BYTES: &str = "application/octet-stream";

/// The settle that a document asks for, and the result that it brings.
///
/// # Errors
/// Names the member that is not valid.
pub(super) async fn settle_of(
    app: &App,
    settle: lease::Settle,
) -> Result<(Settle, Brought), Refusal> {
    settle.check()?;
    let token = token_of(&settle.token)?;
    let (outcome, brought) = match settle.outcome {
        Word::Succeed => succeed(app, token, settle).await?,
        Word::Fail => (fail(settle)?, Brought::Unknown),
        Word::Release if settle.retry_after.is_some() => {
            let detail = "a release does not take `retry_after` yet";
            return Err(Refusal::new(&codes::NOT_AVAILABLE).because(detail));
        }
        Word::Release => (Outcome::Release, Brought::Unknown),
    };
    Ok((Settle { token, outcome }, brought))
}

async fn succeed(
    app: &App,
    token: LeaseToken,
    settle: lease::Settle,
) -> Result<(Outcome, Brought), Refusal> {
    let is_bare = settle.status.is_none() && settle.headers.is_empty();
    let message = message_of(settle.message)?;
    let (status, has_fields) = (settle.status, !settle.headers.is_empty());
    let mut head = head_of(settle.status, settle.content_type, settle.headers)?;
    let (data, kind, bytes) = match (settle.result, settle.result_base64, settle.result_id) {
        (Some(json), ..) => {
            let bytes = Bytes::from(json.into_string());
            (store(app, token, bytes.clone()).await?, Some(JSON.to_owned()), Some(bytes))
        }
        (_, Some(text), _) => {
            let bytes = heavy::on(text.len(), move || STANDARD.decode(text)).await?;
            let bytes = bytes.map_err(|_| Refusal::field("/result_base64", "is not base64"))?;
            let bytes = Bytes::from(bytes);
            (store(app, token, bytes.clone()).await?, None, Some(bytes))
        }
        (_, _, Some(name)) => match early(app, token, &name).await? {
            Some((data, kind, is_live)) => {
                if is_live {
                    check_shown(&kind, status, has_fields, head.content_type())?;
                }
                (Some(data), Some(kind), None)
            }
            // It ended with its lease, or was recorded: the engine answers what became of that.
            None => return Ok((Outcome::Succeed { result: None, message }, Brought::Unknown)),
        },
        (None, None, None) if is_bare => {
            return Ok((Outcome::Succeed { result: None, message }, Brought::Nothing));
        }
        (None, None, None) => (Some(Data::Inline(Bytes::new())), None, Some(Bytes::new())),
    };
    if let Some(kind) = kind.filter(|_| head.content_type().is_none()) {
        head.fields.insert(0, content_type_field(kind));
    }
    let stored = app.engine.encode(&head);
    let brought = match bytes {
        Some(bytes) => Brought::Result(head, bytes),
        None => Brought::Unknown,
    };
    let result = data.map(|data| Body { head: stored, data });
    Ok((Outcome::Succeed { result, message }, brought))
}

/// Makes a result ready to be stored; `None` if nobody will store it, because it is large and its
/// lease is over: the engine answers what became of that.
async fn store(app: &App, token: LeaseToken, bytes: Bytes) -> Result<Option<Data>, Refusal> {
    let max = app.engine.config().result_bytes_max;
    if bytes.len() as u64 > max {
        return Err(too_large(max));
    }
    if bytes.len() > limits::INLINE_BODY_BYTES_MAX && !holds(app, token).await? {
        return Ok(None);
    }
    Ok(Some(app.engine.store_bytes(bytes).await?))
}

/// The head of an answer that was shown while it came has been read: a settle says the same, or nothing.
///
/// # Errors
/// Names the member that says otherwise.
fn check_shown(
    kind: &str,
    status: Option<u16>,
    has_fields: bool,
    said: Option<&str>,
) -> Result<(), Refusal> {
    let refuse = |pointer: &str, only: &str| {
        let why = format!("the result was shown while it came: {only}");
        Err(Refusal::field(pointer, why))
    };
    if has_fields {
        return refuse("/headers", "it has no other fields");
    }
    if status.is_some_and(|status| status != 200) {
        return refuse("/status", "its status is 200");
    }
    if said.is_some_and(|said| said != kind) {
        return refuse("/content_type", "its media type is that of its `PUT`");
    }
    Ok(())
}

/// The early result that a settle names, its media type, and whether it was shown while it came; `None`
/// if its lease is over.
///
/// # Errors
/// When the lease holds, and has no such result.
async fn early(
    app: &App,
    token: LeaseToken,
    name: &str,
) -> Result<Option<(Data, String, bool)>, Refusal> {
    let unknown = || Refusal::from(Refused::NoSuchResult);
    let id = early_id(name).ok_or_else(unknown)?;
    match app.engine.early(token, id).await? {
        Some((stored, is_live)) => {
            let head: ResultHead = envelope::decode(&stored.head)?;
            let kind = head.content_type().unwrap_or(BYTES).to_owned();
            Ok(Some((Data::Early { id, stored }, kind, is_live)))
        }
        None if holds(app, token).await? => Err(unknown()),
        None => Ok(None),
    }
}

/// Whether a lease holds now.
async fn holds(app: &App, token: LeaseToken) -> Result<bool, Refusal> {
    let task = app.engine.task(token.task).await?;
    Ok(task.is_some_and(|task| is_held(&task, token)))
}

fn head_of(
    status: Option<u16>,
    content_type: Option<String>,
    headers: Vec<(String, String)>,
) -> Result<ResultHead, Refusal> {
    let status = status.unwrap_or(200);
    if !(200..=599).contains(&status) {
        return Err(Refusal::field("/status", "must be from 200 to 599"));
    }
    if headers.len() > limits::HEAD_FIELDS_MAX {
        let why = format!("at most {} fields", limits::HEAD_FIELDS_MAX);
        return Err(Refusal::field("/headers", why).limit(limits::HEAD_FIELDS_MAX as u64));
    }
    let mut fields = Vec::with_capacity(headers.len() + 1);
    if let Some(kind) = content_type {
        check_content_type("/content_type", &kind)?;
        fields.push(content_type_field(kind));
    }
    let mut head_bytes = 0;
    for (index, (name, value)) in headers.into_iter().enumerate() {
        let refuse = |why: &str| Refusal::field(&format!("/headers/{index}"), why);
        let name = field_name(&name).ok_or_else(|| refuse("a field that cannot be set"))?;
        HeaderValue::from_str(&value).map_err(|_| refuse("a value that no field can have"))?;
        head_bytes += name.as_str().len() + value.len();
        fields.push((name.as_str().to_owned(), Bytes::from(value)));
    }
    if head_bytes > limits::HEAD_BYTES_MAX {
        let why = format!("at most {} bytes", limits::HEAD_BYTES_MAX);
        return Err(Refusal::field("/headers", why).limit(limits::HEAD_BYTES_MAX as u64));
    }
    let has_body = !matches!(status, 204 | 205 | 304);
    Ok(ResultHead { status, fields, has_body })
}

pub(in crate::routes) fn content_type_field(kind: String) -> Field {
    ("content-type".to_owned(), Bytes::from(kind))
}

/// A field that an answer may have: not one that frames it, not one of ours, and not one that
/// speaks for the origin it is told from, which is Relais' own.
fn field_name(name: &str) -> Option<HeaderName> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let text = parsed.as_str();
    let is_set_otherwise = matches!(&*folded(text), "content-length" | "content-type" | "date");
    let is_refused =
        is_hop_by_hop(text) || is_set_otherwise || is_own(text) || speaks_for_origin(text);
    (!is_refused).then_some(parsed)
}

fn fail(settle: lease::Settle) -> Result<Outcome, Refusal> {
    let retryable = settle.retryable.unwrap_or(true);
    let mut failure = Failure::new(FailureCode::HandlerFailed, None);
    // The code's own document would say that a retry may help.
    let plain = || (!retryable).then(|| codes::HANDLER_FAILED.problem(""));
    if let Some(mut problem) = settle.problem.or_else(plain) {
        problem.retryable = retryable;
        failure.detail.clone_from(&problem.detail);
        let json = serde_json::to_vec(&problem).map_err(Refusal::internal)?;
        check_len("/problem", json.len(), limits::PROBLEM_BYTES_MAX)?;
        failure.problem = Some(json.into());
    }
    failure.message = message_of(settle.message)?;
    Ok(Outcome::Fail {
        failure,
        cause: Cause::Error,
        retryable,
        retry_after: settle.retry_after.map(|span| span.as_duration()),
        result: None,
    })
}

/// What end users are to read, as JSON.
fn message_of(message: Option<Message>) -> Result<Option<Bytes>, Refusal> {
    let Some(message) = message else { return Ok(None) };
    let json = serde_json::to_vec(&message).map_err(Refusal::internal)?;
    check_len("/message", json.len(), limits::MESSAGE_BYTES_MAX)?;
    Ok(Some(json.into()))
}
