//! `POST /v1/tasks/{id}/cancel` and `/retry`, `DELETE /v1/tasks/{id}`: changing a task by hand.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::ETAG;
use http::{Method, StatusCode, Uri};
use relais_api::bulk::{RetryFrom, RetryRequest};
use relais_core::{Refused, Reply};
use relais_engine::{EngineError, Estimate};
use relais_store::Rejected;

use crate::answer::accepted::{How, accepted, accepted_response};
use crate::answer::etag::{self, Form};
use crate::answer::pages;
use crate::answer::present;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::{Action, Visitor};
use crate::request::incoming;
use crate::request::params::Params;
use crate::request::reader::page_for;
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
    let task = match app.engine.cancel(&seen.task.spec.tenant, id).await {
        Ok(stepped) => stepped.changed.task,
        Err(EngineError::Rejected(Rejected::Refused(Refused::AlreadyTerminal))) => {
            let now = app.engine.task(id).await?;
            now.ok_or(EngineError::Rejected(Rejected::NotFound))?
        }
        Err(error) => return Err(error.into()),
    };
    let document = present::task_of(&app.answers, &task, &seen.viewer, Estimate::default());
    if page_for(&Method::POST, visitor.headers()).is_some() {
        return pages::see(&document);
    }
    let mut response = json(StatusCode::OK, &document)?;
    response.headers_mut().insert(ETAG, etag::tag(task.life.version, Form::Json));
    Ok(response)
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
    let from_start = request.from == Some(RetryFrom::Start);
    let stepped = app.engine.retry(&seen.task.spec.tenant, id, from_start).await?;
    let right = seen.right;
    let how = How { base: visitor.base.clone(), right, ..How::default() };
    let (task, caller) = (&stepped.changed.task, &visitor.caller);
    let estimate = app.engine.estimate_if_known(task).await;
    // A session's right ends when it did: it is not for its bearer to prolong.
    if page_for(&Method::POST, visitor.headers()).is_some() {
        return pages::see(&accepted(&app.answers, task, estimate, caller, &how)?.task);
    }
    match stepped.reply {
        Reply::Done => accepted_response(&app.answers, task, estimate, caller, &how),
        _ => json(StatusCode::OK, &accepted(&app.answers, task, estimate, caller, &how)?),
    }
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
