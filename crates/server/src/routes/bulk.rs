//! `POST /v1/tasks/cancel` and `/retry`: changing many tasks by hand.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use http::{StatusCode, Uri};
use relais_api::{BulkRequest, BulkResponse};
use relais_core::{self as core, FailureCode, Refused, Reply, Status, Task, TenantName, limits};
use relais_engine::{Engine, EngineError, document};
use relais_store::{Filter, Rejected, Stepped};

use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::{Scope, Visitor};
use crate::request::incoming;
use crate::request::params::{Params, label_of};
use crate::routes::json;
use crate::routes::list::is_visible;

/// Changes on their way at once: they share the store's durable writes.
const AT_ONCE: usize = 256;

#[derive(Clone, Copy)]
enum Change {
    Cancel,
    Retry,
}

/// `POST /v1/tasks/cancel`.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    change(&app, &visitor, &uri, body, Change::Cancel).await
}

/// `POST /v1/tasks/retry`.
pub(super) async fn retry(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    change(&app, &visitor, &uri, body, Change::Retry).await
}

async fn change(
    app: &App,
    visitor: &Visitor,
    uri: &Uri,
    body: Body,
    change: Change,
) -> Result<Response, Refusal> {
    Params::of(uri, &[])?;
    let tenant = visitor.tenant(Scope::Submit)?;
    let request: BulkRequest = incoming::json(&app.bodies, visitor, body).await?;
    request.check()?;
    let (engine, base) = (&app.engine, app.base.as_str());
    let page = engine.list(filter(&tenant, &request)?).await?;
    let mut tasks = Vec::with_capacity(page.tasks.len());
    let mut left_out = 0;
    for task in page.tasks {
        if !is_visible(visitor, &task) || !has_code(base, &task, request.code.as_deref()) {
            continue;
        }
        if matches!(change, Change::Retry) && request.code.is_none() && is_unknown(&task) {
            left_out += 1;
        } else {
            tasks.push(task);
        }
    }
    let tenant = &tenant;
    let mut answers = stream::iter(tasks)
        .map(|task| async move { step(engine, tenant, &task, change).await })
        .buffer_unordered(AT_ONCE);
    let mut changed = 0;
    while let Some(answer) = answers.next().await {
        changed += u64::from(was_changed(answer)?);
    }
    let next = page.next.map(|next| next.to_string());
    json(StatusCode::OK, &BulkResponse { changed, left_out, next })
}

/// Whether a task failed with this code, as its readers are told it.
fn has_code(base: &str, task: &Task, code: Option<&str>) -> bool {
    let Some(code) = code else { return true };
    let core::State::Failed { failure, .. } = &task.life.state else { return false };
    document::problem_of(base, failure).code == code
}

/// Whether the work of a failed task may be done already: many at a time are run again only by
/// whoever names that code, since nobody repeats such work blindly.
fn is_unknown(task: &Task) -> bool {
    let core::State::Failed { failure, .. } = &task.life.state else { return false };
    failure.code == FailureCode::OutcomeUnknown
}

async fn step(
    engine: &Engine,
    tenant: &TenantName,
    task: &Task,
    change: Change,
) -> Result<Stepped, EngineError> {
    match change {
        Change::Cancel => engine.cancel(tenant, task.spec.id).await,
        Change::Retry => engine.retry(tenant, task.spec.id, false).await,
    }
}

/// A task to which this may not happen, or that is gone, is passed over.
fn was_changed(answer: Result<Stepped, EngineError>) -> Result<bool, Refusal> {
    match answer {
        Ok(stepped) => Ok(stepped.reply == Reply::Done),
        Err(EngineError::Rejected(Rejected::NotFound)) => Ok(false),
        Err(EngineError::Rejected(Rejected::Refused(refused))) => match refused {
            Refused::AlreadySucceeded
            | Refused::AlreadyTerminal
            | Refused::CredentialsErased
            | Refused::TooManyEvents => Ok(false),
            Refused::StaleLease
            | Refused::SettledOtherwise
            | Refused::NoSuchResult
            | Refused::AlreadyShown
            | Refused::TaskCanceled
            | Refused::NotTerminal
            | Refused::NotReady => Err(refused.into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn filter(tenant: &TenantName, request: &BulkRequest) -> Result<Filter, Refusal> {
    let limit = request.limit.unwrap_or(limits::BATCH_MAX as u32) as usize;
    if !(1..=limits::BATCH_MAX).contains(&limit) {
        let why = format!("must be from 1 to {}", limits::BATCH_MAX);
        return Err(Refusal::field("/limit", why).limit(limits::BATCH_MAX as u64));
    }
    let queue = request.queue.as_ref().map(|name| name.parse()).transpose();
    let lane = request.lane.as_ref().map(|lane| lane.parse()).transpose();
    let after = request.after.as_ref().map(|id| id.parse()).transpose();
    let label = request.label.as_deref().map(label_of).transpose();
    Ok(Filter {
        tenant: Some(tenant.clone()),
        queue: queue.map_err(|error| Refusal::field("/queue", error))?,
        // Only failed tasks have a code.
        status: request.status.map(status).or(request.code.as_ref().map(|_| Status::Failed)),
        label: label.map_err(|_| Refusal::field("/label", "expected name=value"))?,
        lane: lane.map_err(|error| Refusal::field("/lane", error))?,
        after: after.map_err(|_| Refusal::field("/after", "not the `next` of the call before"))?,
        limit,
        ..Filter::default()
    })
}

fn status(status: relais_api::Status) -> Status {
    match status {
        relais_api::Status::Queued => Status::Queued,
        relais_api::Status::Running => Status::Running,
        relais_api::Status::Waiting => Status::Waiting,
        relais_api::Status::Succeeded => Status::Succeeded,
        relais_api::Status::Failed => Status::Failed,
        relais_api::Status::Canceled => Status::Canceled,
    }
}
