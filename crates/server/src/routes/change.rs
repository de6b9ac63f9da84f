//! `POST /v1/tasks/{id}/cancel` and `/retry`, `DELETE /v1/tasks/{id}`: changing a task by hand.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::ETAG;
use http::{Method, StatusCode, Uri};
use relais_api::Accepted;
use relais_api::bulk::{RetryFrom, RetryRequest};
use relais_core::{Refused, Reply, Task};
use relais_engine::{EngineError, Estimate};
use relais_store::Rejected;

use crate::answer::accepted::{How, accepted, accepted_response};
use crate::answer::etag::{self, Form};
use crate::answer::links;
use crate::answer::pages;
use crate::answer::present;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::{Action, Seen, Visitor};
use crate::request::incoming;
use crate::request::params::Params;
use crate::routes::{OneTask, json};

/// `POST /v1/tasks/{id}/cancel`: a task that is over stays as it is, and the answer says how.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    OneTask(id): OneTask,
    visitor: Visitor,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let seen = visitor.task(id, Action::Cancel).await?;
    incoming::nothing(&app.bodies, &visitor, body).await?;
    let (version, document) = cancel_seen(&app, &seen).await?;
    if visitor.page_for(&Method::POST).is_some() {
        return pages::see(&links::to_task(app.base.path(), &document.id, seen.viewer.ticket));
    }
    let mut response = json(StatusCode::OK, &document)?;
    response.headers_mut().insert(ETAG, etag::tag(version, Form::Json));
    Ok(response)
}

/// Cancels a task that the caller may cancel. Answers its version then, and its document.
///
/// # Errors
/// When the store cannot be written.
pub(crate) async fn cancel_seen(
    app: &App,
    seen: &Seen<'_>,
) -> Result<(u64, relais_api::Task), Refusal> {
    let id = seen.task.spec.id;
    let task = match app.engine.cancel(&seen.task.spec.tenant, id).await {
        Ok(stepped) => stepped.changed.task,
        Err(EngineError::Rejected(Rejected::Refused(Refused::AlreadyTerminal))) => {
            let now = app.engine.task(id).await?;
            now.ok_or(EngineError::Rejected(Rejected::NotFound))?
        }
        Err(error) => return Err(error.into()),
    };
    let document = present::task_of(&app.answers, &task, &seen.viewer, Estimate::default());
    Ok((task.life.version, document))
}

/// `POST /v1/tasks/{id}/retry`: the next run, and a fresh ticket for it.
pub(super) async fn retry(
    State(app): State<Arc<App>>,
    OneTask(id): OneTask,
    visitor: Visitor,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let seen = visitor.task(id, Action::Retry).await?;
    let request: RetryRequest = incoming::optional_json(&app.bodies, &visitor, body).await?;
    let retried = retry_seen(&app, &visitor, &seen, request.from).await?;
    if visitor.page_for(&Method::POST).is_some() {
        let how = retried.how.for_page(&app.base);
        let retried = Retried { how, ..retried };
        return pages::see(&retried.accepted(&app, &visitor).await?.task.links.this);
    }
    if retried.is_new {
        let estimate = app.engine.estimate_if_known(&retried.task).await;
        let (task, how) = (&retried.task, &retried.how);
        return accepted_response(&app.answers, task, estimate, &visitor.caller, how);
    }
    json(StatusCode::OK, &retried.accepted(&app, &visitor).await?)
}

/// A task that was to be run again.
pub(crate) struct Retried {
    task: Task,
    /// Whether there was anything to do.
    pub(crate) is_new: bool,
    how: How,
}

impl Retried {
    /// The task, with a fresh ticket.
    ///
    /// # Errors
    /// When its context cannot be read.
    pub(crate) async fn accepted(&self, app: &App, visitor: &Visitor) -> Result<Accepted, Refusal> {
        let estimate = app.engine.estimate_if_known(&self.task).await;
        accepted(&app.answers, &self.task, estimate, &visitor.caller, &self.how)
    }
}

/// Runs a task again that the caller may run again.
///
/// # Errors
/// When it cannot be.
pub(crate) async fn retry_seen(
    app: &App,
    visitor: &Visitor,
    seen: &Seen<'_>,
    from: Option<RetryFrom>,
) -> Result<Retried, Refusal> {
    let id = seen.task.spec.id;
    let from_start = from == Some(RetryFrom::Start);
    let stepped = app.engine.retry(&seen.task.spec.tenant, id, from_start).await?;
    // A session's right ends when it did: it is not for its bearer to prolong.
    let how = How { base: visitor.base.clone(), right: seen.right, ..How::default() };
    let is_new = stepped.reply == Reply::Done;
    Ok(Retried { task: stepped.changed.task, is_new, how })
}

/// `DELETE /v1/tasks/{id}`.
pub(super) async fn erase(
    State(app): State<Arc<App>>,
    OneTask(id): OneTask,
    visitor: Visitor,
    uri: Uri,
) -> Result<Response, Refusal> {
    let params = Params::of(&uri, &["cancel"])?;
    let cancels = params.parse::<bool>("cancel", "true or false")?.unwrap_or(false);
    let seen = visitor.task(id, Action::Erase).await?;
    if cancels && !seen.task.life.status().is_terminal() {
        match app.engine.cancel(&seen.task.spec.tenant, id).await {
            // It ended by itself in between.
            Ok(_) | Err(EngineError::Rejected(Rejected::Refused(Refused::AlreadyTerminal))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    app.engine.erase(id).await?;
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
