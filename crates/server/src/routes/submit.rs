//! `POST /v1/tasks` and `/v1/tasks/batch`: handing work in.

mod decoded;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri, header};
use relais_api::{
    BatchItem, BatchResponse, Item, SubmitRequest, codes, decode_batch, fields, paths,
};
use relais_core::{QueueName, Task, TaskId, TenantName, limits};
use relais_engine::{Claim, EngineError, Submission, Submitted};

use self::decoded::{InCommon, submission};
pub(super) use self::decoded::{check_content_type, check_len, check_small};
use crate::answer::accepted::{How, accepted, accepted_response};
use crate::answer::pace::refuse_submission;
use crate::answer::problem::Refusal;
use crate::answer::replay::replay_response;
use crate::answer::submitted::{attached_response, attached_task};
use crate::app::App;
use crate::auth::idempotency::{self, Keyed};
use crate::auth::{Caller, Scope, Visitor};
use crate::connection::Client;
use crate::front_door::options;
use crate::request::heavy;
use crate::request::incoming::{self, Large, Lines};
use crate::request::params::Params;
use crate::request::prefer::Prefer;
use crate::routes::PageItems;
use crate::watch::poll;

/// The idempotency key of a call, and who sends it. Whoever may submit here may be shown what it
/// belongs to: an API key is somebody, and who is taken without one sees all tasks in any case.
struct Key {
    text: String,
    caller: Option<[u8; 32]>,
}

impl Key {
    fn of(app: &App, visitor: &Visitor, text: String) -> Self {
        let (mac, fields) = (&app.auth.mac, visitor.headers());
        let caller = idempotency::caller_of(mac, &visitor.caller, None, fields);
        Self { text, caller }
    }
}

/// The media type of what comes by no request.
const JSON: &[u8] = b"application/json";

/// `POST /v1/tasks`.
pub(super) async fn submit(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    // What was read of the request is let go of before the commit is waited
    // for: thousands may wait.
    let handed_in = hand_in(&app, visitor, uri, body).await?;
    let HandedIn { tenant, queue, submission, caller, base, prefer, client } = handed_in;
    let id = app.engine.draw_id();
    let submitted = app.engine.submit(id, *submission).await;
    let submitted =
        submitted.map_err(|error| refuse_submission(&app.engine, &tenant, &queue, error))?;
    match submitted {
        Submitted::New(task, place) if prefer.wait.is_none() => {
            let estimate = app.engine.estimate_at(&task, &place);
            let how = How { applied: applied(prefer, None), base, ..How::default() };
            accepted_response(&app.answers, &task, estimate, &caller, &how)
        }
        submitted => {
            let how = How { base, ..How::default() };
            Box::pin(answer(&app, &caller, &client, submitted, prefer, how)).await
        }
    }
}

/// What a request hands in, and all that its answer depends on.
struct HandedIn {
    tenant: TenantName,
    queue: QueueName,
    submission: Box<Submission>,
    caller: Caller,
    base: Option<String>,
    prefer: Prefer,
    client: Client,
}

async fn hand_in(app: &App, visitor: Visitor, uri: Uri, body: Body) -> Result<HandedIn, Refusal> {
    Params::of(&uri, &[])?;
    let tenant = visitor.tenant(Scope::Submit)?;
    let headers = visitor.headers();
    options::refuse(headers)?;
    let key = key_of(app, &visitor)?;
    incoming::require_json(headers)?;
    let body = Large::read(&app.bodies, &visitor, body, app.config.body_bytes_max).await?;
    let request: SubmitRequest = body.decode(relais_api::decode).await?;
    let keyed = keyed(key.as_ref(), content_type(headers), body.into_bytes()).await?;
    let in_common = InCommon::of(app, &visitor);
    let mut submission = Box::new(submission(app, &tenant, request, &in_common).await?);
    submission.idempotency = keyed.map(|keyed| keyed.claim(&tenant, paths::TASKS, &keyed.key.text));
    Ok(HandedIn {
        queue: submission.queue.clone(),
        prefer: Prefer::of(headers),
        caller: visitor.caller,
        client: visitor.client,
        base: visitor.base,
        tenant,
        submission,
    })
}

/// `POST /v1/tasks/batch`.
pub(super) async fn submit_batch(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let tenant = visitor.tenant(Scope::Submit)?;
    let headers = visitor.headers();
    options::refuse(headers)?;
    let key = key_of(&app, &visitor)?;
    let lines = incoming::batch_lines(headers)?;
    let body = Large::read(&app.bodies, &visitor, body, limits::BATCH_BODY_BYTES_MAX).await?;
    let decode = move |bytes: &[u8]| decode_batch(bytes, lines == Lines::Many);
    let items: Vec<Item<SubmitRequest>> = body.decode(decode).await?;
    let keyed = keyed(key.as_ref(), content_type(headers), body.into_bytes()).await?;
    let in_common = InCommon::of(&app, &visitor);
    let mut slots = Vec::with_capacity(items.len());
    let mut submissions = Vec::with_capacity(items.len());
    for (index, Item(item)) in items.into_iter().enumerate() {
        let prepared = match item {
            Ok(request) => submission(&app, &tenant, request, &in_common).await,
            Err(error) => Err(error.into()),
        };
        slots.push(match prepared {
            Ok(mut submission) => {
                // Each item has a key of its own, so that a repeated batch finds each of its tasks.
                submission.idempotency = keyed.as_ref().map(|keyed| {
                    let text = format!("{}#{index}", keyed.key.text);
                    keyed.claim(&tenant, paths::TASK_BATCH, &text)
                });
                let queue = submission.queue.clone();
                submissions.push((app.engine.draw_id(), submission));
                Ok(queue)
            }
            Err(refusal) => Err(refusal),
        });
    }
    let mut submitted = submit_all(&app, submissions).await?.into_iter();
    let how = How { base: visitor.base.clone(), ..How::default() };
    let mut items = PageItems::of("items");
    for slot in slots {
        let item = match slot {
            Ok(queue) => {
                let submitted = submitted.next().expect("one answer per submission");
                match submitted
                    .map_err(|error| refuse_submission(&app.engine, &tenant, &queue, error))
                {
                    Ok(submitted) => batch_item(&app, &visitor.caller, &submitted, &how).await,
                    Err(refusal) => Err(refusal),
                }
            }
            Err(refusal) => Err(refusal),
        };
        let refused = |refusal| BatchItem::refused(app.answers.refuse_item(&refusal));
        items.push(&item.unwrap_or_else(refused))?;
    }
    items.page(&BatchResponse { items: Vec::new() })
}

async fn submit_all(
    app: &App,
    submissions: Vec<(TaskId, Submission)>,
) -> Result<Vec<Result<Submitted, EngineError>>, Refusal> {
    if submissions.is_empty() {
        return Ok(Vec::new());
    }
    Ok(app.engine.submit_all(submissions).await?)
}

/// Hands in one task, as `POST /v1/tasks` with this body, and this idempotency key, would. Nothing is waited
/// for, and the document of a task that is over is shown as that of any other, as an item of a batch has it.
///
/// # Errors
/// Whatever the call would be refused with.
pub(crate) async fn submit_one(
    app: &Arc<App>,
    visitor: &Visitor,
    key: Option<&str>,
    request: SubmitRequest,
    body: Bytes,
) -> Result<BatchItem, Refusal> {
    let tenant = visitor.tenant(Scope::Submit)?;
    let text = key.map(|line| idempotency::key_from(line.as_bytes())).transpose()?;
    let key = text.map(|text| Key::of(app, visitor, text));
    let keyed = keyed(key.as_ref(), JSON, body).await?;
    let in_common = InCommon::of(app, visitor);
    let mut submission = submission(app, &tenant, request, &in_common).await?;
    submission.idempotency = keyed.map(|keyed| keyed.claim(&tenant, paths::TASKS, &keyed.key.text));
    let queue = submission.queue.clone();
    let submitted = app.engine.submit(app.engine.draw_id(), submission).await;
    let submitted =
        submitted.map_err(|error| refuse_submission(&app.engine, &tenant, &queue, error))?;
    let how = How { base: visitor.base.clone(), ..How::default() };
    batch_item(app, &visitor.caller, &submitted, &how).await
}

async fn batch_item(
    app: &App,
    caller: &Caller,
    submitted: &Submitted,
    how: &How,
) -> Result<BatchItem, Refusal> {
    match submitted {
        Submitted::New(task, place) => {
            let estimate = app.engine.estimate_at(task, place);
            Ok(BatchItem::accepted(accepted(&app.answers, task, estimate, caller, how)?))
        }
        Submitted::Attached { task, same } => {
            let task = attached_task(task.as_ref(), *same)?;
            let estimate = app.engine.estimate_if_known(task).await;
            let accepted = accepted(&app.answers, task, estimate, caller, how)?;
            Ok(BatchItem { replayed: true, ..BatchItem::accepted(accepted) })
        }
    }
}

async fn answer(
    app: &Arc<App>,
    caller: &Caller,
    client: &Client,
    submitted: Submitted,
    prefer: Prefer,
    how: How,
) -> Result<Response, Refusal> {
    let wait = prefer.wait_up_to(limits::WAIT_MAX);
    let applied = applied(prefer, wait);
    match submitted {
        Submitted::New(task, _) => {
            let task = match wait {
                Some(wait) => wait_for(app, task, wait, client).await?,
                None => task,
            };
            if wait.is_some() && task.life.status().is_terminal() {
                return with_applied(replay_response(&app.answers, &task).await?, applied);
            }
            let estimate = app.engine.estimate_if_known(&task).await;
            let how = How { applied, ..how };
            accepted_response(&app.answers, &task, estimate, caller, &how)
        }
        Submitted::Attached { task, same } => {
            let task = match (task, wait) {
                (Some(task), Some(wait)) if same => Some(wait_for(app, task, wait, client).await?),
                (task, _) => task,
            };
            let applied_to_answer = wait.and(applied.clone());
            let how = How { applied, applied_to_answer, ..how };
            attached_response(&app.answers, task.as_ref(), same, caller, how).await
        }
    }
}

async fn wait_for(
    app: &Arc<App>,
    task: Task,
    wait: Duration,
    client: &Client,
) -> Result<Task, Refusal> {
    let id = task.spec.id;
    let over = poll::until_over(&app.followers, id, wait, client.clone()).await?;
    over.ok_or_else(|| Refusal::new(&codes::TASK_GONE).about(id))
}

/// What is done of what the client prefers.
fn applied(prefer: Prefer, wait: Option<Duration>) -> Option<String> {
    let wait = wait.map(|wait| format!("wait={}", wait.as_secs()));
    match (prefer.respond_async, wait) {
        (true, Some(wait)) => Some(format!("respond-async, {wait}")),
        (true, None) => Some("respond-async".to_owned()),
        (false, wait) => wait,
    }
}

fn with_applied(mut response: Response, applied: Option<String>) -> Result<Response, Refusal> {
    if let Some(applied) = applied {
        let applied = HeaderValue::from_str(&applied).map_err(Refusal::internal)?;
        response.headers_mut().insert(fields::PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

fn key_of(app: &App, visitor: &Visitor) -> Result<Option<Key>, Refusal> {
    let text = idempotency::key_of(visitor.headers())?;
    Ok(text.map(|text| Key::of(app, visitor, text)))
}

fn content_type(headers: &HeaderMap) -> &[u8] {
    headers.get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes)
}

/// A call with an idempotency key: what its claims have in common.
struct KeyedCall<'a> {
    key: &'a Key,
    content_type: &'a [u8],
    body_sha256: [u8; 32],
}

/// Reads the whole body once, however many tasks are in it.
async fn keyed<'a>(
    key: Option<&'a Key>,
    content_type: &'a [u8],
    body: Bytes,
) -> Result<Option<KeyedCall<'a>>, Refusal> {
    let Some(key) = key else { return Ok(None) };
    let body_sha256 = heavy::on(body.len(), move || idempotency::body_sha256(&body)).await?;
    Ok(Some(KeyedCall { key, content_type, body_sha256 }))
}

impl KeyedCall<'_> {
    /// The claim of one task, whose key is `text`.
    fn claim(&self, tenant: &TenantName, target: &str, text: &str) -> Claim {
        idempotency::claim(&Keyed {
            tenant,
            caller: self.key.caller,
            method: "POST",
            target,
            key: text,
            content_type: self.content_type,
            body_sha256: self.body_sha256,
        })
    }
}
